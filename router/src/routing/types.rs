//! The nouns of the routing protocol that other modules see.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::MessageError;

/// Identity of an interior router (`router.id`); ordered as the protocol orders routers, by octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(Arc<str>);

impl RouterId {
    /// The bare id, without the `0/` of annotations.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RouterId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for RouterId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl Borrow<str> for RouterId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RouterId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One inter-router control connection; the number is the caller's.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct ControlLink(pub u64);

/// How deliveries to an address are distributed; the number is the hint of MAU descriptors.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
#[repr(u8)]
pub enum Treatment {
    /// Every link, without the valid-origin test; the protocol's own addresses only.
    Flood = 0,
    /// One copy to every destination.
    Multicast = 1,
    /// The destination of least cost.
    Closest = 2,
    /// Spread by outstanding deliveries and cost.
    Balanced = 3,
    /// Refused.
    Unavailable = 4,
}

impl Treatment {
    /// The treatment behind a MAU hint; `None` for numbers without meaning ("the receiver's default").
    pub fn from_hint(hint: i64) -> Option<Self> {
        match hint {
            0 => Some(Self::Flood),
            1 => Some(Self::Multicast),
            2 => Some(Self::Closest),
            3 => Some(Self::Balanced),
            4 => Some(Self::Unavailable),
            _ => None,
        }
    }

    /// Number in MAU descriptors.
    pub fn hint(self) -> u8 {
        self as u8
    }
}

/// Parameters of the protocol (`router` entity of the configuration).
#[derive(Clone, Debug)]
pub struct Config {
    /// Own id.
    pub id: RouterId,
    /// Boot identity: Unix time at start, in seconds. Must differ from the previous run's.
    pub instance: i64,
    /// A random number above 1 that tells this process from another one with the same id and instance. `None`: untold.
    pub process: Option<u32>,
    /// How often to look for another router with this id behind C routers. `None`: never.
    pub twin_search: Option<Duration>,
    /// Period of HELLO.
    pub hello_interval: Duration,
    /// A neighbour without HELLO for longer is lost.
    pub hello_max_age: Duration,
    /// Period of RA while the topology is stable.
    pub ra_interval: Duration,
    /// Period of RA for twice this time after a change.
    pub ra_interval_flux: Duration,
    /// A remote link state without RA or LSU for longer is forgotten.
    pub remote_ls_max_age: Duration,
    /// Addresses of a router unreachable for longer are forgotten.
    pub unreachable_holdoff: Duration,
    /// Routers that are tracked at most, this one included.
    pub max_routers: usize,
    /// Treatment of announced addresses whose hint has no meaning (`defaultDistribution`).
    pub default_treatment: Treatment,
}

impl Config {
    /// The defaults of every router version: HELLO 1 s/3 s, RA 30 s/4 s, link state 60 s, hold-off 1 s, 1000 routers.
    pub fn new(id: RouterId, instance: i64) -> Self {
        Self {
            id,
            instance,
            process: None,
            twin_search: None,
            hello_interval: Duration::from_secs(1),
            hello_max_age: Duration::from_secs(3),
            ra_interval: Duration::from_secs(30),
            ra_interval_flux: Duration::from_secs(4),
            remote_ls_max_age: Duration::from_secs(60),
            unreachable_holdoff: Duration::from_secs(1),
            max_routers: 1000,
            default_treatment: Treatment::Balanced,
        }
    }
}

/// What [`Routing`](super::Routing) asks its caller to do.
#[derive(Debug)]
pub enum Output {
    /// A complete message, to be sent pre-settled on that control link. Own and forwarded ones alike.
    Send {
        /// Where to.
        link: ControlLink,
        /// Octets of the AMQP message, router annotations first.
        message: Bytes,
    },
    /// [`Routing::view`](super::Routing::view) has a new value.
    ViewChanged,
    /// Another running router uses our id. At most one of these in ten seconds.
    DuplicateId {
        /// Our id.
        id: RouterId,
    },
    /// The router at the other end of the link has confirmed that it hears us.
    NeighbourUp {
        /// Its control link.
        link: ControlLink,
        /// Its id.
        id: RouterId,
    },
    /// The neighbour is no longer reached over this link.
    NeighbourDown {
        /// Its former control link.
        link: ControlLink,
        /// Its id.
        id: RouterId,
    },
    /// Something worth a line in the log.
    Log(LogEvent),
}

/// Events for the log; `Display` gives the line.
#[derive(Debug, thiserror::Error)]
pub enum LogEvent {
    /// A message that was ignored as a whole.
    #[error("malformed control message on link {}: {error}", link.0)]
    Malformed {
        /// Where it arrived.
        link: ControlLink,
        /// What is wrong with it.
        error: MessageError,
    },
    /// A peer speaks a newer protocol; its messages are ignored. Once per router.
    #[error(
        "router {id} speaks protocol version {version}, newer than ours: its messages are ignored"
    )]
    UnsupportedVersion {
        /// The sender.
        id: RouterId,
        /// What it speaks.
        version: i64,
    },
    /// A differential MAU did not continue the known sequence; an absolute one was asked for.
    #[error("address update of router {id} is number {received}, expected {expected}")]
    MobileGap {
        /// The announcing router.
        id: RouterId,
        /// Known sequence + 1.
        expected: i64,
        /// Sequence in the message.
        received: i64,
    },
    /// MAU from a router that is not known (yet).
    #[error("MAU from unknown router {id} is ignored")]
    UnknownRouter {
        /// The sender.
        id: RouterId,
    },
    /// A router came back with a new instance; what was known of it is forgotten.
    #[error("router {id} has restarted")]
    Restarted {
        /// The router.
        id: RouterId,
    },
    /// A router enters the tables.
    #[error("router {id} is known now")]
    RouterLearned {
        /// The router.
        id: RouterId,
    },
    /// A router that nobody mentions any more leaves the tables.
    #[error("router {id} is forgotten")]
    RouterForgotten {
        /// The router.
        id: RouterId,
    },
    /// The network is about to exceed what C routers support (128).
    #[error("{count} routers in the network: other implementations support 128 at most")]
    ManyRouters {
        /// Routers known, this one included.
        count: usize,
    },
    /// The limit is reached, the router is not tracked.
    #[error("router {id} is ignored: the network has {limit} routers already")]
    TooManyRouters {
        /// The router that is ignored.
        id: RouterId,
        /// [`Config::max_routers`].
        limit: usize,
    },
    /// A router announces more addresses than are kept for one router.
    #[error("router {id} announces more than {limit} addresses: the rest is ignored")]
    TooManyAddresses {
        /// The announcing router.
        id: RouterId,
        /// What is kept.
        limit: usize,
    },
}
