//! TCP flows now open, for management: each is shown as a connection with two links, as the C routers do, and can be
//! ended like one.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use crate::adaptor::tcp::{FlowCounters, TcpConnector, TcpListener};

/// The other end of a flow's socket.
#[derive(Clone, Debug)]
pub enum FlowPeer {
    /// A client of a tcpListener, and the service address that it got.
    Client(Arc<TcpListener>, SocketAddr, Arc<str>),
    /// The server of a tcpConnector, and how the client's router calls the flow: `host:port` of the client, with
    /// `@site` behind it where the site is known.
    Server(Arc<TcpConnector>, Box<str>),
}

/// Seconds of the router's life, as the control task last looked at its clock: flows that move octets only read a number.
#[derive(Debug, Default)]
pub struct CoarseClock(AtomicU32);

impl CoarseClock {
    /// It is this second.
    pub fn set(&self, second: u32) {
        self.0.store(second, Ordering::Relaxed);
    }

    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When something happened last: the second, plus one; 0: never.
#[derive(Debug, Default)]
struct Last(AtomicU32);

impl Last {
    fn set(&self, clock: &CoarseClock) {
        self.0
            .store(clock.now().saturating_add(1), Ordering::Relaxed);
    }

    /// Seconds since then.
    fn since(&self, clock: &CoarseClock) -> Option<u32> {
        let second = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(clock.now().saturating_sub(second))
    }
}

/// A flow.
#[derive(Debug)]
pub struct Flow {
    /// Who is at the other end.
    pub peer: FlowPeer,
    /// Its socket has TLS.
    pub encrypted: bool,
    /// Since when.
    pub opened: Instant,
    /// Number of its link into the network; the one out of it has the next number.
    pub links: u64,
    /// Octets read from client or server.
    pub octets_in: AtomicU64,
    /// Octets written to client or server.
    pub octets_out: AtomicU64,
    /// Ends the flow: its own, or that of its listener or connector.
    pub cancel: CancellationToken,
    progress: AtomicU8,
    clock: Arc<CoarseClock>,
    last_in: Last,
    last_out: Last,
    last_message: Last,
}

/// What has happened to the two messages of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The one into the network is there.
    Sending = 1,
    /// The one out of the network is there.
    Receiving = 2,
    /// The one out of the network was written to its end.
    Received = 4,
}

impl Flow {
    /// A flow that begins; `links` is the first of two numbers for links.
    pub fn new(peer: FlowPeer, links: u64, clock: &Arc<CoarseClock>) -> Self {
        let (encrypted, cancel) = match &peer {
            FlowPeer::Client(listener, ..) => (listener.is_encrypted(), &listener.flows),
            FlowPeer::Server(connector, _) => (connector.is_encrypted(), &connector.cancel),
        };
        Self {
            encrypted,
            opened: Instant::now(),
            links,
            octets_in: AtomicU64::new(0),
            octets_out: AtomicU64::new(0),
            cancel: cancel.child_token(),
            progress: AtomicU8::new(0),
            clock: clock.clone(),
            last_in: Last::default(),
            last_out: Last::default(),
            last_message: Last::default(),
            peer,
        }
    }

    /// Address of its service.
    pub fn address(&self) -> &Arc<str> {
        match &self.peer {
            FlowPeer::Client(_, _, address) => address,
            FlowPeer::Server(connector, _) => &connector.address,
        }
    }

    /// Octets came from client or server.
    pub fn read(&self, octets: u64) {
        self.octets_in.fetch_add(octets, Ordering::Relaxed);
        self.last_in.set(&self.clock);
        self.counters()
            .octets_in
            .fetch_add(octets, Ordering::Relaxed);
    }

    /// Octets went to client or server.
    pub fn written(&self, octets: u64) {
        self.octets_out.fetch_add(octets, Ordering::Relaxed);
        self.last_out.set(&self.clock);
        self.counters()
            .octets_out
            .fetch_add(octets, Ordering::Relaxed);
    }

    /// Something has happened.
    pub fn has(&self, progress: Progress) {
        self.progress.fetch_or(progress as u8, Ordering::Relaxed);
        if progress != Progress::Received {
            self.last_message.set(&self.clock);
        }
    }

    /// Seconds since octets last came from client or server, and since they last went there.
    pub fn last_octets(&self) -> [Option<u32>; 2] {
        [&self.last_in, &self.last_out].map(|last| last.since(&self.clock))
    }

    /// Seconds since the later one of its messages began.
    pub fn last_message(&self) -> Option<u32> {
        self.last_message.since(&self.clock)
    }

    /// Whether it has.
    pub fn did(&self, progress: Progress) -> bool {
        self.progress.load(Ordering::Relaxed) & progress as u8 != 0
    }

    fn counters(&self) -> &FlowCounters {
        match &self.peer {
            FlowPeer::Client(listener, ..) => &listener.counters,
            FlowPeer::Server(connector, _) => &connector.counters,
        }
    }
}

type ByNumber = HashMap<u64, Arc<Flow>>;

/// Flows by connection number. Workers hardly ever meet: each number has one of several maps.
#[derive(Debug)]
pub struct Flows {
    maps: Box<[Mutex<ByNumber>]>,
    /// For all flows.
    pub clock: Arc<CoarseClock>,
}

