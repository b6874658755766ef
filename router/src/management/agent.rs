//! Requests and replies of the management node.

use amqp::{
    Value,
    message::{Body, Header, Message, Properties},
};

use super::{
    Source,
    change::{self, Change, Operation},
    entity::{Agent, BASES, EntityType, NODE_OPERATIONS, NODE_TYPE, Row, TYPES},
    query::{Query, Table},
    schema,
};
use crate::core::access::Access;

/// A refused request: status code, text, and the body that goes with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("No such entity type '{0}'")]
    UnknownType(String),
    #[error("Forbidden: only clients of this router itself can change it")]
    Forbidden,
    #[error("Forbidden")]
    NeverAllowed,
    #[error("No entity with {selector}={value}")]
    NoEntity {
        selector: &'static str,
        value: String,
    },
    #[error("{0}")]
    Gone(String),
    #[error("Not Found")]
    NotFound,
    #[error("Operation '{operation}' not implemented for '{entity}' [{offered}]")]
    NotImplemented {
        operation: String,
        entity: String,
        offered: String,
    },
    #[error("Too many changes wait to be made, try again")]
    Busy,
}

impl Refusal {
    fn status(&self) -> i32 {
        match self {
            Self::BadRequest(_) | Self::UnknownType(_) => 400,
            Self::Forbidden | Self::NeverAllowed => 403,
            Self::NoEntity { .. } | Self::Gone(_) | Self::NotFound => 404,
            Self::NotImplemented { .. } => 501,
            Self::Busy => 503,
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

/// What comes of a request.
#[derive(Debug)]
pub enum Handled {
    /// The answer.
    Answer(Message),
    /// The answer has to be made.
    Query(Box<Query>),
    /// The answer, and a connection to close.
    Close {
        /// Number of the connection.
        connection: String,
        /// The answer.
        answer: Message,
    },
    /// The configuration is to be changed; the answer comes after that.
    Change(Box<Change>),
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) to: String,
    correlation_id: Value,
}

impl Reply {
    pub(super) fn with(self, status: i32, description: &str, body: Value) -> Message {
        Message {
            body: Body::Value(body),
            ..self.without_body(status, description)
        }
    }

    pub(super) fn without_body(self, status: i32, description: &str) -> Message {
        Message {
            header: Some(Header::default()),
            properties: Properties {
                to: Some(self.to),
                correlation_id: self.correlation_id,
                ..Properties::default()
            },
            application_properties: vec![
                (Value::from("statusCode"), Value::Int(status)),
                (
                    Value::from("statusDescription"),
                    Value::String(description.to_owned()),
                ),
            ],
            ..Message::default()
        }
    }

    pub(super) fn refused(self, refusal: &Refusal) -> Message {
        let text = refusal.to_string();
        self.with(refusal.status(), &text, Value::Map(Vec::new()))
    }
}

/// Answers one request, or says what is to be done for it; none if it asks for no answer (no `reply-to`).
pub fn handle(request: &Message, source: &dyn Source, access: Access) -> Option<Handled> {
    let reply = Reply {
        to: request.properties.reply_to.clone()?,
        correlation_id: request.properties.correlation_id.clone(),
    };
    let handled = match answer(request, source, access) {
        Ok(Done::Body(body)) => Handled::Answer(reply.with(200, "OK", body)),
        Ok(Done::Query(table)) => Handled::Query(Box::new(Query::new(reply, table))),
        Ok(Done::Close(connection, body)) => Handled::Close {
            connection,
            answer: reply.with(200, "OK", body),
        },
        Ok(Done::Change(operation, entity)) => {
            match change::read(operation, entity, request, reply, source) {
                Ok(change) => Handled::Change(Box::new(change)),
                Err(answer) => Handled::Answer(*answer),
            }
        }
        Err(refusal) => Handled::Answer(reply.refused(&refusal)),
    };
    Some(handled)
}

enum Done {
    Body(Value),
    Query(Table),
    Close(String, Value),
    Change(Operation, &'static EntityType),
}

fn answer(request: &Message, source: &dyn Source, access: Access) -> Result<Done, Refusal> {
    let operation = text(request, "operation")
        .ok_or_else(|| Refusal::BadRequest("No operation".to_owned()))?
        .to_ascii_uppercase();
    let changing = match operation.as_str() {
        "QUERY" => return Table::asked(request).map(Done::Query),
        "READ" => return read(request, source).map(Done::Body),
        "GET-TYPES" => return describe(request, |_| &[]).map(Done::Body),
        "GET-ATTRIBUTES" => return describe(request, |entity| entity.attributes).map(Done::Body),
        "GET-OPERATIONS" => return describe(request, EntityType::operations).map(Done::Body),
        // no annotations are defined
        "GET-ANNOTATIONS" => {
            return entity_types(request).map(|_| Done::Body(Value::Map(Vec::new())));
        }
        "GET-MGMT-NODES" => return Ok(Done::Body(management_nodes(source))),
        "GET-SCHEMA" => return Ok(Done::Body(schema::value())),
        "GET-JSON-SCHEMA" => {
            let indent = number(request, "indent")?;
            return Ok(Done::Body(Value::String(schema::json(indent))));
        }
        "GET-LOG" => {
            let limit = number(request, "limit")?;
            return Ok(Done::Body(log(source, limit)));
        }
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        "DELETE" => Operation::Delete,
        _ => return Err(no_such_operation(request, &operation)),
    };
    let entity = match text(request, "type") {
        None if changing == Operation::Create => {
            return Err(Refusal::BadRequest("No type".to_owned()));
        }
        None => only_one(&operation, request, source)?,
        Some(NODE_TYPE) => return Err(no_such_operation(request, &operation)),
        Some(name) => {
            EntityType::find(name).ok_or_else(|| Refusal::UnknownType(name.to_owned()))?
        }
    };
    if !entity.operations().contains(&operation.as_str()) {
        return Err(not_offered(entity, changing, request, source));
    }
    if access != Access::Full {
        return Err(Refusal::Forbidden);
    }
    if entity.kind().is_none() {
        return update_connection(entity, request, source);
    }
    Ok(Done::Change(changing, entity))
}

/// The type of the one entity that a request means which names none.
fn only_one(
    operation: &str,
    request: &Message,
    source: &dyn Source,
) -> Result<&'static EntityType, Refusal> {
    let all: Vec<&EntityType> = TYPES
        .iter()
        .filter(|entity| entity.operations().contains(&operation))
        .collect();
    let (found, _) = find(&all, request, source)?;
    let others = all.into_iter().filter(|other| other.name != found.name);
    match find(&others.collect::<Vec<_>>(), request, source) {
        Ok((other, _)) => Err(Refusal::BadRequest(format!(
            "There is such a '{}' and such a '{}': the request must name the type",
            found.name, other.name
        ))),
        Err(_) => Ok(found),
    }
}

/// As C routers: an entity is looked for first, and those of the core are never to be changed.
fn not_offered(
    entity: &'static EntityType,
    operation: Operation,
    request: &Message,
    source: &dyn Source,
) -> Refusal {
    let name = match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    };
    if operation != Operation::Create {
        match find(&[entity], request, source) {
            Err(refusal) => return refusal,
            Ok(_) if entity.agent == Agent::Core => return Refusal::NeverAllowed,
            Ok(_) => {}
        }
    }
    Refusal::not_implemented(name, entity.name, entity.operations())
}

fn no_such_operation(request: &Message, operation: &str) -> Refusal {
    match text(request, "type") {
        None | Some(NODE_TYPE) => Refusal::not_implemented(operation, NODE_TYPE, NODE_OPERATIONS),
        Some(name) => match EntityType::find(name) {
            Some(entity) => Refusal::not_implemented(operation, entity.name, entity.operations()),
            None => Refusal::UnknownType(name.to_owned()),
        },
    }
}

/// Of a connection, only the end can be set: `adminStatus` becomes `deleted`. `enableProtocolTrace` is taken and has no
/// effect.
fn update_connection(
    entity: &'static EntityType,
    request: &Message,
    source: &dyn Source,
) -> Result<Done, Refusal> {
    let (_, mut row) = find(&[entity], request, source)?;
    let identity = attribute(&row, "identity").and_then(Value::as_str);
    let identity = identity.unwrap_or_default().to_owned();
    let mut close = false;
    for (name, value) in change::attributes(request)? {
        match (name.as_str(), value.as_str()) {
            ("adminStatus", Some("deleted")) => close = true,
            ("adminStatus", Some("enabled")) | ("enableProtocolTrace", _) => {}
            ("name" | "identity" | "type", _) => {}
            _ => return Err(Refusal::BadRequest("Bad Request".to_owned())),
        }
    }
    if close {
        for (name, value) in &mut row {
            match *name {
                "adminStatus" => *value = Value::from("deleted"),
                "operStatus" => *value = Value::from("closing"),
                _ => {}
            }
        }
    }
    let body = Value::Map(
        row.into_iter()
            .map(|(name, value)| (Value::from(name), value))
            .collect(),
    );
    Ok(if close {
        Done::Close(identity, body)
    } else {
        Done::Body(body)
    })
}

/// Recent log lines, oldest first: module, level, text, file, line and Unix time of each.
fn log(source: &dyn Source, limit: Option<usize>) -> Value {
    let lines = source.log_lines();
    let skipped = lines.len().saturating_sub(limit.unwrap_or(usize::MAX));
    let rows = lines.into_iter().skip(skipped).map(|line| {
        Value::List(vec![
            Value::from(line.module),
            Value::from(line.level),
            Value::String(line.text),
            line.file.map_or(Value::Null, Value::from),
            line.line.map_or(Value::Null, Value::Uint),
            Value::Long(line.unix_seconds),
        ])
    });
    Value::List(rows.collect())
}

fn read(request: &Message, source: &dyn Source) -> Result<Value, Refusal> {
    let unnamed = ["type", "name", "identity"]
        .iter()
        .all(|key| text(request, key).is_none());
    let types: Vec<&'static EntityType> = match text(request, "type") {
        None if unnamed => {
            let node = EntityType::find(NODE_TYPE).ok_or(Refusal::NotFound)?;
            let row = node.rows(source).next().ok_or(Refusal::NotFound)?;
            return Ok(row_value(row.into_iter()));
        }
        None => TYPES.iter().collect(),
        Some(name) => {
            vec![EntityType::find(name).ok_or_else(|| Refusal::UnknownType(name.to_owned()))?]
        }
    };
    let (entity, row) = find(&types, request, source)?;
    let omit_null = entity.agent == Agent::Configuration;
    let attributes = row
        .into_iter()
        .filter(|(_, value)| !omit_null || !value.is_null());
    Ok(row_value(attributes))
}

