//! Requests against a small router, some of them as recorded from the client library of the C routers.

mod changes;
mod entities;
mod router;
mod turns;

use std::sync::atomic::{AtomicUsize, Ordering};

use amqp::{
    Value,
    message::{Body, Message, Properties},
};
use bytes::{Bytes, BytesMut};
use model::router_config::{AddressMatch, EntityKey, EntityKind};

pub(super) use self::router::Router;
use super::*;
use crate::core::access::Access;

const ROUTER: Router = Router {
    connections: 3,
    links: None,
};

fn recorded(name: &str) -> Message {
    let lines = include_str!("tests/requests.txt").lines();
    let hex = lines
        .filter_map(|line| line.split_once(' '))
        .find(|(known, _)| *known == name)
        .unwrap()
        .1;
    let octets: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    Message::decode(&Bytes::from(octets)).unwrap()
}

fn request(properties: &[(&str, Value)]) -> Message {
    Message {
        properties: Properties {
            reply_to: Some("reply".to_owned()),
            correlation_id: Value::Ulong(5),
            ..Properties::default()
        },
        application_properties: properties
            .iter()
            .map(|(key, value)| (Value::from(*key), value.clone()))
            .collect(),
        ..Message::default()
    }
}

fn texts(properties: &[(&str, &str)]) -> Message {
    let values: Vec<(&str, Value)> = properties
        .iter()
        .map(|(key, value)| (*key, Value::from(*value)))
        .collect();
    request(&values)
}

fn query(entity: &str, attributes: &[&str], offset: u64, count: u64) -> Message {
    let names = attributes.iter().copied().map(Value::from).collect();
    Message {
        body: Body::Value(Value::Map(vec![(
            Value::from("attributeNames"),
            Value::List(names),
        )])),
        ..request(&[
            ("operation", Value::from("QUERY")),
            ("type", Value::from("org.amqp.management")),
            ("entityType", Value::from(entity)),
            ("offset", Value::Ulong(offset)),
            ("count", Value::Long(count.try_into().unwrap())),
        ])
    }
}

/// Status, description and body of the answer, after a way over the wire.
fn answer(request: &Message) -> (i64, String, Value) {
    match handle(request, &ROUTER, Access::Read).unwrap() {
        Handled::Answer(answer) => over_the_wire(request, &answer),
        Handled::Query(query) => over_the_wire(request, &whole(*query, &ROUTER)),
        other => panic!("no answer: {other:?}"),
    }
}

/// The answer to a query, made in small turns.
pub(super) fn whole(mut query: Query, source: &dyn Source) -> Message {
    while !query.turn(source, 3, 1 << 20) {}
    let answer = query.answer();
    let message = Message::decode(&answer.message.concat().into()).unwrap();
    assert_eq!(message.properties.to, Some(answer.to));
    message
}

fn over_the_wire(request: &Message, answer: &Message) -> (i64, String, Value) {
    let mut octets = BytesMut::new();
    answer.encode(&mut octets);
    let answer = Message::decode(&octets.freeze()).unwrap();
    assert_eq!(answer.properties.to, request.properties.reply_to);
    assert_eq!(
        answer.properties.correlation_id,
        request.properties.correlation_id
    );
    let property = |key: &str| {
        answer
            .application_properties
            .iter()
            .find(|(name, _)| name.as_str() == Some(key))
            .unwrap()
            .1
            .clone()
    };
    assert!(matches!(property("statusCode"), Value::Int(_)));
    let Body::Value(body) = answer.body else {
        panic!("the body is no value")
    };
    (
        property("statusCode").as_i64().unwrap(),
        property("statusDescription").as_str().unwrap().to_owned(),
        body,
    )
}

fn list<const N: usize>(values: [Value; N]) -> Value {
    Value::List(Vec::from(values))
}

fn results(request: &Message) -> (Vec<String>, Vec<Value>) {
    let (status, description, body) = answer(request);
    assert_eq!((status, description.as_str()), (200, "OK"));
    let names = body.get("attributeNames").unwrap().as_list().unwrap();
    let names = names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    (
        names,
        body.get("results").unwrap().as_list().unwrap().to_vec(),
    )
}

/// The change that a request asks for.
fn change(request: &Message) -> Box<Change> {
    match handle(request, &ROUTER, Access::Full).unwrap() {
        Handled::Change(change) => change,
        other => panic!("no change: {other:?}"),
    }
}

