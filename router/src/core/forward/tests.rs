//! Choices over real routes: three interior routers `me`, `near` (cost 1) and `far` (cost 5), both neighbours of `me`.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use amqp::engine::LinkId;
use arc_swap::ArcSwapOption;
use model::router_config::{AddressEntity, Distribution, Mode, RouterConfig, RouterEntity};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    core::{
        address::AddressSpace,
        configured::ConfiguredAddresses,
        connection::{ConnectionFacts, ConnectionRole},
        inbox::Inbox,
        links::Links,
    },
    routing::{Config, ControlLink, Output, RouteView, Routing},
};

const NEAR: u64 = 1;
const FAR: u64 = 2;

/// Lets three routers talk until nothing changes, and returns what `me` knows. `announced`: by near and far.
fn routes(announced: &[(usize, &str, Treatment, Option<&str>)]) -> Arc<RouteView> {
    let start = Instant::now();
    let mut routers: Vec<Routing> = ["me", "near", "far"]
        .iter()
        .enumerate()
        .map(|(index, id)| Routing::new(Config::new(RouterId::from(*id), index as i64 + 1), start))
        .collect();
    for (peer, link, cost) in [(1, NEAR, 1), (2, FAR, 5)] {
        routers[0].link_up(ControlLink(link), cost, start);
        routers[peer].link_up(ControlLink(0), cost, start);
    }
    for (router, key, treatment, mesh) in announced {
        match mesh {
            Some(mesh) => routers[*router].announce_in_mesh(key, *treatment, 0, mesh),
            None => routers[*router].announce(key, *treatment, 0),
        }
    }
    for second in 0..8 {
        let now = start + Duration::from_secs(second);
        for router in &mut routers {
            router.tick(now);
        }
        let mut moved = true;
        while moved {
            moved = false;
            for from in 0..3 {
                while let Some(output) = routers[from].poll() {
                    let Output::Send { link, message } = output else {
                        continue;
                    };
                    moved = true;
                    let (to, on) = match (from, link.0) {
                        (0, NEAR) => (1, 0),
                        (0, _) => (2, 0),
                        (1, _) => (0, NEAR),
                        _ => (0, FAR),
                    };
                    routers[to].receive(ControlLink(on), &message, now);
                }
            }
        }
    }
    routers[0].view()
}

fn connection(id: u64, role: ConnectionRole, container: &str) -> Arc<ConnectionHandle> {
    Arc::new(ConnectionHandle {
        id: ConnectionId(id),
        inbox: Arc::new(Inbox::new(64)),
        worker: 0,
        role,
        outgoing: false,
        streaming: true,
        trunking: true,
        own_peer: true,
        container: container.to_owned(),
        facts: ConnectionFacts::default(),
        mesh: ArcSwapOption::empty(),
        octets_in: AtomicU64::new(0),
        octets_out: AtomicU64::new(0),
        last_delivery: AtomicU32::new(0),
        links: Links::default(),
        answers: Arc::default(),
        leaving: CancellationToken::new(),
    })
}

struct Router {
    shared: Arc<Shared>,
    table: Table,
}

impl Router {
    fn new(edge: bool, routes: Arc<RouteView>) -> Self {
        let space = AddressSpace {
            id: "me".to_owned(),
            edge,
        };
        let mut table = Table::new(routes);
        for (id, name) in [(NEAR, "near"), (FAR, "far")] {
            table.neighbours.insert(
                id,
                Arc::new(Neighbour {
                    control: connection(id, ConnectionRole::InterRouter, name),
                    data: vec![connection(id + 10, ConnectionRole::InterRouterData, name)],
                    turn: 0.into(),
                }),
            );
        }
        Self {
            shared: Arc::new(Shared::new(space, Vec::new())),
            table,
        }
    }

    fn interior(announced: &[(usize, &str, Treatment, Option<&str>)]) -> Self {
        Self::new(false, routes(announced))
    }

