//! Quoting, by place.
//!
//! | place | `%` | quotes, backslash | `$` |
//! |---|---|---|---|
//! | one value per line (paths, descriptions) | doubled | taken as they are | as it is |
//! | `Environment=` | doubled | C style in double quotes | as it is |
//! | `ExecStart=`, the program | doubled | C style in double quotes | as it is |
//! | `ExecStart=`, arguments | doubled | C style in double quotes | doubled |

use std::ffi::OsStr;

use super::UnitError;

/// A value that fills its line. A backslash at the end would join the next line to it.
pub(super) fn plain(key: &'static str, value: &OsStr) -> Result<String, UnitError> {
    let text = text(key, value)?;
    if text.is_empty() || text.trim() != text || text.ends_with('\\') {
        return Err(refused(key, value));
    }
    Ok(text.replace('%', "%%"))
}

/// `"NAME=value"`
pub(super) fn assignment(name: &str, value: &OsStr) -> Result<String, UnitError> {
    let value = text("Environment", value)?;
    Ok(quoted(&format!("{name}={value}")))
}

/// A command line; words that need no quotes have none
pub(super) fn command(words: &[impl AsRef<OsStr>]) -> Result<String, UnitError> {
    let mut line = String::new();
    for (index, word) in words.iter().enumerate() {
        let word = text("ExecStart", word.as_ref())?;
        if index == 0 {
            // a relative program would be looked for, and other first characters have meanings
            if !word.starts_with('/') {
                return Err(refused("ExecStart", word.as_ref()));
            }
            line.push_str(&quoted_if_needed(word));
        } else {
            line.push(' ');
            line.push_str(&quoted_if_needed(word).replace('$', "$$"));
        }
    }
    if line.is_empty() {
        return Err(refused("ExecStart", OsStr::new("")));
    }
    Ok(line)
}

fn quoted_if_needed(word: &str) -> String {
    let bare = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-:,=@+%$".contains(&octet);
    if !word.is_empty() && word.bytes().all(bare) {
        word.replace('%', "%%")
    } else {
        quoted(word)
    }
}

fn quoted(word: &str) -> String {
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for character in word.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '%' => text.push_str("%%"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Text without line breaks and other control characters
fn text<'a>(key: &'static str, value: &'a OsStr) -> Result<&'a str, UnitError> {
    value
        .to_str()
        .filter(|text| !text.chars().any(|c| c.is_control() && c != '\t'))
        .ok_or_else(|| refused(key, value))
}

fn refused(key: &'static str, value: &OsStr) -> UnitError {
    UnitError::Value {
        key,
        value: value.to_string_lossy().into_owned(),
    }
}
