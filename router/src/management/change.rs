//! Requests that change the router: read here, carried out by whoever owns the configuration, answered here.

use amqp::{
    Value,
    message::{Body, Message},
};
use model::router_config::{AddressMatch, ConfigError, Entity, EntityKey, EntityKind};
use serde_json::{Map, Value as Json};

use super::{
    Source,
    agent::{Refusal, Reply, attribute, find, text},
    entity::{EntityType, Row},
};

/// A change that is to be made.
#[derive(Debug)]
pub struct Change {
    /// What is to be done.
    pub action: Action,
    asked: Asked,
}

/// What a change does.
#[derive(Debug)]
pub enum Action {
    /// Adds an entity.
    Create(Entity),
    /// Gives an entity other attributes; those that are not named stay.
    Update(EntityKey, Map<String, Json>),
    /// Removes an entity.
    Delete(EntityKey),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such entity.
    #[error("No entity {0}")]
    Unknown(EntityKey),
    /// An attribute is missing or wrong, or the entity does not fit to others.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// There is such an entity.
    #[error("adding {0}: duplicate value, there is one {1}")]
    Duplicate(EntityKey, &'static str),
    /// Something else stands against it.
    #[error("{0}")]
    Refused(String),
}

/// A change that was made, or was not, with what its answer needs.
#[derive(Debug)]
pub struct Changed {
    outcome: Result<EntityKey, ChangeError>,
    asked: Asked,
}

/// The request of a change, as far as its answer needs it.
#[derive(Debug)]
struct Asked {
    operation: Operation,
    entity: &'static EntityType,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

impl Change {
    /// With its outcome: the key of the entity, which an answer to CREATE and UPDATE shows.
    pub fn finished(self, outcome: Result<EntityKey, ChangeError>) -> Changed {
        Changed {
            outcome,
            asked: self.asked,
        }
    }

