//! Requests to the management agent, over a small router whose configuration they change.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each target uses one of the entry points"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use amqp::message::{Body, Message, Properties};
use amqp::{BytesMut, Symbol, Value};
use model::router_config::{Entity, EntityKey, RouterConfig};
use router::core::{access::Access, control_message::ConnectorState};
use router::management::{
    Action, AddressRow, AllocatorRow, Change, ChangeError, ConnectionRow, Handled, LinkRow,
    ListenerAddressRow, LogCounts, LogLine, NodeRow, PolicyCounts, RouterRow, Rows, Source,
    TcpConnectionRow, TcpConnectorRow, TcpListenerRow, handle,
};

use super::drive::Script;

const CONFIG: &str = r#"[
    ["router", {"id": "r", "mode": "interior"}],
    ["sslProfile", {"name": "p", "caCertFile": "/c/ca.crt"}],
    ["proxyProfile", {"name": "x", "host": "proxy", "port": 3128, "username": "u", "password": "w"}],
    ["listener", {"name": "l", "host": "127.0.0.1", "port": 5672}],
    ["connector", {"name": "c", "host": "h", "port": 55671, "role": "inter-router", "sslProfile": "p", "proxyProfile": "x"}],
    ["address", {"prefix": "mc", "distribution": "multicast"}],
    ["tcpListener", {"name": "tl", "address": "a", "port": 8080}],
    ["tcpConnector", {"name": "tc", "address": "a", "host": "h", "port": 80}],
    ["log", {"module": "ROUTER_CORE", "enable": "error+"}]
]"#;
const OPERATIONS: &[&str] = &[
    "QUERY",
    "READ",
    "CREATE",
    "UPDATE",
    "DELETE",
    "GET-TYPES",
    "GET-ATTRIBUTES",
    "GET-OPERATIONS",
    "GET-ANNOTATIONS",
    "GET-MGMT-NODES",
    "GET-SCHEMA",
    "GET-JSON-SCHEMA",
    "GET-LOG",
    "query",
    "X",
];
const TYPES: &[&str] = &[
    "org.amqp.management",
    "io.skupper.router.router",
    "io.skupper.router.routerMetrics",
    "connection",
    "router.link",
    "router.address",
    "router.node",
    "listener",
    "connector",
    "sslProfile",
    "proxyProfile",
    "tcpListener",
    "tcpConnector",
    "address",
    "router.config.address",
    "log",
    "logStats",
    "site",
    "policy",
    "network",
    "nothing",
    "",
];
const NAMES: &[&str] = &[
    "l",
    "c",
    "p",
    "x",
    "tl",
    "tc",
    "mc",
    "log/ROUTER_CORE",
    "log/TCP_ADAPTOR",
    "new",
    "1",
    "",
];
const ATTRIBUTES: &[&str] = &[
    "name",
    "identity",
    "type",
    "host",
    "port",
    "role",
    "cost",
    "address",
    "prefix",
    "pattern",
    "distribution",
    "priority",
    "sslProfile",
    "proxyProfile",
    "caCertFile",
    "protocols",
    "ordinal",
    "module",
    "enable",
    "adminStatus",
    "username",
    "password",
    "encapsulation",
    "siteId",
    "unixSocket",
    "idleTimeoutSeconds",
    "saslMechanisms",
    "x",
];
const WORDS: &[&str] = &[
    "inter-router",
    "normal",
    "edge",
    "amqps",
    "5671",
    "multicast",
    "balanced",
    "error+",
    "trace+;debug-",
    "TLSv1.3",
    "deleted",
    "enabled",
    "lite",
    "a.*.#",
    "yes",
    "",
];
static START: LazyLock<Arc<RouterConfig>> = LazyLock::new(|| {
    let parsed = RouterConfig::parse(CONFIG).expect("a usable configuration");
    Arc::new(parsed.config)
});
/// Changes that one script may make.
const MOST_ENTITIES: usize = 64;

