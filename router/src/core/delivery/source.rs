//! What the source of a message does with it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Backlog, Delivery, End, Feedback, Wake};

impl Delivery {
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

    /// The source says something of the message's state (transactions); `state` is encoded. A newer one takes its place.
    pub fn tell_state(&self, state: Bytes) {
        self.update(|shared| {
            if shared.settled {
                return None;
            }
            shared.source_state = Some(state);
            shared.sink.notify()
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
                waiting: state.waiting(),
                taken: state.taken.wrapping_sub(state.held as u64),
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
}
