//! Scalars as the Skupper tools write them: plain where every YAML reader agrees that it is a text, else quoted.
//!
//! Tokens are compared and edited by people and scripts, so their look is part of the format. The general serializer
//! of this project quotes more than that (`"1.9.6"`), which is right for it and wrong here.

use std::fmt::Write as _;

/// A text as a YAML 1.1 and 1.2 scalar on one line
pub(super) fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Texts that no reader takes for a number, boolean, null, date or syntax
fn is_plain(text: &str) -> bool {
    let safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '+' | '=' | '-' | ':');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(safe)
        && !text.ends_with(':')
        && !is_word(text)
        && !looks_like_number(text)
}

/// Booleans and nulls of YAML 1.1 (types `bool` and `null`)
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "true", "false", "on", "off", "null"];
    WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Integers, floats, base 60 and dates of YAML 1.1, rather one too many
fn looks_like_number(text: &str) -> bool {
    let digits = text.replace('_', "");
    let has_prefix = ["0x", "0o", "0b", "0X", "0O", "0B"]
        .iter()
        .any(|prefix| digits.starts_with(prefix));
    let is_base_60 = digits.contains(':')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ':' | '.'));
    let is_date = digits.len() >= 5
        && digits.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && digits.as_bytes()[4] == b'-';
    digits.parse::<f64>().is_ok() || has_prefix || is_base_60 || is_date
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                write!(quoted, "\\u{:04x}", u32::from(c)).expect("a String takes every text");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use model::yaml;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_where_readers_agree() {
        for plain in [
            "hub.example.com",
            "192.0.2.10",
            "1.9.6",
            "1.4.3",
            "connection-token",
            "kubernetes.io/tls",
            "v1",
            "LS0tLQ==",
            "5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11",
            "12345678-0b3e-4c53-9f0a-2f1b7f1d9a11",
            "/a+b",
            "a:b",
        ] {
            assert_eq!(scalar(plain), plain);
        }
    }

    #[test]
    fn quoted_where_they_do_not() {
        for text in [
            "",
            "no",
            "Yes",
            "NULL",
            "n",
            "55671",
            "1.9",
            "010",
            "1e3",
            "0x1f",
            "1_000",
            "12:30",
            "190:20:30.15",
            "2026-01-01",
            "inf",
            "NaN",
            "::1",
            "a:",
            "-",
            "=",
            "a b",
            "#",
            "~",
            "é",
            "a\"b\\",
            "[x]",
            "a\nb",
            "\u{7f}",
            "Infinity",
        ] {
            let written = scalar(text);
            assert!(written.starts_with('"'), "{written}");
            assert_eq!(yaml::from_str::<String>(&written).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC{0,20}|[0-9xe_:.+-]{0,8}|[\u{0}-\u{ff}]{0,6}") {
            prop_assert_eq!(yaml::from_str::<String>(&scalar(&text)).unwrap(), text);
        }
    }
}
