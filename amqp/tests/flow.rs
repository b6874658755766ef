//! Session windows and link credit between two engines.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use amqp::engine::{Event, LinkId, Sent, SessionId};
use amqp::frame::FrameHeader;
use amqp::performative::{Flow, Performative};
use common::{Pair, body, config, sender};

const PLENTY: usize = usize::MAX;

/// A link from client to server; the server's session window is `window`, 0 for the default.
fn linked(window: u32, auto: bool) -> (Pair, LinkId, LinkId) {
    let mut server = config("server");
    server.auto_window = auto;
    if window > 0 {
        server.incoming_window = window;
    }
    let mut pair = Pair::opened(config("client"), server);
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("s")).unwrap();
    pair.pump();
    pair.server.events.pop_front();
    let Event::Attached {
        link: peer, attach, ..
    } = pair.server.event()
    else {
        panic!()
    };
    pair.server.engine.accept(peer, *attach);
    pair.pump();
    pair.client.events.clear();
    (pair, link, peer)
}

fn send(pair: &mut Pair, link: LinkId) {
    let delivery = pair.client.engine.start_delivery(link, b"t", true).unwrap();
    assert_eq!(
        pair.client
            .engine
            .send(delivery, &mut body(&[b"x"]), true, PLENTY),
        Sent::All
    );
}

fn flows(mut octets: &[u8]) -> Vec<Flow> {
    let mut flows = Vec::new();
    while !octets.is_empty() {
        let header = FrameHeader::parse(octets).unwrap();
        let (frame, rest) = octets.split_at(header.size as usize);
        octets = rest;
        if let (Performative::Flow(flow), _) =
            Performative::decode_slice(&frame[header.body_at..]).unwrap()
        {
            flows.push(*flow);
        }
    }
    flows
}

/// A Flow of another implementation on channel 0.
fn flow_frame(flow: &Flow) -> Vec<u8> {
    let mut performative = amqp::BytesMut::new();
    flow.encode(&mut performative);
    let mut frame = vec![
        0,
        0,
        0,
        u8::try_from(8 + performative.len()).unwrap(),
        2,
        0,
        0,
        0,
    ];
    frame.extend_from_slice(&performative);
    frame
}

#[test]
fn credit_is_used_up_and_replenished_at_half() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 10);
    pair.pump();
    assert_eq!(pair.client.engine.credit(link), 10);
    let mut told = 0;
    for round in 0..100 {
        send(&mut pair, link);
        pair.server.engine.add_credit(peer, 1);
        let octets = pair.client.drain(pair.now);
        pair.server.feed(&octets, pair.now);
        let octets = pair.server.drain(pair.now);
        told += flows(&octets).len();
        pair.client.feed(&octets, pair.now);
        assert!(pair.client.engine.credit(link) > 0, "round {round}");
        assert!(pair.client.engine.credit(link) <= 10, "round {round}");
    }
    assert_eq!(told, 20, "one Flow per five deliveries");
}

#[test]
fn small_credits_are_replenished_one_by_one() {
    let (mut pair, link, peer) = linked(0, true);
    for grant in 1..4 {
        pair.server.engine.grant(peer, grant);
        pair.pump();
        for _ in 0..10 {
            send(&mut pair, link);
            pair.pump();
            pair.server.engine.add_credit(peer, 1);
            pair.pump();
            assert!(pair.client.engine.credit(link) > 0);
        }
    }
    // Without any grant, what is added is told at once.
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.add_credit(peer, 3);
    pair.pump();
    assert_eq!(pair.client.engine.credit(link), 3);
}

#[test]
fn grant_is_absolute_and_several_calls_make_one_flow() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 100);
    pair.server.engine.grant(peer, 7);
    pair.server.engine.grant(peer, 8);
    let octets = pair.server.drain(pair.now);
    let [flow] = &flows(&octets)[..] else {
        panic!()
    };
    assert_eq!(
        (flow.handle, flow.delivery_count, flow.link_credit),
        (Some(0), Some(0), Some(8))
    );
    pair.client.feed(&octets, pair.now);
    assert_eq!(pair.client.event(), Event::Credit { link });
    send(&mut pair, link);
    pair.pump();
    pair.server.engine.grant(peer, 0);
    pair.pump();
    assert_eq!(pair.client.engine.credit(link), 0);
}

