//! Sessions and links of two engines: begin, attach, refuse, detach, end.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use amqp::Condition;
use amqp::engine::{EngineError, Event, LinkId, SessionId};
use amqp::performative::{Attach, Role};
use common::{Pair, config, receiver, sender};

fn opened() -> Pair {
    Pair::opened(config("client"), config("server"))
}

fn not_found() -> Option<Condition> {
    Some(Condition::new("amqp:not-found", "Node not found"))
}

/// Takes the server's events up to the first attach, and answers it.
fn accept(pair: &mut Pair) -> LinkId {
    while let Some(event) = pair.server.events.pop_front() {
        if let Event::Attached {
            link,
            attach,
            remote_initiated: true,
        } = event
        {
            pair.server.engine.accept(link, *attach);
            pair.pump();
            return link;
        }
    }
    panic!("nothing attached");
}

#[test]
fn session_begins_with_one_event_at_each_end() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    assert_eq!(session, SessionId(0));
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::SessionBegun {
            session,
            remote_initiated: false
        }
    );
    assert_eq!(
        pair.server.event(),
        Event::SessionBegun {
            session: SessionId(0),
            remote_initiated: true
        }
    );
    pair.client.no_events();
    assert!(!pair.client.engine.session_blocked(session));
    assert!(pair.client.engine.session_blocked(SessionId(9)));
}

#[test]
fn sessions_from_both_ends_do_not_mix() {
    let mut pair = opened();
    let mine = pair.client.engine.begin();
    let yours = pair.server.engine.begin();
    pair.pump();
    // Both chose channel 0; each answers on another channel.
    assert_eq!((mine, yours), (SessionId(0), SessionId(0)));
    let link = pair.client.engine.attach(mine, sender("a")).unwrap();
    let other = pair.server.engine.attach(yours, sender("b")).unwrap();
    pair.pump();
    let accepted = accept(&mut pair);
    assert_eq!(pair.server.engine.link_session(accepted), SessionId(1));
    let attached = pair.client.events.iter().find_map(|event| match event {
        Event::Attached {
            link,
            remote_initiated: true,
            ..
        } => Some(*link),
        _ => None,
    });
    assert_eq!(
        pair.client.engine.link_session(attached.unwrap()),
        SessionId(1)
    );
    assert_ne!(attached, Some(link));
    assert_eq!(pair.server.engine.link_session(other), yours);
}

#[test]
fn attach_is_offered_with_its_terms_and_the_answer_comes_back() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("up")).unwrap();
    pair.pump();
    assert!(matches!(pair.server.event(), Event::SessionBegun { .. }));
    let Event::Attached {
        link: offered,
        attach,
        remote_initiated: true,
    } = pair.server.event()
    else {
        panic!()
    };
    assert_eq!(
        attach.target.as_ref().unwrap().address.as_deref(),
        Some("queue")
    );
    assert_eq!(pair.server.engine.link_role(offered), Role::Receiver);
    assert_eq!(pair.server.engine.link_name(offered), "up");
    // The engine puts name, handle and role right.
    let reply = Attach {
        name: "wrong".into(),
        handle: 77,
        role: Role::Sender,
        ..*attach
    };
    pair.server.engine.accept(offered, reply);
    pair.server.engine.grant(offered, 10);
    pair.pump();
    assert!(matches!(pair.client.event(), Event::SessionBegun { .. }));
    let Event::Attached {
        link: answered,
        attach,
        remote_initiated: false,
    } = pair.client.event()
    else {
        panic!()
    };
    assert_eq!(answered, link);
    assert_eq!((attach.name.as_str(), attach.role), ("up", Role::Receiver));
    assert_eq!(attach.initial_delivery_count, Some(0));
    assert_eq!(pair.client.event(), Event::Credit { link });
    assert_eq!(pair.client.engine.credit(link), 10);
    assert_eq!(pair.server.engine.credit(offered), 10);
}

#[test]
fn credit_granted_before_the_answer_follows_it() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair
        .client
        .engine
        .attach(session, receiver("down"))
        .unwrap();
    pair.client.engine.grant(link, 5);
    pair.pump();
    let accepted = accept(&mut pair);
    pair.pump();
    assert_eq!(pair.server.engine.credit(accepted), 5);
    assert_eq!(pair.server.event(), Event::Credit { link: accepted });
}

