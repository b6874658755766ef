//! Names that are texts.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::NameError;

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_LENGTH: &str = "must be no more than 63 characters";
const LONGEST_LABEL: usize = 63;

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }
    };
}

text_name! {
    /// Name of a site among the sites of one user: an RFC 1123 label of 1 to 63 characters
    Namespace, namespace
}

text_name! {
    /// Name of a site in the network, which is also its router's id: 1 to 200 octets, no white space, `|`, `$`, `/`
    SiteName, site_name
}

text_name! {
    /// Name of a service: a DNS-1035 label of 1 to 63 characters
    ServiceName, service_name
}

text_name! {
    /// Name of a link: lower-case letters, digits, `-` and `.`, with a letter or digit at both ends, 1 to 253 octets
    LinkName, link_name
}

text_name! {
    /// Id of a site: a UUID in its hyphenated lower-case form
    SiteId, site_id
}

impl Namespace {
    /// Whether this is the site that a user has when none is named
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl SiteId {
    /// A new random id
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

fn namespace(text: &str) -> Result<(), NameError> {
    const KIND: &str = "namespace";
    if text.len() > LONGEST_LABEL {
        return Err(NameError::invalid(KIND, text, LABEL_LENGTH));
    }
    if !is_label(
        text,
        |first| first.is_ascii_lowercase() || first.is_ascii_digit(),
        "-",
    ) {
        let rule = "must consist of lower-case letters, digits and '-', with a letter or digit at both ends";
        return Err(NameError::invalid(KIND, text, rule));
    }
    Ok(())
}

fn site_name(text: &str) -> Result<(), NameError> {
    const KIND: &str = "site name";
    if text.is_empty() || text.len() > 200 {
        return Err(NameError::invalid(
            KIND,
            text,
            "must have 1 to 200 characters",
        ));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(NameError::invalid(KIND, text, "value contains spaces"));
    }
    // The id is a segment of topological addresses and part of connection names.
    if text
        .chars()
        .any(|c| matches!(c, '|' | '$' | '/') || c.is_control())
    {
        return Err(NameError::invalid(
            KIND,
            text,
            "must not contain '|', '$', '/' or control characters",
        ));
    }
    Ok(())
}

fn service_name(text: &str) -> Result<(), NameError> {
    let mut rules = Vec::new();
    if text.len() > LONGEST_LABEL {
        rules.push(LABEL_LENGTH);
    }
    if !is_label(text, |first| first.is_ascii_lowercase(), "-") {
        rules.push(DNS_1035);
    }
    if rules.is_empty() {
        Ok(())
    } else {
        Err(NameError::Service {
            value: super::printable(text),
            rules,
        })
    }
}

fn link_name(text: &str) -> Result<(), NameError> {
    const KIND: &str = "link name";
    if text.len() > 253 {
        return Err(NameError::invalid(
            KIND,
            text,
            "must be no more than 253 characters",
        ));
    }
    // The name is a file name too; ".." inside is harmless there because no '/' can follow.
    if !is_label(
        text,
        |first| first.is_ascii_lowercase() || first.is_ascii_digit(),
        "-.",
    ) {
        let rule = "must consist of lower-case letters, digits, '-' and '.', with a letter or digit at both ends";
        return Err(NameError::invalid(KIND, text, rule));
    }
    Ok(())
}

fn site_id(text: &str) -> Result<(), NameError> {
    match uuid::Uuid::try_parse(text) {
        Ok(id) if id.to_string() == text => Ok(()),
        _ => Err(NameError::invalid(
            "site id",
            text,
            "must be a UUID such as 5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11",
        )),
    }
}

/// `first([-a-z0-9]*[a-z0-9])?` with other inner punctuation
fn is_label(text: &str, first: impl Fn(char) -> bool, punctuation: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.chars().next().is_some_and(first)
        && text.chars().next_back().is_some_and(plain)
        && text.chars().all(|c| plain(c) || punctuation.contains(c))
}
