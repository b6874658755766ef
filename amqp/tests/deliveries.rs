//! Deliveries between two engines: frames, interleaving, outcomes, settlement, abort.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::collections::VecDeque;

use amqp::engine::{DeliveryKey, EngineError, Event, LinkId, Sent, SessionId};
use amqp::frame::FrameHeader;
use amqp::performative::{Disposition, Performative, Transfer};
use amqp::{Bytes, Condition, DeliveryState};
use bytes::Buf as _;
use common::{Pair, body, config, sender};

const PLENTY: usize = usize::MAX;

struct Link {
    sender: LinkId,
    receiver: LinkId,
}

/// A pair with `count` links from client to server, each with credit.
fn linked(count: usize, credit: u32) -> (Pair, Vec<Link>) {
    linked_with(
        Pair::opened(config("client"), config("server")),
        count,
        credit,
    )
}

fn linked_with(mut pair: Pair, count: usize, credit: u32) -> (Pair, Vec<Link>) {
    let session = pair.client.engine.begin();
    let names: Vec<String> = (0..count).map(|number| format!("link{number}")).collect();
    let senders: Vec<_> = names
        .iter()
        .map(|name| pair.client.engine.attach(session, sender(name)).unwrap())
        .collect();
    pair.pump();
    let mut receivers = Vec::new();
    while let Some(event) = pair.server.events.pop_front() {
        if let Event::Attached { link, attach, .. } = event {
            pair.server.engine.accept(link, *attach);
            pair.server.engine.grant(link, credit);
            receivers.push(link);
        }
    }
    pair.pump();
    pair.client.events.clear();
    let links = senders
        .into_iter()
        .zip(receivers)
        .map(|(sender, receiver)| Link { sender, receiver })
        .collect();
    (pair, links)
}

fn send_all(
    pair: &mut Pair,
    link: LinkId,
    tag: &[u8],
    settled: bool,
    octets: &[u8],
) -> DeliveryKey {
    let delivery = pair
        .client
        .engine
        .start_delivery(link, tag, settled)
        .unwrap();
    let sent = pair
        .client
        .engine
        .send(delivery, &mut body(&[octets]), true, PLENTY);
    assert_eq!(sent, Sent::All);
    delivery
}

/// One transfer event of the server: delivery, payload, and what `check` asserts.
fn transfer(pair: &mut Pair) -> (DeliveryKey, Bytes, bool, bool) {
    match pair.server.event() {
        Event::Transfer {
            delivery,
            payload,
            more,
            first,
            aborted: false,
            ..
        } => (delivery, payload, more, first),
        other => panic!("{other:?}"),
    }
}

/// The performatives in `octets`, with the lengths of their payloads.
fn performatives(mut octets: &[u8]) -> Vec<(Performative, usize)> {
    let mut found = Vec::new();
    while !octets.is_empty() {
        let header = FrameHeader::parse(octets).unwrap();
        let (frame, rest) = octets.split_at(header.size as usize);
        octets = rest;
        let (performative, len) = Performative::decode_slice(&frame[header.body_at..]).unwrap();
        found.push((performative, frame.len() - header.body_at - len));
    }
    found
}

fn dispositions(octets: &[u8]) -> Vec<Disposition> {
    performatives(octets)
        .into_iter()
        .filter_map(|(performative, _)| match performative {
            Performative::Disposition(disposition) => Some(disposition),
            _ => None,
        })
        .collect()
}

#[test]
fn unsettled_delivery_is_accepted() {
    let (mut pair, links) = linked(1, 10);
    let sent = send_all(&mut pair, links[0].sender, b"tag", false, b"hello");
    pair.pump();
    assert_eq!(
        pair.server.event(),
        Event::Transfer {
            link: links[0].receiver,
            delivery: DeliveryKey(0),
            first: true,
            payload: Bytes::from_static(b"hello"),
            more: false,
            settled: false,
            aborted: false,
            state: None,
        }
    );
    assert!(pair.server.engine.is_complete(DeliveryKey(0)));
    pair.server
        .engine
        .disposition(DeliveryKey(0), Some(DeliveryState::Accepted), true);
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::Disposition {
            delivery: sent,
            link: links[0].sender,
            state: Some(DeliveryState::Accepted),
            settled: true,
        }
    );
    pair.client.no_events();
    // Both keys are free.
    assert_eq!(
        pair.client
            .engine
            .start_delivery(links[0].sender, b"", true),
        Ok(sent)
    );
}

