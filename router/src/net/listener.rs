//! AMQP listeners.

use std::{
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use amqp::{
    Symbol,
    engine::{Connection, ConnectionConfig, ServerSasl},
};
use model::router_config::{Listener as Config, Role};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    complaints::Complaints,
    driver::{self, Ended, LARGE_FRAME_SIZE, Options},
    handshakes::{Handshakes, Place, Unfinished},
    tls::{self, Issue, Stream, TlsProfiles},
};
use crate::{
    adaptor::tcp::bind,
    core::{
        connection::{ConnectionFacts, ConnectionId, ConnectionRole},
        seats::Seat,
        shared::Shared,
    },
};

/// What stands for the address of a peer on a Unix socket.
const UNIX_PEER: &str = "unix";
/// Pause after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 512;
/// Links one peer may attach.
pub(super) const MAX_LINKS: u32 = 65_536;
/// Sessions one peer may begin, whatever the configuration says.
pub(super) const MAX_SESSIONS: u16 = 1024;
/// Unsettled deliveries per session.
pub(super) const MAX_UNSETTLED: u32 = 65_536;

/// Incoming window per session in frames: as C routers 3.x, 128 MiB for routers and 8 MiB for clients.
pub(super) fn incoming_window(
    role: ConnectionRole,
    frame_size: u32,
    configured: Option<u32>,
) -> u32 {
    configured.unwrap_or_else(|| {
        let octets: u32 = if role == ConnectionRole::Normal {
            8 << 20
        } else {
            128 << 20
        };
        (octets / frame_size.max(512)).max(2)
    })
}

/// Role of connections, from the role of the listener or connector.
pub(super) fn role_of(role: Role) -> ConnectionRole {
    match role {
        Role::Normal => ConnectionRole::Normal,
        Role::InterRouter => ConnectionRole::InterRouter,
        Role::Edge => ConnectionRole::Edge,
    }
}

/// One bound listener.
#[derive(Debug)]
pub struct Listener {
    config: Config,
    sockets: Sockets,
}

