//! AMQP connectors: dial, drive, and dial again with backoff.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use amqp::engine::{ClientSasl, Connection, Password};
use model::{
    HostPort,
    router_config::{AddressFamily, AmqpScheme, AmqpUrl, Connector as Config, ProxyProfile},
};
use rand::RngExt as _;
use tokio::{net::TcpStream, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    driver::{self, Ended, Group, HANDED_OVER, Options},
    failover::{Next, Servers, Told},
    listener::{engine_config, role_of, session_limit, with_large_frames},
    proxy::{self, Proxy},
    tls::{self, Stream, TlsProfiles},
};
use crate::{
    adaptor::tcp::is_of,
    core::{
        connection::{ConnectionFacts, ConnectionRole},
        connection_message::{Command, ConnectionMessage},
        control_message::{ConnectorState, ControlMessage},
        inbox::Inbox,
        local::random_name,
        shared::Shared,
    },
    worker::WorkerHandle,
};

/// TCP, TLS and SASL have to be over by then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between attempts: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A connection that lasted so long starts the backoff anew.
const STABLE: Duration = Duration::from_secs(10);
/// Length of a group correlator; C routers take at most 15 octets.
const CORRELATOR: usize = 15;

/// A configured connector, with the data connections beside its main connection.
#[derive(Debug)]
pub struct Connector {
    config: Config,
    /// Of the main connection.
    role: ConnectionRole,
    shared: Arc<Shared>,
    profiles: Arc<TlsProfiles>,
    /// Of the configuration; otherwise the environment decides.
    proxy: Option<Proxy>,
    environment: proxy::Environment,
    /// Where the main connection leads, and may lead.
    servers: Mutex<Servers>,
    /// The server that was a router which reads group ordinals, when it was last connected to. Others are not told any:
    /// routers of 2.x answer management with broken octets then.
    takes_ordinal: Mutex<Option<Arc<AmqpUrl>>>,
    /// Correlator of the main connection, once it is open and data connections may be made beside it. Every main
    /// connection has a new one: C routers of 3.x refuse one that they know as long as the old connection looks alive to
    /// them. One with newer certificates has the name of that which it takes over from. None for uplinks without data
    /// connections.
    group: Option<watch::Sender<Option<Group>>>,
}

/// How to reach the driver of a connection, once it is open, and what is cancelled when the router at the other end is
/// about to end.
#[derive(Debug, Default)]
struct Opened(watch::Sender<Option<(Arc<Inbox<ConnectionMessage>>, CancellationToken)>>);

impl Opened {
    fn get(&self) -> Option<Arc<Inbox<ConnectionMessage>>> {
        self.0.borrow().as_ref().map(|(inbox, _)| inbox.clone())
    }

    /// Waits until the router at the other end says that it is about to end.
    async fn until_left(&self) {
        self.until().await;
        let leaving = self.0.borrow().as_ref().map(|(_, leaving)| leaving.clone());
        if let Some(leaving) = leaving {
            leaving.cancelled().await;
        }
    }

    async fn until(&self) {
        let mut opened = self.0.subscribe();
        // The sender is here.
        let _ = opened.wait_for(Option::is_some).await;
    }
}

/// A main connection, from dialling on.
struct Main {
    server: Arc<AmqpUrl>,
    correlator: Arc<str>,
    /// Number of the certificates, 0 if they have none.
    ordinal: u64,
    started: Instant,
    opened: Arc<Opened>,
    attempt: Pin<Box<dyn Future<Output = Result<Ended, String>> + Send>>,
}

