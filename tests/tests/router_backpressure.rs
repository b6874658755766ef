//! Messages whose readers do not read, on connections that carry those of others as well.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use amqp::{engine::Event, performative::DeliveryState};
use bytes::Bytes;
use e2e::{
    TestRouter,
    mesh::{self, connector, listener},
    peer::{Peer, message},
    rows,
};
use model::router_config::Role;
use router::core::annotations::STREAMING;

const MIB: usize = 1024 * 1024;
/// Window of a session, in frames of 16 KiB.
const WINDOW: u32 = 128;

/// A router, and peers that it takes for edges: one that reads, one that never does, one that sends to both.
struct Bed {
    router: TestRouter,
    reader: Peer,
    _stuck: Peer,
    sender: Peer,
}

impl Bed {
    async fn new() -> Self {
        let mut config = mesh::interior("r0");
        let (mut edges, port) = listener("edges", Role::Edge);
        edges.max_session_frames = Some(WINDOW);
        // The peers do not speak when they have nothing to say.
        edges.idle_timeout = Duration::ZERO;
        config.put_listener(edges);
        let router = TestRouter::start(config).await;
        let mut reader = Peer::named(port, "reader").await;
        reader.consume("read").await;
        let mut stuck = Peer::slow(port, "stuck", 2).await;
        stuck.consume("stuck").await;
        router.until_addresses(&["read", "stuck"]).await;
        let sender = Peer::named(port, "sender").await;
        Self {
            router,
            reader,
            _stuck: stuck,
            sender,
        }
    }

    /// A message to the one that reads arrives, on a new session or on the current one.
    async fn another_message_arrives(&mut self, new_session: bool) {
        if new_session {
            self.sender.begin();
        }
        let producer = self.sender.produce().await;
        let delivery = self.sender.start(producer);
        self.sender
            .send(delivery, message("read", 0, 3 * MIB), true)
            .await;
        self.reader
            .until(|event| matches!(event, Event::Transfer { more: false, .. }))
            .await;
    }
}

#[tokio::test]
async fn a_message_that_waits_holds_up_its_session_only_and_not_for_ever() {
    let mut bed = Bed::new().await;
    let producer = bed.sender.produce().await;
    let waiting = bed.sender.start(producer);
    // Some of it may wait without harm.
    let octets = message("stuck", 0, 4 * MIB);
    assert!(bed.sender.try_send(waiting, octets.slice(..MIB)).await);
    bed.another_message_arrives(false).await;
    // More than the window.
    let since = Instant::now();
    assert!(!bed.sender.try_send(waiting, octets.slice(MIB..)).await);
    bed.another_message_arrives(true).await;
    let ended = bed
        .sender
        .until(|event| matches!(event, Event::Disposition { delivery, settled: true, .. } if *delivery == waiting))
        .await;
    let Event::Disposition {
        state: Some(DeliveryState::Rejected(Some(condition))),
        ..
    } = ended
    else {
        panic!("{ended:?}");
    };
    assert_eq!(condition.condition, "amqp:resource-limit-exceeded");
    assert!(since.elapsed() > Duration::from_secs(5), "at once");
    // Its session has its window back.
    bed.sender.send(waiting, Bytes::new(), true).await;
    bed.another_message_arrives(true).await;
    let log = bed.router.log();
    assert!(log.contains("takes most of its session's window"), "{log}");
    assert!(!log.contains("too much waits"), "{log}");
}

/// As C routers before 2.5 mark the streams of flows: their window is 1.4 MB
#[tokio::test]
async fn streams_of_old_routers_that_keep_to_their_window_hold_up_nobody() {
    let mut bed = Bed::new().await;
    let mut streams = Vec::new();
    // All together are more than the window of their session.
    for _ in 0..4 {
        let producer = bed.sender.produce().await;
        let delivery = bed.sender.start(producer);
        let octets = message("stuck", STREAMING, 1_459_620);
        bed.sender.send(delivery, octets, false).await;
        streams.push(delivery);
        bed.another_message_arrives(false).await;
    }
}

/// A message of a router about itself has no window, and no limit but that of the addresses a router may have.
#[tokio::test]
async fn a_router_that_comes_late_learns_six_thousand_long_addresses() {
    const COUNT: i64 = 6_000;
    let mut config = mesh::interior("r0");
    let (edges, edge_port) = listener("edges", Role::Edge);
    let (links, link_port) = listener("links", Role::InterRouter);
    config.put_listener(edges);
    config.put_listener(links);
    let _first = TestRouter::start(config).await;
    let mut peer = Peer::named(edge_port, "peer").await;
    peer.want((0..COUNT).map(|number| format!("{number:080}")))
        .await;
    let mut config = mesh::interior("r1");
    config.put_connector(connector("first", link_port, Role::InterRouter));
    let late = TestRouter::start(config).await;
    late.until("all addresses are known", "router", |found| {
        found
            .first()
            .is_some_and(|row| rows::number(row, "addrCount") >= COUNT)
    })
    .await;
}
