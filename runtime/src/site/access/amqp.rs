//! The real way to routers.

use std::path::Path;

use amqp::Value as AmqpValue;
use router::management::client::{Client, ClientError};
use serde_json::{Number, Value};

use super::{AccessError, Agent, BoxFuture, RouterAccess, RouterSession, Row};

/// AMQP management over Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct AmqpAccess;

struct AmqpSession {
    client: Client,
}

impl RouterAccess for AmqpAccess {
    fn open<'a>(
        &'a self,
        socket: &'a Path,
    ) -> BoxFuture<'a, Result<Box<dyn RouterSession>, AccessError>> {
        Box::pin(async move {
            let client = Client::connect_unix(socket)
                .await
                .map_err(|error| explain(Agent::Local, error))?;
            let session: Box<dyn RouterSession> = Box::new(AmqpSession { client });
            Ok(session)
        })
    }
}

impl RouterSession for AmqpSession {
    fn query<'a>(
        &'a mut self,
        agent: Agent<'a>,
        entity: &'a str,
        attributes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Row>, AccessError>> {
        Box::pin(async move {
            let rows = match agent {
                Agent::Local => self.client.query(entity, attributes).await,
                Agent::Interior(id) => {
                    let node = format!("amqp:/_topo/0/{id}/$management");
                    self.client.query_at(&node, entity, attributes).await
                }
                Agent::Edge(id) => {
                    let node = format!("amqp:/_edge/{id}/$management");
                    self.client.query_at(&node, entity, attributes).await
                }
            };
            let rows = rows.map_err(|error| explain(agent, error))?;
            Ok(rows
                .into_iter()
                .map(|row| {
                    row.into_iter()
                        .map(|(name, value)| (name, plain(value)))
                        .collect()
                })
                .collect())
        })
    }
}

fn explain(agent: Agent<'_>, error: ClientError) -> AccessError {
    match (agent, error) {
        (_, ClientError::NotRunning { endpoint, .. }) => {
            AccessError::NotRunning { socket: endpoint }
        }
        (Agent::Local, error) => AccessError::NoAnswer {
            reason: error.to_string(),
        },
        (Agent::Interior(id) | Agent::Edge(id), error) => AccessError::Unreachable {
            router: id.to_owned(),
            reason: error.to_string(),
        },
    }
}

/// The part of AMQP's types that management uses; others become their debug text.
fn plain(value: AmqpValue) -> Value {
    match value {
        AmqpValue::Null => Value::Null,
        AmqpValue::Bool(value) => Value::Bool(value),
        AmqpValue::Ubyte(value) => value.into(),
        AmqpValue::Ushort(value) => value.into(),
        AmqpValue::Uint(value) => value.into(),
        AmqpValue::Ulong(value) => value.into(),
        AmqpValue::Byte(value) => value.into(),
        AmqpValue::Short(value) => value.into(),
        AmqpValue::Int(value) => value.into(),
        AmqpValue::Long(value) | AmqpValue::Timestamp(value) => value.into(),
        AmqpValue::Float(value) => float(value.into()),
        AmqpValue::Double(value) => float(value),
        AmqpValue::String(value) => Value::String(value),
        AmqpValue::List(values) => Value::Array(values.into_iter().map(plain).collect()),
        AmqpValue::Map(entries) => Value::Object(
            entries
                .into_iter()
                .filter_map(|(key, value)| match plain(key) {
                    Value::String(key) => Some((key, plain(value))),
                    _ => None,
                })
                .collect(),
        ),
        other => match other.as_str() {
            Some(text) => Value::String(text.to_owned()),
            None => Value::String(format!("{other:?}")),
        },
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
