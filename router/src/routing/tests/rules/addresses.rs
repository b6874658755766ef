//! Addresses: own ones, those of others, and who may be behind.

use super::*;

#[test]
fn a_router_alone_may_change_the_treatment_of_an_address() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.neighbour(SECOND, 1, "c", &[]);
    let treatment = |bench: &mut Bench| bench.view().addresses["Mx"].treatment;
    bench.receive(FIRST, "b", MULTICAST, &exist(1, &["Mx"]));
    assert_eq!(treatment(&mut bench), Treatment::Balanced);
    bench.receive(FIRST, "b", MULTICAST, &differential(2, &["Mx"], &[]));
    assert_eq!(treatment(&mut bench), Treatment::Closest);
    // Where there are two, the one that came first has decided.
    bench.receive(SECOND, "c", MULTICAST, &exist(1, &["Mx"]));
    assert_eq!(treatment(&mut bench), Treatment::Closest);
    bench.receive(FIRST, "b", MULTICAST, &differential(3, &[], &["Mx"]));
    bench.receive(SECOND, "c", MULTICAST, &exist(2, &["Mx"]));
    assert_eq!(treatment(&mut bench), Treatment::Balanced);
}

#[test]
fn differentials_apply_in_sequence_only() {
    let mut bench = Bench::new();
    assert!(
        bench
            .receive(FIRST, "b", MULTICAST, &differential(1, &["Mq"], &[]))
            .is_empty(),
        "no link yet"
    );
    bench.link_up(FIRST, 1);
    bench.receive(FIRST, "b", MULTICAST, &differential(1, &["Mq"], &[]));
    assert_eq!(
        bench.take_events(),
        ["MAU from unknown router b is ignored"]
    );
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.receive(FIRST, "b", MULTICAST, &differential(1, &["Mq", "He1"], &[]));
    assert_eq!(
        (bench.announcers("Mq"), bench.announcers("He1")),
        (vec!["b".to_owned()], vec!["b".to_owned()])
    );
    assert_eq!(bench.view().addresses["Mq"].treatment, Treatment::Closest);

    bench.take_events();
    let sent = bench.receive(FIRST, "b", MULTICAST, &differential(3, &["Mz"], &["Mq"]));
    assert_eq!(bodies(&sent), [Body::Mar { have_seq: 1 }]);
    assert_eq!(
        bench.take_events(),
        ["address update of router b is number 3, expected 2"]
    );
    let sent = bench.receive(FIRST, "b", MULTICAST, &differential(4, &[], &[]));
    assert!(sent.is_empty(), "one request is on its way");
    bench.now += Duration::from_secs(1);
    let sent = bench.receive(FIRST, "b", MULTICAST, &differential(4, &[], &[]));
    assert_eq!(
        bodies(&sent),
        [Body::Mar { have_seq: 1 }],
        "it was not answered"
    );
    assert_eq!(bench.announcers("Mq"), ["b"], "not applied");
    bench.receive(FIRST, "b", MINE_MOBILE, &exist(4, &["Mz", "He1"]));
    assert_eq!(
        (bench.announcers("Mq"), bench.announcers("Mz")),
        (vec![], vec!["b".to_owned()])
    );

    assert!(
        bench
            .receive(FIRST, "b", MULTICAST, &differential(4, &["Mold"], &[]))
            .is_empty(),
        "a late copy"
    );
    assert!(bench.announcers("Mold").is_empty());
    bench.receive(
        FIRST,
        "b",
        MULTICAST,
        &differential(5, &[], &["Mz", "Mnever"]),
    );
    assert!(bench.announcers("Mz").is_empty());
    let sent = bench.receive(FIRST, "b", MULTICAST, &differential(9, &[], &[]));
    assert_eq!(
        bodies(&sent),
        [Body::Mar { have_seq: 5 }],
        "an applied update ends the waiting"
    );
}