#[test]
fn credit_counts_from_what_the_receiver_had_seen() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 5);
    pair.pump();
    // The server's Flow and three deliveries cross.
    pair.server.engine.grant(peer, 10);
    let crossing = pair.server.drain(pair.now);
    for _ in 0..3 {
        send(&mut pair, link);
    }
    pair.client.feed(&crossing, pair.now);
    assert_eq!(pair.client.engine.credit(link), 7);
    pair.pump();
    assert_eq!(pair.server.engine.credit(peer), 7);
}

#[test]
fn drain_returns_the_unused_credit() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 10);
    pair.pump();
    pair.client.events.clear();
    send(&mut pair, link);
    pair.server.engine.drain(peer);
    pair.pump();
    assert_eq!(pair.client.event(), Event::Drain { link });
    assert_eq!(pair.client.engine.credit(link), 9, "it may still be used");
    send(&mut pair, link);
    pair.client.engine.drained(link);
    pair.client.engine.drained(link);
    assert_eq!(pair.client.engine.credit(link), 0);
    pair.pump();
    assert_eq!(pair.server.engine.credit(peer), 0);
    // New credit ends the drain.
    pair.client.events.clear();
    pair.server.engine.grant(peer, 4);
    pair.pump();
    assert_eq!(pair.client.event(), Event::Credit { link });
    pair.client.no_events();
    assert_eq!(pair.client.engine.credit(link), 4);
    for _ in 0..4 {
        send(&mut pair, link);
    }
    pair.pump();
    assert_eq!(pair.server.engine.credit(peer), 0);
    assert_eq!(pair.server.error, None);
    // Nobody asked for a drain now.
    pair.server.engine.grant(peer, 4);
    pair.pump();
    pair.client.engine.drained(link);
    assert_eq!(pair.client.engine.credit(link), 4);
}

#[test]
fn drained_spares_the_credit_of_a_started_delivery() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 3);
    pair.pump();
    let delivery = pair.client.engine.start_delivery(link, b"t", true).unwrap();
    pair.server.engine.drain(peer);
    pair.pump();
    pair.client.engine.drained(link);
    pair.client
        .engine
        .send(delivery, &mut body(&[b"x"]), true, PLENTY);
    pair.pump();
    assert_eq!(pair.server.engine.credit(peer), 0);
    assert_eq!(pair.server.error, None);
}

