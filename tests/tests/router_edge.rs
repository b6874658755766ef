//! Edge routers, as containers of services use them: one uplink to an interior router, everything else through it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use e2e::{
    Backend, Pattern, Plan, SOON, TestRouter,
    mesh::{self, Mesh, connector, edge, listener},
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
