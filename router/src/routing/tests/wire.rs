//! Octets of control messages against recordings of C routers.

use amqp::{Described, Symbol, Value};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::time::Instant;

use super::super::message::{
    self, Body, Change, Descriptor, Destination, Hello, LinkStateUpdate, MessageError,
    RouterAdvertisement,
};
use super::super::{Config, ControlLink, LogEvent, Output, Routing, Treatment};
use super::{decode, encode, encode_marked, id, recorded};
use crate::core::annotations::Annotations;

fn descriptor(key: &str, treatment: Treatment, mesh: Option<&str>) -> Descriptor {
    Descriptor {
        key: key.into(),
        treatment: Some(treatment),
        producers: 0,
        mesh: mesh.map(Into::into),
    }
}

/// Name of the recording, sender, address, and content.
fn samples() -> Vec<(&'static str, &'static str, &'static str, Body)> {
    let hello = |instance, seen: &[&str]| {
        Body::Hello(Hello {
            instance,
            seen: seen.iter().map(|text| id(text)).collect(),
            digest: None,
        })
    };
    let lsu = |instance, ls_seq, peers: &[(&str, u32)]| {
        let peers = peers.iter().map(|(peer, cost)| (id(peer), *cost)).collect();
        Body::Lsu(LinkStateUpdate {
            instance: Some(instance),
            ls_seq,
            mobile_seq: None,
            addresses: None,
            peers,
        })
    };
    let mau = |mobile_seq, change| Body::Mau { mobile_seq, change };
    vec![
        (
            "HELLO_ALONE",
            "ra",
            "amqp:/_local/qdhello",
            hello(1_795_344_044, &[]),
        ),
        (
            "HELLO",
            "rb",
            "amqp:/_local/qdhello",
            hello(1_795_344_886, &["ra", "rc"]),
        ),
        ("LSR", "ra", "amqp:/_topo/0/rb/qdrouter", Body::Lsr),
        (
            "RA",
            "rb",
            "amqp:/_topo/0/all/qdrouter",
            Body::Ra(RouterAdvertisement {
                instance: 1_795_344_072,
                ls_seq: 1,
                mobile_seq: 1,
            }),
        ),
        (
            "LSU",
            "rb",
            "amqp:/_topo/0/ra/qdrouter",
            lsu(1_795_344_886, 4, &[("ra", 3), ("rc", 5)]),
        ),
        (
            "LSU_2_4",
            "rb",
            "amqp:/_topo/0/ra/qdrouter",
            lsu(1_795_344_680, 0, &[("ra", 3)]),
        ),
        (
            "MAR",
            "rb",
            "amqp:/_topo/0/ra/qdrouter.ma",
            Body::Mar { have_seq: 0 },
        ),
        (
            "MAU_EXIST",
            "ra",
            "amqp:/_topo/0/rb/qdrouter.ma",
            mau(
                1,
                Change::Absolute {
                    exist: vec![
                        descriptor("Msfe.Ylg8n:0", Treatment::Closest, None),
                        descriptor("Mvfcr.Ylg8n:0", Treatment::Closest, None),
                    ],
                },
            ),
        ),
        (
            "MAU_ADD",
            "ra",
            "_topo/0/all/qdrouter.ma",
            mau(
                2,
                Change::Differential {
                    add: vec![descriptor("Mqueue.one", Treatment::Balanced, None)],
                    del: vec![],
                },
            ),
        ),
        (
            "MAU_DEL",
            "ra",
            "_topo/0/all/qdrouter.ma",
            mau(
                6,
                Change::Differential {
                    add: vec![],
                    del: vec!["Mmc.x".into(), "Mclosest.x".into()],
                },
            ),
        ),
        (
            "MAU_MESH",
            "ra",
            "_topo/0/all/qdrouter.ma",
            mau(
                3,
                Change::Differential {
                    add: vec![descriptor(
                        "Mq.meshonly",
                        Treatment::Balanced,
                        Some("C36_E6mCVokZCrC"),
                    )],
                    del: vec![],
                },
            ),
        ),
    ]
}

