//! What a peer may not do ends the connection with the right condition; what it may do, however odd, does not.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use amqp::engine::{Connection, ConnectionConfig, ConnectionError, Event, ServerSasl};
use amqp::frame::FrameHeader;
use amqp::performative::{
    Attach, Begin, Close, DeliveryTag, Detach, Disposition, End as EndSession, Flow, Open,
    Performative, Role, Transfer,
};
use amqp::{BytesMut, DeliveryState};
use common::{End, config, open, receiver, sender, unhex};

/// A server engine whose peer is played by hand.
struct Victim {
    end: End,
    now: std::time::Instant,
}

fn victim(config: ConnectionConfig) -> Victim {
    let now = std::time::Instant::now();
    let sasl = ServerSasl {
        required: false,
        ..ServerSasl::anonymous()
    };
    let mut victim = Victim {
        end: End::new(Connection::server(config, sasl, now)),
        now,
    };
    victim.end.feed(&unhex("414d515000010000"), now);
    victim
}

fn opened() -> Victim {
    opened_with(config("victim"))
}

fn opened_with(config: ConnectionConfig) -> Victim {
    let mut victim = victim(config);
    victim.send(0, Performative::Open(Box::new(open("peer"))));
    victim.end.engine.open(None);
    victim.end.drain(victim.now);
    victim.end.events.clear();
    victim
}

/// With a session on channel 0, one link each way (handles 0 and 1, accepted), and credit.
fn linked() -> Victim {
    linked_with(config("victim"))
}

fn linked_with(config: ConnectionConfig) -> Victim {
    let mut victim = opened_with(config);
    victim.send(0, begin());
    victim.send(0, attach(0, sender("up")));
    victim.send(0, attach(1, receiver("down")));
    victim.accept_all();
    victim
}

fn begin() -> Performative {
    let begin = Begin {
        incoming_window: 100,
        outgoing_window: 100,
        ..Begin::default()
    };
    Performative::Begin(Box::new(begin))
}

fn attach(handle: u32, attach: Attach) -> Performative {
    Performative::Attach(Box::new(Attach { handle, ..attach }))
}

fn transfer(id: u32) -> Transfer {
    Transfer {
        delivery_id: Some(id),
        delivery_tag: DeliveryTag::new(b"t"),
        ..Transfer::default()
    }
}

impl Victim {
    #[allow(clippy::needless_pass_by_value, reason = "callers build it in place")]
    fn send(&mut self, channel: u16, performative: Performative) {
        self.send_with(channel, &performative, b"");
    }

    fn send_with(&mut self, channel: u16, performative: &Performative, payload: &[u8]) {
        let mut body = BytesMut::new();
        performative.encode(&mut body);
        body.extend_from_slice(payload);
        let mut frame = u32::try_from(8 + body.len())
            .unwrap()
            .to_be_bytes()
            .to_vec();
        frame.extend_from_slice(&[2, 0]);
        frame.extend_from_slice(&channel.to_be_bytes());
        frame.extend_from_slice(&body);
        self.end.feed(&frame, self.now);
    }

    fn accept_all(&mut self) {
        for event in std::mem::take(&mut self.end.events) {
            if let Event::Attached { link, attach, .. } = event {
                self.end.engine.accept(link, *attach);
                if self.end.engine.link_role(link) == Role::Receiver {
                    self.end.engine.grant(link, 100);
                }
            }
        }
        self.end.drain(self.now);
    }

    /// The connection failed with this condition, and the peer is told.
    #[track_caller]
    fn assert_failed(mut self, condition: &str) {
        let error = self.end.error.take();
        let Some(ConnectionError::Protocol(error)) = error else {
            panic!("{error:?}, expected {condition}")
        };
        assert_eq!(error.condition, condition, "{error}");
        let sent = self.end.drain(self.now);
        let (last, _) = last_frame(&sent);
        assert_eq!(last, Performative::Close(Close { error: Some(error) }));
        assert!(self.end.engine.is_closed());
        // Nothing it hears afterwards matters.
        self.end.feed(&[0; 100], self.now);
        assert!(self.end.input.is_empty());
    }

    #[track_caller]
    fn assert_alive(&mut self) {
        assert_eq!(self.end.error, None);
        assert!(!self.end.engine.is_closed());
    }
}