#[test]
fn refused_link_ends_with_the_error() {
    for attach in [sender("s"), receiver("r")] {
        let mut pair = opened();
        let session = pair.client.engine.begin();
        let role = attach.role;
        let link = pair.client.engine.attach(session, attach.clone()).unwrap();
        pair.pump();
        pair.server.events.pop_front();
        let Event::Attached { link: offered, .. } = pair.server.event() else {
            panic!()
        };
        pair.server.engine.refuse(offered, not_found());
        pair.pump();
        pair.client.events.pop_front();
        let Event::Attached { attach: reply, .. } = pair.client.event() else {
            panic!()
        };
        match role {
            Role::Sender => assert_eq!(reply.target, None),
            Role::Receiver => assert_eq!(reply.source, None),
        }
        assert_eq!(
            pair.client.event(),
            Event::Detached {
                link,
                closed: true,
                error: not_found()
            }
        );
        pair.client.engine.detach(link, true, None);
        pair.pump();
        pair.server.no_events();
        pair.client.no_events();
        // Handle and name are free again.
        let again = pair.client.engine.attach(session, attach).unwrap();
        pair.pump();
        assert_eq!(accept(&mut pair), offered);
        assert_eq!(again, link);
    }
}

#[test]
fn detach_of_an_unanswered_link_refuses_it() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("s")).unwrap();
    pair.pump();
    pair.server.events.pop_front();
    let Event::Attached { link: offered, .. } = pair.server.event() else {
        panic!()
    };
    pair.server.engine.detach(offered, false, not_found());
    pair.pump();
    assert!(pair.client.events.contains(&Event::Detached {
        link,
        closed: true,
        error: not_found()
    }));
}

#[test]
fn detach_is_told_and_answered() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("s")).unwrap();
    pair.pump();
    let peer = accept(&mut pair);
    pair.client.events.clear();
    pair.client.engine.detach(link, true, None);
    pair.client.engine.detach(link, true, None);
    pair.pump();
    assert_eq!(
        pair.server.event(),
        Event::Detached {
            link: peer,
            closed: true,
            error: None
        }
    );
    pair.client.no_events();
    pair.server.engine.detach(peer, true, None);
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::Detached {
            link,
            closed: true,
            error: None
        }
    );
    pair.client.no_events();
    pair.server.no_events();
}

#[test]
fn crossing_detaches_end_the_link() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("s")).unwrap();
    pair.pump();
    let peer = accept(&mut pair);
    pair.client.events.clear();
    pair.client.engine.detach(link, false, None);
    pair.server.engine.detach(peer, true, not_found());
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::Detached {
            link,
            closed: true,
            error: not_found()
        }
    );
    assert_eq!(
        pair.server.event(),
        Event::Detached {
            link: peer,
            closed: false,
            error: None
        }
    );
    assert_eq!(
        pair.client.engine.attach(session, sender("s")),
        Ok(link),
        "name and key are free"
    );
}

#[test]
fn detach_before_the_answer_swallows_the_answer() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    pair.pump();
    pair.client.events.clear();
    let link = pair.client.engine.attach(session, sender("s")).unwrap();
    pair.client.engine.detach(link, true, None);
    assert_eq!(
        pair.client.engine.attach(session, sender("s")),
        Err(EngineError::NameInUse)
    );
    pair.pump();
    let peer = accept(&mut pair);
    assert_eq!(
        pair.server.event(),
        Event::Detached {
            link: peer,
            closed: true,
            error: None
        }
    );
    pair.server.engine.detach(peer, true, None);
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::Detached {
            link,
            closed: true,
            error: None
        }
    );
    pair.client.no_events();
}

#[test]
fn name_is_free_for_the_other_role_and_after_the_peers_detach() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("n")).unwrap();
    pair.client.engine.attach(session, receiver("n")).unwrap();
    assert_eq!(
        pair.client.engine.attach(session, sender("n")),
        Err(EngineError::NameInUse)
    );
    pair.pump();
    let peer = accept(&mut pair);
    accept(&mut pair);
    pair.server.engine.detach(peer, true, None);
    pair.pump();
    assert_eq!(
        pair.client.engine.attach(session, sender("n")),
        Err(EngineError::NameInUse)
    );
    // Once the local end is detached as well, the name may come back in the same burst.
    pair.client.engine.detach(link, true, None);
    pair.client.engine.attach(session, sender("n")).unwrap();
    pair.pump();
    assert_eq!(pair.server.error, None);
    accept(&mut pair);
}

