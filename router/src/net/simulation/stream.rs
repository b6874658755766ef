//! Both ends of a stream, in place of the TCP adaptor: octets that tell where they belong, and a reader who looks.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Weak},
    task::{Poll, Waker},
};

use amqp::performative::DeliveryState;
use bytes::{Bytes, BytesMut};

use super::Random;
use crate::{
    adaptor::tcp::{
        ReplySlot,
        framing::{Framing, ReverseOpener, StreamHead},
        granted,
    },
    core::{
        annotations::{Annotations, DISABLE_Q2, STREAMING},
        delivery::{Delivery, End, Wake},
        forward::{self, Choice, Request},
        shared::Shared,
    },
};

/// Octets that may wait between a source and its connection, as those of TCP flows.
pub(super) const READ_AHEAD: usize = 256 * 1024;
/// The most that a source adds at once.
pub(super) const CHUNK: u64 = 32 * 1024;
/// A reader reports after so many octets.
const REPORT_AFTER: u64 = 64 * 1024;

/// What is planned for a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) number: u64,
    pub(super) length: u64,
    /// The source breaks off there.
    pub(super) abort_at: Option<u64>,
    /// The reader gives up there.
    pub(super) leave_at: Option<u64>,
    /// The source takes no notice of windows.
    pub(super) greedy: bool,
    /// Of so many chances to read, it takes one.
    pub(super) slowness: u64,
}

/// How the source learned of the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    /// There is no way to the reader.
    NoWay,
    /// It broke off by itself.
    Nothing,
    Outcome(DeliveryState),
}

/// How the reader learned of the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    Complete,
    Aborted,
    /// It gave up by itself.
    Left,
}

/// What has happened to a stream so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// The most that was between both ends at once.
    pub(super) most_between: u64,
    pub(super) begun: bool,
    pub(super) told: Option<Told>,
    pub(super) seen: Option<Seen>,
    pub(super) delivery: Option<Weak<Delivery>>,
}

/// A stream as the simulation sees it.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) plan: Plan,
    pub(super) record: Rc<RefCell<Record>>,
    gate: Rc<RefCell<Gate>>,
}

/// Lets the reader go on.
#[derive(Default)]
struct Gate {
    open: bool,
    waker: Option<Waker>,
}

/// Octets of a stream from `offset` on: each word depends on the stream and on its place.
fn octets(stream: u64, offset: u64, count: usize) -> Bytes {
    let base = Random(stream).next();
    let (first, skipped) = (offset / 8, (offset % 8) as usize);
    let last = (offset + count as u64).div_ceil(8);
    let mut octets = BytesMut::with_capacity(count + 16);
    for word in first..last {
        octets.extend_from_slice(&Random(base ^ word).next().to_le_bytes());
    }
    octets.freeze().slice(skipped..skipped + count)
}

