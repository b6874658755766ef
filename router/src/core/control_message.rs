//! What the control task is told, by drivers, adaptors and whoever configures the router.

use std::{fmt, sync::Arc};

use amqp::engine::LinkId;
use bytes::Bytes;
use model::router_config::RouterConfig;

use super::{
    connection::{ConnectionHandle, ConnectionId},
    idle::IdleWatch,
};
use crate::{adaptor::tcp::TcpConnector, management::Changed};

/// Messages that may wait for the control task.
pub const CONTROL_INBOX: usize = 1 << 17;

/// Sent to the control task.
#[derive(Debug)]
pub enum ControlMessage {
    /// A connection has exchanged Opens.
    ConnectionUp(Arc<ConnectionHandle>),
    /// A connection is gone; all its links with it.
    ConnectionDown(ConnectionId),
    /// Both control links of an inter-router connection are attached.
    ControlLinksUp(ConnectionId),
    /// A control link was detached although the connection is still up.
    ControlLinksDown(ConnectionId),
    /// A routing control message.
    Routing {
        connection: ConnectionId,
        message: Bytes,
    },
    /// A peer receives from this address through the given outgoing link.
    ConsumerUp {
        connection: Arc<ConnectionHandle>,
        link: LinkId,
        key: Arc<str>,
    },
    /// That link is gone.
    ConsumerDown {
        connection: ConnectionId,
        link: LinkId,
    },
    /// A peer sends to this address through the given incoming link; it waits for credit.
    ProducerUp {
        connection: Arc<ConnectionHandle>,
        link: LinkId,
        key: Arc<str>,
    },
    /// That link is gone.
    ProducerDown {
        connection: ConnectionId,
        link: LinkId,
    },
    /// An edge wants to hear which addresses are reachable.
    TrackingUp {
        connection: Arc<ConnectionHandle>,
        link: LinkId,
    },
    /// An edge told its mesh id, which is in the connection's handle.
    MeshChanged(ConnectionId),
    /// Edge router: the interior told whether an address (key with class letter) is reachable.
    Reachable {
        connection: ConnectionId,
        key: String,
        reachable: bool,
    },
    /// Edge router: the link for local producers of an address is attached.
    ProxyUp {
        connection: ConnectionId,
        link: LinkId,
        address: Arc<str>,
    },
    /// A change that management asked for was made, or was refused.
    Changed(Box<Changed>),
    /// A tcpConnector exists or is gone.
    TcpConsumerUp(Arc<TcpConnector>),
    /// See [`ControlMessage::TcpConsumerUp`].
    TcpConsumerDown(Arc<str>),
    /// A tcpListener wants to know whether its address is reachable; key is the address text.
    WatchUp(Arc<str>),
    /// It does not any more.
    WatchDown(Arc<str>),
    /// State of a connector for management.
    ConnectorState { name: String, state: ConnectorState },
    /// A connector was removed from the configuration.
    ConnectorGone { name: String },
    /// A new configuration is in force.
    Configured(Arc<RouterConfig>),
    /// The last configuration file was refused, with the reason; none: it was applied.
    ConfigurationRefused(Option<String>),
    /// Withdraw all addresses, and have others route around this router where they can.
    Drain,
    /// For every connection, see [`Command::WhenIdle`](super::connection_message::Command::WhenIdle).
    WhenIdle(IdleWatch),
}

impl ControlMessage {
    /// The connection whose driver tells it, if it comes from one.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::ConnectionUp(connection)
            | Self::ConsumerUp { connection, .. }
            | Self::ProducerUp { connection, .. }
            | Self::TrackingUp { connection, .. } => Some(connection.id),
            Self::ConnectionDown(connection)
            | Self::ControlLinksUp(connection)
            | Self::ControlLinksDown(connection)
            | Self::Routing { connection, .. }
            | Self::ConsumerDown { connection, .. }
            | Self::ProducerDown { connection, .. }
            | Self::MeshChanged(connection)
            | Self::Reachable { connection, .. }
            | Self::ProxyUp { connection, .. } => Some(*connection),
            Self::Changed(_)
            | Self::TcpConsumerUp(_)
            | Self::TcpConsumerDown(_)
            | Self::WatchUp(_)
            | Self::WatchDown(_)
            | Self::ConnectorState { .. }
            | Self::ConnectorGone { .. }
            | Self::Configured(_)
            | Self::ConfigurationRefused(_)
            | Self::WhenIdle(_)
            | Self::Drain => None,
        }
    }

    /// How much it counts among what a driver may have told and the control task has not handled: one, and one more for
    /// every 4 KiB.
    pub fn weight(&self) -> u32 {
        let octets = match self {
            Self::Routing { message, .. } => message.len(),
            Self::Reachable { key, .. } => key.len(),
            _ => 0,
        };
        u32::try_from(octets / 4096).map_or(u32::MAX, |more| more.saturating_add(1))
    }
}

/// How a connector stands, for management.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConnectorState {
    /// `CONNECTING`, `SUCCESS` or `FAILED`.
    pub status: String,
    /// Why, if it failed.
    pub message: String,
    /// URLs of the servers it may dial, the current one first.
    pub servers: String,
}

/// Shows which message it is, without what is in it.
pub(super) struct Name<'a>(pub(super) &'a ControlMessage);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        f.write_str(text.split([' ', '(', '{']).next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_weigh_more() {
        let connection = ConnectionId(1);
        assert_eq!(ControlMessage::ConnectionDown(connection).weight(), 1);
        for (octets, weight) in [(0, 1), (4095, 1), (4096, 2), (16 << 20, 4097)] {
            let message = ControlMessage::Routing {
                connection,
                message: Bytes::from(vec![0; octets]),
            };
            assert_eq!(message.weight(), weight, "{octets}");
            assert_eq!(message.connection(), Some(connection));
        }
    }
}
