//! How much of a network there may be, and which protocol it may speak.

use super::*;

#[test]
fn newer_protocol_versions_are_ignored_with_one_warning() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 1);
    // "pv" is written as 54 01.
    let mut octets = encode("b", HELLO, &hello(7, &[ME])).to_vec();
    let at = octets
        .windows(4)
        .position(|window| window == b"pv\x54\x01")
        .unwrap();
    octets[at + 3] = 2;
    for _ in 0..3 {
        bench.receive_octets(FIRST, &Bytes::from(octets.clone()));
    }
    assert_eq!(
        bench.take_events(),
        ["router b speaks protocol version 2, newer than ours: its messages are ignored"]
    );
    assert!(bench.view().routers.is_empty());
}

#[test]
fn the_number_of_routers_is_bounded() {
    let mut bench = Bench::with(|config| config.max_routers = 4);
    bench.neighbour(FIRST, 1, "b", &[("c", 1), ("d", 1), ("e", 1), ("f", 1)]);
    let events = bench.take_events();
    assert_eq!(
        events
            .iter()
            .filter(|event| event.contains("is known now"))
            .count(),
        3
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| event.contains("the network has 4 routers"))
            .count(),
        2
    );
    bench.receive_octets(FIRST, &travelled("f", &["f", "b"], FLOOD, &ra(7, 1, 1)));
    assert!(bench.take_events().is_empty(), "said once");
    let view = bench.view();
    let mut numbers: Vec<_> = view.routers.values().map(|route| route.index).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

/// A router with `count` routers of its own kind in its network, itself included.
fn in_network_of(count: usize) -> Bench {
    let mut bench = Bench::new();
    let names: Vec<_> = (2..count).map(|number| format!("r{number}")).collect();
    let peers: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    bench.neighbour(FIRST, 1, "b", &peers);
    assert_eq!(bench.view().routers.len() + 1, count);
    bench
}

fn c_neighbour(bench: &mut Bench, link: ControlLink, name: &str) {
    bench.link_up(link, 1);
    bench.receive_from_c(link, name, HELLO, &hello(7, &[ME]));
    bench.tick();
}

#[test]
fn many_routers_are_warned_of_once_if_there_are_c_routers() {
    for (count, foreign, warnings) in [(150, false, 0), (98, true, 0), (99, true, 1)] {
        let mut bench = in_network_of(count);
        if foreign {
            c_neighbour(&mut bench, SECOND, "c");
        }
        bench.tick();
        let events = bench.take_events();
        let found = events.iter().filter(|event| event.contains("support 128"));
        assert_eq!(found.count(), warnings, "{count}, {foreign}");
    }
}

#[test]
fn nobody_is_taken_in_beyond_the_limit_of_c_routers() {
    let mut bench = in_network_of(127);
    c_neighbour(&mut bench, SECOND, "c");
    assert_eq!(bench.view().neighbours.len(), 2);
    bench.take_events();
    // The 129th, as a neighbour and from afar.
    bench.link_up(THIRD, 1);
    bench.hello(THIRD, "late");
    let sent = bench.receive_octets(FIRST, &travelled("far", &["far", "b"], FLOOD, &ra(7, 1, 0)));
    assert!(sent.is_empty(), "not passed on: {sent:?}");
    bench.tick();
    let view = bench.view();
    assert_eq!((view.neighbours.len(), view.routers.len()), (2, 127));
    let events = bench.take_events();
    for name in ["late", "far"] {
        let said = format!("router {name} is ignored: the network has 128 routers already");
        assert!(events.contains(&said), "{events:?}");
    }
    // As soon as there is room.
    bench.routing.link_down(SECOND, bench.now);
    for _ in 0..5 {
        bench.tick();
        bench.hello(FIRST, "b");
    }
    bench.hello(THIRD, "late");
    bench.tick();
    assert!(bench.view().neighbours.contains(&id("late")));
}

#[test]
fn a_c_router_is_not_taken_into_a_network_beyond_its_limit() {
    let mut bench = in_network_of(128);
    c_neighbour(&mut bench, SECOND, "c");
    let view = bench.view();
    assert_eq!((view.neighbours.len(), view.routers.len()), (1, 127));
    // One of this implementation is.
    bench.link_up(THIRD, 1);
    bench.hello(THIRD, "late");
    bench.tick();
    assert!(bench.view().neighbours.contains(&id("late")));
}