#[test]
fn peer_may_reattach_a_name_before_its_detach_is_answered() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("n")).unwrap();
    pair.pump();
    let peer = accept(&mut pair);
    pair.client.engine.detach(link, true, None);
    pair.pump();
    // What another implementation may send.
    let mut reattach = amqp::BytesMut::new();
    Attach {
        handle: 9,
        initial_delivery_count: Some(0),
        ..sender("n")
    }
    .encode(&mut reattach);
    let mut frame = vec![
        0,
        0,
        0,
        u8::try_from(8 + reattach.len()).unwrap(),
        2,
        0,
        0,
        0,
    ];
    frame.extend_from_slice(&reattach);
    pair.server.feed(&frame, pair.now);
    assert_eq!(pair.server.error, None);
    assert_eq!(
        pair.server.event(),
        Event::Detached {
            link: peer,
            closed: true,
            error: None
        }
    );
    let Event::Attached { link: again, .. } = pair.server.event() else {
        panic!()
    };
    assert_ne!(again, peer);
    pair.server.engine.detach(peer, true, None);
    // The new link keeps the name.
    assert_eq!(
        pair.server.engine.attach(SessionId(0), receiver("n")),
        Err(EngineError::NameInUse)
    );
}

#[test]
fn end_takes_links_with_it() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    pair.client.engine.attach(session, sender("a")).unwrap();
    pair.client.engine.attach(session, receiver("b")).unwrap();
    pair.pump();
    let first = accept(&mut pair);
    let second = accept(&mut pair);
    let peer = pair.server.engine.link_session(first);
    pair.client.engine.end(session, not_found());
    pair.client.engine.end(session, None);
    pair.pump();
    for link in [first, second] {
        assert_eq!(
            pair.server.event(),
            Event::Detached {
                link,
                closed: true,
                error: None
            }
        );
    }
    assert_eq!(
        pair.server.event(),
        Event::SessionEnded {
            session: peer,
            error: not_found()
        }
    );
    assert_eq!(
        pair.client.events.back(),
        Some(&Event::SessionEnded {
            session,
            error: None
        })
    );
    // Late calls do nothing.
    pair.server.engine.detach(first, true, None);
    pair.server.engine.grant(second, 5);
    pair.server.engine.end(peer, None);
    pair.server.engine.accept(second, Attach::default());
    pair.pump();
    assert_eq!(pair.client.error, None);
    assert_eq!(
        pair.client.engine.attach(session, sender("c")),
        Err(EngineError::NoSession)
    );
    // The channel is used again.
    assert_eq!(pair.client.engine.begin(), session);
    pair.pump();
    assert_eq!(pair.server.error, None);
}

#[test]
fn crossing_ends_are_both_answered() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    pair.pump();
    pair.client.events.clear();
    pair.server.events.clear();
    pair.client.engine.end(session, None);
    pair.server.engine.end(SessionId(0), not_found());
    pair.pump();
    assert_eq!(
        pair.client.event(),
        Event::SessionEnded {
            session,
            error: not_found()
        }
    );
    assert_eq!(
        pair.server.event(),
        Event::SessionEnded {
            session: SessionId(0),
            error: None
        }
    );
}

#[test]
fn what_is_begun_before_the_open_follows_it() {
    let mut pair = Pair::new(config("client"), config("server"));
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("early")).unwrap();
    pair.establish();
    assert!(pair.server.error.is_none());
    pair.pump();
    assert_eq!(pair.server.engine.link_name(LinkId(0)), "early");
    assert_eq!(pair.client.engine.link_name(link), "early");
}

