//! One AMQP connection as the rest of the router sees it: its number, its role, and the handle by which its driver is
//! reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize},
    },
    time::Instant,
};

use amqp::{Value, performative::DeliveryState};
use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;

use super::{
    connection_message::{Command, ConnectionMessage, Via},
    delivery::Delivery,
    inbox::Inbox,
    links::Links,
};

/// Number of a connection, unique for the life of the router.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// What a connection is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionRole {
    /// Any AMQP client.
    Normal,
    /// Control connection between interior routers.
    InterRouter,
    /// Data connection beside a control connection.
    InterRouterData,
    /// Between an edge router and an interior.
    Edge,
    /// Beside the connection of an edge router, between routers of this implementation: carries streams only.
    EdgeData,
}

impl ConnectionRole {
    /// Word used by management.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::InterRouter => "inter-router",
            Self::InterRouterData => "inter-router-data",
            Self::Edge => "edge",
            Self::EdgeData => "edge-data",
        }
    }

    /// True if an interior router is at each end.
    pub fn is_between_interiors(self) -> bool {
        matches!(self, Self::InterRouter | Self::InterRouterData)
    }

    /// True if it is beside a main connection and carries streams only.
    pub fn is_data(self) -> bool {
        matches!(self, Self::InterRouterData | Self::EdgeData)
    }

    /// True if an edge router is at one end.
    pub fn is_edge(self) -> bool {
        matches!(self, Self::Edge | Self::EdgeData)
    }
}

/// The router's view of one AMQP connection, shared by everything that sends to it.
#[derive(Debug)]
pub struct ConnectionHandle {
    /// Number of the connection.
    pub id: ConnectionId,
    /// Messages to its driver.
    pub inbox: Arc<Inbox<ConnectionMessage>>,
    /// Worker on which its driver runs.
    pub worker: usize,
    /// Role after both Opens.
    pub role: ConnectionRole,
    /// This side dialled.
    pub outgoing: bool,
    /// The peer accepts streaming links.
    pub streaming: bool,
    /// The peer lets data connections carry streams.
    pub trunking: bool,
    /// The peer is a router of this implementation.
    pub own_peer: bool,
    /// Container id of the peer; a router id on router connections.
    pub container: String,
    /// What management shows.
    pub facts: ConnectionFacts,
    /// Mesh of the edge router at the other end, once it has told. It may change.
    pub mesh: ArcSwapOption<String>,
    /// Octets received and sent in AMQP frames.
    pub octets_in: AtomicU64,
    /// See `octets_in`.
    pub octets_out: AtomicU64,
    /// Second of the router's life in which the last message began to arrive or to leave, plus one; 0: none did.
    pub last_delivery: AtomicU32,
    /// Its links, as management shows them.
    pub links: Links,
    /// Octets of answers of management to requests of this connection that nobody has read yet.
    pub answers: Arc<AtomicUsize>,
    /// Cancelled when the interior router at the other end is about to end: another one is to take its place.
    pub leaving: CancellationToken,
}

/// Facts of a connection that only management shows.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFacts {
    /// Peer address of an incoming connection, configured `host:port` of an outgoing one.
    pub host: String,
    /// Name of the listener or connector.
    pub name: String,
    /// The peer came over a Unix socket or from a loopback address.
    pub on_this_host: bool,
    /// SASL mechanism.
    pub sasl: String,
    /// Identity that SASL established. Before: what to call the holder of the peer's certificate, if the profile says so.
    pub user: Option<String>,
    /// TLS protocol and cipher suite.
    pub tls: Option<(String, String)>,
    /// String and integer properties of the peer's Open.
    pub properties: Vec<(String, Value)>,
    /// Link cost of the connection.
    pub cost: u32,
    /// Correlates data connections with their control connection.
    pub group: Option<String>,
    /// Number of the certificates with which the group was made, if the dialling side tells it.
    pub group_ordinal: Option<u64>,
    /// When both Opens were exchanged.
    pub opened: Option<Instant>,
}

impl ConnectionHandle {
    /// Hands a message to the driver; if that is impossible the message is released to its source.
    pub fn deliver(&self, via: Via, delivery: Arc<Delivery>) {
        if let Err(ConnectionMessage::Deliver { delivery, .. }) = self
            .inbox
            .push(ConnectionMessage::Deliver { via, delivery })
        {
            delivery.report(Some(DeliveryState::Released), true);
        }
    }

    /// True if the peer is an edge of this mesh.
    pub fn is_in_mesh(&self, mesh: Option<&str>) -> bool {
        mesh.is_some() && self.mesh.load().as_ref().map(|own| own.as_str()) == mesh
    }

    /// Major and minor number of the release of the C router that the peer says it is. Builds without a version say
    /// 0.0.0 and have none.
    pub fn release(&self) -> Option<(u32, u32)> {
        let version = self
            .facts
            .properties
            .iter()
            .find(|(key, _)| key == "version");
        let (_, version) = version.filter(|_| !self.own_peer)?;
        let mut numbers = version
            .as_str()?
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (None | Some(0), _) | (_, None) => None,
            (Some(major), Some(minor)) => Some((major, minor)),
        }
    }

    /// Asks the driver to do something; false if that is lost: the connection is ending, or drowning.
    pub fn command(&self, command: Command) -> bool {
        self.inbox.push(ConnectionMessage::Command(command)).is_ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn peer(version: Option<&str>, own_peer: bool) -> ConnectionHandle {
        ConnectionHandle {
            id: ConnectionId(1),
            inbox: Arc::new(Inbox::new(1)),
            worker: 0,
            role: ConnectionRole::InterRouter,
            outgoing: false,
            streaming: true,
            trunking: true,
            own_peer,
            container: "peer".to_owned(),
            facts: ConnectionFacts {
                properties: version
                    .map(|version| ("version".to_owned(), Value::from(version)))
                    .into_iter()
                    .collect(),
                ..ConnectionFacts::default()
            },
            mesh: ArcSwapOption::empty(),
            octets_in: AtomicU64::new(0),
            octets_out: AtomicU64::new(0),
            last_delivery: AtomicU32::new(0),
            links: Links::default(),
            answers: Arc::default(),
            leaving: CancellationToken::new(),
        }
    }

    #[test]
    fn releases_of_c_routers_are_numbers() {
        for (version, release) in [
            (Some("2.4.3"), Some((2, 4))),
            (Some("2.10.1"), Some((2, 10))),
            (Some("3.5.1"), Some((3, 5))),
            (Some("3.6.0-rc1"), Some((3, 6))),
            (Some("0.0.0"), None),
            (Some("main"), None),
            (None, None),
        ] {
            assert_eq!(peer(version, false).release(), release, "{version:?}");
        }
        assert_eq!(
            peer(Some("1.9.6"), true).release(),
            None,
            "own peers state the compatibility version"
        );
    }
}
