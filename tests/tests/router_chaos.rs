//! Routers that are killed or hang, wires that break in silence, crowds of clients, and no file descriptors left.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{env, io::Read as _, net::Ipv4Addr, process::Stdio, time::Duration};

use e2e::{
    Backend, Pattern, Plan, Relay, SOON, TestRouter, eventually, free_port,
    mesh::{Mesh, connector, interior, listener},
    rows,
    tcp::{Echo, connect, over, round_trip, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::Role;
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    sync::oneshot,
    task::{JoinHandle, JoinSet, spawn_blocking},
};

const ADDRESS: &str = "service:80";
const BESIDE: &str = "beside:80";
/// The port of [`server_of_a_crowd`], in its environment.
const SERVE: &str = "SKUPPER_TEST_CROWD_PORT";
/// For ten thousand clients, on a machine that has other things to do.
const CROWD: Duration = Duration::from_secs(180);

/// A service at one router and its port at another.
fn serve(plan: &mut Plan, address: &str, at: usize, from: usize) -> (u16, Echo) {
    let echo = Backend::new().echo();
    let (listener, port) = tcp_listener(address, address);
    plan.configs[from].put_tcp_listener(listener);
    plan.configs[at].put_tcp_connector(tcp_connector(address, address, echo.port));
    (port, echo)
}

/// A flow that sends and gets octets back without a pause.
struct Steady {
    stop: oneshot::Sender<()>,
    task: JoinHandle<u64>,
}

impl Steady {
    async fn through(port: u16) -> Self {
        works(port).await;
        let mut flow = connect(port).await;
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut trips = 0_u64;
            while stopped.try_recv().is_err() {
                trip(&mut flow, trips).await;
                trips += 1;
            }
            trips
        });
        Self { stop, task }
    }

    /// Ends it; every octet came back, or the test fails.
    async fn unharmed(self) {
        let _ = self.stop.send(());
        let trips = within("the last round trip", SOON, self.task).await;
        assert!(trips.expect("the flow is unharmed") > 0);
    }
}