/// Lets the agent handle requests one after the other. What it wants changed is changed in the configuration.
pub fn management(data: &[u8]) {
    let mut script = Script(data);
    let mut router = Router(START.clone());
    while !script.0.is_empty() {
        let access = match script.below(8) {
            0 => Access::None,
            1 => Access::Read,
            _ => Access::Full,
        };
        let request = match script.below(8) {
            0 => match Message::decode(&script.octets()) {
                Ok(request) => request,
                Err(_) => continue,
            },
            _ => request(&mut script),
        };
        match handle(&request, &router, access) {
            None => assert!(request.properties.reply_to.is_none()),
            Some(Handled::Answer(answer)) => check(&request, &answer),
            Some(Handled::Query(mut query)) => {
                while !query.turn(&router, 2, 1 << 20) {}
                let answer = query.answer();
                assert_eq!(Some(&answer.to), request.properties.reply_to.as_ref());
                let octets = answer.message.concat().into();
                let answer = Message::decode(&octets).expect("answers are messages");
                check(&request, &answer);
            }
            Some(Handled::Close { connection, answer }) => {
                assert_eq!(access, Access::Full);
                assert_eq!(connection, "1");
                check(&request, &answer);
            }
            Some(Handled::Change(change)) => {
                assert_eq!(access, Access::Full, "changes need a right");
                let answer = change_router(*change, &mut router);
                check(&request, &answer);
            }
        }
    }
}

/// Makes a change as the owner of the configuration does, as far as that needs no sockets.
fn change_router(change: Change, router: &mut Router) -> Message {
    let mut config = (*router.0).clone();
    let outcome = apply(&change.action, &mut config);
    if outcome.is_ok() {
        let text = config.to_json();
        let read = RouterConfig::parse(&text).expect("what was made can be read from a file");
        assert!(read.config == config, "{text}");
        router.0 = Arc::new(config);
    }
    change.finished(outcome).answer(router)
}

fn apply(action: &Action, config: &mut RouterConfig) -> Result<EntityKey, ChangeError> {
    let key = match action {
        Action::Create(entity) => {
            let key = entity.key();
            if config.entity(&key).is_some() {
                return Err(ChangeError::Duplicate(key, "here"));
            }
            if config.listeners.len() + config.tcp_listeners.len() + config.logs.len()
                > MOST_ENTITIES
            {
                return Err(ChangeError::Refused("enough".to_owned()));
            }
            config.put(entity.clone());
            key
        }
        Action::Update(key, changed) => {
            let Some(entity) = config.entity(key) else {
                return Err(ChangeError::Unknown(key.clone()));
            };
            let mut attributes = entity.attributes();
            attributes.extend(changed.clone());
            let (entity, _) = Entity::parse(key.kind(), attributes)?;
            if entity.key() != *key {
                return Err(ChangeError::Refused("another".to_owned()));
            }
            config.put(entity);
            key.clone()
        }
        Action::Delete(key) => {
            config.remove(key);
            assert!(config.entity(key).is_none());
            key.clone()
        }
    };
    config.check()?;
    Ok(key)
}

/// An answer goes to who asked, can be read, and holds no secret.
fn check(request: &Message, answer: &Message) {
    assert_eq!(answer.properties.to, request.properties.reply_to);
    assert_eq!(
        answer.properties.correlation_id,
        request.properties.correlation_id
    );
    let mut octets = BytesMut::new();
    answer.encode(&mut octets);
    let decoded = Message::decode(&octets.freeze()).expect("answers are messages");
    let status = decoded.application_properties[0].1.as_i64();
    assert!(
        matches!(status, Some(200 | 201 | 204 | 400 | 403 | 404 | 501 | 503)),
        "{status:?}"
    );
    if let Body::Value(Value::Map(entries)) = &decoded.body {
        let list = |name: &str| {
            let found = entries.iter().find(|(key, _)| key.as_str() == Some(name));
            match found {
                Some((_, Value::List(list))) => list.as_slice(),
                _ => &[],
            }
        };
        let columns = list("attributeNames").len();
        for row in list("results") {
            let Value::List(row) = row else {
                panic!("a row is a list")
            };
            assert_eq!(row.len(), columns);
        }
        let secret = entries
            .iter()
            .any(|(key, _)| key.as_str() == Some("password"));
        assert!(!secret, "passwords are not shown");
    }
}

