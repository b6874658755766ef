//! What the sink of a message does with it.

use std::collections::VecDeque;

use amqp::performative::DeliveryState;
use bytes::Bytes;

use super::{Delivery, End, State, Wake};
use crate::adaptor::tcp::granted;

impl Delivery {
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

    /// Says how many of the octets that were taken are still in memory: they wait as if they had not been taken.
    pub fn hold(&self, octets: usize) {
        self.update(|state| {
            if !state.settled {
                state.held = octets;
            }
            None
        });
    }

    /// Takes what [`Self::tell_state`] said last, and lets the sink be woken again.
    pub fn take_state(&self) -> Option<Bytes> {
        let mut state = self.lock();
        state.sink.notified = false;
        state.source_state.take()
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
                state.held = 0;
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
}
