//! Routers that are told to end while others use them: what is under way ends in peace, and new flows go elsewhere.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use e2e::{
    Backend, Pattern, Plan, SOON, TestRouter, eventually,
    mesh::{Mesh, connector, edge, listener},
    rows,
    tcp::{Echo, connect, tcp_connector, tcp_listener, works},
    within,
};
use model::{
    HostPort,
    router_config::{AmqpScheme, AmqpUrl, Role},
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// Short requests through a port, one after the other, of which none may fail.
struct Requests {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Requests {
    fn through(port: u16) -> Self {
        let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (done.clone(), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let asked = tokio::time::timeout(SOON, request(port)).await;
                if let Err(error) = asked.context("no answer").flatten() {
                    let number = counted.load(Ordering::Relaxed);
                    panic!("request {number} through port {port}: {error:#}");
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { done, stop, task }
    }

    /// Waits for so many more.
    async fn more(&self, count: u64) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("requests are answered", async || {
            assert!(!self.task.is_finished(), "a request has failed");
            let done = self.done.load(Ordering::Relaxed) - before;
            if done >= count {
                Ok(())
            } else {
                Err(format!("{done}"))
            }
        })
        .await;
    }

    /// None has failed.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        within("the last request", SOON, self.task).await.unwrap();
    }
}

/// A connection that is refused is a failure.
async fn request(port: u16) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    connection.write_all(b"a short request").await?;
    connection.shutdown().await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    anyhow::ensure!(answer == b"a short request", "{answer:?}");
    Ok(())
}

/// Interiors r0 and r1, linked, and an edge whose uplink is at r0. r1 has two servers and a client of the edge's.
struct Moving {
    mesh: Mesh,
    edge: TestRouter,
    /// Of r1's echo, at the edge.
    short: u16,
    /// Of the test's server at r1, at the edge.
    long: u16,
    /// Of the edge's echo, at r1.
    own: u16,
    backend: Backend,
    _echoes: [Echo; 2],
}

impl Moving {
    /// With a second connector of the edge, or with one that r0 has told of r1.
    async fn start(two_connectors: bool) -> Self {
        let backend = Backend::new();
        let echoes = [Backend::new().echo(), Backend::new().echo()];
        let mut plan = Plan::routers(2).chain();
        let (mut first, first_port) = listener("edges", Role::Edge);
        let (second, second_port) = listener("edges", Role::Edge);
        let mut config = edge("e0");
        config.router.worker_threads = Some(2);
        config.put_connector(connector("uplink", first_port, Role::Edge));
        if !two_connectors {
            first.failover_urls = vec![AmqpUrl {
                scheme: AmqpScheme::Amqp,
                address: HostPort::new("127.0.0.1", second_port).unwrap(),
            }];
        }
        plan.configs[0].put_listener(first);
        plan.configs[1].put_listener(second);
        plan.configs[1].put_tcp_connector(tcp_connector("long", "long:80", backend.port));
        plan.configs[1].put_tcp_connector(tcp_connector("short", "short:80", echoes[0].port));
        config.put_tcp_connector(tcp_connector("own", "own:80", echoes[1].port));
        let (entry, long) = tcp_listener("long", "long:80");
        config.put_tcp_listener(entry);
        let (entry, short) = tcp_listener("short", "short:80");
        config.put_tcp_listener(entry);
        let (entry, own) = tcp_listener("own", "own:80");
        plan.configs[1].put_tcp_listener(entry);
        let mesh = plan.start().await;
        // The first one to be there becomes the active one.
        let mut edge = TestRouter::start(config).await;
        edge.until_log("uplink active interior=r0").await;
        if two_connectors {
            let second = connector("second", second_port, Role::Edge);
            edge.reconfigure(|config| config.put_connector(second));
            edge.until_connector("second", "SUCCESS", "").await;
        }
        Self {
            mesh,
            edge,
            short,
            long,
            own,
            backend,
            _echoes: echoes,
        }
    }
}

async fn an_edge_moves(two_connectors: bool) {
    let mut moving = Moving::start(two_connectors).await;
    works(moving.short).await;
    works(moving.own).await;
    let (mut client, mut server) = tokio::join!(connect(moving.long), moving.backend.accept());
    let download = Pattern::new(1, 1_000_000);
    let (received, sent) = tokio::join!(download.receive(&mut client), download.send(&mut server));
    received.unwrap();
    sent.unwrap();
    let requests = [moving.short, moving.own].map(Requests::through);
    for requests in &requests {
        requests.more(20).await;
    }

    moving.mesh.routers[0].signal(Signal::TERM);
    moving.edge.until_log("uplink active interior=r1").await;
    for requests in &requests {
        requests.more(50).await;
    }
    // What was under way before goes on where it was.
    assert!(!moving.mesh.routers[0].log().contains("router ends"));
    let rest = Pattern::new(2, 5_000_000);
    let sending = async {
        rest.send(&mut server).await?;
        server.shutdown().await.context("half-closing")
    };
    let receiving = async {
        rest.receive_all(&mut client).await?;
        client.shutdown().await.context("half-closing")
    };
    within("the rest of the download", SOON, async {
        tokio::try_join!(receiving, sending)
    })
    .await
    .unwrap();
    drop((client, server));
    let status = moving.mesh.routers[0].ended(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    let log = moving.mesh.routers[0].log();
    assert!(!log.contains("broken off"), "{log}");
    for requests in requests {
        requests.more(20).await;
        requests.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_goes_to_its_other_uplink_when_an_interior_ends() {
    an_edge_moves(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_goes_where_its_interior_told_it_when_that_one_ends() {
    an_edge_moves(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_flows_avoid_a_router_that_ends_on_a_ring() {
    let backend = Backend::new();
    let echo = Backend::new().echo();
    // The way over r1 is the shorter one.
    let mut plan = Plan::routers(4)
        .link(0, 1, 1)
        .link(1, 2, 1)
        .link(0, 3, 5)
        .link(3, 2, 5);
    let (entry, long) = tcp_listener("long", "long:80");
    plan.configs[0].put_tcp_listener(entry);
    let (entry, short) = tcp_listener("short", "short:80");
    plan.configs[0].put_tcp_listener(entry);
    plan.configs[2].put_tcp_connector(tcp_connector("long", "long:80", backend.port));
    plan.configs[2].put_tcp_connector(tcp_connector("short", "short:80", echo.port));
    let mut mesh = plan.start().await;
    works(short).await;
    let requests = Requests::through(short);
    requests.more(20).await;
    let long_way = async |mesh: &Mesh| {
        let found = mesh.routers[3].rows("router").await.unwrap();
        rows::number(&found[0], "deliveriesTransit")
    };
    eventually("nothing goes the long way any more", async || {
        let before = long_way(&mesh).await;
        requests.more(20).await;
        match long_way(&mesh).await - before {
            0 => Ok(()),
            some => Err(format!("{some}")),
        }
    })
    .await;
    let (mut client, mut server) = tokio::join!(connect(long), backend.accept());

    mesh.routers[1].signal(Signal::TERM);
    mesh.routers[0]
        .until("the way to r2 leads over r3", "router.node", |nodes| {
            let far = nodes.iter().find(|node| rows::text(node, "id") == "r2");
            far.is_some_and(|far| rows::text(far, "nextHop") == "r3")
        })
        .await;
    requests.more(2).await;
    let before = long_way(&mesh).await;
    requests.more(50).await;
    // A stream there and one back, of each but the one that was under way.
    let taken = long_way(&mesh).await - before;
    assert!(taken >= 98, "{taken}");
    // The flow that was there goes on over the router that ends.
    assert!(!mesh.routers[1].log().contains("router ends"));
    let more = Pattern::new(3, 3_000_000);
    let answering = async {
        more.send(&mut server).await?;
        server.shutdown().await.context("half-closing")
    };
    let asking = async {
        more.receive_all(&mut client).await?;
        client.shutdown().await.context("half-closing")
    };
    within("the flow over r1", SOON, async {
        tokio::try_join!(asking, answering)
    })
    .await
    .unwrap();
    let status = mesh.routers[1]
        .ended(SOON + Duration::from_secs(1))
        .await
        .unwrap();
    assert!(status.success(), "{status}");
    let log = mesh.routers[1].log();
    assert!(!log.contains("broken off"), "{log}");
    requests.more(20).await;
    requests.end().await;
}
