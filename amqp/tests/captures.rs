//! Frames recorded between C routers decode, encode to the same, and drive the engine.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::collections::HashMap;
use std::time::Instant;

use amqp::engine::{Connection, Event, ServerSasl};
use amqp::frame::{self, FrameHeader, ProtocolHeader};
use amqp::message::{self, Message};
use amqp::performative::{DeliveryState, Performative, Role};
use amqp::sasl::SaslFrame;
use amqp::types::{Symbol, Value};
use amqp::{Bytes, BytesMut};
use common::{End, config, fixture, fixtures};

fn is_protocol_header(octets: &[u8]) -> bool {
    octets.starts_with(b"AMQP")
}

#[test]
fn every_recorded_frame_decodes_and_encodes_to_the_same_octets() {
    let mut count = 0;
    for (name, frames) in fixtures() {
        for (index, recorded) in frames.iter().enumerate() {
            let octets = &recorded.octets;
            count += 1;
            if is_protocol_header(octets) {
                assert!(ProtocolHeader::parse(octets[..].try_into().unwrap()).is_some());
                continue;
            }
            let header = FrameHeader::parse(octets).unwrap();
            assert_eq!(
                header.size as usize == octets.len(),
                !recorded.cut,
                "{name} {index}"
            );
            let body = &octets[header.body_at..];
            let mut encoded = BytesMut::new();
            if header.kind == frame::TYPE_SASL {
                let decoded = SaslFrame::decode(body).unwrap();
                decoded.encode(&mut encoded);
                assert_eq!(
                    SaslFrame::decode(&encoded).unwrap(),
                    decoded,
                    "{name} {index}"
                );
            } else if body.is_empty() {
                assert_eq!(octets[..], frame::EMPTY);
            } else {
                let (decoded, len) = Performative::decode_slice(body).unwrap();
                decoded.encode(&mut encoded);
                assert_eq!(encoded, body[..len], "{name} {index} {decoded:?}");
                assert_eq!(
                    Performative::decode_slice(&encoded),
                    Ok((decoded, len)),
                    "{name} {index}"
                );
            }
        }
    }
    assert!(count > 300, "only {count} frames");
}

#[test]
fn a_cut_frame_is_incomplete() {
    for (name, frames) in fixtures() {
        for recorded in frames
            .iter()
            .filter(|recorded| !is_protocol_header(&recorded.octets))
        {
            let header = FrameHeader::parse(&recorded.octets).unwrap();
            let body = &recorded.octets[header.body_at..];
            if header.kind != frame::TYPE_AMQP || body.is_empty() {
                continue;
            }
            let (_, len) = Performative::decode_slice(body).unwrap();
            for cut in 0..len {
                let result = Performative::decode_slice(&body[..cut]);
                assert_eq!(
                    result,
                    Err(amqp::DecodeError::Incomplete),
                    "{name} at {cut}"
                );
            }
        }
    }
}

/// The payloads of whole deliveries, by sender, channel and delivery-id.
fn messages(frames: &[common::Recorded]) -> Vec<Bytes> {
    let mut partial: HashMap<(String, u16, u32), BytesMut> = HashMap::new();
    let mut messages = Vec::new();
    for recorded in frames
        .iter()
        .filter(|recorded| !is_protocol_header(&recorded.octets))
    {
        let header = FrameHeader::parse(&recorded.octets).unwrap();
        let body = &recorded.octets[header.body_at..];
        if header.kind != frame::TYPE_AMQP || body.is_empty() {
            continue;
        }
        let (Performative::Transfer(transfer), len) = Performative::decode_slice(body).unwrap()
        else {
            continue;
        };
        let key = (
            recorded.sender.clone(),
            header.channel,
            transfer.delivery_id.unwrap(),
        );
        let message = partial.entry(key.clone()).or_default();
        message.extend_from_slice(&body[len..]);
        // A cut frame spoils its delivery.
        if !transfer.more && !transfer.aborted && !recorded.cut {
            messages.push(partial.remove(&key).unwrap().freeze());
        }
    }
    messages
}

#[test]
fn recorded_messages_decode_and_encode_to_equal_ones() {
    let mut count = 0;
    // Not those of TCP connections carried by 3.5: raw octets follow their sections.
    for name in ["control", "dispositions", "management", "tcp-2.7", "edge"] {
        for octets in messages(&fixture(name)) {
            let message = Message::decode(&octets)
                .unwrap_or_else(|error| panic!("{name}: {error} in {octets:02x?}"));
            let mut encoded = BytesMut::new();
            message.encode(&mut encoded);
            assert_eq!(
                Message::decode(&encoded.freeze()).unwrap(),
                message,
                "{name}"
            );
            count += 1;
        }
    }
    assert!(count > 40, "only {count} messages");
}

#[test]
fn hello_message_has_its_parts() {
    let hello = messages(&fixture("control"))
        .into_iter()
        .map(|octets| Message::decode(&octets).unwrap())
        .find(|message| {
            message
                .application_properties
                .contains(&("opcode".into(), "HELLO".into()))
        })
        .unwrap();
    let annotations = hello.router_annotations.unwrap();
    let [flags, to, ingress, trace] = annotations.as_list().unwrap() else {
        panic!("{annotations:?}")
    };
    assert_eq!(flags.as_u64(), Some(0));
    assert!(to.is_null());
    assert!(ingress.as_str().unwrap().starts_with("0/r"));
    assert_eq!(trace.as_list().unwrap(), std::slice::from_ref(ingress));
    assert_eq!(hello.properties.to.as_deref(), Some("amqp:/_local/qdhello"));
    let message::Body::Value(body) = hello.body else {
        panic!("{:?}", hello.body)
    };
    assert_eq!(body.get("pv").and_then(Value::as_i64), Some(1));
    assert!(body.get("seen").and_then(Value::as_list).is_some());
}