/// The last frame of what was sent, after protocol headers.
fn last_frame(mut octets: &[u8]) -> (Performative, u16) {
    loop {
        if octets.starts_with(b"AMQP") {
            octets = &octets[8..];
        }
        let header = FrameHeader::parse(octets).unwrap();
        let (frame, rest) = octets.split_at(header.size as usize);
        if rest.is_empty() {
            return (
                Performative::decode_slice(&frame[header.body_at..])
                    .unwrap()
                    .0,
                header.channel,
            );
        }
        octets = rest;
    }
}

fn fails(mut victim: Victim, channel: u16, performative: Performative, condition: &str) {
    victim.send(channel, performative);
    victim.assert_failed(condition);
}

#[test]
fn frames_before_the_open_are_refused() {
    fails(
        victim(config("victim")),
        0,
        begin(),
        "amqp:connection:framing-error",
    );
    fails(
        victim(config("victim")),
        0,
        Performative::Close(Close::default()),
        "amqp:connection:framing-error",
    );
}

#[test]
fn second_open_is_refused() {
    fails(
        opened(),
        0,
        Performative::Open(Box::new(open("again"))),
        "amqp:not-allowed",
    );
}

#[test]
fn malformed_frames_are_refused() {
    for (octets, condition) in [
        // Data offset below the header, size below the data offset, unknown type.
        (
            "00000010 01000000 0000000000000000",
            "amqp:connection:framing-error",
        ),
        ("00000004 02000000", "amqp:connection:framing-error"),
        ("00000009 02010000 00", "amqp:connection:framing-error"),
        // No performative, a cut one, one of wrong types.
        ("00000009 02000000 40", "amqp:decode-error"),
        ("0000000b 02000000 005318", "amqp:connection:framing-error"),
        ("0000000f 02000000 005311 c0020141", "amqp:decode-error"),
        // One octet more than allowed.
        ("00004001 02000000", "amqp:connection:framing-error"),
    ] {
        let mut victim = opened();
        victim.end.feed(&unhex(octets), victim.now);
        victim.assert_failed(condition);
    }
}

#[test]
fn frame_size_limit_is_exact_and_changes_with_the_agreement() {
    let mut victim = opened();
    let mut frame = unhex("00004000 02000000 005318 45");
    frame.resize(0x4000, 0);
    victim.end.feed(&frame, victim.now);
    assert_eq!(victim.end.event(), Event::Closed { error: None });

    let mut victim = opened();
    victim.end.engine.set_receive_frame_limit(0x5000);
    victim.end.feed(&unhex("00005000 02000000"), victim.now);
    victim.assert_alive();
    victim.end.feed(&vec![0; 0x5000 - 8], victim.now);
    victim.assert_failed("amqp:decode-error");
}

#[test]
fn partial_frames_get_room_but_not_more_than_they_show() {
    let mut huge = config("victim");
    huge.open.max_frame_size = u32::MAX;
    let mut victim = opened_with(huge);
    victim.end.feed(&unhex("fffffff0 02000000"), victim.now);
    victim.assert_alive();
    assert!(victim.end.input.capacity() >= 1 << 19 && victim.end.input.capacity() <= 1 << 22);
}

#[test]
fn extended_headers_and_empty_frames_are_passed_over() {
    let mut victim = opened();
    victim.end.feed(
        &unhex("00000008 02000000 0000000c 03000000 aabbccdd 00000010 03000000 aabbccdd 00531845"),
        victim.now,
    );
    assert_eq!(victim.end.event(), Event::Closed { error: None });
    victim.end.no_events();
}

#[test]
fn unknown_channels_and_handles_are_refused() {
    fails(opened(), 3, attach(0, sender("s")), "amqp:not-allowed");
    fails(
        opened(),
        3,
        Performative::End(EndSession::default()),
        "amqp:not-allowed",
    );
    fails(
        linked(),
        0,
        Performative::Detach(Detach {
            handle: 5,
            ..Detach::default()
        }),
        "amqp:session:unattached-handle",
    );
    fails(
        linked(),
        0,
        Performative::Transfer(Transfer {
            handle: 5,
            ..transfer(0)
        }),
        "amqp:session:unattached-handle",
    );
    let flow = Flow {
        handle: Some(5),
        ..Flow::default()
    };
    fails(
        linked(),
        0,
        Performative::Flow(Box::new(flow)),
        "amqp:session:unattached-handle",
    );
}

