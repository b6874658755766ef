//! What one peer can take of a router: its share, and the rest goes to the others.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use amqp::{
    Symbol, Value,
    engine::{Event, LinkId},
    message::{Body, Message, Properties},
    performative::{DeliveryState, Source},
};
use bytes::{Bytes, BytesMut};
use e2e::{
    Plan, SOON, TestRouter, eventually,
    mesh::{self, http_listener, listener},
    peer::{Peer, message},
    rows,
    tcp::connect,
    within,
};
use model::router_config::{AddressEntity, Distribution, Role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A router with these addresses; its listener for edges, and its metrics.
async fn router_for_edges(addresses: Vec<AddressEntity>) -> (TestRouter, u16, u16) {
    let mut config = mesh::interior("r0");
    let (edges, port) = listener("edges", Role::Edge);
    let (http, metrics) = http_listener();
    config.put_listener(edges);
    config.put_listener(http);
    config.addresses = addresses;
    (TestRouter::start(config).await, port, metrics)
}

/// A management request to a router, about everything that there is.
fn request(router: &str, reply_to: &str, operation: &str) -> Bytes {
    let property = |key: &str, value: &str| (Value::from(key), Value::from(value));
    let message = Message {
        properties: Properties {
            to: Some(format!("amqp:/_topo/0/{router}/$management")),
            reply_to: Some(reply_to.to_owned()),
            ..Properties::default()
        },
        application_properties: vec![property("operation", operation)],
        body: Body::Value(Value::Map(Vec::new())),
        ..Message::default()
    };
    let mut octets = BytesMut::new();
    message.encode(&mut octets);
    octets.freeze()
}

/// Outcomes of messages.
#[derive(Debug, Default)]
struct Outcomes {
    accepted: usize,
    /// By the description of the condition.
    rejected: Vec<String>,
}

impl Outcomes {
    fn note(&mut self, event: &Event) {
        let Event::Disposition {
            state: Some(state),
            settled: true,
            ..
        } = event
        else {
            return;
        };
        match state {
            DeliveryState::Accepted => self.accepted += 1,
            DeliveryState::Rejected(Some(condition)) => {
                assert_eq!(condition.condition, "amqp:resource-limit-exceeded");
                self.rejected
                    .push(condition.description.clone().unwrap_or_default());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Sends a message as soon as there is credit for it.
async fn send(peer: &mut Peer, link: LinkId, message: &Bytes, outcomes: &mut Outcomes) {
    while peer.engine().credit(link) == 0 {
        outcomes.note(&peer.event().await);
    }
    let delivery = peer.start(link);
    peer.send(delivery, message.clone(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_asks_without_end_delays_neither_neighbours_nor_others_who_ask() {
    let mut plan = Plan::routers(2).chain();
    let (edges, port) = listener("edges", Role::Edge);
    let (http, metrics) = http_listener();
    plan.configs[1].put_listener(edges);
    plan.configs[1].put_listener(http);
    let mesh = plan.start().await;
    mesh.converged().await;
    let router = &mesh.routers[1];
    let memory = router.resident_memory();

    let mut peer = Peer::named(port, "curious").await;
    let link = peer.produce().await;
    let question = request("r1", "nobody-reads-this", "QUERY");
    let mut outcomes = Outcomes::default();
    let start = Instant::now();
    // Much longer than a neighbour is given to say something.
    while start.elapsed() < Duration::from_secs(8) {
        for _ in 0..100 {
            send(&mut peer, link, &question, &mut outcomes).await;
        }
    }
    // Another one who asks has its turn.
    within("an answer", LIMIT, router.rows("router"))
        .await
        .unwrap();
    assert!(outcomes.accepted > 0 && !outcomes.rejected.is_empty());
    assert!(
        outcomes
            .rejected
            .iter()
            .all(|reason| reason.contains("too many requests")),
        "{outcomes:?}"
    );
    let refused = e2e::http::metric(metrics, "skupper_management_requests_refused_total").await;
    assert!(refused >= outcomes.rejected.len() as u64, "{refused}");
    for router in &mesh.routers {
        assert!(!router.log().contains("neighbour lost"), "{}", router.log());
    }
    let grown = router.resident_memory().saturating_sub(memory);
    assert!(grown < 100_000_000, "{grown} octets more");
    mesh.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_limited() {
    /// Addresses at which nobody reads.
    const SLOW: usize = 16;
    let (router, port, _) = router_for_edges(Vec::new()).await;
    let memory = router.resident_memory();
    let mut slow = Peer::slow(port, "slow", 4).await;
    for number in 0..SLOW {
        slow.consume(&format!("slow-{number}")).await;
    }
    let mut asker = Peer::named(port, "asker").await;
    let link = asker.produce().await;
    let mut outcomes = Outcomes::default();
    let not_read = |reason: &String| reason.contains("have not been read");
    within("no more answers", LIMIT, async {
        for number in (0..SLOW).cycle() {
            let question = request("r0", &format!("slow-{number}"), "GET-SCHEMA");
            send(&mut asker, link, &question, &mut outcomes).await;
            if outcomes.rejected.iter().any(not_read) {
                break;
            }
        }
    })
    .await;
    let grown = router.resident_memory().saturating_sub(memory);
    assert!(grown < 100_000_000, "{grown} octets more");
    assert!(router.log().contains("have not been read"));
    // Others get their answers, and so does this one when nobody is in the way any more.
    router.rows("router").await.unwrap();
    drop(slow);
    let asker = tokio::sync::Mutex::new((asker, outcomes));
    eventually("requests are taken again", async || {
        let (asker, outcomes) = &mut *asker.lock().await;
        let before = outcomes.accepted;
        let question = request("r0", "nobody", "GET-SCHEMA");
        send(asker, link, &question, outcomes).await;
        for event in asker.events_within(Duration::from_millis(200)).await {
            outcomes.note(&event);
        }
        if outcomes.accepted > before {
            Ok(())
        } else {
            Err("none yet".to_owned())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_gets_no_address_but_its_own_and_names_have_a_length() {
    let (router, port, metrics) = router_for_edges(Vec::new()).await;
    let downlink = |address: &str| Source {
        address: Some(address.to_owned()),
        capabilities: vec![Symbol::from_static("qd.router-edge-downlink")],
        ..Source::default()
    };
    for container in ["thief", "another"] {
        let mut thief = Peer::named(port, container).await;
        for _ in 0..2 {
            let refused = thief.receive_from(downlink("victim")).await.unwrap_err();
            assert_eq!(refused.condition, "qd:forbidden");
        }
        // Its own it gets.
        thief.receive_from(downlink(container)).await.unwrap();
        router
            .until("the edge is known", "router.address", |found| {
                found
                    .iter()
                    .any(|row| rows::text(row, "name") == format!("H{container}"))
            })
            .await;
    }
    let known = router.rows("router.address").await.unwrap();
    assert!(
        !known
            .iter()
            .any(|row| rows::text(row, "name").contains("victim"))
    );
    let links_refused = async || e2e::http::metric(metrics, "skupper_links_refused_total").await;
    assert_eq!(links_refused().await, 4);
    let warned = |text: &str| {
        let log = router.log();
        log.lines()
            .filter(|line| line.contains("link refused") && line.contains(text))
            .count()
    };
    assert_eq!(warned("its own id"), 1, "{}", router.log());

    let source = |len: usize| Source {
        address: Some("x".repeat(len)),
        ..Source::default()
    };
    let mut peer = Peer::named(port, "verbose").await;
    peer.receive_from(source(1024)).await.unwrap();
    for len in [1025, 8000] {
        let refused = peer.receive_from(source(len)).await.unwrap_err();
        assert_eq!(refused.condition, "amqp:resource-limit-exceeded");
    }
    assert_eq!(links_refused().await, 6);
    assert_eq!(warned("1024 octets"), 1, "{}", router.log());
    let link = peer.produce().await;
    for (len, refused) in [(1024, false), (1025, true)] {
        let delivery = peer.start(link);
        let octets = message(&"x".repeat(len), 0, 10);
        peer.send(delivery, octets, true).await;
        let (state, settled) = peer.disposition().await;
        assert!(settled);
        match state {
            Some(DeliveryState::Rejected(Some(condition))) if refused => {
                assert_eq!(condition.condition, "amqp:resource-limit-exceeded");
            }
            // Nobody else is there to read it.
            Some(DeliveryState::Released) if !refused => {}
            other => panic!("{len} octets: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beginnings_of_messages_count_among_what_waits() {
    /// More than may wait on one connection, in parts that are kept until a destination is chosen.
    const MESSAGES: usize = 1200;
    const PART: usize = 240 * 1024;
    let (router, port, metrics) = router_for_edges(Vec::new()).await;
    let mut reader = Peer::named(port, "reader").await;
    reader.consume("read").await;
    let mut peer = Peer::named(port, "slow").await;
    let part = message("nobody", 0, 300 * 1024).slice(..PART);
    for _ in 0..MESSAGES {
        let link = peer.produce().await;
        let delivery = peer.start(link);
        peer.send(delivery, part.clone(), false).await;
    }
    let mut broken_off = 0;
    // What is too much goes, and no more than that.
    let too_much = (MESSAGES * PART - 256 * 1024 * 1024) / PART;
    within("some are broken off", LIMIT, async {
        while broken_off < too_much {
            if let Event::Disposition {
                state: Some(DeliveryState::Rejected(Some(condition))),
                settled: true,
                ..
            } = peer.event().await
            {
                assert_eq!(condition.condition, "amqp:resource-limit-exceeded");
                broken_off += 1;
            }
        }
    })
    .await;
    let counted = e2e::http::metric(metrics, "skupper_messages_broken_off_total").await;
    assert!(
        (too_much as u64..too_much as u64 + 50).contains(&counted),
        "{counted} of {too_much}"
    );
    // The others may still come to an end, and the connection goes on.
    let link = peer.produce().await;
    let delivery = peer.start(link);
    peer.send(delivery, message("read", 0, 100), true).await;
    reader
        .until(|event| matches!(event, Event::Transfer { more: false, .. }))
        .await;
    drop(peer);
    let memory = router.resident_memory();
    assert!(memory < 600_000_000, "{memory}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_slow_gets_the_newest_of_what_nobody_waits_for() {
    /// What waits for a client: as many messages as a link has credit.
    const KEPT: usize = 250;
    const SENT: usize = 400;
    let (router, port, metrics) = router_for_edges(Vec::new()).await;
    let mut reader = Peer::named(port, "reader").await;
    let source = Source {
        address: Some("news".to_owned()),
        ..Source::default()
    };
    let link = reader.receive_from(source).await.unwrap();
    router.until_addresses(&["news"]).await;
    let mut sender = Peer::named(port, "sender").await;
    let producer = sender.produce().await;
    let news: Vec<Bytes> = (0..SENT).map(|len| message("news", 0, len)).collect();
    for (number, message) in news.iter().enumerate() {
        while sender.engine().credit(producer) == 0 {
            sender.event().await;
        }
        let delivery = sender
            .engine()
            .start_delivery(producer, &number.to_be_bytes(), true)
            .unwrap();
        sender.send(delivery, message.clone(), true).await;
    }
    eventually("the oldest are dropped", async || {
        let dropped = "qdr_dropped_presettled_deliveries_total";
        match e2e::http::metric(metrics, dropped).await {
            150 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    reader.engine().grant(link, 1000);
    let mut received = Vec::new();
    while received.len() < KEPT {
        if let Event::Transfer { payload, more, .. } = reader.event().await {
            assert!(!more);
            received.push(payload.len());
        }
    }
    assert!(
        received.windows(2).all(|pair| pair[0] < pair[1]),
        "the newest, in order: {received:?}"
    );
    let grown = received[KEPT - 1] - received[0];
    let expected = news[SENT - 1].len() - news[SENT - KEPT].len();
    assert_eq!(grown, expected, "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multicast_is_one_message_with_one_outcome() {
    let multicast = AddressEntity::prefix("news", Distribution::Multicast);
    let (router, port, metrics) = router_for_edges(vec![multicast]).await;
    let mut readers = Vec::new();
    for name in ["one", "two", "three"] {
        let mut reader = Peer::named(port, name).await;
        reader.consume("news").await;
        readers.push(reader);
    }
    router
        .until("all want news", "router.address", |found| {
            found.iter().any(|row| {
                rows::text(row, "name").ends_with("news")
                    && rows::number(row, "subscriberCount") == 3
            })
        })
        .await;
    let mut sender = Peer::named(port, "sender").await;
    let link = sender.produce().await;
    let delivery = sender.start(link);
    sender.send(delivery, message("news", 0, 10), true).await;
    let outcomes = [
        DeliveryState::Rejected(None),
        DeliveryState::Released,
        DeliveryState::Rejected(None),
    ];
    for (reader, outcome) in readers.iter_mut().zip(outcomes) {
        let arrived = reader
            .until(|event| matches!(event, Event::Transfer { more: false, .. }))
            .await;
        let Event::Transfer { delivery, .. } = arrived else {
            unreachable!("waited for");
        };
        reader.engine().disposition(delivery, Some(outcome), true);
        // It is on its way when the next thing is looked for.
        reader.events_within(Duration::from_millis(1)).await;
    }
    let told = sender.disposition().await;
    assert_eq!(told, (Some(DeliveryState::Rejected(None)), true));
    let counted = async |outcome: &str| {
        let name = format!("qdr_{outcome}_deliveries_total");
        e2e::http::metric(metrics, &name).await
    };
    assert_eq!(counted("rejected").await, 1);
    assert_eq!(counted("released").await, 0);
}

/// Somebody who comes to this port, if the router talks to him.
async fn let_in(port: u16) -> Option<TcpStream> {
    let mut stranger = connect(port).await;
    let _ = stranger.write_all(b"AMQP\x03\x01\x00\x00").await;
    let mut header = [0; 8];
    let read = within("an answer", SOON, stranger.read_exact(&mut header)).await;
    read.ok().map(|_| stranger)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_limits_the_connections_of_all_listeners_together() {
    let mut config = mesh::interior("r0");
    let (clients, first) = listener("clients", Role::Normal);
    let (edges, second) = listener("edges", Role::Edge);
    config.put_listener(clients);
    config.put_listener(edges);
    config.max_connections = Some(2);
    let mut router = TestRouter::start(config).await;
    let leaves = Peer::named(first, "leaves").await;
    let _stays = Peer::named(second, "stays").await;
    for port in [first, second, first] {
        assert!(let_in(port).await.is_none());
    }
    // The router's own user comes in by its Unix socket.
    let policy = router.rows("policy").await.unwrap();
    assert_eq!(rows::number(&policy[0], "maxConnections"), 2);
    assert_eq!(rows::number(&policy[0], "connectionsDenied"), 3);
    let refusals = router.log().matches("connection refused").count();
    assert_eq!(refusals, 2, "one line for each listener");

    drop(leaves);
    eventually("there is room again", async || {
        let_in(second).await.ok_or_else(|| "none".to_owned())
    })
    .await;
    router.reconfigure(|config| config.max_connections = None);
    // Beside the one that stays.
    let _all = eventually("there is room for all", async || {
        let mut strangers = Vec::new();
        for port in [first, second, first] {
            strangers.push(let_in(port).await.ok_or("no room")?);
        }
        Ok(strangers)
    })
    .await;
}
