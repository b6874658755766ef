//! One message on its way through the router.
//!
//! A [`Delivery`] joins a *source* (an incoming link, a TCP socket, the management agent) with a *sink* (an outgoing
//! link, a TCP socket, an in-process subscriber). Octets go from source to sink as slices that are never copied;
//! window offsets, outcomes and settlement come back. It is the only thing that both sides share, so it is also the
//! hand-over between workers; its lock is held for a few moves at a time and is uncontended while both sides run on one
//! worker.
//!
//! ```text
//!  source --push/finish/abort--> [chunks, end] --take--> sink
//!  source <--take_feedback------ [received, outcome, settled] <--report-- sink
//! ```

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::Waker,
};

use amqp::{
    engine::{DeliveryKey, LinkId},
    performative::DeliveryState,
};
use bytes::Bytes;

use super::{
    annotations::Annotations, connection::ConnectionId, connection_message::ConnectionMessage,
    inbox::Inbox,
};
use crate::adaptor::tcp::{Doubt, granted};

/// One message between its source and its sink.
pub struct Delivery {
    /// Router annotations as they arrived or as the ingress made them, before this hop is added.
    pub annotations: Annotations,
    /// Connection on which it arrived; none for messages of this router itself.
    pub arrived_on: Option<ConnectionId>,
    /// The sender does not want an outcome.
    pub presettled: bool,
    /// AMQP priority, 0 to 9.
    pub priority: u8,
    /// Octets are sent as they are, without an annotations section of this hop (routing control makes its own).
    pub raw: bool,
    /// Counts the octets that wait here among those of the connection that brought them.
    waiting: Option<Arc<AtomicUsize>>,
    state: Mutex<State>,
}

/// How the octets of a message ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum End {
    /// More may come.
    #[default]
    Open,
    /// All octets are in the queue.
    Complete,
    /// The source broke off.
    Aborted,
}

/// What came back from the sink since the last look.
#[derive(Debug, Default)]
pub struct Feedback {
    /// Section number and offset of a `received` state.
    pub received: Option<(u32, u64)>,
    /// Terminal (or relayed unknown) state.
    pub outcome: Option<DeliveryState>,
    /// The sink settled.
    pub settled: bool,
}

/// How a message stands with its sink.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Octets that wait.
    pub waiting: usize,
    /// Octets taken since the message began, wrapping.
    pub taken: u64,
}

/// Whom to wake when the other side did something.
#[derive(Clone)]
pub enum Wake {
    /// A task that polls the delivery itself.
    Task(Waker),
    /// The driver of a connection, told which outgoing link has octets to send.
    Outgoing(Arc<Inbox<ConnectionMessage>>, LinkId),
    /// The driver of a connection, told that the source of a message that it has sent has settled it.
    Settled(Arc<Inbox<ConnectionMessage>>, DeliveryKey),
    /// The driver of a connection, told which incoming delivery has feedback.
    Incoming(Arc<Inbox<ConnectionMessage>>, DeliveryKey),
}

impl Wake {
    fn wake(&self) {
        // A refused push means that the driver is gone or drowning: it looks at all its deliveries when it ends.
        let _ = match self {
            Self::Task(waker) => {
                waker.wake_by_ref();
                Ok(())
            }
            Self::Outgoing(inbox, link) => inbox.push(ConnectionMessage::Ready(*link)),
            Self::Settled(inbox, delivery) => {
                inbox.push(ConnectionMessage::SourceSettled(*delivery))
            }
            Self::Incoming(inbox, delivery) => inbox.push(ConnectionMessage::Feedback(*delivery)),
        };
    }
}

#[derive(Default)]
struct Side {
    wake: Option<Wake>,
    /// Something new for this side since it last looked; it has been woken.
    notified: bool,
}

impl Side {
    /// Marks the side; returns whom to wake if it was not marked yet.
    fn notify(&mut self) -> Option<Wake> {
        if self.notified {
            return None;
        }
        self.notified = true;
        self.wake.clone()
    }
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    queued: usize,
    /// Octets that the sink has taken, wrapping.
    taken: u64,
    /// The message that the octets of this one go on in, where they are translated.
    continuation: Option<Arc<Delivery>>,
    end: End,
    source_settled: bool,
    source: Side,
    sink: Side,
    /// The source waits for room.
    source_blocked: bool,
    feedback: Feedback,
    /// The largest window that the sink has granted, in octets.
    granted: usize,
    settled: bool,
    outstanding: Option<Outstanding>,
    doubt: Option<Box<Doubt>>,
}

