//! Messages of others on their way, and what the data path is told.

use super::*;
use crate::routing::{encode::Writer, tests::recorded};

#[test]
fn advertisements_are_flooded_once_to_links_that_have_not_seen_them() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.neighbour(SECOND, 1, "c", &[]);
    bench.neighbour(THIRD, 1, "d", &[]);
    let octets = travelled("x", &["x", "c", "b"], FLOOD, &ra(7, 0, 0));
    let sent = bench.receive_octets(FIRST, &octets);
    let trace: Vec<_> = ["0/x", "0/c", "0/b", "0/m"].map(str::to_owned).into();
    assert_eq!(
        sent,
        [(THIRD, FLOOD.to_owned(), trace, ra(7, 0, 0))],
        "c is in the trace, b is where it came from"
    );
    let copy = travelled("x", &["x", "d"], FLOOD, &ra(7, 0, 0));
    assert!(
        bench.receive_octets(THIRD, &copy).is_empty(),
        "a copy over another path"
    );
    let looped = travelled("x", &["x", ME, "b"], FLOOD, &ra(7, 1, 0));
    assert!(
        bodies(&bench.receive_octets(FIRST, &looped))
            .iter()
            .all(|body| !matches!(body, Body::Ra(_)))
    );
    let news = travelled("x", &["x", "b"], FLOOD, &ra(7, 2, 0));
    assert_eq!(bench.receive_octets(FIRST, &news).len(), 2);
    bench.tick();
    bench.tick();
    assert_eq!(
        bench.receive_octets(FIRST, &news).len(),
        2,
        "the next one of the same content"
    );
}

#[test]
fn messages_for_others_follow_their_routes() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[]);
    bench.neighbour(SECOND, 1, "c", &[("d", 1)]);
    bench.receive(SECOND, "d", MINE, &lsu(1, &[("c", 1)]));
    bench.tick();
    let to_d = "amqp:/_topo/0/d/qdrouter";
    let sent = bench.receive_octets(FIRST, &travelled("b", &["b"], to_d, &Body::Lsr));
    assert_eq!(
        sent,
        [(
            SECOND,
            to_d.to_owned(),
            vec!["0/b".to_owned(), "0/m".to_owned()],
            Body::Lsr
        )]
    );
    assert!(
        bench
            .receive_octets(SECOND, &travelled("c", &["c"], to_d, &Body::Lsr))
            .is_empty(),
        "back where it came from"
    );
    assert!(
        bench
            .receive_octets(FIRST, &travelled("b", &["b", ME, "b"], to_d, &Body::Lsr))
            .is_empty(),
        "a loop"
    );
    let nowhere = "amqp:/_topo/0/nobody/qdrouter";
    assert!(
        bench
            .receive_octets(FIRST, &travelled("b", &["b"], nowhere, &Body::Lsr))
            .is_empty()
    );
    let hello = travelled("d", &["d", "c"], HELLO, &hello(7, &[ME]));
    let sent = bench.receive_octets(SECOND, &hello);
    assert!(
        sent.iter().all(|(_, _, trace, _)| *trace == ["0/m"]),
        "local addresses are never forwarded"
    );
}

#[test]
fn recorded_forwarding_is_reproduced() {
    // An advertisement of rc as rb received it, and as rb passed it on to ra.
    let forwarded = recorded("RA_FORWARDED");
    let (_, rest) = Annotations::split(&forwarded).unwrap();
    let mut writer = Writer::default();
    Annotations::default().write_next("0/rc", &mut writer);
    writer.raw(&rest);
    let original = writer.finish();
    let now = Instant::now();
    let mut rb = Routing::new(Config::new(id("rb"), 1), now);
    rb.link_up(FIRST, 3, now);
    rb.link_up(SECOND, 5, now);
    rb.receive(SECOND, &original, now);
    let sent: Vec<_> = std::iter::from_fn(|| rb.poll())
        .filter_map(|output| match output {
            Output::Send {
                link: FIRST,
                message,
            } => Some(message),
            _ => None,
        })
        .collect();
    assert!(sent.contains(&forwarded));
}

#[test]
fn address_updates_follow_the_tree_of_their_origin() {
    // b - m - c, and b - c: b reaches c directly, so m is no valid way for b's messages to c. d hangs on m alone.
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    bench.neighbour(SECOND, 1, "c", &[("b", 1)]);
    bench.neighbour(THIRD, 1, "d", &[]);
    let update = differential(1, &["Mq"], &[]);
    let sent = bench.receive_octets(FIRST, &travelled("b", &["b"], MULTICAST, &update));
    assert_eq!(
        sent,
        [(
            THIRD,
            MULTICAST.to_owned(),
            vec!["0/b".to_owned(), "0/m".to_owned()],
            update.clone()
        )]
    );
    assert_eq!(
        bench.order,
        ["view", "message"],
        "whoever hears of it may send at once"
    );
    assert_eq!(bench.announcers("Mq"), ["b"]);
    let unknown = travelled("stranger", &["stranger", "b"], MULTICAST, &update);
    assert!(
        bench.receive_octets(FIRST, &unknown).is_empty(),
        "an unknown origin has no tree"
    );
    let without = {
        let (_, rest) = Annotations::split(&encode("b", MULTICAST, &update)).unwrap();
        bench.receive_octets(FIRST, &rest)
    };
    let links: Vec<_> = without.iter().map(|(link, ..)| *link).collect();
    assert_eq!(
        links,
        [SECOND, THIRD],
        "without annotations this router is the origin"
    );
}

#[test]
fn views_answer_for_the_data_path() {
    let mut bench = Bench::new();
    bench.neighbour(FIRST, 1, "b", &[("c", 1)]);
    bench.neighbour(SECOND, 1, "c", &[("b", 1)]);
    bench.neighbour(THIRD, 1, "d", &[]);
    for (link, name) in [(FIRST, "b"), (SECOND, "c"), (THIRD, "d")] {
        bench.receive(link, name, MINE_MOBILE, &exist(1, &["Mq"]));
    }
    let view = bench.view();
    let links = |key, ingress, trace: &[&str]| view.multicast_links(key, ingress, trace).to_vec();
    assert_eq!(links("Mq", None, &[]), [FIRST, SECOND, THIRD]);
    assert_eq!(links("Mq", Some("0/b"), &["0/b"]), [THIRD]);
    assert_eq!(links("Mq", Some("0/m"), &["0/m", "0/c"]), [FIRST, THIRD]);
    assert!(links("Mq", Some("b"), &[]).is_empty(), "not an entry");
    assert!(links("Mq", Some("0/x"), &[]).is_empty(), "unknown");
    assert!(links("Mother", None, &[]).is_empty());
    assert_eq!(links("Tqdrouter.ma", None, &[]), [FIRST, SECOND, THIRD]);
    let valid = |to: &str, ingress| view.origin_valid(&id(to), ingress);
    assert!(valid("c", None) && valid("c", Some("0/x")) && valid("d", Some("0/b")));
    assert!(!valid("c", Some("0/b")) && !valid("nobody", None));
    assert_eq!((&*view.own_trace_entry, view.radius), ("0/m", 1));
    let origins: Vec<RouterId> = view.routers["d"].valid_origins.to_vec();
    assert_eq!(origins, [id("b"), id("c")]);
}