fn row_value(attributes: impl Iterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(
        attributes
            .map(|(name, value)| (Value::from(name), value))
            .collect(),
    )
}

/// The entity that a request names, by `name`, `identity` or both.
pub(super) fn find(
    types: &[&'static EntityType],
    request: &Message,
    source: &dyn Source,
) -> Result<(&'static EntityType, Row), Refusal> {
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
    let mut conflict = false;
    for entity in types {
        let found = entity.rows(source).find(|row| {
            let mut matches = selectors
                .iter()
                .map(|(key, value)| attribute(row, key).and_then(Value::as_str) == Some(value));
            let first = matches.next().unwrap_or(false);
            let others = matches.all(|matches| matches);
            conflict |= first && !others && entity.agent == Agent::Configuration;
            first && others
        });
        if let Some(row) = found {
            return Ok((entity, row));
        }
    }
    if conflict {
        let named: Vec<String> = selectors
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        return Err(Refusal::BadRequest(format!(
            "Conflicting {}",
            named.join(" ")
        )));
    }
    match (types, selectors.as_slice()) {
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
    let mut types = entity_types(request)?;
    if types.len() > 1 {
        types.extend(BASES);
    }
    let entries = types.into_iter().map(|entity| {
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
pub(super) fn entity_types(request: &Message) -> Result<Vec<&'static EntityType>, Refusal> {
    match text(request, "entityType") {
        None => Ok(TYPES.iter().collect()),
        Some(name) => match EntityType::find(name) {
            Some(entity) => Ok(vec![entity]),
            None => Err(Refusal::UnknownType(name.to_owned())),
        },
    }
}

pub(super) fn attribute_names(request: &Message) -> Result<Vec<String>, Refusal> {
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

pub(super) fn text<'a>(request: &'a Message, key: &str) -> Option<&'a str> {
    property(request, key)?.as_str()
}

pub(super) fn number(request: &Message, key: &'static str) -> Result<Option<usize>, Refusal> {
    let Some(value) = property(request, key) else {
        return Ok(None);
    };
    // Tools write numbers of the command line as text.
    let number = match value.as_str() {
        Some(text) => text.parse().ok(),
        None => value
            .as_i64()
            .and_then(|number| usize::try_from(number).ok()),
    };
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(Refusal::BadRequest(format!(
            "{key} must be a number that is not negative"
        ))),
    }
}

pub(super) fn attribute<'a>(row: &'a Row, name: &str) -> Option<&'a Value> {
    row.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}