#[test]
fn sections_of_a_recorded_delivery_are_found_at_every_length() {
    let octets = messages(&fixture("dispositions")).swap_remove(0);
    let mut codes = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        let section = message::next_section(&octets[at..]).unwrap().unwrap();
        let start = message::section_start(&octets[at..]).unwrap().unwrap();
        assert_eq!(start.header_len + start.body_len, section.len);
        assert_eq!(start.code, section.code);
        for cut in 0..section.len {
            assert_eq!(message::next_section(&octets[at..at + cut]), Ok(None));
            let known = message::section_start(&octets[at..at + cut]).unwrap();
            assert_eq!(known.is_some(), cut >= start.header_len);
        }
        codes.push(section.code);
        at += section.len;
    }
    use message::section;
    assert_eq!(
        codes,
        [
            section::ROUTER_ANNOTATIONS,
            section::HEADER,
            section::DELIVERY_ANNOTATIONS,
            section::MESSAGE_ANNOTATIONS,
            section::PROPERTIES,
            section::APPLICATION_PROPERTIES,
            section::VALUE
        ]
    );
}

#[test]
fn recorded_outcomes_are_told_apart() {
    let mut seen = Vec::new();
    for recorded in fixture("dispositions") {
        let header = FrameHeader::parse(&recorded.octets).unwrap();
        let (performative, _) =
            Performative::decode_slice(&recorded.octets[header.body_at..]).unwrap();
        if let Performative::Disposition(disposition) = performative {
            assert_eq!(disposition.role, Role::Receiver);
            let state = disposition.state.unwrap();
            assert_eq!(disposition.settled, state.is_terminal());
            seen.push(state);
        }
    }
    assert!(seen.contains(&DeliveryState::Accepted));
    assert!(seen.contains(&DeliveryState::Released));
    assert!(seen.contains(&DeliveryState::Received {
        section_number: 1,
        section_offset: 2
    }));
    let rejected = seen.iter().find_map(|state| match state {
        DeliveryState::Rejected(error) => error.as_ref(),
        _ => None,
    });
    let error = rejected.unwrap();
    assert_eq!(error.condition, "my:cond");
    assert_eq!(error.description.as_deref(), Some("my descr"));
    assert_eq!(error.info, [(Symbol::from("a").into(), Value::Long(1))]);
    assert!(seen.iter().any(|state| matches!(
        state,
        DeliveryState::Modified {
            delivery_failed: true,
            ..
        }
    )));
}

/// The connector side of a recorded connection, all at once, as a pipelining peer would send it.
#[test]
fn recorded_connector_sets_up_its_sessions_and_links() {
    let now = Instant::now();
    let mut server = End::new(Connection::server(
        config("ra"),
        ServerSasl::anonymous(),
        now,
    ));
    for name in ["handshake", "inter-router-links"] {
        for recorded in fixture(name)
            .into_iter()
            .filter(|recorded| recorded.sender == "rb")
        {
            server.feed(&recorded.octets, now);
            assert_eq!(server.error, None);
        }
    }
    server.engine.open(None);
    let count =
        |matches: fn(&Event) -> bool| server.events.iter().filter(|event| matches(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Opened)), 1);
    assert_eq!(
        count(|event| matches!(
            event,
            Event::SessionBegun {
                remote_initiated: true,
                ..
            }
        )),
        11
    );
    assert_eq!(
        count(|event| matches!(
            event,
            Event::Attached {
                remote_initiated: true,
                ..
            }
        )),
        22
    );
    assert_eq!(server.engine.remote_open().unwrap().container_id, "rb");
    assert_eq!(server.engine.authenticated_as(), Some("anonymous"));

    let links: Vec<_> = server
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Attached { link, attach, .. } => Some((*link, attach.clone())),
            _ => None,
        })
        .collect();
    for (link, attach) in links {
        assert_eq!(server.engine.link_role(link), attach.role.peer());
        assert_eq!(server.engine.link_name(link), attach.name);
        server.engine.accept(link, *attach);
        if server.engine.link_role(link) == Role::Receiver {
            server.engine.grant(link, 250);
        }
    }
    // What the recorded router answered, it answers too: the same numbers of frames of each kind.
    let ours = kinds(&server.drain(now));
    let theirs: Vec<u8> = ["handshake", "inter-router-links"]
        .into_iter()
        .flat_map(fixture)
        .filter(|recorded| recorded.sender == "ra")
        .flat_map(|recorded| recorded.octets)
        .collect();
    let theirs = kinds(&theirs);
    for kind in ["sasl", "open", "begin", "attach"] {
        assert_eq!(ours.get(kind), theirs.get(kind), "{kind}");
    }
    assert_eq!(ours.get("flow"), Some(&11));
}

fn kinds(mut octets: &[u8]) -> HashMap<&'static str, usize> {
    let mut kinds = HashMap::new();
    while !octets.is_empty() {
        if is_protocol_header(octets) {
            octets = &octets[8..];
            continue;
        }
        let header = FrameHeader::parse(octets).unwrap();
        let (frame, rest) = octets.split_at(header.size as usize);
        octets = rest;
        let kind = if header.kind == frame::TYPE_SASL {
            "sasl"
        } else {
            match Performative::decode_slice(&frame[header.body_at..])
                .unwrap()
                .0
            {
                Performative::Open(_) => "open",
                Performative::Begin(_) => "begin",
                Performative::Attach(_) => "attach",
                Performative::Flow(_) => "flow",
                _ => "other",
            }
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