impl Flows {
    /// Without any flow yet.
    pub fn new(maps: usize) -> Self {
        Self {
            maps: (0..maps.max(1)).map(|_| Mutex::default()).collect(),
            clock: Arc::default(),
        }
    }

    /// A flow begins; it ends when the guard is dropped. `id` is the number of a new connection.
    pub fn begin(self: &Arc<Self>, id: u64, flow: Flow) -> FlowGuard {
        let flow = Arc::new(flow);
        self.with(id, |map| map.insert(id, flow.clone()));
        FlowGuard {
            flows: self.clone(),
            id,
            flow,
        }
    }

    /// One of them.
    pub fn find(&self, id: u64) -> Option<Arc<Flow>> {
        self.with(id, |map| map.get(&id).cloned())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.maps
            .iter()
            .map(|map| map.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<(u64, Arc<Flow>)> {
        let mut all = Vec::new();
        for map in &self.maps {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(map.iter().map(|(id, flow)| (*id, flow.clone())));
        }
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    fn with<R>(&self, id: u64, look: impl FnOnce(&mut ByNumber) -> R) -> R {
        let index = id % self.maps.len() as u64;
        let map = &self.maps[usize::try_from(index).unwrap_or_default()];
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut map);
        if map.is_empty() {
            // What a rush of flows has left.
            map.shrink_to(64);
        }
        result
    }
}

/// A flow that is shown until this is dropped.
#[derive(Debug)]
pub struct FlowGuard {
    flows: Arc<Flows>,
    id: u64,
    flow: Arc<Flow>,
}

impl FlowGuard {
    /// The flow.
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }
}

impl Drop for FlowGuard {
    fn drop(&mut self) {
        self.flows.with(self.id, |map| map.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::net::tls::TlsProfiles;

    fn listener() -> Arc<TcpListener> {
        let config = model::router_config::TcpListener::new("l", "svc", 1);
        Arc::new(TcpListener::new(
            &config,
            &Arc::new(TlsProfiles::new(&BTreeMap::new())),
            None,
        ))
    }

    fn flow(listener: &Arc<TcpListener>, port: u16) -> Flow {
        Flow::new(
            FlowPeer::Client(
                listener.clone(),
                ([127, 0, 0, 1], port).into(),
                "svc".into(),
            ),
            u64::from(port) * 2,
            &Arc::default(),
        )
    }

    #[test]
    fn flows_are_shown_while_their_guards_live() {
        let (flows, listener) = (Arc::new(Flows::new(2)), listener());
        let guards: Vec<FlowGuard> = [5_u64, 2, 9, 4]
            .into_iter()
            .map(|id| flows.begin(id, flow(&listener, u16::try_from(id).unwrap())))
            .collect();
        let ids = |flows: &Flows| -> Vec<u64> { flows.all().iter().map(|(id, _)| *id).collect() };
        assert_eq!(ids(&flows), [2, 4, 5, 9]);
        assert_eq!(flows.find(9).map(|flow| flow.links), Some(18));
        assert!(flows.find(3).is_none());
        let mut guards = guards.into_iter();
        drop(guards.next());
        assert_eq!(ids(&flows), [2, 4, 9]);
        assert_eq!(flows.len(), 3);
        drop(guards);
        assert!(flows.is_empty());
    }

    #[test]
    fn one_flow_ends_by_itself_and_all_with_their_listener() {
        let listener = listener();
        let (one, other) = (flow(&listener, 1), flow(&listener, 2));
        one.cancel.cancel();
        assert!(one.cancel.is_cancelled());
        assert!(!other.cancel.is_cancelled());
        assert!(!listener.flows.is_cancelled());
        listener.flows.cancel();
        assert!(other.cancel.is_cancelled());
    }

    #[test]
    fn flows_know_when_something_last_happened() {
        let clock = Arc::new(CoarseClock::default());
        let peer = FlowPeer::Client(listener(), ([127, 0, 0, 1], 9).into(), "svc".into());
        let flow = Flow::new(peer, 1, &clock);
        clock.set(100);
        assert_eq!(flow.last_octets(), [None, None]);
        assert_eq!(flow.last_message(), None);
        flow.has(Progress::Sending);
        flow.read(1);
        clock.set(103);
        flow.written(1);
        flow.has(Progress::Received);
        clock.set(105);
        assert_eq!(flow.last_octets(), [Some(5), Some(2)]);
        assert_eq!(flow.last_message(), Some(5), "the end of a message is none");
    }

    #[test]
    fn octets_are_counted_for_the_flow_and_its_listener() {
        let listener = listener();
        let (one, other) = (flow(&listener, 1), flow(&listener, 2));
        one.read(5);
        other.read(7);
        other.written(1);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((load(&one.octets_in), load(&one.octets_out)), (5, 0));
        assert_eq!((load(&other.octets_in), load(&other.octets_out)), (7, 1));
        assert_eq!(load(&listener.counters.octets_in), 12);
        one.has(Progress::Receiving);
        assert!(one.did(Progress::Receiving));
        assert!(!one.did(Progress::Sending));
    }
}
