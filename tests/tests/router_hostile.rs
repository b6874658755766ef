//! Peers that mean harm, or are broken: contained, counted, logged once, and no trouble for the others.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

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
    mesh::{self, Mesh, connector, edge, listener, secure_connector, secure_listener},
    peer::{Peer, message},
    rows,
    tcp::{Echo, connect, over, tcp_connector, tcp_listener, works},
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

const FEW: u32 = 3;
/// Less than the router keeps of a message whatever else waits.
const LITTLE: usize = 200 * 1024;
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
        let (http, metrics) = listener("http", Role::Normal);
        for listener in [
            plain,
            other,
            secure_listener(edges),
            Listener {
                max_connections: FEW,
                ..narrow
            },
            Listener { http: true, ..http },
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
        self.flow.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        within(
            "the open flow works",
            SOON,
            self.flow.read_exact(&mut answer),
        )
        .await
        .unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_do_not_finish_hold_a_bounded_number_of_places_for_a_bounded_time() {
    let mut target = Attacked::new().await;
    let before = target.failed().await;
    let mut silent = Vec::new();
    for (port, octets) in [
        // The beginning of a handshake, a router that says nothing behind it, half a frame.
        (target.links(), &b"\x16\x03\x01"[..]),
        (target.links(), b""),
        (target.clients, b"AMQP"),
        (target.clients, AMQP),
        (
            target.clients,
            b"AMQP\x00\x01\x00\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00\x53\x10",
        ),
        (target.routers, SASL),
    ] {
        for _ in 0..60 {
            let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .unwrap();
            peer.write_all(octets).await.unwrap();
            silent.push(peer);
        }
    }
    // Far more than there are places, of one listener.
    for _ in 0..300 {
        silent.push(
            TcpStream::connect((Ipv4Addr::LOCALHOST, target.links()))
                .await
                .unwrap(),
        );
    }
    // Whoever does its part is served meanwhile.
    let folder = target.mesh.certificates.as_ref().unwrap().issue("r2");
    let mut config = mesh::interior("r2");
    config.put_ssl_profile(mesh::profile(&folder));
    config.put_connector(secure_connector(connector(
        "to-r1",
        target.links(),
        Role::InterRouter,
    )));
    let welcome = TestRouter::start(config).await;
    welcome.until_nodes(&["r0", "r1"]).await;
    let count = silent.len() as u64;
    within("all silent peers are ended", LIMIT, async {
        for peer in &mut silent {
            over(peer).await;
        }
    })
    .await;
    drop(welcome);
    eventually("they are counted", async || {
        let failed = target.failed().await - before;
        if failed >= count {
            Ok(())
        } else {
            Err(format!("{failed} of {count}"))
        }
    })
    .await;
    // Who only looks whether the port is open is counted, and no reason for a warning.
    let warnings = target.warnings("connection refused");
    let counted = target.failed().await;
    for port in [target.links(), target.clients] {
        drop(connect(port).await);
    }
    eventually("the visits are counted", async || {
        match target.failed().await - counted {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(target.warnings("connection refused"), warnings);
    // One line for each listener and reason.
    let slow = target.warnings("did not finish its handshake within");
    assert!((1..=3).contains(&slow), "{slow}");
    assert_eq!(target.warnings("others waited"), 1);
    target.mesh.routers[0].until_nodes(&["r1"]).await;
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_holds_no_more_connections_than_it_may() {
    let mut target = Attacked::new().await;
    let opened = [
        AMQP,
        &frame(0, &Performative::Open(Box::new(open("greedy")))),
    ]
    .concat();
    let greet = async |port: u16| {
        let mut peer = connect(port).await;
        let _ = peer.write_all(&opened).await;
        let mut header = [0; 8];
        let read = within("an answer", SOON, peer.read_exact(&mut header)).await;
        read.ok().map(|_| peer)
    };
    let mut held = Vec::new();
    for _ in 0..FEW {
        held.push(greet(target.few).await.expect("there is room"));
    }
    for _ in 0..5 {
        assert!(greet(target.few).await.is_none());
    }
    let refused = target.metric("skupper_connections_refused_total").await;
    assert_eq!(refused, 5);
    assert_eq!(target.warnings("all that maxConnections allows"), 1);
    // Other listeners have room of their own, and who leaves makes some.
    assert!(greet(target.clients).await.is_some());
    held.pop();
    eventually("there is room again", async || {
        greet(target.few).await.map(drop).ok_or("none".to_owned())
    })
    .await;
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_impossible_sizes_end_the_connection_and_cost_nothing() {
    let mut target = Attacked::new().await;
    let router = target.attacked();
    let memory = router.resident_memory();
    let opened = [
        AMQP,
        &frame(0, &Performative::Open(Box::new(open("hostile")))),
    ]
    .concat();
    let to_routers = [SASL, ANONYMOUS, &opened].concat();
    let frames: [&[u8]; 6] = [
        b"\xff\xff\xff\xff\x02\x00\x00\x00",
        b"\x7f\xff\xff\xff\x02\x00\x00\x00",
        b"\x00\x02\x00\x01\x02\x00\x00\x00",
        b"\x00\x00\x00\x03\x02\x00\x00\x00",
        b"\x00\x00\x00\x08\xff\x00\x00\x00",
        b"\x00\x00\x00\x08\x00\x00\x00\x00",
    ];
    for frame in frames {
        for (port, before) in [
            (target.clients, AMQP),
            (target.clients, &opened),
            (target.routers, &[SASL, ANONYMOUS, AMQP].concat()),
            (target.routers, &to_routers),
        ] {
            for _ in 0..10 {
                let mut peer = connect(port).await;
                // It may be gone already.
                let _ = peer.write_all(before).await;
                let _ = peer.write_all(frame).await;
                let _ = peer.write_all(&[0; 4096]).await;
                over(&mut peer).await;
            }
        }
    }
    let grown = router.resident_memory().saturating_sub(memory);
    assert!(grown < 30_000_000, "{grown} octets more");
    // Those that were open when it came, and one line for each kind.
    let violations = target.metric("skupper_protocol_violations_total").await;
    assert_eq!(violations, frames.len() as u64 * 2 * 10);
    let warnings = target.warnings("the peer broke the protocol");
    assert!((1..=3).contains(&warnings), "{warnings}");
    target.unharmed().await;
}

/// Values of `failover-server-list` that no router sends.
fn oddities() -> Vec<Value> {
    let key = |text: &'static str| Value::Symbol(Symbol::from_static(text));
    let server = |host: Value| {
        Value::Map(vec![
            (key("network-host"), host),
            (key("port"), Value::Int(-1)),
        ])
    };
    vec![
        Value::Null,
        Value::from("10.0.0.1:5671"),
        Value::Int(7),
        Value::List(Vec::new()),
        Value::List(vec![Value::Int(1), Value::Null, Value::from("x")]),
        Value::List(vec![
            server(Value::from("")),
            server(Value::Null),
            server(Value::List(Vec::new())),
        ]),
        Value::List(vec![Value::Map(Vec::new()); 200]),
        Value::Map(vec![(Value::Null, Value::Null)]),
        Value::List(vec![server(Value::from("h".repeat(8_000)))]),
        Value::List(places(300)),
    ]
}

/// Proper places, far more than anybody needs, at which nobody listens.
fn places(count: u16) -> Vec<Value> {
    let key = |text: &'static str| Value::Symbol(Symbol::from_static(text));
    let place = |number| {
        Value::Map(vec![
            (key("network-host"), Value::from("127.0.0.1")),
            (key("port"), Value::Ushort(number)),
        ])
    };
    (1..=count).map(place).collect()
}

fn odd_open(value: Value) -> Vec<u8> {
    let key = Value::Symbol(Symbol::from_static("failover-server-list"));
    let open = Open {
        properties: vec![(key, value)],
        ..open("hostile")
    };
    frame(0, &Performative::Open(Box::new(open)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_properties_of_an_open_hurt_neither_listeners_nor_connectors() {
    let mut target = Attacked::new().await;
    for value in oddities() {
        for (port, before) in [
            (target.clients, AMQP.to_vec()),
            (target.routers, [SASL, ANONYMOUS, AMQP].concat()),
        ] {
            let mut peer = connect(port).await;
            let octets = [before, odd_open(value.clone())].concat();
            peer.write_all(&octets).await.unwrap();
            // It is answered by an Open of its own, whatever it thinks of this one.
            let mut answer = Vec::new();
            within("an answer", SOON, async {
                while !answer.windows(2).any(|octets: &[u8]| octets == b"r1") {
                    if peer.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
            })
            .await;
            assert!(answer.windows(2).any(|octets| octets == b"r1"), "{value:?}");
        }
    }
    // As a server that the router dials.
    let server = Backend::new();
    target.mesh.routers[1].reconfigure(|config| {
        config.put_connector(connector("hostile", server.port, Role::InterRouter));
    });
    for value in oddities() {
        let mut peer = server.accept().await;
        let mechanisms =
            b"\x00\x00\x00\x19\x02\x01\x00\x00\x00\x53\x40\xc0\x0c\x01\xa3\x09ANONYMOUS";
        peer.write_all(&[SASL, mechanisms].concat()).await.unwrap();
        let mut said = Vec::new();
        within("sasl-init", SOON, async {
            while !said.windows(9).any(|octets: &[u8]| octets == b"ANONYMOUS") {
                assert!(peer.read_buf(&mut said).await.unwrap() > 0);
            }
        })
        .await;
        let outcome = b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x00";
        let _ = peer
            .write_all(&[outcome, AMQP, &odd_open(value)].concat())
            .await;
        let _ = peer.write_all(&frame(0, &begin())).await;
        drop(peer);
    }
    let log = target.attacked().log();
    let lines = log
        .lines()
        .filter(|line| line.contains("failover-server-list is odd"))
        .count();
    // One a minute.
    assert!((1..oddities().len() / 2).contains(&lines), "{lines}");
    target
        .attacked()
        .until_connector("hostile", "FAILED", "")
        .await;
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_sessions_and_links_are_limited_and_leave_nothing() {
    let mut target = Attacked::new().await;
    let memory = target.attacked().resident_memory();
    let hello = [
        AMQP,
        &frame(0, &Performative::Open(Box::new(open("flood")))),
    ]
    .concat();

    // More sessions than one peer may have.
    let mut peer = connect(target.clients).await;
    let mut octets = hello.clone();
    for channel in 0..3000 {
        octets.extend(frame(channel, &begin()));
    }
    let _ = peer.write_all(&octets).await;
    over(&mut peer).await;

    // Links to addresses that nobody else knows: the network learns them, and forgets them with the peer.
    let mut peer = connect(target.clients).await;
    let mut octets = [&hello[..], &frame(0, &begin())].concat();
    for handle in 0..3000_u32 {
        let attach = Attach {
            name: format!("link-{handle}"),
            handle,
            role: LinkRole::Receiver,
            source: Some(Source {
                address: Some(format!("flood-{handle}")),
                ..Source::default()
            }),
            target: Some(Target::default()),
            ..Attach::default()
        };
        octets.extend(frame(0, &Performative::Attach(Box::new(attach))));
    }
    let (mut from, mut to) = peer.split();
    let reading = async {
        // The answers have to be taken, or the router stops reading.
        let mut last = Vec::new();
        while !last.windows(9).any(|octets: &[u8]| octets == b"link-2999") {
            // The name may come in two parts.
            last.drain(..last.len().saturating_sub(8));
            assert!(from.read_buf(&mut last).await.unwrap() > 0);
        }
    };
    within("all links are answered", LIMIT, async {
        tokio::join!(reading, async { to.write_all(&octets).await.unwrap() })
    })
    .await;
    target.mesh.routers[0]
        .until("the flood is known", "router.address", |found| {
            found
                .iter()
                .any(|row| rows::text(row, "name").ends_with("flood-2999"))
        })
        .await;
    target.unharmed().await;
    drop(peer);
    for router in &target.mesh.routers {
        router
            .until("the flood is forgotten", "router.address", |found| {
                !found
                    .iter()
                    .any(|row| rows::text(row, "name").contains("flood-"))
            })
            .await;
    }
    let grown = target.attacked().resident_memory().saturating_sub(memory);
    assert!(grown < 100_000_000, "{grown} octets more");
    target.unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_of_one_connection_is_limited_and_readers_that_move_go_on() {
    let mut config = mesh::interior("r0");
    let (mut edges, port) = listener("edges", Role::Edge);
    // The peers do not speak when they have nothing to say.
    edges.idle_timeout = Duration::ZERO;
    config.put_listener(edges);
    let router = TestRouter::start(config).await;
    let memory = router.resident_memory();
    let mut reader = Peer::named(port, "reader").await;
    reader.consume("read").await;
    let mut sender = Peer::named(port, "sender").await;
    // The second time shows that there is room again once those are gone for whom it waited, and that more than twice
    // as much does not come in at all.
    let rounds = [
        (150, 2048, 20..50, 450_000_000),
        (240, 2400, 100..200, 750_000_000),
    ];
    for (messages, kibibytes, expected, most) in rounds {
        let producer = sender.produce().await;
        let slow = SlowReader::new(&router, port, &mut sender).await;
        let message = stream("stuck", kibibytes * 1024);
        let broken_off = too_much_waits(&router, port, &mut sender, producer, message, messages);
        let broken_off = broken_off.await;
        assert!(expected.contains(&broken_off.len()), "{broken_off:?}");
        let last = broken_off.last().copied().unwrap_or_default();
        assert!(
            last < broken_off.len() + 10,
            "the oldest go: {broken_off:?}"
        );
        slow.has_everything(&mut sender).await;
        // Others on the same connection, of which less waits at a time than any may have.
        for _ in 0..10 {
            let delivery = sender.start(producer);
            sender.send(delivery, stream("read", LITTLE), true).await;
            let mut received = 0;
            while received < LITTLE {
                if let Event::Transfer { payload, .. } = reader.event().await {
                    received += payload.len();
                }
            }
        }
        let grown = router.resident_memory().saturating_sub(memory);
        assert!(grown < most, "{grown} octets more");
    }
    let log = router.log();
    let warned = log
        .lines()
        .filter(|line| line.contains("too much waits for its readers"));
    // Once a minute.
    assert!((1..=2).contains(&warned.count()), "{log}");
}

/// A stream with a large window whose reader takes octets all the time, but few.
struct SlowReader {
    delivery: DeliveryKey,
    reading: JoinHandle<usize>,
    hurry: Arc<AtomicBool>,
}

impl SlowReader {
    /// Frames that it takes at a time, and how often.
    const FRAMES: u32 = 4;
    const PERIOD: Duration = Duration::from_millis(250);
    const LEN: usize = 12 * 1024 * 1024;
    /// Section-number by which it grants a window of 16 MiB.
    const WINDOW: u32 = 256;

    /// Almost all of the stream waits in the router afterwards.
    async fn new(router: &TestRouter, port: u16, sender: &mut Peer) -> Self {
        let mut reader = Peer::slow(port, "slow", Self::FRAMES).await;
        reader.consume("slow").await;
        known(router, &["slow"]).await;
        let mut octets = stream("slow", Self::LEN);
        let producer = sender.produce().await;
        let delivery = sender.start(producer);
        let first = octets.split_to(60 * 1024);
        sender.send(delivery, first, false).await;
        let begun = reader
            .until(|event| matches!(event, Event::Transfer { .. }))
            .await;
        let Event::Transfer {
            delivery: arriving, ..
        } = begun
        else {
            unreachable!("waited for");
        };
        let window = DeliveryState::Received {
            section_number: Self::WINDOW,
            section_offset: 0,
        };
        reader.engine().disposition(arriving, Some(window), false);
        let hurry = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(Self::read(reader, hurry.clone()));
        sender
            .until(
                |event| matches!(event, Event::Disposition { delivery: of, .. } if *of == delivery),
            )
            .await;
        sender.send(delivery, octets, false).await;
        Self {
            delivery,
            reading,
            hurry,
        }
    }

    /// Octets until the end.
    async fn read(mut reader: Peer, hurry: Arc<AtomicBool>) -> usize {
        loop {
            let wait = if hurry.load(Ordering::Relaxed) {
                Duration::from_millis(1)
            } else {
                Self::PERIOD
            };
            for event in reader.events_within(wait).await {
                if let Event::Transfer { more, aborted, .. } = event {
                    assert!(!aborted, "it is broken off");
                    if !more {
                        return reader.received();
                    }
                }
            }
            reader.release(Self::FRAMES);
        }
    }

    async fn has_everything(self, sender: &mut Peer) {
        self.hurry.store(true, Ordering::Relaxed);
        sender.send(self.delivery, Bytes::new(), true).await;
        let received = within("the slow reader reads", 2 * SOON, self.reading)
            .await
            .expect("it does not panic");
        assert!(received > Self::LEN, "{received}");
    }
}

async fn known(router: &TestRouter, addresses: &[&str]) {
    router
        .until("the consumers are known", "router.address", |found| {
            addresses.iter().all(|address| {
                found
                    .iter()
                    .any(|row| rows::text(row, "name").ends_with(address))
            })
        })
        .await;
}

/// Sends more to one consumer than may wait, sees some broken off, and lets the consumer go. Which ones.
async fn too_much_waits(
    router: &TestRouter,
    port: u16,
    sender: &mut Peer,
    producer: LinkId,
    message: Bytes,
    messages: usize,
) -> Vec<usize> {
    // It says that it wants messages, and never reads one.
    let mut stuck = Peer::named(port, "stuck").await;
    stuck.consume("stuck").await;
    known(router, &["stuck", "read"]).await;
    let mut sent = Vec::new();
    for _ in 0..messages {
        assert!(sender.engine().credit(producer) > 0);
        let delivery = sender.start(producer);
        sender.send(delivery, message.clone(), true).await;
        sent.push(delivery);
    }
    let mut broken_off = Vec::new();
    let mut settled = 0;
    let mut stuck = Some(stuck);
    while settled < messages {
        let Event::Disposition {
            delivery,
            state,
            settled: true,
            ..
        } = sender.event().await
        else {
            continue;
        };
        let Some(index) = sent.iter().position(|sent| *sent == delivery) else {
            continue;
        };
        settled += 1;
        if let Some(DeliveryState::Rejected(Some(condition))) = state {
            assert_eq!(condition.condition, "amqp:resource-limit-exceeded");
            broken_off.push(index);
            stuck = None;
        } else {
            assert!(stuck.is_none(), "nobody reads: {state:?}");
        }
    }
    broken_off.sort_unstable();
    broken_off
}

/// A message of so many octets that is marked as one with a window of its own.
fn stream(address: &str, len: usize) -> Bytes {
    message(address, STREAMING | DISABLE_Q2, len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_with_the_certificate_of_another_site_is_refused_and_named_once() {
    let mut target = Attacked::new().await;
    let foreign = Certificates::of("another-site");
    let ours = target.mesh.certificates.as_ref().unwrap();
    // It believes the listener, but its own certificate is of its own site.
    let folder = foreign.issue("edge-0");
    let mut profile = mesh::profile(&folder);
    profile.ca_cert_file = Some(ours.issue("authority").join("ca.crt"));
    let mut config = edge("edge-0");
    config.put_ssl_profile(profile);
    config.put_connector(secure_connector(connector(
        "uplink",
        target.edges,
        Role::Edge,
    )));
    let intruder = TestRouter::start(config).await;
    intruder
        .until_connector("uplink", "FAILED", "does not know the issuer")
        .await;
    // And one of this site is welcome at the same time.
    let mut config = edge("edge-1");
    config.put_ssl_profile(mesh::profile(&ours.issue("edge-1")));
    config.put_connector(secure_connector(connector(
        "uplink",
        target.edges,
        Role::Edge,
    )));
    let welcome = TestRouter::start(config).await;
    welcome.until_connector("uplink", "SUCCESS", "").await;
    eventually("it comes again and again", async || {
        let failed = target.failed().await;
        if failed >= 3 {
            Ok(())
        } else {
            Err(failed.to_string())
        }
    })
    .await;
    assert_eq!(
        target.warnings("not issued by a certificate of caCertFile"),
        1
    );
    target.unharmed().await;
}

/// A neighbour that keeps the protocol up to its HELLO, and says what it likes besides.
struct HostileRouter {
    socket: TcpStream,
    routing: Routing,
    input: BytesMut,
    /// Messages that the peer still takes, by its credit.
    credit: u32,
    sent: u32,
}

const LINK: ControlLink = ControlLink(1);

impl HostileRouter {
    async fn new(port: u16) -> Self {
        let mut socket = connect(port).await;
        let control = || vec![Symbol::from_static("qd.router")];
        let sender = Attach {
            name: "control-out".to_owned(),
            handle: 0,
            role: LinkRole::Sender,
            source: Some(Source {
                capabilities: control(),
                ..Source::default()
            }),
            target: Some(Target {
                capabilities: control(),
                ..Target::default()
            }),
            initial_delivery_count: Some(0),
            ..Attach::default()
        };
        let receiver = Attach {
            name: "control-in".to_owned(),
            handle: 1,
            role: LinkRole::Receiver,
            initial_delivery_count: None,
            ..sender.clone()
        };
        let credit = Flow {
            next_incoming_id: Some(0),
            incoming_window: 100_000,
            outgoing_window: 100_000,
            handle: Some(1),
            delivery_count: Some(0),
            link_credit: Some(100_000),
            ..Flow::default()
        };
        let begin = Begin {
            incoming_window: 100_000,
            outgoing_window: 100_000,
            ..Begin::default()
        };
        let hello = [
            Performative::Open(Box::new(open("evil"))),
            Performative::Begin(Box::new(begin)),
            Performative::Attach(Box::new(sender)),
            Performative::Attach(Box::new(receiver)),
            Performative::Flow(Box::new(credit)),
        ]
        .map(|performative| frame(0, &performative))
        .concat();
        let octets = [SASL, ANONYMOUS, AMQP, &hello].concat();
        socket.write_all(&octets).await.unwrap();
        let now = Instant::now();
        let mut routing = Routing::new(Config::new(RouterId::from("evil"), 1), now);
        routing.link_up(LINK, 1, now);
        Self {
            socket,
            routing,
            input: BytesMut::new(),
            credit: 0,
            sent: 0,
        }
    }

    /// Takes part in the protocol for a while.
    async fn take_part(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(read) = tokio::time::timeout_at(end, self.turn()).await {
            read.unwrap();
        }
    }

    /// Reads something, or lets a little time pass.
    async fn turn(&mut self) -> std::io::Result<()> {
        let reading = self.socket.read_buf(&mut self.input);
        if let Ok(count) = tokio::time::timeout(Duration::from_millis(200), reading).await
            && count? == 0
        {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.frames();
        self.routing.tick(Instant::now());
        let mut said = Vec::new();
        while let Some(output) = self.routing.poll() {
            if let Output::Send { message, .. } = output {
                said.push(message);
            }
        }
        for message in said {
            self.say(&message).await?;
        }
        Ok(())
    }

    fn frames(&mut self) {
        while self.input.len() >= 8 {
            if self.input.starts_with(b"AMQP") {
                let _ = self.input.split_to(8);
                continue;
            }
            let header = FrameHeader::parse(&self.input).unwrap();
            if self.input.len() < header.size as usize {
                return;
            }
            let mut body = self
                .input
                .split_to(header.size as usize)
                .freeze()
                .slice(header.body_at..);
            if header.kind != 0 || body.is_empty() {
                continue;
            }
            match Performative::decode(&mut body).unwrap() {
                Performative::Flow(flow) if flow.link_credit.is_some() && flow.handle.is_some() => {
                    let limit = flow.delivery_count.unwrap_or(0) + flow.link_credit.unwrap_or(0);
                    self.credit = limit.saturating_sub(self.sent);
                }
                Performative::Transfer(_) => self.routing.receive(LINK, &body, Instant::now()),
                _ => {}
            }
        }
    }

    async fn say(&mut self, message: &[u8]) -> std::io::Result<()> {
        if self.credit == 0 {
            // A flood is thrown away here rather than there.
            return Ok(());
        }
        self.credit -= 1;
        let transfer = Transfer {
            handle: 0,
            delivery_id: Some(self.sent),
            delivery_tag: DeliveryTag::new(&self.sent.to_be_bytes()),
            message_format: Some(0),
            settled: Some(true),
            ..Transfer::default()
        };
        self.sent += 1;
        let mut octets = frame(0, &Performative::Transfer(transfer));
        octets.extend_from_slice(message);
        let size = u32::try_from(octets.len()).unwrap();
        octets[..4].copy_from_slice(&size.to_be_bytes());
        self.socket.write_all(&octets).await
    }

    /// Says something of its own, once the peer takes it.
    async fn force(&mut self, message: &Bytes) {
        let waiting = async {
            while self.credit == 0 {
                self.turn().await.unwrap();
            }
        };
        within("credit for the flood", SOON, waiting).await;
        self.say(message).await.unwrap();
    }
}

/// A control message with any content.
fn control(to: &str, opcode: &str, body: &[(&str, Value)]) -> Bytes {
    let entries = body
        .iter()
        .map(|(key, value)| (Value::from(*key), value.clone()));
    let message = Message {
        properties: Properties {
            to: Some(to.to_owned()),
            ..Properties::default()
        },
        application_properties: vec![(Value::from("opcode"), Value::from(opcode))],
        body: Body::Value(Value::Map(entries.collect())),
        ..Message::default()
    };
    let mut octets = BytesMut::new();
    message.encode(&mut octets);
    octets.freeze()
}

const FLOOD: &str = "amqp:/_topo/0/all/qdrouter";
const MOBILE: &str = "_topo/0/all/qdrouter.ma";

/// A link state of a router, linked to another one at cost 1.
fn link_state(id: &str, instance: i64, sequence: i64, peer: &str) -> Bytes {
    let state = vec![
        (Value::from("id"), Value::from(id)),
        (Value::from("area"), Value::from("0")),
        (Value::from("ls_seq"), Value::Long(sequence)),
        (
            Value::from("peers"),
            Value::Map(vec![(Value::from(peer), Value::Int(1))]),
        ),
    ];
    control(
        FLOOD,
        "LSU",
        &[
            ("id", Value::from(id)),
            ("pv", Value::Int(1)),
            ("area", Value::from("0")),
            ("instance", Value::Long(instance)),
            ("ls_seq", Value::Long(sequence)),
            ("ls", Value::Map(state)),
        ],
    )
}

fn addresses(id: &str, sequence: i64, keys: impl Iterator<Item = String>) -> Bytes {
    let list = keys.map(|key| Value::List(vec![Value::from(key), Value::Int(3), Value::Int(0)]));
    control(
        MOBILE,
        "MAU",
        &[
            ("id", Value::from(id)),
            ("pv", Value::Int(2)),
            ("area", Value::from("0")),
            ("mobile_seq", Value::Long(sequence)),
            ("exist", Value::List(list.collect())),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_floods_and_lies_is_survived() {
    let mut target = Attacked::new().await;
    let memory = target.attacked().resident_memory();
    let mut evil = HostileRouter::new(target.routers).await;
    evil.take_part(Duration::from_secs(3)).await;
    target.attacked().until_nodes(&["r0", "evil"]).await;

    // Routers that do not exist, more than there may be, some with names that are no names.
    for number in 0..3000 {
        let id = match number % 10 {
            0 => format!("{}-{number}", "x".repeat(900)),
            _ => format!("nobody-{number}"),
        };
        evil.force(&link_state(&id, 1, 1, "evil")).await;
    }
    // Addresses by the thousand, of classes that are not announced, of nothing at all, in the name of others.
    for sequence in 1..=10 {
        let keys = (0..300).map(|number| format!("Mflood-{sequence}-{number}"));
        evil.force(&addresses("evil", sequence, keys)).await;
    }
    let odd = ["", "M", "Rr0", "Lnobody", "T0/r0/x", "\u{1F980}", "Hx"];
    evil.force(&addresses("evil", 11, odd.into_iter().map(str::to_owned)))
        .await;
    evil.force(&addresses("r0", 1 << 40, ["Mother".to_owned()].into_iter()))
        .await;
    evil.force(&addresses("r1", 1 << 40, ["Mother".to_owned()].into_iter()))
        .await;
    // Others' link states, with sequence numbers that they will not reach.
    for (id, peer) in [("r0", "evil"), ("r1", "evil"), ("evil", "evil")] {
        evil.force(&link_state(id, i64::MAX, i64::MAX, peer)).await;
        evil.force(&link_state(id, 1, -1, peer)).await;
    }
    for opcode in ["LSU", "MAU", "RA", "HELLO", "MAR", "LSR", "", "X"] {
        evil.force(&control(FLOOD, opcode, &[])).await;
        evil.force(&control(
            "amqp:/_topo/0/r0/qdrouter",
            opcode,
            &[("id", Value::from("evil"))],
        ))
        .await;
    }
    evil.force(&Bytes::from_static(b"\xff\x00\x53")).await;
    evil.take_part(Duration::from_secs(1)).await;
    // No message of routers beyond the limit had an effect, and none of the malformed ones.
    let refused = "skupper_routing_messages_refused_total";
    eventually("what was refused is counted", async || {
        match target.metric(refused).await {
            2000.. => Ok(()),
            few => Err(few.to_string()),
        }
    })
    .await;
    for reason in ["malformed control message", "routers already"] {
        let warnings = target.warnings(reason);
        assert!((1..=2).contains(&warnings), "{warnings} of {reason}");
    }
    // Both still answer, and the flow between them has not noticed.
    for router in &target.mesh.routers {
        router.rows("router").await.unwrap();
    }
    target.flow.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    within(
        "the open flow works",
        SOON,
        target.flow.read_exact(&mut answer),
    )
    .await
    .unwrap();
    let grown = target.attacked().resident_memory().saturating_sub(memory);
    assert!(grown < 100_000_000, "{grown} octets more");
    // Once it is gone, so is what it said.
    drop(evil);
    target.unharmed().await;
    for router in &target.mesh.routers {
        router
            .until("the flood is forgotten", "router.address", |found| {
                !found
                    .iter()
                    .any(|row| rows::text(row, "name").contains("flood-"))
            })
            .await;
    }
}