/// Some octets there and back on an open flow.
async fn trip(flow: &mut TcpStream, number: u64) {
    let pattern = Pattern::new(usize::try_from(number % 1000).unwrap(), 3000);
    let (mut from, mut to) = flow.split();
    let (sent, received) = within("a round trip on an open flow", SOON, async {
        tokio::join!(pattern.send(&mut to), pattern.receive(&mut from))
    })
    .await;
    sent.unwrap();
    received.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_routers_come_back_while_flows_beside_them_go_on() {
    let mut plan = Plan::routers(4).secured().ring();
    let (port, _echo) = serve(&mut plan, ADDRESS, 2, 0);
    let (beside, _other) = serve(&mut plan, BESIDE, 1, 0);
    let mut mesh = plan.start().await;
    let steady = Steady::through(beside).await;
    works(port).await;
    for killed in [3, 2, 3] {
        mesh.routers[killed].kill().await;
        if killed != 2 {
            works(port).await;
        }
        mesh.routers[killed].restart().await;
        works(port).await;
    }
    mesh.converged().await;
    steady.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_survives_routers_that_stop_for_a_moment() {
    let mut plan = Plan::routers(3).chain();
    let (port, _echo) = serve(&mut plan, ADDRESS, 2, 0);
    let mesh = plan.start().await;
    works(port).await;
    let pattern = Pattern::new(3, 200_000_000);
    let (mut from, mut to) = connect(port).await.into_split();
    let sending = tokio::spawn(async move {
        pattern.send(&mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let receiving = tokio::spawn(async move { pattern.receive_all(&mut from).await });
    // Shorter than the age at which neighbours give each other up.
    for stopped in [0, 1, 2, 1] {
        let router = &mesh.routers[stopped];
        router.signal(Signal::STOP);
        eventually("it has stopped", async || match state(router).as_str() {
            "T" => Ok(()),
            other => Err(other.to_owned()),
        })
        .await;
        router.signal(Signal::CONT);
    }
    let received = within("all octets", 4 * SOON, receiving).await;
    received.unwrap().unwrap();
    sending.await.unwrap();
}

/// Letter of the process's state.
fn state(router: &TestRouter) -> String {
    let path = format!("/proc/{}/stat", router.pid().as_raw_nonzero());
    let stat = std::fs::read_to_string(path).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.chars().take(1).collect()
}

/// Two routers whose link is a wire that the test holds, and a way around it through a third router.
async fn wired(around: bool) -> (Mesh, Relay, u16, Echo) {
    let mut plan = Plan::routers(if around { 3 } else { 2 });
    let (inter_router, target) = listener("from-r0", Role::InterRouter);
    plan.configs[1].put_listener(inter_router);
    let relay = Relay::to(target, Duration::ZERO).await;
    plan.configs[0].put_connector(connector("to-r1", relay.port, Role::InterRouter));
    if around {
        plan = plan.link(0, 2, 5).link(2, 1, 5);
    }
    let (port, echo) = serve(&mut plan, ADDRESS, 1, 0);
    let mesh = plan.start().await;
    works(port).await;
    (mesh, relay, port, echo)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_swallows_everything_is_gone_around_and_used_again() {
    let (mesh, relay, port, _echo) = wired(true).await;
    let cost = async |wanted: i64| {
        let what = format!("r1 is reached at cost {wanted}");
        mesh.routers[0]
            .until(&what, "router.node", |nodes| {
                let found = nodes.iter().find(|node| rows::text(node, "id") == "r1");
                found.is_some_and(|node| rows::number(node, "cost") == wanted)
            })
            .await;
    };
    for _ in 0..2 {
        cost(1).await;
        let mut flow = connect(port).await;
        trip(&mut flow, 1).await;
        relay.silence();
        cost(10).await;
        works(port).await;
        relay.mend();
        cost(1).await;
        works(port).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_wire_ends_its_flows_and_is_dialled_again() {
    let (mesh, relay, port, _echo) = wired(false).await;
    let mut flow = connect(port).await;
    trip(&mut flow, 1).await;
    relay.cut();
    over(&mut flow).await;
    mesh.routers[0].until_connector("to-r1", "FAILED", "").await;
    mesh.routers[0].until_listening(ADDRESS, false).await;
    relay.mend();
    works(port).await;
}

/// Not a test by itself: the server of a crowd, a process of its own because no process may have a descriptor for each
/// client and for each server.
#[tokio::test]
async fn server_of_a_crowd() {
    let Ok(port) = env::var(SERVE) else { return };
    let _echo = Backend::on(port.parse().unwrap()).echo();
    // Until the other end of the pipe is closed, whatever becomes of the test.
    let waiting = spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = waiting.await;
}

/// How many clients this process can have, of as many as there should be.
fn clients(wanted: u64) -> u64 {
    /// What the harness and the tests beside this one need.
    const OTHERS: u64 = 2000;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit
        .current
        .map_or(wanted, |most| wanted.min(most.saturating_sub(OTHERS)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_at_once_are_all_served() {
    let clients = clients(10_000);
    let server_port = free_port();
    let mut server = Command::new(env::current_exe().unwrap())
        .args(["--exact", "server_of_a_crowd"])
        .env(SERVE, server_port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    connect(server_port).await;
    let mut plan = Plan::routers(2).secured().chain();
    let (listener, port) = tcp_listener(ADDRESS, ADDRESS);
    plan.configs[0].put_tcp_listener(listener);
    plan.configs[1].put_tcp_connector(tcp_connector(ADDRESS, ADDRESS, server_port));
    let (beside, _echo) = serve(&mut plan, BESIDE, 1, 0);
    let mesh = plan.start().await;
    works(port).await;
    let steady = Steady::through(beside).await;
    let mut crowd = JoinSet::new();
    for seed in 0..clients {
        crowd.spawn(async move {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            let pattern = Pattern::new(usize::try_from(seed)?, 2000);
            let (mut from, mut to) = client.split();
            let (sent, received) = tokio::join!(pattern.send(&mut to), pattern.receive(&mut from));
            sent?;
            received?;
            anyhow::Ok(client)
        });
    }
    // None leaves before the last one is served.
    let served = within("all clients", CROWD, crowd.join_all()).await;
    let served: Vec<TcpStream> = served.into_iter().map(Result::unwrap).collect();
    drop(served);
    for router in &mesh.routers {
        router
            .until("all flows but one are over", "connection", |found| {
                let flows = found
                    .iter()
                    .filter(|row| rows::text(row, "protocol") == "tcp");
                flows.count() <= 1
            })
            .await;
    }
    steady.unharmed().await;
    drop(server.stdin.take());
    within("the server ends", SOON, server.wait())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_without_free_descriptors_keeps_its_flows_and_recovers() {
    const FILES: u64 = 80;
    let echo = Backend::new().echo();
    let mut config = interior("r0");
    let (entry, port) = tcp_listener("l", ADDRESS);
    config.put_tcp_listener(entry);
    config.put_tcp_connector(tcp_connector("c", ADDRESS, echo.port));
    let (other, other_port) = listener("normal", Role::Normal);
    config.put_listener(other);
    let router = TestRouter::start_limited(config, FILES).await;
    let steady = Steady::through(port).await;
    // More than there can be: the system accepts them, the router cannot.
    let mut crowd = Vec::new();
    for _ in 0..FILES {
        crowd.push(connect(port).await);
    }
    eventually("the lack is in the log", async || {
        let log = router.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("Too many open files"));
        match lines.count() {
            0 => Err(log.lines().last().unwrap_or_default().to_owned()),
            1..50 => Ok(()),
            many => panic!("{many} lines about one lack"),
        }
    })
    .await;
    drop(crowd);
    works(port).await;
    steady.unharmed().await;
    // Other listeners of it work as well.
    let _ = connect(other_port).await;
    router.until_listening("l", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_open_a_connection_and_say_nothing_hold_up_nobody() {
    const SILENT: usize = 200;
    let mut plan = Plan::routers(2).secured().chain();
    let (port, _echo) = serve(&mut plan, ADDRESS, 1, 0);
    let link = plan.configs[1].listeners["from-r0"].port.to_string();
    let link: u16 = link.parse().unwrap();
    let mesh = plan.start().await;
    let steady = Steady::through(port).await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(connect(link).await);
    }
    let mut mesh = mesh;
    // The real neighbour still gets in.
    mesh.routers[0].restart().await;
    mesh.converged().await;
    drop(steady.stop);
    let _ = steady.task.await;
    works(port).await;
    for mut connection in silent {
        over(&mut connection).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_server_comes_and_goes_is_served_again() {
    let server = free_port();
    let mut plan = Plan::routers(2).chain();
    let (entry, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(entry);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, server));
    let _mesh = plan.start().await;
    for seed in 0..5 {
        // Nobody there: the client's connection ends at once, it does not hang.
        let mut client = connect(port).await;
        over(&mut client).await;
        let echo = Backend::on(server).echo();
        let trip = round_trip(port, Pattern::new(seed, 100_000));
        within("a round trip", SOON, trip).await.unwrap();
        drop(echo);
        eventually(
            "the server's port is closed",
            async || match TcpStream::connect(("127.0.0.1", server)).await {
                Ok(_) => Err("open".to_owned()),
                Err(_) => Ok(()),
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_flows_stay_half_open_as_long_as_somebody_wants() {
    let backend = Backend::new();
    let mut plan = Plan::routers(2).chain();
    let (entry, port) = tcp_listener("l", ADDRESS);
    plan.configs[0].put_tcp_listener(entry);
    plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
    let mesh = plan.start().await;
    mesh.routers[0].until_listening("l", true).await;
    let (mut client, mut server) = tokio::join!(connect(port), backend.accept());
    client.write_all(b"done").await.unwrap();
    client.shutdown().await.unwrap();
    let mut asked = Vec::new();
    within(
        "the request and its end",
        SOON,
        server.read_to_end(&mut asked),
    )
    .await
    .unwrap();
    assert_eq!(asked, b"done");
    let pattern = Pattern::new(9, 5_000_000);
    let (sent, received) = within("the answer on the open half", SOON, async {
        tokio::join!(
            async {
                pattern.send(&mut server).await?;
                server.shutdown().await.map_err(anyhow::Error::from)
            },
            pattern.receive_all(&mut client)
        )
    })
    .await;
    sent.unwrap();
    received.unwrap();
}
