//! What the node knows of its types, as the operations GET-SCHEMA and GET-JSON-SCHEMA tell it.

use amqp::Value;
use serde_json::{Map, Value as Json, json, ser::PrettyFormatter};

use super::entity::{EntityType, TYPES};

/// Prefix of the type names, without the last separator.
const PREFIX: &str = "io.skupper.router";
/// Widest indentation that is made.
const MAX_INDENT: usize = 16;

/// The schema as AMQP maps.
pub(super) fn value() -> Value {
    to_amqp(&schema())
}

/// The schema as JSON, in one line or indented.
pub(super) fn json(indent: Option<usize>) -> String {
    use serde::Serialize as _;
    let schema = schema();
    let Some(indent) = indent else {
        return schema.to_string();
    };
    let spaces = " ".repeat(indent.min(MAX_INDENT));
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    schema
        .serialize(&mut serializer)
        .expect("values with text keys into memory");
    String::from_utf8(text).expect("the serializer writes UTF-8")
}

fn schema() -> Json {
    let types: Map<String, Json> = TYPES
        .iter()
        .map(|entity| (short(entity).to_owned(), describe(entity)))
        .collect();
    json!({ "prefix": PREFIX, "annotations": {}, "entityTypes": types })
}

fn describe(entity: &EntityType) -> Json {
    let attributes: Map<String, Json> = entity
        .attributes
        .iter()
        .map(|name| ((*name).to_owned(), json!({})))
        .collect();
    json!({
        "attributes": attributes,
        "fullName": entity.name,
        "operations": entity.operations(),
    })
}

fn short(entity: &EntityType) -> &'static str {
    entity
        .name
        .strip_prefix(PREFIX)
        .and_then(|name| name.strip_prefix('.'))
        .unwrap_or(entity.name)
}

fn to_amqp(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map_or(Value::Null, Value::Long),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(to_amqp).collect()),
        Json::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(name, value)| (Value::from(name.as_str()), to_amqp(value)))
                .collect(),
        ),
    }
}
