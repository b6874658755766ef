//! Requests against a small router, some of them as recorded from the client library of the C routers.

use std::sync::atomic::{AtomicUsize, Ordering};

use amqp::{
    Value,
    message::{Body, Message, Properties},
};
use bytes::{Bytes, BytesMut};
use model::router_config::{AddressMatch, EntityKey, EntityKind};

use super::*;
use crate::core::{access::Access, control_message::ConnectorState};

/// Interior router `ra` with neighbour `rb` and some connections.
pub(super) struct Router {
    pub(super) connections: u32,
    /// So many links, and what counts the rows made of them.
    pub(super) links: Option<(u32, &'static AtomicUsize)>,
}

const CONFIG: &str = r#"[
    ["router", {"id": "ra", "mode": "interior"}],
    ["sslProfile", {"name": "mine", "certFile": "/c/tls.crt", "privateKeyFile": "/c/tls.key",
                    "caCertFile": "/c/ca.crt", "protocols": "TLSv1.2 TLSv1.3"}],
    ["proxyProfile", {"name": "mine", "host": "proxy.example", "port": 3128,
                      "username": "me", "password": "very secret"}],
    ["listener", {"name": "ir", "host": "127.0.0.1", "port": 21001, "role": "inter-router",
                  "saslMechanisms": "ANONYMOUS"}],
    ["listener", {"name": "local", "unixSocket": "/run/router.sock"}],
    ["connector", {"name": "up", "host": "rb.example", "port": "55671", "role": "inter-router", "cost": 3,
                   "sslProfile": "mine", "saslUsername": "me", "saslPassword": "very secret"}],
    ["connector", {"name": "next", "host": "rc.example", "port": 55671, "role": "inter-router"}],
    ["address", {"prefix": "mc", "distribution": "multicast"}],
    ["log", {"module": "ROUTER_CORE", "enable": "error+"}],
    ["site", {"name": "here", "platform": "podman"}]
]"#;

impl Source for Router {
    fn router(&self) -> RouterRow {
        RouterRow {
            id: "ra".to_owned(),
            mode: "interior".to_owned(),
            area: "0".to_owned(),
            addr_count: 7,
            links_blocked: 1,
            worker_threads: 4,
            connection_counters: BTreeMap::from([("tcp".to_owned(), 2)]),
            ..RouterRow::default()
        }
    }

    fn connections(&self) -> Rows<ConnectionRow> {
        let rows = (1..=self.connections).map(|number| ConnectionRow {
            identity: number.to_string(),
            host: format!("127.0.0.1:{}", 30_000 + number),
            container: "rb".to_owned(),
            role: "inter-router".to_owned(),
            dir: "in".to_owned(),
            protocol: if number == 3 { "tcp" } else { "amqp" }.to_owned(),
            properties: BTreeMap::from([("qd.conn-id".to_owned(), Value::Int(9))]),
            ..ConnectionRow::default()
        });
        Box::new(rows)
    }

    fn nodes(&self) -> Vec<NodeRow> {
        vec![
            NodeRow {
                id: "ra".to_owned(),
                instance: 1_795_345_267,
                link_state: vec!["rb".to_owned()],
                next_hop: Some("(self)".to_owned()),
                ..NodeRow::default()
            },
            NodeRow {
                id: "rb".to_owned(),
                instance: 1_795_345_270,
                link_state: vec!["ra".to_owned()],
                cost: Some(3),
                ..NodeRow::default()
            },
        ]
    }

    fn addresses(&self) -> Rows<AddressRow> {
        Box::new(std::iter::once(AddressRow {
            key: "Msvc:1".to_owned(),
            distribution: "balanced".to_owned(),
            ..AddressRow::default()
        }))
    }

    fn tcp_listeners(&self) -> Rows<TcpListenerRow> {
        Box::new(std::iter::once(TcpListenerRow {
            name: "tl1".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: "21056".to_owned(),
            bytes_in: 5,
            bytes_out: 1 << 40,
            ..TcpListenerRow::default()
        }))
    }

    fn listener_addresses(&self) -> Vec<ListenerAddressRow> {
        vec![ListenerAddressRow {
            name: "la1".to_owned(),
            address: "svc".to_owned(),
            value: 3,
            listener: "tl1".to_owned(),
            connections_opened: 2,
        }]
    }

