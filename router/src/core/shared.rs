//! What the parts of one running router share: handles of connections, the messages between drivers and the control
//! task, and the current forwarding table.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use amqp::{
    Value,
    engine::{DeliveryKey, LinkId},
    performative::Condition,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    address::AddressSpace,
    delivery::Delivery,
    flows::{Flow, FlowGuard, FlowPeer, Flows},
    inbox::Inbox,
    links::Links,
    local::LocalAddresses,
    readiness::Readiness,
    requests::Requests,
    table::Table,
};
use crate::{
    adaptor::tcp::Findings,
    net::complaints::Complaints,
    routing::{RouteView, RouterId},
    worker::WorkerHandle,
};

/// Messages that may wait for one connection; far above what link credit lets through.
pub const CONNECTION_INBOX: usize = 1 << 16;
/// Messages that may wait for the control task.
pub const CONTROL_INBOX: usize = 1 << 17;
/// Credit given on each link (`linkCapacity`).
pub const LINK_CAPACITY: u32 = 250;

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

/// How a message leaves on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// The control link.
    Control,
    /// The data link of the message's priority.
    Data,
    /// A streaming link of its own.
    Stream,
    /// One given outgoing link.
    Link(LinkId),
    /// The anonymous link of an edge router to its interior.
    Uplink,
}

/// Sent to the driver of a connection.
#[derive(Debug)]
pub enum ConnectionMessage {
    /// Send this message.
    Deliver { via: Via, delivery: Arc<Delivery> },
    /// An outgoing link's current message has new octets or has ended.
    Ready(LinkId),
    /// The source of a message that was sent has settled it.
    SourceSettled(DeliveryKey),
    /// An incoming message has feedback.
    Feedback(DeliveryKey),
    /// Something the control task wants done.
    Command(Command),
}

/// What the control task asks of a driver.
#[derive(Debug)]
pub enum Command {
    /// Give credit to a producer whose address got a destination.
    Credit(LinkId),
    /// Edge router: this connection is now the active uplink; attach the fixed links.
    ActivateUplink,
    /// Edge router: represent local consumers of the address.
    AttachConsumer(Arc<str>),
    /// Edge router: represent local producers of the address.
    AttachProducer(Arc<str>),
    /// Edge router: the last local consumer or producer of the address is gone.
    DetachProxy { address: Arc<str>, consumer: bool },
    /// Of what this driver has told the control task, so much ([`ControlMessage::weight`]) has been handled.
    Handled(u32),
    /// Close the connection as soon as no message is under way on it.
    Retire,
    /// Let go of this as soon as no message is under way on the connection.
    WhenIdle(IdleWatch),
    /// Close the connection with this condition; none closes the socket without an AMQP close.
    Close(Option<Condition>),
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
            delivery.report(Some(amqp::performative::DeliveryState::Released), true);
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
    Changed(Box<crate::management::Changed>),
    /// A tcpConnector exists or is gone.
    TcpConsumerUp(Arc<crate::adaptor::tcp::TcpConnector>),
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
    Configured(Arc<model::router_config::RouterConfig>),
    /// The last configuration file was refused, with the reason; none: it was applied.
    ConfigurationRefused(Option<String>),
    /// Withdraw all addresses, and have others route around this router where they can.
    Drain,
    /// For every connection, see [`Command::WhenIdle`].
    WhenIdle(IdleWatch),
}

/// Held by each connection with messages under way; whoever gave it out is told when nobody holds it any more.
#[derive(Clone, Debug)]
pub struct IdleWatch {
    _held: TaskTrackerToken,
    busy: Arc<AtomicBool>,
}

