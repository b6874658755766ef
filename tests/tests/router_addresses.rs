//! Which addresses TCP listeners and connectors have: several of one listener, those of a tenant, and what becomes of
//! flows when their entities go.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use e2e::{
    Backend, Family, Plan, SOON, TestRouter, eventually,
    mesh::Mesh,
    rows,
    tcp::{Echo, connect, over, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{ListenerAddress, MultiAddressStrategy, NetworkEntity, RouterConfig};
use router::management::client::Row;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A TCP listener with several addresses, of which the first has the highest value.
fn several(
    config: &mut RouterConfig,
    strategy: MultiAddressStrategy,
    values: &[(&str, i32)],
) -> u16 {
    let (mut listener, port) = tcp_listener("several", "");
    listener.strategy = strategy;
    config.put_tcp_listener(listener);
    for (address, value) in values {
        config.put_listener_address(listener_address(address, *value));
    }
    port
}

fn listener_address(address: &str, value: i32) -> ListenerAddress {
    ListenerAddress {
        name: format!("to-{address}"),
        address: address.to_owned(),
        value,
        listener: "several".to_owned(),
    }
}

/// The number of the server that gets a new client, and the flow.
async fn served(
    port: u16,
    servers: &[&Backend; 2],
) -> Result<(usize, TcpStream, TcpStream), String> {
    let mut client = connect(port).await;
    client
        .write_all(b"x")
        .await
        .map_err(|error| error.to_string())?;
    let accepted = async {
        tokio::select! {
            server = servers[0].accept() => (0, server),
            server = servers[1].accept() => (1, server),
        }
    };
    let accepted = tokio::time::timeout(Duration::from_secs(5), accepted).await;
    let (number, server) = accepted.map_err(|_| "no server is called".to_owned())?;
    Ok((number, client, server))
}

/// New clients get to this server sooner or later.
async fn until_served_by(port: u16, servers: &[&Backend; 2], wanted: usize) {
    eventually(
        &format!("server {wanted} is called"),
        async || match served(port, servers).await? {
            (number, ..) if number == wanted => Ok(()),
            (number, ..) => Err(format!("server {number} is called")),
        },
    )
    .await;
}

fn opened(found: &[Row], name: &str) -> i64 {
    rows::named(found, name).map_or(0, |row| rows::number(row, "connectionsOpened"))
}

async fn by_priority(family: Option<Family>) {
    let (first, second) = (Backend::new(), Backend::new());
    let servers = [&first, &second];
    let mut plan = Plan::routers(2).chain();
    let values = [("first", 10), ("second", 5)];
    let port = several(
        &mut plan.configs[0],
        MultiAddressStrategy::Priority,
        &values,
    );
    let a = tcp_connector("a", "first", first.port);
    let b = tcp_connector("b", "second", second.port);
    plan.configs[1].put_tcp_connector(a.clone());
    plan.configs[1].put_tcp_connector(b);
    let mut mesh = plan.start_as(&[family, None]).await;

    mesh.routers[0].until_listening("several", true).await;
    until_served_by(port, &servers, 0).await;
    mesh.routers[1].reconfigure(|config| {
        config.tcp_connectors.remove("a");
    });
    until_served_by(port, &servers, 1).await;
    mesh.routers[1].reconfigure(|config| {
        config.tcp_connectors.remove("b");
    });
    mesh.routers[0].until_listening("several", false).await;
    mesh.routers[1].reconfigure(|config| config.put_tcp_connector(a));
    mesh.routers[0].until_listening("several", true).await;
    until_served_by(port, &servers, 0).await;
    mesh.routers[0]
        .until("clients are counted", "listenerAddress", |found| {
            opened(found, "to-first") >= 2 && opened(found, "to-second") >= 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_the_reachable_address_of_the_highest_priority() {
    by_priority(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_c_router_get_it_too() {
    if Family::V35.available() {
        by_priority(Some(Family::V35)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_a_listener_come_and_go_beside_its_flows() {
    let (first, second) = (Backend::new(), Backend::new());
    let servers = [&first, &second];
    let mut plan = Plan::routers(1);
    let values = [("first", 1)];
    let port = several(
        &mut plan.configs[0],
        MultiAddressStrategy::Weighted,
        &values,
    );
    plan.configs[0].put_tcp_connector(tcp_connector("a", "first", first.port));
    plan.configs[0].put_tcp_connector(tcp_connector("b", "second", second.port));
    let mut mesh = plan.start().await;
    let router = &mut mesh.routers[0];
    until_served_by(port, &servers, 0).await;
    let (_, mut client, mut server) = served(port, &servers).await.unwrap();

    router.reconfigure(|config| config.put_listener_address(listener_address("second", 1)));
    // One in two of them: that all of a hundred go elsewhere does not happen.
    until_served_by(port, &servers, 1).await;
    until_served_by(port, &servers, 0).await;
    router.reconfigure(|config| {
        config.listener_addresses.remove("to-first");
    });
    router
        .until("one address is left", "listenerAddress", |found| {
            found.len() == 1
        })
        .await;
    for _ in 0..10 {
        assert_eq!(served(port, &servers).await.unwrap().0, 1);
    }
    // The one that has begun before is not touched.
    let mut octet = [0];
    server.read_exact(&mut octet).await.unwrap();
    server.write_all(b"y").await.unwrap();
    within("the first flow", SOON, client.read_exact(&mut octet))
        .await
        .unwrap();
    assert_eq!(&octet, b"y");
    router.reconfigure(|config| config.listener_addresses.clear());
    router.until_listening("several", false).await;
    let shown = router.rows("tcpListener").await.unwrap();
    let row = rows::named(&shown, "several").unwrap();
    assert_eq!(rows::text(row, "multiAddressStrategy"), "weighted");
}

/// Two linked routers of one tenant, and a service of it.
async fn of_a_tenant(
    server: Option<Family>,
    tenant: impl Fn(&mut RouterConfig),
) -> (Mesh, Echo, u16) {
    let echo = Backend::new().echo();
    let mut plan = Plan::routers(2).chain();
    plan.configs[0].network = Some(NetworkEntity {
        network_id: None,
        tenant_id: Some("tenant".to_owned()),
    });
    tenant(&mut plan.configs[1]);
    let (listener, port) = tcp_listener("in", "svc");
    plan.configs[0].put_tcp_listener(listener);
    plan.configs[1].put_tcp_connector(tcp_connector("out", "svc", echo.port));
    let mesh = plan.start_as(&[None, server]).await;
    works(port).await;
    (mesh, echo, port)
}

fn old_style(config: &mut RouterConfig) {
    config.router.van_id = Some("tenant".to_owned());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_a_tenant_have_its_name_before_theirs() {
    let (mut mesh, echo, port) = of_a_tenant(None, old_style).await;
    let shown = mesh.routers[0].rows("tcpListener").await.unwrap();
    let row = rows::named(&shown, "in").unwrap();
    assert_eq!(rows::text(row, "address"), "svc", "as it was configured");
    mesh.routers[0]
        .until(
            "the address has the name before it",
            "router.address",
            |found| {
                found
                    .iter()
                    .any(|row| rows::text(row, "key") == "Mtenant/svc")
            },
        )
        .await;
    let router = mesh.routers[0].rows("router").await.unwrap();
    assert_eq!(rows::text(&router[0], "vanId"), "tenant");
    // It cannot change while the router runs.
    mesh.routers[1].reconfigure(|config| config.router.van_id = None);
    mesh.routers[1].until_log("needs a restart").await;
    works(port).await;
    // A router without a tenant takes part under the whole name only.
    mesh.routers[1].reconfigure(|config| config.tcp_connectors.clear());
    mesh.routers[1].restart().await;
    mesh.routers[0].until_listening("in", false).await;
    mesh.routers[1].reconfigure(|config| {
        config.put_tcp_connector(tcp_connector("other", "svc", echo.port));
        config.put_tcp_connector(tcp_connector("whole", "tenant/svc", echo.port));
    });
    works(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_c_routers_are_the_same() {
    if Family::V27.available() {
        of_a_tenant(Some(Family::V27), old_style).await;
    }
    if Family::V35.available() {
        of_a_tenant(Some(Family::V35), |config| {
            config.network = Some(NetworkEntity {
                network_id: None,
                tenant_id: Some("tenant".to_owned()),
            });
        })
        .await;
    }
}

/// A flow through a router of which the configuration says this.
async fn flow(drop_tcp_connections: Option<bool>) -> (TestRouter, TcpStream, TcpStream) {
    let backend = Backend::new();
    let mut plan = Plan::routers(1);
    plan.configs[0].router.drop_tcp_connections = drop_tcp_connections;
    let (listener, port) = tcp_listener("in", "svc");
    plan.configs[0].put_tcp_listener(listener);
    plan.configs[0].put_tcp_connector(tcp_connector("out", "svc", backend.port));
    let mut mesh = plan.start().await;
    let (client, server) = tokio::join!(connect(port), backend.accept());
    (mesh.routers.remove(0), client, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_end_with_their_entities_only_if_that_is_wanted() {
    for wanted in [None, Some(false)] {
        let (mut router, mut client, mut server) = flow(wanted).await;
        router.reconfigure(|config| {
            config.tcp_listeners.clear();
            config.tcp_connectors.clear();
        });
        for entity in ["tcpListener", "tcpConnector"] {
            router.until("it is gone", entity, <[_]>::is_empty).await;
        }
        let mut octet = [0];
        client.write_all(b"x").await.unwrap();
        within("the flow", SOON, server.read_exact(&mut octet))
            .await
            .unwrap();
        server.write_all(b"y").await.unwrap();
        within("the flow", SOON, client.read_exact(&mut octet))
            .await
            .unwrap();
    }
    let (mut router, mut client, mut server) = flow(Some(true)).await;
    router.reconfigure(|config| config.tcp_listeners.clear());
    over(&mut client).await;
    over(&mut server).await;
    let (mut router, mut client, mut server) = flow(Some(true)).await;
    router.reconfigure(|config| config.tcp_connectors.clear());
    over(&mut server).await;
    over(&mut client).await;
}