#[test]
fn attributes_of_known_addresses_are_updated() {
    let mut bench = Bench::with(|config| config.default_treatment = Treatment::Closest);
    bench.neighbour(FIRST, 1, "b", &[]);
    let add = |seq, treatment, mesh| Body::Mau {
        mobile_seq: seq,
        change: Change::Differential {
            add: vec![descriptor("Mq", treatment, mesh)],
            del: vec![],
        },
    };
    bench.receive(FIRST, "b", MULTICAST, &add(1, None, Some("mesh-a")));
    let first = bench.view().addresses["Mq"].clone();
    assert_eq!(
        (first.treatment, first.meshes.clone()),
        (Treatment::Closest, vec![Some("mesh-a".into())])
    );
    bench.receive(
        FIRST,
        "b",
        MULTICAST,
        &add(2, Some(Treatment::Multicast), None),
    );
    let second = bench.view().addresses["Mq"].clone();
    assert_eq!(second.meshes, [None]);
    assert_eq!(second.treatment, Treatment::Multicast);
}

#[test]
fn addresses_of_local_classes_are_not_taken_from_others() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.receive(
        FIRST,
        "b",
        MULTICAST,
        &differential(1, &["Lqdhello", "Tqdrouter", "Rm", "M", "Nnet", "He1"], &[]),
    );
    let view = bench.view();
    let mut known: Vec<&str> = view.addresses.keys().map(|key| &**key).collect();
    known.sort_unstable();
    assert_eq!(
        known,
        ["He1", "M", "Nnet"],
        "other networks, as in 3.x, are"
    );
}

#[test]
fn remote_addresses_are_listed_nearest_first_and_only_when_reachable() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 4, "b", &[]);
    bench.neighbour(SECOND, 2, "c", &[("d", 2)]);
    for (link, name) in [(FIRST, "b"), (SECOND, "c"), (SECOND, "d")] {
        bench.receive(link, name, MINE_MOBILE, &exist(1, &["Mq"]));
    }
    assert_eq!(bench.announcers("Mq"), ["c", "b", "d"], "equal costs by id");
    bench.routing.link_down(SECOND, bench.now);
    assert_eq!(bench.announcers("Mq"), ["b"], "before any tick");
    bench.routing.link_down(FIRST, bench.now);
    assert!(bench.view().addresses.is_empty());
}

#[test]
fn a_router_that_returns_within_the_hold_off_keeps_its_addresses() {
    for (seconds, kept) in [(0, true), (3, false)] {
        let mut bench = Bench::new();
        bench.neighbour(FIRST, 1, "b", &[]);
        bench.receive(FIRST, "b", MINE_MOBILE, &exist(1, &["Mq"]));
        bench.routing.link_down(FIRST, bench.now);
        for _ in 0..seconds {
            bench.tick();
        }
        bench.link_up(SECOND, 1);
        bench.hello(SECOND, "b");
        assert_eq!(bench.announcers("Mq") == ["b"], kept, "{seconds}");
        bench.receive(SECOND, "b", FLOOD, &ra(7, 1, 1));
        let mut sent = bodies(&bench.tick());
        bench.hello(SECOND, "b");
        sent.extend(bodies(&bench.tick()));
        assert_eq!(sent.contains(&Body::Mar { have_seq: 0 }), !kept);
    }
}

#[test]
fn address_requests_are_answered_to_those_who_are_behind() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    assert!(
        bench
            .receive(FIRST, "b", MINE_MOBILE, &Body::Mar { have_seq: 0 })
            .is_empty(),
        "nothing was announced yet"
    );
    bench.routing.announce("Mb", Treatment::Multicast, 0);
    bench.routing.announce("Ma", Treatment::Closest, 1);
    bench.tick();
    // Neither is announced yet, so neither is part of the answer.
    bench.routing.announce("Mc", Treatment::Closest, 0);
    bench.routing.withdraw("Mb");
    let sent = bench.receive(FIRST, "b", MINE_MOBILE, &Body::Mar { have_seq: 0 });
    let [
        (
            FIRST,
            to,
            _,
            Body::Mau {
                mobile_seq: 1,
                change: Change::Absolute { exist },
            },
        ),
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    assert_eq!(to, "amqp:/_topo/0/b/qdrouter.ma");
    let exist: Vec<_> = exist
        .iter()
        .map(|found| (&*found.key, found.treatment, found.producers))
        .collect();
    assert_eq!(
        exist,
        [
            ("Ma", Some(Treatment::Closest), 1),
            ("Mb", Some(Treatment::Multicast), 0)
        ]
    );
    assert!(
        bench
            .receive(FIRST, "b", MINE_MOBILE, &Body::Mar { have_seq: 1 })
            .is_empty()
    );
}