impl Connector {
    /// Starts a connector's connections; they end with `cancel`. `data` data connections are made on as many workers.
    /// `proxy` is the connector's profile.
    pub fn start(
        config: Config,
        proxy: Option<&ProxyProfile>,
        shared: &Arc<Shared>,
        profiles: &Arc<TlsProfiles>,
        data: u32,
        cancel: &CancellationToken,
    ) {
        let role = role_of(config.role);
        let own = AmqpUrl {
            scheme: match config.ssl_profile {
                Some(_) => AmqpScheme::Amqps,
                None => AmqpScheme::Amqp,
            },
            address: HostPort {
                host: config.host.trim_matches(['[', ']']).to_owned(),
                port: config.port,
            },
        };
        let connector = Arc::new(Self {
            servers: Mutex::new(Servers::new(own)),
            takes_ordinal: Mutex::default(),
            group: (data > 0 || role == ConnectionRole::InterRouter)
                .then(|| watch::Sender::new(None)),
            role,
            config,
            shared: shared.clone(),
            profiles: profiles.clone(),
            proxy: proxy.map(Proxy::of_profile),
            environment: proxy::Environment::of_process(),
        });
        if let Some(worker) = shared.workers.get(shared.next_worker()) {
            let task = connector
                .clone()
                .keep_connected(worker.clone(), cancel.child_token());
            worker.spawn(task);
        }
        let Some(group) = &connector.group else {
            return;
        };
        for worker in shared.workers.iter().cycle().take(data as usize) {
            let (group, cancel) = (group.subscribe(), cancel.child_token());
            let task = connector.clone().accompany(worker.clone(), group, cancel);
            worker.spawn(task);
        }
    }

    /// The main connection.
    async fn keep_connected(self: Arc<Self>, worker: WorkerHandle, cancel: CancellationToken) {
        let mut backoff = Backoff::default();
        self.report("CONNECTING", String::new());
        let mut reported = String::new();
        loop {
            let server = self.servers().current();
            let mut main = self.dial_main(&server, random_name(CORRELATOR).into(), &cancel);
            let outcome = loop {
                let (server, correlator) = (main.server.clone(), main.correlator.clone());
                let (ordinal, opened) = (main.ordinal, main.opened.clone());
                let newer = tokio::select! {
                    outcome = &mut main.attempt => break outcome,
                    newer = self.successor(&server, &correlator, ordinal, &opened, &cancel) => newer,
                    next = self.refuge(&opened) => {
                        info!(target: "router::server", connector = %self.config.name, host = %server.address, "the router there is about to end");
                        self.dial_main(&next, random_name(CORRELATOR).into(), &cancel)
                    }
                };
                // It ends when the messages on it have come to their end.
                let old = std::mem::replace(&mut main, newer);
                worker.spawn(async move {
                    let _ = old.attempt.await;
                });
            };
            let (server, opened, started) = (&main.server, &main.opened, main.started);
            if let Some(group) = &self.group {
                group.send_replace(None);
            }
            if cancel.is_cancelled() {
                let name = self.config.name.clone();
                self.shared.tell(ControlMessage::ConnectorGone { name });
                return;
            }
            let lasted = started.elapsed();
            let next = self
                .servers()
                .ended(opened.get().is_some() && lasted >= STABLE);
            let reason = match outcome {
                Ok(ended) => reason(&ended),
                Err(reason) => reason,
            };
            self.report("FAILED", reason.clone());
            // A peer that stays away is worth one line, not one a second.
            if reported != reason {
                warn!(target: "router::server", connector = %self.config.name, host = %server.address, %reason, "not connected, trying again");
                reported = reason;
            }
            if backoff.after(lasted) {
                reported.clear();
            }
            match next {
                Next::Again => backoff.pause(&cancel).await,
                Next::Another => pause(BACKOFF.0, &cancel).await,
            }
        }
    }

    fn dial_main(
        self: &Arc<Self>,
        server: &Arc<AmqpUrl>,
        correlator: Arc<str>,
        cancel: &CancellationToken,
    ) -> Main {
        let group = self.group.as_ref().map(|_| Group {
            correlator: correlator.clone(),
            ordinal: self.ordinal_for(server),
            server: server.clone(),
        });
        let profile = self.config.ssl_profile.as_deref();
        let issue = profile.and_then(|profile| self.profiles.issue(profile));
        let opened = Arc::new(Opened::default());
        let attempt = {
            let (connector, server) = (self.clone(), server.clone());
            let (opened, cancel) = (opened.clone(), cancel.clone());
            Box::pin(async move {
                connector
                    .connect_and_drive(connector.role, &server, group, &opened, &cancel)
                    .await
            })
        };
        Main {
            server: server.clone(),
            correlator,
            ordinal: issue.map_or(0, |issue| issue.ordinal()),
            started: Instant::now(),
            opened,
            attempt,
        }
    }