#[test]
fn all_outcomes_arrive_as_sent() {
    let (mut pair, links) = linked(1, 10);
    let annotations = vec![(amqp::Symbol::from("x").into(), amqp::Value::Long(5))];
    let outcomes = [
        (
            DeliveryState::Received {
                section_number: 1,
                section_offset: 2,
            },
            false,
        ),
        (
            DeliveryState::Rejected(Some(Condition::new("my:cond", "my descr"))),
            true,
        ),
        (DeliveryState::Rejected(None), true),
        (DeliveryState::Released, true),
        (
            DeliveryState::Modified {
                delivery_failed: true,
                undeliverable_here: true,
                annotations,
            },
            true,
        ),
        (DeliveryState::Accepted, false),
    ];
    for (state, settled) in outcomes {
        let sent = send_all(&mut pair, links[0].sender, b"t", false, b"x");
        pair.pump();
        let (delivery, ..) = transfer(&mut pair);
        pair.server
            .engine
            .disposition(delivery, Some(state.clone()), settled);
        pair.pump();
        let expected = Event::Disposition {
            delivery: sent,
            link: links[0].sender,
            state: Some(state),
            settled,
        };
        assert_eq!(pair.client.event(), expected);
    }
}

#[test]
fn presettled_deliveries_need_no_answer_and_leave_nothing() {
    let (mut pair, links) = linked(1, 1000);
    for round in 0..100 {
        let sent = send_all(&mut pair, links[0].sender, b"t", true, b"x");
        assert_eq!(sent, DeliveryKey(0), "round {round}");
        pair.pump();
        let Event::Transfer {
            delivery,
            settled: true,
            ..
        } = pair.server.event()
        else {
            panic!()
        };
        assert_eq!(delivery, DeliveryKey(0));
        pair.server
            .engine
            .disposition(delivery, Some(DeliveryState::Accepted), true);
        pair.pump();
        pair.client.no_events();
    }
}

#[test]
fn large_delivery_is_cut_into_full_frames() {
    let (mut pair, links) = linked(1, 1);
    let octets: Vec<u8> = (0..100_000u32)
        .map(|number| number.to_be_bytes()[3])
        .collect();
    let delivery = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"12345678", false)
        .unwrap();
    let mut parts = body(&[&octets[..1], &octets[1..40_000], b"", &octets[40_000..]]);
    assert_eq!(
        pair.client.engine.send(delivery, &mut parts, true, PLENTY),
        Sent::All
    );
    assert!(parts.is_empty());
    let sent = pair.client.drain(pair.now);
    let frames = performatives(&sent);
    assert_eq!(
        frames.iter().map(|(_, payload)| payload).sum::<usize>(),
        octets.len()
    );
    let mut at = 0;
    for (index, (frame, _)) in frames.iter().enumerate() {
        let Performative::Transfer(transfer) = frame else {
            panic!("{frame:?}")
        };
        let last = index + 1 == frames.len();
        // Every frame repeats what names the delivery, as C routers do; `more` is absent on the last.
        assert_eq!(transfer.delivery_id, Some(0));
        assert_eq!(transfer.delivery_tag.unwrap().as_slice(), b"12345678");
        assert_eq!(
            (transfer.message_format, transfer.settled, transfer.more),
            (Some(0), None, !last)
        );
        let size = FrameHeader::parse(&sent[at..]).unwrap().size;
        assert!(last || size == 16_384, "frame of {size}");
        at += size as usize;
    }
    pair.server.feed(&sent, pair.now);
    let mut received = Vec::new();
    loop {
        let (_, payload, more, first) = transfer(&mut pair);
        assert_eq!(first, received.is_empty());
        received.extend_from_slice(&payload);
        if !more {
            break;
        }
    }
    assert!(received == octets);
}

