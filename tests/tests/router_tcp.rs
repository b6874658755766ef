//! TCP through two routers that are linked with mutual TLS.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use e2e::{
    Backend, Pattern, Plan, SOON, eventually,
    mesh::Mesh,
    rows,
    tcp::{
        LONG, connect, ends, over, reset, round_trip, tcp_connector, tcp_listener, there_and_back,
    },
    within,
};
use model::router_config::Encapsulation;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const ADDRESS: &str = "service:80";
const LARGE: u64 = 100_000_000;

/// A service from `r0`, where clients come, to `r1`, where the server is.
struct Service {
    mesh: Mesh,
    port: u16,
    backend: Backend,
}

impl Service {
    async fn new(encapsulation: Encapsulation) -> Self {
        let backend = Backend::new();
        let mut plan = Plan::routers(2).secured().chain();
        let (mut listener, port) = tcp_listener("l", ADDRESS);
        listener.encapsulation = encapsulation;
        plan.configs[0].put_tcp_listener(listener);
        plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
        let mesh = plan.start().await;
        mesh.routers[0].until_listening("l", true).await;
        Self {
            mesh,
            port,
            backend,
        }
    }

    async fn pair(&self) -> (TcpStream, TcpStream) {
        tokio::join!(connect(self.port), self.backend.accept())
    }

