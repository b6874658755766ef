//! tcpListener: accepts clients and opens a stream for each.
//!
//! The socket is open only while the address has a consumer somewhere. With framing `auto` the opener is sent as the
//! chosen consumer is expected to understand it (see [`findings`](super::findings)); where that is not known, as lite
//! without any client octet. A connector that does not know it releases it, and the stream is opened again as legacy, at
//! the same consumer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use model::router_config::{AddressFamily, Encapsulation, ListenerAddress, MultiAddressStrategy};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Doubt, FlowCounters,
    findings::{Counterpart, Expectation},
    framing::{ForwardOpener, Framing},
    opening::{Answer, Opening},
    pump::Pump,
    service_address,
    socket::{Socket as FlowSocket, set_options},
    targets::{Target, Targets},
    tls::ServerTls,
};
use crate::{
    core::{
        annotations::{Annotations, DISABLE_Q2, STREAMING},
        flows::{Flow, FlowPeer},
        forward::{self, Choice, Request, Sink},
        shared::Shared,
    },
    net::{complaints::Complaints, handshakes::Place, tls::TlsProfiles},
};

/// Pause after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a port that could not be bound is tried again.
const BIND_PAUSE: Duration = Duration::from_secs(2);

/// A configured tcpListener.
#[derive(Debug)]
pub struct TcpListener {
    /// Name of the entity.
    pub name: String,
    targets: Targets,
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
    error: Mutex<Option<String>>,
    /// Ends the flows of this listener.
    pub flows: CancellationToken,
    /// Ends the listening.
    pub stop: CancellationToken,
    tls: Option<ServerTls>,
}

impl TcpListener {
    /// Listener for an address, of a tenant if one is named, or for several, not yet listening.
    pub fn new(
        config: &model::router_config::TcpListener,
        profiles: &Arc<TlsProfiles>,
        tenant: Option<&str>,
    ) -> Self {
        let tls = config.ssl_profile.as_ref().map(|profile| ServerTls {
            profiles: profiles.clone(),
            profile: profile.clone(),
            authenticate_peer: config.authenticate_peer,
            handshakes: Arc::default(),
            complaints: Complaints::default(),
        });
        Self {
            name: config.name.clone(),
            targets: match config.strategy {
                MultiAddressStrategy::None => {
                    Targets::one(service_address(tenant, &config.address))
                }
                strategy => Targets::several(strategy),
            },
            host: config.host.clone(),
            port: config.port,
            site_id: config.site_id.clone(),
            encapsulation: config.encapsulation,
            // The system takes less if this is too much for it.
            backlog: config
                .backlog
                .and_then(|backlog| i32::try_from(backlog).ok())
                .unwrap_or(i32::MAX),
            counters: Arc::default(),
            listening: AtomicBool::new(false),
            error: Mutex::default(),
            flows: CancellationToken::new(),
            stop: CancellationToken::new(),
            tls,
        }
    }