    /// The answer when too many changes wait.
    pub fn busy(self) -> Message {
        self.asked.reply.refused(&Refusal::Busy)
    }
}

impl Changed {
    /// The answer.
    pub fn answer(self, source: &dyn Source) -> Message {
        let Asked {
            operation,
            entity,
            reply,
        } = self.asked;
        let key = match self.outcome {
            Ok(key) => key,
            Err(error) => return reply.refused(&refusal(error, entity)),
        };
        let (status, description) = match operation {
            Operation::Create => (201, "Created"),
            Operation::Update => (200, "OK"),
            Operation::Delete => return reply.with(204, "No Content", Value::Map(Vec::new())),
        };
        let row = entity
            .rows(source)
            .find(|row| row_key(entity, row).as_ref() == Some(&key));
        let attributes = row
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null());
        let attributes = attributes.map(|(name, value)| (Value::from(name), value));
        reply.with(status, description, Value::Map(attributes.collect()))
    }
}

/// Reads a request that changes an entity of the configuration; the error is its answer.
pub(super) fn read(
    operation: Operation,
    entity: &'static EntityType,
    request: &Message,
    reply: Reply,
    source: &dyn Source,
) -> Result<Change, Box<Message>> {
    match action(operation, entity, request, source) {
        Ok(action) => Ok(Change {
            action,
            asked: Asked {
                operation,
                entity,
                reply,
            },
        }),
        Err(refusal) => Err(Box::new(reply.refused(&refusal))),
    }
}

fn action(
    operation: Operation,
    entity: &'static EntityType,
    request: &Message,
    source: &dyn Source,
) -> Result<Action, Refusal> {
    let kind = entity.kind().ok_or(Refusal::NotFound)?;
    if operation == Operation::Create {
        let mut attributes = attributes(request)?;
        attributes.remove("identity");
        check_type(entity, &mut attributes)?;
        if let Some(name) = text(request, "name") {
            let named = attributes.insert("name".to_owned(), Json::from(name));
            if named.is_some_and(|other| other.as_str() != Some(name)) {
                return Err(Refusal::BadRequest(
                    "Conflicting values for name".to_owned(),
                ));
            }
        }
        // Addresses have no name of their own in the configuration unless one is given; a log entity has none.
        let (entity, _) =
            Entity::parse(kind, attributes).map_err(|error| invalid(error, entity))?;
        return Ok(Action::Create(entity));
    }
    let row = find(&[entity], request, source)?.1;
    let key = row_key(entity, &row).ok_or(Refusal::NotFound)?;
    if operation == Operation::Delete {
        return Ok(Action::Delete(key));
    }
    let mut changed = attributes(request)?;
    check_type(entity, &mut changed)?;
    for fixed in ["name", "identity"] {
        if let Some(value) = changed.remove(fixed)
            && attribute(&row, fixed).and_then(Value::as_str) != value.as_str()
        {
            return Err(Refusal::BadRequest(format!(
                "Cannot update attribute '{fixed}' of '{}'",
                entity.name
            )));
        }
    }
    Ok(Action::Update(key, changed))
}

fn check_type(entity: &EntityType, attributes: &mut Map<String, Json>) -> Result<(), Refusal> {
    let Some(named) = attributes.remove("type") else {
        return Ok(());
    };
    match named.as_str().and_then(EntityType::find) {
        Some(found) if found.name == entity.name => Ok(()),
        _ => Err(Refusal::BadRequest(
            "Conflicting values for type".to_owned(),
        )),
    }
}

/// The body: a map of simple values.
pub(super) fn attributes(request: &Message) -> Result<Map<String, Json>, Refusal> {
    let malformed = || Refusal::BadRequest("The body must be a map of attributes".to_owned());
    let entries = match &request.body {
        Body::Value(Value::Map(entries)) => entries.as_slice(),
        Body::Value(Value::Null) | Body::Empty => &[],
        _ => return Err(malformed()),
    };
    let mut attributes = Map::new();
    for (name, value) in entries {
        let name = name.as_str().ok_or_else(malformed)?;
        let value = simple(value).ok_or_else(|| {
            Refusal::BadRequest(format!("The value of attribute '{name}' is not usable"))
        })?;
        if attributes.insert(name.to_owned(), value).is_some() {
            return Err(Refusal::BadRequest(format!(
                "Attribute '{name}' is there twice"
            )));
        }
    }
    Ok(attributes)
}

fn simple(value: &Value) -> Option<Json> {
    match value {
        Value::Null => Some(Json::Null),
        Value::Bool(value) => Some(Json::Bool(*value)),
        Value::String(text) => Some(Json::from(text.as_str())),
        Value::Symbol(symbol) => Some(Json::from(symbol.as_str())),
        value => value
            .as_i64()
            .map(Json::from)
            .or_else(|| value.as_u64().map(Json::from)),
    }
}

/// What a row is known by in the configuration.
fn row_key(entity: &EntityType, row: &Row) -> Option<EntityKey> {
    let value = |name| {
        attribute(row, name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Some(match entity.kind()? {
        EntityKind::Address => EntityKey::Address(match value("prefix") {
            Some(prefix) => AddressMatch::Prefix(prefix),
            None => AddressMatch::Pattern(value("pattern")?),
        }),
        EntityKind::Log => EntityKey::Named(EntityKind::Log, value("module")?),
        kind => EntityKey::Named(kind, value("name")?),
    })
}

fn refusal(error: ChangeError, entity: &EntityType) -> Refusal {
    match error {
        ChangeError::Invalid(error) => invalid(error, entity),
        ChangeError::Unknown(_) => Refusal::Gone(error.to_string()),
        ChangeError::Duplicate(..) | ChangeError::Refused(_) => {
            Refusal::BadRequest(error.to_string())
        }
    }
}

fn invalid(error: ConfigError, entity: &EntityType) -> Refusal {
    Refusal::BadRequest(match error {
        ConfigError::UnknownAttribute { attribute, .. } => {
            format!("Unknown attribute '{attribute}' for '{}'", entity.name)
        }
        error => error.to_string(),
    })
}