    /// Local consumers of an address; their numbers are those of their links.
    fn consumers(
        &mut self,
        key: &str,
        treatment: Treatment,
        consumers: &[(&Arc<ConnectionHandle>, bool)],
    ) {
        let consumers = consumers
            .iter()
            .zip(0..)
            .map(|((connection, proxy), link)| {
                Arc::new(Consumer {
                    target: ConsumerTarget::Link((*connection).clone(), LinkId(link)),
                    open: Arc::default(),
                    proxy: *proxy,
                })
            })
            .collect();
        let transit = [NEAR, FAR].map(|id| (id, Arc::default())).into();
        self.table.addresses.insert(
            key.into(),
            Arc::new(Address {
                key: key.into(),
                treatment,
                consumers,
                transit,
                turn: Arc::default(),
                counts: Arc::default(),
            }),
        );
    }

    fn choose(&self, message: &Message<'_>) -> Choice {
        self.choose_again(message, &[])
    }

    fn choose_again(&self, message: &Message<'_>, tried: &[Arc<AtomicU32>]) -> Choice {
        let request = Request {
            address: message.address,
            annotations: &message.annotations,
            arrived_on: message.arrived_on,
            complete: message.complete,
            preferred: None,
        };
        choose_again(&self.shared, &self.table, request, tried)
    }

    /// Where `count` open messages go, in order.
    fn spread(&self, address: &str, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| {
                let choice = self.choose(&message(address));
                if let Choice::One(sink) = &choice
                    && let Some(counter) = sink.counter()
                {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                text(&choice)
            })
            .collect()
    }
}

struct Message<'a> {
    address: &'a str,
    annotations: Annotations,
    arrived_on: Option<&'a ConnectionHandle>,
    complete: bool,
}

fn message(address: &str) -> Message<'_> {
    Message {
        address,
        annotations: Annotations::default(),
        arrived_on: None,
        complete: true,
    }
}

fn one(sink: &Sink) -> String {
    match sink {
        Sink::Connection {
            connection, via, ..
        } => match via {
            Via::Link(link) => format!("{}#{}", connection.container, link.0),
            via => format!("{} {} {via:?}", connection.container, connection.id.0),
        },
        sink => format!("{sink:?}"),
    }
}

fn text(choice: &Choice) -> String {
    match choice {
        Choice::One(sink) => one(sink),
        Choice::Many(sinks) => {
            let mut all: Vec<_> = sinks.iter().map(one).collect();
            all.sort();
            all.join(", ")
        }
        choice => format!("{choice:?}"),
    }
}

const TO_NEAR: &str = "near 1 Data";
const TO_FAR: &str = "far 2 Data";

#[test]
fn balanced_prefers_here_until_the_cost_of_elsewhere_is_reached() {
    let mut router = Router::interior(&[(1, "Mq", Treatment::Balanced, None)]);
    let client = connection(9, ConnectionRole::Normal, "c");
    router.consumers("Mq", Treatment::Balanced, &[(&client, false)]);
    // Here with 0 and 1 open: here wins ties with cost 1 and nothing outstanding; then both grow alike.
    assert_eq!(
        router.spread("q", 6),
        ["c#0", "c#0", TO_NEAR, "c#0", TO_NEAR, "c#0"]
    );
}

#[test]
fn balanced_uses_a_dearer_router_once_the_difference_is_open_at_the_cheaper_one() {
    let mut router = Router::interior(&[
        (1, "Mq", Treatment::Balanced, None),
        (2, "Mq", Treatment::Balanced, None),
    ]);
    router.consumers("Mq", Treatment::Balanced, &[]);
    let spread = router.spread("q", 20);
    let near = spread.iter().filter(|to| *to == TO_NEAR).count();
    assert_eq!(near, 12, "{spread:?}");
    assert_eq!(spread[..4], [TO_NEAR; 4]);
}

#[test]
fn closest_never_goes_to_a_dearer_router_and_takes_turns_among_consumers_here() {
    let mut router = Router::interior(&[
        (1, "Mq", Treatment::Closest, None),
        (2, "Mq", Treatment::Closest, None),
    ]);
    router.consumers("Mq", Treatment::Closest, &[]);
    assert_eq!(router.spread("q", 9), [TO_NEAR; 9]);
    let client = connection(9, ConnectionRole::Normal, "c");
    router.consumers(
        "Mq",
        Treatment::Closest,
        &[(&client, false), (&client, false)],
    );
    assert_eq!(router.spread("q", 4), ["c#0", "c#1", "c#0", "c#1"]);
}

