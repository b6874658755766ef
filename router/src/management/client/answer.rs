//! What the answer to QUERY says.

use std::collections::BTreeMap;

use amqp::{
    Value,
    message::{Body, Message},
};

use super::ClientError;

/// Attributes of one entity by name.
pub type Row = BTreeMap<String, Value>;

/// Rows of an answer to QUERY.
pub(super) fn rows(address: &str, entity: &str, answer: Message) -> Result<Vec<Row>, ClientError> {
    let property = |key: &str| {
        let mut properties = answer.application_properties.iter();
        let found = properties.find(|(name, _)| name.as_str() == Some(key));
        found.map(|(_, value)| value)
    };
    let status = property("statusCode")
        .and_then(Value::as_i64)
        .ok_or_else(|| ClientError::malformed(address, "it has no statusCode"))?;
    if !(200..300).contains(&status) {
        let description = property("statusDescription").and_then(Value::as_str);
        return Err(ClientError::Refused {
            address: address.to_owned(),
            operation: "QUERY",
            entity: entity.to_owned(),
            status,
            description: description.unwrap_or_default().to_owned(),
        });
    }
    let Body::Value(body) = answer.body else {
        return Err(ClientError::malformed(address, "its body is no value"));
    };
    let names = attribute_names(&body)
        .ok_or_else(|| ClientError::malformed(address, "it has no attributeNames"))?;
    let Value::Map(entries) = body else {
        return Err(ClientError::malformed(address, "its body is no map"));
    };
    let results = entries
        .into_iter()
        .find(|(key, _)| key.as_str() == Some("results"));
    let Some((_, Value::List(results))) = results else {
        return Err(ClientError::malformed(address, "it has no results"));
    };
    let mut rows = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Value::List(values) if values.len() == names.len() => {
                rows.push(names.iter().cloned().zip(values).collect());
            }
            _ => {
                return Err(ClientError::malformed(
                    address,
                    "a row does not fit attributeNames",
                ));
            }
        }
    }
    Ok(rows)
}

/// `attributeNames` of an answer's body.
fn attribute_names(body: &Value) -> Option<Vec<String>> {
    let names = body.get("attributeNames")?.as_list()?.iter();
    names.map(|name| Some(name.as_str()?.to_owned())).collect()
}
