//! Servers that take over: a listener names them to those that connect (`failoverUrls`), and a connector whose server
//! is gone goes there.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use e2e::{
    Backend, Family, Plan, TestRouter, free_port,
    mesh::{self, connector, edge, interior, listener},
    rows,
    tcp::{Echo, tcp_connector, tcp_listener, works},
};
use model::router_config::{AmqpUrl, MAX_FAILOVER_URLS, Role, RouterConfig};

const ADDRESS: &str = "service:80";
const DIAL: &str = "dial";

fn url(scheme: &str, port: u16) -> AmqpUrl {
    format!("{scheme}://127.0.0.1:{port}").parse().unwrap()
}

/// Waits until the connector is up at the first of these ports, and knows the others.
async fn until_at(router: &TestRouter, scheme: &str, ports: &[u16]) {
    let urls: Vec<AmqpUrl> = ports.iter().map(|port| url(scheme, *port)).collect();
    let wanted = AmqpUrl::list(&urls);
    let at = |found: &[_]| {
        rows::named(found, DIAL).is_some_and(|row| {
            rows::text(row, "connectionStatus") == "SUCCESS"
                && rows::text(row, "failoverUrls") == wanted
        })
    };
    router
        .until(&format!("connected: {wanted}"), "connector", at)
        .await;
}

/// A server behind this router.
fn serve(config: &mut RouterConfig) -> Echo {
    let echo = Backend::new().echo();
    config.put_tcp_connector(tcp_connector("service-out", ADDRESS, echo.port));
    echo
}

/// A place for clients at this router.
fn use_service(config: &mut RouterConfig) -> u16 {
    let (tcp, port) = tcp_listener("service-in", ADDRESS);
    config.put_tcp_listener(tcp);
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_goes_where_its_interior_told_it_and_back() {
    let mut plan = Plan::routers(2).secured().chain();
    let (first, first_port) = listener("edges", Role::Edge);
    let (second, second_port) = listener("edges", Role::Edge);
    let mut first = mesh::secure_listener(first);
    first.failover_urls = vec![url("amqps", second_port)];
    plan.configs[0].put_listener(first);
    plan.configs[1].put_listener(mesh::secure_listener(second));
    let _echo = serve(&mut plan.configs[1]);
    let mut mesh = plan.start().await;

    let mut config = edge("e0");
    let certificates = mesh.certificates.as_ref().unwrap();
    config.put_ssl_profile(mesh::profile(&certificates.issue("e0")));
    config.put_connector(mesh::secure_connector(connector(
        DIAL,
        first_port,
        Role::Edge,
    )));
    let port = use_service(&mut config);
    let edge = TestRouter::start(config).await;
    until_at(&edge, "amqps", &[first_port, second_port]).await;
    works(port).await;

    mesh.routers[0].kill().await;
    // The second one tells nothing, so the list stays.
    until_at(&edge, "amqps", &[second_port, first_port]).await;
    edge.until_listening("service-in", true).await;
    works(port).await;

    mesh.routers[0].restart().await;
    mesh.routers[1].kill().await;
    until_at(&edge, "amqps", &[first_port, second_port]).await;
}

/// `first` names `second` to `dialler`, and is gone then.
async fn moves(dialler: Option<Family>, servers: Option<Family>) {
    async fn start(family: Option<Family>, config: RouterConfig) -> TestRouter {
        match family {
            None => TestRouter::start(config).await,
            Some(family) => TestRouter::start_c(family, config).await,
        }
    }
    let (mut links, first_port) = listener("links-1", Role::InterRouter);
    let (beside, second_port) = listener("links-2", Role::InterRouter);
    links.failover_urls = vec![url("amqp", second_port)];
    let mut first = interior("r1");
    first.put_listener(links);
    let mut second = interior("r2");
    second.put_listener(beside);
    let _echo = serve(&mut second);
    let mut config = interior("r0");
    config.router.data_connection_count = Some(2);
    config.put_connector(connector(DIAL, first_port, Role::InterRouter));
    let port = use_service(&mut config);

    let mut first = start(servers, first).await;
    let second = start(servers, second).await;
    let router = start(dialler, config).await;
    until_at(&router, "amqp", &[first_port, second_port]).await;
    router.until_nodes(&["r1"]).await;

    first.kill().await;
    until_at(&router, "amqp", &[second_port, first_port]).await;
    router.until_nodes(&["r2"]).await;
    second.until_nodes(&["r0"]).await;
    works(port).await;
    if dialler.is_none() {
        // Data connections lead where the main connection leads.
        let all = |found: &[_]| {
            found
                .iter()
                .filter(|row| rows::text(row, "role") == "inter-router-data")
                .filter(|row| rows::text(row, "host") == format!("127.0.0.1:{second_port}"))
                .count()
                == 2
        };
        router
            .until("two data connections", "connection", all)
            .await;
        works(port).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interior_moves_to_another_with_its_data_connections() {
    moves(None, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_none_do_not_keep_a_connector_from_its_own() {
    let mut plan = Plan::routers(2).link(0, 1, 1);
    // Itself, and places where nobody listens.
    let (own, own_port) = listener("links", Role::InterRouter);
    plan.configs[0].put_listener(own);
    let dead: Vec<AmqpUrl> = (0..MAX_FAILOVER_URLS - 1)
        .map(|_| url("amqp", free_port()))
        .collect();
    let first = plan.configs[1].listeners.values_mut().next().unwrap();
    first.failover_urls = vec![url("amqp", own_port)];
    first.failover_urls.extend(dead);
    let mut mesh = plan.start().await;
    mesh.routers[1].kill().await;
    mesh.routers[0].until_log("is already in the network").await;
    mesh.routers[0]
        .until_connector("to-r1", "FAILED", "cannot connect")
        .await;
    mesh.routers[1].restart().await;
    mesh.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_connector_follows_what_listeners_of_c_routers_tell() {
    for family in Family::ALL {
        if family.available() {
            moves(None, Some(family)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connectors_of_c_routers_follow_what_our_listener_tells() {
    for family in Family::ALL {
        if family.available() {
            moves(Some(family), None).await;
        }
    }
}