#[test]
fn closed_window_stops_sending_until_it_opens() {
    let (mut pair, link, peer) = linked(4, true);
    pair.server.engine.grant(peer, 100);
    pair.pump();
    pair.client.events.clear();
    let session = pair.client.engine.link_session(link);
    let delivery = pair
        .client
        .engine
        .start_delivery(link, b"t", false)
        .unwrap();
    let mut parts = body(&[&[9; 100_000]]);
    let mut waits = 0;
    while pair.client.engine.send(delivery, &mut parts, true, PLENTY) == Sent::WindowClosed {
        assert!(pair.client.engine.session_blocked(session));
        pair.pump();
        assert_eq!(pair.client.event(), Event::WindowOpened { session });
        pair.client.no_events();
        waits += 1;
    }
    pair.pump();
    assert!(waits >= 1);
    let received: usize = pair
        .server
        .events
        .iter()
        .map(|event| match event {
            Event::Transfer { payload, .. } => payload.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(received, 100_000);
    assert_eq!(pair.server.error, None);
}

#[test]
fn window_of_one_works() {
    let (mut pair, link, peer) = linked(1, true);
    pair.server.engine.grant(peer, 10);
    pair.pump();
    for _ in 0..5 {
        send(&mut pair, link);
        assert!(pair.client.engine.session_blocked(SessionId(0)));
        pair.pump();
        assert!(!pair.client.engine.session_blocked(SessionId(0)));
    }
}

#[test]
fn application_releases_the_window() {
    let (mut pair, link, peer) = linked(6, false);
    let session = pair.server.engine.link_session(peer);
    pair.server.engine.grant(peer, 100);
    pair.pump();
    for _ in 0..6 {
        send(&mut pair, link);
    }
    pair.pump();
    assert_eq!(pair.server.events.len(), 6);
    // Nothing is consumed, so nothing more may come; a Flow for other reasons does not change that.
    pair.server.engine.grant(peer, 50);
    pair.pump();
    assert!(pair.client.engine.session_blocked(SessionId(0)));
    let delivery = pair.client.engine.start_delivery(link, b"t", true).unwrap();
    let mut parts = body(&[b"y"]);
    assert_eq!(
        pair.client.engine.send(delivery, &mut parts, true, PLENTY),
        Sent::WindowClosed
    );
    pair.server.engine.release_window(session, 2);
    assert!(pair.server.drain(pair.now).is_empty(), "less than half");
    pair.client.events.clear();
    pair.server.engine.release_window(session, 1);
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::WindowOpened {
            session: SessionId(0)
        }
    );
    assert_eq!(
        pair.client.engine.send(delivery, &mut parts, true, PLENTY),
        Sent::All
    );
    send(&mut pair, link);
    send(&mut pair, link);
    assert!(pair.client.engine.session_blocked(SessionId(0)));
    // More than was received cannot be released.
    pair.pump();
    pair.server.engine.release_window(session, u32::MAX);
    let octets = pair.server.drain(pair.now);
    assert_eq!(flows(&octets)[0].incoming_window, 6);
}

#[test]
fn held_frames_are_kept_from_the_window() {
    let (mut pair, link, peer) = linked(8, true);
    let session = pair.server.engine.link_session(peer);
    pair.server.engine.grant(peer, 100);
    pair.pump();
    // One delivery after the other is held: what is left of the window shrinks, and is told again when half is used.
    for held in 1..8 {
        send(&mut pair, link);
        let octets = pair.client.drain(pair.now);
        pair.server.feed(&octets, pair.now);
        pair.server.engine.hold_window(session, 1);
        assert_eq!(pair.server.engine.is_window_held(session), held >= 4);
        pair.pump();
        assert!(!pair.client.engine.session_blocked(SessionId(0)), "{held}");
    }
    // What is not held is taken over and over.
    for _ in 0..5 {
        send(&mut pair, link);
        pair.pump();
    }
    send(&mut pair, link);
    let octets = pair.client.drain(pair.now);
    pair.server.feed(&octets, pair.now);
    pair.server.engine.hold_window(session, 1);
    pair.pump();
    assert!(pair.client.engine.session_blocked(SessionId(0)));
    pair.server.engine.grant(peer, 100);
    pair.pump();
    assert!(pair.client.engine.session_blocked(SessionId(0)));
    pair.server.engine.release_window(session, 1);
    let octets = pair.server.drain(pair.now);
    assert_eq!(flows(&octets)[0].incoming_window, 1);
    pair.server.engine.release_window(session, u32::MAX);
    let octets = pair.server.drain(pair.now);
    assert_eq!(flows(&octets)[0].incoming_window, 8);
}

#[test]
fn window_is_reopened_at_half_with_one_flow() {
    let (mut pair, link, peer) = linked(100, true);
    pair.server.engine.grant(peer, 1000);
    pair.pump();
    let mut told = 0;
    for _ in 0..500 {
        send(&mut pair, link);
        let octets = pair.client.drain(pair.now);
        pair.server.feed(&octets, pair.now);
        let octets = pair.server.drain(pair.now);
        told += flows(&octets).len();
        pair.client.feed(&octets, pair.now);
    }
    assert_eq!(told, 10);
}

#[test]
fn last_frames_of_given_up_deliveries_wait_for_the_window() {
    let (mut pair, link, peer) = linked(2, false);
    let session = pair.server.engine.link_session(peer);
    pair.server.engine.grant(peer, 100);
    pair.pump();
    let stream = pair
        .client
        .engine
        .start_delivery(link, b"t", false)
        .unwrap();
    for _ in 0..2 {
        pair.client
            .engine
            .send(stream, &mut body(&[b"x"]), false, PLENTY);
    }
    pair.client.engine.abort(stream);
    pair.client.engine.abort(stream);
    // The link is taken until the abort is out.
    assert!(
        pair.client
            .engine
            .start_delivery(link, b"u", false)
            .is_err()
    );
    pair.pump();
    assert_eq!(pair.server.events.len(), 2);
    pair.server.events.clear();
    pair.server.engine.release_window(session, 2);
    pair.pump();
    assert!(matches!(
        pair.server.event(),
        Event::Transfer { aborted: true, .. }
    ));
    assert!(pair.client.engine.start_delivery(link, b"u", false).is_ok());
}

#[test]
fn echo_is_answered() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 9);
    pair.pump();
    send(&mut pair, link);
    pair.pump();
    let session_echo = Flow {
        incoming_window: 5,
        outgoing_window: 5,
        echo: true,
        ..Flow::default()
    };
    pair.client.feed(&flow_frame(&session_echo), pair.now);
    let [flow] = &flows(&pair.client.drain(pair.now))[..] else {
        panic!()
    };
    assert_eq!(
        (flow.handle, flow.next_outgoing_id, flow.next_incoming_id),
        (None, 1, Some(0))
    );
    let link_echo = Flow {
        handle: Some(0),
        ..session_echo
    };
    pair.client.feed(&flow_frame(&link_echo), pair.now);
    let [flow] = &flows(&pair.client.drain(pair.now))[..] else {
        panic!()
    };
    assert_eq!(
        (flow.handle, flow.delivery_count, flow.link_credit),
        (Some(0), Some(1), Some(8))
    );
}