#[test]
fn one_who_has_just_joined_is_answered_the_way_it_asked() {
    let mut bench = Bench::new();
    bench.routing.announce("Mq", Treatment::Closest, 0);
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.neighbour(SECOND, 1, "c", &[]);
    bench.tick();
    bench.take_events();
    let sent = bench.receive(SECOND, "new", MINE_MOBILE, &Body::Mar { have_seq: 0 });
    let [(SECOND, to, _, Body::Mau { mobile_seq: 1, .. })] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(to, "amqp:/_topo/0/new/qdrouter.ma");
    assert_eq!(bench.take_events(), ["router new is known now"]);
}

#[test]
fn addresses_that_come_with_a_link_state_are_passed_on_once_in_force() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    bench.neighbour(SECOND, 1, "d", &[]);
    let told = |instance, ls_seq, mobile_seq, keys: &[&str]| {
        let Body::Mau {
            change: Change::Absolute { exist },
            ..
        } = exist(mobile_seq, keys)
        else {
            unreachable!("an absolute one");
        };
        Body::Lsu(LinkStateUpdate {
            instance: Some(instance),
            ls_seq,
            mobile_seq: Some(mobile_seq),
            addresses: Some(exist),
            peers: [(id("b"), 1)].into(),
        })
    };
    let all = told(7, 1, 4, &["Mq", "Mz", "Llocal"]);
    let sent = bench.receive(FIRST, "c", FLOOD, &all);
    let links: Vec<_> = sent
        .iter()
        .map(|(link, _, _, body)| (*link, body))
        .collect();
    assert_eq!(links, [(SECOND, &all)]);
    assert_eq!(bench.order, ["view", "message"]);
    assert_eq!(bench.announcers("Mq"), ["c"]);
    assert!(bench.announcers("Llocal").is_empty(), "local ones stay so");
    assert!(
        bodies(&bench.tick())
            .iter()
            .all(|body| !matches!(body, Body::Mar { .. }))
    );
    // A copy, and one from before.
    assert!(bench.receive(SECOND, "c", FLOOD, &all).is_empty());
    assert!(
        bench
            .receive(SECOND, "c", FLOOD, &told(7, 1, 3, &["Mold"]))
            .is_empty()
    );
    assert!(bench.announcers("Mold").is_empty());
    // The next update continues the number.
    bench.receive(FIRST, "c", MULTICAST, &differential(5, &["Mnew"], &["Mz"]));
    assert_eq!(bench.announcers("Mnew"), ["c"]);
    assert!(bench.announcers("Mz").is_empty());
    // After a restart numbers begin anew; what its previous life said is void.
    bench.receive(FIRST, "c", FLOOD, &told(8, 1, 1, &["Mlater"]));
    assert_eq!(bench.announcers("Mlater"), ["c"]);
    assert!(bench.announcers("Mq").is_empty());
    bench.receive(SECOND, "c", FLOOD, &told(7, 9, 9, &["Mold"]));
    assert!(bench.announcers("Mold").is_empty());
}

#[test]
fn addresses_that_nobody_told_are_asked_for_after_a_while() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    let mar = Body::Mar { have_seq: 0 };
    bench.receive(FIRST, "b", FLOOD, &ra(7, 1, 3));
    assert!(
        !bodies(&bench.tick()).contains(&mar),
        "they may be on their way"
    );
    bench.hello(FIRST, "b");
    assert!(bodies(&bench.tick()).contains(&mar));
}

