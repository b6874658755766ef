//! What is known of other routers, and how it is told.

use super::*;

#[test]
fn advertisements_go_out_every_30_seconds_and_to_c_routers_every_4_after_a_change() {
    for (mark, expected) in [(Some(1), vec![1, 31]), (None, vec![1, 5, 9, 39])] {
        let mut bench = Bench::new();
        bench.tick();
        bench.link_up(FIRST, 1);
        let hello = encode_marked("b", HELLO, &hello(7, &[ME]), mark);
        bench.receive_octets(FIRST, &hello);
        let mut times = Vec::new();
        for second in 1..=50 {
            bench.receive_octets(FIRST, &hello);
            let sent = bodies(&bench.tick());
            if sent.iter().any(|body| matches!(body, Body::Ra(_))) {
                times.push(second);
            }
        }
        // The first is due as soon as there is a link; 9 is the last moment of flux.
        assert_eq!(times, expected);
    }
}

#[test]
fn newer_link_states_are_asked_for_at_once() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    assert_eq!(
        bodies(&bench.receive(FIRST, "b", FLOOD, &ra(7, 2, 0))),
        [Body::Lsr]
    );
    assert!(
        bench.receive(FIRST, "b", FLOOD, &ra(7, 1, 0)).is_empty(),
        "that one we have"
    );
    let sent = bench.receive(FIRST, "b", MINE, &lsu(2, &[(ME, 1), ("c", 2)]));
    assert!(sent.is_empty(), "c tells unasked: {sent:?}");
    assert!(bench.receive(FIRST, "b", FLOOD, &ra(7, 2, 0)).is_empty());
    for _ in 0..2 {
        let sent = bench.tick();
        let lsr = sent
            .iter()
            .find(|(.., body)| *body == Body::Lsr)
            .expect("c is asked if it does not, and again until it answers");
        assert_eq!((lsr.0, lsr.1.as_str()), (FIRST, "amqp:/_topo/0/c/qdrouter"));
    }
    bench.receive_octets(
        FIRST,
        &travelled("c", &["c", "b"], MINE, &lsu(1, &[("b", 2)])),
    );
    bench.hello(FIRST, "b");
    assert!(!bodies(&bench.tick()).contains(&Body::Lsr));
    let view = bench.view();
    assert_eq!(
        (
            view.routers["c"].next_hop.as_str(),
            view.routers["c"].cost,
            view.radius
        ),
        ("b", 3, 2)
    );
}

#[test]
fn link_states_must_be_newer_to_count() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    for seq in [0, 1] {
        bench.hello(FIRST, "b");
        bench.receive(FIRST, "b", MINE, &lsu(seq, &[(ME, 1)]));
        bench.tick();
        assert!(bench.view().routers.contains_key("c"), "{seq} is not news");
    }
    bench.receive(FIRST, "b", MINE, &lsu(2, &[]));
    bench.hello(FIRST, "b");
    bench.tick();
    assert!(!bench.view().routers.contains_key("c"));
    assert!(
        bench.view().routers.contains_key("b"),
        "our own statement reaches it"
    );
}

#[test]
fn link_state_requests_are_answered_even_to_strangers() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 3);
    bench.hello(FIRST, "b");
    bench.tick();
    let body = Body::Lsu(LinkStateUpdate {
        instance: Some(100),
        ls_seq: 1,
        mobile_seq: Some(0),
        addresses: None,
        peers: [(id("b"), 3)].into(),
    });
    let sent = bench.receive_octets(FIRST, &travelled("far", &["far", "b"], MINE, &Body::Lsr));
    assert_eq!(
        sent,
        [(
            FIRST,
            "amqp:/_topo/0/far/qdrouter".to_owned(),
            vec!["0/m".to_owned()],
            body
        )]
    );
}

