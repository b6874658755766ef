use super::*;
use crate::core::annotations::Annotations;

const LEGACY: Framing = Framing::Legacy;
const LITE: Framing = Framing::Lite;

/// A bridged stream without routers: the four messages, and the relay between them.
struct Stream {
    origin: Arc<Delivery>,
    attempt: Arc<Delivery>,
    reverse: Arc<Delivery>,
    back: Arc<Delivery>,
    relay: tokio::task::JoinHandle<RelayEnd>,
}

fn delivery() -> Arc<Delivery> {
    Arc::new(Delivery::new(Annotations::default(), None, false, 4))
}

impl Stream {
    fn new(near: Framing, far: Framing) -> Self {
        Self::sparing(near, far, false)
    }

    /// `spare`: both ends are at C routers.
    fn sparing(near: Framing, far: Framing, spare: bool) -> Self {
        let [origin, attempt, reverse, back] = [(); 4].map(|()| delivery());
        let relay = Relay::new(
            (origin.clone(), near, attempt.clone()),
            (reverse.clone(), far, back.clone()),
        )
        .spare(spare, spare);
        Self {
            origin,
            attempt,
            reverse,
            back,
            relay: tokio::spawn(relay.run()),
        }
    }

    async fn end(self) -> RelayEnd {
        tokio::time::timeout(std::time::Duration::from_secs(5), self.relay)
            .await
            .expect("it ends in time")
            .expect("it does not panic")
    }
}

/// Lets the relay run until it has nothing to do.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Everything that waits in a message, and how it ends.
fn taken(delivery: &Delivery) -> (Vec<u8>, End, bool) {
    delivery.take(|chunks, end, settled| (chunks.drain(..).flatten().collect(), end, settled))
}

fn sections(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        let mut header = [0; DATA_HEADER];
        fill_data_header(&mut header, part.len());
        out.extend_from_slice(&header);
        out.extend_from_slice(part);
    }
    out
}

/// Octets of a legacy body, and the lengths of its sections.
fn decoded(body: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut octets, mut lengths, mut rest) = (Vec::new(), Vec::new(), body);
    while let Some((header, tail)) = rest.split_at_checked(DATA_HEADER) {
        assert_eq!(header[..4], [0x00, 0x53, 0x75, 0xb0]);
        let len = u32::from_be_bytes(header[4..].try_into().expect("four octets")) as usize;
        octets.extend_from_slice(&tail[..len]);
        lengths.push(len);
        rest = &tail[len..];
    }
    assert!(rest.is_empty());
    (octets, lengths)
}

#[tokio::test]
async fn sections_become_octets_however_frames_cut_them() {
    let body = sections(&[b"hello", b"", b" ", b"world"]);
    for size in 1..=body.len() {
        let stream = Stream::new(LEGACY, LITE);
        for frame in body.chunks(size) {
            stream.origin.push(Bytes::copy_from_slice(frame));
        }
        stream.origin.finish(false);
        settle().await;
        let (octets, end, settled) = taken(&stream.attempt);
        assert_eq!(octets, b"hello world", "frames of {size}");
        assert_eq!((end, settled), (End::Complete, false));
    }
}

#[tokio::test]
async fn octets_become_whole_sections_that_peers_can_hold() {
    let stream = Stream::new(LITE, LEGACY);
    let octets: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut received, mut lengths) = (Vec::new(), Vec::new());
    for frame in octets.chunks(DATA_LIMIT + 1000) {
        stream.origin.push(Bytes::copy_from_slice(frame));
        settle().await;
        let (body, _, _) = taken(&stream.attempt);
        let (part, sizes) = decoded(&body);
        received.extend(part);
        lengths.extend(sizes);
    }
    assert_eq!(received, octets);
    assert!(
        lengths.iter().all(|len| (1..=DATA_LIMIT).contains(len)),
        "{lengths:?}"
    );
}

#[tokio::test]
async fn what_the_next_hop_does_not_take_stays_with_the_source() {
    let stream = Stream::new(LITE, LEGACY);
    let frame = Bytes::from(vec![7; 64 * 1024]);
    for _ in 0..40 {
        stream.origin.push(frame.clone());
        settle().await;
    }
    let waiting = stream.attempt.queued();
    assert!(waiting <= AHEAD + BATCH + 1024, "{waiting} octets");
    assert_eq!(
        stream.origin.queued() + waiting,
        40 * frame.len() + DATA_HEADER * waiting.div_ceil(DATA_LIMIT + DATA_HEADER)
    );
    // Once it takes them, the rest follows.
    let mut octets = 0;
    while octets < 40 * frame.len() {
        octets += decoded(&taken(&stream.attempt).0).0.len();
        settle().await;
    }
    assert_eq!(stream.origin.queued(), 0);
}

#[tokio::test]
async fn what_waits_behind_the_relay_counts_for_its_source_and_goes_when_that_breaks_off() {
    let stream = Stream::new(LEGACY, LITE);
    let body = sections(&[&[7; 60_000]]);
    stream.origin.push(Bytes::from(body));
    settle().await;
    assert_eq!(stream.attempt.queued(), 60_000);
    assert_eq!(stream.origin.queued(), 0);
    assert_eq!(stream.origin.backlog().waiting, 60_000);
    let (origin, attempt) = (stream.origin.clone(), stream.attempt.clone());
    origin.break_off();
    assert_eq!(stream.end().await, RelayEnd::Lost);
    assert_eq!(attempt.queued(), 0);
    assert_eq!(taken(&attempt).1, End::Aborted);
}

