//! tcpListener: accepts clients and opens a stream for each.
//!
//! The socket is open only while the address has a consumer somewhere. With framing `auto` the opener is sent as lite
//! without any client octet; a connector that does not know it releases it, and the stream is opened again as legacy.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use amqp::performative::DeliveryState;
use model::router_config::Encapsulation;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    FlowCounters, ReplySlot,
    connector::read_head,
    framing::{ForwardOpener, Framing},
    pump::Pump,
    socket::Socket as FlowSocket,
    tls::ServerTls,
};
use crate::{
    core::{
        annotations::{Annotations, DISABLE_Q2, STREAMING},
        delivery::{Delivery, Feedback, Wake},
        forward::{self, Choice, Request},
        local::LocalTarget,
        shared::{ControlMessage, Shared},
    },
    net::{complaints::Complaints, handshakes::Place, tls::TlsProfiles},
};

/// How long the framing found by probing is believed.
const FRAMING_TTL: Duration = Duration::from_secs(60);
/// Pause after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a port that could not be bound is tried again.
const BIND_PAUSE: Duration = Duration::from_secs(2);

/// A configured tcpListener.
#[derive(Debug)]
pub struct TcpListener {
    /// Name of the entity.
    pub name: String,
    /// Service address.
    pub address: Arc<str>,
    /// Host to bind; empty binds all addresses, IPv4 and IPv6.
    pub host: String,
    /// Port to bind.
    pub port: u16,
    /// Label of connections in management of v1 routers.
    pub site_id: Option<String>,
    /// Configured framing.
    pub encapsulation: Encapsulation,
    /// Largest queue of connections not accepted yet.
    pub backlog: i32,
    /// For management.
    pub counters: Arc<FlowCounters>,
    /// The socket is open.
    pub listening: AtomicBool,
    /// Why it is not, if the reason is not a missing consumer.
    pub error: Mutex<Option<String>>,
    /// Ends the flows of this listener.
    pub flows: CancellationToken,
    /// Ends the listening.
    pub stop: CancellationToken,
    tls: Option<ServerTls>,
    probed: Mutex<Option<(Framing, Instant)>>,
}

impl TcpListener {
    /// Listener for an address, not yet listening.
    pub fn new(config: &model::router_config::TcpListener, profiles: &Arc<TlsProfiles>) -> Self {
        let tls = config.ssl_profile.as_ref().map(|profile| ServerTls {
            profiles: profiles.clone(),
            profile: profile.clone(),
            authenticate_peer: config.authenticate_peer,
            handshakes: Arc::default(),
            complaints: Complaints::default(),
        });
        Self {
            name: config.name.clone(),
            address: config.address.as_str().into(),
            host: config.host.clone(),
            port: config.port,
            site_id: config.site_id.clone(),
            encapsulation: config.encapsulation,
            backlog: 1024,
            counters: Arc::default(),
            listening: AtomicBool::new(false),
            error: Mutex::default(),
            flows: CancellationToken::new(),
            stop: CancellationToken::new(),
            tls,
            probed: Mutex::default(),
        }
    }