    fn tcp_connectors(&self) -> Rows<TcpConnectorRow> {
        Box::new(std::iter::empty())
    }

    fn allocations(&self) -> Vec<AllocatorRow> {
        vec![AllocatorRow {
            type_name: "connection".to_owned(),
            ..AllocatorRow::default()
        }]
    }

    fn tcp_connections(&self) -> Rows<TcpConnectionRow> {
        Box::new(std::iter::once(TcpConnectionRow {
            name: "127.0.0.1:30003@site".to_owned(),
            identity: "3".to_owned(),
            bytes_in: 5,
            bytes_out: 1 << 40,
            ..TcpConnectionRow::default()
        }))
    }

    fn links(&self) -> Rows<LinkRow> {
        if let Some((links, made)) = self.links {
            return rows_of(0..links, |number| {
                made.fetch_add(1, Ordering::Relaxed);
                LinkRow {
                    identity: number.to_string(),
                    ..LinkRow::default()
                }
            });
        }
        Box::new(std::iter::once(LinkRow {
            identity: "3".to_owned(),
            link_name: "l".to_owned(),
            ..LinkRow::default()
        }))
    }

    fn policy(&self) -> PolicyCounts {
        PolicyCounts {
            connections_processed: 9,
            connections_denied: 2,
            connections_current: 3,
            links_denied: 1,
        }
    }

    fn config(&self) -> Arc<RouterConfig> {
        Arc::new(RouterConfig::parse(CONFIG).unwrap().config)
    }

    fn log_lines(&self) -> Vec<LogLine> {
        let line = |text: &str| LogLine {
            module: "SERVER",
            level: "info",
            text: text.to_owned(),
            file: Some("x.rs"),
            line: Some(7),
            unix_seconds: 1_795_345_267,
        };
        vec![line("first"), line("second")]
    }

    fn log_counts(&self) -> BTreeMap<&'static str, LogCounts> {
        let counts = LogCounts {
            warning: 3,
            ..LogCounts::default()
        };
        BTreeMap::from([("SERVER", counts)])
    }

    fn connector_states(&self) -> BTreeMap<String, ConnectorState> {
        let state = ConnectorState {
            status: "FAILED".to_owned(),
            message: "connection refused".to_owned(),
            servers: "amqp://h:1, amqp://h:2".to_owned(),
        };
        BTreeMap::from([("up".to_owned(), state)])
    }
}

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
fn recorded_changes_are_understood_and_answered_as_recorded() {
    let request = recorded("create");
    let created = change(&request);
    let Action::Create(entity) = &created.action else {
        panic!("{created:?}")
    };
    assert_eq!(entity.key(), named(EntityKind::TcpListener, "tl1"));
    let key = entity.key();
    let (status, description, body) =
        over_the_wire(&request, &created.finished(Ok(key.clone())).answer(&ROUTER));
    assert_eq!((status, description.as_str()), (201, "Created"));
    for (attribute, value) in [
        ("name", "tl1"),
        ("type", "io.skupper.router.tcpListener"),
        ("identity", "tcpListener/127.0.0.1:21056:tl1"),
        ("port", "21056"),
    ] {
        assert_eq!(body.get(attribute), Some(&value.into()), "{attribute}");
    }

    let request = recorded("delete");
    let deleted = change(&request);
    assert!(matches!(&deleted.action, Action::Delete(deleted) if *deleted == key));
    assert_eq!(
        over_the_wire(&request, &deleted.finished(Ok(key)).answer(&ROUTER)),
        (204, "No Content".to_owned(), Value::Map(Vec::new()))
    );
}