#[test]
fn channels_and_handles_are_not_taken_twice() {
    fails(linked(), 0, begin(), "amqp:not-allowed");
    fails(
        linked(),
        0,
        attach(1, sender("other")),
        "amqp:session:handle-in-use",
    );
    fails(linked(), 0, attach(7, sender("up")), "amqp:invalid-field");
    let answer = Begin {
        remote_channel: Some(5),
        ..Begin::default()
    };
    fails(
        linked(),
        1,
        Performative::Begin(Box::new(answer)),
        "amqp:not-allowed",
    );
}

#[test]
fn channels_above_the_maximum_are_refused() {
    let mut narrow = config("victim");
    narrow.open.channel_max = 2;
    fails(
        opened_with(narrow),
        3,
        begin(),
        "amqp:connection:framing-error",
    );
}

#[test]
fn limits_on_sessions_and_links_are_kept() {
    let mut limited = config("victim");
    limited.max_sessions = 2;
    limited.max_links = 2;
    let mut victim = opened_with(limited.clone());
    victim.send(0, begin());
    victim.send(9, begin());
    victim.assert_alive();
    fails(victim, 2, begin(), "amqp:resource-limit-exceeded");
    fails(
        linked_with(limited),
        0,
        attach(2, sender("third")),
        "amqp:resource-limit-exceeded",
    );
}

#[test]
fn ended_sessions_and_detached_links_make_room() {
    let mut limited = config("victim");
    limited.max_sessions = 1;
    limited.max_links = 1;
    let mut victim = opened_with(limited);
    for round in 0..50 {
        victim.send(0, begin());
        for _ in 0..3 {
            victim.send(0, attach(round * 1000, sender("s")));
            victim.accept_all();
            victim.send(
                0,
                Performative::Detach(Detach {
                    handle: round * 1000,
                    closed: true,
                    error: None,
                }),
            );
            let Event::Detached { link, .. } = victim.end.event() else {
                panic!()
            };
            victim.end.engine.detach(link, true, None);
        }
        victim.send(0, attach(1, sender("left attached")));
        victim.send(0, Performative::End(EndSession::default()));
        victim.end.events.clear();
        victim.end.drain(victim.now);
        victim.assert_alive();
    }
}

#[test]
fn transfers_beyond_the_window_are_refused() {
    let mut narrow = config("victim");
    narrow.incoming_window = 2;
    narrow.auto_window = false;
    let mut victim = linked_with(narrow);
    victim.send(0, Performative::Transfer(transfer(0)));
    victim.send(0, Performative::Transfer(transfer(1)));
    victim.assert_alive();
    fails(
        victim,
        0,
        Performative::Transfer(transfer(2)),
        "amqp:session:window-violation",
    );
}

#[test]
fn transfers_must_be_in_sequence_and_to_a_receiver() {
    let mut victim = linked();
    victim.send(
        0,
        Performative::Transfer(Transfer {
            more: true,
            ..transfer(u32::MAX)
        }),
    );
    victim.send(
        0,
        Performative::Transfer(Transfer {
            delivery_id: None,
            delivery_tag: None,
            ..transfer(0)
        }),
    );
    // The first id is free, and the counter turns over.
    victim.send(0, Performative::Transfer(transfer(0)));
    victim.assert_alive();
    assert_eq!(victim.end.events.len(), 3);
    fails(
        victim,
        0,
        Performative::Transfer(transfer(2)),
        "amqp:invalid-field",
    );

    let no_id = Transfer {
        delivery_id: None,
        ..transfer(0)
    };
    fails(
        linked(),
        0,
        Performative::Transfer(no_id),
        "amqp:invalid-field",
    );
    fails(
        linked(),
        0,
        Performative::Transfer(Transfer {
            handle: 1,
            ..transfer(0)
        }),
        "amqp:not-allowed",
    );

    let mut victim = linked();
    victim.send(
        0,
        Performative::Transfer(Transfer {
            more: true,
            ..transfer(0)
        }),
    );
    fails(
        victim,
        0,
        Performative::Transfer(transfer(1)),
        "amqp:invalid-field",
    );
}

