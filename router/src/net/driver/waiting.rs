//! What waits of a connection's messages for its readers, and which of them have to go when it is too much.
//!
//! Octets that arrived on a connection count as waiting until their sinks take them, those of flows until the socket
//! does; where a stream is translated, until the sink behind the translation takes them. So do those of messages that
//! are not complete enough to be sent on, and those that are kept for another destination, until that is given up because
//! too much waits. The data path only compares the sum with a number. Beyond it, the
//! messages are looked at several times a second:
//!
//! | waiting | what happens |
//! |---|---|
//! | half of a session's window (see [`super::room`]) | the message that takes most of it is broken off if it has not moved for [`STUCK`] |
//! | half of [`WAITING_LIMIT`] | it is noted which messages move |
//! | [`WAITING_LIMIT`] | windows of streams of which much waits stay closed; those that have not moved for [`STUCK`] are broken off, longest stuck first, and no more of them than it takes |
//! | twice as much | nothing is read for [`PATIENCE`]; if that is not enough, those that hardly move are broken off, then the slowest |
//!
//! Pausing alone would let readers that are stuck stop all others. What moves is never broken off for what is stuck.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amqp::{
    engine::DeliveryKey,
    performative::{Condition, DeliveryState},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Driver,
    incoming::{Branch, Incoming, State},
    room::QUEUE_LIMIT,
};
use crate::core::delivery::Backlog;

/// Octets of all messages of one connection that may wait for their sinks.
const WAITING_LIMIT: usize = 256 * 1024 * 1024;
/// From here on it is noted which messages move.
pub(super) const WATCHED: usize = WAITING_LIMIT / 2;
/// More than this never waits, but for what one read brings.
const FULL: usize = 2 * WAITING_LIMIT;
/// Reading goes on when so much room is there again.
const ROOM: usize = 32 * 1024 * 1024;
/// A message of which no more than this waits is not worth breaking off.
const SPARED: usize = 16 * 1024;
/// Between two looks.
const PERIOD: Duration = Duration::from_millis(250);
/// A message of which octets wait and none was taken for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Nothing is read for so long before messages that move a little are broken off.
const PATIENCE: Duration = Duration::from_secs(2);
/// Octets taken within about four seconds; below it, a message hardly moves.
const CRAWL: u64 = 8 * 1024;

/// Octets that wait somewhere else than in a delivery, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Count {
    waiting: Arc<AtomicUsize>,
    octets: usize,
}

impl Count {
    pub(super) fn new(waiting: &Arc<AtomicUsize>, octets: usize) -> Self {
        waiting.fetch_add(octets, Ordering::Relaxed);
        Self {
            waiting: waiting.clone(),
            octets,
        }
    }

    pub(super) fn add(&mut self, octets: usize) {
        self.waiting.fetch_add(octets, Ordering::Relaxed);
        self.octets += octets;
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

/// What is known of a connection of which much waits.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// When to look at the messages next; none while little waits.
    pub(super) look_at: Option<Instant>,
    /// Since when nothing is read.
    full_since: Option<Instant>,
    /// What waits cannot be broken off: new octets are refused.
    hopeless: bool,
}

impl Crowd {
    /// Nothing is to be read.
    pub(super) fn is_full(&self) -> bool {
        self.full_since.is_some()
    }
}

/// How a message moves, from the first look at it.
#[derive(Debug)]
pub(super) struct Progress {
    taken: u64,
    moved: Instant,
    /// Octets taken lately: those of earlier looks count less.
    pace: u64,
    /// Section number and offset of a window that stays closed.
    held: Option<(u32, u64)>,
}

impl Progress {
    fn new(backlog: Backlog, now: Instant) -> Self {
        Self {
            taken: backlog.taken,
            moved: now,
            pace: 0,
            held: None,
        }
    }

    fn note(&mut self, backlog: Backlog, now: Instant) {
        let step = backlog.taken.wrapping_sub(self.taken);
        self.taken = backlog.taken;
        self.pace = self.pace - self.pace.div_ceil(16) + step;
        if step > 0 || backlog.waiting == 0 {
            self.moved = now;
        }
    }
}

/// A message of which octets wait.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    key: DeliveryKey,
    waiting: usize,
    moved: Instant,
    pace: u64,
    /// When it began to arrive.
    since: Instant,
}

impl Candidate {
    fn is_stuck(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.moved) >= STUCK
    }
}