#[test]
fn messages_are_written_octet_for_octet_as_c_routers_write_them() {
    for (name, sender, address, body) in samples() {
        assert_eq!(
            encode_marked(sender, address, &body, None),
            recorded(name),
            "{name}"
        );
    }
}

#[test]
fn hello_and_link_states_tell_of_which_implementation_the_sender_is() {
    for (name, sender, address, body) in samples() {
        let marked = matches!(body, Body::Hello(_) | Body::Ra(_) | Body::Lsu(_));
        let octets = encode(sender, address, &body);
        let (_, _, header, read) = decode(&octets);
        assert_eq!((header.own, &read), (marked, &body), "{name}");
        let (_, _, header, _) = decode(&recorded(name));
        assert!(!header.own, "{name}");
    }
}

#[test]
fn recorded_messages_are_understood() {
    for (name, sender, address, body) in samples() {
        let (annotations, to, header, read) = decode(&recorded(name));
        assert_eq!(
            annotations.ingress.as_deref(),
            Some(format!("0/{sender}").as_str()),
            "{name}"
        );
        assert_eq!(annotations.trace[..], [format!("0/{sender}")], "{name}");
        assert_eq!(to, address, "{name}");
        assert_eq!(
            (header.id, header.version),
            (id(sender), body.newest_version()),
            "{name}"
        );
        assert_eq!(read, body, "{name}");
    }
}

#[test]
fn numbers_beyond_32_bits_are_written_as_long() {
    let body = Body::Ra(RouterAdvertisement {
        instance: 1 << 40,
        ls_seq: 200,
        mobile_seq: -1,
    });
    let octets = encode("a", message::FLOOD_ADDRESS, &body);
    let needle = [&b"\xa1\x08instance\x81"[..], &(1i64 << 40).to_be_bytes()].concat();
    assert!(octets.windows(needle.len()).any(|window| window == needle));
    let needle = b"\xa1\x06ls_seq\x71\x00\x00\x00\xc8";
    assert!(octets.windows(needle.len()).any(|window| window == needle));
}

/// A message as another implementation might write it: everything through the generic codec.
fn foreign(annotations: Option<Value>, to: &str, opcode: &str, body: Vec<(Value, Value)>) -> Bytes {
    let mut out = BytesMut::new();
    let mut section = |code: u64, value| {
        Value::Described(Box::new(Described {
            descriptor: Value::Ulong(code),
            value,
        }))
        .encode(&mut out);
    };
    if let Some(annotations) = annotations {
        section(0x534b_5052_2d2d_5241, annotations);
    }
    section(0x70, Value::List(vec![]));
    section(
        0x72,
        Value::Map(vec![(
            Value::Symbol(Symbol::from("x-opt-other")),
            Value::Int(3),
        )]),
    );
    section(
        0x73,
        Value::List(vec![Value::Null, Value::Null, Value::from(to)]),
    );
    section(
        0x74,
        Value::Map(vec![(
            Value::Symbol(Symbol::from("opcode")),
            Value::from(opcode),
        )]),
    );
    section(0x77, Value::Map(body));
    out.freeze()
}

fn symbol(key: &str) -> Value {
    Value::Symbol(Symbol::from(key))
}

#[test]
fn other_integer_kinds_key_kinds_and_unknown_keys_are_read() {
    let octets = foreign(
        None,
        "/_topo/all/qdrouter",
        "RA",
        vec![
            (symbol("unknown"), Value::List(vec![Value::Null])),
            (symbol("mobile_seq"), Value::Ulong(7)),
            (symbol("ls_seq"), Value::Ubyte(9)),
            (symbol("id"), Value::from("rx")),
            (symbol("instance"), Value::Uint(1_795_344_886)),
        ],
    );
    let (annotations, to, header, body) = decode(&octets);
    assert_eq!(annotations, Annotations::default());
    assert_eq!(Destination::parse(&to), Some(Destination::Flood));
    assert_eq!((header.id, header.version), (id("rx"), 0));
    assert_eq!(
        body,
        Body::Ra(RouterAdvertisement {
            instance: 1_795_344_886,
            ls_seq: 9,
            mobile_seq: 7
        })
    );
}

