//! Words that attributes take.

use std::fmt;

/// An enumeration whose variants are written as fixed words
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All values
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the file
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Word for $name {
            fn all() -> &'static [Self] {
                Self::ALL
            }

            fn word(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

pub(super) trait Word: Copy + 'static {
    fn all() -> &'static [Self];

    fn word(self) -> &'static str;

    fn from_word(word: &str) -> Option<Self> {
        Self::all()
            .iter()
            .copied()
            .find(|value| value.word() == word)
    }

    fn choices() -> String {
        Self::all()
            .iter()
            .map(|value| value.word())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

words! {
    /// Place of a router in the network
    Mode {
        /// Alone
        Standalone = "standalone",
        /// Routes for others
        Interior = "interior",
        /// Hangs on one interior router
        Edge = "edge",
    }
}

words! {
    /// What is expected of the peer of a connection
    Role {
        /// Any AMQP peer
        Normal = "normal",
        /// Another interior router
        InterRouter = "inter-router",
        /// An edge router, or the interior router of one
        Edge = "edge",
    }
}

words! {
    /// How deliveries are spread over the consumers of an address
    Distribution {
        /// To the least loaded
        Balanced = "balanced",
        /// To one with the lowest cost
        Closest = "closest",
        /// To all
        Multicast = "multicast",
        /// To none: links are refused
        Unavailable = "unavailable",
    }
}

words! {
    /// Protocol of a URL
    AmqpScheme {
        /// AMQP, with TLS or without
        Amqp = "amqp",
        /// AMQP in TLS
        Amqps = "amqps",
    }
}

words! {
    /// How a TCP listener with several addresses chooses the one of a new client
    MultiAddressStrategy {
        /// It has one address
        None = "none",
        /// The reachable one with the highest value
        Priority = "priority",
        /// Any reachable one, the more often the higher its value
        Weighted = "weighted",
    }
}

words! {
    /// Framing of TCP streams between routers
    Encapsulation {
        /// Found out by asking the other router
        Auto = "auto",
        /// That of Skupper 1 routers
        Legacy = "legacy",
        /// That of Skupper 2 routers
        Lite = "lite",
    }
}

words! {
    /// On which side router annotations are removed
    StripAnnotations {
        /// From what comes in
        In = "in",
        /// From what goes out
        Out = "out",
        /// From both
        Both = "both",
        /// From neither
        No = "no",
    }
}

words! {
    /// Internet protocol that a host name is resolved for
    AddressFamily {
        /// IPv4 only
        V4 = "IPv4",
        /// IPv6 only
        V6 = "IPv6",
    }
}

words! {
    /// Importance of a log line, rising
    LogLevel {
        /// Every frame
        Trace = "trace",
        /// For the makers
        Debug = "debug",
        /// What happens
        Info = "info",
        /// What happens, if it matters
        Notice = "notice",
        /// Odd, but handled
        Warning = "warning",
        /// Something did not work
        Error = "error",
        /// The router cannot go on
        Critical = "critical",
    }
}

words! {
    /// Kind of an [`Entity`](super::Entity)
    EntityKind {
        /// `sslProfile`
        SslProfile = "sslProfile",
        /// `proxyProfile`
        ProxyProfile = "proxyProfile",
        /// `listener`
        Listener = "listener",
        /// `connector`
        Connector = "connector",
        /// `address`
        Address = "address",
        /// `tcpListener`
        TcpListener = "tcpListener",
        /// `listenerAddress`
        ListenerAddress = "listenerAddress",
        /// `tcpConnector`
        TcpConnector = "tcpConnector",
        /// `log`
        Log = "log",
    }
}

/// A text that logs and errors must not show
#[derive(Clone, Eq, PartialEq)]
pub struct Sensitive(String);

impl Sensitive {
    /// Hides a text
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