#[tokio::test]
async fn windows_outcomes_and_both_ends_pass() {
    let stream = Stream::new(LEGACY, LITE);
    let (origin, reverse) = (stream.origin.clone(), stream.reverse.clone());
    stream.attempt.report_received(3, 70_000);
    settle().await;
    assert_eq!(origin.take_feedback().received, Some((3, 70_000)));
    origin.finish(false);
    settle().await;
    stream.attempt.report(Some(DeliveryState::Accepted), true);
    settle().await;
    let feedback = origin.take_feedback();
    assert_eq!(
        (feedback.outcome, feedback.settled),
        (Some(DeliveryState::Accepted), true)
    );
    // The other direction is open still.
    reverse.push(Bytes::from_static(b"late"));
    reverse.finish(false);
    settle().await;
    assert_eq!(taken(&stream.back).0, sections(&[b"late"]));
    assert!(!stream.relay.is_finished());
    // Legacy peers say it first and settle later.
    stream.back.report(Some(DeliveryState::Accepted), false);
    settle().await;
    assert!(!reverse.is_settled());
    stream.back.report(None, true);
    assert_eq!(stream.end().await, RelayEnd::Clean);
    let feedback = reverse.take_feedback();
    assert_eq!(
        (feedback.outcome, feedback.settled),
        (Some(DeliveryState::Accepted), true)
    );
}

#[tokio::test]
async fn a_side_that_gives_up_ends_both_directions_for_the_other() {
    for near in [LEGACY, LITE] {
        let far = if near == LEGACY { LITE } else { LEGACY };
        let stream = Stream::new(near, far);
        let messages = [
            stream.origin.clone(),
            stream.attempt.clone(),
            stream.reverse.clone(),
            stream.back.clone(),
        ];
        stream.attempt.report(Some(lost()), false);
        assert_eq!(stream.end().await, RelayEnd::Lost);
        let [origin, attempt, reverse, back] = messages;
        for message in [&origin, &reverse] {
            let feedback = message.take_feedback();
            assert_eq!((feedback.outcome, feedback.settled), (Some(lost()), true));
        }
        for (message, framing) in [(attempt, far), (back, near)] {
            let (_, end, settled) = taken(&message);
            assert_eq!((end, settled), (End::Complete, framing == LITE));
        }
    }
}

#[tokio::test]
async fn losses_are_no_ends() {
    // The connection that brought it broke.
    let stream = Stream::new(LEGACY, LITE);
    stream.origin.abort();
    assert_eq!(stream.end().await, RelayEnd::Lost);
    // A lite sender settles itself what it cannot complete.
    let stream = Stream::new(LEGACY, LITE);
    let back = stream.back.clone();
    let origin = stream.origin.clone();
    stream.reverse.finish(true);
    assert_eq!(stream.end().await, RelayEnd::Lost);
    assert_eq!(origin.take_feedback().outcome, Some(lost()));
    assert_eq!(taken(&back).1, End::Complete);
    // A body that is not one.
    let stream = Stream::new(LEGACY, LITE);
    let origin = stream.origin.clone();
    origin.push(Bytes::from_static(b"\x00\x53\x77\x40"));
    assert_eq!(stream.end().await, RelayEnd::Lost);
    assert_eq!(
        origin.take_feedback().outcome,
        Some(DeliveryState::Rejected(None))
    );
}

#[tokio::test]
async fn a_consumer_that_settles_early_is_sent_nothing_more() {
    let stream = Stream::new(LITE, LEGACY);
    stream.attempt.report(Some(DeliveryState::Accepted), true);
    settle().await;
    assert!(stream.origin.is_settled());
    stream.reverse.push(Bytes::from_static(&[
        0x00, 0x53, 0x75, 0xa0, 0x03, b'a', b'b', b'c',
    ]));
    stream.reverse.finish(false);
    settle().await;
    assert_eq!(taken(&stream.back).0, b"abc");
    stream.back.report(Some(DeliveryState::Accepted), true);
    assert_eq!(stream.end().await, RelayEnd::Clean);
}

#[tokio::test]
async fn an_end_waits_while_the_router_that_gets_it_is_busy() {
    for (spare, octets, waits) in [
        (true, 64 * 1024, true),
        (true, 100, false),
        (false, 64 * 1024, false),
    ] {
        let stream = Stream::sparing(LITE, LEGACY, spare);
        let body = vec![7; octets];
        stream.reverse.push(Bytes::from(sections(&[&body])));
        settle().await;
        stream.origin.push(Bytes::from_static(b"last"));
        stream.origin.finish(false);
        settle().await;
        let (forward, end, _) = taken(&stream.attempt);
        assert_eq!(decoded(&forward).0, b"last", "octets never wait");
        assert_eq!(end == End::Open, waits, "{spare}, {octets} octets");
        assert_eq!(taken(&stream.back).0, body);
        // The other end releases it.
        stream.reverse.finish(false);
        settle().await;
        assert_eq!(taken(&stream.attempt).1, End::Complete);
        assert_eq!(taken(&stream.back).1, End::Complete);
    }
}
