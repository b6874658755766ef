//! Links and neighbours: HELLO, costs, and links that are lost or made anew.

use super::*;

#[test]
fn hello_goes_to_new_links_at_once_and_then_every_second() {
    let mut bench = Bench::new();
    let alone = hello(100, &[]);
    assert_eq!(
        bench.link_up(FIRST, 1),
        [(
            FIRST,
            HELLO.to_owned(),
            vec!["0/m".to_owned()],
            alone.clone()
        )]
    );
    assert!(bench.link_up(FIRST, 1).is_empty(), "only once");
    bench.link_up(SECOND, 1);
    for _ in 0..3 {
        let sent = bench.tick();
        let hellos: Vec<_> = sent
            .iter()
            .filter(|(_, to, ..)| to == HELLO)
            .map(|(link, ..)| *link)
            .collect();
        assert_eq!(hellos, [FIRST, SECOND]);
    }
    bench.routing.link_down(SECOND, bench.now);
    assert_eq!(bench.tick().len(), 1);
}

#[test]
fn a_tick_that_comes_a_little_early_still_sends_hello() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 1);
    bench.tick();
    bench.now += Duration::from_millis(960);
    bench.routing.tick(bench.now);
    assert_eq!(bodies(&bench.drain()), [hello(100, &[])]);
}

#[test]
fn routers_heard_of_are_seen_until_they_are_silent_for_three_seconds() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 1);
    let answer = bench.receive(FIRST, "b", HELLO, &hello(7, &[]));
    assert_eq!(
        bodies(&answer),
        [hello(100, &["b"])],
        "whoever is new is answered at once"
    );
    assert!(
        bench.receive(FIRST, "b", HELLO, &hello(7, &[])).is_empty(),
        "but once"
    );
    bench.tick();
    for _ in 0..2 {
        assert!(bodies(&bench.tick()).contains(&hello(100, &["b"])));
    }
    assert!(bodies(&bench.tick()).contains(&hello(100, &[])));
    assert!(bench.view().routers.is_empty(), "it never listed us");
}

#[test]
fn a_router_that_is_about_to_end_tells_at_once_that_its_links_are_dear() {
    let dear = 1 << 20;
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.neighbour(SECOND, 3, "c", &[]);
    bench.tick();
    bench.routing.leave(bench.now);
    let flooded: Vec<_> = bench
        .drain()
        .into_iter()
        .filter(|(_, to, ..)| to == FLOOD)
        .map(|(link, _, _, body)| (link, body))
        .collect();
    let costs = |body: &Body| match body {
        Body::Lsu(update) => update.peers.clone(),
        other => panic!("{other:?}"),
    };
    let stated = BTreeMap::from([(id("b"), dear + 1), (id("c"), dear + 3)]);
    let told: Vec<_> = flooded
        .iter()
        .map(|(link, body)| (*link, costs(body)))
        .collect();
    assert_eq!(told, [(FIRST, stated.clone()), (SECOND, stated)]);
    // It stays so with the next HELLO, and for neighbours that come now.
    let before = bench.view().routers["b"].cost;
    bench.hello(FIRST, "b");
    assert_eq!(bench.view().routers["b"].cost, before);
    bench.neighbour(THIRD, u32::MAX, "d", &[]);
    assert_eq!(bench.view().routers["d"].cost, i32::MAX as u32);
}

