//! Streams between framings: a client's router speaks one, the server's router the other, and a router of this project
//! is on the way (or is one of the two). The table that these tests print is the one in `docs/framing.md`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use e2e::{
    Backend, Family, Pattern, TestRouter, eventually,
    mesh::{connector, edge, interior, listener},
    rows,
    tcp::{connect, ends, over, reset, round_trip, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{Encapsulation, Mode, Role, RouterConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const ADDRESS: &str = "service:80";
const LARGE: u64 = 100_000_000;
const LONG: Duration = Duration::from_secs(120);
/// For one step of a cell that works.
const STEP: Duration = Duration::from_secs(15);
/// For one that does not.
const HOPELESS: Duration = Duration::from_secs(3);
/// A refused client's connection is over by then.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Networks that run at a time.
const AT_A_TIME: usize = 3;

/// A router at one end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ours(Encapsulation),
    C(Family),
}

const OURS: Kind = Kind::Ours(Encapsulation::Auto);
const LEGACY: Kind = Kind::Ours(Encapsulation::Legacy);
const LITE: Kind = Kind::Ours(Encapsulation::Lite);
const C24: Kind = Kind::C(Family::V24);
const C27: Kind = Kind::C(Family::V27);
const C35: Kind = Kind::C(Family::V35);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours(Encapsulation::Auto) => "ours",
            Self::Ours(Encapsulation::Legacy) => "ours, legacy",
            Self::Ours(Encapsulation::Lite) => "ours, lite",
            Self::C(Family::V24) => "2.4.3",
            Self::C(Family::V27) => "2.7.6",
            Self::C(Family::V35) => "3.5.1",
        })
    }
}

impl Kind {
    async fn start(self, config: RouterConfig) -> TestRouter {
        match self {
            Self::Ours(_) => TestRouter::start(config).await,
            Self::C(family) => TestRouter::start_c(family, config).await,
        }
    }

    fn encapsulation(self) -> Encapsulation {
        match self {
            Self::Ours(encapsulation) => encapsulation,
            Self::C(_) => Encapsulation::Auto,
        }
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::Ours(_))
    }

    fn is_lite(self) -> bool {
        self == C35
    }
}

/// Where the two ends are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    /// Interior routers that are neighbours.
    Direct,
    /// Interior routers with one of ours between them.
    Through,
    /// The same, dialled from the server's side.
    ThroughBackwards,
    /// Two edges of one of ours.
    Edges,
    /// The end that is ours is an edge of the other one.
    OursAsEdge,
}

const PATHS: [Path; 5] = [
    Path::Direct,
    Path::Through,
    Path::ThroughBackwards,
    Path::Edges,
    Path::OursAsEdge,
];

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "neighbours",
            Self::Through => "through ours",
            Self::ThroughBackwards => "dialled back",
            Self::Edges => "edges of ours",
            Self::OursAsEdge => "ours as edge",
        })
    }
}

/// A network of one cell.
struct Network {
    /// Those of the two ends, then the one between them.
    routers: Vec<TestRouter>,
    port: u16,
    backend: Backend,
}

/// Connects two routers: `from` dials.
fn link(from: &mut RouterConfig, to: &mut RouterConfig, role: Role) {
    let (listener, port) = listener(format!("from-{}", from.router.id), role);
    to.put_listener(listener);
    from.put_connector(connector(format!("to-{}", to.router.id), port, role));
}

/// The way back has to be known, too, and far routers learn of each other at different times.
async fn know_each_other(routers: &[TestRouter]) {
    let interiors: Vec<&TestRouter> = routers
        .iter()
        .filter(|router| router.config.router.mode == Mode::Interior)
        .collect();
    for router in &interiors {
        let others: Vec<&str> = interiors
            .iter()
            .map(|other| other.id.as_str())
            .filter(|id| *id != router.id)
            .collect();
        router.until_nodes(&others).await;
    }
}