    /// No flow is left behind on either router.
    async fn idle(&self) {
        for (router, entity) in self
            .mesh
            .routers
            .iter()
            .zip(["tcpListener", "tcpConnector"])
        {
            // The connector's own dispatcher counts as opened.
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
}

/// Everything that every framing has to do.
async fn all_of(encapsulation: Encapsulation) {
    let service = Service::new(encapsulation).await;
    let link = rows::text(
        &service.mesh.routers[0].rows("connection").await.unwrap()[0],
        "sslProto",
    )
    .to_owned();
    assert_eq!(link, "TLSv1.3", "the link is encrypted");
    // One connection at a time, each way, and both half-closes.
    let (client, server) = service.pair().await;
    there_and_back(client, server, LARGE).await;

    // The server speaks first, and closes its half first.
    let (mut client, mut server) = service.pair().await;
    server.write_all(b"220 hello\r\n").await.unwrap();
    server.shutdown().await.unwrap();
    let mut greeting = Vec::new();
    within("the greeting", SOON, client.read_to_end(&mut greeting))
        .await
        .unwrap();
    assert_eq!(greeting, b"220 hello\r\n");
    let late = Pattern::new(3, 300_000);
    let sending = async {
        late.send(&mut client).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let (received, ()) = tokio::join!(late.receive_all(&mut server), sending);
    received.unwrap();

    // Empty streams, and single octets in turns.
    let (mut client, mut server) = service.pair().await;
    client.shutdown().await.unwrap();
    within("an empty stream ends", SOON, ends(&mut server))
        .await
        .unwrap();
    drop(server);
    within("the other one too", SOON, ends(&mut client))
        .await
        .unwrap();
    let (mut client, mut server) = service.pair().await;
    let turns = async {
        for octet in 0..200_u8 {
            client.write_all(&[octet]).await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), octet);
            server.write_all(&[!octet]).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), !octet);
        }
    };
    within("200 turns of one octet", SOON, turns).await;
    drop((client, server));
    service.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_pass_whole_in_the_framing_that_is_found() {
    all_of(Encapsulation::Auto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_pass_whole_in_legacy_framing() {
    all_of(Encapsulation::Legacy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_pass_whole_in_lite_framing() {
    all_of(Encapsulation::Lite).await;
}

async fn two_hundred(encapsulation: Encapsulation) {
    let service = Service::new(encapsulation).await;
    let Service {
        mesh,
        port,
        backend,
    } = service;
    let echo = backend.echo();
    let clients: Vec<_> = (0..200)
        .map(|seed| tokio::spawn(round_trip(port, Pattern::new(seed, 1_000_000))))
        .collect();
    within("200 connections of 1 MB each way", LONG, async {
        for client in clients {
            client.await.unwrap().unwrap();
        }
    })
    .await;
    drop(echo);
    let listener = mesh.routers[0].rows("tcpListener").await.unwrap();
    assert_eq!(
        rows::number(&listener[0], "bytesIn"),
        200 * 1_000_000,
        "{listener:?}"
    );
    assert_eq!(rows::number(&listener[0], "bytesOut"), 200 * 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_connections_pass_whole() {
    two_hundred(Encapsulation::Auto).await;
    two_hundred(Encapsulation::Legacy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_server_ends_the_client_at_once_and_works_when_it_is_back() {
    for encapsulation in [Encapsulation::Auto, Encapsulation::Legacy] {
        let Service {
            mesh: _mesh,
            port,
            backend,
        } = Service::new(encapsulation).await;
        let server = backend.port;
        drop(backend);
        for _ in 0..3 {
            let started = Instant::now();
            let mut client = connect(port).await;
            client.write_all(b"anybody?").await.unwrap();
            over(&mut client).await;
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "{encapsulation:?}: ended after {:?}",
                started.elapsed()
            );
        }
        let _echo = Backend::on(server).echo();
        within(
            "a connection once the server is back",
            SOON,
            round_trip(port, Pattern::new(0, 1000)),
        )
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_reaches_the_other_side_as_a_reset() {
    for encapsulation in [Encapsulation::Auto, Encapsulation::Legacy] {
        let service = Service::new(encapsulation).await;
        // Neither side may take a broken stream for a complete one, whoever breaks it, and however much is under way.
        for client_breaks in [true, false] {
            let (mut client, mut server) = service.pair().await;
            client.write_all(b"request").await.unwrap();
            let mut request = [0; 7];
            server.read_exact(&mut request).await.unwrap();
            let (broken, mut other) = if client_breaks {
                (client, server)
            } else {
                (server, client)
            };
            reset(broken);
            let read = within("the other side ends", SOON, other.read_u8()).await;
            let error = read.unwrap_err();
            if encapsulation == Encapsulation::Auto {
                assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset,
                    "client breaks: {client_breaks}: {error}"
                );
            }
        }
        service.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_up_only_itself() {
    for encapsulation in [Encapsulation::Auto, Encapsulation::Legacy] {
        let service = Service::new(encapsulation).await;
        let before: Vec<u64> = memory(&service.mesh);
        // Ten servers do not read what their clients send.
        let mut stuck = Vec::new();
        for seed in 0..10 {
            let (mut client, server) = service.pair().await;
            let sender = tokio::spawn(async move {
                let pattern = Pattern::new(seed, 30_000_000);
                pattern.send(&mut client).await.unwrap();
                client.shutdown().await.unwrap();
                client
            });
            stuck.push((seed, server, sender));
        }
        // Meanwhile others are served at full speed.
        for seed in 20..25 {
            let (mut client, mut server) = service.pair().await;
            let pattern = Pattern::new(seed, 10_000_000);
            let sending = async {
                pattern.send(&mut client).await.unwrap();
                client.shutdown().await.unwrap();
            };
            let (received, ()) = within("10 MB beside stuck flows", SOON, async {
                tokio::join!(pattern.receive_all(&mut server), sending)
            })
            .await;
            received.unwrap();
        }
        for (was, is) in before.into_iter().zip(memory(&service.mesh)) {
            let grown = is.saturating_sub(was);
            assert!(
                grown < 120_000_000,
                "{encapsulation:?}: grew by {grown} octets although 300 MB could not be delivered"
            );
        }
        for (seed, mut server, sender) in stuck {
            let pattern = Pattern::new(seed, 30_000_000);
            within(
                "a stuck flow goes on",
                LONG,
                pattern.receive_all(&mut server),
            )
            .await
            .unwrap();
            drop(server);
            let mut client = sender.await.unwrap();
            ends(&mut client).await.unwrap();
        }
        service.idle().await;
    }
}

fn memory(mesh: &Mesh) -> Vec<u64> {
    mesh.routers
        .iter()
        .map(e2e::TestRouter::resident_memory)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_flows_outlive_the_idle_time_of_their_link() {
    let backend = Backend::new();
    let mut plan = Plan::routers(2).secured().chain();
    let (listener, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(listener);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    for connector in plan.configs[0].connectors.values_mut() {
        connector.idle_timeout = Duration::from_secs(2);
    }
    for listener in plan.configs[1].listeners.values_mut() {
        listener.idle_timeout = Duration::from_secs(2);
    }
    let mesh = plan.start().await;
    let (mut client, mut server) = tokio::join!(connect(port), backend.accept());
    let uptime = async |at_least| {
        mesh.routers[0]
            .until("the link stays up", "connection", |found| {
                found.iter().any(|row| {
                    rows::text(row, "role") == "inter-router"
                        && rows::number(row, "uptimeSeconds") >= at_least
                })
            })
            .await;
    };
    // Three times the idle time, by the router's own clock.
    uptime(6).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(
        within("an octet after silence", SOON, server.read_u8())
            .await
            .unwrap(),
        b'x'
    );
}

/// Clients that do not read.
const STUCK: usize = 8;
/// What one of them may cost a router: a window, what is on its way to the socket, and room to breathe.
const STUCK_MEMORY: u64 = 4_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_cost_little_memory_and_no_one_elses_time() {
    let service = Service::new(Encapsulation::Auto).await;
    let download = async || {
        let (mut client, mut server) = service.pair().await;
        let pattern = Pattern::new(1, LARGE);
        let start = Instant::now();
        let (sent, received) =
            tokio::join!(pattern.send(&mut server), pattern.receive(&mut client));
        sent.and(received).unwrap();
        start.elapsed()
    };
    // The first one also brings what the routers keep for all flows.
    within("a download", LONG, download()).await;
    let alone = within("a download", LONG, download()).await;
    let before: Vec<u64> = service
        .mesh
        .routers
        .iter()
        .map(e2e::TestRouter::resident_memory)
        .collect();

    let pattern = Pattern::new(2, 20_000_000);
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let (client, mut server) = service.pair().await;
        let sending = tokio::spawn(async move {
            pattern.send(&mut server).await?;
            server.shutdown().await?;
            anyhow::Ok(server)
        });
        stuck.push((client, sending));
    }
    let mut beside = Duration::ZERO;
    for _ in 0..3 {
        beside += within("a download beside them", LONG, download()).await / 3;
    }
    // A machine that has other things to do may be twice as slow at one time; a queue shared with the stuck ones would
    // take for ever.
    assert!(
        beside < 3 * alone + Duration::from_secs(1),
        "{beside:?} instead of {alone:?}"
    );
    for (router, before) in service.mesh.routers.iter().zip(before) {
        let grown = router.resident_memory().saturating_sub(before);
        assert!(
            grown < STUCK as u64 * STUCK_MEMORY + 20_000_000,
            "{grown} octets more"
        );
    }
    assert!(stuck.iter().all(|(_, sending)| !sending.is_finished()));
    // Nothing is lost when they read at last.
    for (mut client, sending) in stuck {
        within("the rest", LONG, pattern.receive_all(&mut client))
            .await
            .unwrap();
        sending.await.unwrap().unwrap();
    }
    service.idle().await;
}

/// Clients that do not read while their servers send.
const WAITED_FOR: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_in_which_octets_waited_goes_back_to_the_host() {
    let service = Service::new(Encapsulation::Lite).await;
    let (client, server) = service.pair().await;
    there_and_back(client, server, 1_000_000).await;
    service.idle().await;
    let router = &service.mesh.routers[0];
    let before = router.resident_memory();

    let mut flows = Vec::new();
    for seed in 0..WAITED_FOR {
        let (client, mut server) = service.pair().await;
        let pattern = Pattern::new(seed, LARGE);
        flows.push((
            client,
            tokio::spawn(async move { pattern.send(&mut server).await }),
        ));
    }
    let grown = || router.resident_memory().saturating_sub(before);
    eventually("octets wait", async || match grown() {
        40_000_000.. => Ok(()),
        few => Err(few.to_string()),
    })
    .await;
    for (client, sending) in flows {
        reset(client);
        let sent = within("the server is told", SOON, sending).await.unwrap();
        assert!(sent.is_err(), "nobody reads so much");
    }
    service.idle().await;
    eventually("memory goes back", async || match grown() {
        few @ ..8_000_000 => Ok(few),
        much => Err(much.to_string()),
    })
    .await;
}