#[test]
fn addresses_are_parsed_with_and_without_scheme() {
    for (text, destination) in [
        ("amqp:/_local/qdhello", Some(Destination::Hello)),
        ("_local/qdrouter", Some(Destination::Here)),
        (
            "amqp://host:5672/_topo/0/all/qdrouter",
            Some(Destination::Flood),
        ),
        ("_topo/0/all/qdrouter.ma", Some(Destination::Multicast)),
        (
            "amqp:/_topo/0/all/qdrouter.ma",
            Some(Destination::Multicast),
        ),
        (
            "amqp:/_topo/0/r.b/qdrouter",
            Some(Destination::Router("r.b")),
        ),
        (
            "amqp:/_topo/0/rb/qdrouter.ma",
            Some(Destination::Router("rb")),
        ),
        ("_topo/0/rb/$management", None),
        ("amqp://host", None),
        ("_local/qdhello/x", None),
        ("_topo/0/qdrouter", None),
        ("", None),
    ] {
        assert_eq!(Destination::parse(text), destination, "{text}");
    }
}

#[test]
fn annotations_follow_the_rules_of_the_section() {
    let split = |fields: Vec<Value>| {
        let octets = foreign(
            Some(Value::List(fields)),
            "_topo/0/x/qdrouter",
            "LSR",
            vec![],
        );
        Annotations::split(&octets).map(|(annotations, _)| annotations.unwrap())
    };
    let trace = || Value::List(vec![Value::from("0/x"), Value::from("0/y")]);
    let full = vec![
        Value::Ubyte(0x41),
        Value::from("to"),
        Value::Null,
        trace(),
        Value::from("mesh"),
        Value::Int(6),
    ];
    let read = split(full).unwrap();
    assert_eq!(
        read,
        Annotations {
            flags: 0x41,
            to_override: Some("to".to_owned()),
            ingress: None,
            trace: ["0/x".to_owned(), "0/y".to_owned()].into_iter().collect(),
            mesh: Some("mesh".to_owned()),
        }
    );
    assert!(read.traced("x") && read.traced("y") && !read.traced("0/x") && !read.traced("z"));
    let empty = || Value::List(vec![]);
    for (fields, field) in [
        (
            vec![Value::Uint(0), Value::Null, Value::Null],
            "number of elements",
        ),
        (
            vec![Value::Int(0), Value::Null, Value::Null, empty()],
            "flags",
        ),
        (
            vec![Value::Ulong(1 << 32), Value::Null, Value::Null, empty()],
            "flags",
        ),
        (
            vec![Value::Uint(0), symbol("x"), Value::Null, empty()],
            "to-override",
        ),
        (
            vec![Value::Uint(0), Value::Null, Value::Uint(1), empty()],
            "ingress",
        ),
        (
            vec![Value::Uint(0), Value::Null, Value::Null, Value::Null],
            "trace",
        ),
        (
            vec![
                Value::Uint(0),
                Value::Null,
                Value::Null,
                Value::List(vec![Value::Null]),
            ],
            "trace",
        ),
        (
            vec![
                Value::Uint(0),
                Value::Null,
                Value::Null,
                empty(),
                Value::Null,
            ],
            "ingress mesh",
        ),
    ] {
        assert_eq!(split(fields), Err(MessageError::Annotations(field)));
    }
}

/// Feeds a message to a router with one link and returns the error it logs, if any.
fn error_of(message: &Bytes) -> Option<MessageError> {
    let now = Instant::now();
    let mut routing = Routing::new(Config::new(id("ra"), 1), now);
    routing.link_up(ControlLink(1), 1, now);
    routing.receive(ControlLink(1), message, now);
    std::iter::from_fn(|| routing.poll()).find_map(|output| match output {
        Output::Log(LogEvent::Malformed { error, .. }) => Some(error),
        _ => None,
    })
}

