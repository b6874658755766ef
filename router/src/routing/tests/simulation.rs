//! Whole networks: convergence, failures, and the trees of multicast.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::network::{Network, Random, random_edges};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One copy for each of the routers that announce `key`, from wherever it is sent.
fn assert_multicast(network: &Network, key: &str, at: &[usize]) {
    let expected: BTreeMap<usize, usize> = at.iter().map(|number| (*number, 1)).collect();
    for origin in 0..network.count() {
        assert_eq!(
            network.multicast(origin, key),
            expected,
            "from {}",
            network.name(origin)
        );
    }
}

#[test]
fn two_routers_find_each_other_within_a_tick() {
    let mut network = Network::chain(1, 2);
    network.announce(0, "Mq");
    network.announce(1, "Mz");
    network.run_until(seconds(3), Network::agrees);
}

#[test]
fn chains_and_rings_converge() {
    for count in [4, 8] {
        for (kind, mut network) in [
            ("chain", Network::chain(2, count)),
            ("ring", Network::ring(3, count)),
        ] {
            network.announce(0, "Mmc");
            network.announce(count - 1, "Mmc");
            let took = network.run_until(seconds(3 + count as u64), Network::agrees);
            assert!(
                took <= seconds(2 + count as u64),
                "{kind} of {count} took {took:?}"
            );
            assert_multicast(&network, "Mmc", &[0, count - 1]);
        }
    }
}

#[test]
fn a_cut_link_is_routed_around_and_comes_back() {
    let mut network = Network::ring(4, 6);
    network.announce(3, "Mmc");
    network.run_until(seconds(10), Network::agrees);
    let wire = network.wire_between(0, 1);
    network.cut(wire);
    let took = network.run_until(seconds(5), Network::agrees);
    assert!(took <= seconds(4), "{took:?}");
    assert_multicast(&network, "Mmc", &[3]);
    network.raise(wire);
    network.run_until(seconds(6), Network::agrees);
    assert_multicast(&network, "Mmc", &[3]);
}

