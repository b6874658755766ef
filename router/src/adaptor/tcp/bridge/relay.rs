//! Both directions of a bridged stream, as one future.
//!
//! Slices pass from message to message without being copied. A body that becomes legacy gets a DATA header for every
//! batch of slices, so that a section is complete when its header is sent: C routers deliver whole sections only. The end
//! of one direction is held back where [`half_close`](super::super::half_close) asks for it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use amqp::performative::DeliveryState;
use bytes::{Bytes, BytesMut};

use super::super::{
    connector::lost,
    framing::{DATA_HEADER, DATA_LIMIT, Decoder, Framing, fill_data_header},
    half_close::{Activity, HeldEnd},
};
use crate::core::delivery::{Delivery, End, Wake};

/// Octets that may wait for the next hop.
const AHEAD: usize = 256 * 1024;
/// Octets moved at a time.
const BATCH: usize = 256 * 1024;
/// Turns in one poll before other flows get theirs.
const TURNS: usize = 8;
/// Allocation from which the headers of a worker's DATA sections are sliced.
const HEADERS: usize = 4096;

thread_local! {
    static HEADER_ARENA: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// How a bridged stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RelayEnd {
    /// Both directions ended and were settled.
    Clean,
    /// One side gave up, and the other was told.
    Lost,
}

/// One direction: from the message that arrives to the one that leaves.
#[derive(Debug)]
struct Direction {
    from: Arc<Delivery>,
    arrives: Framing,
    to: Arc<Delivery>,
    leaves: Framing,
    decoder: Decoder,
    /// Octets of the TCP stream, to be laid out.
    octets: VecDeque<Bytes>,
    /// Laid out.
    ready: VecDeque<Bytes>,
    end: End,
    source_settled: bool,
    /// Kept if the router that it comes from loses octets when the other direction ends too early.
    activity: Option<Activity>,
    /// All octets have been passed on, the end not yet.
    held: Option<HeldEnd>,
    /// The end has been passed on.
    ended: bool,
    /// Last outcome that came back.
    outcome: Option<DeliveryState>,
    /// The settlement has been passed on.
    settled: bool,
    registered: Option<Waker>,
}

/// A stream between two framings.
#[derive(Debug)]
pub(super) struct Relay {
    forward: Direction,
    reverse: Direction,
}

/// A side gave up, with this outcome.
struct Lost(DeliveryState);

impl Relay {
    /// Each direction: the message that arrives, its framing, the one that leaves. Heads have been read and sent.
    pub(super) fn new(
        (origin, near, attempt): (Arc<Delivery>, Framing, Arc<Delivery>),
        (reverse, far, back): (Arc<Delivery>, Framing, Arc<Delivery>),
    ) -> Self {
        Self {
            forward: Direction::new((origin, near), (attempt, far)),
            reverse: Direction::new((reverse, far), (back, near)),
        }
    }

    /// Spares the routers at the near and at the far end that are not of this implementation.
    pub(super) fn spare(mut self, near: bool, far: bool) -> Self {
        self.forward.activity = near.then(Activity::new);
        self.reverse.activity = far.then(Activity::new);
        self
    }