impl Network {
    async fn new(client: Kind, server: Kind, path: Path) -> Self {
        let edges = path == Path::Edges;
        let is_edge = |kind: Kind| edges || (path == Path::OursAsEdge && kind.is_ours());
        let end = |id: &str, kind| {
            if is_edge(kind) {
                edge(id)
            } else {
                interior(id)
            }
        };
        let (mut near, mut far) = (end("near", client), end("far", server));
        let mut between = interior("between");
        match path {
            Path::Direct => link(&mut near, &mut far, Role::InterRouter),
            Path::Through => {
                link(&mut near, &mut between, Role::InterRouter);
                link(&mut between, &mut far, Role::InterRouter);
            }
            Path::ThroughBackwards => {
                link(&mut far, &mut between, Role::InterRouter);
                link(&mut between, &mut near, Role::InterRouter);
            }
            Path::Edges => {
                link(&mut near, &mut between, Role::Edge);
                link(&mut far, &mut between, Role::Edge);
            }
            Path::OursAsEdge if client.is_ours() => link(&mut near, &mut far, Role::Edge),
            Path::OursAsEdge => link(&mut far, &mut near, Role::Edge),
        }
        let backend = Backend::new();
        let (mut entrance, port) = tcp_listener("service-in", ADDRESS);
        entrance.encapsulation = client.encapsulation();
        near.put_tcp_listener(entrance);
        let mut exit = tcp_connector("service-out", ADDRESS, backend.port);
        exit.encapsulation = server.encapsulation();
        far.put_tcp_connector(exit);
        let mut routers = vec![client.start(near).await, server.start(far).await];
        if matches!(path, Path::Through | Path::ThroughBackwards | Path::Edges) {
            routers.push(OURS.start(between).await);
        }
        know_each_other(&routers).await;
        // The socket opens once the address is known to have a consumer.
        routers[0].until_listening("service-in", true).await;
        Self {
            routers,
            port,
            backend,
        }
    }

    async fn pair(&self) -> (TcpStream, TcpStream) {
        tokio::join!(connect(self.port), self.backend.accept())
    }
}

async fn in_time<T>(
    what: &str,
    limit: Duration,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.with_context(|| what.to_owned()),
        Err(_) => bail!("{what}: not within {limit:?}"),
    }
}

/// The server speaks first, the client sends and half-closes, the server answers; then the server is gone.
async fn everything(network: Network, len: u64) -> anyhow::Result<()> {
    let (mut client, mut server) =
        in_time("connecting", STEP, async { Ok(network.pair().await) }).await?;
    server.write_all(b"220 hello\r\n").await?;
    let mut greeting = [0; 11];
    in_time("the greeting", STEP, async {
        client.read_exact(&mut greeting).await?;
        Ok(())
    })
    .await?;
    ensure!(&greeting == b"220 hello\r\n", "another greeting");
    let there = Pattern::new(1, len);
    in_time("there", LONG, async {
        let sending = async {
            there.send(&mut client).await?;
            client.shutdown().await.context("half-closing")
        };
        tokio::try_join!(there.receive_all(&mut server), sending)?;
        Ok(())
    })
    .await?;
    let back = Pattern::new(2, len);
    in_time("back", LONG, async {
        let sending = async {
            back.send(&mut server).await?;
            server.shutdown().await.context("half-closing")
        };
        tokio::try_join!(back.receive_all(&mut client), sending)?;
        Ok(())
    })
    .await?;
    drop((client, server));
    let Network {
        routers: _routers,
        port,
        backend,
    } = network;
    drop(backend);
    for _ in 0..2 {
        let mut client = connect(port).await;
        let started = Instant::now();
        in_time("the end of a refused client", AT_ONCE, async {
            over(&mut client).await;
            Ok(())
        })
        .await?;
        ensure!(started.elapsed() < AT_ONCE, "too late");
    }
    Ok(())
}

/// As [`everything`]. Streams between two C routers get stuck now and then, as neighbours just as with one of ours
/// between them (2.4.3 to 2.7.6: 2 of 60 and 2 of 60): those are tried again, and the test says so.
#[expect(clippy::print_stdout, reason = "the log shows how often")]
async fn everything_of(client: Kind, server: Kind, path: Path) -> anyhow::Result<()> {
    let mut tries = if client.is_ours() || server.is_ours() {
        1
    } else {
        3
    };
    loop {
        let network = Network::new(client, server, path).await;
        tries -= 1;
        match everything(network, 1_000_000).await {
            Err(error) if tries > 0 => {
                println!("{client} to {server}, {path}: {error:#}; once more");
            }
            result => break result,
        }
    }
}