/// Which messages are to be broken off while `waiting` octets wait, and how many octets wait without them. `full`:
/// nothing was read for [`PATIENCE`].
fn doomed(
    mut candidates: Vec<Candidate>,
    waiting: usize,
    full: bool,
    now: Instant,
) -> (Vec<DeliveryKey>, usize) {
    let mut left = waiting;
    let mut doomed = Vec::new();
    let mut break_off = |candidate: &Candidate, limit: usize| {
        let goes = left > limit;
        if goes {
            left = left.saturating_sub(candidate.waiting);
            doomed.push(candidate.key);
        }
        goes
    };
    // Little gained comes last.
    candidates.sort_unstable_by_key(|candidate| {
        let little = candidate.waiting <= SPARED;
        (little, candidate.moved, candidate.pace, candidate.since)
    });
    candidates.retain(|candidate| {
        let goes = (candidate.is_stuck(now) && candidate.waiting > SPARED)
            || (full && candidate.pace < CRAWL);
        !(goes && break_off(candidate, WAITING_LIMIT))
    });
    if full {
        candidates.sort_unstable_by_key(|candidate| candidate.pace);
        for candidate in &candidates {
            break_off(candidate, FULL - ROOM);
        }
    }
    (doomed, left)
}

/// Why a message is broken off.
#[derive(Clone, Copy, Debug)]
enum Reason {
    /// So many octets of all messages of the connection wait.
    Connection(usize),
    /// It holds up others of its session, and so many octets of it wait.
    Session(usize),
}

impl Reason {
    /// What the peer and the log are told.
    fn text(self) -> &'static str {
        match self {
            Self::Connection(_) => "too much waits for its readers on this connection",
            Self::Session(_) => "a message that does not move takes most of its session's window",
        }
    }
}