#[test]
fn some_deliveries_beyond_the_credit_are_tolerated() {
    let mut victim = linked();
    let mut id = 0;
    // 100 with credit, then as many again and a tolerance.
    while victim.end.error.is_none() {
        victim.send(
            0,
            Performative::Transfer(Transfer {
                settled: Some(true),
                ..transfer(id)
            }),
        );
        id += 1;
        assert!(id < 1000);
    }
    assert!(id > 200);
    victim.assert_failed("amqp:link:transfer-limit-exceeded");
}

#[test]
fn too_many_unsettled_deliveries_are_refused() {
    let mut limited = config("victim");
    limited.max_unsettled = 3;
    let mut victim = linked_with(limited);
    for id in 0..3 {
        victim.send(0, Performative::Transfer(transfer(id)));
    }
    victim.assert_alive();
    fails(
        victim,
        0,
        Performative::Transfer(transfer(3)),
        "amqp:resource-limit-exceeded",
    );
}

#[test]
fn settled_may_come_late() {
    let mut victim = linked();
    victim.send(
        0,
        Performative::Transfer(Transfer {
            more: true,
            ..transfer(0)
        }),
    );
    victim.send_with(
        0,
        &Performative::Transfer(Transfer {
            settled: Some(true),
            ..transfer(0)
        }),
        b"end",
    );
    let Event::Transfer {
        settled: false,
        more: true,
        delivery,
        ..
    } = victim.end.event()
    else {
        panic!()
    };
    let Event::Transfer {
        settled: true,
        more: false,
        ..
    } = victim.end.event()
    else {
        panic!()
    };
    victim
        .end
        .engine
        .disposition(delivery, Some(DeliveryState::Accepted), true);
    assert!(victim.end.drain(victim.now).is_empty());
}

#[test]
fn pipelined_session_link_and_delivery_wait_for_the_open() {
    let mut victim = victim(config("victim"));
    victim.send(
        0,
        Performative::Open(Box::new(Open {
            container_id: "peer".into(),
            ..Open::default()
        })),
    );
    victim.send(0, begin());
    victim.send(0, attach(0, sender("up")));
    victim.send_with(0, &Performative::Transfer(transfer(0)), b"eager");
    // The header answers the peer's at once; everything else waits.
    assert_eq!(
        victim.end.drain(victim.now)[..],
        unhex("414d515000010000")[..]
    );
    assert_eq!(victim.end.event(), Event::Opened);
    assert!(matches!(
        victim.end.event(),
        Event::SessionBegun {
            remote_initiated: true,
            ..
        }
    ));
    let Event::Attached { link, attach, .. } = victim.end.event() else {
        panic!()
    };
    victim.end.engine.accept(link, *attach);
    assert!(victim.end.drain(victim.now).is_empty());
    victim.end.engine.open(None);
    let sent = victim.end.drain(victim.now);
    assert!(matches!(last_frame(&sent), (Performative::Attach(_), 0)));
    assert!(matches!(victim.end.event(), Event::Transfer { .. }));
}

#[test]
fn events_are_handed_out_in_portions() {
    let mut victim = linked();
    let mut input = BytesMut::new();
    for id in 0..3000 {
        let mut body = BytesMut::new();
        transfer(id).encode(&mut body);
        input.extend_from_slice(&[0, 0, 0, u8::try_from(8 + body.len()).unwrap(), 2, 0, 0, 0]);
        input.extend_from_slice(&body);
    }
    let link = amqp::engine::LinkId(0);
    victim.end.engine.grant(link, 1500);
    victim.end.drain(victim.now);
    let mut seen = 0;
    while !input.is_empty() {
        victim.end.engine.receive(&mut input, victim.now).unwrap();
        let mut portion = 0;
        while let Some(event) = victim.end.engine.poll_event() {
            let Event::Transfer { delivery, .. } = event else {
                panic!("{event:?}")
            };
            victim
                .end
                .engine
                .disposition(delivery, Some(DeliveryState::Accepted), true);
            victim.end.engine.add_credit(link, 1);
            portion += 1;
        }
        assert!(portion <= Connection::EVENT_LIMIT);
        seen += portion;
    }
    assert_eq!(seen, 3000);
    // All of them in a few ranges.
    assert!(victim.end.drain(victim.now).len() < 300);
}