#[test]
fn multicast_goes_to_everyone_once_and_not_back() {
    let mut router = Router::interior(&[
        (1, "Mq", Treatment::Multicast, None),
        (2, "Mq", Treatment::Multicast, None),
    ]);
    let client = connection(9, ConnectionRole::Normal, "c");
    router.consumers("Mq", Treatment::Multicast, &[(&client, false)]);
    let everyone = format!("c#0, {TO_FAR}, {TO_NEAR}");
    assert_eq!(text(&router.choose(&message("q"))), everyone);
    // From near: those behind near have it, far gets it through here.
    let mut from_near = message("q");
    from_near.annotations = from_near.annotations.at_interior("0/near");
    assert_eq!(text(&router.choose(&from_near)), format!("c#0, {TO_FAR}"));
    // From a router that nobody knows: only those here.
    let mut unknown = message("q");
    unknown.annotations = unknown.annotations.at_interior("0/strange");
    assert_eq!(text(&router.choose(&unknown)), "c#0");
}

#[test]
fn incomplete_multicasts_use_streaming_links_of_data_connections() {
    let router = Router::interior(&[
        (1, "Mq", Treatment::Multicast, None),
        (2, "Mq", Treatment::Multicast, None),
    ]);
    let mut streaming = message("q");
    streaming.complete = false;
    assert_eq!(
        text(&router.choose(&streaming)),
        "far 12 Stream, near 11 Stream"
    );
}

#[test]
fn a_released_message_is_offered_to_each_destination_once() {
    let mut router = Router::interior(&[
        (1, "Mq", Treatment::Closest, None),
        (2, "Mq", Treatment::Closest, None),
    ]);
    let client = connection(9, ConnectionRole::Normal, "c");
    for treatment in [Treatment::Closest, Treatment::Balanced] {
        router.consumers("Mq", treatment, &[(&client, false)]);
        let mut tried = Vec::new();
        let mut seen = Vec::new();
        while let Choice::One(sink) = router.choose_again(&message("q"), &tried) {
            seen.push(one(&sink));
            tried.push(sink.counter().expect("mobile addresses have one").clone());
        }
        assert_eq!(seen, ["c#0", TO_NEAR, TO_FAR], "{treatment:?}");
    }
}

#[test]
fn routers_guard_against_loops() {
    let mut router = Router::interior(&[(1, "Mq", Treatment::Balanced, None)]);
    router.consumers("Mq", Treatment::Balanced, &[]);
    // The radius is 1 here: a third router in the trace has been somewhere it should not.
    let mut travelled = message("q");
    travelled.annotations.ingress = Some("0/far".to_owned());
    for (hops, wanted) in [(1, TO_NEAR), (2, TO_NEAR), (3, "Nowhere")] {
        travelled.annotations.trace = (0..hops).map(|hop| format!("0/{hop}")).collect();
        assert_eq!(text(&router.choose(&travelled)), wanted, "{hops} hops");
    }
    // What entered at near has no business going to near through here.
    let mut back = message("q");
    back.annotations = back.annotations.at_interior("0/near");
    assert_eq!(text(&router.choose(&back)), "Nowhere");
}

#[test]
fn a_message_off_its_way_goes_on_to_where_it_has_not_been() {
    for treatment in [Treatment::Balanced, Treatment::Closest] {
        let mut router = Router::interior(&[(1, "Mq", treatment, None)]);
        router.consumers("Mq", treatment, &[]);
        // The way from near to itself leads nowhere else, as far as this router knows. A fourth router that this one
        // has not heard of yet has sent it here.
        let mut astray = message("q");
        astray.annotations.ingress = Some("0/near".to_owned());
        astray.annotations.trace = ["0/unknown".to_owned()].into_iter().collect();
        assert_eq!(text(&router.choose(&astray)), TO_NEAR, "{treatment:?}");
    }
}

