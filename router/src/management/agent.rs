//! Requests and replies of the management node.

use amqp::{
    Value,
    message::{Body, Header, Message, Properties},
};

use super::{
    Source,
    entity::{Agent, EntityType, Row, TYPES},
};

/// Type of the node itself, on which QUERY and the GET operations are called.
const NODE_TYPE: &str = "org.amqp.management";
/// Operations of the node.
const NODE_OPERATIONS: &[&str] = &[
    "QUERY",
    "GET-TYPES",
    "GET-ATTRIBUTES",
    "GET-OPERATIONS",
    "GET-ANNOTATIONS",
    "GET-MGMT-NODES",
];

/// A refused request: status code, text, and the body that goes with it.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("No such entity type '{0}'")]
    UnknownType(String),
    #[error("No entity with {selector}={value}")]
    NoEntity {
        selector: &'static str,
        value: String,
    },
    #[error("Not Found")]
    NotFound,
    #[error("Operation '{operation}' not implemented for '{entity}' [{offered}]")]
    NotImplemented {
        operation: String,
        entity: String,
        offered: String,
    },
}

impl Refusal {
    fn status(&self) -> i32 {
        match self {
            Self::BadRequest(_) | Self::UnknownType(_) => 400,
            Self::NoEntity { .. } | Self::NotFound => 404,
            Self::NotImplemented { .. } => 501,
        }
    }

    /// What the operation would be, and what there is instead.
    fn not_implemented(operation: &str, entity: &str, offered: &[&str]) -> Self {
        let quoted: Vec<String> = offered.iter().map(|name| format!("'{name}'")).collect();
        Self::NotImplemented {
            operation: operation.to_owned(),
            entity: entity.to_owned(),
            offered: quoted.join(", "),
        }
    }
}

/// Answers one request; none if it asks for no answer (no `reply-to`).
pub fn handle(request: &Message, source: &dyn Source) -> Option<Message> {
    let reply_to = request.properties.reply_to.clone()?;
    let (status, description, body) = match answer(request, source) {
        Ok(body) => (200, "OK".to_owned(), body),
        Err(refusal) => (
            refusal.status(),
            refusal.to_string(),
            Value::Map(Vec::new()),
        ),
    };
    Some(Message {
        header: Some(Header::default()),
        properties: Properties {
            to: Some(reply_to),
            correlation_id: request.properties.correlation_id.clone(),
            ..Properties::default()
        },
        application_properties: vec![
            (Value::from("statusCode"), Value::Int(status)),
            (Value::from("statusDescription"), Value::String(description)),
        ],
        body: Body::Value(body),
        ..Message::default()
    })
}

fn answer(request: &Message, source: &dyn Source) -> Result<Value, Refusal> {
    let operation = text(request, "operation")
        .ok_or_else(|| Refusal::BadRequest("No operation".to_owned()))?
        .to_ascii_uppercase();
    match operation.as_str() {
        "QUERY" => query(request, source),
        "READ" => read(request, source),
        "GET-TYPES" => describe(request, |_| &[]),
        "GET-ATTRIBUTES" => describe(request, |entity| entity.attributes),
        "GET-OPERATIONS" => describe(request, EntityType::operations),
        "GET-ANNOTATIONS" => describe(request, |_| &[]),
        "GET-MGMT-NODES" => Ok(management_nodes(source)),
        _ => Err(match text(request, "type") {
            None | Some(NODE_TYPE) => {
                Refusal::not_implemented(&operation, NODE_TYPE, NODE_OPERATIONS)
            }
            Some(name) => match EntityType::find(name) {
                Some(entity) => {
                    Refusal::not_implemented(&operation, entity.name, entity.operations())
                }
                None => Refusal::UnknownType(name.to_owned()),
            },
        }),
    }
}

fn query(request: &Message, source: &dyn Source) -> Result<Value, Refusal> {
    let types = entity_types(request)?;
    let asked = attribute_names(request)?;
    let offset = number(request, "offset")?.unwrap_or(0);
    let count = number(request, "count")?
        .filter(|count| *count > 0)
        .unwrap_or(usize::MAX);

    let mut names: Vec<&str> = Vec::new();
    if asked.is_empty() {
        for name in types.iter().flat_map(|entity| entity.attributes) {
            if !names.contains(name) {
                names.push(name);
            }
        }
    } else {
        // the core agent answers the first column for names that it does not know
        let core = matches!(types.as_slice(), [entity] if entity.agent == Agent::Core);
        let known = |name: &str| types.iter().any(|entity| entity.attributes.contains(&name));
        names.extend(asked.iter().map(|name| {
            if core && !known(name) {
                "name"
            } else {
                name.as_str()
            }
        }));
    }

    let rows = types.iter().flat_map(|entity| (entity.rows)(source));
    let results = rows
        .skip(offset)
        .take(count)
        .map(|row| {
            Value::List(
                names
                    .iter()
                    .map(|name| attribute(&row, name).cloned().unwrap_or_default())
                    .collect(),
            )
        })
        .collect();
    let names = names.into_iter().map(Value::from).collect();
    Ok(Value::Map(vec![
        (Value::from("attributeNames"), Value::List(names)),
        (Value::from("results"), Value::List(results)),
    ]))
}

