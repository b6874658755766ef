//! What the router does for peers of another implementation that overlook ends and continuations of streams, or lose the
//! last octets of a connection that is over in both directions too early. The peer is in the hands of the test.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use amqp::{
    engine::{DeliveryKey, Event},
    performative::DeliveryState,
};
use bytes::{Bytes, BytesMut};
use e2e::{
    SOON, TestRouter,
    mesh::{interior, listener},
    peer::Peer,
    tcp::{connect, ends, tcp_listener},
    within,
};
use model::router_config::{Encapsulation, Role};
use router::{
    adaptor::tcp::framing::{Framing, ReverseOpener, StreamHead},
    core::annotations::{Annotations, DISABLE_Q2, STREAMING},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const ADDRESS: &str = "service:80";
/// Without anything from the other direction for so long, an end goes out.
const PAUSE: Duration = Duration::from_millis(300);
/// Long enough for reminders to come, if there are any.
const WHILE: Duration = Duration::from_millis(700);

/// A client's flow through a router, whose far end is the peer.
struct Flow {
    _router: TestRouter,
    client: TcpStream,
    peer: Peer,
    forward: DeliveryKey,
    reverse: DeliveryKey,
}

impl Flow {
    async fn new() -> Self {
        let mut config = interior("r0");
        let (edges, edge_port) = listener("edges", Role::Edge);
        config.put_listener(edges);
        let (mut tcp, port) = tcp_listener("service-in", ADDRESS);
        tcp.encapsulation = Encapsulation::Lite;
        config.put_tcp_listener(tcp);
        let router = TestRouter::start(config).await;
        let mut peer = Peer::connect(edge_port).await;
        peer.consume(ADDRESS).await;
        let producer = peer.produce().await;
        let client = connect(port).await;
        let mut head = BytesMut::new();
        let (forward, opener) = loop {
            let event = peer.event().await;
            let Event::Transfer {
                delivery, payload, ..
            } = event
            else {
                continue;
            };
            head.extend_from_slice(&payload);
            if let Some(opener) = StreamHead::parse(&head, false).unwrap() {
                break (delivery, opener);
            }
        };
        let reverse = peer.start(producer);
        let mut octets = BytesMut::new();
        Annotations {
            flags: STREAMING | DISABLE_Q2,
            ..Annotations::default()
        }
        .encode(&mut octets);
        octets.extend_from_slice(&foreign_opener(&opener.properties.reply_to.unwrap()));
        peer.send(reverse, octets.freeze(), false).await;
        Self {
            _router: router,
            client,
            peer,
            forward,
            reverse,
        }
    }

    /// Octets to the client, and checks that they arrive.
    async fn answer(&mut self, octets: &[u8]) {
        let sent = Bytes::copy_from_slice(octets);
        self.peer.send(self.reverse, sent, false).await;
        let mut received = vec![0; octets.len()];
        within("the answer", SOON, self.client.read_exact(&mut received))
            .await
            .unwrap();
        assert_eq!(received, octets);
    }

    async fn half_close(&mut self) {
        self.client.shutdown().await.unwrap();
    }

    /// Until the peer has the end of what the client sent.
    async fn end_arrives(&mut self) {
        let forward = self.forward;
        self.peer
            .until(|event| {
                matches!(event, Event::Transfer { delivery, more: false, .. } if *delivery == forward)
            })
            .await;
    }

    fn is_reminder(&self, event: &Event) -> bool {
        matches!(
            event,
            Event::Disposition { delivery, state: None, settled: false, .. }
                if *delivery == self.forward
        )
    }
}

/// As routers of another implementation write it.
fn foreign_opener(to: &str) -> Bytes {
    ReverseOpener {
        to,
        subject: None,
        flow_id: "",
        own: false,
    }
    .encode(Framing::Lite)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_reminded_of_an_end_until_it_settles() {
    let mut flow = Flow::new().await;
    flow.half_close().await;
    flow.end_arrives().await;
    for _ in 0..2 {
        loop {
            let event = flow.peer.event().await;
            if flow.is_reminder(&event) {
                break;
            }
        }
    }
    let forward = flow.forward;
    flow.peer
        .engine()
        .disposition(forward, Some(DeliveryState::Accepted), true);
    let later = flow.peer.events_within(WHILE).await;
    assert!(
        !later.iter().any(|event| flow.is_reminder(event)),
        "{later:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_goes_on_is_no_reason_to_remind_of_its_end() {
    let mut flow = Flow::new().await;
    flow.client.write_all(b"hello").await.unwrap();
    let events = flow.peer.events_within(WHILE).await;
    assert!(
        !events.iter().any(|event| flow.is_reminder(event)),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_told_its_credit_again_while_a_stream_does_not_continue() {
    let mut flow = Flow::new().await;
    flow.peer.events_within(WHILE).await;
    // Flows that change nothing: no events, but octets.
    let before = flow.peer.received();
    let events = flow.peer.events_within(2 * WHILE).await;
    assert!(events.is_empty(), "{events:?}");
    assert!(flow.peer.received() > before);
    let (forward, reverse) = (flow.forward, flow.reverse);
    flow.peer.send(reverse, Bytes::new(), true).await;
    flow.half_close().await;
    flow.end_arrives().await;
    flow.peer
        .engine()
        .disposition(forward, Some(DeliveryState::Accepted), true);
    flow.peer.events_within(WHILE).await;
    let before = flow.peer.received();
    flow.peer.events_within(4 * WHILE).await;
    assert_eq!(flow.peer.received(), before, "nothing is open any more");
}

/// Answers for a while after the half-close. If the end came meanwhile, the longest time between two answers.
async fn answers_without_a_pause(flow: &mut Flow) -> Option<Duration> {
    let burst = vec![7; 64 * 1024];
    flow.answer(&burst).await;
    let mut answered = Instant::now();
    flow.half_close().await;
    let started = answered;
    let mut gap = Duration::ZERO;
    while started.elapsed() < WHILE {
        flow.answer(&burst).await;
        gap = gap.max(answered.elapsed());
        answered = Instant::now();
        let events = flow.peer.events_within(Duration::from_millis(20)).await;
        let ended = events
            .iter()
            .any(|event| matches!(event, Event::Transfer { more: false, .. }));
        if ended {
            return Some(gap.max(answered.elapsed()));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_waits_while_the_other_direction_is_busy() {
    let mut tries = 0..5;
    let mut flow = loop {
        let mut flow = Flow::new().await;
        match answers_without_a_pause(&mut flow).await {
            None => break flow,
            // On a machine that has other things to do there was a pause.
            Some(gap) if gap > PAUSE / 2 && tries.next().is_some() => {}
            Some(gap) => panic!("the end came although no answer was later than {gap:?}"),
        }
    };
    flow.end_arrives().await;
    // Then the rest arrives, and the end.
    flow.answer(b"bye").await;
    let reverse = flow.reverse;
    flow.peer.send(reverse, Bytes::new(), true).await;
    within("the end", SOON, ends(&mut flow.client))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_does_not_wait_when_little_came_back() {
    // The best of some: the machine may have other things to do.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let mut flow = Flow::new().await;
        flow.answer(b"220 hello").await;
        let started = Instant::now();
        flow.half_close().await;
        flow.end_arrives().await;
        best = best.min(started.elapsed());
        if best < PAUSE / 2 {
            return;
        }
    }
    panic!("it took {best:?}");
}
