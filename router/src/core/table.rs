//! The forwarding table: an immutable snapshot that the control task replaces and every worker reads without a lock.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use amqp::engine::LinkId;

use super::{
    configured::ConfiguredAddresses,
    connection::{ConnectionHandle, ConnectionId},
};
use crate::{
    adaptor::tcp::TcpConnector,
    routing::{RouteView, Treatment},
};

/// Everything a worker needs to choose where a message goes.
#[derive(Clone, Debug)]
pub struct Table {
    /// Mobile and edge addresses with consumers on this router, by key with class letter.
    pub addresses: HashMap<Arc<str>, Arc<Address>>,
    /// Other routers and what they announced.
    pub routes: Arc<RouteView>,
    /// Inter-router connections of each neighbour, by the id of its control connection.
    pub neighbours: HashMap<u64, Arc<Neighbour>>,
    /// Connections of edges, or of this edge to its interior, that have data connections beside them; by the id of the
    /// connection with the links.
    pub edges: HashMap<ConnectionId, Arc<Neighbour>>,
    /// What the configuration says about addresses.
    pub configured: Arc<ConfiguredAddresses>,
    /// Active uplink of an edge router.
    pub uplink: Option<Arc<ConnectionHandle>>,
}

impl Table {
    /// Table without addresses, connections or other routers.
    pub fn new(routes: Arc<RouteView>) -> Self {
        Self {
            addresses: HashMap::new(),
            routes,
            neighbours: HashMap::new(),
            edges: HashMap::new(),
            configured: Arc::default(),
            uplink: None,
        }
    }

    /// True if a message to the mobile address `address` would find a consumer.
    pub fn is_reachable(&self, address: &str) -> bool {
        self.has_destination(&format!("M{address}"))
    }

    /// True if a message to the address with this key would find a consumer.
    pub fn has_destination(&self, key: &str) -> bool {
        self.addresses
            .get(key)
            .is_some_and(|address| !address.consumers.is_empty())
            || self.routes.addresses.contains_key(key)
    }
}

/// Consumers of one address on this router and the counters for balancing.
#[derive(Debug)]
pub struct Address {
    /// Key with class letter.
    pub key: Arc<str>,
    /// How messages are distributed.
    pub treatment: Treatment,
    /// Consumers on this router and on its edges.
    pub consumers: Vec<Arc<Consumer>>,
    /// Unsettled deliveries sent towards each neighbour, by the id of its control connection.
    pub transit: HashMap<u64, Arc<AtomicU32>>,
    /// Turn of the round robin; shared by all snapshots of the address.
    pub turn: Arc<AtomicUsize>,
    /// For management; shared by all snapshots of the address.
    pub counts: Arc<AddressCounts>,
}

/// Messages of one address so far.
#[derive(Debug, Default)]
pub struct AddressCounts {
    /// From clients, edges and adaptors of this router.
    pub ingress: AtomicU64,
    /// To consumers on this router and its edges.
    pub egress: AtomicU64,
    /// To other interior routers.
    pub transit: AtomicU64,
}

/// Something on this router that takes messages of an address.
#[derive(Debug)]
pub struct Consumer {
    /// What it is.
    pub target: ConsumerTarget,
    /// Deliveries now open at it.
    pub open: Arc<AtomicU32>,
    /// An edge router's link to its interior: not for messages that came from there.
    pub proxy: bool,
}

/// Kinds of consumers.
#[derive(Clone, Debug)]
pub enum ConsumerTarget {
    /// An outgoing link of a connection.
    Link(Arc<ConnectionHandle>, LinkId),
    /// A tcpConnector of this router.
    Tcp(Arc<TcpConnector>),
}

impl Consumer {
    /// Connection of a link consumer.
    pub fn connection(&self) -> Option<&Arc<ConnectionHandle>> {
        match &self.target {
            ConsumerTarget::Link(connection, _) => Some(connection),
            ConsumerTarget::Tcp(_) => None,
        }
    }
}

/// Connections to one neighbouring router.
#[derive(Debug)]
pub struct Neighbour {
    /// Carries routing control or the links of an edge, and complete messages.
    pub control: Arc<ConnectionHandle>,
    /// Carry streams, if there are any.
    pub data: Vec<Arc<ConnectionHandle>>,
    /// Turn of the round robin over `data`.
    pub turn: AtomicUsize,
}

impl Neighbour {
    /// Connection for a new stream: the one that brought the opposite stream, else one of the caller's worker, else the
    /// next in turn. Without data connections, or for a peer that does not trunk, the control connection.
    pub fn for_stream(
        &self,
        preferred: Option<ConnectionId>,
        worker: Option<usize>,
    ) -> &Arc<ConnectionHandle> {
        if self.data.is_empty() || !self.control.trunking {
            return &self.control;
        }
        if self.control.own_peer {
            if let Some(connection) = self
                .data
                .iter()
                .find(|connection| Some(connection.id) == preferred)
            {
                return connection;
            }
            if let Some(connection) = self
                .data
                .iter()
                .find(|connection| Some(connection.worker) == worker)
            {
                return connection;
            }
        }
        &self.data[self.turn.fetch_add(1, Ordering::Relaxed) % self.data.len()]
    }
}