#[test]
fn identifiers_live_until_their_last_event_is_taken() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("s")).unwrap();
    pair.pump();
    let peer = accept(&mut pair);
    pair.client.engine.detach(link, true, None);
    let octets = pair.client.drain(pair.now);
    pair.server.engine.detach(peer, true, None);
    // Not through the harness: the events stay in the engine.
    let mut input = amqp::BytesMut::from(&octets[..]);
    pair.server.engine.receive(&mut input, pair.now).unwrap();
    assert_eq!(pair.server.engine.link_name(peer), "s");
    let session = pair.server.engine.link_session(peer);
    assert_ne!(
        pair.server.engine.attach(session, sender("t")),
        Ok(peer),
        "an event with it is waiting"
    );
    assert_eq!(
        pair.server.engine.poll_event(),
        Some(Event::Detached {
            link: peer,
            closed: true,
            error: None
        })
    );
    assert_eq!(pair.server.engine.poll_event(), None);
    assert_eq!(pair.server.engine.attach(session, sender("u")), Ok(peer));
}

#[test]
fn local_limits_are_kept() {
    let mut limited = config("client");
    limited.max_links = 2;
    limited.max_sessions = 1;
    let mut pair = Pair::opened(limited, config("server"));
    let session = pair.client.engine.begin();
    pair.client.engine.attach(session, sender("a")).unwrap();
    pair.client.engine.attach(session, sender("b")).unwrap();
    assert_eq!(
        pair.client.engine.attach(session, sender("c")),
        Err(EngineError::TooManyLinks)
    );
    let second = pair.client.engine.begin();
    let event = pair.client.engine.poll_event();
    let Some(Event::SessionEnded {
        session: refused,
        error: Some(error),
    }) = event
    else {
        panic!("{event:?}")
    };
    assert_eq!(refused, second);
    assert_eq!(error.condition, "amqp:resource-limit-exceeded");
    assert_eq!(
        pair.client.engine.attach(second, sender("d")),
        Err(EngineError::NoSession)
    );
    pair.pump();
    assert_eq!(pair.server.error, None);
}

#[test]
fn peers_limits_are_kept() {
    let mut narrow = config("server");
    narrow.open.channel_max = 1;
    let mut pair = Pair::opened(config("client"), narrow);
    pair.client.engine.begin();
    pair.client.engine.begin();
    let third = pair.client.engine.begin();
    pair.pump();
    assert_eq!(pair.server.error, None);
    assert!(pair.client.events.iter().any(|event| {
        matches!(event, Event::SessionEnded { session, error: Some(_) } if *session == third)
    }));
}

#[test]
fn calls_with_unknown_identifiers_do_nothing() {
    let mut pair = opened();
    let (session, link, delivery) = (SessionId(3), LinkId(4), amqp::engine::DeliveryKey(5));
    let engine = &mut pair.client.engine;
    engine.end(session, None);
    engine.release_window(session, 1);
    engine.accept(link, Attach::default());
    engine.refuse(link, None);
    engine.detach(link, true, None);
    engine.grant(link, 1);
    engine.add_credit(link, 1);
    engine.drain(link);
    engine.drained(link);
    engine.abort(delivery);
    engine.finish_settled(delivery);
    engine.disposition(delivery, None, true);
    assert_eq!(engine.credit(link), 0);
    assert!(engine.is_complete(delivery));
    assert_eq!(
        engine.start_delivery(link, b"t", true),
        Err(EngineError::NotAttached)
    );
    let mut body = common::body(&[b"x"]);
    assert_eq!(
        engine.send(delivery, &mut body, true, 100),
        amqp::engine::Sent::All
    );
    assert!(body.is_empty());
    assert!(pair.client.drain(pair.now).is_empty());
}

#[test]
fn connections_can_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<amqp::engine::Connection>();
    assert_send::<Event>();
}

#[test]
fn handles_of_detached_links_are_used_again() {
    let mut pair = opened();
    let session = pair.client.engine.begin();
    for round in 0..5 {
        let link = pair.client.engine.attach(session, sender("s")).unwrap();
        pair.pump();
        let offered = pair.server.events.drain(..).find_map(|event| match event {
            Event::Attached { link, attach, .. } => Some((link, attach)),
            _ => None,
        });
        let (peer, attach) = offered.unwrap();
        assert_eq!(attach.handle, 0, "round {round}");
        pair.server.engine.accept(peer, *attach);
        pair.client.engine.detach(link, true, None);
        pair.pump();
        pair.server.engine.detach(peer, true, None);
        pair.pump();
    }
}