    /// Runs it to its end and gives all four messages their endings.
    pub(super) async fn run(mut self) -> RelayEnd {
        match std::future::poll_fn(|cx| self.poll(cx)).await {
            Ok(()) => RelayEnd::Clean,
            Err(Lost(state)) => {
                for direction in [&self.forward, &self.reverse] {
                    if direction.end == End::Aborted && direction.to.queued() > 0 {
                        // What waits here waits for nothing.
                        direction.to.abort();
                    }
                }
                // Outcomes first: they are what tells a legacy peer that the end is not the end of the data.
                for direction in [&self.forward, &self.reverse] {
                    direction.from.report(Some(state.clone()), true);
                }
                for direction in [&self.forward, &self.reverse] {
                    direction.to.finish(direction.leaves == Framing::Lite);
                }
                RelayEnd::Lost
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let Self { forward, reverse } = self;
        for _ in 0..TURNS {
            let both = forward
                .poll(cx, reverse.end == End::Open)
                .and_then(|moved| Ok(reverse.poll(cx, forward.end == End::Open)? | moved));
            let mut moved = match both {
                Ok(moved) => moved,
                Err(lost) => return Poll::Ready(Err(lost)),
            };
            moved |= forward.poll_end(reverse, cx);
            moved |= reverse.poll_end(forward, cx);
            if forward.is_over() && reverse.is_over() {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Direction {
    fn new(
        (from, arrives): (Arc<Delivery>, Framing),
        (to, leaves): (Arc<Delivery>, Framing),
    ) -> Self {
        from.continues_in(&to);
        Self {
            from,
            arrives,
            to,
            leaves,
            decoder: Decoder::new(arrives),
            octets: VecDeque::new(),
            ready: VecDeque::new(),
            end: End::Open,
            source_settled: false,
            activity: None,
            held: None,
            ended: false,
            outcome: None,
            settled: false,
            registered: None,
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.settled
    }

    fn poll(&mut self, cx: &Context<'_>, other_open: bool) -> Result<bool, Lost> {
        if !self
            .registered
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.registered = Some(cx.waker().clone());
            self.from.set_sink(Wake::Task(cx.waker().clone()));
            self.to.set_source(Wake::Task(cx.waker().clone()));
        }
        self.poll_feedback()?;
        self.poll_octets(other_open)
    }

    /// Window and outcome, back to the sender.
    fn poll_feedback(&mut self) -> Result<(), Lost> {
        if self.settled {
            return Ok(());
        }
        let feedback = self.to.take_feedback();
        if let Some((section, offset)) = feedback.received {
            self.from.report_received(section, offset);
        }
        match feedback.outcome {
            Some(DeliveryState::Accepted) => {
                self.outcome = Some(DeliveryState::Accepted);
                if !feedback.settled {
                    self.from.report(self.outcome.clone(), false);
                }
            }
            Some(DeliveryState::Rejected(condition)) => {
                return Err(Lost(DeliveryState::Rejected(condition)));
            }
            Some(outcome) if outcome.is_terminal() => return Err(Lost(lost())),
            _ => {}
        }
        if feedback.settled {
            self.settled = true;
            let outcome = self.outcome.take().unwrap_or(DeliveryState::Accepted);
            self.from.report(Some(outcome), true);
            // Nobody takes what still comes.
            self.ended = true;
            self.to.finish(true);
        }
        Ok(())
    }

    fn poll_octets(&mut self, other_open: bool) -> Result<bool, Lost> {
        if self.ended || !self.to.has_room(AHEAD) {
            return Ok(false);
        }
        let moved = self.take()?;
        match self.leaves {
            Framing::Lite => self.to.append(&mut self.octets),
            Framing::Legacy => {
                lay_out(&mut self.octets, &mut self.ready);
                self.to.append(&mut self.ready);
            }
        }
        // A lite sender that settles its own message while the other one is open has lost its connection.
        let given_up = self.source_settled && self.arrives == Framing::Lite && other_open;
        match self.end {
            End::Aborted => Err(Lost(lost())),
            End::Complete if given_up => Err(Lost(lost())),
            End::Complete | End::Open => Ok(moved),
        }
    }

    /// Passes the end on, unless that could cost octets of the `other` direction. True if it did.
    fn poll_end(&mut self, other: &mut Self, cx: &mut Context<'_>) -> bool {
        if self.ended || self.end != End::Complete {
            return false;
        }
        if let (Some(activity), End::Open) = (&mut other.activity, other.end) {
            let now = Instant::now();
            if other.to.queued() > 0 {
                // The router may be held up by this side.
                activity.note(0, now);
            }
            if self.held.is_none() {
                self.held = HeldEnd::hold(activity, now);
            }
            let held = self.held.as_mut();
            if held.is_some_and(|held| held.poll(activity, now, cx).is_pending()) {
                return false;
            }
        }
        self.held = None;
        self.ended = true;
        self.to
            .finish(self.source_settled && self.leaves == Framing::Lite);
        true
    }

    /// Takes a batch out of the message that arrives.
    fn take(&mut self) -> Result<bool, Lost> {
        let Self {
            from,
            decoder,
            octets,
            end,
            source_settled,
            activity,
            ..
        } = self;
        from.take(|chunks, end_now, settled| {
            let mut taken = 0;
            while taken < BATCH {
                let Some(chunk) = chunks.pop_front() else {
                    break;
                };
                taken += chunk.len();
                decoder
                    .decode(chunk, octets)
                    .map_err(|_| Lost(DeliveryState::Rejected(None)))?;
            }
            if chunks.is_empty() {
                (*end, *source_settled) = (end_now, settled);
            }
            if let Some(activity) = activity.as_mut().filter(|_| taken > 0) {
                activity.note(taken, Instant::now());
            }
            Ok(taken > 0)
        })
    }
}

/// Moves `octets` to `sections` as DATA sections, each complete and none longer than peers can hold.
fn lay_out(octets: &mut VecDeque<Bytes>, sections: &mut VecDeque<Bytes>) {
    let mut left: usize = octets.iter().map(Bytes::len).sum();
    while left > 0 {
        let mut section = left.min(DATA_LIMIT);
        left -= section;
        sections.push_back(data_header(section));
        while section > 0 {
            let Some(first) = octets.front_mut() else {
                return;
            };
            let part = if first.len() <= section {
                octets.pop_front().unwrap_or_default()
            } else {
                first.split_to(section)
            };
            section -= part.len();
            sections.push_back(part);
        }
    }
}

fn data_header(len: usize) -> Bytes {
    HEADER_ARENA.with_borrow_mut(|arena| {
        if arena.capacity() < DATA_HEADER {
            *arena = BytesMut::with_capacity(HEADERS);
        }
        arena.resize(DATA_HEADER, 0);
        fill_data_header(arena, len);
        arena.split().freeze()
    })
}

#[cfg(test)]
mod tests;
