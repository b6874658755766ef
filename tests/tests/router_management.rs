//! Management over AMQP and over HTTP: what is shown, what can be changed, and by whom.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::{IpAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use e2e::{
    Backend, Plan, TestRouter, did_not_run, environment, eventually, free_port,
    http::{metric, page},
    mesh::{Mesh, connector, edge, http_listener, interior, listener},
    rows,
    tcp::{connect, tcp_connector, tcp_listener},
    within,
};
use model::router_config::{Listener, Role};
use router::management::client::Row;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

const ADDRESS: &str = "service:80";
const CASE: Duration = Duration::from_secs(120);

/// Runs a case of the Python client; false if there is none.
async fn python(case: &str, arguments: &[String]) -> bool {
    let Some(python) = environment::python() else {
        did_not_run("no python3 with proton (SKUPPER_TEST_PYTHON)", false);
        return false;
    };
    let mut command = Command::new(&python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/management.py"))
        .arg(case)
        .args(arguments)
        .kill_on_drop(true);
    let output = within(case, CASE, command.output()).await.unwrap();
    assert!(
        output.status.success(),
        "{case}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn url(port: u16) -> String {
    format!("amqp://127.0.0.1:{port}")
}

/// Two linked routers; clients of the first one, and its pages.
async fn managed(also: Vec<Listener>) -> (Mesh, u16, u16) {
    let mut plan = Plan::routers(2).secured().chain();
    let (clients, port) = listener("clients", Role::Normal);
    let (http, pages) = http_listener();
    for one in also.into_iter().chain([clients, http]) {
        plan.configs[0].put_listener(one);
    }
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, free_port()));
    (plan.start().await, port, pages)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_on_this_host_change_listeners() {
    let (mesh, port, _) = managed(Vec::new()).await;
    python("listeners", &[url(port), free_port().to_string()]).await;
    mesh.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_on_this_host_change_connectors_and_close_connections() {
    let (mesh, port, _) = managed(Vec::new()).await;
    python("connectors", &[url(port)]).await;
    mesh.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_are_shown_and_ended_one_by_one() {
    let backend = Backend::new().echo();
    let mut plan = Plan::routers(2).secured().chain();
    let (entry, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(entry);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    let mut urls = Vec::new();
    for config in &mut plan.configs {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        urls.push(url(port));
    }
    let mesh = plan.start().await;
    mesh.routers[0].until_listening("l", true).await;
    let arguments = [urls, vec![port.to_string()]].concat();
    if python("flows", &arguments).await && python("logs", &arguments[1..]).await {
        // Not only what management tells of the log has changed.
        let log = mesh.routers[1].log();
        let told = log.matches("flow ended").count();
        assert_eq!(told, 4, "of five flows, one was not to be told: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_routers_may_ask_and_not_change() {
    let (edges, edge_port) = listener("edges", Role::Edge);
    let (_mesh, port, pages) = managed(vec![edges]).await;
    assert_eq!(metric(pages, "skupper_management_refused_total").await, 0);
    if python("edge", &[url(edge_port), url(port)]).await {
        assert_eq!(metric(pages, "skupper_management_refused_total").await, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_from_elsewhere_are_refused() {
    let Some(host) = own_address() else {
        did_not_run("this host has no address but those of itself", true);
        return;
    };
    let (outside, outside_port) = listener("outside", Role::Normal);
    let outside = Listener {
        host: host.to_string(),
        ..outside
    };
    let (_mesh, _, pages) = managed(vec![outside]).await;
    if python("stranger", &[format!("amqp://{host}:{outside_port}")]).await {
        assert_eq!(metric(pages, "skupper_management_refused_total").await, 5);
    }
}

/// An address by which others would reach this host.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: only a route is chosen.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_links_and_addresses_are_shown_with_their_counts() {
    let backend = Backend::new();
    let mut plan = Plan::routers(2).secured().chain();
    let (entry, port) = tcp_listener("l", ADDRESS);
    let (http, pages) = http_listener();
    plan.configs[0].put_tcp_listener(entry);
    plan.configs[0].put_listener(http);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    let mesh = plan.start().await;
    mesh.routers[0].until_listening("l", true).await;
    let mut client = connect(port).await;
    let mut server = backend.accept().await;
    client.write_all(b"ping").await.unwrap();
    let mut octets = [0; 4];
    server.read_exact(&mut octets).await.unwrap();

    let peer = client.local_addr().unwrap().to_string();
    for (router, host, dir) in [
        (&mesh.routers[0], peer, "in"),
        (
            &mesh.routers[1],
            format!("127.0.0.1:{}", backend.port),
            "out",
        ),
    ] {
        let found = router.rows("connection").await.unwrap();
        let flows: Vec<&Row> = found
            .iter()
            .filter(|row| rows::text(row, "protocol") == "tcp")
            .collect();
        assert_eq!(flows.len(), 1, "{found:?}");
        for (attribute, value) in [
            ("host", host.as_str()),
            ("dir", dir),
            ("role", "normal"),
            ("container", "TcpAdaptor"),
            ("operStatus", "up"),
        ] {
            assert_eq!(rows::text(flows[0], attribute), value, "{flows:?}");
        }
        // Whoever asked before may not be gone yet.
        let own = eventually("connections are counted as they are shown", async || {
            let found = router.rows("connection").await?;
            let own = router.rows("router").await?;
            match rows::number(&own[0], "connectionCount") {
                counted if usize::try_from(counted) == Ok(found.len()) => Ok(own),
                counted => Err(format!("{counted} of {}", found.len())),
            }
        })
        .await;
        assert!(rows::number(&own[0], "memoryUsage") > 0);
    }
    assert_eq!(metric(pages, "qdr_tcp_service_connections").await, 1);
    // Its one message towards the server; the one back comes from there.
    assert_eq!(metric(pages, "qdr_deliveries_transit_total").await, 1);

    // The link between the routers: control and ten priorities each way, at the least.
    let links = mesh.routers[0].rows("router.link").await.unwrap();
    let of = |kind: &str, dir: &str| -> Vec<&Row> {
        let wanted =
            |row: &&Row| rows::text(row, "linkType") == kind && rows::text(row, "linkDir") == dir;
        links.iter().filter(wanted).collect()
    };
    for dir in ["in", "out"] {
        let control = of("router-control", dir);
        assert_eq!(control.len(), 1, "{links:?}");
        assert!(rows::number(control[0], "deliveryCount") > 0, "{control:?}");
        assert_eq!(rows::number(control[0], "priority"), 9);
        let mut priorities: Vec<i64> = of("inter-router", dir)
            .into_iter()
            .map(|row| rows::number(row, "priority"))
            .collect();
        priorities.dedup();
        assert!(
            (0..10).all(|priority| priorities.contains(&priority)),
            "{priorities:?}"
        );
        let streams: Vec<&Row> = of("inter-router", dir)
            .into_iter()
            .filter(|row| rows::number(row, "deliveryCount") == 1)
            .collect();
        assert_eq!(streams.len(), 1, "one stream each way: {links:?}");
        assert_eq!(rows::number(streams[0], "unsettledCount"), 1, "{streams:?}");
    }
    // What the router itself says and hears.
    let found = mesh.routers[0].rows("router.address").await.unwrap();
    for key in ["Lqdhello", "Tqdrouter", "M$management", "Rr1"] {
        let row = found.iter().find(|row| rows::text(row, "key") == key);
        let row = row.unwrap_or_else(|| panic!("{key}: {found:?}"));
        let inside = i64::from(key != "Rr1");
        assert_eq!(rows::number(row, "inProcess"), inside, "{row:?}");
        let told = match key {
            "M$management" => "deliveriesToContainer",
            // Routers that agree have nothing to ask of each other.
            "Rr1" => continue,
            _ => "deliveriesFromContainer",
        };
        assert!(rows::number(row, told) > 0, "{row:?}");
    }
    eventually("as many addresses are counted as are shown", async || {
        let shown = mesh.routers[0].rows("router.address").await?.len();
        let own = mesh.routers[0].rows("router").await?;
        match usize::try_from(rows::number(&own[0], "addrCount")) {
            Ok(counted) if counted == shown => Ok(()),
            counted => Err(format!("{counted:?} of {shown}")),
        }
    })
    .await;
    let held = mesh.routers[0].rows("allocator").await.unwrap();
    let flows = held
        .iter()
        .find(|row| rows::text(row, "typeName") == "tcp_flow");
    assert_eq!(rows::number(flows.unwrap(), "heldByThreads"), 1, "{held:?}");

    let count = async |router: &TestRouter, attribute: &str| {
        let found = router.rows("router.address").await.unwrap();
        let key = format!("M{ADDRESS}");
        let row = found.iter().find(|row| rows::text(row, "key") == key);
        rows::number(row.unwrap(), attribute)
    };
    assert_eq!(count(&mesh.routers[0], "deliveriesIngress").await, 1);
    assert_eq!(count(&mesh.routers[0], "deliveriesTransit").await, 1);
    assert_eq!(count(&mesh.routers[0], "deliveriesEgress").await, 0);
    assert_eq!(count(&mesh.routers[1], "deliveriesIngress").await, 0);
    assert_eq!(count(&mesh.routers[1], "deliveriesEgress").await, 1);

    drop(client);
    drop(server);
    for router in &mesh.routers {
        router
            .until("the flow is over", "connection", |found| {
                found.iter().all(|row| rows::text(row, "protocol") != "tcp")
            })
            .await;
        router
            .until("its links wait for nothing", "router.link", |found| {
                found
                    .iter()
                    .filter(|row| rows::text(row, "linkType") == "inter-router")
                    .all(|row| rows::number(row, "unsettledCount") == 0)
            })
            .await;
    }
}

async fn until_ready(pages: u16, wanted: u16, reason: &str) {
    eventually(
        &format!("/readyz says {wanted} {reason}"),
        async || match page(pages, "/readyz").await {
            (status, text) if status == wanted && text.contains(reason) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    assert_eq!(page(pages, "/healthz").await, (200, "OK\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_ready_while_it_has_an_uplink() {
    let (links, uplink) = listener("edges", Role::Edge);
    let mut config = edge("e");
    let (http, pages) = http_listener();
    config.put_listener(http);
    config.put_connector(connector("uplink", uplink, Role::Edge));
    let _edge = TestRouter::start(config).await;
    until_ready(pages, 503, "no interior router is connected").await;
    let mut config = interior("i");
    config.put_listener(links);
    let mut interior = TestRouter::start(config).await;
    until_ready(pages, 200, "OK").await;
    interior.kill().await;
    until_ready(pages, 503, "no interior router is connected").await;
    interior.restart().await;
    until_ready(pages, 200, "OK").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interior_is_ready_once_it_has_tried_its_links_and_listens() {
    let (http, pages) = http_listener();
    let mut config = interior("i");
    config.put_listener(http);
    config.put_connector(connector("nobody", free_port(), Role::InterRouter));
    let mut router = TestRouter::start(config).await;
    until_ready(pages, 200, "OK").await;

    // A service whose port another process has.
    let taken = Backend::new();
    let server = Backend::new().echo();
    let (mut entry, _) = tcp_listener("l", ADDRESS);
    entry.port = taken.port;
    router.reconfigure(|config| {
        config.put_tcp_listener(entry.clone());
        config.put_tcp_connector(tcp_connector("c", ADDRESS, server.port));
    });
    let reason = format!(
        "tcpListener \"l\": cannot listen on 127.0.0.1:{}",
        taken.port
    );
    until_ready(pages, 503, &reason).await;
    router.reconfigure(|config| {
        config.tcp_listeners.clear();
    });
    until_ready(pages, 200, "OK").await;
}