    /// Waits for newer certificates than those of an open main connection, numbered `ordinal`, and makes one with them
    /// that takes over from it. Only between interiors, and only if the peer knows what is meant: others would take it for
    /// a second link.
    async fn successor(
        self: &Arc<Self>,
        server: &Arc<AmqpUrl>,
        correlator: &Arc<str>,
        ordinal: u64,
        opened: &Opened,
        cancel: &CancellationToken,
    ) -> Main {
        let mut backoff = Backoff::default();
        let mut reported = String::new();
        opened.until().await;
        let profile = match &self.config.ssl_profile {
            Some(profile) if self.role == ConnectionRole::InterRouter => profile,
            _ => std::future::pending().await,
        };
        loop {
            self.profiles.raised(profile, ordinal).await;
            if self.ordinal_for(server).is_none() {
                std::future::pending::<()>().await;
            }
            let mut newer = self.dial_main(server, correlator.clone(), cancel);
            let newer_opened = newer.opened.clone();
            let reason = tokio::select! {
                () = newer_opened.until() => return newer,
                outcome = &mut newer.attempt => match outcome {
                    Ok(ended) => reason(&ended),
                    Err(reason) => reason,
                },
            };
            if reported != reason {
                warn!(target: "router::server", connector = %self.config.name, host = %server.address, %reason, "not connected with new certificates, the old connection stays");
                reported = reason;
            }
            backoff.pause(cancel).await;
        }
    }

    /// Waits until the router at the other end of an open main connection is about to end, if there is another server.
    async fn refuge(&self, opened: &Opened) -> Arc<AmqpUrl> {
        opened.until_left().await;
        if self.servers().list().len() < 2 {
            std::future::pending::<()>().await;
        }
        let mut servers = self.servers();
        servers.ended(false);
        servers.current()
    }

    /// A data connection, whenever there is a main connection that takes them.
    async fn accompany(
        self: Arc<Self>,
        worker: WorkerHandle,
        mut group: watch::Receiver<Option<Group>>,
        cancel: CancellationToken,
    ) {
        let role = match self.role {
            ConnectionRole::Edge => ConnectionRole::EdgeData,
            _ => ConnectionRole::InterRouterData,
        };
        let mut backoff = Backoff::default();
        while !cancel.is_cancelled() {
            let found = tokio::select! {
                found = group.wait_for(Option::is_some) => found.ok().and_then(|found| found.clone()),
                () = cancel.cancelled() => return,
            };
            let Some(found) = found else { return };
            let started = Instant::now();
            let opened = Arc::new(Opened::default());
            let mut attempt = {
                let (connector, group) = (self.clone(), found.clone());
                let (opened, cancel) = (opened.clone(), cancel.clone());
                Box::pin(async move {
                    let _ = connector
                        .connect_and_drive(
                            role,
                            &group.server,
                            Some(group.clone()),
                            &opened,
                            &cancel,
                        )
                        .await;
                })
            };
            let regrouped = tokio::select! {
                () = &mut attempt => false,
                _ = group.wait_for(|now| now.as_ref().is_some_and(|now| *now != found)) => true,
            };
            if regrouped {
                // It may be used until both sides see the new main connection; what is under way comes to its end there.
                if let Some(inbox) = opened.get() {
                    worker.spawn(async move {
                        if tokio::time::timeout(HANDED_OVER, &mut attempt)
                            .await
                            .is_err()
                        {
                            let _ = inbox.push(ConnectionMessage::Command(Command::Retire));
                            attempt.await;
                        }
                    });
                }
                continue;
            }
            backoff.after(started.elapsed());
            backoff.pause(&cancel).await;
        }
    }

