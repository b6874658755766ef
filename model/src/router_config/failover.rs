//! Servers that take over from one that cannot be reached.

use std::{fmt, str::FromStr};

use super::{
    AMQP_PORT, AMQPS_PORT, AmqpScheme, ConfigError, attributes::Attributes, value::Word as _,
};
use crate::HostPort;

/// Most servers in one list: it has to fit into the first frame of a connection
pub const MAX_FAILOVER_URLS: usize = 32;

/// Where to connect to: `[amqp://|amqps://]host[:port]`
///
/// The scheme is told and shown, as by C routers; whether a connector uses TLS is decided by its `sslProfile`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AmqpUrl {
    /// Protocol
    pub scheme: AmqpScheme,
    /// Host without brackets, and port
    pub address: HostPort,
}

impl AmqpUrl {
    /// Whether both lead to the same place
    pub fn same_place(&self, other: &Self) -> bool {
        let (own, other) = (&self.address, &other.address);
        own.port == other.port && own.host.eq_ignore_ascii_case(&other.host)
    }

    /// The list of a listener: URLs with commas between them
    pub(super) fn read_list(attributes: &mut Attributes<'_>) -> Result<Vec<Self>, ConfigError> {
        const ATTRIBUTE: &str = "failoverUrls";
        let mut urls = Vec::new();
        let text = attributes.text(ATTRIBUTE)?.unwrap_or_default();
        let items = text.split(',').map(str::trim);
        for item in items.filter(|item| !item.is_empty()) {
            let url = item
                .parse()
                .map_err(|reason| attributes.invalid(ATTRIBUTE, reason))?;
            urls.push(url);
        }
        if urls.len() > MAX_FAILOVER_URLS {
            let reason = format_args!("more than {MAX_FAILOVER_URLS} servers");
            return Err(attributes.invalid(ATTRIBUTE, reason));
        }
        Ok(urls)
    }

    /// As [`Self::read_list`] reads it
    pub fn list(urls: &[Self]) -> String {
        let urls: Vec<String> = urls.iter().map(Self::to_string).collect();
        urls.join(", ")
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

impl FromStr for AmqpUrl {
    type Err = String;

    /// The error is a reason, in words
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            None => (AmqpScheme::Amqp, text),
            Some((word, rest)) => (
                AmqpScheme::from_word(word).ok_or_else(|| {
                    format!(
                        "the scheme of {text:?} is not one of {}",
                        AmqpScheme::choices()
                    )
                })?,
                rest,
            ),
        };
        let has_port = rest
            .rsplit_once(':')
            .is_some_and(|(_, after)| !after.contains(']'));
        let address = if has_port {
            HostPort::parse(rest)
        } else {
            HostPort::new(rest, scheme.port())
        };
        Ok(Self {
            scheme,
            address: address.map_err(|error| error.to_string())?,
        })
    }
}

impl AmqpScheme {
    /// Where servers listen unless told otherwise
    pub fn port(self) -> u16 {
        match self {
            Self::Amqp => AMQP_PORT,
            Self::Amqps => AMQPS_PORT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_and_without_their_parts() {
        for (text, expected) in [
            ("amqp://h:1", "amqp://h:1"),
            ("amqps://h:1", "amqps://h:1"),
            ("h:1", "amqp://h:1"),
            ("h", "amqp://h:5672"),
            ("amqps://10.0.0.1", "amqps://10.0.0.1:5671"),
            ("[2001:db8::1]", "amqp://[2001:db8::1]:5672"),
            ("amqp://[2001:db8::1]:7", "amqp://[2001:db8::1]:7"),
        ] {
            let url: AmqpUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), expected, "{text}");
            assert_eq!(expected.parse::<AmqpUrl>().unwrap(), url);
        }
        for text in [
            "",
            "http://h:1",
            "h:0",
            "h:99999",
            "h:x",
            ":1",
            "a b:1",
            "amqp://",
            "2001:db8::1",
        ] {
            let parsed = text.parse::<AmqpUrl>();
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn a_place_does_not_depend_on_scheme_and_case() {
        let url = |text: &str| text.parse::<AmqpUrl>().unwrap();
        assert!(url("amqp://Hub:5671").same_place(&url("amqps://hub:5671")));
        assert!(!url("hub:5671").same_place(&url("hub:5672")));
    }
}
