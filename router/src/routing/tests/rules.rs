//! The rules of the protocol one by one: a single router, and messages as its peers would send them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::message::{
    self, Body, Change, Descriptor, Hello, LinkStateUpdate, RouterAdvertisement,
};
use super::super::{
    Annotations, Config, ControlLink, Output, RouteView, RouterId, Routing, Treatment,
};
use super::{decode, encode, encode_marked, id};

const ME: &str = "m";
const FIRST: ControlLink = ControlLink(1);
const SECOND: ControlLink = ControlLink(2);
const THIRD: ControlLink = ControlLink(3);
const HELLO: &str = "amqp:/_local/qdhello";
const FLOOD: &str = "amqp:/_topo/0/all/qdrouter";
const MULTICAST: &str = "_topo/0/all/qdrouter.ma";
const MINE: &str = "amqp:/_topo/0/m/qdrouter";
const MINE_MOBILE: &str = "amqp:/_topo/0/m/qdrouter.ma";

/// A message that was sent: link, address, trace, body.
type Sent = (ControlLink, String, Vec<String>, Body);

struct Bench {
    routing: Routing,
    /// Outputs in turn, by kind: a message for a link, or a new view.
    order: Vec<&'static str>,
    now: Instant,
    /// Everything but messages, shown.
    events: Vec<String>,
    /// Of the last HELLO that was sent; those that `drain` returns have none.
    digest: Option<u32>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(id(ME), 100);
        change(&mut config);
        let now = Instant::now();
        Self {
            routing: Routing::new(config, now),
            order: Vec::new(),
            now,
            events: Vec::new(),
            digest: None,
        }
    }

    fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.order.clear();
        while let Some(output) = self.routing.poll() {
            match &output {
                Output::Send { .. } => self.order.push("message"),
                Output::ViewChanged => self.order.push("view"),
                _ => {}
            }
            match output {
                Output::Send { link, message } => {
                    let (annotations, to, _, mut body) = decode(&message);
                    if let Body::Hello(hello) = &mut body {
                        self.digest = hello.digest.take();
                    }
                    sent.push((link, to, annotations.trace.into_vec(), body));
                }
                Output::ViewChanged => {}
                Output::Log(event) => self.events.push(event.to_string()),
                other => self.events.push(format!("{other:?}")),
            }
        }
        sent
    }

    fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    /// One second and one tick.
    fn tick(&mut self) -> Vec<Sent> {
        self.now += Duration::from_secs(1);
        self.routing.tick(self.now);
        self.drain()
    }

    fn receive(&mut self, link: ControlLink, sender: &str, to: &str, body: &Body) -> Vec<Sent> {
        let octets = encode(sender, to, body);
        self.receive_octets(link, &octets)
    }

    fn receive_from_c(&mut self, link: ControlLink, sender: &str, to: &str, body: &Body) {
        let octets = encode_marked(sender, to, body, None);
        self.receive_octets(link, &octets);
    }

    fn receive_octets(&mut self, link: ControlLink, octets: &Bytes) -> Vec<Sent> {
        self.routing.receive(link, octets, self.now);
        self.drain()
    }

    fn link_up(&mut self, link: ControlLink, cost: u32) -> Vec<Sent> {
        self.routing.link_up(link, cost, self.now);
        self.drain()
    }

    fn hello(&mut self, link: ControlLink, sender: &str) -> Vec<Sent> {
        self.receive(link, sender, HELLO, &hello(7, &[ME]))
    }

    /// A neighbour with its link state, one tick after.
    fn neighbour(&mut self, link: ControlLink, cost: u32, name: &str, others: &[(&str, u32)]) {
        self.link_up(link, cost);
        self.hello(link, name);
        let peers: Vec<_> = others.iter().copied().chain([(ME, cost)]).collect();
        self.receive(link, name, MINE, &lsu(1, &peers));
        self.tick();
    }

    fn view(&mut self) -> std::sync::Arc<RouteView> {
        self.drain();
        self.routing.view()
    }

    fn announcers(&mut self, key: &str) -> Vec<String> {
        let view = self.view();
        view.addresses
            .get(key)
            .map(|found| found.routers.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }
}

fn hello(instance: i64, seen: &[&str]) -> Body {
    Body::Hello(Hello {
        instance,
        seen: seen.iter().map(|text| id(text)).collect(),
        digest: None,
    })
}

fn ra(instance: i64, ls_seq: i64, mobile_seq: i64) -> Body {
    Body::Ra(RouterAdvertisement {
        instance,
        ls_seq,
        mobile_seq,
    })
}

fn lsu(ls_seq: i64, peers: &[(&str, u32)]) -> Body {
    lsu_of(7, ls_seq, peers)
}

fn lsu_of(instance: i64, ls_seq: i64, peers: &[(&str, u32)]) -> Body {
    let peers = peers.iter().map(|(peer, cost)| (id(peer), *cost)).collect();
    Body::Lsu(LinkStateUpdate {
        instance: Some(instance),
        ls_seq,
        mobile_seq: None,
        addresses: None,
        peers,
    })
}

/// The link state of the router under test, which has announced no addresses.
fn my_lsu(ls_seq: i64, peers: &[(&str, u32)]) -> Body {
    Body::Lsu(LinkStateUpdate {
        instance: Some(100),
        ls_seq,
        mobile_seq: Some(0),
        addresses: None,
        peers: peers.iter().map(|(peer, cost)| (id(peer), *cost)).collect(),
    })
}

fn descriptor(key: &str, treatment: Option<Treatment>, mesh: Option<&str>) -> Descriptor {
    Descriptor {
        key: key.into(),
        treatment,
        producers: 0,
        mesh: mesh.map(Into::into),
    }
}

fn exist(mobile_seq: i64, keys: &[&str]) -> Body {
    let exist = keys
        .iter()
        .map(|key| descriptor(key, Some(Treatment::Balanced), None))
        .collect();
    Body::Mau {
        mobile_seq,
        change: Change::Absolute { exist },
    }
}

fn differential(mobile_seq: i64, add: &[&str], del: &[&str]) -> Body {
    let add = add
        .iter()
        .map(|key| descriptor(key, Some(Treatment::Closest), None))
        .collect();
    Body::Mau {
        mobile_seq,
        change: Change::Differential {
            add,
            del: del.iter().map(|key| (*key).into()).collect(),
        },
    }
}

fn bodies(sent: &[Sent]) -> Vec<Body> {
    sent.iter().map(|(_, _, _, body)| body.clone()).collect()
}

/// A message of `origin` with annotations as given, in its second or later hop.
fn travelled(origin: &str, trace: &[&str], to: &str, body: &Body) -> Bytes {
    let octets = encode(origin, to, body);
    let (annotations, rest) = Annotations::split(&octets).unwrap();
    let annotations = Annotations {
        trace: trace[..trace.len() - 1]
            .iter()
            .map(|entry| format!("0/{entry}"))
            .collect(),
        ingress: Some(format!("0/{origin}")),
        ..annotations.unwrap()
    };
    let mut writer = super::super::encode::Writer::default();
    annotations.write_next(&format!("0/{}", trace[trace.len() - 1]), &mut writer);
    writer.raw(&rest);
    writer.finish()
}

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

#[test]
fn recorded_forwarding_is_reproduced() {
    // An advertisement of rc as rb received it, and as rb passed it on to ra.
    let forwarded = super::recorded("RA_FORWARDED");
    let (_, rest) = Annotations::split(&forwarded).unwrap();
    let mut writer = super::super::encode::Writer::default();
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