    async fn connect_and_drive(
        &self,
        role: ConnectionRole,
        server: &Arc<AmqpUrl>,
        group: Option<Group>,
        opened: &Opened,
        cancel: &CancellationToken,
    ) -> Result<Ended, String> {
        let profile = self.config.ssl_profile.as_deref();
        let issue = profile.and_then(|profile| self.profiles.issue(profile));
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect(&server.address));
        let stream = tokio::select! {
            stream = connecting => stream.map_err(|_| format!("no answer from {} within {} s", server.address, CONNECT_TIMEOUT.as_secs()))??,
            () = cancel.cancelled() => return Ok(Ended::Cancelled),
        };
        let facts = stream.tls_facts();
        if let Some(facts) = &facts {
            debug!(target: "router::server", connector = %self.config.name, protocol = facts.protocol,
                cipher = facts.cipher, resumed = facts.resumed, "TLS established");
        }
        let user =
            profile.and_then(|profile| self.profiles.user(profile, stream.peer_certificates()?));
        let options = Options {
            role,
            outgoing: true,
            cost: self.config.cost,
            group,
            beside: self.group.clone().filter(|_| role == self.role),
            max_frame_size: self.config.max_frame_size,
            max_sessions: session_limit(self.config.max_sessions),
            idle_timeout: self.config.idle_timeout,
            link_capacity: self.config.link_capacity,
            failover: Vec::new(),
            facts: ConnectionFacts {
                host: server.address.to_string(),
                name: self.config.name.clone(),
                user,
                tls: facts.map(|facts| (facts.protocol.to_owned(), facts.cipher.to_owned())),
                ..ConnectionFacts::default()
            },
        };
        let id = self.shared.connection_id();
        let engine = Connection::client(
            engine_config(&self.shared, id, &options, self.config.max_session_frames),
            self.sasl(stream.tls_facts().is_some()),
            Instant::now(),
        );
        let engine = with_large_frames(engine, &options);
        let main = role == self.role;
        let cancel = cancel.child_token();
        let running = driver::run(
            self.shared.clone(),
            id,
            stream,
            engine,
            options,
            cancel.clone(),
            |handle, open| {
                opened
                    .0
                    .send_replace(Some((handle.inbox.clone(), handle.leaving.clone())));
                if main {
                    info!(target: "router::server", connector = %self.config.name, host = %server.address, peer = %handle.container, "connected");
                    self.told(Told::read(open));
                    let takes_ordinal =
                        handle.own_peer || handle.release().is_some_and(|(major, _)| major >= 3);
                    *self
                        .takes_ordinal
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) =
                        takes_ordinal.then(|| server.clone());
                    self.report("SUCCESS", String::new());
                }
            },
        );
        let ended = tokio::select! {
            ended = running => ended,
            never = self.profiles.close_outdated(issue, &cancel) => match never {},
        };
        debug!(target: "router::server", connector = %self.config.name, reason = %ended, "connection ended");
        if opened.get().is_some() {
            Ok(ended)
        } else {
            Err(reason(&ended))
        }
    }

    async fn connect(&self, server: &HostPort) -> Result<Stream, String> {
        let HostPort { host, port } = server;
        let proxy = match &self.proxy {
            Some(proxy) => Some(proxy.clone()),
            None => self
                .environment
                .proxy_for(host, *port)
                .map_err(|error| error.to_string())?,
        };
        let tcp = match proxy {
            Some(proxy) => proxy
                .connect(host, *port)
                .await
                .map_err(|error| error.to_string())?,
            None => dial(host, *port, self.config.socket_address_family)
                .await
                .map_err(|error| format!("cannot connect to {server}: {error}"))?,
        };
        let _ = tcp.set_nodelay(true);
        let Some(profile) = &self.config.ssl_profile else {
            return Ok(Stream::Plain(tcp));
        };
        let config = self
            .profiles
            .client_config(profile, self.config.verify_hostname)
            .map_err(|error| error.to_string())?;
        tls::connect_tls(tcp, host, config)
            .await
            .map_err(|error| error.to_string())
    }

    fn sasl(&self, tls: bool) -> ClientSasl {
        let plain = match (&self.config.sasl_username, &self.config.sasl_password) {
            (Some(user), Some(password)) => Some((user.clone(), Password::from(password.expose()))),
            _ => None,
        };
        match (self.config.sasl_mechanisms.as_slice(), plain) {
            ([only], _) if only == "EXTERNAL" => ClientSasl::External,
            ([only], _) if only == "ANONYMOUS" => ClientSasl::Anonymous {
                trace: format!("anonymous@{}", self.shared.space.id),
            },
            ([only], Some((user, password))) if only == "PLAIN" => {
                ClientSasl::Plain { user, password }
            }
            (_, plain) => ClientSasl::Auto {
                external_available: tls,
                plain,
            },
        }
    }

    /// Takes over what a peer told of other servers.
    fn told(&self, told: Told) {
        let connector = &self.config.name;
        if let Some(reason) = told.oddity
            && let Some(silent) = self
                .shared
                .complaints
                .due(&format!("odd servers of {connector}"))
        {
            warn!(target: "router::server", %connector, %reason, silent, "the peer's failover-server-list is odd");
        }
        let Some(servers) = told.servers else { return };
        if self.config.sasl_password.is_some() && self.config.ssl_profile.is_none() {
            // Whoever answers there would be told the password.
            debug!(target: "router::server", %connector, "servers that take over are not used with a password and without TLS");
            return;
        }
        let changed = self.servers().opened(servers);
        if changed {
            let servers = AmqpUrl::list(&self.servers().list());
            info!(target: "router::server", %connector, %servers, "servers that take over from each other");
        }
    }

    /// Number of the certificates, for a group at this server.
    fn ordinal_for(&self, server: &Arc<AmqpUrl>) -> Option<u64> {
        let profile = self.config.ssl_profile.as_deref()?;
        let takes = self
            .takes_ordinal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        takes.as_ref().filter(|known| *known == server)?;
        Some(self.profiles.issue(profile)?.ordinal())
    }

    /// Tells management how it stands.
    fn report(&self, status: &'static str, message: String) {
        self.shared.tell(ControlMessage::ConnectorState {
            name: self.config.name.clone(),
            state: ConnectorState {
                status: status.to_owned(),
                message,
                servers: AmqpUrl::list(&self.servers().list()),
            },
        });
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pauses between attempts.
#[derive(Debug)]
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF.0)
    }
}

