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

mod outstanding;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod wake;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use amqp::performative::DeliveryState;
use bytes::Bytes;

use self::wake::Side;
pub use self::{outstanding::Outstanding, wake::Wake};
use super::{annotations::Annotations, connection::ConnectionId};
use crate::adaptor::tcp::Doubt;

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

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    queued: usize,
    /// Octets that the sink has taken and still has in memory.
    held: usize,
    /// Octets that the sink has taken, wrapping.
    taken: u64,
    /// The message that the octets of this one go on in, where they are translated.
    continuation: Option<Arc<Delivery>>,
    end: End,
    source_settled: bool,
    /// What the source has said of the message's state, encoded, until the sink takes it.
    source_state: Option<Bytes>,
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

impl State {
    /// Octets for which the reader has not made room yet.
    fn waiting(&self) -> usize {
        self.queued + self.held
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

    /// A stream that this router opens; `origin` is the one that it translates. What was read from a socket instead is
    /// counted in `ahead`.
    pub(crate) fn begun_by_router(
        annotations: Annotations,
        origin: Option<&Self>,
        ahead: &Arc<AtomicUsize>,
    ) -> Self {
        let arrived_on = origin.and_then(|origin| origin.arrived_on);
        let delivery = Self::new(annotations, arrived_on, false, 4);
        match origin {
            Some(origin) => delivery.counted_with(origin),
            None => delivery.counted_in(ahead),
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

    /// Octets that wait wherever those of this message are counted.
    pub fn counted(&self) -> usize {
        self.waiting
            .as_ref()
            .map_or(0, |waiting| waiting.load(Ordering::Relaxed))
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

    fn update(&self, change: impl FnOnce(&mut State) -> Option<Wake>) {
        // The wake happens outside the lock: it may take another one.
        let wake = {
            let mut state = self.lock();
            let before = state.waiting();
            let wake = change(&mut state);
            let after = state.waiting();
            if let Some(waiting) = &self.waiting {
                match after.checked_sub(before) {
                    Some(0) => {}
                    Some(more) => _ = waiting.fetch_add(more, Ordering::Relaxed),
                    None => _ = waiting.fetch_sub(before - after, Ordering::Relaxed),
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
        let left = self.lock().waiting();
        if let Some(waiting) = &self.waiting {
            waiting.fetch_sub(left, Ordering::Relaxed);
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
