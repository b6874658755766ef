//! Who gets what: distribution over networks, and what becomes of messages and flows whose path disappears.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use amqp::Value;
use e2e::{
    Backend, Family, Pattern, Plan, Relay, SOON, TestRouter, did_not_run, environment,
    mesh::{Mesh, listener},
    rows,
    tcp::{connect, round_trip, tcp_connector, tcp_listener, works},
    within,
};
use fe2o3_amqp::{Connection, Receiver, Sender, Session, types::messaging::Outcome};
use model::router_config::{AddressEntity, Distribution, Role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

const ADDRESS: &str = "service:80";
/// For many messages over a link that breaks again and again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Gives every router a listener for clients and the distributions by name; URLs by index.
fn take_clients(plan: &mut Plan) -> Vec<String> {
    let serve = |config: &mut model::router_config::RouterConfig| {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        for (prefix, distribution) in [
            ("multicast", Distribution::Multicast),
            ("closest", Distribution::Closest),
        ] {
            config
                .addresses
                .push(AddressEntity::prefix(prefix, distribution));
        }
        format!("amqp://127.0.0.1:{port}")
    };
    plan.configs.iter_mut().map(serve).collect()
}

/// Puts a wire that the test holds into a link.
async fn wire(plan: &mut Plan, from: usize, to: usize) -> Relay {
    let mut dial = plan.configs[from].connectors[&format!("to-r{to}")].clone();
    let relay = Relay::to(dial.port, Duration::ZERO).await;
    dial.port = relay.port;
    plan.configs[from].put_connector(dial);
    relay
}

/// Waits until a router's way to another one leads through this neighbour (none: directly).
async fn until_next_hop(router: &TestRouter, id: &str, next_hop: &str) {
    let what = format!("{id} is reached through {next_hop:?}");
    router
        .until(&what, "router.node", |nodes| {
            nodes
                .iter()
                .any(|node| rows::text(node, "id") == id && rows::text(node, "nextHop") == next_hop)
        })
        .await;
}

/// Waits until a router knows that messages of these routers to another one pass through it.
async fn until_transit(router: &TestRouter, id: &str, origins: &[&str]) {
    let what = format!("messages of {origins:?} to {id} pass through here");
    router
        .until(&what, "router.node", |nodes| {
            let node = nodes.iter().find(|node| rows::text(node, "id") == id);
            let found = node.and_then(|node| node.get("validOrigins")?.as_list());
            found.is_some_and(|found| {
                found
                    .iter()
                    .filter_map(Value::as_str)
                    .eq(origins.iter().copied())
            })
        })
        .await;
}

async fn run(case: &str, urls: &[String]) {
    let Some(python) = environment::python() else {
        did_not_run("no python3 with proton (SKUPPER_TEST_PYTHON)", false);
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/distribution.py");
    let mut command = Command::new(python);
    command.arg(script).arg(case).args(urls).kill_on_drop(true);
    let output = within(case, PATIENCE, command.output()).await.unwrap();
    assert!(
        output.status.success(),
        "{case}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_distributed_as_their_address_says() {
    let mut plan = Plan::routers(4)
        .link(0, 1, 3)
        .link(1, 2, 3)
        .link(2, 3, 3)
        .link(3, 0, 4);
    let urls = take_clients(&mut plan);
    let relay = wire(&mut plan, 2, 3).await;
    let mesh = plan.start().await;
    for case in ["closest", "balanced", "multicast"] {
        run(case, &urls).await;
    }
    // The ring is a chain now, and a ring again.
    relay.cut();
    until_next_hop(&mesh.routers[3], "r2", "r0").await;
    until_next_hop(&mesh.routers[2], "r3", "r1").await;
    // Copies of a multicast follow the tree only once all agree on it.
    until_transit(&mesh.routers[0], "r2", &["r3"]).await;
    until_transit(&mesh.routers[0], "r3", &["r1", "r2"]).await;
    until_transit(&mesh.routers[1], "r2", &["r0", "r3"]).await;
    until_transit(&mesh.routers[1], "r3", &["r2"]).await;
    run("multicast", &urls).await;
    relay.mend();
    until_next_hop(&mesh.routers[3], "r2", "").await;
    until_next_hop(&mesh.routers[2], "r3", "").await;
    until_transit(&mesh.routers[0], "r2", &[]).await;
    until_transit(&mesh.routers[0], "r3", &[]).await;
    until_transit(&mesh.routers[1], "r2", &["r0"]).await;
    until_transit(&mesh.routers[1], "r3", &[]).await;
    run("multicast", &urls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_closest_server_gets_all_connections_until_it_disappears() {
    let mut plan = Plan::routers(3).link(0, 1, 2).link(0, 2, 5);
    let backends = [Backend::new(), Backend::new(), Backend::new()];
    let (entry, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(entry);
    for (config, backend) in plan.configs.iter_mut().zip(&backends) {
        config.put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
        let closest = AddressEntity::prefix(ADDRESS, Distribution::Closest);
        config.addresses.push(closest);
    }
    let mut mesh = plan.start().await;
    let known = async |mesh: &Mesh, here: i64, elsewhere: i64| {
        let what = format!("{here} servers here and {elsewhere} elsewhere are known");
        let key = format!("M{ADDRESS}");
        mesh.routers[0]
            .until(&what, "router.address", |found| {
                let row = found.iter().find(|row| rows::text(row, "key") == key);
                let count = |name| row.map_or(0, |row| rows::number(row, name));
                (count("subscriberCount"), count("remoteCount")) == (here, elsewhere)
            })
            .await;
    };
    let ten_reach = async |backend: &Backend| {
        let mut open = Vec::new();
        for _ in 0..10 {
            let client = connect(port).await;
            open.push((client, backend.accept().await));
        }
    };
    for (nearest, left) in [(0, (0, 2)), (1, (0, 1)), (2, (0, 0))] {
        known(&mesh, i64::from(nearest == 0), [2, 2, 1][nearest]).await;
        ten_reach(&backends[nearest]).await;
        mesh.routers[nearest].reconfigure(|config| config.tcp_connectors.clear());
        known(&mesh, left.0, left.1).await;
    }
    mesh.routers[0].until_listening("l", false).await;
    // Back again, the farther one first.
    for (back, now) in [(2, (0, 1)), (1, (0, 2)), (0, (1, 2))] {
        let server = tcp_connector("c", ADDRESS, backends[back].port);
        mesh.routers[back].reconfigure(|config| config.put_tcp_connector(server));
        known(&mesh, now.0, now.1).await;
        ten_reach(&backends[back]).await;
    }
}

/// How the sender of a message heard that it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Heard {
    Accepted,
    Released,
    /// It may have arrived; nobody knows.
    Modified,
}

/// Sends messages until as many as wanted were accepted; each attempt has a number of its own.
async fn send_until_accepted(
    url: String,
    first: u32,
    wanted: usize,
    accepted: Arc<AtomicUsize>,
) -> BTreeMap<u32, Heard> {
    const TOGETHER: usize = 20;
    let mut near = Connection::open(format!("near-{first}"), url.as_str())
        .await
        .unwrap();
    let mut session = Session::begin(&mut near).await.unwrap();
    let mut sender = Sender::attach(&mut session, "out", "orders").await.unwrap();
    let mut heard = BTreeMap::new();
    let mut next = first;
    let mut left = wanted;
    while left > 0 {
        let mut outcomes = Vec::new();
        for _ in 0..left.min(TOGETHER) {
            outcomes.push((next, sender.send_batchable(next).await.unwrap()));
            next += 1;
        }
        for (number, outcome) in outcomes {
            let outcome = match outcome.await.unwrap() {
                Outcome::Accepted(_) => Heard::Accepted,
                Outcome::Released(_) => Heard::Released,
                Outcome::Modified(_) => Heard::Modified,
                outcome => panic!("{number}: {outcome:?}"),
            };
            if outcome == Heard::Accepted {
                left -= 1;
                accepted.fetch_add(1, Ordering::Relaxed);
            }
            heard.insert(number, outcome);
        }
    }
    sender.close().await.unwrap();
    near.close().await.unwrap();
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_under_way_on_a_path_that_disappears_are_neither_lost_nor_doubled() {
    const MESSAGES: usize = 400;
    const CUTS: usize = 3;
    const BESIDE: u32 = 1_000_000;
    // The cheap way from r0 to r2 leads through r1.
    let mut plan = Plan::routers(4)
        .link(0, 1, 1)
        .link(1, 2, 1)
        .link(0, 3, 2)
        .link(3, 2, 2);
    let urls = take_clients(&mut plan);
    let relay = wire(&mut plan, 0, 1).await;
    let mesh = plan.start().await;
    let mut far = Connection::open("far", urls[2].as_str()).await.unwrap();
    let mut session = Session::begin(&mut far).await.unwrap();
    let mut receiver = Receiver::attach(&mut session, "in", "orders")
        .await
        .unwrap();
    let accepted: Arc<AtomicUsize> = Arc::default();
    let sending = tokio::spawn(send_until_accepted(
        urls[0].clone(),
        0,
        MESSAGES,
        accepted.clone(),
    ));
    let beside = tokio::spawn(send_until_accepted(
        urls[1].clone(),
        BESIDE,
        MESSAGES,
        Arc::default(),
    ));
    let (last, mut done) = tokio::sync::oneshot::channel::<()>();
    let receiving = async {
        let mut received: BTreeMap<u32, usize> = BTreeMap::new();
        let (mut from_r0, mut cuts) = (0, 0);
        loop {
            let delivery = tokio::select! {
                delivery = receiver.recv::<u32>() => delivery.unwrap(),
                _ = &mut done => return (received, cuts),
            };
            let number = *delivery.body();
            *received.entry(number).or_default() += 1;
            from_r0 += usize::from(number < BESIDE);
            if from_r0 / 100 > cuts && cuts < CUTS {
                // Those that are unsettled now are on their way in either direction: to here, or with their outcome
                // back.
                cuts += 1;
                until_next_hop(&mesh.routers[0], "r2", "r1").await;
                relay.cut();
                until_next_hop(&mesh.routers[0], "r2", "r3").await;
                relay.mend();
            }
            receiver.accept(&delivery).await.unwrap();
        }
    };
    let sending = async {
        let heard = (sending.await.unwrap(), beside.await.unwrap());
        last.send(()).unwrap();
        heard
    };
    let both = async { tokio::join!(receiving, sending) };
    let ((received, cuts), (heard, beside)) = within("all are accepted", PATIENCE, both).await;
    assert_eq!(cuts, CUTS, "cuts");
    for (number, heard) in heard.iter().chain(&beside) {
        let copies = received.get(number).copied().unwrap_or_default();
        let right = match heard {
            Heard::Accepted => copies == 1,
            Heard::Released => copies == 0,
            Heard::Modified => copies <= 1,
        };
        assert!(right, "message {number}: {copies} copies, {heard:?}");
    }
    let failed = |heard: &BTreeMap<u32, Heard>| {
        let failed = heard.values().filter(|heard| **heard != Heard::Accepted);
        failed.count()
    };
    assert_eq!(failed(&beside), 0, "the other path is unharmed");
    assert!(failed(&heard) > 0, "some were under way on the lost one");
    mesh.converged().await;
}

/// One octet there and one back.
async fn ping(client: &mut TcpStream, server: &mut TcpStream) {
    let trip = async {
        client.write_all(b"?").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'?');
        server.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
    };
    within("a round trip on an open flow", SOON, trip).await;
}

/// Fails unless the connection ends as one that was broken off.
async fn is_reset(connection: &mut TcpStream) {
    let read = within("the end of a flow", SOON, connection.read_u8()).await;
    let kind = read.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_on_a_path_that_disappears_are_reset_and_others_are_unharmed() {
    const FLOWS: usize = 10;
    let mut plan = Plan::routers(4)
        .link(0, 1, 1)
        .link(1, 2, 1)
        .link(0, 3, 2)
        .link(3, 2, 2);
    let relay = wire(&mut plan, 0, 1).await;
    // From r0 to r2, once with the client at either end; from r0 to r3; from r1 to r2.
    let ways = [(0, 2), (2, 0), (0, 3), (1, 2)];
    let mut services = Vec::new();
    for (index, (from, to)) in ways.into_iter().enumerate() {
        let (name, backend) = (format!("service-{index}"), Backend::new());
        let (entry, port) = tcp_listener(&name, &name);
        plan.configs[from].put_tcp_listener(entry);
        plan.configs[to].put_tcp_connector(tcp_connector(&name, &name, backend.port));
        services.push((name, port, backend, from));
    }
    let mesh = plan.start().await;
    until_next_hop(&mesh.routers[0], "r2", "r1").await;
    until_next_hop(&mesh.routers[2], "r0", "r1").await;
    // A router that has just come may be on the way before it knows what is beyond it, and releases what comes for that.
    for (name, ..) in &services {
        mesh.routers[1]
            .until(
                "the router in the middle knows the services",
                "router.address",
                |found| {
                    found
                        .iter()
                        .any(|row| rows::text(row, "name").ends_with(name.as_str()))
                },
            )
            .await;
    }
    let mut flows = Vec::new();
    for (name, port, backend, from) in &services {
        mesh.routers[*from].until_listening(name, true).await;
        let mut open = Vec::new();
        for _ in 0..FLOWS {
            let (mut client, mut server) = (connect(*port).await, backend.accept().await);
            ping(&mut client, &mut server).await;
            open.push((client, server));
        }
        flows.push(open);
    }
    relay.cut();
    for (client, server) in flows[..2].iter_mut().flatten() {
        is_reset(client).await;
        is_reset(server).await;
    }
    until_next_hop(&mesh.routers[0], "r2", "r3").await;
    until_next_hop(&mesh.routers[2], "r0", "r3").await;
    for (_, port, backend, _) in services {
        let _echo = backend.echo();
        works(port).await;
    }
    for (client, server) in flows[2..].iter_mut().flatten() {
        ping(client, server).await;
    }
    // Nor does the way back to the better path disturb them, or those that were opened meanwhile.
    relay.mend();
    until_next_hop(&mesh.routers[0], "r2", "r1").await;
    for (client, server) in flows[2..].iter_mut().flatten() {
        ping(client, server).await;
    }
}

/// Routers of two generations that have one of ours between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_and_the_newest_c_router_are_one_network_through_ours() {
    if !(Family::V24.available() && Family::V35.available()) {
        return;
    }
    for (families, dial) in [
        ([Some(Family::V24), None, Some(Family::V35)], false),
        ([Some(Family::V24), None, Some(Family::V35)], true),
        ([Some(Family::V35), None, Some(Family::V24)], false),
    ] {
        let plan = Plan::routers(3);
        let mut plan = if dial {
            plan.link(1, 0, 1).link(1, 2, 1)
        } else {
            plan.chain()
        };
        let urls = take_clients(&mut plan);
        let mut ports = Vec::new();
        let mut echoes = Vec::new();
        for (from, to) in [(0, 2), (2, 0)] {
            let echo = Backend::new().echo();
            let address = format!("to-r{to}");
            let (entry, port) = tcp_listener(&format!("l{from}"), &address);
            plan.configs[from].put_tcp_listener(entry);
            let server = tcp_connector(&format!("c{to}"), &address, echo.port);
            plan.configs[to].put_tcp_connector(server);
            ports.push(port);
            echoes.push(echo);
        }
        let mut mesh = plan.start_as(&families).await;
        passes_everything(&mesh, &urls, &ports, "new").await;
        // What the old run of a router announced is forgotten.
        mesh.routers[2].restart().await;
        mesh.converged().await;
        passes_everything(&mesh, &urls, &ports, "again").await;
    }
}

/// Messages and connections between the ends of a chain; `run` makes their addresses new, so that nobody remembers them.
async fn passes_everything(mesh: &Mesh, urls: &[String], ports: &[u16], run: &str) {
    for (from, to) in [(0, 2), (2, 0)] {
        for address in ["orders", "closest.orders", "multicast.news"] {
            exchange(&urls[from], &urls[to], &format!("{address}.{from}.{run}")).await;
        }
        let mut client = mesh.routers[from].client().await.unwrap();
        let far = format!("amqp:/_topo/0/r{to}/$management");
        let nodes = client.query_at(&far, "router.node", &[]).await.unwrap();
        assert_eq!(nodes.len(), 3, "{nodes:?}");
        client.close().await;
    }
    for port in ports {
        works(*port).await;
        let trip = round_trip(*port, Pattern::new(3, 3_000_000));
        within("3 MB there and back", SOON, trip).await.unwrap();
    }
}

/// Twenty messages, in order, each accepted.
async fn exchange(from: &str, to: &str, address: &str) {
    const MESSAGES: u32 = 20;
    let mut far = Connection::open("far", to).await.unwrap();
    let mut session = Session::begin(&mut far).await.unwrap();
    let mut receiver = Receiver::attach(&mut session, "in", address).await.unwrap();
    let mut near = Connection::open("near", from).await.unwrap();
    let mut near_session = Session::begin(&mut near).await.unwrap();
    let mut sender = Sender::attach(&mut near_session, "out", address)
        .await
        .unwrap();
    let receiving = async {
        for number in 0..MESSAGES {
            let delivery = receiver.recv::<u32>().await.unwrap();
            assert_eq!(*delivery.body(), number);
            receiver.accept(&delivery).await.unwrap();
        }
    };
    let sending = async {
        for number in 0..MESSAGES {
            let outcome = sender.send(number).await.unwrap();
            assert!(
                matches!(outcome, Outcome::Accepted(_)),
                "{number} to {address}: {outcome:?}"
            );
        }
    };
    let both = async { tokio::join!(receiving, sending) };
    within(&format!("messages to {address}"), SOON, both).await;
    receiver.close().await.unwrap();
    sender.close().await.unwrap();
    far.close().await.unwrap();
    near.close().await.unwrap();
}
