//! Values of flags, read the way Go's pflag reads them, with its error texts.

use std::time::Duration;

use crate::ui::Format;

/// Go's `strconv.ParseBool`
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// A decimal integer (`strconv.ParseInt`)
pub(crate) fn int(text: &str) -> Result<i64, String> {
    parse_int(text, i64::MIN, i64::MAX)
}

/// A decimal integer of 32 bits
pub(crate) fn int32(text: &str) -> Result<i32, String> {
    let value = parse_int(text, i64::from(i32::MIN), i64::from(i32::MAX))?;
    i32::try_from(value).map_err(|_| out_of_range(text))
}

/// An element of a list of integers (`strconv.Atoi`)
pub(crate) fn list_int(text: &str) -> Result<i64, String> {
    int(text).map_err(|error| error.replace("strconv.ParseInt", "strconv.Atoi"))
}

fn parse_int(text: &str, low: i64, high: i64) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ));
    }
    match text.strip_prefix('+').unwrap_or(text).parse::<i64>() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(out_of_range(text)),
    }
}

fn out_of_range(text: &str) -> String {
    format!("strconv.ParseInt: parsing {text:?}: value out of range")
}

/// `json` or `yaml`
pub(crate) fn format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "yaml" => Ok(Format::Yaml),
        _ => Err("must be one of: json, yaml".to_owned()),
    }
}

/// One `key=value` of a list of pairs
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text} must be formatted as key=value"))
}

/// Go's `time.ParseDuration` for lengths that are not negative: `90s`, `1m30s`, `1.5h`, `0`
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() || rest.starts_with('-') {
        return Err(invalid());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: f64 = number.parse().map_err(|_| invalid())?;
        if after.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).map_err(|_| invalid())
}
