//! A small router whose rows are made up.

use std::sync::atomic::{AtomicUsize, Ordering};

use amqp::Value;

use super::super::*;
use crate::core::control_message::ConnectorState;

/// Interior router `ra` with neighbour `rb` and some connections.
pub(in crate::management) struct Router {
    pub(in crate::management) connections: u32,
    /// So many links, and what counts the rows made of them.
    pub(in crate::management) links: Option<(u32, &'static AtomicUsize)>,
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