#[test]
fn every_configured_kind_can_be_made() {
    let mc = [
        ("prefix", Value::from("x")),
        ("distribution", Value::from("closest")),
    ];
    let connector = [
        ("host", Value::from("rd.example")),
        ("port", Value::from("55671")),
        ("role", Value::from("inter-router")),
        ("cost", Value::Long(2)),
        ("verifyHostname", Value::Bool(false)),
    ];
    let tcp = [
        ("host", Value::from("h")),
        ("port", Value::Int(80)),
        ("address", Value::from("a")),
    ];
    let listener = [("port", Value::from("7000")), ("http", Value::Bool(true))];
    let profile = [("caCertFile", Value::from("/c/ca.crt"))];
    for (entity, attributes, key) in [
        (
            "router.config.address",
            &mc[..],
            EntityKey::Address(AddressMatch::Prefix("x".to_owned())),
        ),
        (
            "io.skupper.router.connector",
            &connector,
            named(EntityKind::Connector, "n"),
        ),
        ("tcpConnector", &tcp, named(EntityKind::TcpConnector, "n")),
        ("tcpListener", &tcp, named(EntityKind::TcpListener, "n")),
        ("listener", &listener, named(EntityKind::Listener, "n")),
        ("sslProfile", &profile, named(EntityKind::SslProfile, "n")),
    ] {
        let request = changing("CREATE", entity, Some("n"), attributes);
        match &change(&request).action {
            Action::Create(entity) => assert_eq!(entity.key(), key),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn entities_are_found_by_name_or_identity() {
    let by_identity = texts(&[
        ("operation", "DELETE"),
        ("type", "connector"),
        ("identity", "connector/rb.example:55671:up"),
    ]);
    let expected = named(EntityKind::Connector, "up");
    assert!(matches!(&change(&by_identity).action, Action::Delete(key) if *key == expected));
    let update = changing(
        "UPDATE",
        "log",
        Some("log/ROUTER_HELLO"),
        &[
            ("enable", "debug+".into()),
            ("name", "log/ROUTER_HELLO".into()),
        ],
    );
    let module = named(EntityKind::Log, "ROUTER_HELLO");
    match &change(&update).action {
        Action::Update(key, attributes) => {
            assert_eq!((key, attributes.len()), (&module, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let create = |attributes: &[(&str, Value)]| {
        refused(&changing("CREATE", "tcpListener", Some("x"), attributes))
    };
    let whole = [("port", Value::Int(1)), ("address", Value::from("a"))];
    let with = |name: &'static str, value: Value| {
        let mut attributes = whole.to_vec();
        attributes.push((name, value));
        attributes
    };
    assert_eq!(
        create(&with("bogus", Value::Long(1))),
        (
            400,
            "Unknown attribute 'bogus' for 'io.skupper.router.tcpListener'".to_owned()
        )
    );
    for (attributes, says) in [
        (whole[..1].to_vec(), "has no address"),
        (whole[1..].to_vec(), "has no port"),
        (with("host", list([Value::Null])), "'host' is not usable"),
        (with("authenticatePeer", "maybe".into()), "maybe"),
        (with("port", Value::Int(1)), "'port' is there twice"),
        (with("name", "y".into()), "Conflicting values for name"),
        (
            with("type", "listener".into()),
            "Conflicting values for type",
        ),
    ] {
        let (status, description) = create(&attributes);
        assert!(status == 400 && description.contains(says), "{description}");
    }
    let text = Message {
        body: Body::Value(Value::from("x")),
        ..changing("CREATE", "tcpListener", Some("x"), &[])
    };
    assert_eq!(refused(&text).0, 400);
    assert_eq!(
        refused(&changing("CREATE", "toaster", None, &[])),
        (400, "No such entity type 'toaster'".to_owned())
    );
    assert_eq!(
        refused(&changing("CREATE", "router.node", Some("x"), &[])),
        (
            501,
            "Operation 'CREATE' not implemented for 'io.skupper.router.router.node' ['READ']"
                .to_owned()
        )
    );
    assert_eq!(refused(&texts(&[("operation", "DELETE")])).0, 400);
    assert_eq!(
        refused(&changing("DELETE", "connector", Some("none"), &[])),
        (404, "No entity with name=none".to_owned())
    );
    let renamed = changing(
        "UPDATE",
        "connector",
        Some("up"),
        &[("name", "down".into())],
    );
    assert_eq!(refused(&renamed).0, 400);
}

#[test]
fn outcomes_of_changes_become_answers() {
    let request = recorded("create");
    let outcome = |error: ChangeError| {
        let answer = change(&request).finished(Err(error)).answer(&ROUTER);
        let (status, description, body) = over_the_wire(&request, &answer);
        assert_eq!(body, Value::Map(Vec::new()));
        (status, description)
    };
    let key = || named(EntityKind::TcpListener, "tl1");
    let (status, description) = outcome(ChangeError::Duplicate(key(), "in the configuration file"));
    assert_eq!(status, 400);
    assert!(
        description.contains("duplicate value") && description.contains("configuration file"),
        "{description}"
    );
    assert_eq!(outcome(ChangeError::Unknown(key())).0, 404);
    assert_eq!(
        outcome(ChangeError::Refused("no".to_owned())),
        (400, "no".to_owned())
    );
    let busy = over_the_wire(&request, &change(&request).busy());
    assert_eq!(busy.0, 503);
}

#[test]
fn who_may_only_read_changes_nothing() {
    for request in [
        recorded("create"),
        recorded("delete"),
        changing("DELETE", "connector", Some("up"), &[]),
        changing("UPDATE", "connection", Some("x"), &[]),
    ] {
        let (status, description, _) = answer(&request);
        assert_eq!(status, 403);
        assert!(description.starts_with("Forbidden"), "{description}");
    }
}

#[test]
fn a_connection_is_closed_by_its_admin_status() {
    let update = |attributes: &[(&str, Value)]| {
        let mut request = changing("UPDATE", "connection", None, attributes);
        request
            .application_properties
            .push(("identity".into(), "2".into()));
        request
    };
    let request = update(&[("adminStatus", "deleted".into())]);
    match handle(&request, &ROUTER, Access::Full).unwrap() {
        Handled::Close { connection, answer } => {
            assert_eq!(connection, "2");
            let (status, _, body) = over_the_wire(&request, &answer);
            assert_eq!(
                (status, body.get("operStatus")),
                (200, Some(&"closing".into()))
            );
        }
        other => panic!("{other:?}"),
    }
    let kept = update(&[("adminStatus", "enabled".into())]);
    assert!(matches!(
        handle(&kept, &ROUTER, Access::Full),
        Some(Handled::Answer(_))
    ));
    assert_eq!(refused(&update(&[("role", "edge".into())])).0, 400);
    let unknown = changing(
        "UPDATE",
        "connection",
        Some("none"),
        &[("adminStatus", "deleted".into())],
    );
    assert_eq!(refused(&unknown), (404, "Not Found".to_owned()));
    // TCP flows are connections like others.
    let mut flow = update(&[("adminStatus", "deleted".into())]);
    flow.application_properties.pop();
    flow.application_properties
        .push(("identity".into(), "3".into()));
    assert!(matches!(
        handle(&flow, &ROUTER, Access::Full),
        Some(Handled::Close { connection, .. }) if connection == "3"
    ));
}

#[test]
fn what_has_its_name_alone_needs_no_type() {
    let changing = |operation: &str, name: &str| texts(&[("operation", operation), ("name", name)]);
    for (operation, name, kind) in [
        ("DELETE", "up", EntityKind::Connector),
        ("DELETE", "tl1", EntityKind::TcpListener),
        ("UPDATE", "log/SERVER", EntityKind::Log),
    ] {
        match handle(&changing(operation, name), &ROUTER, Access::Full).unwrap() {
            Handled::Change(change) => match change.action {
                Action::Delete(key) | Action::Update(key, _) => assert_eq!(key.kind(), kind),
                Action::Create(_) => panic!("nothing is made"),
            },
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(answer(&changing(operation, name)).0, 403, "{name}");
    }
    let (status, description) = refused(&changing("DELETE", "mine"));
    assert_eq!(status, 400);
    assert!(
        description.contains("sslProfile") && description.contains("proxyProfile"),
        "{description}"
    );
    assert_eq!(refused(&changing("DELETE", "nobody")).0, 404);
    let nameless = texts(&[("operation", "DELETE")]);
    assert_eq!(refused(&nameless).0, 400);
    let made = changing("CREATE", "new");
    assert_eq!(refused(&made), (400, "No type".to_owned()));
}

#[test]
fn there_is_always_a_network_and_a_policy() {
    let row = |entity: &str, attributes: &[&str]| {
        let (_, mut rows) = results(&query(entity, attributes, 0, 0));
        assert_eq!(rows.len(), 1, "{entity}");
        rows.remove(0)
    };
    assert_eq!(
        row("network", &["name", "networkId", "tenantId"]),
        list(["network/0".into(), Value::Null, Value::Null])
    );
    assert_eq!(
        row(
            "policy",
            &["connectionsProcessed", "connectionsDenied", "totalDenials"]
        ),
        list([Value::Int(9), Value::Int(2), Value::Int(3)])
    );
    let proxy = results(&query("proxyProfile", &[], 0, 0));
    assert!(!format!("{proxy:?}").contains("secret"));
    assert!(format!("{proxy:?}").contains("proxy.example"));
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
fn the_schema_names_all_types() {
    let schema = answer(&texts(&[("operation", "GET-SCHEMA")])).2;
    let types = schema.get("entityTypes").unwrap();
    assert_eq!(types.as_map().unwrap().len(), entity::TYPES.len());
    let listener = types.get("tcpListener").unwrap();
    assert!(listener.get("attributes").unwrap().get("address").is_some());
    let Value::String(json) = answer(&texts(&[("operation", "GET-JSON-SCHEMA")])).2 else {
        panic!("no text")
    };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["prefix"], "io.skupper.router");
    assert_eq!(
        json["entityTypes"]["router.link"]["operations"],
        serde_json::json!(["READ"])
    );
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

#[test]
fn long_and_short_names_and_any_case_are_understood() {
    for name in ["router.address", "io.skupper.router.router.address"] {
        assert_eq!(
            results(&query(name, &["key"], 0, 0)).1,
            [list(["Msvc:1".into()])]
        );
    }
    let lower = texts(&[("operation", "read"), ("type", "router"), ("identity", "1")]);
    assert_eq!(answer(&lower).2.get("id"), Some(&Value::from("ra")));
    let metrics = query(
        "org.apache.qpid.dispatch.routerMetrics",
        &["type", "addrCount"],
        0,
        0,
    );
    assert_eq!(
        results(&metrics).1,
        [list([
            "org.apache.qpid.dispatch.routerMetrics".into(),
            Value::Ulong(7)
        ])]
    );
}

#[test]
fn unknown_attributes_are_answered_as_the_agents_of_c_routers_do() {
    let (names, rows) = results(&query("connection", &["dir", "bogus"], 0, 1));
    assert_eq!(names, ["dir", "name"]);
    assert_eq!(
        rows,
        [list(["in".into(), "connection/127.0.0.1:30001".into()])]
    );
    let (names, rows) = results(&query("listener", &["name", "bogus"], 0, 1));
    assert_eq!(names, ["name", "bogus"]);
    assert_eq!(rows, [list(["ir".into(), Value::Null])]);
}

#[test]
fn pages_are_cut_out_of_the_rows() {
    let identities = |offset, count| -> Vec<String> {
        let rows = results(&query("connection", &["identity"], offset, count)).1;
        rows.iter()
            .map(|row| row.as_list().unwrap()[0].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(identities(0, 0), ["1", "2", "3"]);
    assert_eq!(identities(0, 2), ["1", "2"]);
    assert_eq!(identities(2, 2), ["3"]);
    assert!(identities(3, 2).is_empty());
    assert!(identities(u64::MAX / 2, 2).is_empty());
}

#[test]
fn every_type_answers_with_all_its_attributes() {
    for entity in entity::TYPES {
        let (names, rows) = results(&query(entity.name, &[], 0, 0));
        assert_eq!(names, entity.attributes, "{}", entity.name);
        assert_eq!(names[..3], ["name", "identity", "type"]);
        for (row, made) in rows.iter().zip(entity.rows(&ROUTER)) {
            let columns: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
            assert_eq!(columns, entity.attributes, "{}", entity.name);
            assert_eq!(row.as_list().unwrap().len(), names.len());
        }
    }
    // of all types at once
    let all = texts(&[("operation", "QUERY")]);
    let (_, rows) = results(&all);
    assert!(rows.len() > 10);
}

#[test]
fn attributes_have_the_types_of_c_routers() {
    let read = |entity: &str, name: &str| {
        answer(&texts(&[
            ("operation", "READ"),
            ("type", entity),
            ("name", name),
        ]))
        .2
    };
    let router = read("router", "ra");
    assert_eq!(router.get("addrCount"), Some(&Value::Ulong(7)));
    assert_eq!(router.get("linksBlocked"), Some(&Value::Uint(1)));
    assert_eq!(router.get("workerThreads"), Some(&Value::Int(4)));
    assert_eq!(router.get("vanId"), Some(&Value::Null));
    assert_eq!(
        router.get("connectionCounters").unwrap().get("tcp"),
        Some(&Value::Ulong(2))
    );
    let connection = read("connection", "connection/127.0.0.1:30002");
    assert_eq!(connection.get("identity"), Some(&Value::from("2")));
    assert_eq!(
        connection.get("properties").unwrap().get("qd.conn-id"),
        Some(&Value::Int(9))
    );
    let listener = read("tcpListener", "tl1");
    assert_eq!(
        listener.get("identity"),
        Some(&Value::from("tcpListener/127.0.0.1:21056:tl1"))
    );
    assert_eq!(listener.get("bytesIn"), Some(&Value::Int(5)));
    assert_eq!(listener.get("bytesOut"), Some(&Value::Long(1 << 40)));
}

#[test]
fn configured_entities_show_their_state_and_no_secret() {
    let (names, rows) = results(&query(
        "connector",
        &["name", "connectionStatus", "connectionMsg", "failoverUrls"],
        0,
        0,
    ));
    assert_eq!(names.len(), 4);
    assert_eq!(
        rows,
        [
            list(["next".into(), "INITIALIZING".into(), "".into(), "".into()]),
            list([
                "up".into(),
                "FAILED".into(),
                "connection refused".into(),
                "amqp://h:1, amqp://h:2".into()
            ]),
        ]
    );
    let all: Vec<Value> = entity::TYPES
        .iter()
        .flat_map(|entity| results(&query(entity.name, &[], 0, 0)).1)
        .collect();
    assert!(!format!("{all:?}").contains("very secret"));
    let one =
        |entity: &str, attribute: &str| results(&query(entity, &[attribute], 0, 1)).1[0].clone();
    let logs = results(&query("log", &["module", "enable"], 0, 0)).1;
    assert!(logs.contains(&list(["ROUTER_CORE".into(), "error+".into()])));
    assert!(logs.contains(&list(["DEFAULT".into(), "default".into()])));
    assert_eq!(one("router.config.address", "prefix"), list(["mc".into()]));
    assert_eq!(
        one("sslProfile", "protocols"),
        list(["TLSv1.2 TLSv1.3".into()])
    );
    assert_eq!(one("site", "platform"), list(["podman".into()]));
}

#[test]
fn the_types_describe_themselves() {
    let describe = |operation: &str, entity: &str| {
        answer(&texts(&[("operation", operation), ("entityType", entity)])).2
    };
    let attributes = describe("GET-ATTRIBUTES", "router.node");
    let names = attributes
        .get("io.skupper.router.router.node")
        .unwrap()
        .as_list()
        .unwrap();
    assert!(names.contains(&Value::from("nextHop")));
    let operations = describe("GET-OPERATIONS", "listener");
    assert_eq!(
        operations.get("io.skupper.router.listener"),
        Some(&list([
            "CREATE".into(),
            "READ".into(),
            "UPDATE".into(),
            "DELETE".into()
        ]))
    );
    let operations = describe("GET-OPERATIONS", "router.address");
    assert_eq!(
        operations.get("io.skupper.router.router.address"),
        Some(&list(["READ".into()]))
    );
    let types = answer(&texts(&[("operation", "GET-TYPES")])).2;
    assert_eq!(
        types.as_map().unwrap().len(),
        entity::TYPES.len() + entity::BASES.len()
    );
    assert_eq!(
        answer(&texts(&[("operation", "GET-ANNOTATIONS")])).2,
        Value::Map(Vec::new())
    );
}

#[test]
fn types_that_sum_up_others_show_what_is_common() {
    let count = |entity: &str| {
        let (names, rows) = results(&query(entity, &[], 0, 0));
        assert_eq!(names, ["name", "identity", "type"]);
        rows.len()
    };
    assert_eq!(
        count("entity"),
        count("configurationEntity") + count("operationalEntity")
    );
    assert!(count("configurationEntity") > 10);
    // They are no entities beside their members.
    let (_, all) = results(&texts(&[("operation", "QUERY")]));
    assert_eq!(all.len(), count("entity"));
}

#[test]
fn the_node_is_an_entity_too() {
    let node = Value::from("io.skupper.router.management");
    let own = |properties: &[(&str, &str)]| answer(&texts(properties)).2;
    for read in [
        own(&[("operation", "READ")]),
        own(&[("operation", "READ"), ("identity", "self")]),
        own(&[
            ("operation", "READ"),
            ("type", "org.amqp.management"),
            ("name", "self"),
        ]),
    ] {
        assert_eq!(read.get("type"), Some(&node), "{read:?}");
    }
    let rows = results(&query("org.amqp.management", &["identity"], 0, 0)).1;
    assert_eq!(rows, [list(["self".into()])]);
    let rows = results(&query("vhostUserGroupSettings", &[], 0, 0)).1;
    assert!(rows.is_empty());
}

#[test]
fn what_cannot_be_done_is_looked_for_first() {
    let request = |operation: &str, entity: &str, identity: &str| {
        texts(&[
            ("operation", operation),
            ("type", entity),
            ("identity", identity),
        ])
    };
    // Entities of the core are never to be changed, others do not offer it.
    for (operation, entity, identity, status) in [
        ("DELETE", "connection", "1", 403),
        ("DELETE", "connection", "77", 404),
        ("UPDATE", "router.link", "3", 403),
        ("UPDATE", "router.link", "77", 404),
        ("DELETE", "router.node", "router.node/ra", 501),
        ("DELETE", "router.node", "router.node/zz", 404),
        ("DELETE", "log", "log/DEFAULT", 501),
        ("CREATE", "router.link", "77", 501),
        ("CREATE", "log", "log/DEFAULT", 501),
    ] {
        let refusal = refused(&request(operation, entity, identity));
        assert_eq!(refusal.0, status, "{operation} {entity}: {}", refusal.1);
    }
    let both = texts(&[
        ("operation", "READ"),
        ("type", "listener"),
        ("name", "ir"),
        ("identity", "other"),
    ]);
    assert_eq!(
        refused(&both),
        (400, "Conflicting name=ir identity=other".to_owned())
    );
}

/// A router with many links; `made` counts the rows made of them.
fn with_links(links: u32, made: &'static AtomicUsize) -> Router {
    Router {
        connections: 1,
        links: Some((links, made)),
    }
}

fn begun(request: &Message, router: &Router) -> Query {
    match handle(request, router, Access::Read) {
        Some(Handled::Query(query)) => *query,
        other => panic!("{other:?}"),
    }
}

fn result_rows(request: &Message, query: Query, router: &Router) -> Vec<Value> {
    let (_, _, body) = over_the_wire(request, &whole(query, router));
    body.get("results").unwrap().as_list().unwrap().to_vec()
}

#[test]
fn a_turn_makes_no_more_rows_than_it_may() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let router = with_links(10_000, &MADE);
    let request = query("router.link", &["identity"], 0, 0);
    let mut query = begun(&request, &router);
    let mut turns = 1;
    while !query.turn(&router, 256, 1 << 20) {
        assert!(MADE.load(Ordering::Relaxed) <= turns * 256);
        turns += 1;
    }
    assert_eq!((turns, MADE.load(Ordering::Relaxed)), (40, 10_000));
    assert_eq!(result_rows(&request, query, &router).len(), 10_000);
}

#[test]
fn no_rows_are_made_of_what_is_before_a_page() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let router = with_links(10_000, &MADE);
    let request = query("router.link", &["identity"], 9_000, 100);
    let rows = result_rows(&request, begun(&request, &router), &router);
    assert_eq!(rows.len(), 100);
    assert_eq!(rows[0], list([Value::from("9000")]));
    assert!(MADE.load(Ordering::Relaxed) <= 102);
}

#[test]
fn an_answer_that_would_be_too_large_is_refused() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let router = with_links(10_000, &MADE);
    let request = query("router.link", &["identity"], 0, 0);
    let mut query = begun(&request, &router);
    while !query.turn(&router, 256, 10_000) {}
    assert!(MADE.load(Ordering::Relaxed) < 2_000);
    let answer = Message::decode(&query.answer().message.concat().into()).unwrap();
    let (status, description, body) = over_the_wire(&request, &answer);
    assert_eq!(status, 400);
    assert!(description.contains("count and offset"), "{description}");
    assert_eq!(body, Value::Map(Vec::new()));
}