#[test]
fn new_link_states_are_passed_on_once_and_those_of_previous_runs_never() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("x", 1)]);
    bench.neighbour(SECOND, 1, "c", &[("x", 1)]);
    bench.neighbour(THIRD, 1, "d", &[]);
    let update = |instance, ls_seq, peers: &[(&str, u32)]| lsu_of(instance, ls_seq, peers);
    let trace: Vec<_> = ["0/x", "0/b", "0/m"].map(str::to_owned).into();
    let news = update(7, 3, &[("b", 1), ("c", 1)]);
    let links = |sent: Vec<Sent>| -> Vec<_> {
        sent.into_iter()
            .filter(|(.., body)| matches!(body, Body::Lsu(_)))
            .map(|(link, to, trace, _)| (link, to, trace))
            .collect()
    };
    let octets = travelled("x", &["x", "b"], FLOOD, &news);
    let to = FLOOD.to_owned();
    assert_eq!(
        links(bench.receive_octets(FIRST, &octets)),
        [(SECOND, to.clone(), trace.clone()), (THIRD, to, trace)],
        "to those who have not seen it"
    );
    for known in [
        travelled("x", &["x", "c"], FLOOD, &news),
        travelled("x", &["x", "c"], FLOOD, &update(7, 2, &[])),
        travelled("x", &["x", "c"], FLOOD, &update(6, 9, &[])),
        travelled("x", &["x", ME, "c"], FLOOD, &update(7, 9, &[])),
        travelled("x", &["x", "c"], MINE, &update(7, 10, &[])),
    ] {
        assert_eq!(links(bench.receive_octets(SECOND, &known)), []);
    }
    // What another router holds is worth as much as what the router says itself.
    let held = message::encode("0/d", &id("x"), FLOOD, &update(7, 11, &[]), Some(1));
    let sent = links(bench.receive_octets(THIRD, &held));
    assert_eq!(
        sent.iter().map(|sent| sent.0).collect::<Vec<_>>(),
        [FIRST, SECOND]
    );
}

#[test]
fn neighbours_that_know_different_things_tell_each_other_everything() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("x", 1)]);
    bench.receive(FIRST, "x", MINE, &lsu(4, &[("b", 1)]));
    bench.receive(FIRST, "x", FLOOD, &ra(7, 4, 6));
    bench.link_up(SECOND, 1);
    let say = |bench: &mut Bench, digest| {
        let body = Body::Hello(Hello {
            instance: 7,
            seen: vec![id(ME)],
            digest,
        });
        let sent = bench.receive(SECOND, "c", HELLO, &body);
        let states = sent
            .into_iter()
            .filter_map(|(link, to, trace, body)| match body {
                Body::Lsu(update) => Some((link, to, trace, update.ls_seq, update.mobile_seq)),
                _ => None,
            });
        states.collect::<Vec<_>>()
    };
    let all: Vec<_> = [(2, Some(0)), (1, Some(0)), (4, Some(6))]
        .map(|(ls_seq, mobile)| {
            (
                SECOND,
                FLOOD.to_owned(),
                vec!["0/m".to_owned()],
                ls_seq,
                mobile,
            )
        })
        .into();
    let mut first = all.clone();
    first[0].3 = 1;
    let news = [FIRST, SECOND].map(|link| {
        let (_, to, trace, ..) = all[0].clone();
        (link, to, trace, 2, Some(0))
    });
    first.extend(news);
    assert_eq!(
        say(&mut bench, Some(0)),
        first,
        "it was out of reach; that it is not any more is news for all"
    );
    bench.receive(SECOND, "c", MINE, &lsu(1, &[(ME, 1)]));
    // A second in which everyone shows to be alive.
    let second = |bench: &mut Bench| {
        bench.tick();
        bench.hello(FIRST, "b");
        bench.receive(FIRST, "b", FLOOD, &ra(7, 1, 0));
        bench.receive(FIRST, "x", FLOOD, &ra(7, 4, 6));
        bench.receive(SECOND, "c", FLOOD, &ra(7, 1, 0));
        bench.digest
    };
    let mut told = Vec::new();
    for number in 1..=40 {
        second(&mut bench);
        let sent = say(&mut bench, Some(0));
        if !sent.is_empty() {
            assert_eq!(sent, all);
            told.push(number);
        }
    }
    assert_eq!(told, [4, 12, 28], "more and more seldom");
    for _ in 0..20 {
        let same = second(&mut bench);
        assert!(same.is_some());
        assert_eq!(say(&mut bench, same), []);
    }
    // News on its way is no reason.
    for _ in 0..3 {
        second(&mut bench);
        assert_eq!(say(&mut bench, Some(1)), []);
    }
    second(&mut bench);
    assert_eq!(say(&mut bench, Some(1)), all);
    // Those that say nothing, like C routers, are left alone.
    for _ in 0..20 {
        second(&mut bench);
        assert_eq!(say(&mut bench, None), []);
    }
}

#[test]
fn digests_tell_of_link_states_and_addresses() {
    let digest = |ls_seq, cost, mobile_seq| {
        let mut bench = Bench::new();
        bench.neighbour(FIRST, 1, "b", &[]);
        bench.receive(FIRST, "b", MINE, &lsu(ls_seq, &[(ME, cost)]));
        bench.receive(FIRST, "b", FLOOD, &ra(7, ls_seq, mobile_seq));
        bench.tick();
        bench.digest
    };
    assert_eq!(digest(2, 1, 3), digest(2, 1, 3));
    assert_ne!(digest(2, 1, 3), digest(3, 1, 3));
    assert_ne!(digest(2, 1, 3), digest(2, 1, 4));
    assert_ne!(digest(2, 1, 3), digest(3, 1, 2));
}

