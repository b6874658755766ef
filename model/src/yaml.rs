//! YAML in and out, always into typed models.
//!
//! One place for the limits: our documents are small, so the budget is small too, and a bomb of nested aliases
//! ends early. Errors never quote the source text, because the source may hold private keys.

use serde::{Serialize, de::DeserializeOwned};

/// Largest text accepted, in octets
pub const MAX_TEXT: usize = 4 * 1024 * 1024;

/// A document could not be read or written
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// Larger than [`MAX_TEXT`]
    #[error("document of {size} octets is larger than {MAX_TEXT}")]
    TooLarge {
        /// Octets of the text
        size: usize,
    },
    /// Not YAML, or not the shape that was expected; the text gives line and column
    #[error("{0}")]
    Read(String),
    /// A value that YAML cannot express
    #[error("{0}")]
    Write(String),
}

/// Reads exactly one document
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    check_size(text)?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| read_error(&error))
}

/// Reads a stream of documents separated by `---`; empty ones are skipped
pub fn documents_from_str<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, YamlError> {
    check_size(text)?;
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| read_error(&error))
}

/// Writes one document; strings that YAML 1.1 readers would take for something else (`no`, `010`) are quoted
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| YamlError::Write(error.to_string()))
}

fn check_size(text: &str) -> Result<(), YamlError> {
    if text.len() > MAX_TEXT {
        Err(YamlError::TooLarge { size: text.len() })
    } else {
        Ok(())
    }
}

fn read_error(error: &serde_saphyr::Error) -> YamlError {
    // Readers print this after a colon, in one line.
    let text = error.to_string();
    YamlError::Read(
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 100,
            max_anchors: 100,
            max_depth: 32,
            max_documents: 256,
            max_events: 100_000,
            max_nodes: 50_000,
            max_merge_keys: 10,
        },
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Texts = BTreeMap<String, String>;

    #[test]
    fn words_and_numbers_of_yaml_1_1_are_quoted() {
        for word in [
            "no", "yes", "on", "y", "null", "~", "123", "010", "0x1", "1e3", "1.5", "12:30", "",
            " a", "a: b", "#x",
        ] {
            let text = to_string(&Texts::from([("key".to_owned(), word.to_owned())])).unwrap();
            assert!(
                text.starts_with("key: \"") || text.starts_with("key: '"),
                "{text}"
            );
        }
    }

    #[test]
    fn streams_skip_empty_documents() {
        let text = "# comment\n---\na: b\n---\n---\nc: \"no\"\n...\n";
        let documents: Vec<Texts> = documents_from_str(text).unwrap();
        assert_eq!(
            documents,
            [
                Texts::from([("a".into(), "b".into())]),
                Texts::from([("c".into(), "no".into())])
            ]
        );
        assert!(
            from_str::<Texts>(text).is_err(),
            "one document was asked for"
        );
    }

    #[test]
    fn duplicate_keys_are_an_error() {
        assert!(from_str::<Texts>("a: b\na: c\n").is_err());
    }

    #[test]
    fn errors_are_one_line_with_a_position_and_without_the_source() {
        for text in [
            "secret-a: [secret-b\n",
            "key: b\n  - secret-c\n: secret-d",
            "key: secret-e\nkey2: *secret-f\n",
        ] {
            let error = from_str::<Texts>(text).unwrap_err().to_string();
            assert!(error.contains("line") && !error.contains('\n'), "{error}");
            assert!(
                !error.contains("secret-b")
                    && !error.contains("secret-c")
                    && !error.contains("secret-e"),
                "{error}"
            );
        }
    }

    #[test]
    fn bombs_end_early() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![format!("*a{}", level - 1); 10].join(", ")
            ));
        }
        assert!(from_str::<BTreeMap<String, serde_json::Value>>(&text).is_err());
        let deep = "[".repeat(100_000);
        assert!(from_str::<serde_json::Value>(&deep).is_err());
        let long = " ".repeat(MAX_TEXT + 1);
        assert!(matches!(
            from_str::<Texts>(&long),
            Err(YamlError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(texts in proptest::collection::btree_map("\\PC{0,8}|[0-9a-z~:.-]{0,6}", "\\PC{0,20}|[\u{0}-\u{ff}]{0,8}|[0-9xe_:.+-]{0,8}", 0..4)) {
            let text = to_string(&texts).unwrap();
            prop_assert_eq!(from_str::<Texts>(&text).unwrap(), texts);
        }
    }
}
