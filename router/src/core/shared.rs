//! What the parts of one running router share: its names and numbers, the current forwarding table, the queues of the
//! control task, workers and counters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    address::AddressSpace,
    connection::ConnectionId,
    control_message::{CONTROL_INBOX, ControlMessage, Name},
    counters::Counters,
    flows::{Flow, FlowGuard, FlowPeer, Flows},
    idle::IdleWatch,
    inbox::Inbox,
    local::{LocalAddresses, random_name},
    readiness::Readiness,
    requests::Requests,
    seats::Seats,
    table::Table,
};
use crate::{
    adaptor::tcp::Findings,
    net::complaints::Complaints,
    routing::{RouteView, RouterId},
    worker::WorkerHandle,
};

/// Credit given on each link (`linkCapacity`).
pub const LINK_CAPACITY: u32 = 250;

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
    /// For connections that listeners accept.
    pub seats: Arc<Seats>,
    /// TCP flows now open.
    pub flows: Arc<Flows>,
    /// Whether the router serves.
    pub readiness: Readiness,
    /// What was complained of lately.
    pub(crate) complaints: Complaints,
    /// Framing of consumers, as openers found it out.
    pub framings: Arc<Findings>,
    /// Octets that were read from the sockets of flows and wait for the next hop.
    pub(crate) read_ahead: Arc<AtomicUsize>,
    started: Instant,
    next_connection: AtomicU64,
    next_link: AtomicU64,
    next_tag: AtomicU64,
    next_worker: AtomicUsize,
    next_flow: AtomicU64,
    /// Five random characters that make flow ids of this router unique.
    pub flow_prefix: String,
}

impl Shared {
    /// New router state with an empty table.
    pub fn new(space: AddressSpace, workers: Vec<WorkerHandle>) -> Self {
        let instance = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        Self {
            trace_entry: format!("0/{}", space.id),
            mesh: random_name(15),
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
            seats: Arc::default(),
            readiness: Readiness::default(),
            complaints: Complaints::default(),
            framings: Arc::default(),
            read_ahead: Arc::default(),
            started: Instant::now(),
            next_connection: AtomicU64::new(1),
            next_link: AtomicU64::new(1),
            next_tag: AtomicU64::new(1),
            next_worker: AtomicUsize::new(0),
            next_flow: AtomicU64::new(1),
            flow_prefix: random_name(5),
            space,
        }
    }

    /// Returns when no message is under way on any connection, and no flow of an adaptor either.
    pub async fn idle(&self) {
        self.tasks.close();
        loop {
            self.tasks.wait().await;
            let (watch, connections) = IdleWatch::new();
            self.tell(ControlMessage::WhenIdle(watch));
            // While one of them was waited for, another one may have got something to do.
            if connections.wait().await && self.tasks.is_empty() {
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
        self.flows.begin(
            self.connection_id().0,
            Flow::new(peer, links, &self.flows.clock),
        )
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

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
}