#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Binds the configured socket.
    ///
    /// # Errors
    /// When it cannot be bound; the text names it.
    pub fn bind(config: Config) -> io::Result<Self> {
        let sockets = match &config.socket {
            Some(path) => Sockets::Unix(
                bind_unix(path).map_err(|error| named(&path.display().to_string(), &error))?,
            ),
            None => {
                let name = crate::adaptor::tcp::host_port(&config.host, config.port);
                Sockets::Tcp(
                    bind(
                        &config.host,
                        config.port,
                        config.socket_address_family,
                        BACKLOG,
                    )
                    .map_err(|error| named(&name, &error))?,
                )
            }
        };
        Ok(Self { config, sockets })
    }

    /// Bound TCP addresses.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        match &self.sockets {
            Sockets::Tcp(sockets) => sockets
                .iter()
                .filter_map(|socket| socket.local_addr().ok())
                .collect(),
            Sockets::Unix(_) => Vec::new(),
        }
    }

    /// TCP sockets of an HTTP listener.
    pub fn into_tcp(self) -> Vec<TcpListener> {
        match self.sockets {
            Sockets::Tcp(sockets) => sockets,
            Sockets::Unix(_) => Vec::new(),
        }
    }

    /// Accepts until `stop`; connections end with `connections`.
    pub async fn run(
        self,
        shared: Arc<Shared>,
        profiles: Arc<TlsProfiles>,
        stop: CancellationToken,
        connections: CancellationToken,
    ) {
        info!(target: "router::server", listener = %self.config.name, addresses = ?self.addresses(), "listening");
        let config = Arc::new(self.config);
        let patience = config.initial_handshake_timeout;
        let handshakes = Arc::new(Handshakes::with_timeout(
            (!patience.is_zero()).then_some(patience),
        ));
        let complaints = Arc::new(Complaints::default());
        let seats = Arc::new(Semaphore::new(config.max_connections as usize));
        loop {
            let accept = std::future::poll_fn(|cx| match &self.sockets {
                Sockets::Tcp(sockets) => sockets
                    .iter()
                    .map(|socket| socket.poll_accept(cx))
                    .find(Poll::is_ready)
                    .unwrap_or(Poll::Pending)
                    .map_ok(|(socket, _)| Accepted::Tcp(socket)),
                Sockets::Unix(socket) => socket
                    .poll_accept(cx)
                    .map_ok(|(socket, _)| Accepted::Unix(socket)),
            });
            let accepted = tokio::select! {
                accepted = accept => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok(accepted) => {
                    // Who may connect to the Unix socket is this router's own user.
                    let (seat, place) = match &accepted {
                        Accepted::Unix(_) => (None, None),
                        Accepted::Tcp(socket) => {
                            let seat = match seats.clone().try_acquire_owned() {
                                Ok(own) => shared.seats.take().map(|of_all| (own, of_all)),
                                Err(_) => Err(config.max_connections),
                            };
                            let seat = match seat {
                                Ok(seat) => seat,
                                Err(limit) => {
                                    refuse(&config, limit, socket, &shared, &complaints);
                                    continue;
                                }
                            };
                            tokio::select! {
                                place = handshakes.enter() => (Some(seat), Some(place)),
                                () = stop.cancelled() => break,
                            }
                        }
                    };
                    let serve = Serve {
                        _seat: seat,
                        place,
                        complaints: complaints.clone(),
                        shared: shared.clone(),
                        profiles: profiles.clone(),
                        config: config.clone(),
                        cancel: connections.child_token(),
                    };
                    serve.start(accepted);
                }
                Err(error) => {
                    debug!(target: "router::server", listener = %config.name, %error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if let (Sockets::Unix(_), Some(path)) = (&self.sockets, &config.socket) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Counts a connection for which the listener, or all listeners together, have no room, and says so once in a while.
fn refuse(
    config: &Config,
    limit: u32,
    socket: &TcpStream,
    shared: &Shared,
    complaints: &Complaints,
) {
    shared
        .counters
        .connections_refused
        .fetch_add(1, Ordering::Relaxed);
    let reason = format!("{limit} connections are open, which is all that maxConnections allows");
    if let Some(silent) = complaints.due(&reason) {
        let peer = socket.peer_addr().ok();
        warn!(target: "router::server", listener = %config.name, ?peer, %reason, silent, "connection refused");
    }
}

struct Serve {
    shared: Arc<Shared>,
    profiles: Arc<TlsProfiles>,
    config: Arc<Config>,
    cancel: CancellationToken,
    /// Held until the connection has ended.
    _seat: Option<(OwnedSemaphorePermit, Seat)>,
    /// Held until the connection is open.
    place: Option<Place>,
    complaints: Arc<Complaints>,
}

impl Serve {
    fn start(self, accepted: Accepted) {
        let index = self.shared.next_worker();
        let Some(worker) = self.shared.workers.get(index).cloned() else {
            return;
        };
        // The socket has to be registered with the runtime of the worker that will use it.
        match accepted {
            Accepted::Tcp(socket) => {
                let Ok(socket) = socket.into_std() else {
                    return;
                };
                worker.spawn(async move {
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        let _ = socket.set_nodelay(true);
                        self.tcp(socket).await;
                    }
                });
            }
            Accepted::Unix(socket) => {
                let Ok(socket) = socket.into_std() else {
                    return;
                };
                worker.spawn(async move {
                    if let Ok(socket) = UnixStream::from_std(socket) {
                        self.drive(Stream::Unix(socket), UNIX_PEER.to_owned(), None)
                            .await;
                    }
                });
            }
        }
    }

    async fn tcp(self, socket: TcpStream) {
        let peer = socket
            .peer_addr()
            .map(|peer| peer.to_string())
            .unwrap_or_default();
        let profile = self.config.ssl_profile.as_deref();
        let issue = profile.and_then(|profile| self.profiles.issue(profile));
        let stream = match &self.place {
            Some(place) => place.within(self.secure(socket)).await,
            None => Ok(self.secure(socket).await),
        };
        match stream {
            Ok(Ok(stream)) => self.drive(stream, peer, issue).await,
            Ok(Err(error)) if error.peer_left() => self.left(&peer),
            Ok(Err(error)) => self.refused(&peer, &error.reason()),
            Err(unfinished) => self.refused(&peer, &unfinished.to_string()),
        }
    }

    /// Counts a peer that came and went, as those do that look whether a port is open.
    fn left(&self, peer: &str) {
        self.shared.counters.handshake_failed();
        debug!(target: "router::server", listener = %self.config.name, %peer, "the peer left before it opened its connection");
    }

    /// Counts a peer that never opened its connection, and logs it unless that was said of another one lately.
    fn refused(&self, peer: &str, reason: &str) {
        self.shared.counters.handshake_failed();
        let listener = &self.config.name;
        match self.complaints.due(reason) {
            Some(silent) => {
                warn!(target: "router::server", %listener, %peer, %reason, silent, "connection refused");
            }
            None => {
                debug!(target: "router::server", %listener, %peer, %reason, "connection refused");
            }
        }
    }

    async fn secure(&self, socket: TcpStream) -> Result<Stream, tls::TlsError> {
        let Some(profile) = &self.config.ssl_profile else {
            return Ok(Stream::Plain(socket));
        };
        let config = self
            .profiles
            .server_config(profile, self.config.wants_certificate())?;
        if self.config.tls_only() {
            tls::accept_tls(socket, config).await
        } else {
            tls::accept_sniffed(socket, config).await
        }
    }

    async fn drive(mut self, stream: Stream, peer: String, issue: Option<Issue>) {
        let role = role_of(self.config.role);
        let facts = stream.tls_facts();
        let user = self
            .config
            .ssl_profile
            .as_deref()
            .and_then(|profile| self.profiles.user(profile, stream.peer_certificates()?));
        let external = facts.as_ref().and_then(|facts| facts.peer.clone());
        let mechanisms: Vec<Symbol> = if self.config.sasl_mechanisms.is_empty() {
            vec![Symbol::from_static("ANONYMOUS")]
        } else {
            let offered = self.config.offered_mechanisms();
            offered.map(Symbol::from).collect()
        };
        let sasl = ServerSasl {
            mechanisms,
            required: self.config.authenticate_peer || role != ConnectionRole::Normal,
            external_identity: external,
            ..ServerSasl::anonymous()
        };
        let options = Options {
            role,
            outgoing: false,
            cost: self.config.cost,
            group: None,
            beside: None,
            failover: self.config.failover_urls.clone(),
            max_frame_size: self.config.max_frame_size,
            max_sessions: session_limit(self.config.max_sessions),
            idle_timeout: self.config.idle_timeout,
            link_capacity: self.config.link_capacity,
            facts: ConnectionFacts {
                host: peer.clone(),
                name: self.config.name.clone(),
                user,
                on_this_host: is_on_this_host(&peer),
                tls: facts.map(|facts| (facts.protocol.to_owned(), facts.cipher.to_owned())),
                ..ConnectionFacts::default()
            },
        };
        let id = self.shared.connection_id();
        let engine = Connection::server(
            engine_config(&self.shared, id, &options, self.config.max_session_frames),
            sasl,
            Instant::now(),
        );
        let engine = with_large_frames(engine, &options);
        let opened = CancellationToken::new();
        let running = driver::run(
            self.shared.clone(),
            id,
            stream,
            engine,
            options,
            self.cancel.clone(),
            |_, _| opened.cancel(),
        );
        let place = self.place.take();
        let ended = tokio::select! {
            ended = running => ended,
            unfinished = not_opened(place, &opened) => {
                return self.refused(&peer, &unfinished.to_string());
            }
            never = self.profiles.close_outdated(issue, &self.cancel) => match never {},
        };
        match ended {
            Ended::Cancelled => {}
            Ended::Io(error) if !opened.is_cancelled() => {
                self.refused(&peer, &tls::explain_io(&error));
            }
            Ended::Eof if !opened.is_cancelled() => self.left(&peer),
            ended if !opened.is_cancelled() => self.refused(&peer, &ended.to_string()),
            ended => {
                debug!(target: "router::server", listener = %self.config.name, %peer, reason = %ended, "connection ended");
            }
        }
    }
}

/// Waits for the reason why a connection that is not open in time has to end; for ever if it is.
async fn not_opened(place: Option<Place>, opened: &CancellationToken) -> Unfinished {
    if let Some(place) = place {
        tokio::select! {
            () = opened.cancelled() => drop(place),
            unfinished = place.over() => return unfinished,
        }
    }
    std::future::pending().await
}

/// Whether a peer, by its address, is a process of this host.
fn is_on_this_host(peer: &str) -> bool {
    peer == UNIX_PEER
        || peer
            .parse::<std::net::SocketAddr>()
            .is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Sessions that a peer may have where the configuration says `configured`.
pub(super) fn session_limit(configured: u32) -> u16 {
    u16::try_from(configured).map_or(MAX_SESSIONS, |limit| limit.clamp(1, MAX_SESSIONS))
}

/// Engine parameters of a connection.
pub(super) fn engine_config(
    shared: &Shared,
    id: ConnectionId,
    options: &Options,
    session_frames: Option<u32>,
) -> ConnectionConfig {
    let open = driver::local_open(shared, id, options, options.role).performative();
    ConnectionConfig {
        incoming_window: incoming_window(options.role, options.max_frame_size, session_frames),
        idle_timeout: (!options.idle_timeout.is_zero()).then_some(options.idle_timeout),
        max_links: MAX_LINKS,
        max_sessions: options.max_sessions,
        max_unsettled: MAX_UNSETTLED,
        open,
        ..ConnectionConfig::default()
    }
}

/// Routers of this implementation are told that larger frames are welcome, so they must be accepted from the start.
pub(super) fn with_large_frames(mut engine: Connection, options: &Options) -> Connection {
    if options.role != ConnectionRole::Normal {
        engine.set_receive_frame_limit(options.max_frame_size.max(LARGE_FRAME_SIZE));
    }
    engine
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // A socket file without a listener behind it is left over from a router that was killed.
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {name}: {error}"))
}
