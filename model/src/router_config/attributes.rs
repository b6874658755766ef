//! Attributes of one entity, taken out one by one with the tolerance of a C router.

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

use serde_json::{Map, Value};

use super::{AMQP_PORT, AMQPS_PORT, ConfigError, value::Word};

/// What is left of an entity's attributes
pub(super) struct Attributes<'a> {
    label: String,
    values: BTreeMap<String, Value>,
    warnings: &'a mut Vec<String>,
}

impl<'a> Attributes<'a> {
    /// Names in camel case, absent values dropped
    pub(super) fn new(
        kind: &str,
        map: Map<String, Value>,
        warnings: &'a mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        let mut label = kind.to_owned();
        for (key, value) in map {
            let key = camel_case(&key);
            if key == "name"
                && let Some(name) = scalar(&value)
            {
                label = format!("{kind} {name:?}");
            }
            if !value.is_null() && values.insert(key.clone(), value).is_some() {
                return Err(ConfigError::Duplicate(format!("attribute {key} of {kind}")));
            }
        }
        Ok(Self {
            label,
            values,
            warnings,
        })
    }

    /// Type and name, for messages
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Any single value as text
    pub(super) fn text(&mut self, attribute: &str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.values.remove(attribute) else {
            return Ok(None);
        };
        match scalar(&value) {
            Some(text) => Ok(Some(text)),
            None => Err(self.invalid(attribute, "must be a single value")),
        }
    }

    /// A text, where an empty one is as good as none
    pub(super) fn filled(&mut self, attribute: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.text(attribute)?.filter(|text| !text.is_empty()))
    }

    /// Takes the name of an entity of which there is one only
    pub(super) fn take_name(&mut self) {
        self.values.remove("name");
    }

    /// Takes everything that is left, with one warning
    pub(super) fn ignored(mut self, reason: impl Display) {
        self.values.clear();
        self.warn(reason);
    }

    pub(super) fn required(&mut self, attribute: &'static str) -> Result<String, ConfigError> {
        self.filled(attribute)?.ok_or_else(|| ConfigError::Missing {
            entity: self.label.clone(),
            attribute,
        })
    }

    /// Words separated by white space or commas
    pub(super) fn words(&mut self, attribute: &str) -> Result<Vec<String>, ConfigError> {
        let text = self.text(attribute)?.unwrap_or_default();
        Ok(text
            .split([' ', '\t', ','])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect())
    }

    pub(super) fn boolean(&mut self, attribute: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(attribute)? else {
            return Ok(None);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Some(true)),
            "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(self.invalid(
                attribute,
                format_args!("{text:?} is neither true nor false"),
            )),
        }
    }

    /// A whole number within bounds
    pub(super) fn number<T>(
        &mut self,
        attribute: &str,
        lowest: T,
        highest: T,
    ) -> Result<Option<T>, ConfigError>
    where
        T: Copy + Display + FromStr + PartialOrd,
    {
        let Some(text) = self.text(attribute)? else {
            return Ok(None);
        };
        match text.trim().parse::<T>() {
            Ok(number) if lowest <= number && number <= highest => Ok(Some(number)),
            _ => Err(self.invalid(
                attribute,
                format_args!("{text:?} is not a number from {lowest} to {highest}"),
            )),
        }
    }

    /// A number, or `auto` for none
    pub(super) fn number_or_auto(
        &mut self,
        attribute: &str,
        lowest: u32,
        highest: u32,
    ) -> Result<Option<u32>, ConfigError> {
        if self.values.get(attribute).and_then(Value::as_str) == Some("auto") {
            self.values.remove(attribute);
        }
        self.number(attribute, lowest, highest)
    }

    pub(super) fn seconds(
        &mut self,
        attribute: &str,
        lowest: u32,
    ) -> Result<Option<Duration>, ConfigError> {
        let seconds = self.number(attribute, lowest, u32::MAX / 1000)?;
        Ok(seconds.map(|seconds| Duration::from_secs(u64::from(seconds))))
    }

    /// A port number or the name of an AMQP port
    pub(super) fn port(
        &mut self,
        attribute: &str,
        lowest: u16,
    ) -> Result<Option<u16>, ConfigError> {
        let name = match self.values.get(attribute).and_then(Value::as_str) {
            Some("amqp") => Some(AMQP_PORT),
            Some("amqps") => Some(AMQPS_PORT),
            _ => None,
        };
        if name.is_some() {
            self.values.remove(attribute);
            return Ok(name);
        }
        let Some(text) = self.text(attribute)? else {
            return Ok(None);
        };
        match text.trim().parse::<u16>() {
            Ok(port) if port >= lowest => Ok(Some(port)),
            _ => Err(self.invalid(attribute, format_args!("{text:?} is not a port number"))),
        }
    }

    /// One of the words of a type
    pub(super) fn choice<T: Word>(&mut self, attribute: &str) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(attribute)? else {
            return Ok(None);
        };
        match T::from_word(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.invalid(
                attribute,
                format_args!("{text:?} is not one of {}", T::choices()),
            )),
        }
    }

    /// Takes attributes that a C router acts on and this one does not need, and says so
    pub(super) fn without_effect(&mut self, attributes: &[&str]) {
        for attribute in attributes {
            if self.values.remove(*attribute).is_some() {
                self.warnings.push(format!(
                    "{}: attribute {attribute:?} has no effect",
                    self.label
                ));
            }
        }
    }

    pub(super) fn warn(&mut self, warning: impl Display) {
        self.warnings.push(format!("{}: {warning}", self.label));
    }

    pub(super) fn invalid(&self, attribute: &str, reason: impl Display) -> ConfigError {
        ConfigError::Invalid {
            entity: self.label.clone(),
            attribute: attribute.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// What nobody took is unknown, and an error
    pub(super) fn finish_strictly(self) -> Result<(), ConfigError> {
        match self.values.into_keys().next() {
            Some(attribute) => Err(ConfigError::UnknownAttribute {
                entity: self.label,
                attribute,
            }),
            None => Ok(()),
        }
    }

    /// What nobody took is unknown
    pub(super) fn finish(self) {
        for attribute in self.values.keys() {
            self.warnings.push(format!(
                "{}: unknown attribute {attribute:?} is ignored",
                self.label
            ));
        }
    }
}

/// `ssl-profile` → `sslProfile`
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '-' if !camel.is_empty() => upper = true,
            c if upper => {
                camel.extend(c.to_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}