    /// Listens whenever the address has a consumer, until stopped.
    pub async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        self.targets.watch(&shared, true);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.follow_consumers(&shared) => {}
        }
        self.listening.store(false, Ordering::Relaxed);
        self.targets.watch(&shared, false);
    }

    async fn follow_consumers(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut changed = shared.table_changed.subscribe();
        loop {
            changed.mark_unchanged();
            if !self.targets.is_reachable(&shared.table.load()) {
                if changed.changed().await.is_err() {
                    return;
                }
                continue;
            }
            match bind(&self.host, self.port, None, self.backlog) {
                Ok(sockets) => {
                    self.set_error(None);
                    self.listening.store(true, Ordering::Relaxed);
                    info!(target: "router::tcp", listener = %self.name, port = self.port, "listening");
                    let unreachable = async {
                        while changed.changed().await.is_ok()
                            && self.targets.is_reachable(&shared.table.load())
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
        set_options(&socket);
        let (listener, shared) = (self.clone(), shared.clone());
        let tracker = shared.tasks.clone();
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
        let chosen = self.targets.choose(&shared.table.load());
        // There was one when the client came in.
        let Some(target) = chosen else {
            return reset(Some(FlowSocket::Plain(socket)));
        };
        let address = target.address.clone();
        let shown = shared.begin_flow(FlowPeer::Client(self.clone(), peer, address));
        let flow = shown.flow();
        let (Some(tls), Some(place)) = (&self.tls, place) else {
            return self
                .serve(&shared, FlowSocket::Plain(socket), None, flow, peer)
                .await;
        };
        // In memory of its own: flows without TLS are as small as before.
        let accepted = Box::pin(async {
            tokio::select! {
                accepted = tls.accept(socket, &place) => Some(accepted),
                () = flow.cancel.cancelled() => None,
            }
        })
        .await;
        drop(place);
        match accepted {
            Some(Ok((socket, alpn))) => {
                self.serve(&shared, socket, alpn.as_deref(), flow, peer)
                    .await;
            }
            Some(Err(failure)) => tls.refused(&self.name, &shared.counters, &failure),
            None => {}
        }
    }

    async fn serve(
        &self,
        shared: &Arc<Shared>,
        socket: FlowSocket,
        alpn: Option<&str>,
        flow: &Arc<Flow>,
        peer: SocketAddr,
    ) {
        let address = flow.address();
        let Some((sink, expected, counterpart)) = choose(shared, address) else {
            debug!(target: "router::tcp", listener = %self.name, "no destination for a client");
            return reset(Some(socket));
        };
        let (mut framing, probing) = first_framing(self.encapsulation, expected);
        let mut socket = Some(socket);
        for attempt in 0..2 {
            let sink = match (&counterpart, framing) {
                (Some(counterpart), Framing::Legacy) => {
                    let doubt = Doubt::new(&shared.framings, counterpart.clone(), framing);
                    sink.clone().doubting(doubt)
                }
                _ => sink.clone(),
            };
            let opening = self.open_stream(shared, sink, address, framing, alpn, peer);
            if framing == Framing::Legacy {
                if let Some(socket) = socket.take() {
                    let mut pump =
                        Pump::new(socket, opening.forward.clone(), framing, flow.clone());
                    pump.await_inbound(opening.slot.clone());
                    pump.run().await;
                }
                return;
            }
            let answer = tokio::select! {
                answer = opening.answer() => answer,
                () = flow.cancel.cancelled() => return reset(socket.take()),
            };
            match answer {
                Answer::Stream(reverse, head, rest) => {
                    shared.framings.found(counterpart.as_ref(), Framing::Lite);
                    if let Some(socket) = socket.take() {
                        if !rest.is_empty() {
                            reverse.put_back(rest);
                        }
                        let mut pump =
                            Pump::new(socket, opening.forward.clone(), framing, flow.clone());
                        pump.set_inbound(reverse, false);
                        if !head.own {
                            pump.spare_far_side();
                        }
                        pump.run().await;
                    }
                    return;
                }
                Answer::OtherFraming if probing && attempt == 0 => {
                    debug!(target: "router::tcp", listener = %self.name, "the connector speaks legacy framing");
                    framing = Framing::Legacy;
                    shared.framings.found(counterpart.as_ref(), Framing::Legacy);
                }
                Answer::OtherFraming => {
                    shared.framings.released(counterpart.as_ref(), framing);
                    return reset(socket.take());
                }
                Answer::Refused(_) => return reset(socket.take()),
            }
        }
    }

    /// Sends the opener to the chosen consumer.
    fn open_stream(
        &self,
        shared: &Arc<Shared>,
        sink: Sink,
        address: &str,
        framing: Framing,
        alpn: Option<&str>,
        peer: SocketAddr,
    ) -> Opening {
        let global_id = self.flow_name(peer);
        let opener = ForwardOpener {
            to: address,
            reply_to: "",
            global_id: &global_id,
            flow_id: &shared.flow_id(),
            alpn,
            own: true,
        };
        Opening::send(shared, sink, framing, opener, annotations(), None)
    }

    /// A `listenerAddress` of this listener exists.
    pub fn add_address(&self, shared: &Shared, entity: &ListenerAddress) {
        self.targets.add(shared, entity);
    }

    /// It does not any more; flows to it go on.
    pub fn remove_address(&self, shared: &Shared, name: &str) {
        self.targets.remove(shared, name);
    }

    /// Its service addresses, the one of the highest value first.
    pub fn addresses(&self) -> Vec<Arc<Target>> {
        self.targets.all()
    }

    /// How the flow of a client is called in the network.
    pub fn flow_name(&self, peer: SocketAddr) -> String {
        match &self.site_id {
            Some(site) => format!("{peer}@{site}"),
            None => peer.to_string(),
        }
    }

    /// Clients use TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Why it does not listen, if the reason is not a missing consumer.
    pub fn error(&self) -> Option<String> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// Chooses a consumer for a client: where it is and what it is expected to understand; none if there is none.
fn choose(shared: &Shared, address: &str) -> Option<(Sink, Expectation, Option<Counterpart>)> {
    let annotations = annotations();
    let request = Request {
        address,
        annotations: &annotations,
        arrived_on: None,
        complete: false,
        preferred: None,
    };
    let table = shared.table.load();
    let Choice::One(sink) = forward::choose(shared, &table, request) else {
        return None;
    };
    let (expected, counterpart) = shared.framings.expect(&table, address, &sink);
    Some((sink, expected, counterpart))
}

/// Framing to try first, and whether the other one may be tried after it.
///
/// A probe is lite, because a lite connector judges a legacy opener only once octets of the client have come with it.
/// To a 2.4 connector it would be a call of its server for nothing, so what is expected to be legacy is not probed.
fn first_framing(configured: Encapsulation, expected: Expectation) -> (Framing, bool) {
    match (configured, expected) {
        (Encapsulation::Legacy, _) => (Framing::Legacy, false),
        (Encapsulation::Lite, _) => (Framing::Lite, false),
        (
            Encapsulation::Auto,
            Expectation::Only(Framing::Legacy) | Expectation::Probably(Framing::Legacy),
        ) => (Framing::Legacy, false),
        (Encapsulation::Auto, _) => (Framing::Lite, true),
    }
}

fn annotations() -> Annotations {
    Annotations {
        flags: STREAMING | DISABLE_Q2,
        ..Annotations::default()
    }
}

/// Ends a client's connection with a reset: nothing was served, and it must not look like an empty answer.
fn reset(socket: Option<FlowSocket>) {
    if let Some(socket) = socket {
        socket.reset_on_drop();
    }
}

/// Opens listening sockets: one for a literal or name, IPv6 with IPv4 for an empty host; of one family only if it is
/// given.
///
/// # Errors
/// When the host does not resolve, not in that family, or the port cannot be bound.
pub(crate) fn bind(
    host: &str,
    port: u16,
    family: Option<AddressFamily>,
    backlog: i32,
) -> io::Result<Vec<tokio::net::TcpListener>> {
    let literal = host.trim_matches(['[', ']']);
    if let (true, Some(family)) = (host.is_empty(), family) {
        let all = match family {
            AddressFamily::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            AddressFamily::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        return Ok(vec![listen(SocketAddr::new(all, port), true, backlog)?]);
    }
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
        if !is_of(family, &address) {
            continue;
        }
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
            match family {
                Some(family) => format!("no {family} address"),
                None => "no usable address".to_owned(),
            },
        ));
    }
    Ok(sockets)
}

/// Whether an address is of a family, if one is given.
pub(crate) fn is_of(family: Option<AddressFamily>, address: &SocketAddr) -> bool {
    family.is_none_or(|family| match family {
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_are_of_the_family_that_is_wanted() {
        let families = |host: &str, family| -> io::Result<Vec<bool>> {
            let sockets = bind(host, 0, family, 1)?;
            Ok(sockets
                .iter()
                .map(|socket| socket.local_addr().unwrap().is_ipv4())
                .collect())
        };
        let v4 = Some(AddressFamily::V4);
        assert_eq!(families("", v4).unwrap(), [true]);
        assert_eq!(families("127.0.0.1", v4).unwrap(), [true]);
        assert_eq!(families("localhost", v4).unwrap(), [true]);
        let error = families("127.0.0.1", Some(AddressFamily::V6)).unwrap_err();
        assert_eq!(error.to_string(), "no IPv6 address");
    }
}