impl Backoff {
    /// An attempt or connection lasted so long. True if that starts the backoff anew.
    fn after(&mut self, lasted: Duration) -> bool {
        let anew = lasted >= STABLE;
        if anew {
            self.0 = BACKOFF.0;
        }
        anew
    }

    async fn pause(&mut self, cancel: &CancellationToken) {
        let now = self.0;
        self.0 = (now * 2).min(BACKOFF.1);
        pause(now, cancel).await;
    }
}

/// Waits for about so long.
async fn pause(time: Duration, cancel: &CancellationToken) {
    let jittered = time.mul_f64(rand::rng().random_range(0.5..1.0));
    tokio::select! {
        () = tokio::time::sleep(jittered) => {}
        () = cancel.cancelled() => {}
    }
}

/// Why a connection ended, in words.
fn reason(ended: &Ended) -> String {
    match ended {
        Ended::Io(error) => tls::explain_io(error),
        ended => ended.to_string(),
    }
}

/// Connects to the first address of `host` that answers, of one family only if it is given.
async fn dial(host: &str, port: u16, family: Option<AddressFamily>) -> io::Result<TcpStream> {
    // Literals need no resolver thread.
    let addresses: Vec<SocketAddr> = match host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => tokio::net::lookup_host((host, port)).await?.collect(),
    };
    let mut failed = None;
    for address in addresses
        .into_iter()
        .filter(|address| is_of(family, address))
    {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            match family {
                Some(family) => format!("no {family} address"),
                None => "no address".to_owned(),
            },
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_of_the_wanted_family_are_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dial = async |host, family| dial(host, port, family).await;
        for family in [None, Some(AddressFamily::V4)] {
            dial("127.0.0.1", family).await.unwrap();
        }
        // A name that may mean both.
        let stream = dial("localhost", Some(AddressFamily::V4)).await.unwrap();
        assert!(stream.peer_addr().unwrap().is_ipv4());
        let v6 = Some(AddressFamily::V6);
        let error = dial("127.0.0.1", v6).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert_eq!(error.to_string(), "no IPv6 address");
    }
}
