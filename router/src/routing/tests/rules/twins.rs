//! Other routers with the id of this one.

use super::*;

#[test]
fn our_own_id_is_ignored_and_reported_if_it_is_another_router() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 1);
    assert!(
        bench
            .receive(FIRST, ME, HELLO, &hello(100, &[ME]))
            .is_empty()
    );
    assert!(bench.receive(FIRST, ME, FLOOD, &ra(100, 9, 9)).is_empty());
    assert!(
        bench.take_events().is_empty(),
        "our own messages come back to us"
    );
    bench.receive(FIRST, ME, HELLO, &hello(99, &[ME]));
    bench.receive_octets(FIRST, &travelled(ME, &["x"], FLOOD, &ra(99, 1, 1)));
    assert_eq!(
        bench.take_events(),
        ["DuplicateId { id: m }"],
        "once in a while"
    );
    bench.now += Duration::from_secs(11);
    bench.receive(FIRST, ME, HELLO, &hello(99, &[ME]));
    assert_eq!(bench.take_events(), ["DuplicateId { id: m }"]);
    assert!(bench.view().routers.is_empty());
}

#[test]
fn a_router_with_our_id_that_started_in_the_same_second_is_another_one() {
    let mut bench = Bench::with(|config| config.process = Some(5));
    bench.link_up(FIRST, 1);
    let twin = |process, body: &Body, to| encode_marked(ME, to, body, process);
    for process in [None, Some(1), Some(5)] {
        bench.receive_octets(FIRST, &twin(process, &hello(100, &[ME]), HELLO));
        bench.receive_octets(FIRST, &twin(process, &ra(100, 1, 1), FLOOD));
    }
    assert!(bench.take_events().is_empty(), "nothing tells it from us");
    let sent = bench.receive_octets(FIRST, &twin(Some(6), &ra(100, 1, 1), FLOOD));
    assert_eq!(bench.take_events(), ["DuplicateId { id: m }"]);
    assert!(sent.is_empty());
    let advertised = bodies(&bench.tick()).contains(&ra(100, 0, 0));
    assert!(advertised, "it gets to know of us");
    let sent = bench.receive_octets(FIRST, &twin(Some(6), &hello(100, &[]), HELLO));
    assert!(
        sent.is_empty() && bench.take_events().is_empty(),
        "but not all the time"
    );
}

#[test]
fn an_old_link_state_of_ours_that_someone_still_holds_is_no_other_router() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.take_events();
    let held = message::encode("0/b", &id(ME), FLOOD, &lsu_of(99, 9, &[]), Some(1));
    assert!(bench.receive_octets(FIRST, &held).is_empty());
    assert!(bench.take_events().is_empty());
}

#[test]
fn a_router_with_our_id_is_looked_for_behind_c_routers_before_each_hello() {
    let mut bench = Bench::with(|config| {
        config.process = Some(5);
        config.twin_search = Some(Duration::from_secs(2));
    });
    bench.link_up(FIRST, 1);
    bench.link_up(SECOND, 1);
    bench.receive_from_c(FIRST, "c", HELLO, &hello(100, &[ME]));
    bench.hello(SECOND, "b");
    let searches = |sent: &[Sent]| -> Vec<_> {
        let to_me = sent.iter().enumerate().filter(|(_, sent)| sent.1 == MINE);
        to_me
            .map(|(at, (link, _, trace, _))| (at, *link, trace.len()))
            .collect()
    };
    let mut found = Vec::new();
    for _ in 0..4 {
        let sent = bench.tick();
        found.extend(searches(&sent));
        bench.receive_from_c(FIRST, "c", HELLO, &hello(100, &[ME]));
        bench.hello(SECOND, "b");
    }
    // As if the C router had written it, and before what else goes there.
    assert_eq!(found, [(0, FIRST, 0); 2]);

    // What comes back, from us and from another one.
    let mut back = |process| {
        let message = encode_marked(ME, MINE, &ra(100, 1, 1), process);
        bench.receive_octets(FIRST, &message);
        bench.take_events().join(" ")
    };
    assert!(!back(Some(5)).contains("DuplicateId"));
    assert!(back(Some(6)).contains("DuplicateId"));
}