#[test]
fn a_multicast_finds_everyone_as_soon_as_a_link_that_goes_or_comes_has_been_told() {
    for seed in 0..24 {
        let mut network = Network::ring(seed, 4);
        for number in 0..4 {
            network.announce(number, "Mmc");
        }
        network.run_until(seconds(10), Network::agrees);
        // At any time between two ticks.
        network.run(Duration::from_millis(5003 + 41 * seed));
        let wire = seed as usize % 4;
        let all = [0, 1, 2, 3];
        network.cut(wire);
        // Two hops, two milliseconds each.
        network.run(Duration::from_millis(5));
        assert_multicast(&network, "Mmc", &all);
        network.run(Duration::from_millis(70 * seed));
        network.raise(wire);
        // Each end says HELLO, and once more when it has heard one.
        network.run(Duration::from_millis(10));
        for _ in 0..30 {
            assert_multicast(&network, "Mmc", &all);
            network.run(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_link_that_is_silently_dead_is_noticed_by_hello() {
    let mut network = Network::ring(5, 5);
    network.run_until(seconds(10), Network::agrees);
    let wire = network.wire_between(2, 3);
    network.silence(wire, true);
    let took = network.run_until(seconds(8), Network::agrees);
    assert!(took >= seconds(3), "{took:?}");
    network.silence(wire, false);
    network.run_until(seconds(8), Network::agrees);
}

#[test]
fn partitions_heal_whatever_happened_meanwhile() {
    for pause in [1, 10, 90] {
        let mut network = Network::chain(6, 6);
        network.announce(0, "Mold");
        network.announce(5, "Mq");
        network.run_until(seconds(12), Network::agrees);
        let wire = network.wire_between(2, 3);
        network.cut(wire);
        network.run_until(seconds(5), Network::agrees);
        network.withdraw(0, "Mold");
        network.announce(1, "Mnew");
        network.announce(4, "Mq");
        network.run(seconds(pause));
        network.raise(wire);
        network.run_until(seconds(15), Network::agrees);
        assert_multicast(&network, "Mq", &[4, 5]);
    }
}

#[test]
fn two_networks_that_meet_become_one() {
    let mut network = Network::new(17);
    // Nothing is put right by advertisements that would have come anyway.
    network.no_periodic_advertisements = true;
    network.build(60, &random_edges(17, 60, 30));
    for number in (0..60).step_by(7) {
        network.announce(number, "Mmc");
    }
    network.announce(0, "Mold");
    network.run_until(seconds(20), Network::agrees);
    let border = network.border();
    border.iter().for_each(|wire| network.cut(*wire));
    network.run_until(seconds(20), Network::agrees);
    network.withdraw(0, "Mold");
    network.announce(59, "Mnew");
    network.restart(30);
    network.run(seconds(20));
    network.raise(border[0]);
    network.run_until(seconds(20), Network::agrees);
    border[1..].iter().for_each(|wire| network.raise(*wire));
    network.run_until(seconds(20), Network::agrees);
    assert_multicast(&network, "Mmc", &(0..60).step_by(7).collect::<Vec<_>>());
}

#[test]
fn a_restarted_router_is_known_anew() {
    let mut network = Network::chain(7, 5);
    for number in 0..5 {
        network.announce(number, "Mmc");
    }
    // High sequence numbers in the first life, so that those of the second are old without the instance.
    for round in 0..6 {
        network.announce(2, &format!("Mround{round}"));
        network.run(seconds(2));
        network.withdraw(2, &format!("Mround{round}"));
        network.run(seconds(2));
    }
    network.run_until(seconds(12), Network::agrees);
    network.take_events(0);
    network.restart(2);
    network.announce(2, "Mround9");
    network.run_until(seconds(15), Network::agrees);
    assert!(
        network
            .take_events(0)
            .contains(&"router r002 has restarted".to_owned())
    );
    assert_multicast(&network, "Mmc", &[0, 1, 2, 3, 4]);
}

#[test]
fn lost_messages_delay_but_do_not_prevent_agreement() {
    let mut network = Network::of(
        8,
        6,
        &[
            (0, 1, 1),
            (1, 2, 2),
            (2, 3, 1),
            (3, 0, 1),
            (1, 4, 1),
            (4, 5, 3),
        ],
    );
    network.loss_percent = 15;
    for number in 0..6 {
        network.announce(number, &format!("Mq{number}"));
    }
    network.run(seconds(20));
    for number in 0..6 {
        network.announce(number, &format!("Mz{number}"));
        network.run(seconds(1));
        network.withdraw(number, &format!("Mq{number}"));
        network.run(seconds(1));
    }
    // At this loss neighbours expire now and then; between two such events everyone agrees.
    network.run_until(seconds(300), Network::agrees);
    network.loss_percent = 0;
    network.run(seconds(8));
    network.run_until(seconds(40), Network::agrees);
}

#[test]
fn slow_links_converge() {
    let mut network = Network::ring(9, 5);
    network.delay = Duration::from_millis(400);
    network.announce(1, "Mmc");
    network.run_until(seconds(20), Network::agrees);
    network.run(seconds(30));
    assert!(network.agrees(), "and stay so: {:?}", network.complaints());
}

#[test]
fn what_overtakes_on_other_links_is_put_right() {
    let mut network = random_network(14, 16, 16);
    network.spread = Duration::from_millis(700);
    for number in 0..16 {
        network.announce(number, "Mmc");
    }
    network.run(seconds(20));
    for round in 0..6 {
        let wire = network.redundant_wire();
        network.cut(wire);
        network.announce(round, "Mround");
        network.run(Duration::from_millis(1300));
        network.raise(wire);
        network.withdraw(round, "Mround");
    }
    network.run_until(seconds(30), Network::agrees);
    assert_multicast(&network, "Mmc", &(0..16).collect::<Vec<_>>());
}

#[test]
fn a_router_that_comes_back_with_another_id_is_another_one() {
    let mut network = Network::ring(15, 5);
    for number in 0..5 {
        network.announce(number, "Mmc");
    }
    network.run_until(seconds(12), Network::agrees);
    network.restart_as(2, "r002b");
    network.run_until(seconds(15), Network::agrees);
    assert_multicast(&network, "Mmc", &[0, 1, 2, 3, 4]);
    // The old name takes no room for ever.
    network.run(seconds(70));
    assert!(network.agrees());
    assert!(
        network
            .take_events(0)
            .contains(&"router r002 is forgotten".to_owned())
    );
}

#[test]
fn routers_hold_nothing_of_those_that_are_gone() {
    let mut network = random_network(18, 8, 6);
    for number in 0..8 {
        network.announce(number, "Mmc");
    }
    network.run_until(seconds(20), Network::agrees);
    for life in 0..40 {
        let number = life % 8;
        match life % 4 {
            0 => network.restart(number),
            _ => network.restart_as(number, &format!("r{number:03}-{life}")),
        }
        network.announce(number, &format!("Mlife{life}"));
        network.run(Duration::from_millis(700));
        network.withdraw(number, &format!("Mlife{life}"));
    }
    network.run(seconds(100));
    assert!(network.agrees(), "{:?}", network.complaints());
    for number in 0..8 {
        let routing = network.routing(number);
        let links = routing.links.len();
        assert_eq!(routing.nodes.len(), 7);
        assert!(routing.hellos.len() <= links, "{:?}", routing.hellos);
        assert!(routing.floods.len() <= 7, "{:?}", routing.floods);
        assert_eq!(routing.own.peers.len(), links);
        let addresses = routing.nodes.iter().map(|(_, node)| node.addresses.len());
        assert_eq!(addresses.sum::<usize>(), 7, "one address each");
        assert!(routing.output.is_empty());
    }
}

#[test]
fn clocks_that_jump_and_routers_that_stall_do_lasting_harm_to_nobody() {
    let mut network = random_network(16, 10, 8);
    network.announce(3, "Mmc");
    network.announce(7, "Mmc");
    network.run_until(seconds(20), Network::agrees);
    for (number, time) in [(3, 2), (4, 60), (5, 3600), (7, 100_000)] {
        network.jump(number, seconds(time));
        network.run(seconds(2));
    }
    network.run_until(seconds(40), Network::agrees);
    for (number, time) in [(0, 1), (1, 2), (2, 10), (7, 90)] {
        network.stall(number, seconds(time));
        network.run(seconds(time + 1));
    }
    network.run_until(seconds(40), Network::agrees);
    assert_multicast(&network, "Mmc", &[3, 7]);
}

#[test]
fn a_quiet_network_sends_little() {
    // Twelve routers, all linked to each other: 66 links.
    let edges: Vec<_> = (0..12)
        .flat_map(|a| (a + 1..12).map(move |b| (a, b, 1)))
        .collect();
    let mut network = Network::of(10, 12, &edges);
    network.run_until(seconds(10), Network::agrees);
    network.run(seconds(20));
    let before = network.messages_sent();
    network.run(seconds(60));
    let per_second = (network.messages_sent() - before) / 60;
    // HELLO is 132 a second. An advertisement crosses each link at most twice: 12 × 132 in 30 seconds.
    assert!(
        per_second <= 132 + 12 * 132 / 30 + 5,
        "{per_second} messages a second"
    );
    assert!(network.elapsed() > seconds(80));
}

/// Messages that `change` causes in a network that says nothing unless something changes, HELLO left out.
fn messages_of(network: &mut Network, change: impl FnOnce(&mut Network)) -> u64 {
    let before = network.news_sent();
    change(network);
    network.run(seconds(15));
    assert!(network.agrees(), "{:?}", network.complaints());
    let caused = network.news_sent() - before;
    network.run(seconds(10));
    assert_eq!(network.news_sent(), before + caused, "it is quiet again");
    caused
}

#[test]
fn a_change_costs_at_most_four_messages_for_each_link() {
    for (seed, count, extra) in [(13, 40, 40), (19, 60, 400), (20, 150, 75)] {
        let mut network = Network::new(seed);
        network.no_periodic_advertisements = true;
        network.build(count, &random_edges(seed, count, extra));
        network.announce(3, "Mmc");
        network.run_until(seconds(20), Network::agrees);
        network.run(seconds(10));
        let limit = 4 * network.wires() as u64;
        let wire = network.redundant_wire();
        let costs = [
            (
                "lost",
                messages_of(&mut network, |network| network.cut(wire)),
            ),
            (
                "up",
                messages_of(&mut network, |network| network.raise(wire)),
            ),
            (
                "added",
                messages_of(&mut network, |network| network.announce(7, "Mmc")),
            ),
            (
                "withdrawn",
                messages_of(&mut network, |network| network.withdraw(3, "Mmc")),
            ),
        ];
        for (what, cost) in costs {
            assert!(
                cost > 0 && cost <= limit,
                "{what}: {cost} messages, {limit} at most, {count} routers"
            );
        }
        assert_multicast(&network, "Mmc", &[7]);
    }
}

#[test]
fn restarts_and_healed_partitions_cost_nobody_the_square_of_the_network() {
    let mut network = Network::new(21);
    network.no_periodic_advertisements = true;
    let count = 60;
    network.build(count, &random_edges(21, count, 30));
    for number in 0..count {
        network.announce(number, &format!("Mq{number}"));
    }
    network.run_until(seconds(20), Network::agrees);
    network.run(seconds(10));
    // What is new goes over each link twice at most.
    let flood = 2 * network.wires() as u64;

    let number = 7;
    let links = network.routing(number).links.len() as u64;
    let cost = messages_of(&mut network, |network| network.restart(number));
    // One neighbour tells all it knows; each link is lost and comes back; the first advertisement.
    let limit = count as u64 + 2 * (links + 1) * flood;
    assert!(cost <= limit, "restart: {cost} messages, {limit} at most");

    let border = network.border();
    border.iter().for_each(|wire| network.cut(*wire));
    network.run_until(seconds(20), Network::agrees);
    network.run(seconds(10));
    let cost = messages_of(&mut network, |network| {
        border.iter().for_each(|wire| network.raise(*wire));
    });
    // The link state of each router with its addresses, and twice the changed ones of those at the border.
    let border = border.len() as u64;
    let limit = (count as u64 + 4 * border) * flood;
    assert!(cost <= limit, "healed: {cost} messages, {limit} at most");
}

#[test]
fn two_routers_with_one_id_are_reported_by_both_whenever_they_started() {
    for same_second in [false, true] {
        let mut network = Network::chain(11, 3);
        network.run_until(seconds(8), Network::agrees);
        let twin = network.add("r000");
        if same_second {
            network.start_together(0, twin);
        }
        network.connect(2, twin, 1);
        network.run(seconds(8));
        for number in [0, twin] {
            let reports = network
                .take_events(number)
                .iter()
                .filter(|event| event.starts_with("DuplicateId"))
                .count();
            assert!(
                (1..=2).contains(&reports),
                "{reports} of {number}, {same_second}"
            );
        }
    }
}

#[test]
fn fifty_routers_agree() {
    let mut network = random_network(12, 50, 30);
    network.announce(25, "Mmc");
    network.announce(49, "Mmc");
    network.announce(0, "Mmc");
    network.run(seconds(8));
    network.run_until(seconds(20), Network::agrees);
    assert_multicast(&network, "Mmc", &[0, 25, 49]);
}

/// See [`random_edges`].
fn random_network(seed: u64, count: usize, extra: usize) -> Network {
    Network::of(seed, count, &random_edges(seed, count, extra))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_networks_survive_random_events(seed: u64, count in 3usize..9, extra in 0usize..6) {
        let mut network = random_network(seed, count, extra);
        let mut random = Random(!seed);
        let mut down = Vec::new();
        for step in 0..8 {
            match random.below(5) {
                0 => {
                    let wire = random.below(network.wires() as u64) as usize;
                    if !down.contains(&wire) {
                        network.cut(wire);
                        down.push(wire);
                    }
                }
                1 => network.restart(random.below(count as u64) as usize),
                2 if !down.is_empty() => network.raise(down.swap_remove(0)),
                3 => network.withdraw(random.below(count as u64) as usize, "Mmc"),
                _ => network.announce(random.below(count as u64) as usize, if step % 2 == 0 { "Mmc" } else { "Hedge" }),
            }
            network.run(Duration::from_millis(random.below(4000)));
        }
        for wire in down {
            network.raise(wire);
        }
        (0..count).step_by(2).for_each(|number| network.announce(number, "Mmc"));
        (1..count).step_by(2).for_each(|number| network.withdraw(number, "Mmc"));
        network.run_until(seconds(30), Network::agrees);
        let announcers: Vec<_> = (0..count).step_by(2).collect();
        assert_multicast(&network, "Mmc", &announcers);
    }
}
