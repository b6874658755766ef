//! How a service's octets are understood.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Protocol mapping of a service
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Octets, not looked at
    #[default]
    Tcp,
    /// HTTP/1.1
    Http,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// Word used in flags and files
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Http2 => "http2",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(word: &str) -> Result<Self, UnknownProtocol> {
        match word {
            "tcp" => Ok(Self::Tcp),
            "http" => Ok(Self::Http),
            "http2" => Ok(Self::Http2),
            _ => Err(UnknownProtocol(word.to_owned())),
        }
    }
}

/// A word that names no protocol; the text is that of Skupper 1
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} is not a valid mapping. Choose 'tcp', 'http' or 'http2'.")]
pub struct UnknownProtocol(pub String);