#[test]
fn body_that_just_fits_takes_one_frame() {
    let (mut pair, links) = linked(1, 10);
    // 8 header, 6 to the fields, handle, id (2 after the first), tag, format.
    for (len, frames) in [
        (16_384 - 8 - 6 - 1 - 1 - 3 - 1, 1),
        (16_384 - 8 - 6 - 1 - 2 - 3 - 1 + 1, 2),
    ] {
        send_all(&mut pair, links[0].sender, b"t", true, &vec![7; len - 1]);
        let sent = pair.client.drain(pair.now);
        assert_eq!(performatives(&sent).len(), frames, "body of {len}");
        pair.server.feed(&sent, pair.now);
        assert_eq!(pair.server.error, None);
    }
}

#[test]
fn streamed_deliveries_of_several_links_interleave() {
    let (mut pair, links) = linked(3, 1);
    pair.fragment = 11;
    let deliveries: Vec<_> = links
        .iter()
        .map(|link| {
            pair.client
                .engine
                .start_delivery(link.sender, b"stream", false)
                .unwrap()
        })
        .collect();
    let mut received: Vec<Vec<u8>> = vec![Vec::new(); 3];
    let mut complete = [false; 3];
    for round in 0..5u8 {
        for (index, delivery) in deliveries.iter().enumerate() {
            let part = vec![round * 10 + u8::try_from(index).unwrap(); 700];
            let end = round == 4 && index != 1;
            assert_eq!(
                pair.client
                    .engine
                    .send(*delivery, &mut body(&[&part]), end, PLENTY),
                Sent::All
            );
        }
        pair.pump();
        while let Some(event) = pair.server.events.pop_front() {
            let Event::Transfer {
                link,
                payload,
                more,
                ..
            } = event
            else {
                panic!("{event:?}")
            };
            let index = links
                .iter()
                .position(|candidate| candidate.receiver == link)
                .unwrap();
            received[index].extend_from_slice(&payload);
            complete[index] = !more;
        }
    }
    assert_eq!(complete, [true, false, true]);
    assert!(!pair.client.engine.is_complete(deliveries[1]));
    // An empty last frame ends the third stream.
    assert_eq!(
        pair.client
            .engine
            .send(deliveries[1], &mut VecDeque::new(), true, PLENTY),
        Sent::All
    );
    pair.pump();
    let (_, payload, more, _) = transfer(&mut pair);
    assert_eq!((payload.len(), more), (0, false));
    for (index, octets) in received.iter().enumerate() {
        let expected: Vec<u8> = (0..5u8)
            .flat_map(|round| vec![round * 10 + u8::try_from(index).unwrap(); 700])
            .collect();
        assert!(*octets == expected);
    }
}

#[test]
fn ids_follow_the_first_frames_not_the_starts() {
    let (mut pair, links) = linked(2, 2);
    let late = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"late", false)
        .unwrap();
    let early = send_all(&mut pair, links[1].sender, b"early", false, b"1");
    assert_eq!(
        pair.client
            .engine
            .send(late, &mut body(&[b"2"]), true, PLENTY),
        Sent::All
    );
    let ids: Vec<_> = performatives(&pair.client.drain(pair.now))
        .into_iter()
        .map(|(performative, _)| match performative {
            Performative::Transfer(Transfer {
                delivery_id,
                delivery_tag,
                ..
            }) => (
                delivery_id.unwrap(),
                delivery_tag.unwrap().as_slice().to_vec(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [(0, b"early".to_vec()), (1, b"late".to_vec())]);
    assert_ne!(early, late);
}

#[test]
fn one_link_carries_one_delivery_at_a_time() {
    let (mut pair, links) = linked(1, 5);
    let engine = &mut pair.client.engine;
    let delivery = engine.start_delivery(links[0].sender, b"a", false).unwrap();
    assert_eq!(engine.credit(links[0].sender), 4, "taken at the start");
    assert_eq!(
        engine.start_delivery(links[0].sender, b"b", false),
        Err(EngineError::DeliveryInProgress)
    );
    engine.send(delivery, &mut body(&[b"x"]), true, PLENTY);
    assert_eq!(engine.credit(links[0].sender), 4);
    assert!(engine.start_delivery(links[0].sender, b"b", false).is_ok());
    assert_eq!(
        engine.start_delivery(links[0].sender, &[0; 33], false),
        Err(EngineError::DeliveryInProgress)
    );
}

#[test]
fn deliveries_need_credit_a_sender_and_a_short_tag() {
    let (mut pair, links) = linked(1, 1);
    let engine = &mut pair.client.engine;
    assert_eq!(
        engine.start_delivery(links[0].sender, &[0; 33], false),
        Err(EngineError::TagTooLong)
    );
    let delivery = engine
        .start_delivery(links[0].sender, &[0; 32], false)
        .unwrap();
    engine.send(delivery, &mut body(&[b"x"]), true, PLENTY);
    assert_eq!(
        engine.start_delivery(links[0].sender, b"", false),
        Err(EngineError::NoCredit)
    );
    pair.pump();
    let error = pair
        .server
        .engine
        .start_delivery(links[0].receiver, b"", false);
    assert_eq!(error, Err(EngineError::NotSender));
    pair.client.engine.detach(links[0].sender, true, None);
    let error = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"", false);
    assert_eq!(error, Err(EngineError::NotAttached));
    pair.client.engine.close(None);
    let error = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"", false);
    assert_eq!(error, Err(EngineError::Closed));
}