    /// Listens whenever the address has a consumer, until stopped.
    pub async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        shared.tell(ControlMessage::WatchUp(self.address.clone()));
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.follow_consumers(&shared) => {}
        }
        self.listening.store(false, Ordering::Relaxed);
        shared.tell(ControlMessage::WatchDown(self.address.clone()));
    }

    async fn follow_consumers(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut changed = shared.table_changed.subscribe();
        loop {
            changed.mark_unchanged();
            if !shared.table.load().is_reachable(&self.address) {
                self.forget_framing();
                if changed.changed().await.is_err() {
                    return;
                }
                continue;
            }
            match bind(&self.host, self.port, self.backlog) {
                Ok(sockets) => {
                    self.set_error(None);
                    self.listening.store(true, Ordering::Relaxed);
                    info!(target: "router::tcp", listener = %self.name, port = self.port, "listening");
                    let unreachable = async {
                        while changed.changed().await.is_ok()
                            && shared.table.load().is_reachable(&self.address)
                        {
                        }
                    };
                    tokio::select! {
                        () = self.accept_all(shared, sockets) => {}
                        () = unreachable => {}
                    }
                    self.listening.store(false, Ordering::Relaxed);
                    info!(target: "router::tcp", listener = %self.name, port = self.port, "no consumer, socket closed");
                }
                Err(error) => {
                    let text = format!(
                        "cannot listen on {}: {error}",
                        host_port(&self.host, self.port)
                    );
                    warn!(target: "router::tcp", listener = %self.name, "{text}");
                    self.set_error(Some(text));
                    tokio::time::sleep(BIND_PAUSE).await;
                }
            }
        }
    }

    async fn accept_all(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        sockets: Vec<tokio::net::TcpListener>,
    ) {
        loop {
            let accepted = std::future::poll_fn(|cx| {
                sockets
                    .iter()
                    .map(|socket| socket.poll_accept(cx))
                    .find(Poll::is_ready)
                    .unwrap_or(Poll::Pending)
            })
            .await;
            match accepted {
                Ok((socket, peer)) => {
                    let place = match &self.tls {
                        Some(tls) => Some(tls.handshakes.enter().await),
                        None => None,
                    };
                    self.start(shared, socket, peer, place);
                }
                Err(error) => {
                    // Out of descriptors or memory: the client waits in the backlog meanwhile.
                    debug!(target: "router::tcp", listener = %self.name, %error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        socket: TcpStream,
        peer: SocketAddr,
        place: Option<Place>,
    ) {
        let index = shared.next_worker();
        let Some(worker) = shared.workers.get(index) else {
            return;
        };
        let _ = socket.set_nodelay(true);
        let (listener, shared) = (self.clone(), shared.clone());
        let tracker = shared.flows.clone();
        if crate::worker::current() == Some(index) {
            worker.spawn(tracker.track_future(listener.accept(shared, socket, peer, place)));
            return;
        }
        let Ok(socket) = socket.into_std() else {
            return;
        };
        worker.spawn(tracker.track_future(async move {
            if let Ok(socket) = TcpStream::from_std(socket) {
                listener.accept(shared, socket, peer, place).await;
            }
        }));
    }

    /// One client: its handshake, if it needs one, then its flow.
    async fn accept(
        self: Arc<Self>,
        shared: Arc<Shared>,
        socket: TcpStream,
        peer: SocketAddr,
        place: Option<Place>,
    ) {
        let _open = self.counters.open();
        let (Some(tls), Some(place)) = (&self.tls, place) else {
            return self
                .serve(shared, FlowSocket::Plain(socket), None, peer)
                .await;
        };
        // In memory of its own: flows without TLS are as small as before.
        let accepted = Box::pin(async {
            tokio::select! {
                accepted = tls.accept(socket, &place) => Some(accepted),
                () = self.flows.cancelled() => None,
            }
        })
        .await;
        drop(place);
        match accepted {
            Some(Ok((socket, alpn))) => self.serve(shared, socket, alpn.as_deref(), peer).await,
            Some(Err(failure)) => tls.refused(&self.name, &shared.counters, &failure),
            None => {}
        }
    }

    async fn serve(
        &self,
        shared: Arc<Shared>,
        socket: FlowSocket,
        alpn: Option<&str>,
        peer: SocketAddr,
    ) {
        let (mut framing, probing) = self.framing(&shared);
        let mut socket = Some(socket);
        for attempt in 0..2 {
            let Some(stream) = self.open_stream(&shared, framing, alpn, peer) else {
                debug!(target: "router::tcp", listener = %self.name, "no destination for a client");
                reset(socket.take());
                return;
            };
            if framing == Framing::Legacy {
                if let Some(socket) = socket.take() {
                    let mut pump = Pump::new(
                        socket,
                        stream.forward.clone(),
                        framing,
                        self.counters.clone(),
                    );
                    pump.await_inbound(stream.slot.clone());
                    pump.run(&self.flows).await;
                }
                return;
            }
            match stream.counter_stream(&self.flows).await {
                Probe::Lite { reverse, rest, own } => {
                    self.remember(Framing::Lite);
                    if let Some(socket) = socket.take() {
                        if !rest.is_empty() {
                            reverse.put_back(rest);
                        }
                        let mut pump = Pump::new(
                            socket,
                            stream.forward.clone(),
                            framing,
                            self.counters.clone(),
                        );
                        pump.set_inbound(reverse, false);
                        if !own {
                            pump.spare_far_side();
                        }
                        pump.run(&self.flows).await;
                    }
                    return;
                }
                Probe::OtherFraming if probing && attempt == 0 => {
                    debug!(target: "router::tcp", listener = %self.name, "the connector speaks legacy framing");
                    framing = Framing::Legacy;
                    self.remember(Framing::Legacy);
                }
                Probe::OtherFraming | Probe::Refused => {
                    self.forget_framing();
                    reset(socket.take());
                    return;
                }
            }
        }
    }

    /// Framing to try first, and whether the other one may be tried after it.
    fn framing(&self, shared: &Shared) -> (Framing, bool) {
        match self.encapsulation {
            Encapsulation::Legacy => (Framing::Legacy, false),
            Encapsulation::Lite => (Framing::Lite, false),
            Encapsulation::Auto => {
                let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
                match *probed {
                    Some((framing, at)) if at.elapsed() < FRAMING_TTL => {
                        (framing, framing == Framing::Lite)
                    }
                    // A 2.4 connector would dial its server for the probe, too.
                    _ if shared.table.load().knows_no_lite(&self.address) => {
                        (Framing::Legacy, false)
                    }
                    _ => {
                        *probed = None;
                        (Framing::Lite, true)
                    }
                }
            }
        }
    }

    fn remember(&self, framing: Framing) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if probed.is_none_or(|(known, _)| known != framing) {
            *probed = Some((framing, Instant::now()));
        }
    }

    fn forget_framing(&self) {
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Sends the opener towards a consumer of the address; none if there is no consumer.
    fn open_stream(
        &self,
        shared: &Arc<Shared>,
        framing: Framing,
        alpn: Option<&str>,
        peer: SocketAddr,
    ) -> Option<Stream> {
        let slot = Arc::new(ReplySlot::default());
        let name = shared.local.register(LocalTarget::Reply(slot.clone()));
        let global_id = match &self.site_id {
            Some(site) => format!("{peer}@{site}"),
            None => peer.to_string(),
        };
        let opener = ForwardOpener {
            to: &self.address,
            reply_to: &shared.space.dynamic(&name),
            global_id: &global_id,
            flow_id: &shared.flow_id(),
            alpn,
        };
        let annotations = Annotations {
            flags: STREAMING | DISABLE_Q2,
            ..Annotations::default()
        };
        let forward = Arc::new(Delivery::new(annotations, None, false, 4));
        forward.push(opener.encode(framing));
        let stream = Stream {
            shared: shared.clone(),
            name,
            slot,
            forward: forward.clone(),
        };
        let request = Request {
            address: &self.address,
            annotations: &forward.annotations,
            arrived_on: None,
            complete: false,
            preferred: None,
        };
        let choice = {
            let table = shared.table.load();
            forward::choose(shared, &table, request)
        };
        let Choice::One(sink) = choice else {
            return None;
        };
        forward::dispatch(shared, sink, forward);
        Some(stream)
    }
}

/// An opened stream: its forward message and the reply address, which is given up with it.
struct Stream {
    shared: Arc<Shared>,
    name: String,
    slot: Arc<ReplySlot>,
    forward: Arc<Delivery>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.local.remove(&self.name);
        self.slot.close();
        // Has no effect on a message that has ended.
        self.forward.finish(false);
    }
}

enum Probe {
    /// The counter-stream has arrived, with octets behind its head.
    Lite {
        reverse: Arc<Delivery>,
        rest: bytes::Bytes,
        /// The connector is one of this implementation.
        own: bool,
    },
    /// The consumer does not know this framing.
    OtherFraming,
    /// The server refused, or the way there is lost.
    Refused,
}

impl Stream {
    /// Waits for the head of the reverse message, or for the refusal of the forward one.
    async fn counter_stream(&self, cancel: &CancellationToken) -> Probe {
        let mut registered = false;
        let arrived = std::future::poll_fn(|cx| {
            if !registered {
                registered = true;
                self.forward.set_source(Wake::Task(cx.waker().clone()));
            }
            if let Poll::Ready(reverse) = self.slot.poll_take(cx) {
                return Poll::Ready(Ok(reverse));
            }
            let Feedback {
                outcome, settled, ..
            } = self.forward.take_feedback();
            match outcome {
                Some(outcome) if outcome.is_terminal() => Poll::Ready(Err(outcome)),
                _ if settled => Poll::Ready(Err(DeliveryState::Accepted)),
                _ => Poll::Pending,
            }
        });
        let arrived = tokio::select! {
            arrived = arrived => arrived,
            () = cancel.cancelled() => return Probe::Refused,
        };
        let reverse = match arrived {
            Ok(reverse) => reverse,
            Err(DeliveryState::Released) => return Probe::OtherFraming,
            Err(_) => return Probe::Refused,
        };
        match read_head(&reverse).await {
            Ok((head, rest)) if head.framing == Framing::Lite => Probe::Lite {
                reverse,
                rest,
                own: head.own,
            },
            Ok(_) => {
                // A 2.4 connector: it takes any opener and answers in legacy.
                reverse.report(Some(DeliveryState::Released), true);
                Probe::OtherFraming
            }
            Err(state) => {
                reverse.report(Some(state), true);
                Probe::Refused
            }
        }
    }
}

/// Ends a client's connection with a reset: nothing was served, and it must not look like an empty answer.
fn reset(socket: Option<FlowSocket>) {
    if let Some(socket) = socket {
        socket.reset_on_drop();
    }
}

/// Opens listening sockets: one for a literal or name, IPv6 with IPv4 for an empty host.
///
/// # Errors
/// When the host does not resolve or the port cannot be bound.
pub(crate) fn bind(
    host: &str,
    port: u16,
    backlog: i32,
) -> io::Result<Vec<tokio::net::TcpListener>> {
    let literal = host.trim_matches(['[', ']']);
    if host.is_empty() {
        let both = listen(
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            false,
            backlog,
        );
        return match both {
            Ok(socket) => Ok(vec![socket]),
            // No IPv6 on this host.
            Err(error) if matches!(error.raw_os_error(), Some(97 | 99)) => Ok(vec![listen(
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
                true,
                backlog,
            )?]),
            Err(error) => Err(error),
        };
    }
    let addresses: Vec<SocketAddr> = match literal.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => std::net::ToSocketAddrs::to_socket_addrs(&(literal, port))?.collect(),
    };
    let mut sockets = Vec::new();
    for address in addresses {
        match listen(address, true, backlog) {
            Ok(socket) => sockets.push(socket),
            // `localhost` names addresses of families that the host may lack.
            Err(error) if matches!(error.raw_os_error(), Some(97 | 99)) => {}
            Err(error) => return Err(error),
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no usable address",
        ));
    }
    Ok(sockets)
}

fn listen(address: SocketAddr, only_v6: bool, backlog: i32) -> io::Result<tokio::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    tokio::net::TcpListener::from_std(socket.into())
}

/// `host:port` for messages, with brackets around IPv6 literals.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    match host {
        "" => format!("*:{port}"),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}