impl IdleWatch {
    /// Somebody who holds it was not idle at once.
    pub fn note_busy(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }
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

/// Everything that drivers, flows and the control task of one router share.
#[derive(Debug)]
pub struct Shared {
    /// Names of this router in addresses.
    pub space: AddressSpace,
    /// `0/<id>`, as it stands in traces.
    pub trace_entry: String,
    /// Mesh id of this edge router.
    pub mesh: String,
    /// Unix seconds at start, the router's instance.
    pub instance: i64,
    /// Current forwarding table.
    pub table: ArcSwap<Table>,
    /// Tells listeners that the table changed.
    pub table_changed: watch::Sender<u64>,
    /// Dynamic addresses of this router.
    pub local: LocalAddresses,
    /// Messages to the control task.
    pub control: Inbox<ControlMessage>,
    /// Management requests, which the control task takes when it has nothing more urgent.
    pub requests: Requests,
    /// Workers, by index.
    pub workers: Vec<WorkerHandle>,
    /// Counters of the whole router.
    pub counters: Counters,
    /// Tasks of TCP adaptors now running: flows, and translations between framings.
    pub tasks: TaskTracker,
    /// TCP flows now open.
    pub flows: Arc<Flows>,
    /// Whether the router serves.
    pub readiness: Readiness,
    /// What was complained of lately.
    pub(crate) complaints: Complaints,
    /// Framing of consumers, as openers found it out.
    pub framings: Arc<Findings>,
    started: Instant,
    next_connection: AtomicU64,
    next_link: AtomicU64,
    next_tag: AtomicU64,
    next_worker: AtomicUsize,
    next_flow: AtomicU64,
    /// Five random characters that make flow ids of this router unique.
    pub flow_prefix: String,
}

/// Counters of the whole router, as management and metrics show them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Deliveries that came from clients, edge routers and adaptors.
    pub ingress: AtomicU64,
    /// Deliveries that left to clients, edge routers and adaptors.
    pub egress: AtomicU64,
    /// Deliveries that left to interior routers.
    pub transit: AtomicU64,
    /// Outcomes seen on deliveries.
    pub accepted: AtomicU64,
    /// See `accepted`.
    pub rejected: AtomicU64,
    /// See `accepted`.
    pub released: AtomicU64,
    /// See `accepted`.
    pub modified: AtomicU64,
    /// Pre-settled deliveries.
    pub presettled: AtomicU64,
    /// Pre-settled deliveries thrown away for newer ones.
    pub dropped_presettled: AtomicU64,
    /// Messages other than streams that had their outcome after one to ten seconds.
    pub delayed_1_sec: AtomicU64,
    /// The same after more than ten seconds.
    pub delayed_10_sec: AtomicU64,
    /// Messages other than streams that wait for their outcome for long, as of a few seconds ago.
    pub stuck: AtomicU64,
    /// Links on which this router has had no credit for long, as of a few seconds ago.
    pub links_blocked: AtomicU64,
    /// TCP streams that were translated between framings.
    pub streams_translated: AtomicU64,
    /// Messages broken off because too much waited for the readers of their connection.
    pub broken_off: AtomicU64,
    /// AMQP connections that were opened so far.
    pub amqp_opened: AtomicU64,
    /// AMQP connections now open.
    pub amqp_connections: AtomicU64,
    /// Of these, the ones that are no connections between routers.
    pub amqp_clients: AtomicU64,
    /// Links now attached.
    pub links: AtomicU64,
    /// Addresses that the router serves itself, and those of other routers: not in the table.
    pub own_addresses: AtomicU64,
    /// Connections that ended before they were established: TLS failed, or the peer was too slow.
    pub handshakes_failed: AtomicU64,
    /// Connections that were closed at once, because their listener had as many as it may.
    pub connections_refused: AtomicU64,
    /// Links and messages to management that were refused for want of access.
    pub management_refused: AtomicU64,
    /// Connections ended, and messages between routers ignored, because the peer broke the protocol or a limit.
    pub protocol_violations: AtomicU64,
    /// Links that peers attached and this router refused, other than to management.
    pub links_refused: AtomicU64,
    /// Messages of the routing protocol that were refused as a whole or in part.
    pub routing_refused: AtomicU64,
    /// Management requests that were refused because too much of their connection waits, or nobody reads the answers.
    pub requests_refused: AtomicU64,
}

