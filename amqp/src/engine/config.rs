use std::fmt;
use std::time::Duration;

use crate::performative::Open;
use crate::sasl::{ANONYMOUS, EXTERNAL};
use crate::types::Symbol;

/// What a connection offers and tolerates.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// The local Open. Its `max_frame_size` and `channel_max` are enforced on what the peer sends.
    pub open: Open,
    /// The connection is closed when nothing arrived for so long. Half of it is advertised, unless
    /// `open.idle_time_out` says otherwise.
    pub idle_timeout: Option<Duration>,
    /// Transfer frames that the peer may send per session before the window is reopened; at least 1.
    pub incoming_window: u32,
    /// Links of the connection, both directions together.
    pub max_links: u32,
    /// Sessions of the connection.
    pub max_sessions: u16,
    /// Unsettled deliveries per session and direction.
    pub max_unsettled: u32,
    /// Octets of the largest frame to send, however large a one the peer accepts. `None`: 1 MiB.
    pub transmit_frame_limit: Option<u32>,
    /// Every frame received counts as consumed at once, but for those that the application
    /// [holds](super::Connection::hold_window). Otherwise the application says what it has consumed with
    /// [`release_window`](super::Connection::release_window).
    pub auto_window: bool,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            open: Open {
                max_frame_size: 16_384,
                channel_max: 32_767,
                ..Open::default()
            },
            idle_timeout: None,
            incoming_window: 8192,
            max_links: 65_536,
            max_sessions: 32_767,
            max_unsettled: 131_072,
            transmit_frame_limit: None,
            auto_window: true,
        }
    }
}

/// How a client authenticates.
#[derive(Clone, Debug)]
pub enum ClientSasl {
    /// No SASL layer.
    None,
    External,
    Anonymous {
        /// Anything; servers only log it.
        trace: String,
    },
    Plain {
        user: String,
        password: Password,
    },
    /// The first of these that the server offers: EXTERNAL if `external_available` (there is a TLS client
    /// certificate), PLAIN if there are credentials, ANONYMOUS.
    Auto {
        external_available: bool,
        plain: Option<(String, Password)>,
    },
}

/// Whether a user, the first argument, has the password in the second.
pub type PasswordCheck = Box<dyn Fn(&str, &str) -> bool + Send>;

/// How a server authenticates its clients.
pub struct ServerSasl {
    /// Mechanisms offered, of EXTERNAL, ANONYMOUS and PLAIN.
    pub mechanisms: Vec<Symbol>,
    /// Without it, a client may start with the AMQP header.
    pub required: bool,
    /// The identity in the verified TLS client certificate; without one, EXTERNAL fails.
    pub external_identity: Option<String>,
    /// Whether user and password are right; without it, PLAIN fails.
    pub plain: Option<PasswordCheck>,
}

impl ServerSasl {
    /// Offers ANONYMOUS.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            mechanisms: vec![ANONYMOUS],
            required: true,
            external_identity: None,
            plain: None,
        }
    }

    /// Offers EXTERNAL; `identity` is that of the verified client certificate.
    #[must_use]
    pub fn external(identity: Option<String>) -> Self {
        Self {
            mechanisms: vec![EXTERNAL],
            required: true,
            external_identity: identity,
            plain: None,
        }
    }
}

impl fmt::Debug for ServerSasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSasl")
            .field("mechanisms", &self.mechanisms)
            .field("required", &self.required)
            .field("external_identity", &self.external_identity)
            .finish_non_exhaustive()
    }
}

/// A secret that does not show in debug output.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

impl Password {
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self(password.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