#[test]
fn requests_without_end_from_a_peer_that_does_not_read_are_refused() {
    let mut victim = opened();
    let mut begin_end = BytesMut::new();
    for performative in [begin(), Performative::End(EndSession::default())] {
        let mut body = BytesMut::new();
        performative.encode(&mut body);
        begin_end.extend_from_slice(&[0, 0, 0, u8::try_from(8 + body.len()).unwrap(), 2, 0, 0, 0]);
        begin_end.extend_from_slice(&body);
    }
    let flood = begin_end.repeat(1000);
    for _ in 0..5000 {
        victim.end.feed(&flood, victim.now);
        victim.end.events.clear();
        if victim.end.error.is_some() {
            let Some(ConnectionError::Protocol(error)) = victim.end.error else {
                panic!()
            };
            assert_eq!(error.condition, "amqp:resource-limit-exceeded");
            return;
        }
    }
    panic!("the queue grows without end");
}

#[test]
fn frames_after_the_peers_close_are_ignored() {
    let mut victim = opened();
    victim.send(0, Performative::Close(Close::default()));
    victim.send(0, begin());
    victim.send(99, Performative::Transfer(transfer(0)));
    assert_eq!(victim.end.event(), Event::Closed { error: None });
    victim.end.no_events();
    assert_eq!(victim.end.error, None);
}

#[test]
fn frames_after_the_local_close_and_end_are_ignored() {
    let mut victim = linked();
    victim.end.engine.end(amqp::engine::SessionId(0), None);
    victim.send(
        0,
        Performative::Transfer(Transfer {
            handle: 77,
            ..transfer(9)
        }),
    );
    victim.send(0, attach(0, sender("up")));
    victim.assert_alive();
    victim.end.no_events();
    victim.end.engine.close(None);
    victim.send(7, attach(0, sender("up")));
    victim.end.no_events();
    victim.assert_alive();
    victim.send(0, Performative::Close(Close::default()));
    assert_eq!(victim.end.event(), Event::Closed { error: None });
}

#[test]
fn aborted_delivery_is_over_even_if_not_marked_settled() {
    let mut victim = linked();
    victim.send(
        0,
        Performative::Transfer(Transfer {
            more: true,
            ..transfer(0)
        }),
    );
    // Some senders leave `more` on.
    victim.send_with(
        0,
        &Performative::Transfer(Transfer {
            aborted: true,
            more: true,
            ..transfer(0)
        }),
        b"junk",
    );
    victim.end.event();
    let event = victim.end.event();
    let Event::Transfer {
        aborted: true,
        more: false,
        payload,
        ..
    } = event
    else {
        panic!("{event:?}")
    };
    assert!(payload.is_empty());
    assert_eq!(victim.end.engine.load().deliveries, 0);
    victim.send(0, Performative::Transfer(transfer(1)));
    victim.assert_alive();
}

#[test]
fn deliveries_that_cross_a_withdrawal_of_credit_do_not_add_up() {
    let mut victim = linked();
    let link = amqp::engine::LinkId(0);
    for id in 0..2000 {
        if id % 100 == 0 {
            victim.end.engine.grant(link, 0);
        }
        victim.send(
            0,
            Performative::Transfer(Transfer {
                settled: Some(true),
                ..transfer(id)
            }),
        );
    }
    victim.assert_alive();
}

#[test]
fn delivery_settled_by_a_later_frame_has_no_disposition() {
    let mut victim = linked();
    victim.send(
        0,
        Performative::Transfer(Transfer {
            more: true,
            ..transfer(0)
        }),
    );
    victim.send(
        0,
        Performative::Transfer(Transfer {
            more: true,
            settled: Some(true),
            ..transfer(0)
        }),
    );
    victim.end.events.clear();
    let disposition = Disposition {
        role: Role::Sender,
        first: 0,
        settled: true,
        ..Disposition::default()
    };
    victim.send(0, Performative::Disposition(disposition));
    victim.end.no_events();
    victim.assert_alive();
}