#[test]
fn windows_of_the_peer_count_what_it_had_not_seen() {
    let (mut pair, link, peer) = linked(0, true);
    pair.server.engine.grant(peer, 9);
    pair.pump();
    for _ in 0..3 {
        send(&mut pair, link);
    }
    let flow = |next_incoming_id, incoming_window| Flow {
        next_incoming_id,
        incoming_window,
        ..Flow::default()
    };
    for (next_incoming_id, window, blocked) in [
        (Some(0), 3, true),
        (Some(0), 4, false),
        (None, 2, true),
        (Some(3), 0, true),
        (Some(3), 1, false),
        // An id that was never sent.
        (Some(7), 1, false),
        (Some(0), u32::MAX, false),
    ] {
        pair.client
            .feed(&flow_frame(&flow(next_incoming_id, window)), pair.now);
        assert_eq!(
            pair.client.engine.session_blocked(SessionId(0)),
            blocked,
            "{next_incoming_id:?} {window}"
        );
    }
}

#[test]
fn abort_that_waits_for_the_window_dies_with_its_link() {
    let (mut pair, link, peer) = linked(1, false);
    let session = pair.server.engine.link_session(peer);
    pair.server.engine.grant(peer, 10);
    let other = pair
        .client
        .engine
        .attach(SessionId(0), sender("other"))
        .unwrap();
    pair.pump();
    let Event::Attached {
        link: other_peer,
        attach,
        ..
    } = pair.server.event()
    else {
        panic!()
    };
    pair.server.engine.accept(other_peer, *attach);
    pair.server.engine.grant(other_peer, 10);
    pair.pump();
    let stream = pair
        .client
        .engine
        .start_delivery(link, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(stream, &mut body(&[b"x"]), false, PLENTY);
    pair.client.engine.abort(stream);
    pair.client.engine.detach(link, true, None);
    pair.pump();
    pair.server.engine.detach(peer, true, None);
    pair.pump();
    // The key serves another delivery, which must not be taken for the aborted one.
    let next = pair
        .client
        .engine
        .start_delivery(other, b"u", false)
        .unwrap();
    assert_eq!(next, stream);
    pair.server.events.clear();
    pair.server.engine.release_window(session, 1);
    pair.pump();
    pair.server.no_events();
    assert_eq!(
        pair.client
            .engine
            .send(next, &mut body(&[b"y"]), true, PLENTY),
        Sent::All
    );
    pair.pump();
    assert!(matches!(
        pair.server.event(),
        Event::Transfer {
            aborted: false,
            more: false,
            ..
        }
    ));
}