/// What waits of a message, and how it moves: that of its slowest reader.
fn backlog(branches: &[Branch]) -> Backlog {
    branches
        .iter()
        .map(|branch| branch.delivery.backlog())
        .max_by_key(|backlog| backlog.waiting)
        .unwrap_or_default()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Looks at the messages soon, and again until little waits.
    pub(super) fn watch_waiting(&mut self) {
        self.crowd.look_at.get_or_insert(Instant::now() + PERIOD);
    }

    /// Octets of a message have arrived while more than [`WATCHED`] wait.
    #[cold]
    pub(super) fn crowded(&mut self, incoming: &mut Incoming, key: DeliveryKey, more: bool) {
        self.watch_waiting();
        let now = Instant::now();
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting <= FULL {
            return;
        }
        if !self.crowd.hopeless {
            self.crowd.full_since.get_or_insert(now);
        } else if (more || incoming.presettled) && incoming.waits() {
            self.break_off(incoming, key, Reason::Connection(waiting));
        }
    }

    /// Whether the sender of a message is not to be told yet that its reader has taken some.
    pub(super) fn keeps_closed(&self, incoming: &mut Incoming, received: (u32, u64)) -> bool {
        if self.crowd.look_at.is_none() {
            return false;
        }
        let backlog = backlog(incoming.branches());
        let much =
            backlog.waiting > QUEUE_LIMIT && self.waiting.load(Ordering::Relaxed) > WAITING_LIMIT;
        let progress = incoming
            .progress
            .get_or_insert_with(|| Box::new(Progress::new(backlog, Instant::now())));
        // What is told now is newer than what was held.
        progress.held = much.then_some(received);
        much
    }

    /// Looks at what waits, if it is time, and breaks off what has to go.
    pub(super) fn look_at_waiting(&mut self, now: Instant) {
        if self.crowd.look_at.is_none_or(|at| now < at) {
            return;
        }
        let candidates = self.candidates(now);
        let waiting = self.waiting.load(Ordering::Relaxed);
        let full = self
            .crowd
            .full_since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        let narrowing = self.narrowing();
        let mut stuck: Vec<(DeliveryKey, Reason)> = candidates
            .iter()
            .filter(|candidate| candidate.is_stuck(now) && narrowing.contains(&candidate.key))
            .map(|candidate| (candidate.key, Reason::Session(candidate.waiting)))
            .collect();
        let (doomed, left) = doomed(candidates, waiting, full, now);
        stuck.retain(|(key, _)| !doomed.contains(key));
        let doomed = doomed.into_iter();
        for (key, reason) in doomed
            .map(|key| (key, Reason::Connection(waiting)))
            .chain(stuck)
        {
            let Some(mut incoming) = self.incoming.get_mut(key.0 as usize).and_then(Option::take)
            else {
                continue;
            };
            self.break_off(&mut incoming, key, reason);
            if !self.engine.is_complete(key) {
                self.incoming[key.0 as usize] = Some(incoming);
            }
        }
        if left <= FULL - ROOM {
            self.crowd.full_since = None;
            self.crowd.hopeless = false;
        } else if full {
            self.crowd.full_since = None;
            self.crowd.hopeless = true;
        }
        let over = left <= WATCHED && narrowing.is_empty();
        self.crowd.look_at = (!over).then(|| now + PERIOD);
        self.open_windows(left, over);
    }

    /// Notes how all messages move; those of which octets wait.
    fn candidates(&mut self, now: Instant) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let crowded = self.waiting.load(Ordering::Relaxed) > WATCHED;
        for (slot, incoming) in self.incoming.iter_mut().enumerate() {
            let Some(incoming) = incoming else { continue };
            if crowded {
                // Others need the memory more than this one a second destination.
                incoming.retained = None;
            }
            let key = DeliveryKey(u32::try_from(slot).unwrap_or(u32::MAX));
            let branches = match &incoming.state {
                State::Flowing(branches) => branches,
                State::Gathering(gathered) => {
                    // It waits for its sender, from the beginning.
                    candidates.push(Candidate {
                        key,
                        waiting: gathered.len(),
                        moved: incoming.since,
                        pace: 0,
                        since: incoming.since,
                    });
                    continue;
                }
                State::Refused { .. } => continue,
            };
            let backlog = backlog(branches);
            let progress = incoming
                .progress
                .get_or_insert_with(|| Box::new(Progress::new(backlog, now)));
            progress.note(backlog, now);
            if backlog.waiting > 0 {
                candidates.push(Candidate {
                    key,
                    waiting: backlog.waiting,
                    moved: progress.moved,
                    pace: progress.pace,
                    since: incoming.since,
                });
            }
        }
        candidates
    }

    /// Tells senders what was kept from them, where that has helped. `over`: nothing is noted any more.
    fn open_windows(&mut self, waiting: usize, over: bool) {
        for (slot, incoming) in self.incoming.iter_mut().enumerate() {
            let Some(incoming) = incoming else { continue };
            let Some(progress) = &mut incoming.progress else {
                continue;
            };
            let received = match (&incoming.state, progress.held) {
                (State::Flowing(branches), Some(received))
                    if waiting <= WAITING_LIMIT || backlog(branches).waiting <= QUEUE_LIMIT =>
                {
                    progress.held = None;
                    Some(received)
                }
                _ => None,
            };
            if over {
                incoming.progress = None;
            }
            if let (Some((section_number, section_offset)), false) = (received, incoming.presettled)
            {
                let key = DeliveryKey(u32::try_from(slot).unwrap_or(u32::MAX));
                let state = DeliveryState::Received {
                    section_number,
                    section_offset,
                };
                self.engine.disposition(key, Some(state), false);
            }
        }
    }

    /// Ends a message on both sides.
    fn break_off(&mut self, incoming: &mut Incoming, key: DeliveryKey, reason: Reason) {
        for branch in incoming.branches() {
            branch.delivery.break_off();
        }
        incoming.retained = None;
        self.shared
            .counters
            .broken_off
            .fetch_add(1, Ordering::Relaxed);
        let text = reason.text();
        if let Some(handle) = &self.handle
            && let Some(silent) = self
                .shared
                .complaints
                .due(&format!("{text} {}", handle.container))
        {
            let (Reason::Connection(waiting) | Reason::Session(waiting)) = reason;
            let mebibytes = waiting >> 20;
            let going = match reason {
                Reason::Connection(_) => "streams whose readers are stuck or slow are broken off",
                Reason::Session(_) => "it is broken off",
            };
            tracing::warn!(
                target: "router::server",
                peer = %handle.container, silent, mebibytes,
                "{text}: {going}"
            );
        }
        let condition = Condition::new("amqp:resource-limit-exceeded", text);
        self.refuse_message(incoming, key, DeliveryState::Rejected(Some(condition)));
    }
}

#[cfg(test)]
mod tests;