#[test]
fn malformed_bodies_are_refused_naming_the_field() {
    let topo = "_topo/0/ra/qdrouter";
    let sender = || (symbol("id"), Value::from("rb"));
    let map = |entries: &[(&str, Value)]| {
        Value::Map(
            entries
                .iter()
                .map(|(k, v)| (Value::from(*k), v.clone()))
                .collect(),
        )
    };
    let peers = |cost: Value| map(&[("ls_seq", Value::Int(1)), ("peers", map(&[("rc", cost)]))]);
    let list = || Value::List(vec![]);
    let seq = || (symbol("mobile_seq"), Value::Long(1));
    for (opcode, body, field) in [
        ("LSR", vec![], "id"),
        ("LSR", vec![(symbol("id"), Value::from(""))], "id"),
        ("LSR", vec![(symbol("id"), Value::Int(1))], "id"),
        (
            "LSR",
            vec![sender(), (symbol("pv"), Value::from("1"))],
            "pv",
        ),
        (
            "RA",
            vec![sender(), (symbol("ls_seq"), Value::Int(1))],
            "mobile_seq",
        ),
        (
            "RA",
            vec![sender(), (symbol("ls_seq"), Value::Int(-1)), seq()],
            "ls_seq",
        ),
        (
            "RA",
            vec![sender(), (symbol("ls_seq"), Value::Ulong(u64::MAX)), seq()],
            "ls_seq",
        ),
        ("LSU", vec![sender()], "peers"),
        ("LSU", vec![sender(), (symbol("ls"), list())], "peers"),
        (
            "LSU",
            vec![sender(), (symbol("ls"), peers(Value::Int(0)))],
            "peers",
        ),
        (
            "LSU",
            vec![sender(), (symbol("ls"), peers(Value::Long(1 << 31)))],
            "peers",
        ),
        (
            "LSU",
            vec![sender(), (symbol("ls"), peers(Value::from("1")))],
            "peers",
        ),
        ("MAR", vec![sender()], "have_seq"),
        ("MAU", vec![sender(), seq()], "add"),
        ("MAU", vec![sender(), seq(), (symbol("add"), list())], "del"),
        (
            "MAU",
            vec![
                sender(),
                seq(),
                (symbol("add"), list()),
                (symbol("exist"), list()),
            ],
            "exist",
        ),
        (
            "MAU",
            vec![sender(), seq(), (symbol("exist"), Value::Null)],
            "exist",
        ),
        (
            "MAU",
            vec![
                sender(),
                seq(),
                (symbol("exist"), Value::List(vec![list()])),
            ],
            "exist",
        ),
    ] {
        let body: Vec<_> = body;
        let shown = format!("{opcode} {body:?}");
        match error_of(&foreign(None, topo, opcode, body)) {
            Some(MessageError::Field { field: named, .. }) => assert_eq!(named, field, "{shown}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    let unknown = foreign(None, topo, "XYZ", vec![sender()]);
    assert_eq!(
        error_of(&unknown),
        Some(MessageError::Opcode("XYZ".to_owned()))
    );
    let elsewhere = foreign(None, "queue.one", "LSR", vec![sender()]);
    assert_eq!(
        error_of(&elsewhere),
        Some(MessageError::Address("queue.one".to_owned()))
    );
    assert_eq!(error_of(&foreign(None, topo, "LSR", vec![sender()])), None);
}

proptest! {
    #[test]
    fn damaged_messages_are_survived(sample in 0usize..12, at in any::<prop::sample::Index>(), octet: u8, cut: bool) {
        let names = ["HELLO_ALONE", "HELLO", "LSR", "RA", "RA_FORWARDED", "LSU", "LSU_2_4", "MAR", "MAU_EXIST",
            "MAU_ADD", "MAU_DEL", "MAU_MESH"];
        let mut octets = recorded(names[sample]).to_vec();
        let at = at.index(octets.len());
        if cut { octets.truncate(at); } else { octets[at] = octet; }
        let now = Instant::now();
        for me in ["ra", "rb", "rx"] {
            let mut routing = Routing::new(Config::new(id(me), 1), now);
            routing.link_up(ControlLink(1), 1, now);
            routing.link_up(ControlLink(2), 1, now);
            for name in names {
                routing.receive(ControlLink(1), &recorded(name), now);
            }
            routing.tick(now);
            routing.receive(ControlLink(1), &Bytes::from(octets.clone()), now);
            routing.receive(ControlLink(2), &Bytes::from(octets.clone()), now);
            routing.tick(now);
            while routing.poll().is_some() {}
        }
    }
}
