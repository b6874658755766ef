//! Networks of interior routers: they find each other and their ways, and other ways when something dies.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use e2e::{
    Backend, Family, Pattern, Plan, Relay, SOON, TestRouter, eventually,
    mesh::{Mesh, connector, interior, listener},
    rows,
    tcp::{Echo, connect, round_trip, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::Role;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ADDRESS: &str = "service:80";

/// A listener on one router and an echo server behind another one.
fn serve(plan: &mut Plan, listener_on: usize, connector_on: usize) -> (u16, Echo) {
    let echo = Backend::new().echo();
    let (listener, port) = tcp_listener("l", ADDRESS);
    plan.configs[listener_on].put_tcp_listener(listener);
    plan.configs[connector_on].put_tcp_connector(tcp_connector("c", ADDRESS, echo.port));
    (port, echo)
}

/// What a router knows of another one.
async fn node(router: &TestRouter, id: &str) -> Result<(i64, String, i64), String> {
    let nodes = router.rows("router.node").await?;
    let node = nodes
        .iter()
        .find(|node| rows::text(node, "id") == id)
        .ok_or_else(|| format!("{id} is not known"))?;
    Ok((
        rows::number(node, "cost"),
        rows::text(node, "nextHop").to_owned(),
        rows::number(node, "instance"),
    ))
}

async fn until_path(router: &TestRouter, id: &str, cost: i64, next_hop: &str) {
    eventually(
        &format!(
            "{} reaches {id} at cost {cost} through {next_hop:?}",
            router.id
        ),
        async || {
            let (found, hop, _) = node(router, id).await?;
            if (found, hop.as_str()) == (cost, next_hop) {
                Ok(())
            } else {
                Err(format!("cost {found} through {hop:?}"))
            }
        },
    )
    .await;
}

fn by_id<'a>(mesh: &'a Mesh, id: &str) -> &'a TestRouter {
    mesh.routers.iter().find(|router| router.id == id).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_four_is_one_network() {
    let mut plan = Plan::routers(4).chain();
    let (port, _echo) = serve(&mut plan, 0, 3);
    let mesh = plan.start().await;
    until_path(&mesh.routers[0], "r3", 3, "r1").await;
    until_path(&mesh.routers[3], "r0", 3, "r2").await;
    until_path(&mesh.routers[1], "r2", 1, "").await;
    mesh.routers[0].until_listening("l", true).await;
    within(
        "1 MB through the chain",
        SOON,
        round_trip(port, Pattern::new(1, 1_000_000)),
    )
    .await
    .unwrap();
    // Management of any router through any other one.
    let mut client = mesh.routers[0].client().await.unwrap();
    for (far, entity) in [
        ("r3", "tcpConnector"),
        ("r2", "router.node"),
        ("r0", "tcpListener"),
    ] {
        let found = client
            .query_at(&format!("amqp:/_topo/0/{far}/$management"), entity, &[])
            .await
            .unwrap();
        assert!(!found.is_empty(), "{entity} of {far}");
    }
    let unknown = client
        .query_at("amqp:/_topo/0/nowhere/$management", "router", &[])
        .await
        .unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("no such router in the network"),
        "{unknown}"
    );
    // The end of a service closes its port everywhere.
    let mut mesh = mesh;
    mesh.routers[3].kill().await;
    mesh.routers[0].until_nodes(&["r1", "r2"]).await;
    mesh.routers[0].until_listening("l", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_four_goes_the_other_way_round_when_a_router_is_killed_and_heals() {
    let mut plan = Plan::routers(4).ring();
    let (port, _echo) = serve(&mut plan, 0, 2);
    let mut mesh = plan.start().await;
    until_path(&mesh.routers[0], "r1", 1, "").await;
    until_path(&mesh.routers[0], "r3", 1, "").await;
    works(port).await;
    let (_, _, before) = node(&mesh.routers[3], "r1").await.unwrap();
    mesh.routers[1].kill().await;
    for index in [0, 2, 3] {
        let others: Vec<String> = [0, 2, 3]
            .into_iter()
            .filter(|other| *other != index)
            .map(|other| format!("r{other}"))
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        mesh.routers[index].until_nodes(&others).await;
    }
    until_path(&mesh.routers[0], "r2", 2, "r3").await;
    works(port).await;
    eventually("the instance, a second, is another one", async || {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        if since.as_secs() > before as u64 {
            Ok(())
        } else {
            Err(format!("{before}"))
        }
    })
    .await;
    mesh.routers[1].restart().await;
    mesh.converged().await;
    eventually("the restarted router has a new instance", async || {
        let (_, _, after) = node(&mesh.routers[3], "r1").await?;
        if after > before {
            Ok(())
        } else {
            Err(format!("{after}, before {before}"))
        }
    })
    .await;
    // The other way again.
    mesh.routers[3].kill().await;
    until_path(&mesh.routers[0], "r2", 2, "r1").await;
    works(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_hangs_is_gone_until_it_wakes_up() {
    let mut plan = Plan::routers(4).ring();
    let (port, _echo) = serve(&mut plan, 0, 2);
    let mesh = plan.start().await;
    works(port).await;
    mesh.routers[1].signal(Signal::STOP);
    mesh.routers[0].until_nodes(&["r2", "r3"]).await;
    until_path(&mesh.routers[0], "r2", 2, "r3").await;
    works(port).await;
    mesh.routers[1].signal(Signal::CONT);
    mesh.converged().await;
    works(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_link_is_gone_around_and_cost_decides_the_way() {
    // Directly at cost 10, or at cost 2 through r2.
    let mut plan = Plan::routers(3).link(0, 1, 10).link(0, 2, 1).link(2, 1, 1);
    let (port, _echo) = serve(&mut plan, 0, 1);
    let mut mesh = plan.start().await;
    until_path(&mesh.routers[0], "r1", 2, "r2").await;
    until_path(&mesh.routers[1], "r0", 2, "r2").await;
    mesh.routers[0].until_listening("l", true).await;
    let through = async |id: &'static str| {
        let found = by_id(&mesh, "r0").rows("connection").await.unwrap();
        found
            .iter()
            .filter(|row| rows::text(row, "container") == id)
            .map(|row| rows::number(row, "octetsOut"))
            .sum::<i64>()
    };
    let (direct, around) = (through("r1").await, through("r2").await);
    within(
        "1 MB on the cheap way",
        SOON,
        round_trip(port, Pattern::new(1, 1_000_000)),
    )
    .await
    .unwrap();
    assert!(
        through("r1").await - direct < 100_000,
        "the dear link is spared"
    );
    assert!(
        through("r2").await - around >= 1_000_000,
        "the cheap link is used"
    );

    // An open flow survives what does not touch its way; a new one takes the way that is left.
    let dial = mesh.routers[2].config.connectors["to-r1"].clone();
    mesh.routers[2].reconfigure(|config| {
        config.connectors.remove("to-r1");
    });
    until_path(&mesh.routers[0], "r1", 10, "").await;
    works(port).await;
    let mut open = connect(port).await;
    open.write_all(b"a").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'a');
    mesh.routers[2].reconfigure(|config| config.put_connector(dial));
    until_path(&mesh.routers[0], "r1", 2, "r2").await;
    open.write_all(b"b").await.unwrap();
    assert_eq!(
        within("the open flow goes on", SOON, open.read_u8())
            .await
            .unwrap(),
        b'b'
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_router_with_the_same_id_is_told_why_it_does_not_belong() {
    let mut plan = Plan::routers(2).chain();
    let (port, _echo) = serve(&mut plan, 0, 1);
    let mesh = plan.start().await;
    works(port).await;
    let dial = mesh.routers[0].config.connectors["to-r1"].clone();
    let mut twin = interior("r0");
    twin.put_connector(connector("to-r1", dial.port, Role::InterRouter));
    // Runs of routers are told apart by the second in which they started.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut twin = TestRouter::start(twin).await;
    twin.until_connector("to-r1", "FAILED", "already in the network")
        .await;
    twin.kill().await;
    mesh.converged().await;
    works(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_routers_of_one_id_that_start_together_are_both_told() {
    // At one router, and at two that are neighbours.
    for at in [[1, 1], [1, 2]] {
        let mut plan = Plan::routers(3).link(1, 2, 1);
        plan.configs.remove(0);
        let mut ports = Vec::new();
        for index in at {
            let (listener, port) = listener(format!("twin-{}", ports.len()), Role::InterRouter);
            plan.configs[index - 1].put_listener(listener);
            ports.push(port);
        }
        let mesh = plan.start().await;
        let twin = |port| {
            let mut config = interior("r0");
            config.put_connector(connector("up", port, Role::InterRouter));
            TestRouter::start(config)
        };
        let (one, mut other) = tokio::join!(twin(ports[0]), twin(ports[1]));
        for router in [&one, &other] {
            router
                .until_connector("up", "FAILED", "already in the network")
                .await;
        }
        other.kill().await;
        one.until_nodes(&["r1", "r2"]).await;
        for router in &mesh.routers {
            let other = if router.id == "r1" { "r2" } else { "r1" };
            router.until_nodes(&["r0", other]).await;
        }
    }
}

/// Opens connections one after the other and counts where they arrive.
async fn spread(port: u16, backends: [&Backend; 2], count: usize) -> [usize; 2] {
    let mut open = Vec::new();
    let mut arrived = [0, 0];
    for _ in 0..count {
        let client = connect(port).await;
        let [one, other] = backends;
        let (index, server) = tokio::select! {
            server = one.accept() => (0, server),
            server = other.accept() => (1, server),
        };
        arrived[index] += 1;
        open.push((client, server));
    }
    arrived
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_spread_evenly_and_a_dear_way_is_used_when_the_cheap_one_is_busy() {
    for (cost, difference) in [(1, 0), (6, 5)] {
        let mut plan = Plan::routers(3).link(0, 1, 1).link(0, 2, cost);
        let backends = [Backend::new(), Backend::new()];
        let (listener, port) = tcp_listener("l", ADDRESS);
        plan.configs[0].put_tcp_listener(listener);
        for (config, backend) in plan.configs[1..].iter_mut().zip(&backends) {
            config.put_tcp_connector(tcp_connector("c", ADDRESS, backend.port));
        }
        let mesh = plan.start().await;
        mesh.routers[0]
            .until("both servers are known", "router.address", |found| {
                found.iter().any(|row| {
                    rows::text(row, "key") == format!("M{ADDRESS}")
                        && rows::number(row, "remoteCount") == 2
                })
            })
            .await;
        mesh.routers[0].until_listening("l", true).await;
        let [one, other] = spread(port, [&backends[0], &backends[1]], 25).await;
        assert!(
            one.abs_diff(other + difference) <= 1,
            "cost {cost}: {one} and {other} connections"
        );
    }
}

/// The groups of a router's connections to others, and how many data connections are in them.
async fn groups(router: &TestRouter) -> Result<(BTreeSet<String>, usize), String> {
    let found = router.rows("connection").await?;
    let between = found
        .iter()
        .filter(|row| rows::text(row, "role").starts_with("inter-router"));
    let data = between
        .clone()
        .filter(|row| rows::text(row, "role") == "inter-router-data")
        .count();
    let groups = between.map(|row| rows::text(row, "groupCorrelationId").to_owned());
    Ok((groups.collect(), data))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_made_anew_does_not_wait_for_the_old_one_and_streams_on_it_end_in_peace() {
    // The one that dials starts last, so that its first connection is the main one.
    let mut plan = Plan::routers(2).link(1, 0, 1);
    let (port, _echo) = serve(&mut plan, 1, 0);
    let mut links = plan.configs[1].connectors["to-r0"].clone();
    let relay = Relay::to(links.port, Duration::ZERO).await;
    links.port = relay.port;
    // This side looks after two seconds of silence, the other one after sixteen.
    links.idle_timeout = Duration::from_secs(2);
    plan.configs[1].put_connector(links);
    plan.configs[1].router.data_connection_count = Some(2);
    let mesh = plan.start().await;
    works(port).await;
    let one_group = async || {
        eventually(
            "one group with two data connections",
            async || match groups(&mesh.routers[1]).await? {
                (groups, 2) if groups.len() == 1 => Ok(groups),
                found => Err(format!("{found:?}")),
            },
        )
        .await
    };
    let first = one_group().await;

    // An open stream is not disturbed when only the main connection is lost.
    let mut open = connect(port).await;
    open.write_all(b"a").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'a');
    relay.reset(0);
    let second = eventually("another group, and the stream's connection", async || {
        let (groups, data) = groups(&mesh.routers[1]).await?;
        let new: BTreeSet<String> = groups.difference(&first).cloned().collect();
        if new.len() == 1 && groups.len() == 2 && data == 3 {
            Ok(new)
        } else {
            Err(format!("{data} in {groups:?}"))
        }
    })
    .await;
    open.write_all(b"b").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'b');
    works(port).await;
    drop(open);
    assert_eq!(one_group().await, second, "the old connection is left");

    // The other side does not hear that all connections are lost.
    relay.strand();
    let started = Instant::now();
    mesh.routers[1].until_connector("to-r0", "FAILED", "").await;
    mesh.routers[1]
        .until_connector("to-r0", "SUCCESS", "")
        .await;
    works(port).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(8), "linked again after {took:?}");
    assert!(one_group().await.is_disjoint(&second));
}

/// Time until new connections are served again.
async fn outage(port: u16) -> Duration {
    let started = Instant::now();
    let trying = async {
        loop {
            let trip = round_trip(port, Pattern::new(1, 1000));
            let trip = tokio::time::timeout(Duration::from_millis(250), trip).await;
            if trip.is_ok_and(|result| result.is_ok()) {
                return started.elapsed();
            }
        }
    };
    within("served again", SOON, trying).await
}

/// The cheap way around a ring of four is lost again and again, each time by what `lose` does to it, and the dear one
/// has to be taken. The fastest of the outages may take `limit`, which a busy machine cannot blur, all others twice that.
async fn rerouted_within(family: Option<Family>, limit: Duration, lose: impl Fn(&Relay)) {
    let mut plan = Plan::routers(4)
        .link(0, 1, 1)
        .link(1, 2, 1)
        .link(0, 3, 2)
        .link(3, 2, 2);
    let (port, _echo) = serve(&mut plan, 0, 2);
    let mut links = plan.configs[0].connectors["to-r1"].clone();
    let relay = Relay::to(links.port, Duration::ZERO).await;
    links.port = relay.port;
    plan.configs[0].put_connector(links);
    let mesh = plan.start_as(&[None, None, None, family]).await;
    let mut outages = Vec::new();
    for _ in 0..3 {
        until_path(&mesh.routers[0], "r2", 2, "r1").await;
        until_path(&mesh.routers[2], "r0", 2, "r1").await;
        works(port).await;
        lose(&relay);
        outages.push(outage(port).await);
        until_path(&mesh.routers[0], "r2", 4, "r3").await;
        relay.mend();
    }
    outages.sort_unstable();
    assert!(
        outages[0] <= limit && outages[2] <= limit * 2,
        "{outages:?}, at most {limit:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_link_is_gone_around_within_a_second() {
    rerouted_within(None, Duration::from_secs(1), Relay::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_link_is_gone_around_within_four_seconds() {
    rerouted_within(None, Duration::from_secs(4), Relay::silence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_link_is_gone_around_through_a_c_router_within_two_seconds() {
    for family in [Family::V24, Family::V27, Family::V35] {
        if family.available() {
            rerouted_within(Some(family), Duration::from_secs(2), Relay::cut).await;
        }
    }
}
