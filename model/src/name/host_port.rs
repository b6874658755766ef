//! A host and a port.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    NameError,
    number::{PORT_RANGE, decimal},
};

const KIND: &str = "address";

/// Where to dial: a host name or IP literal and a port from 1 to 65535
///
/// `host` is without brackets; the text form puts them around IPv6 literals (RFC 3986 §3.2.2): `[2001:db8::1]:55671`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostPort {
    /// Name or literal, no brackets
    pub host: String,
    /// Port
    pub port: u16,
}

impl HostPort {
    /// Checks the host, with or without brackets, and the port
    pub fn new(host: &str, port: u16) -> Result<Self, NameError> {
        let inner = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(literal) if literal.parse::<Ipv6Addr>().is_err() => {
                return Err(NameError::invalid(
                    KIND,
                    host,
                    "only IPv6 literals stand in brackets",
                ));
            }
            Some(literal) => literal,
            None => host,
        };
        if inner.is_empty() {
            return Err(NameError::invalid(KIND, host, "the host is missing"));
        }
        if inner.contains(':') && inner.parse::<Ipv6Addr>().is_err() {
            return Err(NameError::invalid(
                KIND,
                host,
                "a host with colons must be an IPv6 literal",
            ));
        }
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if inner.len() > 253 || !inner.chars().all(allowed) {
            return Err(NameError::invalid(
                KIND,
                host,
                "the host is neither a host name nor an IP literal",
            ));
        }
        if port == 0 {
            return Err(NameError::invalid("port", "0", PORT_RANGE));
        }
        Ok(Self {
            host: inner.to_owned(),
            port,
        })
    }

    /// Reads `host:port` or `[ipv6]:port`
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(NameError::invalid(
                KIND,
                text,
                "must have the form host:port",
            ));
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(NameError::invalid(
                KIND,
                text,
                "an IPv6 literal needs brackets before its port",
            ));
        }
        let port = decimal(port).ok_or_else(|| {
            NameError::invalid(KIND, text, "the port must be a number from 1 to 65535")
        })?;
        Self::new(host, port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for HostPort {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}