#[test]
fn budget_stops_framing_until_the_queue_is_drained() {
    let (mut pair, links) = linked(1, 1);
    let delivery = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    let mut parts = body(&[&[1; 100_000]]);
    assert_eq!(
        pair.client.engine.send(delivery, &mut parts, true, 20_000),
        Sent::Budget
    );
    let queued = pair.client.engine.transmit().remaining();
    assert!((20_000..20_000 + 16_384).contains(&queued), "{queued}");
    assert_eq!(
        pair.client.engine.send(delivery, &mut parts, true, 20_000),
        Sent::Budget
    );
    assert_eq!(
        pair.client.engine.send(delivery, &mut parts, true, queued),
        Sent::Budget
    );
    assert_eq!(pair.client.engine.transmit().remaining(), queued);
    let mut rounds = 1;
    while pair.client.engine.send(delivery, &mut parts, true, 20_000) == Sent::Budget {
        pair.pump();
        rounds += 1;
    }
    pair.pump();
    assert!(rounds > 3);
    let received: usize = (0..pair.server.events.len())
        .map(|_| transfer(&mut pair).1.len())
        .sum();
    assert_eq!(received, 100_000);
}

#[test]
fn payloads_are_neither_copied_nor_split_needlessly() {
    let (mut pair, links) = linked(1, 2);
    let delivery = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    let part = Bytes::from(vec![5; 10_000]);
    pair.client
        .engine
        .send(delivery, &mut VecDeque::from([part.clone()]), true, PLENTY);
    let transmit = pair.client.engine.transmit();
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    assert_eq!(transmit.chunks_vectored(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), part.as_ptr());

    // On the other side the payload is a slice of the input.
    let mut input = amqp::BytesMut::new();
    input.extend_from_slice(&transmit.copy_to_bytes(transmit.remaining()));
    let range = input.as_ptr_range();
    pair.server.engine.receive(&mut input, pair.now).unwrap();
    let Some(Event::Transfer { payload, .. }) = pair.server.engine.poll_event() else {
        panic!()
    };
    assert!(range.contains(&payload.as_ptr()));
}

#[test]
fn dispositions_of_consecutive_deliveries_share_a_frame() {
    let (mut pair, links) = linked(1, 20);
    let sent: Vec<_> = (0..10)
        .map(|number| send_all(&mut pair, links[0].sender, &[number], false, b"x"))
        .collect();
    pair.pump();
    let received: Vec<_> = (0..10).map(|_| transfer(&mut pair).0).collect();
    // 0–3 accepted, 4 released, 6–7 accepted, then 5, 9 and 8.
    for index in [0, 1, 2, 3, 4, 6, 7, 5, 9, 8] {
        let state = if index == 4 {
            DeliveryState::Released
        } else {
            DeliveryState::Accepted
        };
        pair.server
            .engine
            .disposition(received[index], Some(state), true);
    }
    let octets = pair.server.drain(pair.now);
    let ranges: Vec<_> = dispositions(&octets)
        .iter()
        .map(|frame| (frame.first, frame.last))
        .collect();
    assert_eq!(
        ranges,
        [
            (0, Some(3)),
            (4, None),
            (6, Some(7)),
            (5, None),
            (9, None),
            (8, None)
        ]
    );
    pair.client.feed(&octets, pair.now);
    let settled: Vec<_> = (0..10)
        .map(|_| match pair.client.event() {
            Event::Disposition {
                delivery,
                settled: true,
                ..
            } => delivery,
            other => panic!("{other:?}"),
        })
        .collect();
    let order: Vec<_> = [0, 1, 2, 3, 4, 6, 7, 5, 9, 8]
        .map(|index| sent[index])
        .to_vec();
    assert_eq!(settled, order);
}