impl Counters {
    /// Counts an AMQP connection after both Opens.
    pub fn connection_opened(&self, role: ConnectionRole) {
        self.amqp_opened.fetch_add(1, Ordering::Relaxed);
        self.amqp_connections.fetch_add(1, Ordering::Relaxed);
        if role == ConnectionRole::Normal {
            self.amqp_clients.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its end.
    pub fn connection_ended(&self, role: ConnectionRole) {
        self.amqp_connections.fetch_sub(1, Ordering::Relaxed);
        if role == ConnectionRole::Normal {
            self.amqp_clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that was not established.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// New router state with an empty table.
    pub fn new(space: AddressSpace, workers: Vec<WorkerHandle>) -> Self {
        let instance = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        Self {
            trace_entry: format!("0/{}", space.id),
            mesh: super::local::random_name(15),
            instance,
            table: ArcSwap::from_pointee(Table::new(Arc::new(RouteView::empty(
                &RouterId::from(space.id.as_str()),
                instance,
            )))),
            table_changed: watch::Sender::new(0),
            local: LocalAddresses::default(),
            control: Inbox::new(CONTROL_INBOX),
            requests: Requests::default(),
            flows: Arc::new(Flows::new(workers.len())),
            workers,
            counters: Counters::default(),
            tasks: TaskTracker::new(),
            readiness: Readiness::default(),
            complaints: Complaints::default(),
            framings: Arc::default(),
            started: Instant::now(),
            next_connection: AtomicU64::new(1),
            next_link: AtomicU64::new(1),
            next_tag: AtomicU64::new(1),
            next_worker: AtomicUsize::new(0),
            next_flow: AtomicU64::new(1),
            flow_prefix: super::local::random_name(5),
            space,
        }
    }

    /// Returns when no message is under way on any connection, and no flow of an adaptor either.
    pub async fn idle(&self) {
        self.tasks.close();
        loop {
            self.tasks.wait().await;
            let connections = TaskTracker::new();
            let busy = Arc::new(AtomicBool::new(false));
            self.tell(ControlMessage::WhenIdle(IdleWatch {
                _held: connections.token(),
                busy: busy.clone(),
            }));
            connections.close();
            connections.wait().await;
            // While one of them was waited for, another one may have got something to do.
            if !busy.load(Ordering::Relaxed) && self.tasks.is_empty() {
                return;
            }
        }
    }

    /// Number for a new connection.
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Number for a new link, unique for the life of the router.
    pub fn link_id(&self) -> u64 {
        self.next_link.fetch_add(1, Ordering::Relaxed)
    }

    /// A TCP flow begins; it is shown until the guard is dropped.
    pub fn begin_flow(&self, peer: FlowPeer) -> FlowGuard {
        let links = self.next_link.fetch_add(2, Ordering::Relaxed);
        self.flows
            .begin(self.connection_id().0, Flow::new(peer, links))
    }

    /// Seconds since the router started.
    pub fn uptime(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// Unix time of an instant since the router started.
    pub fn unix_time(&self, at: Instant) -> i64 {
        let after = at.saturating_duration_since(self.started).as_secs();
        self.instance
            .saturating_add(i64::try_from(after).unwrap_or(i64::MAX))
    }

    /// Delivery tag, unique per router: a little-endian counter as C routers use.
    pub fn tag(&self) -> [u8; 8] {
        self.next_tag.fetch_add(1, Ordering::Relaxed).to_le_bytes()
    }

    /// Identity of a new flow: `<5 characters>:<number>`.
    pub fn flow_id(&self) -> String {
        format!(
            "{}:{}",
            self.flow_prefix,
            self.next_flow.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Worker for the next accepted connection, round robin.
    pub fn next_worker(&self) -> usize {
        self.next_worker.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1)
    }

    /// Tells the control task something. Routing messages, which their senders repeat, are lost with a log when it does
    /// not keep up; all else is in the queue whatever waits: drivers stop reading before they have told much that has not
    /// been handled.
    pub fn tell(&self, message: ControlMessage) {
        let told = match message {
            ControlMessage::Routing { .. } => self.control.push(message),
            _ => self.control.push_always(message),
        };
        if let Err(lost) = told {
            tracing::error!(target: "router::control", message = %Name(&lost), "control queue full or closed, message dropped");
        }
    }
}

struct Name<'a>(&'a ControlMessage);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        f.write_str(text.split([' ', '(', '{']).next().unwrap_or_default())
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
        }
    }

    #[test]
    fn a_full_queue_loses_what_is_repeated_and_nothing_else() {
        let space = AddressSpace {
            id: "r".to_owned(),
            edge: false,
        };
        let shared = Shared::new(space, Vec::new());
        let connection = ConnectionId(1);
        for _ in 0..=CONTROL_INBOX {
            shared.tell(ControlMessage::Routing {
                connection,
                message: Bytes::new(),
            });
        }
        shared.tell(ControlMessage::ConnectionDown(connection));
        let queued = shared.control.close();
        assert_eq!(queued.len(), CONTROL_INBOX + 1);
        assert!(matches!(
            queued.back(),
            Some(ControlMessage::ConnectionDown(_))
        ));
    }

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
