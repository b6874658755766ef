//! Edges and interiors of which one is a C router. Each test needs the C routers that the environment names
//! (`SKROUTERD_24`, `SKROUTERD_27`, `SKROUTERD_35`) and says so when they are not there.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use e2e::{
    Backend, Family, Pattern, SOON, TestRouter, eventually,
    mesh::{connector, edge, interior, listener},
    rows,
    tcp::{Echo, connect, round_trip, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{Connector, Listener, Role, RouterConfig};
use rustix::process::Signal;
use tokio::task::JoinSet;

/// Of the connections between edges and interiors; short, so that heartbeats matter in a test.
const IDLE: Duration = Duration::from_secs(4);

/// Whose router has a place.
type Kind = Option<Family>;
const OURS: Kind = None;

async fn start(kind: Kind, config: RouterConfig) -> TestRouter {
    match kind {
        OURS => TestRouter::start(config).await,
        Some(family) => TestRouter::start_c(family, config).await,
    }
}

fn edges_listener() -> (Listener, u16) {
    let (listener, port) = listener("edges", Role::Edge);
    let listener = Listener {
        idle_timeout: IDLE,
        ..listener
    };
    (listener, port)
}

fn uplink(name: &str, port: u16) -> Connector {
    Connector {
        idle_timeout: IDLE,
        ..connector(name, port, Role::Edge)
    }
}

/// An interior with two edges; each router has a service for each of the other two.
struct Star {
    /// The interior, the edge under test, another edge of ours.
    routers: [TestRouter; 3],
    /// By client and server, indices of `routers`.
    ports: Vec<(usize, usize, u16)>,
    servers: Vec<Echo>,
}

/// Name of the listener or connector of a path.
fn service(client: usize, server: usize) -> String {
    format!("s{client}{server}")
}

impl Star {
    async fn new(kind_of_interior: Kind, kind_of_edge: Kind) -> Self {
        let (edges, port) = edges_listener();
        let mut configs = [interior("i"), edge("e"), edge("other")];
        configs[0].put_listener(edges);
        configs[1].put_connector(uplink("uplink", port));
        configs[2].put_connector(uplink("uplink", port));
        let mut ports = Vec::new();
        let mut servers = Vec::new();
        for client in 0..configs.len() {
            for server in (0..configs.len()).filter(|server| *server != client) {
                let name = service(client, server);
                let echo = Backend::new().echo();
                let (listener, port) = tcp_listener(&format!("in-{name}"), &name);
                configs[client].put_tcp_listener(listener);
                configs[server].put_tcp_connector(tcp_connector(
                    &format!("out-{name}"),
                    &name,
                    echo.port,
                ));
                ports.push((client, server, port));
                servers.push(echo);
            }
        }
        let [config, under_test, other] = configs;
        let routers = [
            start(kind_of_interior, config).await,
            start(kind_of_edge, under_test).await,
            TestRouter::start(other).await,
        ];
        Self {
            routers,
            ports,
            servers,
        }
    }

    fn port(&self, client: usize, server: usize) -> u16 {
        let found = self
            .ports
            .iter()
            .find(|(from, to, _)| (*from, *to) == (client, server));
        found.unwrap().2
    }

    /// All six paths.
    async fn all_work(&self) {
        for (_, _, port) in &self.ports {
            works(*port).await;
        }
    }
}

/// Several flows at a time, each larger than any window.
async fn parallel(port: u16) {
    let mut flows = JoinSet::new();
    for seed in 0..10 {
        flows.spawn(round_trip(port, Pattern::new(seed, 1_000_000)));
    }
    let all = async {
        while let Some(flow) = flows.join_next().await {
            flow.unwrap().unwrap();
        }
    };
    within(&format!("10 MB through port {port}"), SOON, all).await;
}

/// Services, tracking and heartbeats.
async fn edge_and_interior(kind_of_interior: Kind, kind_of_edge: Kind) {
    let mut star = Star::new(kind_of_interior, kind_of_edge).await;
    star.all_work().await;
    for (client, server) in [(1, 2), (2, 1)] {
        parallel(star.port(client, server)).await;
    }

    // What an edge hears of addresses: ours shows it in its listener.
    let other = &mut star.routers[2];
    other.until_listening("in-s20", true).await;
    other.until_listening("in-s21", true).await;
    other.reconfigure(|config| {
        config.tcp_connectors.remove("out-s12");
        config.tcp_connectors.remove("out-s02");
    });
    // The server that the others lose comes back.
    let gone = async |router: &TestRouter, address: &str| {
        router
            .until("the address is gone", "router.address", |found| {
                found
                    .iter()
                    .filter(|row| rows::text(row, "key") == format!("M{address}"))
                    .all(|row| {
                        rows::number(row, "subscriberCount") + rows::number(row, "remoteCount") == 0
                    })
            })
            .await;
    };
    gone(&star.routers[0], "s02").await;
    let back = [
        tcp_connector("out-s12", "s12", star.servers[3].port),
        tcp_connector("out-s02", "s02", star.servers[1].port),
    ];
    star.routers[2].reconfigure(|config| {
        for connector in back {
            config.put_tcp_connector(connector);
        }
    });
    works(star.port(1, 2)).await;
    works(star.port(0, 2)).await;

    // Nothing but heartbeats for longer than either side waits.
    let connection = |found: &[router::management::client::Row]| -> Vec<String> {
        let mut ids: Vec<String> = found
            .iter()
            .filter(|row| rows::text(row, "role") == "edge")
            .map(|row| rows::text(row, "identity").to_owned())
            .collect();
        ids.sort_unstable();
        ids
    };
    let before = connection(&star.routers[0].rows("connection").await.unwrap());
    tokio::time::sleep(IDLE * 2).await;
    let after = connection(&star.routers[0].rows("connection").await.unwrap());
    assert_eq!(before.len(), 2, "one connection to each edge: {before:?}");
    assert_eq!(before, after, "no edge had to connect again");

    // Management of each edge through the network.
    let mut client = star.routers[0].client().await.unwrap();
    for id in ["e", "other"] {
        let found = client
            .query_at(&format!("amqp:/_edge/{id}/$management"), "tcpListener", &[])
            .await
            .unwrap();
        assert_eq!(found.len(), 2, "{id}: {found:?}");
    }
    client.close().await;
    // And from one edge to the other one and to the interior; the answers come to an address of the edge.
    for (from, node) in [
        (1, "_edge/other"),
        (2, "_edge/e"),
        (1, "_topo/0/i"),
        (2, "_topo/0/i"),
    ] {
        let mut client = star.routers[from].client().await.unwrap();
        let address = format!("amqp:/{node}/$management");
        let found = client.query_at(&address, "tcpListener", &[]).await;
        let found = found.unwrap_or_else(|error| panic!("{node} from {from}: {error}"));
        assert_eq!(found.len(), 2, "{node} from {from}: {found:?}");
        client.close().await;
    }

    // The interior comes back from a crash.
    star.routers[0].restart().await;
    star.all_work().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_2_4_at_our_interior() {
    if Family::V24.available() {
        edge_and_interior(OURS, Some(Family::V24)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_2_7_at_our_interior() {
    if Family::V27.available() {
        edge_and_interior(OURS, Some(Family::V27)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_3_5_at_our_interior() {
    if Family::V35.available() {
        edge_and_interior(OURS, Some(Family::V35)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_edges_at_an_interior_2_4() {
    if Family::V24.available() {
        edge_and_interior(Some(Family::V24), OURS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_edges_at_an_interior_2_7() {
    if Family::V27.available() {
        edge_and_interior(Some(Family::V27), OURS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_edges_at_an_interior_3_5() {
    if Family::V35.available() {
        edge_and_interior(Some(Family::V35), OURS).await;
    }
}

/// An edge that knows two linked interiors uses one; when that one is lost it goes on with the other.
async fn fails_over(kinds: [Kind; 2], kind_of_edge: Kind) {
    let mut configs = [interior("i0"), interior("i1")];
    let mut near = edge("near");
    let mut far = edge("far");
    let mut ports = [0; 2];
    for (index, config) in configs.iter_mut().enumerate() {
        let (edges, port) = edges_listener();
        config.put_listener(edges);
        near.put_connector(uplink(&format!("uplink-{index}"), port));
        ports[index] = port;
    }
    let (links, port) = listener("links", Role::InterRouter);
    configs[0].put_listener(links);
    configs[1].put_connector(connector("link", port, Role::InterRouter));
    let echo = Backend::new().echo();
    let (client, port) = tcp_listener("in", "service");
    near.put_tcp_listener(client);
    far.put_tcp_connector(tcp_connector("out", "service", echo.port));
    // The server is an edge of the interior that stays.
    far.put_connector(uplink("uplink", ports[1]));
    let [one, other] = configs;
    let mut lost = start(kinds[0], one).await;
    let stays = start(kinds[1], other).await;
    stays.until_nodes(&["i0"]).await;
    let _far = TestRouter::start(far).await;
    let near = start(kind_of_edge, near).await;
    works(port).await;

    for round in 0..2 {
        if round == 0 {
            lost.kill().await;
        } else {
            // Nobody is told: found out by the silence.
            lost.signal(Signal::STOP);
        }
        let started = Instant::now();
        works(port).await;
        let took = started.elapsed();
        assert!(
            took < IDLE * 4,
            "round {round}: served again after {took:?}"
        );
        if round == 0 {
            lost.restart().await;
        } else {
            lost.signal(Signal::CONT);
        }
        eventually("the edge is connected to both", async || {
            let found = near.rows("connection").await?;
            let open = found
                .iter()
                .filter(|row| rows::text(row, "role") == "edge")
                .count();
            if open == 2 {
                Ok(())
            } else {
                Err(format!("{open} connections"))
            }
        })
        .await;
        works(port).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_edge_fails_over_between_interiors_2_7() {
    let old = Family::V27;
    if old.available() {
        fails_over([Some(old), Some(old)], OURS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_edge_fails_over_between_interiors_3_5() {
    let old = Family::V35;
    if old.available() {
        fails_over([Some(old), Some(old)], OURS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_3_5_fail_over_between_our_interiors() {
    let old = Family::V35;
    if old.available() {
        fails_over([OURS, OURS], Some(old)).await;
    }
}

/// An edge of C routers leaves an interior of ours that is about to end once nothing of its own is under way there,
/// whatever else the interior waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_3_5_leave_an_interior_of_ours_that_ends() {
    let kind = Family::V35;
    if !kind.available() {
        return;
    }
    let mut configs = [interior("i0"), interior("i1")];
    let mut near = edge("near");
    for (index, config) in configs.iter_mut().enumerate() {
        let (edges, port) = edges_listener();
        config.put_listener(edges);
        near.put_connector(uplink(&format!("uplink-{index}"), port));
    }
    let (links, port) = listener("links", Role::InterRouter);
    configs[0].put_listener(links);
    configs[1].put_connector(connector("link", port, Role::InterRouter));
    let (echo, backend) = (Backend::new().echo(), Backend::new());
    configs[1].put_tcp_connector(tcp_connector("out", "service", echo.port));
    configs[1].put_tcp_connector(tcp_connector("held", "held", backend.port));
    let (client, port) = tcp_listener("in", "service");
    near.put_tcp_listener(client);
    let (client, held) = tcp_listener("in", "held");
    configs[0].put_tcp_listener(client);
    let [ends, stays] = configs;
    let mut ends = TestRouter::start(ends).await;
    let stays = TestRouter::start(stays).await;
    stays.until_nodes(&["i0"]).await;
    let near = TestRouter::start_c(kind, near).await;
    let interiors = async || -> Result<Vec<String>, String> {
        let found = near.rows("connection").await?;
        let edges = found.iter().filter(|row| {
            rows::text(row, "role") == "edge" && !rows::text(row, "container").is_empty()
        });
        Ok(edges
            .map(|row| rows::text(row, "container").to_owned())
            .collect())
    };
    eventually("the edge is connected to both", async || {
        match interiors().await?.len() {
            2 => Ok(()),
            open => Err(format!("{open}")),
        }
    })
    .await;
    works(port).await;
    let (mut client, mut server) = tokio::join!(connect(held), backend.accept());
    let held = Pattern::new(1, 10_000);
    let (sent, received) = tokio::join!(held.send(&mut client), held.receive(&mut server));
    sent.unwrap();
    received.unwrap();

    ends.signal(Signal::TERM);
    eventually("the edge has left", async || match interiors().await? {
        left if left == ["i1"] => Ok(()),
        all => Err(format!("{all:?}")),
    })
    .await;
    works(port).await;
    assert!(!ends.log().contains("router ends"), "{}", ends.log());
    drop(client);
    drop(server);
    let status = ends.ended(SOON).await.unwrap();
    assert!(status.success(), "{status}");
    let log = ends.log();
    assert!(!log.contains("broken off"), "{log}");
}
