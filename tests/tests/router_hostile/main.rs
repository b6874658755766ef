//! Peers that mean harm, or are broken: contained, counted, logged once, and no trouble for the others.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod floods;
mod neighbour;
mod opens;
mod strangers;
mod waiting;

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use amqp::{
    Symbol, Value,
    engine::{DeliveryKey, Event, LinkId},
    frame::FrameHeader,
    message::{Body, Message, Properties},
    performative::{
        Attach, Begin, DeliveryState, DeliveryTag, Flow, Open, Performative, Role as LinkRole,
        Source, Target, Transfer,
    },
};
use bytes::{Bytes, BytesMut};
use e2e::{
    Backend, Certificates, Plan, SOON, TestRouter, eventually,
    mesh::{
        self, Mesh, connector, edge, http_listener, listener, secure_connector, secure_listener,
    },
    peer::{Peer, message},
    rows,
    tcp::{Echo, connect, goes_on, over, tcp_connector, tcp_listener, works},
    within,
};
use model::router_config::{Listener, Role};
use router::core::annotations::{DISABLE_Q2, STREAMING};
use router::routing::{Config, ControlLink, Output, RouterId, Routing};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// Connections that a narrow listener holds.
const FEW: u32 = 3;
const ADDRESS: &str = "service:80";
const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";
const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";
/// sasl-init with the mechanism ANONYMOUS.
const ANONYMOUS: &[u8] =
    b"\x00\x00\x00\x19\x02\x01\x00\x00\x00\x53\x41\xc0\x0c\x01\xa3\x09ANONYMOUS";
/// A peer that is not through by then is ended (10 s), and the machine has other things to do.
const LIMIT: Duration = Duration::from_secs(25);

/// Two linked routers and a flow that has to outlive everything; the second one is what is attacked.
struct Attacked {
    mesh: Mesh,
    port: u16,
    flow: TcpStream,
    _echo: Echo,
    /// Port of a listener for clients in the clear.
    clients: u16,
    /// Port of a listener for routers in the clear.
    routers: u16,
    /// Port of a listener for edges, secured as the link is.
    edges: u16,
    /// Port of a listener for clients with room for [`FEW`].
    few: u16,
    metrics: u16,
}

impl Attacked {
    async fn new() -> Self {
        let mut plan = Plan::routers(2).secured().chain();
        let echo = Backend::new().echo();
        let (tcp, port) = tcp_listener("l", ADDRESS);
        plan.configs[0].put_tcp_listener(tcp);
        plan.configs[1].put_tcp_connector(tcp_connector("c", ADDRESS, echo.port));
        let (plain, clients) = listener("clients", Role::Normal);
        let (other, routers) = listener("routers", Role::InterRouter);
        let (edges, edge_port) = listener("edges", Role::Edge);
        let (narrow, few) = listener("few", Role::Normal);
        let (http, metrics) = http_listener();
        for listener in [
            plain,
            other,
            secure_listener(edges),
            Listener {
                max_connections: FEW,
                ..narrow
            },
            http,
        ] {
            plan.configs[1].put_listener(listener);
        }
        let mesh = plan.start().await;
        let mut target = Self {
            flow: connect(port).await,
            mesh,
            port,
            _echo: echo,
            clients,
            routers,
            edges: edge_port,
            few,
            metrics,
        };
        target.unharmed().await;
        target
    }

    fn attacked(&self) -> &TestRouter {
        &self.mesh.routers[1]
    }

    /// Port at which the link comes in.
    fn links(&self) -> u16 {
        self.mesh.routers[0].config.connectors["to-r1"].port
    }

    /// The old flow works, new ones do, and nothing panicked.
    async fn unharmed(&mut self) {
        goes_on(&mut self.flow).await;
        works(self.port).await;
        self.mesh.converged().await;
        assert!(!self.attacked().log().contains("panicked"));
    }

    /// How many connections were never established.
    async fn failed(&self) -> u64 {
        self.metric("skupper_handshakes_failed_total").await
    }

    async fn metric(&self, name: &str) -> u64 {
        e2e::http::metric(self.metrics, name).await
    }

    /// Warnings that name a reason.
    fn warnings(&self, reason: &str) -> usize {
        let log = self.attacked().log();
        let lines = log.lines();
        lines
            .filter(|line| line.contains("(warning)") && line.contains(reason))
            .count()
    }
}

fn frame(channel: u16, performative: &Performative) -> Vec<u8> {
    let mut body = BytesMut::new();
    performative.encode(&mut body);
    let size = u32::try_from(body.len() + 8).unwrap();
    [
        &size.to_be_bytes()[..],
        &[2, 0],
        &channel.to_be_bytes(),
        &body,
    ]
    .concat()
}

fn open(container: &str) -> Open {
    Open {
        container_id: container.to_owned(),
        max_frame_size: 16_384,
        idle_time_out: Some(60_000),
        ..Open::default()
    }
}

fn begin() -> Performative {
    Performative::Begin(Box::new(Begin {
        incoming_window: 1000,
        outgoing_window: 1000,
        ..Begin::default()
    }))
}