fn read(request: &Message, source: &dyn Source) -> Result<Value, Refusal> {
    let types: Vec<&EntityType> = match text(request, "type") {
        None => TYPES.iter().collect(),
        Some(name) => {
            vec![EntityType::find(name).ok_or_else(|| Refusal::UnknownType(name.to_owned()))?]
        }
    };
    let selectors = [
        ("name", text(request, "name")),
        ("identity", text(request, "identity")),
    ];
    let selectors: Vec<(&'static str, &str)> = selectors
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    if selectors.is_empty() {
        return Err(Refusal::BadRequest("No name or identity".to_owned()));
    }
    for entity in &types {
        let found = (entity.rows)(source).into_iter().find(|row| {
            selectors
                .iter()
                .all(|(key, value)| attribute(row, key).and_then(Value::as_str) == Some(value))
        });
        if let Some(row) = found {
            let omit_null = entity.agent == Agent::Configuration;
            let attributes = row
                .into_iter()
                .filter(|(_, value)| !omit_null || !value.is_null());
            return Ok(Value::Map(
                attributes
                    .map(|(name, value)| (Value::from(name), value))
                    .collect(),
            ));
        }
    }
    match (types.as_slice(), selectors.as_slice()) {
        ([entity], _) if entity.agent == Agent::Core => Err(Refusal::NotFound),
        (_, [.., (selector, value)]) => Err(Refusal::NoEntity {
            selector,
            value: (*value).to_owned(),
        }),
        (_, []) => Err(Refusal::NotFound),
    }
}

/// Map from long type name to something about the type.
fn describe(
    request: &Message,
    what: fn(&EntityType) -> &'static [&'static str],
) -> Result<Value, Refusal> {
    let entries = entity_types(request)?.into_iter().map(|entity| {
        let list = what(entity).iter().copied().map(Value::from).collect();
        (Value::from(entity.name), Value::List(list))
    });
    Ok(Value::Map(entries.collect()))
}

/// Addresses of the management nodes of all interior routers; of an edge router, its own.
fn management_nodes(source: &dyn Source) -> Value {
    let router = source.router();
    let mut addresses: Vec<String> = source
        .nodes()
        .iter()
        .map(|node| format!("amqp:/_topo/0/{}/$management", node.id))
        .collect();
    if addresses.is_empty() {
        addresses.push(if router.mode == "edge" {
            format!("amqp:/_edge/{}/$management", router.id)
        } else {
            format!("amqp:/_topo/0/{}/$management", router.id)
        });
    }
    Value::List(addresses.into_iter().map(Value::String).collect())
}

/// The type that a request is about; all of them if it names none.
fn entity_types(request: &Message) -> Result<Vec<&'static EntityType>, Refusal> {
    match text(request, "entityType") {
        None => Ok(TYPES.iter().collect()),
        Some(name) => match EntityType::find(name) {
            Some(entity) => Ok(vec![entity]),
            None => Err(Refusal::UnknownType(name.to_owned())),
        },
    }
}

fn attribute_names(request: &Message) -> Result<Vec<String>, Refusal> {
    let malformed = || Refusal::BadRequest("attributeNames must be a list of strings".to_owned());
    let Body::Value(body) = &request.body else {
        return Ok(Vec::new());
    };
    let names = match body.get("attributeNames") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::List(names) | Value::Array(names)) => names,
        Some(_) => return Err(malformed()),
    };
    names
        .iter()
        .map(|name| name.as_str().map(str::to_owned).ok_or_else(malformed))
        .collect()
}

fn property<'a>(request: &'a Message, key: &str) -> Option<&'a Value> {
    let found = request
        .application_properties
        .iter()
        .find(|(name, _)| name.as_str() == Some(key));
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

fn text<'a>(request: &'a Message, key: &str) -> Option<&'a str> {
    property(request, key)?.as_str()
}

fn number(request: &Message, key: &'static str) -> Result<Option<usize>, Refusal> {
    let Some(value) = property(request, key) else {
        return Ok(None);
    };
    match value.as_i64().map(usize::try_from) {
        Some(Ok(number)) => Ok(Some(number)),
        _ => Err(Refusal::BadRequest(format!(
            "{key} must be a number that is not negative"
        ))),
    }
}

fn attribute<'a>(row: &'a Row, name: &str) -> Option<&'a Value> {
    row.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}