#[test]
fn being_listed_confirms_a_neighbour_and_silence_loses_it() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 5);
    bench.receive(FIRST, "b", HELLO, &hello(7, &[]));
    assert!(bench.take_events().is_empty());
    bench.receive(FIRST, "b", HELLO, &hello(7, &["x", ME]));
    assert_eq!(
        bench.take_events(),
        [
            "router b is known now",
            "NeighbourUp { link: ControlLink(1), id: b }"
        ]
    );
    let route = bench.view().routers["b"].clone();
    assert_eq!(
        (
            route.link,
            route.cost,
            route.hops,
            route.is_neighbour,
            route.instance
        ),
        (FIRST, 5, 1, true, 7)
    );

    for _ in 0..3 {
        bench.tick();
    }
    bench.routing.check(bench.now);
    assert!(bench.drain().is_empty());
    assert!(bench.view().routers.contains_key("b"));
    let sent = bench.tick();
    assert_eq!(
        bench.take_events(),
        ["NeighbourDown { link: ControlLink(1), id: b }"]
    );
    assert!(bench.view().routers.is_empty() && bench.view().neighbours.is_empty());
    assert_eq!(
        bodies(&sent),
        [hello(100, &[]), my_lsu(2, &[])],
        "the loss is announced in the same tick"
    );

    bench.hello(FIRST, "b");
    for _ in 0..3 {
        bench.tick();
    }
    bench.now += Duration::from_millis(250);
    bench.routing.check(bench.now);
    bench.drain();
    assert!(bench.view().routers.is_empty(), "or between ticks");
}

#[test]
fn a_tick_sends_in_the_order_of_c_routers() {
    let mut bench = Bench::new();
    bench.tick();
    bench.link_up(FIRST, 1);
    bench.receive_from_c(FIRST, "b", HELLO, &hello(7, &[ME]));
    bench.receive_from_c(FIRST, "b", FLOOD, &ra(7, 0, 4));
    bench.routing.announce("Mq", Treatment::Balanced, 3);
    let sent = bench.tick();
    let addresses: Vec<_> = sent.iter().map(|(_, to, ..)| to.as_str()).collect();
    assert_eq!(
        addresses,
        [
            HELLO,
            "amqp:/_topo/0/b/qdrouter",
            "amqp:/_topo/0/b/qdrouter.ma",
            MULTICAST,
            FLOOD,
            FLOOD
        ],
        "HELLO, LSR, MAR, MAU, LSU, RA"
    );
    assert_eq!(sent[1].3, Body::Lsr);
    assert_eq!(sent[2].3, Body::Mar { have_seq: 0 });
    let Body::Mau {
        mobile_seq: 1,
        change: Change::Differential { add, del },
    } = &sent[3].3
    else {
        panic!()
    };
    assert_eq!(
        (add.len(), del.len(), &*add[0].key, add[0].producers),
        (1, 0, "Mq", 3)
    );
    let Body::Lsu(update) = &sent[4].3 else {
        panic!()
    };
    assert_eq!((update.ls_seq, update.mobile_seq), (1, Some(1)));
    assert_eq!(sent[5].3, ra(100, 1, 1), "with both new numbers");
}

#[test]
fn a_second_connection_to_the_same_router_does_not_flap() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 2, "b", &[]);
    bench.take_events();
    bench.link_up(SECOND, 2);
    for _ in 0..5 {
        bench.hello(FIRST, "b");
        bench.hello(SECOND, "b");
        bench.tick();
    }
    assert!(bench.take_events().is_empty());
    assert_eq!(bench.view().routers["b"].link, FIRST);
    for _ in 0..2 {
        bench.tick();
        bench.hello(SECOND, "b");
    }
    let moved = [
        "NeighbourDown { link: ControlLink(1), id: b }",
        "NeighbourUp { link: ControlLink(2), id: b }",
    ];
    assert_eq!(bench.take_events(), moved, "the first is silent");
    assert_eq!(bench.view().routers["b"].link, SECOND);
    bench.link_up(THIRD, 1);
    bench.hello(THIRD, "b");
    assert_eq!(
        bench.view().routers["b"].link,
        THIRD,
        "the cheaper one wins at once"
    );
    assert_eq!(bench.view().routers["b"].cost, 1);
    bench.routing.link_down(SECOND, bench.now);
    assert_eq!(bench.view().routers["b"].link, THIRD);
}