/// A Disposition frame on channel 0, as some other receiver might send it.
fn disposition_frame(disposition: &Disposition) -> Vec<u8> {
    let mut performative = amqp::BytesMut::new();
    disposition.encode(&mut performative);
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
fn ranges_settle_what_exists_and_ignore_the_rest() {
    let (mut pair, links) = linked(1, 20);
    let sent: Vec<_> = (0..6u8)
        .map(|number| send_all(&mut pair, links[0].sender, &[number], number % 3 == 2, b"x"))
        .collect();
    pair.client.drain(pair.now);
    let settle = |first, last| {
        disposition_frame(&Disposition {
            role: amqp::Role::Receiver,
            first,
            last,
            settled: true,
            state: Some(DeliveryState::Accepted),
            ..Disposition::default()
        })
    };
    // Reaches before the first id and past the last, over presettled ones, at no cost per missing id.
    pair.client.feed(&settle(1, Some(0x7fff_ffff)), pair.now);
    let keys: Vec<_> = pair
        .client
        .events
        .drain(..)
        .map(|event| match event {
            Event::Disposition { delivery, .. } => delivery,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [sent[1], sent[3], sent[4]]);
    for forgotten in [
        settle(1, Some(5)),
        settle(3, None),
        settle(77, Some(78)),
        settle(5, Some(4)),
    ] {
        pair.client.feed(&forgotten, pair.now);
        assert_eq!(pair.client.error, None);
        pair.client.no_events();
    }
    pair.client.feed(&settle(u32::MAX - 5, Some(0)), pair.now);
    assert!(
        matches!(pair.client.event(), Event::Disposition { delivery, .. } if delivery == sent[0])
    );
}

#[test]
fn receiver_settles_second() {
    let (mut pair, links) = linked(1, 5);
    let sent = send_all(&mut pair, links[0].sender, b"t", false, b"x");
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.server
        .engine
        .disposition(received, Some(DeliveryState::Accepted), false);
    pair.pump();
    assert!(matches!(
        pair.client.event(),
        Event::Disposition { settled: false, .. }
    ));
    pair.client
        .engine
        .disposition(sent, Some(DeliveryState::Accepted), true);
    pair.pump();
    assert_eq!(
        pair.server.event(),
        Event::Disposition {
            delivery: received,
            link: links[0].receiver,
            state: Some(DeliveryState::Accepted),
            settled: true,
        }
    );
    // It is over for both; answers go nowhere.
    pair.server.engine.disposition(received, None, true);
    pair.client.engine.disposition(sent, None, true);
    pair.pump();
    pair.client.no_events();
    pair.server.no_events();
}

#[test]
fn stream_settled_early_goes_on_until_its_end() {
    let (mut pair, links) = linked(1, 5);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(sent, &mut body(&[b"one"]), false, PLENTY);
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.server
        .engine
        .disposition(received, Some(DeliveryState::Released), true);
    pair.pump();
    let Event::Disposition { settled: true, .. } = pair.client.event() else {
        panic!()
    };
    // Neither key is reused yet.
    pair.client
        .engine
        .send(sent, &mut body(&[b"two"]), false, PLENTY);
    pair.pump();
    assert_eq!(transfer(&mut pair).0, received);
    pair.client.engine.abort(sent);
    pair.pump();
    let Event::Transfer {
        delivery,
        aborted: true,
        ..
    } = pair.server.event()
    else {
        panic!()
    };
    assert_eq!(delivery, received);
    assert_eq!(
        pair.client
            .engine
            .start_delivery(links[0].sender, b"u", false),
        Ok(sent)
    );
}

#[test]
fn aborted_delivery_is_gone_at_both_ends() {
    let (mut pair, links) = linked(1, 5);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(sent, &mut body(&[b"part"]), false, PLENTY);
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.client.engine.abort(sent);
    let octets = pair.client.drain(pair.now);
    let [(Performative::Transfer(frame), 0)] = &performatives(&octets)[..] else {
        panic!()
    };
    assert_eq!(
        (frame.aborted, frame.settled, frame.more),
        (true, Some(true), false)
    );
    assert_eq!(frame.delivery_tag.unwrap().as_slice(), b"t");
    pair.server.feed(&octets, pair.now);
    let event = pair.server.event();
    assert!(
        matches!(event, Event::Transfer { delivery, aborted: true, more: false, .. } if delivery == received)
    );
    pair.server
        .engine
        .disposition(received, Some(DeliveryState::Released), true);
    assert!(
        pair.server.drain(pair.now).is_empty(),
        "an aborted delivery is not answered"
    );
    // The link goes on.
    send_all(&mut pair, links[0].sender, b"u", false, b"next");
    pair.pump();
    assert_eq!(&transfer(&mut pair).1[..], b"next");
}

#[test]
fn abort_before_the_first_frame_sends_nothing_and_returns_the_credit() {
    let (mut pair, links) = linked(1, 1);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    assert_eq!(pair.client.engine.credit(links[0].sender), 0);
    pair.client.engine.abort(sent);
    assert_eq!(pair.client.engine.credit(links[0].sender), 1);
    assert!(pair.client.drain(pair.now).is_empty());
    assert!(
        pair.client
            .engine
            .start_delivery(links[0].sender, b"t", false)
            .is_ok()
    );
}

#[test]
fn finish_settled_ends_and_settles_in_one_frame() {
    let (mut pair, links) = linked(1, 5);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(sent, &mut body(&[b"part"]), false, PLENTY);
    pair.client.engine.finish_settled(sent);
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    let event = pair.server.event();
    assert!(
        matches!(event, Event::Transfer { delivery, settled: true, more: false, aborted: false, .. } if delivery == received)
    );
    pair.server
        .engine
        .disposition(received, Some(DeliveryState::Accepted), true);
    assert!(pair.server.drain(pair.now).is_empty());
    // A complete delivery is settled by a disposition instead.
    let sent = send_all(&mut pair, links[0].sender, b"u", false, b"x");
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.client.engine.finish_settled(sent);
    pair.pump();
    let event = pair.server.event();
    assert!(
        matches!(event, Event::Disposition { delivery, settled: true, state: None, .. } if delivery == received)
    );
}

#[test]
fn peers_detach_stops_a_stream() {
    let (mut pair, links) = linked(1, 5);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(sent, &mut body(&[b"part"]), false, PLENTY);
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.server.engine.detach(
        links[0].receiver,
        true,
        Some(Condition::new("amqp:not-found", "gone")),
    );
    // Frames on their way when the peer detaches are dropped by it.
    pair.client
        .engine
        .send(sent, &mut body(&[b"more"]), false, PLENTY);
    pair.pump();
    pair.server.no_events();
    assert!(matches!(
        pair.client.event(),
        Event::Detached { error: Some(_), .. }
    ));
    let mut rest = body(&[b"rest"]);
    assert_eq!(
        pair.client.engine.send(sent, &mut rest, true, PLENTY),
        Sent::All
    );
    assert!(rest.is_empty() && pair.client.drain(pair.now).is_empty());
    pair.client.engine.abort(sent);
    pair.client.engine.detach(links[0].sender, true, None);
    pair.pump();
    pair.server.engine.disposition(received, None, true);
    assert!(matches!(pair.server.event(), Event::Detached { .. }));
    assert_eq!(
        (pair.client.error.take(), pair.server.error.take()),
        (None, None)
    );
}

#[test]
fn own_detach_lets_the_rest_of_a_stream_pass_unseen() {
    let (mut pair, links) = linked(2, 5);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(sent, &mut body(&[b"part"]), false, PLENTY);
    pair.pump();
    pair.server.events.clear();
    pair.server.engine.detach(links[0].receiver, true, None);
    pair.client
        .engine
        .send(sent, &mut body(&[b"rest"]), true, PLENTY);
    send_all(&mut pair, links[0].sender, b"u", false, b"another");
    send_all(&mut pair, links[1].sender, b"v", false, b"other link");
    pair.pump();
    assert_eq!(&transfer(&mut pair).1[..], b"other link");
    pair.server.no_events();
    assert_eq!(pair.server.error, None);
}

#[test]
fn settled_deliveries_of_a_detached_link_are_not_told() {
    let (mut pair, links) = linked(1, 5);
    send_all(&mut pair, links[0].sender, b"t", false, b"x");
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.client.engine.detach(links[0].sender, true, None);
    pair.pump();
    pair.server
        .engine
        .disposition(received, Some(DeliveryState::Accepted), true);
    let sent = pair.server.drain(pair.now);
    assert_eq!(dispositions(&sent), []);
}

#[test]
fn too_many_unsettled_deliveries_are_held_back() {
    let mut config_ = config("client");
    config_.max_unsettled = 2;
    let (mut pair, links) = linked_with(Pair::opened(config_, config("server")), 1, 10);
    let first = send_all(&mut pair, links[0].sender, b"1", false, b"x");
    send_all(&mut pair, links[0].sender, b"2", false, b"x");
    let error = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"3", false);
    assert_eq!(error, Err(EngineError::TooManyUnsettled));
    send_all(
        &mut pair,
        links[0].sender,
        b"3",
        true,
        b"settled ones are not held",
    );
    pair.pump();
    pair.client.engine.disposition(first, None, true);
    assert!(
        pair.client
            .engine
            .start_delivery(links[0].sender, b"4", false)
            .is_ok()
    );
}

#[test]
fn delivery_links_are_known() {
    let (mut pair, links) = linked(2, 10);
    let sent = send_all(&mut pair, links[1].sender, b"t", false, b"x");
    assert_eq!(
        pair.client.engine.delivery_link(sent),
        Some(links[1].sender)
    );
    assert_eq!(pair.client.engine.delivery_link(DeliveryKey(9)), None);
    assert_eq!(
        pair.client.engine.link_session(links[1].sender),
        SessionId(0)
    );
}

#[test]
fn larger_frames_by_agreement() {
    let (mut pair, links) = linked(1, 1);
    assert_eq!(pair.client.engine.transmit_frame_size(), 16_384);
    pair.client.engine.set_transmit_frame_size(1 << 20);
    pair.server.engine.set_receive_frame_limit(1 << 20);
    send_all(&mut pair, links[0].sender, b"t", true, &vec![1; 1 << 19]);
    pair.pump();
    let (_, payload, more, _) = transfer(&mut pair);
    assert_eq!((payload.len(), more), (1 << 19, false));
}

#[test]
fn own_frame_limit_is_kept_below_the_peers() {
    let mut small = config("client");
    small.transmit_frame_limit = Some(1000);
    let (mut pair, links) = linked_with(Pair::opened(small, config("server")), 1, 1);
    send_all(&mut pair, links[0].sender, b"t", true, &[1; 5000]);
    pair.pump();
    assert_eq!(pair.server.events.len(), 6);
}

#[test]
fn settlement_of_an_unfinished_stream_is_told_once() {
    let (mut pair, links) = linked(1, 5);
    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    pair.client
        .engine
        .send(sent, &mut body(&[b"part"]), false, PLENTY);
    pair.client.drain(pair.now);
    let settle = disposition_frame(&Disposition {
        role: amqp::Role::Receiver,
        settled: true,
        state: Some(DeliveryState::Released),
        ..Disposition::default()
    });
    pair.client.feed(&settle.repeat(2), pair.now);
    assert!(matches!(
        pair.client.event(),
        Event::Disposition { settled: true, .. }
    ));
    pair.client.no_events();
}

#[test]
fn key_settled_while_events_wait_is_not_reused_before_them() {
    let (mut pair, links) = linked(1, 5);
    // A link the other way, on which the server sends.
    let session = pair.server.engine.link_session(links[0].receiver);
    let back = pair.server.engine.attach(session, sender("back")).unwrap();
    pair.pump();
    let Event::Attached { link, attach, .. } = pair.client.event() else {
        panic!()
    };
    pair.client.engine.accept(link, *attach);
    pair.client.engine.grant(link, 10);
    pair.pump();
    pair.server.events.clear();

    let sent = pair
        .client
        .engine
        .start_delivery(links[0].sender, b"t", false)
        .unwrap();
    for end in [false, true] {
        pair.client
            .engine
            .send(sent, &mut body(&[b"part"]), end, PLENTY);
    }
    let octets = pair.client.drain(pair.now);
    // Not through the harness: the second event stays in the engine.
    pair.server
        .engine
        .receive(&mut amqp::BytesMut::from(&octets[..]), pair.now)
        .unwrap();
    let engine = &mut pair.server.engine;
    let Some(Event::Transfer {
        delivery,
        more: true,
        ..
    }) = engine.poll_event()
    else {
        panic!()
    };
    engine.disposition(delivery, Some(DeliveryState::Released), true);
    let other = engine.start_delivery(back, b"u", true).unwrap();
    assert_ne!(other, delivery);
    let Some(Event::Transfer {
        delivery: last,
        more: false,
        ..
    }) = engine.poll_event()
    else {
        panic!()
    };
    assert_eq!(last, delivery);
    engine.abort(other);
    assert_eq!(engine.poll_event(), None);
    assert_eq!(engine.load().deliveries, 0);
}

#[test]
fn collected_dispositions_go_out_before_the_session_ends() {
    let (mut pair, links) = linked(1, 5);
    let sent = send_all(&mut pair, links[0].sender, b"t", false, b"x");
    pair.pump();
    let (received, ..) = transfer(&mut pair);
    pair.server
        .engine
        .disposition(received, Some(DeliveryState::Accepted), true);
    pair.server.engine.end(SessionId(0), None);
    pair.pump();
    assert!(
        matches!(pair.client.event(), Event::Disposition { delivery, settled: true, .. } if delivery == sent)
    );
}

fn transactional(octets: usize) -> DeliveryState {
    DeliveryState::Other(amqp::Value::Described(Box::new(amqp::Described {
        descriptor: amqp::Value::Ulong(0x34),
        value: amqp::Value::List(vec![amqp::Value::Binary(Bytes::from(vec![5; octets]))]),
    })))
}

#[test]
fn what_is_told_before_the_first_frame_goes_with_it() {
    let mut smallest = config("server");
    smallest.open.max_frame_size = 512;
    let (mut pair, links) = linked_with(Pair::opened(config("client"), smallest), 1, 100);
    let longest = amqp::engine::FIRST_STATE_LIMIT - 17;
    for (len, settled, carried) in [
        (4, false, true),
        (4, true, true),
        (230, false, true),
        (longest, false, true),
        (longest, true, true),
        (longest + 1, false, false),
    ] {
        let engine = &mut pair.client.engine;
        let delivery = engine
            .start_delivery(links[0].sender, b"12345678", settled)
            .unwrap();
        engine.disposition(delivery, Some(DeliveryState::Accepted), false);
        engine.disposition(delivery, Some(transactional(len)), false);
        let octets = [3; 1000];
        assert_eq!(
            engine.send(delivery, &mut body(&[&octets]), true, PLENTY),
            Sent::All
        );
        pair.pump();
        let mut states = Vec::new();
        let mut arrived = 0;
        while let Some(event) = pair.server.events.pop_front() {
            let Event::Transfer {
                payload,
                state,
                settled: told,
                ..
            } = event
            else {
                panic!("{event:?}")
            };
            assert_eq!(told, settled, "{len}");
            arrived += payload.len();
            states.push(state);
        }
        assert_eq!(arrived, 1000, "{len}");
        assert!(states.len() >= 3, "{len}: {}", states.len());
        assert_eq!(states[0], carried.then(|| transactional(len)), "{len}");
        assert!(states[1..].iter().all(Option::is_none), "{len}");
        assert_eq!(pair.server.error, None);
    }
}
