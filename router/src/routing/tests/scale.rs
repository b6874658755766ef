//! What changes cost in large networks: time of the processor, messages, memory.
//!
//! The suite computes paths among a thousand routers, and simulates a network of a size that takes seconds.
//! `SKUPPER_SIMULATED_ROUTERS=1000` simulates as many; `--nocapture` shows the numbers. Build it with optimisation then
//! (`CARGO_PROFILE_DEV_OPT_LEVEL=2`).

use std::{
    env,
    fs::read_to_string,
    time::{Duration, Instant},
};

use super::super::message::{Body, Hello, LinkStateUpdate};
use super::super::{Config, ControlLink, Output, Routing};
use super::network::{Network, random_edges};
use super::{encode, id};

const ROUTERS: &str = "SKUPPER_SIMULATED_ROUTERS";
const LONG: Duration = Duration::from_secs(60);
/// Time of the processor that one recomputation may take.
const RECOMPUTATION: Duration = Duration::from_millis(200);
/// Octets that one router may take.
const MEMORY: usize = 50 << 20;

#[test]
fn paths_among_a_thousand_routers_are_computed_within_200_ms_of_the_processor() {
    const COUNT: usize = 1000;
    let name = |number: usize| format!("r{number:03}");
    let mut peers = vec![std::collections::BTreeMap::new(); COUNT];
    for (a, b, cost) in random_edges(1, COUNT, COUNT) {
        peers[a].insert(id(&name(b)), cost);
        peers[b].insert(id(&name(a)), cost);
    }
    let now = Instant::now();
    let mut routing = Routing::new(Config::new(id(&name(0)), 1), now);
    let neighbours: Vec<_> = peers[0]
        .iter()
        .map(|(id, cost)| (id.clone(), *cost))
        .collect();
    assert!(neighbours.len() > 1);
    let connect = |routing: &mut Routing, link: usize| {
        let (neighbour, cost) = &neighbours[link];
        let link = ControlLink(link as u64);
        routing.link_up(link, *cost, now);
        let hello = Body::Hello(Hello {
            instance: 7,
            seen: vec![id(&name(0))],
            digest: None,
        });
        let message = encode(neighbour.as_str(), "amqp:/_local/qdhello", &hello);
        routing.receive(link, &message, now);
        while routing.poll().is_some() {}
    };
    (0..neighbours.len()).for_each(|link| connect(&mut routing, link));
    for (number, peers) in peers.iter().enumerate().skip(1) {
        let body = Body::Lsu(LinkStateUpdate {
            instance: Some(7),
            ls_seq: 1,
            mobile_seq: Some(0),
            addresses: None,
            peers: peers.clone(),
        });
        let message = encode(&name(number), "amqp:/_topo/0/all/qdrouter", &body);
        routing.receive(ControlLink(0), &message, now);
    }
    routing.tick(now);
    while routing.poll().is_some() {}
    assert_eq!(routing.view().routers.len(), COUNT - 1);

    const ROUNDS: u32 = 10;
    let mut took = Duration::ZERO;
    for round in 0..ROUNDS {
        let link = round as usize % neighbours.len();
        let begin = processor_time();
        routing.link_down(ControlLink(link as u64), now);
        while !matches!(routing.poll(), None | Some(Output::ViewChanged)) {}
        took += processor_time() - begin;
        assert_ne!(
            routing
                .view()
                .routers
                .get(neighbours[link].0.as_str())
                .map(|route| route.link),
            Some(ControlLink(link as u64))
        );
        connect(&mut routing, link);
    }
    show(&format!("one recomputation: {:?}", took / ROUNDS));
    assert!(took <= RECOMPUTATION * ROUNDS, "{took:?} for {ROUNDS}");
}

#[test]
fn a_large_network_starts_changes_parts_and_heals() {
    let count = env::var(ROUTERS).map_or(80, |count| count.parse().expect("a number of routers"));
    let before = resident();
    let mut network = Network::new(1);
    network.limit = count.max(1000);
    network.no_periodic_advertisements = true;
    network.build(count, &random_edges(1, count, count / 2));
    for number in 0..count {
        network.announce(number, &format!("Mq{number}"));
    }
    let links = network.wires() as u64;
    show(&format!("{count} routers, {links} links"));
    settle("start", &mut network, |_| ());
    let each = resident().saturating_sub(before) / count;
    show(&format!("memory: {} KiB a router", each >> 10));
    assert!(each <= MEMORY, "{each} octets a router");

    let wire = network.redundant_wire();
    let costs = [
        settle("link lost", &mut network, |network| network.cut(wire)),
        settle("link back", &mut network, |network| network.raise(wire)),
        settle("address added", &mut network, |network| {
            network.announce(0, "Mmore");
        }),
        settle("address withdrawn", &mut network, |network| {
            network.withdraw(0, "Mmore");
        }),
    ];
    assert!(
        costs.iter().all(|cost| *cost <= 4 * links),
        "{costs:?} messages"
    );
    settle("restart", &mut network, |network| {
        network.restart(count / 2);
    });
    let border = network.border();
    settle("cut in two", &mut network, |network| {
        border.iter().for_each(|wire| network.cut(*wire));
    });
    let healed = settle("healed", &mut network, |network| {
        border.iter().for_each(|wire| network.raise(*wire));
    });
    // Each router's link state with its addresses, and the changed ones at the border, over each link in both directions.
    let limit = (count + 4 * border.len()) as u64 * 2 * links;
    assert!(healed <= limit, "{healed} messages, {limit} at most");
}

/// Makes a change and waits until everyone knows of it and nothing more is said. Returns what was said.
fn settle(what: &str, network: &mut Network, change: impl FnOnce(&mut Network)) -> u64 {
    let (sent, begin) = (network.news_sent(), processor_time());
    change(network);
    let took = network.run_until(LONG, Network::agrees);
    network.run(Duration::from_secs(6));
    let messages = network.news_sent() - sent;
    let each = messages as f64 / network.wires() as f64;
    let simulated = processor_time() - begin;
    show(&format!(
        "{what}: agreed after {took:?}, {messages} messages, {each:.2} a link, simulated in {simulated:?}"
    ));
    messages
}

#[allow(clippy::print_stdout, reason = "for --nocapture")]
fn show(line: &str) {
    println!("{line}");
}

/// What this thread has used of processors, in steps of a hundredth of a second: others who use the machine count little.
fn processor_time() -> Duration {
    let text = read_to_string("/proc/thread-self/stat").expect("procfs");
    // The second field is a name in parentheses; user and system time are the fields 14 and 15.
    let fields = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(10 * ticks)
}

/// Octets of memory this process holds.
fn resident() -> usize {
    let text = read_to_string("/proc/self/statm").expect("procfs");
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("pages") * 4096
}
