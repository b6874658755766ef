//! Edge routers, as containers of services use them: one uplink to an interior router, everything else through it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use e2e::{
    Backend, Pattern, Plan, SOON, TestRouter, eventually,
    mesh::{self, Mesh, connector, edge, listener},
    rows,
    tcp::{Echo, round_trip, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{Role, RouterConfig};
use rustix::process::Signal;

const ADDRESS: &str = "service:80";

/// Two linked interior routers that take edges.
async fn interiors() -> (Mesh, [u16; 2]) {
    let mut plan = Plan::routers(2).secured().chain();
    let mut ports = [0; 2];
    for (config, port) in plan.configs.iter_mut().zip(&mut ports) {
        let (edges, listens) = listener("edges", Role::Edge);
        config.put_listener(mesh::secure_listener(edges));
        *port = listens;
    }
    (plan.start().await, ports)
}

fn edge_of(mesh: &Mesh, id: &str, uplink: u16) -> RouterConfig {
    let mut config = edge(id);
    let certificates = mesh.certificates.as_ref().unwrap();
    config.put_ssl_profile(mesh::profile(&certificates.issue(id)));
    config.put_connector(mesh::secure_connector(connector(
        "uplink",
        uplink,
        Role::Edge,
    )));
    config
}

fn with_client(mut config: RouterConfig) -> (RouterConfig, u16) {
    let (listener, port) = tcp_listener("l", ADDRESS);
    config.put_tcp_listener(listener);
    (config, port)
}

fn with_server(mut config: RouterConfig) -> (RouterConfig, Echo) {
    let echo = Backend::new().echo();
    config.put_tcp_connector(tcp_connector("c", ADDRESS, echo.port));
    (config, echo)
}

async fn start_edge(config: RouterConfig) -> TestRouter {
    let router = TestRouter::start(config).await;
    router.until_connector("uplink", "SUCCESS", "").await;
    router
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_reach_from_edge_to_edge_and_between_edge_and_interior() {
    let (mut mesh, ports) = interiors().await;
    let (near, port) = with_client(edge_of(&mesh, "e0", ports[0]));
    let near = start_edge(near).await;
    // Behind the other interior.
    let (far, echo) = with_server(edge_of(&mesh, "e1", ports[1]));
    let far = start_edge(far).await;
    near.until_listening("l", true).await;
    within(
        "20 MB from edge to edge",
        SOON,
        round_trip(port, Pattern::new(1, 20_000_000)),
    )
    .await
    .unwrap();
    let flows: Vec<_> = (0..50)
        .map(|seed| tokio::spawn(round_trip(port, Pattern::new(seed, 300_000))))
        .collect();
    for flow in flows {
        within("50 flows from edge to edge", SOON, flow)
            .await
            .unwrap()
            .unwrap();
    }
    // A client of an interior, to the same edge.
    let (listener, interior_port) = tcp_listener("l", ADDRESS);
    mesh.routers[0].reconfigure(|config| config.put_tcp_listener(listener.clone()));
    works(interior_port).await;
    // The edge's server is gone; one behind its interior takes over, then one on the client's own edge.
    drop(far);
    near.until_listening("l", false).await;
    mesh.routers[1]
        .reconfigure(|config| config.put_tcp_connector(tcp_connector("c", ADDRESS, echo.port)));
    near.until_listening("l", true).await;
    works(port).await;
    mesh.routers[1].reconfigure(|config| config.tcp_connectors.clear());
    near.until_listening("l", false).await;
    let mut near = near;
    near.reconfigure(|config| config.put_tcp_connector(tcp_connector("c", ADDRESS, echo.port)));
    near.until_listening("l", true).await;
    works(port).await;
    works(interior_port).await;
    // Management of an edge through the network.
    let mut client = mesh.routers[1].client().await.unwrap();
    let rows = client
        .query_at("amqp:/_edge/e0/$management", "tcpListener", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_to_clients_of_an_edge_from_everywhere() {
    let (mesh, ports) = interiors().await;
    let one = start_edge(edge_of(&mesh, "e0", ports[0])).await;
    let beside = start_edge(edge_of(&mesh, "e1", ports[0])).await;
    let far = start_edge(edge_of(&mesh, "e2", ports[1])).await;
    // Each is announced a moment after its uplink is there; until then nobody answers.
    for (edge, seen_from) in [(&one, 1), (&beside, 1), (&far, 0)] {
        let key = format!("H{}", edge.id);
        mesh.routers[seen_from]
            .until("the edge is announced", "router.address", |found| {
                found.iter().any(|row| rows::text(row, "key") == key)
            })
            .await;
    }
    // The client's reply address is one of its edge: `_edge/e0/…`.
    let mut client = one.client().await.unwrap();
    for (node, id) in [
        ("$management", "e0"),
        ("amqp:/_edge/e0/$management", "e0"),
        ("amqp:/_topo/0/r0/$management", "r0"),
        ("amqp:/_topo/0/r1/$management", "r1"),
        ("amqp:/_edge/e1/$management", "e1"),
        ("amqp:/_edge/e2/$management", "e2"),
    ] {
        let found = client.query_at(node, "router", &["id"]).await;
        let found = found.unwrap_or_else(|error| panic!("{node}: {error}"));
        let found: Vec<&str> = found.iter().map(|row| rows::text(row, "id")).collect();
        assert_eq!(found, [id], "{node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_edges_of_one_interior_reach_each_other() {
    let (mesh, ports) = interiors().await;
    let (one, port) = with_client(edge_of(&mesh, "e0", ports[0]));
    let (other, _echo) = with_server(edge_of(&mesh, "e1", ports[0]));
    let (one, _other) = (start_edge(one).await, start_edge(other).await);
    one.until_listening("l", true).await;
    within(
        "5 MB between edges of one interior",
        SOON,
        round_trip(port, Pattern::new(1, 5_000_000)),
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_without_uplink_serves_again_once_it_is_back() {
    let (mut mesh, ports) = interiors().await;
    let (near, port) = with_client(edge_of(&mesh, "e0", ports[0]));
    let near = start_edge(near).await;
    let (far, _echo) = with_server(edge_of(&mesh, "e1", ports[1]));
    let _far = start_edge(far).await;
    works(port).await;
    // The client's interior is killed.
    mesh.routers[0].kill().await;
    near.until_connector("uplink", "FAILED", "").await;
    near.until_listening("l", false).await;
    mesh.routers[0].restart().await;
    near.until_connector("uplink", "SUCCESS", "").await;
    near.until_listening("l", true).await;
    works(port).await;
    // The server's interior hangs for a while.
    mesh.routers[1].signal(Signal::STOP);
    near.until_listening("l", false).await;
    mesh.routers[1].signal(Signal::CONT);
    near.until_listening("l", true).await;
    works(port).await;
    // The edge itself restarts.
    let mut near = near;
    near.restart().await;
    near.until_listening("l", true).await;
    works(port).await;
}

/// Octets that a router has seen on its connections of a role to a peer, and how many of these there are.
async fn traffic(router: &TestRouter, role: &str, peer: &str) -> (usize, i64) {
    let found = router.rows("connection").await.unwrap();
    let connections: Vec<_> = found
        .iter()
        .filter(|row| rows::text(row, "role") == role && rows::text(row, "container") == peer)
        .collect();
    let octets = connections
        .iter()
        .map(|row| rows::number(row, "octetsIn") + rows::number(row, "octetsOut"))
        .sum();
    (connections.len(), octets)
}

async fn until_data_connections(interior: &TestRouter, peer: &str, count: usize) {
    eventually(
        &format!("{} has {count} data connections of {peer}", interior.id),
        async || match traffic(interior, "edge-data", peer).await {
            (found, _) if found == count => Ok(()),
            (found, _) => Err(format!("{found}")),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_edges_use_data_connections_of_which_each_worker_has_one() {
    let (mesh, ports) = interiors().await;
    let [near, far] = [("e0", ports[0]), ("e1", ports[1])].map(|(id, port)| {
        let mut config = edge_of(&mesh, id, port);
        config.router.worker_threads = Some(3);
        config
    });
    let (near, port) = with_client(near);
    let (far, _echo) = with_server(far);
    let (near, far) = (start_edge(near).await, start_edge(far).await);
    for (interior, edge) in mesh.routers.iter().zip([&near, &far]) {
        until_data_connections(interior, &edge.id, 3).await;
    }
    works(port).await;
    let before = traffic(&mesh.routers[0], "edge", "e0").await.1;
    let flows: Vec<_> = (0..20)
        .map(|seed| tokio::spawn(round_trip(port, Pattern::new(seed, 500_000))))
        .collect();
    for flow in flows {
        within("20 flows", SOON, flow).await.unwrap().unwrap();
    }
    for (interior, edge) in mesh.routers.iter().zip([&near, &far]) {
        let (_, streamed) = traffic(interior, "edge-data", &edge.id).await;
        assert!(streamed > 20_000_000, "{}: {streamed}", edge.id);
    }
    let on_main = traffic(&mesh.routers[0], "edge", "e0").await.1 - before;
    assert!(
        on_main < 1_000_000,
        "{on_main} octets on the main connection"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_with_two_uplinks_goes_on_with_the_other_one() {
    let (mut mesh, ports) = interiors().await;
    let mut config = edge_of(&mesh, "e0", ports[0]);
    config.router.worker_threads = Some(2);
    config.put_connector(mesh::secure_connector(connector(
        "second",
        ports[1],
        Role::Edge,
    )));
    let (near, port) = with_client(config);
    // A server here as well, for those who come from the network.
    let echo = Backend::new().echo();
    let mut near = near;
    near.put_tcp_connector(tcp_connector("own", "own:80", echo.port));
    let mut near = start_edge(near).await;
    near.until_connector("second", "SUCCESS", "").await;
    let (far, _echo) = with_server(edge_of(&mesh, "e1", ports[1]));
    let _far = start_edge(far).await;
    let (listener, from_network) = tcp_listener("own", "own:80");
    mesh.routers[1].reconfigure(|config| config.put_tcp_listener(listener));
    works(port).await;
    works(from_network).await;

    for round in 0..4 {
        // The active uplink is the one that has data connections.
        let active = eventually("one interior has the edge's links", async || {
            let mut found = Vec::new();
            for (index, router) in mesh.routers.iter().enumerate() {
                if traffic(router, "edge-data", "e0").await.0 == 2 {
                    found.push(index);
                }
            }
            match found[..] {
                [only] => Ok(only),
                _ => Err(format!("{found:?}")),
            }
        })
        .await;
        let started = Instant::now();
        let removed = if active == 0 {
            mesh.routers[0].kill().await;
            None
        } else {
            let second = near.config.connectors["second"].clone();
            near.reconfigure(|config| {
                config.connectors.remove("second");
            });
            near.until_log("uplink active interior=r0").await;
            Some(second)
        };
        works(port).await;
        works(from_network).await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "round {round}: {took:?}");
        match removed {
            None => mesh.routers[0].restart().await,
            Some(second) => near.reconfigure(|config| config.put_connector(second)),
        }
        near.until_connector("uplink", "SUCCESS", "").await;
        near.until_connector("second", "SUCCESS", "").await;
    }
}
