use super::*;
use crate::{
    core::{
        connection::{ConnectionId, tests::peer},
        connection_message::Via,
        table::Neighbour,
    },
    routing::{RouteView, RouterId},
};
use amqp::engine::LinkId;

const HERE: &str = "service:80";
const LEGACY: Framing = Framing::Legacy;
const LITE: Framing = Framing::Lite;

fn table(neighbours: &[&str]) -> Table {
    let mut table = Table::new(Arc::new(RouteView::empty(&RouterId::from("me"), 1)));
    for (id, version) in neighbours.iter().enumerate() {
        let neighbour = Neighbour {
            control: Arc::new(peer(Some(version), false)),
            data: Vec::new(),
            turn: 0.into(),
        };
        table.neighbours.insert(id as u64, Arc::new(neighbour));
    }
    table
}

fn sink(connection: ConnectionHandle, destination: Destination) -> Sink {
    Sink::Connection {
        connection: Arc::new(connection),
        via: Via::Stream,
        open: None,
        destination: Some(destination),
        doubt: None,
        counted: None,
    }
}

/// A consumer on a link of a router of this release.
fn direct(version: Option<&str>) -> Sink {
    sink(
        peer(version, false),
        Destination::Link(ConnectionId(1), LinkId(3)),
    )
}

/// One at a router beyond a neighbour of this release.
fn beyond(version: &str) -> Sink {
    sink(
        peer(Some(version), false),
        Destination::Router(RouterId::from("far")),
    )
}

#[test]
fn the_release_of_the_consumers_own_router_counts_most() {
    let findings = Findings::default();
    let expect = |version| findings.expect(&table(&[]), HERE, &direct(version)).0;
    for (version, expected) in [
        (Some("2.4.3"), Expectation::Only(LEGACY)),
        (Some("2.7.6"), Expectation::Probably(LEGACY)),
        (Some("3.0.0"), Expectation::Only(LITE)),
        (Some("3.5.1"), Expectation::Only(LITE)),
        (Some("0.0.0"), Expectation::Open),
        (None, Expectation::Open),
    ] {
        assert_eq!(expect(version), expected, "{version:?}");
    }
}

#[test]
fn routers_of_this_implementation_and_clients_need_no_translation() {
    let findings = Findings::default();
    let destination = Destination::Link(ConnectionId(1), LinkId(3));
    let own = sink(peer(Some("1.9.6"), true), destination.clone());
    let client = ConnectionHandle {
        role: ConnectionRole::Normal,
        ..peer(Some("2.4.3"), false)
    };
    for sink in [own, sink(client, destination)] {
        let (expected, counterpart) = findings.expect(&table(&[]), HERE, &sink);
        assert_eq!(expected, Expectation::Any);
        assert!(counterpart.is_none());
    }
}

#[test]
fn of_a_far_consumer_the_next_router_tells_only_in_a_uniform_network() {
    let findings = Findings::default();
    for (next, neighbours, expected) in [
        (
            "2.7.6",
            &["2.7.6", "2.4.3"][..],
            Expectation::Probably(LEGACY),
        ),
        ("3.5.1", &["3.5.1"], Expectation::Probably(LITE)),
        ("3.5.1", &["3.5.1", "2.7.6"], Expectation::Open),
        ("2.4.3", &["3.5.1", "2.4.3"], Expectation::Open),
        ("0.0.0", &["2.7.6"], Expectation::Open),
    ] {
        let (found, _) = findings.expect(&table(neighbours), HERE, &beyond(next));
        assert_eq!(found, expected, "over {next} beside {neighbours:?}");
    }
}

#[test]
fn findings_belong_to_one_address_at_one_destination() {
    let findings = Findings::default();
    let table = table(&[]);
    let place = findings.expect(&table, HERE, &direct(None)).1;
    findings.found(place.as_ref(), LEGACY);
    let expect = |address, sink| findings.expect(&table, address, &sink).0;
    assert_eq!(expect(HERE, direct(None)), Expectation::Only(LEGACY));
    assert_eq!(expect("other:80", direct(None)), Expectation::Open);
    let other = sink(
        peer(None, false),
        Destination::Link(ConnectionId(1), LinkId(4)),
    );
    assert_eq!(expect(HERE, other), Expectation::Open);
}

#[test]
fn a_release_puts_in_doubt_what_was_expected_and_what_was_found_of_lite() {
    let findings = Arc::new(Findings::default());
    let table = table(&[]);
    let sink = direct(Some("3.5.1"));
    let expect = || findings.expect(&table, HERE, &sink);
    let place = expect().1;
    findings.found(place.as_ref(), LITE);
    Doubt::new(&findings, place.clone().unwrap(), LITE).raise();
    assert_eq!(expect().0, Expectation::Open);
    // A server that refuses behind a legacy connector releases as well.
    findings.found(place.as_ref(), LEGACY);
    findings.released(place.as_ref(), LEGACY);
    assert_eq!(expect().0, Expectation::Only(LEGACY));
    findings.released(place.as_ref(), LITE);
    assert_eq!(expect().0, Expectation::Open);
}

#[test]
fn findings_end_with_the_instance_of_the_router_and_with_time() {
    let entry = |instance, age| Entry {
        finding: Finding::Doubtful,
        instance,
        at: Instant::now().checked_sub(age).unwrap(),
    };
    assert!(entry(7, Duration::from_secs(59)).is_valid(7));
    assert!(!entry(7, Duration::from_secs(59)).is_valid(8));
    assert!(!entry(7, TTL).is_valid(7));
}

#[test]
fn findings_are_bounded() {
    let findings = Findings::default();
    for number in 0..LIMIT + 10 {
        let counterpart = Counterpart {
            destination: Destination::Link(ConnectionId(1), LinkId(3)),
            instance: 0,
            address: format!("service:{number}").into(),
        };
        findings.found(Some(&counterpart), LITE);
    }
    let kept: usize = findings.lock().values().map(HashMap::len).sum();
    assert!(kept <= LIMIT, "{kept}");
}