/// Counts a delivery as open at a destination for as long as it lives; balancing reads the counter.
#[derive(Debug)]
pub struct Outstanding(Arc<AtomicU32>);

impl Outstanding {
    /// Adds one to `counter` until dropped.
    pub fn new(counter: &Arc<AtomicU32>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter.clone())
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Delivery {
    /// Empty, open delivery.
    pub fn new(
        annotations: Annotations,
        arrived_on: Option<ConnectionId>,
        presettled: bool,
        priority: u8,
    ) -> Self {
        Self {
            annotations,
            arrived_on,
            presettled,
            priority,
            raw: false,
            waiting: None,
            state: Mutex::default(),
        }
    }

    /// A stream that this router opens; `origin` is the one that it translates, if any.
    pub(crate) fn begun_by_router(annotations: Annotations, origin: Option<&Self>) -> Self {
        let arrived_on = origin.and_then(|origin| origin.arrived_on);
        let delivery = Self::new(annotations, arrived_on, false, 4);
        match origin {
            Some(origin) => delivery.counted_with(origin),
            None => delivery,
        }
    }

    /// Counts octets in `waiting` while they wait for the sink.
    #[must_use]
    pub fn counted_in(mut self, waiting: &Arc<AtomicUsize>) -> Self {
        self.waiting = Some(waiting.clone());
        self
    }

    /// Counts the octets that wait here where those of `origin` are counted.
    #[must_use]
    fn counted_with(mut self, origin: &Self) -> Self {
        self.waiting.clone_from(&origin.waiting);
        self
    }

    /// What is taken from here goes on in `next`: what waits there waits for the same reader.
    pub(crate) fn continues_in(&self, next: &Arc<Self>) {
        self.lock().continuation = Some(next.clone());
    }

    /// Complete, pre-settled message whose octets already contain the annotations section.
    pub fn raw(message: Bytes) -> Self {
        let mut delivery = Self::new(Annotations::default(), None, true, 9);
        delivery.raw = true;
        delivery.push(message);
        delivery.finish(true);
        delivery
    }

    /// Counts this delivery at its destination until it is settled.
    pub fn count_at(&self, outstanding: Outstanding) {
        self.lock().outstanding = Some(outstanding);
    }

    /// Has `doubt` raised if this delivery is released.
    pub(crate) fn doubt_if_released(&self, doubt: Box<Doubt>) {
        self.lock().doubt = Some(doubt);
    }

    // ----- source -----

    /// Registers whom to wake on feedback or room, and reports at once if something is there already.
    pub fn set_source(&self, wake: Wake) {
        let wake_now = {
            let mut state = self.lock();
            state.source.wake = Some(wake);
            if state.source.notified {
                state.source.wake.clone()
            } else {
                None
            }
        };
        if let Some(wake) = wake_now {
            wake.wake();
        }
    }

    /// Appends octets; they are dropped when the sink has settled already.
    pub fn push(&self, chunk: Bytes) {
        self.update(|state| {
            if chunk.is_empty() || state.settled || state.end != End::Open {
                return None;
            }
            state.queued += chunk.len();
            state.chunks.push_back(chunk);
            state.sink.notify()
        });
    }

    /// Appends all of `chunks`, none of them empty, at once; see [`Self::push`].
    pub(crate) fn append(&self, chunks: &mut VecDeque<Bytes>) {
        self.update(|state| {
            if chunks.is_empty() || state.settled || state.end != End::Open {
                chunks.clear();
                return None;
            }
            state.queued += chunks.iter().map(Bytes::len).sum::<usize>();
            state.chunks.append(chunks);
            state.sink.notify()
        });
    }

    /// No more octets. `settled`: the source does not wait for the outcome (or has settled).
    pub fn finish(&self, settled: bool) {
        self.end_with(End::Complete, settled);
    }

    /// The source broke off: the sink aborts what it has begun.
    pub fn abort(&self) {
        self.end_with(End::Aborted, true);
    }

    /// As [`Self::abort`], even if all octets have come: those that wait are dropped.
    pub fn break_off(&self) {
        self.update(|state| {
            if state.end == End::Complete && !state.chunks.is_empty() {
                state.end = End::Open;
            }
            None
        });
        self.abort();
    }

    fn end_with(&self, end: End, settled: bool) {
        self.update(|state| {
            state.source_settled |= settled;
            if state.end == End::Open {
                state.end = end;
                if end == End::Aborted {
                    state.chunks.clear();
                    state.queued = 0;
                }
            }
            state.sink.notify()
        });
    }

    /// Octets that wait for the sink.
    pub fn queued(&self) -> usize {
        self.lock().queued
    }

    /// What waits for the sink, and what it has taken; where this message goes on in another one, of both together.
    pub fn backlog(&self) -> Backlog {
        let (own, continuation) = {
            let state = self.lock();
            let own = Backlog {
                waiting: state.queued,
                taken: state.taken,
            };
            (own, state.continuation.clone())
        };
        let next = continuation.map_or_else(Backlog::default, |next| next.backlog());
        Backlog {
            waiting: own.waiting.saturating_add(next.waiting),
            taken: own.taken.wrapping_add(next.taken),
        }
    }

    /// True if at most `limit` octets wait; otherwise the source is woken once the sink has taken some.
    pub fn has_room(&self, limit: usize) -> bool {
        let mut state = self.lock();
        state.source_blocked = state.queued > limit && !state.settled;
        !state.source_blocked
    }

    /// As [`Self::has_room`], for a stream with a window of its own: `limit` counts beyond what the sink has granted.
    pub fn has_window_room(&self, limit: usize) -> bool {
        let mut state = self.lock();
        state.source_blocked = state.queued > limit + state.granted && !state.settled;
        !state.source_blocked
    }

    /// Takes what came back since the last call and lets the source be woken again.
    pub fn take_feedback(&self) -> Feedback {
        let mut state = self.lock();
        state.source.notified = false;
        let settled = state.settled;
        Feedback {
            settled,
            ..std::mem::take(&mut state.feedback)
        }
    }

    // ----- sink -----

    /// Registers whom to wake when octets or the end arrive, and wakes at once if they are there already.
    pub fn set_sink(&self, wake: Wake) {
        let wake_now = {
            let mut state = self.lock();
            state.sink.wake = Some(wake);
            if state.sink.notified {
                state.sink.wake.clone()
            } else {
                None
            }
        };
        if let Some(wake) = wake_now {
            wake.wake();
        }
    }

    /// Lets `take` remove octets from the front of the queue; it learns how the message ends behind them and whether
    /// the source has settled.
    pub fn take<R>(&self, take: impl FnOnce(&mut VecDeque<Bytes>, End, bool) -> R) -> R {
        let mut result = None;
        self.update(|state| {
            state.sink.notified = false;
            let State {
                chunks,
                end,
                source_settled,
                ..
            } = state;
            let before = state.queued;
            result = Some(take(chunks, *end, *source_settled));
            state.queued = state.chunks.iter().map(Bytes::len).sum();
            state.taken = state
                .taken
                .wrapping_add(before.saturating_sub(state.queued) as u64);
            if state.source_blocked && state.queued < before {
                state.source_blocked = false;
                state.source.notify()
            } else {
                None
            }
        });
        result.expect("the closure ran")
    }

    /// Returns octets that were taken and not used to the front of the queue.
    pub fn put_back(&self, chunk: Bytes) {
        self.update(|state| {
            state.queued += chunk.len();
            state.chunks.push_front(chunk);
            state.sink.notify()
        });
    }

    /// Reports a `received` state: octets written so far.
    pub fn report_received(&self, section_number: u32, section_offset: u64) {
        self.update(|state| {
            if let Some(window) = granted(section_number) {
                // A window that was cut may still be on its way in its old size.
                state.granted = state.granted.max(usize::try_from(window).unwrap_or(0));
            }
            state.feedback.received = Some((section_number, section_offset));
            state.source.notify()
        });
    }

    /// Reports a state and whether the sink has settled. The first terminal state stays.
    pub fn report(&self, outcome: Option<DeliveryState>, settled: bool) {
        let mut doubt = None;
        self.update(|state| {
            if state.settled {
                return None;
            }
            if outcome == Some(DeliveryState::Released) {
                doubt = state.doubt.take();
            }
            if outcome.is_some() {
                state.feedback.outcome = outcome;
            }
            if settled {
                state.settled = true;
                state.chunks.clear();
                state.queued = 0;
                state.continuation = None;
                state.outstanding = None;
                state.doubt = None;
            }
            state.source.notify()
        });
        if let Some(doubt) = doubt {
            doubt.raise();
        }
    }

    /// True once the sink has settled.
    pub fn is_settled(&self) -> bool {
        self.lock().settled
    }

    /// True once the source has settled.
    pub fn is_source_settled(&self) -> bool {
        self.lock().source_settled
    }

    /// True once the source has broken off.
    pub fn is_aborted(&self) -> bool {
        self.lock().end == End::Aborted
    }

    /// True once all octets are in the queue or beyond it.
    pub fn is_complete(&self) -> bool {
        self.lock().end == End::Complete
    }

    fn update(&self, change: impl FnOnce(&mut State) -> Option<Wake>) {
        // The wake happens outside the lock: it may take another one.
        let wake = {
            let mut state = self.lock();
            let before = state.queued;
            let wake = change(&mut state);
            if let Some(waiting) = &self.waiting {
                match state.queued.checked_sub(before) {
                    Some(0) => {}
                    Some(more) => _ = waiting.fetch_add(more, Ordering::Relaxed),
                    None => _ = waiting.fetch_sub(before - state.queued, Ordering::Relaxed),
                }
            }
            wake
        };
        if let Some(wake) = wake {
            wake.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let queued = self.lock().queued;
        if let Some(waiting) = &self.waiting {
            waiting.fetch_sub(queued, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Delivery")
            .field("queued", &state.queued)
            .field("end", &state.end)
            .field("settled", &state.settled)
            .field("presettled", &self.presettled)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(_) => f.write_str("Task"),
            Self::Outgoing(_, link) => write!(f, "Outgoing({link:?})"),
            Self::Settled(_, delivery) => write!(f, "Settled({delivery:?})"),
            Self::Incoming(_, delivery) => write!(f, "Incoming({delivery:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery::new(Annotations::default(), None, false, 4)
    }

    #[test]
    fn what_waits_is_counted_until_it_is_taken_or_given_up() {
        let total = Arc::new(AtomicUsize::new(0));
        let counted = || delivery().counted_in(&total);
        let waiting = || total.load(Ordering::Relaxed);
        let [taken, settled, aborted, dropped] = std::array::from_fn(|_| {
            let delivery = counted();
            delivery.push(Bytes::from_static(b"1234567890"));
            delivery
        });
        taken.append(&mut VecDeque::from([Bytes::from_static(b"12345")]));
        assert_eq!(waiting(), 45);
        let first = taken.take(|chunks, _, _| chunks.pop_front());
        assert_eq!(waiting(), 35);
        taken.put_back(first.unwrap().slice(8..));
        assert_eq!(waiting(), 37);
        settled.report(Some(DeliveryState::Accepted), true);
        assert_eq!(waiting(), 27);
        aborted.abort();
        assert_eq!(waiting(), 17);
        drop(dropped);
        assert_eq!(waiting(), 7);
        drop((taken, settled, aborted));
        assert_eq!(waiting(), 0);
    }

    fn pending(inbox: &Inbox<ConnectionMessage>) -> usize {
        inbox.close().len()
    }

    #[test]
    fn what_the_sink_has_granted_is_room_beyond_the_limit() {
        let delivery = Delivery::new(Annotations::default(), None, false, 4);
        delivery.push(Bytes::from_static(&[0; 1000]));
        assert!(!delivery.has_window_room(999));
        assert!(delivery.has_window_room(1000));
        // One unit is less than the smallest window.
        delivery.report_received(1, 0);
        delivery.push(Bytes::from_static(&[0; 200_000]));
        assert!(delivery.has_window_room(1000));
        delivery.push(Bytes::from_static(&[0; 100_000]));
        assert!(!delivery.has_window_room(1000));
        // A window that is taken back counts still: what it let through may be on its way.
        delivery.report_received(8, 0);
        delivery.report_received(4, 0);
        assert!(delivery.has_window_room(1000));
    }

    #[test]
    fn octets_pass_in_order_and_the_source_learns_of_room() {
        let delivery = delivery();
        let inbox = Arc::new(Inbox::new(8));
        delivery.set_source(Wake::Incoming(inbox.clone(), DeliveryKey(1)));
        delivery.push(Bytes::from_static(b"abc"));
        delivery.push(Bytes::from_static(b"def"));
        assert!(!delivery.has_room(5));
        let taken = delivery.take(|chunks, end, _| {
            assert_eq!(end, End::Open);
            chunks.pop_front()
        });
        assert_eq!(taken.as_deref(), Some(&b"abc"[..]));
        assert_eq!(delivery.queued(), 3);
        assert_eq!(
            pending(&inbox),
            1,
            "one wake for the room that was waited for"
        );
    }

    #[test]
    fn a_sink_that_comes_late_is_told_at_once_and_only_once() {
        let delivery = delivery();
        delivery.push(Bytes::from_static(b"abc"));
        delivery.finish(false);
        let inbox = Arc::new(Inbox::new(8));
        delivery.set_sink(Wake::Outgoing(inbox.clone(), LinkId(3)));
        assert_eq!(pending(&inbox), 1);
    }

    #[test]
    fn feedback_keeps_the_latest_offset_and_the_outcome() {
        let delivery = delivery();
        delivery.report_received(0, 10);
        delivery.report_received(0, 20);
        delivery.report(Some(DeliveryState::Accepted), true);
        delivery.report(Some(DeliveryState::Released), true);
        let feedback = delivery.take_feedback();
        assert_eq!(feedback.received, Some((0, 20)));
        assert_eq!(feedback.outcome, Some(DeliveryState::Accepted));
        assert!(feedback.settled);
        assert!(delivery.take_feedback().outcome.is_none());
    }

    #[test]
    fn a_backlog_is_that_of_the_whole_way_to_the_reader() {
        let total = Arc::new(AtomicUsize::new(0));
        let first = delivery().counted_in(&total);
        let next = Arc::new(delivery().counted_with(&first));
        first.continues_in(&next);
        first.push(Bytes::from_static(b"1234567890"));
        let moved = first.take(|chunks, _, _| chunks.pop_front());
        next.push(moved.unwrap().slice(..7));
        first.push(Bytes::from_static(b"12345"));
        let backlog = |waiting, taken| Backlog { waiting, taken };
        assert_eq!(first.backlog(), backlog(12, 10));
        assert_eq!(total.load(Ordering::Relaxed), 12);
        next.take(|chunks, _, _| chunks.clear());
        assert_eq!(first.backlog(), backlog(5, 17));
        first.report(Some(DeliveryState::Accepted), true);
        assert_eq!(first.backlog(), backlog(0, 10));
    }

    #[test]
    fn what_is_complete_and_waits_can_be_broken_off_and_what_was_taken_cannot() {
        let [waits, taken] = std::array::from_fn(|_| {
            let delivery = delivery();
            delivery.push(Bytes::from_static(b"abc"));
            delivery.finish(false);
            delivery
        });
        taken.take(|chunks, _, _| chunks.clear());
        for (delivery, expected) in [(waits, End::Aborted), (taken, End::Complete)] {
            delivery.break_off();
            let end = delivery.take(|chunks, end, _| {
                assert!(chunks.is_empty());
                end
            });
            assert_eq!(end, expected);
        }
    }

    #[test]
    fn settlement_drops_what_waits_and_uncounts() {
        let counter = Arc::new(AtomicU32::new(0));
        let delivery = delivery();
        delivery.count_at(Outstanding::new(&counter));
        delivery.push(Bytes::from_static(b"abc"));
        assert_eq!(counter.load(Ordering::Relaxed), 1);
        delivery.report(Some(DeliveryState::Released), true);
        assert_eq!((counter.load(Ordering::Relaxed), delivery.queued()), (0, 0));
        delivery.push(Bytes::from_static(b"late"));
        assert_eq!(delivery.queued(), 0);
    }

    #[test]
    fn an_abort_discards_and_stays_an_abort() {
        let delivery = delivery();
        delivery.push(Bytes::from_static(b"abc"));
        delivery.abort();
        delivery.finish(false);
        delivery.take(|chunks, end, source_settled| {
            assert!(chunks.is_empty() && source_settled);
            assert_eq!(end, End::Aborted);
        });
    }
}