#[test]
fn a_lost_link_is_routed_around_and_told_before_the_tick() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    bench.neighbour(SECOND, 5, "c", &[("b", 1)]);
    assert_eq!(bench.view().routers["c"].link, FIRST);
    bench.routing.link_down(FIRST, bench.now);
    let sent = bodies(&bench.drain());
    assert!(
        sent.iter()
            .any(|body| matches!(body, Body::Lsu(found) if found.ls_seq == 3)),
        "{sent:?}"
    );
    let view = bench.view();
    assert_eq!(
        (
            view.routers["b"].link,
            view.routers["b"].cost,
            view.routers["b"].hops
        ),
        (SECOND, 6, 2)
    );
    assert!(!view.routers["b"].is_neighbour);
    // Links that come and go all the time are told a few times a tick.
    let mut told = Vec::new();
    for _ in 0..10 {
        bench.link_up(FIRST, 1);
        let mut sent = bench.hello(FIRST, "b");
        bench.routing.link_down(FIRST, bench.now);
        sent.extend(bench.drain());
        told.extend(
            sent.into_iter()
                .filter_map(|(link, _, _, body)| match body {
                    Body::Lsu(update) if link == SECOND => {
                        Some((update.ls_seq, update.peers.len()))
                    }
                    _ => None,
                }),
        );
    }
    assert_eq!(
        told,
        [(4, 2), (5, 1), (6, 2)],
        "what is up is told at once too"
    );
    bench.hello(SECOND, "c");
    let sent = bodies(&bench.tick());
    assert!(sent.contains(&my_lsu(7, &[("c", 5)])), "{sent:?}");
}

#[test]
fn c_routers_are_told_of_a_lost_link_without_asking() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.link_up(SECOND, 1);
    bench.receive_from_c(SECOND, "c", HELLO, &hello(7, &[ME]));
    bench.receive_from_c(SECOND, "c", MINE, &lsu(1, &[(ME, 1)]));
    bench.tick();
    bench.routing.link_down(FIRST, bench.now);
    let told: Vec<_> = bench
        .drain()
        .into_iter()
        .map(|(link, to, _, body)| (link, to, body))
        .collect();
    let flooded = |body| (SECOND, FLOOD.to_owned(), body);
    assert_eq!(
        told,
        [flooded(my_lsu(3, &[("c", 1)])), flooded(ra(100, 3, 0))],
        "it takes the first unasked, and wants to see the second"
    );
}

#[test]
fn a_changed_cost_is_a_new_link_state() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.link_up(FIRST, 9);
    let sent = bodies(&bench.hello(FIRST, "b"));
    assert!(sent.contains(&my_lsu(2, &[("b", 9)])), "{sent:?}");
    assert_eq!(bench.view().routers["b"].cost, 9);
}

#[test]
fn a_connection_made_anew_takes_the_place_of_the_old_one_without_a_word() {
    let mut bench = Bench::new();
    bench.link_up(FIRST, 1);
    bench.hello(FIRST, "b");
    bench.tick();
    bench.take_events();
    bench.link_up(SECOND, 1);
    bench.routing.hand_over(FIRST, SECOND, bench.now);
    bench.routing.link_down(FIRST, bench.now);
    bench.drain();
    assert_eq!(bench.take_events(), [""; 0]);
    assert_eq!(bench.view().routers["b"].link, SECOND);
    let sent = bench.tick();
    assert!(
        !bodies(&sent)
            .iter()
            .any(|body| matches!(body, Body::Lsu(_))),
        "nothing changed for others: {sent:?}"
    );
    // The new one expires as any other.
    for _ in 0..4 {
        bench.tick();
    }
    assert_eq!(
        bench.take_events(),
        ["NeighbourDown { link: ControlLink(2), id: b }"]
    );
    // Nothing comes of links that are not there, or that nobody is at.
    bench.routing.hand_over(FIRST, THIRD, bench.now);
    bench.link_up(THIRD, 1);
    bench.routing.hand_over(SECOND, THIRD, bench.now);
    bench.routing.hand_over(THIRD, SECOND, bench.now);
    bench.tick();
    assert!(bench.view().routers.is_empty());
}