impl Stream {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            record: Rc::default(),
            gate: Rc::default(),
        }
    }

    /// The reader may read once more.
    pub(super) fn let_read(&self) {
        let mut gate = self.gate.borrow_mut();
        gate.open = true;
        if let Some(waker) = gate.waker.take() {
            waker.wake();
        }
    }

    /// Sends the stream to the dynamic address `to` and waits for its outcome.
    pub(super) async fn send(self, shared: Arc<Shared>, to: String, seed: u64) {
        let told = self.pour(&shared, &to, Random(seed)).await;
        self.record.borrow_mut().told = Some(told);
    }

    async fn pour(&self, shared: &Arc<Shared>, to: &str, mut random: Random) -> Told {
        let annotations = Annotations {
            flags: STREAMING | DISABLE_Q2,
            ..Annotations::default()
        };
        let delivery = Arc::new(Delivery::begun_by_router(
            annotations,
            None,
            &shared.read_ahead,
        ));
        let opener = ReverseOpener {
            to,
            subject: None,
            flow_id: "",
            own: true,
        };
        delivery.push(opener.encode(Framing::Lite));
        let request = Request {
            address: to,
            annotations: &delivery.annotations,
            arrived_on: None,
            complete: false,
            preferred: None,
        };
        let choice = forward::choose(shared, &shared.table.load(), request);
        let Choice::One(sink) = choice else {
            return Told::NoWay;
        };
        self.record.borrow_mut().delivery = Some(Arc::downgrade(&delivery));
        forward::dispatch(shared, sink, delivery.clone());
        let (mut acknowledged, mut window) = (0, Framing::Lite.window());
        let mut ended = false;
        std::future::poll_fn(|cx| {
            delivery.set_source(Wake::Task(cx.waker().clone()));
            let feedback = delivery.take_feedback();
            if let Some((section_number, offset)) = feedback.received {
                let sent = self.record.borrow().sent;
                assert!(offset <= sent, "{offset} of {sent} octets are acknowledged");
                acknowledged = acknowledged.max(offset);
                window = granted(section_number).unwrap_or(window);
            }
            match feedback.outcome {
                Some(outcome) if outcome.is_terminal() => {
                    delivery.finish(true);
                    return Poll::Ready(Told::Outcome(outcome));
                }
                _ if feedback.settled => {
                    return Poll::Ready(Told::Outcome(DeliveryState::Accepted));
                }
                _ => {}
            }
            if ended {
                return Poll::Pending;
            }
            let mut record = self.record.borrow_mut();
            let until = self.plan.abort_at.unwrap_or(self.plan.length);
            if record.sent == until {
                if self.plan.abort_at.is_some() {
                    delivery.abort();
                    return Poll::Ready(Told::Nothing);
                }
                ended = true;
                delivery.finish(false);
                return Poll::Pending;
            }
            let ahead = record.sent - acknowledged;
            if !self.plan.greedy && ahead >= window || !delivery.has_room(READ_AHEAD) {
                return Poll::Pending;
            }
            let count = (1 + random.below(CHUNK)).min(until - record.sent);
            let chunk = octets(self.plan.number, record.sent, count as usize);
            record.sent += count;
            record.most_between = record.most_between.max(record.sent - record.received);
            delivery.push(chunk);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Reads what arrives in `slot` and looks at each octet.
    pub(super) async fn read(self, slot: Arc<ReplySlot>, seed: u64) {
        let mut random = Random(seed);
        let delivery = std::future::poll_fn(|cx| slot.poll_take(cx)).await;
        self.record.borrow_mut().begun = true;
        let mut head = Some(BytesMut::new());
        let mut reported = 0;
        let (seen, outcome) = std::future::poll_fn(|cx| {
            delivery.set_sink(Wake::Task(cx.waker().clone()));
            {
                let mut gate = self.gate.borrow_mut();
                gate.waker = Some(cx.waker().clone());
                if !std::mem::take(&mut gate.open) {
                    return Poll::Pending;
                }
            }
            let pieces = 1 + random.below(8) as usize;
            let (taken, end) = delivery.take(|chunks, end, _| {
                let taken: Vec<Bytes> = chunks.drain(..pieces.min(chunks.len())).collect();
                (taken, if chunks.is_empty() { end } else { End::Open })
            });
            let mut record = self.record.borrow_mut();
            for chunk in taken {
                match &mut head {
                    Some(octets) => {
                        octets.extend_from_slice(&chunk);
                        let parsed = StreamHead::parse(octets, false).expect("it is an opener");
                        if let Some(parsed) = parsed {
                            let rest = octets.split_off(parsed.len);
                            head = None;
                            self.look_at(&rest, &mut record);
                        }
                    }
                    None => self.look_at(&chunk, &mut record),
                }
            }
            let received = record.received;
            if self.plan.leave_at.is_some_and(|at| received >= at) {
                let gone = DeliveryState::Modified {
                    delivery_failed: true,
                    undeliverable_here: false,
                    annotations: Vec::new(),
                };
                return Poll::Ready((Seen::Left, gone));
            }
            match end {
                End::Complete => return Poll::Ready((Seen::Complete, DeliveryState::Accepted)),
                End::Aborted => return Poll::Ready((Seen::Aborted, DeliveryState::Released)),
                End::Open => {}
            }
            if received - reported >= REPORT_AFTER {
                reported = received;
                delivery.report_received(0, received);
            }
            Poll::Pending
        })
        .await;
        self.record.borrow_mut().seen = Some(seen);
        delivery.report(Some(outcome), true);
    }

    fn look_at(&self, found: &[u8], record: &mut Record) {
        let number = self.plan.number;
        let expected = octets(number, record.received, found.len());
        if expected != found {
            let wrong = expected.iter().zip(found).position(|(one, two)| one != two);
            let at = record.received + wrong.unwrap_or_default() as u64;
            panic!("octet {at} of stream {number} is not what was sent there");
        }
        record.received += found.len() as u64;
        assert!(
            record.received <= record.sent,
            "stream {number} has got more than was sent"
        );
    }
}
