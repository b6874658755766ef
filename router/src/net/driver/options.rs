//! How a connection is to be driven, and why it ended.

use std::time::Duration;

use model::router_config::AmqpUrl;
use tokio::sync::watch;

use super::{Group, LocalOpen};
use crate::core::{
    connection::{ConnectionFacts, ConnectionId, ConnectionRole},
    shared::Shared,
};

/// How a connection is to be driven.
#[derive(Clone, Debug)]
pub struct Options {
    /// Role of the listener or connector; a listener's inter-router role becomes a data role if the peer says so.
    pub role: ConnectionRole,
    /// This side dialled.
    pub outgoing: bool,
    /// Link cost of listener or connector.
    pub cost: u32,
    /// Group of a connector's connections.
    pub group: Option<Group>,
    /// Told the group once data connections may be made beside this connection.
    pub beside: Option<watch::Sender<Option<Group>>>,
    /// Servers to tell the peer of; of listeners only.
    pub failover: Vec<AmqpUrl>,
    /// Frame size of the configuration.
    pub max_frame_size: u32,
    /// Configured idle time-out; half of it is advertised.
    pub idle_timeout: Duration,
    /// Sessions that the peer may have; at least 1.
    pub max_sessions: u16,
    /// Credit per link.
    pub link_capacity: u32,
    /// Host, name, TLS facts and so on, for management.
    pub facts: ConnectionFacts,
}

/// The Open of a connection as far as the local side decides it.
pub fn local_open<'a>(
    shared: &'a Shared,
    id: ConnectionId,
    options: &'a Options,
    role: ConnectionRole,
) -> LocalOpen<'a> {
    LocalOpen {
        container: &shared.space.id,
        hostname: options.outgoing.then(|| {
            options
                .facts
                .host
                .rsplit_once(':')
                .map_or(options.facts.host.clone(), |(host, _)| {
                    host.trim_matches(['[', ']']).to_owned()
                })
        }),
        role,
        cost: options.cost,
        number: id.0,
        group: options
            .group
            .as_ref()
            .filter(|_| options.outgoing)
            .map(|group| &*group.correlator),
        ordinal: options
            .group
            .as_ref()
            .filter(|_| options.outgoing)
            .and_then(|group| group.ordinal),
        failover: if options.outgoing {
            &[]
        } else {
            &options.failover
        },
        max_frame_size: options.max_frame_size,
        max_sessions: options.max_sessions,
        idle_time_out: (!options.idle_timeout.is_zero())
            .then(|| u32::try_from(options.idle_timeout.as_millis() / 2).unwrap_or(u32::MAX)),
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The peer or this side closed in order.
    #[error("closed")]
    Closed,
    /// The peer closed with an error.
    #[error("closed by the peer: {0}")]
    ByPeer(String),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The peer closed the socket without an AMQP close.
    #[error("the peer closed the socket")]
    Eof,
    /// A violation of the protocol, or refused authentication.
    #[error("{0}")]
    Protocol(String),
    /// Nothing came from the peer for too long.
    #[error("{0}")]
    Idle(String),
    /// The peer has the id of this router: a network where that happens cannot route.
    #[error("another router with the id \"{0}\" is already in the network")]
    DuplicateId(String),
    /// Closed by the control task, a configuration change or shutdown.
    #[error("closed by this router")]
    Cancelled,
}
