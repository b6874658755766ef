//! Reading rows of management.

use amqp::Value;
use router::management::client::Row;

/// An attribute as text; empty if it is missing or no text.
pub fn text<'a>(row: &'a Row, attribute: &str) -> &'a str {
    row.get(attribute)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An attribute as number; zero if it is missing or no number.
pub fn number(row: &Row, attribute: &str) -> i64 {
    row.get(attribute)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// The row with that name.
pub fn named<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| text(row, "name") == name)
}