#[test]
fn own_addresses_go_out_with_the_first_link_state_and_to_whom_was_out_of_reach() {
    let mut bench = Bench::new();
    bench.routing.announce("Mq", Treatment::Closest, 0);
    bench.link_up(FIRST, 1);
    bench.hello(FIRST, "b");
    let mut told = Vec::new();
    let mut look = |sent: &[Sent]| {
        told.clear();
        for (_, _, _, body) in sent {
            match body {
                Body::Lsu(update) => told.push(update.addresses.as_ref().map_or(0, Vec::len)),
                Body::Mau { .. } => told.push(100),
                _ => {}
            }
        }
        told.clone()
    };
    assert_eq!(look(&bench.tick()), [1], "with the link state only");
    bench.link_up(SECOND, 1);
    let knows_nothing = Body::Hello(Hello {
        instance: 7,
        seen: vec![id(ME)],
        digest: Some(0),
    });
    let sent = bench.receive(SECOND, "c", HELLO, &knows_nothing);
    assert_eq!(
        look(&sent),
        [1, 0, 0],
        "all to the new one, then the news to both"
    );
    assert!(look(&bench.tick()).is_empty());
    bench.routing.announce("Mz", Treatment::Closest, 0);
    bench.hello(FIRST, "b");
    bench.hello(SECOND, "c");
    assert_eq!(look(&bench.tick()), [100, 100], "a change is an update");
}

#[test]
fn own_addresses_are_announced_as_the_difference_of_a_tick() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    let changes = |bench: &mut Bench| {
        bench.hello(FIRST, "b");
        let sent = bodies(&bench.tick());
        let mau = sent.iter().find_map(|body| match body {
            Body::Mau {
                mobile_seq,
                change: Change::Differential { add, del },
            } => {
                let add: Vec<_> = add
                    .iter()
                    .map(|found| (found.key.to_string(), found.mesh.clone()))
                    .collect();
                Some((
                    *mobile_seq,
                    add,
                    del.iter().map(ToString::to_string).collect::<Vec<_>>(),
                ))
            }
            _ => None,
        });
        let advertised = sent.iter().any(|body| matches!(body, Body::Ra(_)));
        assert!(
            mau.is_none() || advertised,
            "the number is advertised at once"
        );
        mau
    };
    bench.routing.announce("Mq", Treatment::Balanced, 0);
    bench.routing.announce("Mgone", Treatment::Balanced, 0);
    bench.routing.withdraw("Mgone");
    assert_eq!(
        changes(&mut bench),
        Some((1, vec![("Mq".to_owned(), None)], vec![]))
    );
    bench.routing.withdraw("Mq");
    bench.routing.announce("Mq", Treatment::Balanced, 0);
    bench.routing.withdraw("Mnever");
    assert_eq!(changes(&mut bench), None, "no difference in the end");
    bench.routing.announce("Mq", Treatment::Balanced, 5);
    assert_eq!(changes(&mut bench), None, "producers are no news");
    bench
        .routing
        .announce_in_mesh("Mq", Treatment::Balanced, 5, "mesh");
    assert_eq!(
        changes(&mut bench),
        Some((2, vec![("Mq".to_owned(), Some("mesh".into()))], vec![]))
    );
    bench.routing.withdraw("Mq");
    assert_eq!(
        changes(&mut bench),
        Some((3, vec![], vec!["Mq".to_owned()]))
    );
}

#[test]
fn addresses_that_are_told_to_others_are_taken_in_on_their_way() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.neighbour(SECOND, 1, "c", &[]);
    let to_c = "amqp:/_topo/0/c/qdrouter.ma";
    for (seq, keys, expected) in [
        (2, &["Mq"][..], &["b"][..]),
        (1, &[], &["b"]),
        (2, &[], &["b"]),
        (3, &["Mother"], &[]),
    ] {
        let octets = travelled("b", &["b"], to_c, &exist(seq, keys));
        assert_eq!(bench.receive_octets(FIRST, &octets).len(), 1, "passed on");
        assert_eq!(bench.announcers("Mq"), expected, "number {seq}");
    }
    let stranger = travelled("x", &["x", "b"], to_c, &exist(2, &["Mx"]));
    assert_eq!(bench.receive_octets(FIRST, &stranger).len(), 1);
    assert!(bench.announcers("Mx").is_empty());
}