/// Status and description of a request that is refused although its sender may change the router.
fn refused(request: &Message) -> (i64, String) {
    match handle(request, &ROUTER, Access::Full).unwrap() {
        Handled::Answer(answer) => {
            let (status, description, body) = over_the_wire(request, &answer);
            assert_eq!(body, Value::Map(Vec::new()));
            (status, description)
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn changing(
    operation: &str,
    entity: &str,
    name: Option<&str>,
    attributes: &[(&str, Value)],
) -> Message {
    let mut properties = vec![("operation", operation), ("type", entity)];
    properties.extend(name.map(|name| ("name", name)));
    let entries = attributes
        .iter()
        .map(|(name, value)| (Value::from(*name), value.clone()));
    Message {
        body: Body::Value(Value::Map(entries.collect())),
        ..texts(&properties)
    }
}

fn named(kind: EntityKind, name: &str) -> EntityKey {
    EntityKey::Named(kind, name.to_owned())
}

#[test]
fn recorded_queries_get_the_recorded_answers() {
    let (names, rows) = results(&recorded("nodes"));
    assert_eq!(names, ["id", "instance", "linkState", "nextHop", "cost"]);
    let ids = |id: &str| list([Value::from(id)]);
    assert_eq!(
        rows,
        [
            list([
                "ra".into(),
                Value::Int(1_795_345_267),
                ids("rb"),
                "(self)".into(),
                Value::Null
            ]),
            list([
                "rb".into(),
                Value::Int(1_795_345_270),
                ids("ra"),
                Value::Null,
                Value::Int(3)
            ]),
        ]
    );
    let (names, rows) = results(&recorded("connections"));
    assert_eq!(names, ["identity", "container", "role", "dir"]);
    assert_eq!(
        rows,
        [list([
            "1".into(),
            "rb".into(),
            "inter-router".into(),
            "in".into()
        ])]
    );
    let (names, rows) = results(&recorded("router"));
    assert_eq!(
        (names.len(), rows),
        (2, vec![list(["ra".into(), "interior".into()])])
    );
    assert_eq!(
        answer(&recorded("management-nodes")).2,
        list([
            "amqp:/_topo/0/ra/$management".into(),
            "amqp:/_topo/0/rb/$management".into()
        ])
    );
}

#[test]
fn recorded_reads_get_the_recorded_answers() {
    let (status, _, body) = answer(&recorded("read-listener"));
    assert_eq!(status, 200);
    for (attribute, value) in [
        ("name", Value::from("ir")),
        ("identity", Value::from("listener/127.0.0.1:21001:ir")),
        ("type", Value::from("io.skupper.router.listener")),
        ("port", Value::from("21001")),
        ("role", Value::from("inter-router")),
        ("saslMechanisms", Value::from("ANONYMOUS")),
        ("cost", Value::Int(1)),
        ("maxFrameSize", Value::Int(16384)),
        ("maxSessions", Value::Int(32768)),
        ("idleTimeoutSeconds", Value::Int(16)),
        ("initialHandshakeTimeoutSeconds", Value::Int(0)),
        ("stripAnnotations", Value::from("both")),
        ("authenticatePeer", Value::Bool(false)),
        ("healthz", Value::Bool(true)),
        ("http", Value::Bool(false)),
    ] {
        assert_eq!(body.get(attribute), Some(&value), "{attribute}");
    }
    assert_eq!(body.get("sslProfile"), None);
    assert_eq!(
        answer(&recorded("read-missing")),
        (
            404,
            "No entity with name=missing".to_owned(),
            Value::Map(Vec::new())
        )
    );
}

#[test]
fn the_log_is_told_from_its_end() {
    let line = |text: &str| {
        list([
            "SERVER".into(),
            "info".into(),
            text.into(),
            "x.rs".into(),
            Value::Uint(7),
            Value::Long(1_795_345_267),
        ])
    };
    let ask = |limit: &[(&str, Value)]| {
        let mut properties = vec![("operation", Value::from("GET-LOG"))];
        properties.extend_from_slice(limit);
        answer(&request(&properties)).2
    };
    assert_eq!(ask(&[]), list([line("first"), line("second")]));
    assert_eq!(ask(&[("limit", Value::Int(1))]), list([line("second")]));
    assert_eq!(ask(&[("limit", Value::from("1"))]), list([line("second")]));
    let stats = results(&query(
        "logStats",
        &["name", "warningCount", "errorCount"],
        0,
        0,
    ))
    .1;
    assert!(stats.contains(&list([
        "logStats/SERVER".into(),
        Value::Int(3),
        Value::Int(0)
    ])));
}

#[test]
fn mistakes_are_told() {
    let unknown = (
        400,
        "No such entity type 'toaster'".to_owned(),
        Value::Map(Vec::new()),
    );
    assert_eq!(answer(&query("toaster", &[], 0, 0)), unknown);
    assert_eq!(
        answer(&texts(&[
            ("operation", "READ"),
            ("type", "toaster"),
            ("name", "x")
        ])),
        unknown
    );
    assert_eq!(answer(&request(&[])).0, 400);
    assert_eq!(
        answer(&texts(&[("operation", "READ"), ("type", "listener")])).0,
        400
    );
    let core = texts(&[
        ("operation", "READ"),
        ("type", "connection"),
        ("identity", "99"),
    ]);
    assert_eq!(
        answer(&core),
        (404, "Not Found".to_owned(), Value::Map(Vec::new()))
    );
    let negative = request(&[
        ("operation", Value::from("QUERY")),
        ("entityType", Value::from("connection")),
        ("offset", Value::Int(-1)),
    ]);
    assert_eq!(answer(&negative).0, 400);
    let names = Message {
        body: Body::Value(Value::Map(vec![(
            Value::from("attributeNames"),
            Value::Int(1),
        )])),
        ..texts(&[("operation", "QUERY"), ("entityType", "connection")])
    };
    assert_eq!(answer(&names).0, 400);
}

#[test]
fn a_request_without_reply_address_is_not_answered() {
    let mut request = query("router", &[], 0, 0);
    request.properties.reply_to = None;
    assert!(handle(&request, &ROUTER, Access::Full).is_none());
}