fn request(script: &mut Script<'_>) -> Message {
    let mut properties = vec![
        ("operation", Value::from(script.pick(OPERATIONS))),
        ("type", Value::from(script.pick(TYPES))),
    ];
    for _ in 0..script.below(4) {
        let property = match script.below(7) {
            0 | 1 => ("name", Value::from(script.pick(NAMES))),
            2 => ("identity", Value::from(script.pick(NAMES))),
            3 => ("entityType", Value::from(script.pick(TYPES))),
            4 => ("offset", value(script, 0)),
            5 => ("count", value(script, 0)),
            _ => (
                script.pick(&["indent", "limit", "locales"]),
                value(script, 0),
            ),
        };
        properties.push(property);
    }
    let body = match script.below(8) {
        0 => Body::Empty,
        1 => Body::Value(value(script, 0)),
        2 => {
            let names = (0..script.below(6)).map(|_| Value::from(script.pick(ATTRIBUTES)));
            let names = Value::List(names.collect());
            Body::Value(Value::Map(vec![(Value::from("attributeNames"), names)]))
        }
        _ => {
            let entries = (0..script.below(8))
                .map(|_| (Value::from(script.pick(ATTRIBUTES)), value(script, 0)));
            Body::Value(Value::Map(entries.collect()))
        }
    };
    Message {
        properties: Properties {
            reply_to: (script.octet() != 255).then(|| "reply".to_owned()),
            correlation_id: Value::Ulong(u64::from(script.octet())),
            ..Properties::default()
        },
        application_properties: properties
            .into_iter()
            .map(|(name, value)| (Value::from(name), value))
            .collect(),
        body,
        ..Message::default()
    }
}

fn value(script: &mut Script<'_>, depth: u8) -> Value {
    match script.below(12) {
        0 => Value::Null,
        1 => Value::Bool(script.octet() < 128),
        2 => Value::Long(script.number()),
        3 => Value::Ulong(script.number().unsigned_abs()),
        4 => Value::Int(script.number() as i32),
        5 => Value::Symbol(Symbol::from_static(script.pick(WORDS))),
        6 => Value::String(script.text()),
        7 if depth < 3 => {
            let items = (0..script.below(4)).map(|_| value(script, depth + 1));
            Value::List(items.collect())
        }
        8 => Value::from(script.pick(NAMES)),
        9 => Value::from(script.pick(TYPES)),
        _ => Value::from(script.pick(WORDS)),
    }
}

/// A router of which only the configuration changes.
struct Router(Arc<RouterConfig>);

impl Source for Router {
    fn router(&self) -> RouterRow {
        RouterRow {
            id: "r".to_owned(),
            ..RouterRow::default()
        }
    }

    fn connections(&self) -> Rows<ConnectionRow> {
        let row = |number: u32, protocol: &str| ConnectionRow {
            identity: number.to_string(),
            protocol: protocol.to_owned(),
            ..ConnectionRow::default()
        };
        Box::new([row(1, "amqp"), row(2, "tcp")].into_iter())
    }

    fn nodes(&self) -> Vec<NodeRow> {
        vec![NodeRow {
            id: "r".to_owned(),
            ..NodeRow::default()
        }]
    }

    fn addresses(&self) -> Rows<AddressRow> {
        Box::new(vec![AddressRow::default(); 2].into_iter())
    }

    fn tcp_listeners(&self) -> Rows<TcpListenerRow> {
        let rows = self.0.tcp_listeners.values().map(|entity| TcpListenerRow {
            name: entity.name.clone(),
            ..TcpListenerRow::default()
        });
        Box::new(rows.collect::<Vec<_>>().into_iter())
    }

    fn listener_addresses(&self) -> Vec<ListenerAddressRow> {
        let rows = self.0.listener_addresses.values();
        rows.map(|entity| ListenerAddressRow {
            name: entity.name.clone(),
            ..ListenerAddressRow::default()
        })
        .collect()
    }

    fn tcp_connectors(&self) -> Rows<TcpConnectorRow> {
        let rows = self
            .0
            .tcp_connectors
            .values()
            .map(|entity| TcpConnectorRow {
                name: entity.name.clone(),
                ..TcpConnectorRow::default()
            });
        Box::new(rows.collect::<Vec<_>>().into_iter())
    }

    fn allocations(&self) -> Vec<AllocatorRow> {
        vec![AllocatorRow::default()]
    }

    fn tcp_connections(&self) -> Rows<TcpConnectionRow> {
        Box::new(std::iter::once(TcpConnectionRow::default()))
    }

    fn links(&self) -> Rows<LinkRow> {
        Box::new(std::iter::once(LinkRow::default()))
    }

    fn policy(&self) -> PolicyCounts {
        PolicyCounts::default()
    }

    fn config(&self) -> Arc<RouterConfig> {
        self.0.clone()
    }

    fn log_lines(&self) -> Vec<LogLine> {
        Vec::new()
    }

    fn log_counts(&self) -> BTreeMap<&'static str, LogCounts> {
        BTreeMap::new()
    }

    fn connector_states(&self) -> BTreeMap<String, ConnectorState> {
        BTreeMap::new()
    }
}