#[test]
fn silent_routers_age_out_and_are_forgotten() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    bench.receive_octets(
        FIRST,
        &travelled("c", &["c", "b"], MINE, &lsu(1, &[("b", 1), ("d", 1)])),
    );
    bench.tick();
    assert_eq!(bench.view().routers.len(), 3);
    for _ in 0..58 {
        bench.hello(FIRST, "b");
        bench.receive(FIRST, "b", FLOOD, &ra(7, 1, 0));
        bench.tick();
    }
    assert_eq!(bench.view().routers.len(), 3);
    for _ in 0..3 {
        bench.hello(FIRST, "b");
        bench.tick();
    }
    assert!(
        !bench.view().routers.contains_key("d"),
        "c's link state is over 60 s old"
    );
    assert!(
        bench.view().routers.contains_key("c"),
        "b still speaks of c"
    );
    bench.take_events();
    for _ in 0..3 {
        bench.hello(FIRST, "b");
        bench.tick();
    }
    assert_eq!(bench.take_events(), ["router d is forgotten"]);
}

#[test]
fn a_new_instance_empties_what_was_known() {
    for by_hello in [true, false] {
        let mut bench = Bench::new();
        bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
        bench.receive(FIRST, "b", MINE_MOBILE, &exist(4, &["Mq"]));
        assert_eq!(bench.announcers("Mq"), ["b"]);
        bench.take_events();
        let sent = if by_hello {
            bench.receive(FIRST, "b", HELLO, &hello(8, &[ME]))
        } else {
            bench.receive(FIRST, "b", FLOOD, &ra(8, 1, 1))
        };
        assert_eq!(bench.take_events(), ["router b has restarted"]);
        assert_eq!(bodies(&sent).contains(&Body::Lsr), !by_hello);
        assert!(bench.announcers("Mq").is_empty());
        let mut sent = bodies(&bench.tick());
        bench.receive(FIRST, "b", HELLO, &hello(8, &[ME]));
        sent.extend(bodies(&bench.tick()));
        assert_eq!(sent.contains(&Body::Mar { have_seq: 0 }), !by_hello);
        assert!(sent.contains(&Body::Lsr), "{sent:?}");
        assert!(!bench.view().routers.contains_key("c"));
        bench.receive(FIRST, "b", MINE, &lsu_of(8, 1, &[(ME, 1), ("c", 1)]));
        bench.tick();
        assert!(
            bench.view().routers.contains_key("c"),
            "its first link state counts again"
        );
        assert_eq!(bench.view().routers["b"].instance, 8);
    }
}

#[test]
fn leftovers_of_a_previous_run_do_not_stay() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.receive(FIRST, "b", FLOOD, &ra(8, 1, 1));
    bench.receive(FIRST, "b", MINE, &lsu_of(7, 5, &[(ME, 1), ("old", 1)]));
    bench.tick();
    assert!(
        !bench.view().routers.contains_key("old"),
        "of another run than b's RA"
    );
    bench.receive(FIRST, "b", MINE, &lsu_of(9, 1, &[(ME, 1), ("new", 1)]));
    bench.tick();
    assert!(bench.view().routers.contains_key("new"), "the next run's");

    // Nothing tells to which run a MAU belongs, but then its number stays out of line.
    bench.receive(FIRST, "b", MINE_MOBILE, &exist(6, &["Mold"]));
    for late in [true, false] {
        bench.receive(FIRST, "b", HELLO, &hello(9, &[ME]));
        bench.receive(FIRST, "b", FLOOD, &ra(9, 1, 2));
        assert_eq!(bench.announcers("Mold") == ["b"], late);
        let mut sent = Vec::new();
        for _ in 0..3 {
            bench.receive(FIRST, "b", HELLO, &hello(9, &[ME]));
            sent.extend(bodies(&bench.tick()));
        }
        assert_eq!(sent.contains(&Body::Mar { have_seq: 0 }), !late);
    }
}

#[test]
fn news_of_others_take_effect_at_once_but_not_without_limit() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    let mut costs = Vec::new();
    for step in 0..40_u32 {
        let peers = [(ME, 1), ("c", 2 + step)];
        bench.receive(FIRST, "b", MINE, &lsu(i64::from(step) + 2, &peers));
        costs.push(bench.view().routers["c"].cost);
    }
    assert_eq!(costs[..3], [3, 4, 5]);
    assert_eq!(costs[31..], [34; 9]);
    bench.tick();
    assert_eq!(bench.view().routers["c"].cost, 42);
}