#[test]
fn nothing_returns_to_the_edge_or_the_mesh_it_came_from() {
    let mut router = Router::interior(&[(1, "Mmeshed", Treatment::Balanced, Some("m"))]);
    let one = connection(20, ConnectionRole::Edge, "e1");
    let data = connection(21, ConnectionRole::EdgeData, "e1");
    let peer = connection(22, ConnectionRole::Edge, "e2");
    for member in [&one, &peer] {
        member.mesh.store(Some(Arc::new("m".to_owned())));
    }
    let other = connection(23, ConnectionRole::Edge, "e3");
    router.consumers(
        "Mq",
        Treatment::Multicast,
        &[(&one, false), (&peer, false), (&other, false)],
    );
    router.consumers("Mmeshed", Treatment::Balanced, &[]);
    for arrived_on in [&one, &data] {
        let mut from_edge = message("q");
        from_edge.arrived_on = Some(arrived_on);
        assert_eq!(text(&router.choose(&from_edge)), "e2#1, e3#2");
        from_edge.annotations.mesh = Some("m".to_owned());
        assert_eq!(text(&router.choose(&from_edge)), "e3#2");
        // All destinations there are in the mesh.
        from_edge.address = "meshed";
        assert_eq!(text(&router.choose(&from_edge)), "Nowhere");
        from_edge.annotations.mesh = Some("another".to_owned());
        assert_eq!(text(&router.choose(&from_edge)), TO_NEAR);
    }
}

#[test]
fn an_edge_offers_to_its_interior_what_did_not_come_from_there() {
    let uplink = connection(30, ConnectionRole::Edge, "interior");
    let data = connection(31, ConnectionRole::EdgeData, "interior");
    let mut router = Router::new(true, Arc::new(RouteView::empty(&RouterId::from("me"), 1)));
    router.table.uplink = Some(uplink.clone());
    router.consumers("Mq", Treatment::Balanced, &[(&uplink, true)]);
    assert_eq!(text(&router.choose(&message("q"))), "interior#0");
    for address in [
        "unknown",
        "amqp:/_topo/0/x/temp.1",
        "amqp:/_edge/other/temp.1",
    ] {
        assert_eq!(
            text(&router.choose(&message(address))),
            "interior 30 Uplink",
            "{address}"
        );
        for arrived_on in [&uplink, &data] {
            let mut from_there = message(address);
            from_there.arrived_on = Some(arrived_on);
            assert_eq!(text(&router.choose(&from_there)), "Nowhere");
        }
    }
    let mut from_there = message("q");
    from_there.arrived_on = Some(&uplink);
    assert_eq!(text(&router.choose(&from_there)), "Nowhere");
    // Streams have a connection of their own.
    router.table.edges.insert(
        uplink.id,
        Arc::new(Neighbour {
            control: uplink.clone(),
            data: vec![data.clone()],
            turn: 0.into(),
        }),
    );
    for address in ["q", "unknown"] {
        let mut stream = message(address);
        stream.complete = false;
        assert_eq!(text(&router.choose(&stream)), "interior 31 Stream");
    }
}

#[test]
fn unavailable_addresses_are_told_apart_from_those_without_consumers() {
    let mut config = RouterConfig::new(RouterEntity::new("me", Mode::Interior));
    let mut urgent = AddressEntity::prefix("urgent", Distribution::Closest);
    urgent.priority = Some(9);
    config.addresses = vec![
        AddressEntity::prefix("closed", Distribution::Unavailable),
        urgent,
    ];
    let configured = ConfiguredAddresses::new(&config);
    assert_eq!(configured.priority("urgent.x"), Some(9));
    assert_eq!(configured.priority("closed"), None);
    assert_eq!(configured.treatment("Hedge"), Treatment::Balanced);
    let mut router = Router::interior(&[]);
    router.table.configured = Arc::new(configured);
    assert_eq!(text(&router.choose(&message("closed/door"))), "Unavailable");
    assert_eq!(text(&router.choose(&message("open"))), "Nowhere");
}