/// A client that nobody understands gets nothing.
async fn nothing(network: Network) -> anyhow::Result<()> {
    let port = network.port;
    let _echo = network.backend.echo();
    let trip = tokio::time::timeout(HOPELESS, round_trip(port, Pattern::new(0, 1000)));
    match trip.await {
        Ok(Ok(())) => bail!("it worked"),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// True if the two ends can be put there.
fn exists(client: Kind, server: Kind, path: Path) -> bool {
    path != Path::OursAsEdge || client.is_ours() != server.is_ours()
}

/// True if somebody on the way translates, or nobody has to.
fn passes(client: Kind, server: Kind, path: Path) -> bool {
    let ours = path != Path::Direct || client.is_ours() || server.is_ours();
    ours || client.is_lite() == server.is_lite()
}

/// Runs all cells and prints them; fails at the end if a cell is not as it should be.
#[expect(clippy::print_stdout, reason = "the table is what this is for")]
async fn matrix(kinds: &[Kind]) {
    let cells: Vec<(Kind, Kind, Path)> = kinds
        .iter()
        .flat_map(|client| kinds.iter().map(move |server| (*client, *server)))
        .flat_map(|(client, server)| PATHS.map(|path| (client, server, path)))
        .filter(|(client, server, path)| exists(*client, *server, *path))
        .collect();
    let local = tokio::task::LocalSet::new();
    let places = std::rc::Rc::new(tokio::sync::Semaphore::new(AT_A_TIME));
    let running: Vec<_> = cells
        .into_iter()
        .map(|(client, server, path)| {
            let places = places.clone();
            let cell = async move {
                let _place = places.acquire().await;
                if passes(client, server, path) {
                    everything_of(client, server, path).await
                } else {
                    nothing(Network::new(client, server, path).await).await
                }
            };
            (client, server, path, local.spawn_local(cell))
        })
        .collect();
    let mut results = Vec::new();
    let all = async {
        for (client, server, path, cell) in running {
            let result = match cell.await {
                Ok(result) => result.map_err(|error| format!("{error:#}")),
                Err(panic) => Err(format!("the network did not come up: {panic}")),
            };
            results.push((client, server, path, result));
        }
    };
    local.run_until(all).await;
    println!(
        "| client's router | server's router | {} |",
        PATHS.map(|path| path.to_string()).join(" | ")
    );
    println!("|---|---|{}", "---|".repeat(PATHS.len()));
    for client in kinds {
        for server in kinds {
            let row = PATHS.map(|path| {
                let cell = results
                    .iter()
                    .find(|(c, s, p, _)| (c, s, *p) == (client, server, path));
                match cell {
                    None => "",
                    Some((.., Err(_))) => "WRONG",
                    Some(_) if passes(*client, *server, path) => "yes",
                    Some(_) => "no",
                }
            });
            println!("| {client} | {server} | {} |", row.join(" | "));
        }
    }
    let wrong: Vec<String> = results
        .iter()
        .filter_map(|(client, server, path, result)| {
            let error = result.as_ref().err()?;
            Some(format!("{client} to {server}, {path}: {error}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_framing_reaches_every_other_one_at_routers_of_ours() {
    matrix(&[OURS, LEGACY, LITE]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_router_reaches_every_other_one_through_ours() {
    if [Family::V24, Family::V27, Family::V35]
        .into_iter()
        .all(Family::available)
    {
        matrix(&[C24, C27, C35, OURS]).await;
    }
}

/// 100 MB each way on one connection with both half-closes, then 50 connections of 1 MB.
async fn loaded(client: Kind, server: Kind, path: Path) {
    let network = Network::new(client, server, path).await;
    let (mut one, mut other) = network.pair().await;
    for seed in [1, 2] {
        let pattern = Pattern::new(seed, LARGE);
        let sending = async {
            pattern.send(&mut one).await.unwrap();
            one.shutdown().await.unwrap();
        };
        let (received, ()) = within(&format!("{client} to {server}: way {seed}"), LONG, async {
            tokio::join!(pattern.receive_all(&mut other), sending)
        })
        .await;
        received.unwrap();
        std::mem::swap(&mut one, &mut other);
    }
    let port = network.port;
    let _echo = network.backend.echo();
    works(port).await;
    let flows: Vec<_> = (0..50)
        .map(|seed| tokio::spawn(round_trip(port, Pattern::new(seed, 1_000_000))))
        .collect();
    for flow in flows {
        within("50 connections of 1 MB each way", LONG, flow)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_many_streams_pass_whole_between_framings() {
    loaded(LEGACY, LITE, Path::Through).await;
    loaded(LITE, LEGACY, Path::Through).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_many_streams_pass_whole_between_generations() {
    if Family::V27.available() && Family::V35.available() {
        loaded(C27, C35, Path::Through).await;
        loaded(C35, C27, Path::ThroughBackwards).await;
    }
}

/// Whoever breaks a stream, and however much is under way, the other end does not take it for a complete one.
async fn broken(client: Kind, server: Kind, path: Path) {
    let network = Network::new(client, server, path).await;
    for client_breaks in [true, false] {
        let (mut one, mut other) = network.pair().await;
        one.write_all(b"request").await.unwrap();
        let mut request = [0; 7];
        within("the request", STEP, other.read_exact(&mut request))
            .await
            .unwrap();
        if !client_breaks {
            std::mem::swap(&mut one, &mut other);
        }
        reset(one);
        let read = within("the other end is over", STEP, other.read_u8()).await;
        assert!(read.is_err(), "client breaks: {client_breaks}");
        // Its own octets have nowhere to go, so writing fails soon.
        let writing = async { while other.write_all(&[0; 1000]).await.is_ok() {} };
        within("the other end cannot write", STEP, writing).await;
    }
    // Nothing is left of them.
    for (router, entity) in network.routers.iter().zip(["tcpListener", "tcpConnector"]) {
        let dispatchers = i64::from(entity == "tcpConnector");
        router
            .until("all flows are over", entity, |found| {
                found.iter().all(|row| {
                    rows::number(row, "connectionsOpened")
                        == rows::number(row, "connectionsClosed") + dispatchers
                })
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_pass_between_framings() {
    for path in [Path::Through, Path::Edges] {
        broken(LEGACY, LITE, path).await;
        broken(LITE, LEGACY, path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_pass_between_generations() {
    if Family::V27.available() && Family::V35.available() {
        broken(C27, C35, Path::Through).await;
        broken(C35, C27, Path::Through).await;
    }
}

/// Servers that do not read hold up nobody else, and bridges do not gather what is sent to them.
async fn stuck(client: Kind, server: Kind) {
    let network = Network::new(client, server, Path::Through).await;
    let before: Vec<u64> = network
        .routers
        .iter()
        .map(TestRouter::resident_memory)
        .collect();
    let mut flows = Vec::new();
    for seed in 0..10 {
        let (mut client, server) = network.pair().await;
        let sender = tokio::spawn(async move {
            let pattern = Pattern::new(seed, 30_000_000);
            pattern.send(&mut client).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        flows.push((seed, server, sender));
    }
    let (mut free, mut server) = network.pair().await;
    let pattern = Pattern::new(20, 10_000_000);
    let sending = async {
        pattern.send(&mut free).await.unwrap();
        free.shutdown().await.unwrap();
    };
    let (received, ()) = within("10 MB beside stuck flows", LONG, async {
        tokio::join!(pattern.receive_all(&mut server), sending)
    })
    .await;
    received.unwrap();
    for (router, was) in network.routers.iter().zip(before) {
        let grown = router.resident_memory().saturating_sub(was);
        assert!(
            grown < 120_000_000,
            "{}: grew by {grown} octets although 300 MB could not be delivered",
            router.id
        );
    }
    for (seed, mut server, sender) in flows {
        let pattern = Pattern::new(seed, 30_000_000);
        let read = within(
            "a stuck flow goes on",
            LONG,
            pattern.receive_all(&mut server),
        );
        read.await.unwrap();
        drop(server);
        let mut client = sender.await.unwrap();
        ends(&mut client).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_behind_a_bridge_hold_up_only_themselves() {
    stuck(LEGACY, LITE).await;
    stuck(LITE, LEGACY).await;
}

/// Servers of both kinds behind neighbours of one router of ours: `clients` open connections one after the other, and
/// each server gets half of them.
async fn shared(servers: [Kind; 2], client: Kind) {
    let mut near = interior("near");
    let mut between = interior("between");
    link(&mut near, &mut between, Role::InterRouter);
    let (mut entrance, port) = tcp_listener("service-in", ADDRESS);
    entrance.encapsulation = client.encapsulation();
    // Clients of ours come to the router that has both kinds as neighbours.
    let at = if client == OURS {
        &mut between
    } else {
        &mut near
    };
    at.put_tcp_listener(entrance);
    let backends = [Backend::new(), Backend::new()];
    let mut ends = Vec::new();
    for (index, (server, backend)) in servers.iter().zip(&backends).enumerate() {
        let mut end = interior(format!("far-{index}"));
        link(&mut end, &mut between, Role::InterRouter);
        let mut exit = tcp_connector("service-out", ADDRESS, backend.port);
        exit.encapsulation = server.encapsulation();
        end.put_tcp_connector(exit);
        ends.push((*server, end));
    }
    let mut routers = vec![OURS.start(between).await, client.start(near).await];
    for (kind, end) in ends {
        routers.push(kind.start(end).await);
    }
    know_each_other(&routers).await;
    let listens = usize::from(client != OURS);
    routers[listens].until_listening("service-in", true).await;
    eventually("both servers are known", async || {
        let rows = routers[0].rows("router.address").await?;
        let known = rows.iter().any(|row| {
            rows::text(row, "name").ends_with(ADDRESS) && rows::number(row, "remoteCount") == 2
        });
        if known {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })
    .await;
    let mut open = Vec::new();
    let mut served = [0; 2];
    for number in 0..20_u8 {
        let mut client = connect(port).await;
        client.write_all(&[number]).await.unwrap();
        let accepted = within("a server for each client", STEP, async {
            tokio::select! {
                server = backends[0].accept() => (0, server),
                server = backends[1].accept() => (1, server),
            }
        });
        let (which, mut server) = accepted.await;
        let octet = within("its octet", STEP, server.read_u8()).await.unwrap();
        assert_eq!(octet, number);
        served[which] += 1;
        open.push((client, server));
    }
    assert_eq!(served, [10, 10], "{servers:?} for {client}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_both_framings_share_the_clients_of_one_address() {
    for client in [OURS, LEGACY, LITE] {
        shared([LEGACY, LITE], client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_both_generations_share_the_clients_of_one_address() {
    if Family::V27.available() && Family::V35.available() {
        for client in [OURS, C27, C35] {
            shared([C27, C35], client).await;
        }
    }
}

/// Clients at the first router, servers at the last, ours is the second; C routers of both kinds lie behind it.
async fn chain(kinds: &[Kind]) {
    let mut configs: Vec<RouterConfig> = (0..kinds.len())
        .map(|index| interior(format!("r{index}")))
        .collect();
    for index in 1..configs.len() {
        let (head, tail) = configs.split_at_mut(index);
        link(&mut head[index - 1], &mut tail[0], Role::InterRouter);
    }
    let (entrance, port) = tcp_listener("service-in", ADDRESS);
    configs[0].put_tcp_listener(entrance);
    let echo = Backend::new().echo();
    let exit = tcp_connector("service-out", ADDRESS, echo.port);
    configs[kinds.len() - 1].put_tcp_connector(exit);
    let mut routers = Vec::new();
    for (kind, config) in kinds.iter().zip(configs) {
        routers.push(kind.start(config).await);
    }
    know_each_other(&routers).await;
    routers[0].until_listening("service-in", true).await;
    for seed in 0..3 {
        let trip = round_trip(port, Pattern::new(seed, 1_000_000));
        within(&format!("{kinds:?}: trip {seed}"), STEP, trip)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_behind_other_routers_are_found_out() {
    if [Family::V24, Family::V27, Family::V35]
        .into_iter()
        .all(Family::available)
    {
        // The oldest connector takes the probe and answers it in its own way.
        chain(&[C35, OURS, C27, C24]).await;
        chain(&[C27, OURS, C35, C27]).await;
        chain(&[C35, OURS, OURS, C27]).await;
        chain(&[C24, OURS, OURS, C35]).await;
    }
}
