//! Reminders for routers that may have overlooked something, in either direction of a stream.
//!
//! - *Its end.* A C router (3.5.1) whose buffer for a stream is full when the last frame arrives comes back to that frame
//!   later, and if no octets are in it, nobody there learns that the stream is over: the far client waits for ever. Any
//!   news of the delivery makes it look again. A sender's disposition without a state (§2.7.6) is such news and says
//!   nothing else, so one is sent, in growing intervals, while the outcome of a stream that has ended is missing.
//! - *Its continuation.* The same router stops sending on all links of a session while much of it waits for the socket,
//!   and now and then it does not notice that this is over before a flow for one of these links arrives. So if nothing
//!   at all arrives while streams are open, the credit of one of them is told again (§2.7.4), in growing intervals.
//!
//! Two more stalls of 3.5.1 are out of reach. Both were seen with hundreds of slow readers, with 3.5.1 at both ends and this
//! router between them. The one at the servers stops a few streams of one session after some 222 KiB, of which it has sent
//! all; credit of the very link, repeated four times, and `received` states do not move it, octets of the client do. The one
//! at the readers keeps the last 30 KiB or less of streams that it has got completely, whatever is sent to it.

use std::time::{Duration, Instant};

use amqp::engine::{DeliveryKey, LinkId, SessionId};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Driver, incoming::Incoming};
use crate::core::{annotations::STREAMING, connection::ConnectionRole};

/// Time for the outcome of a stream, or its next octets, before the first reminder.
const FIRST: Duration = Duration::from_millis(100);
/// Intervals double up to this one: a slow reader at the far end keeps a stream unsettled in good order.
const LONGEST: Duration = Duration::from_secs(10);
/// The same for streams that are received: an idle one is the usual case, a stalled one costs this time.
const LONGEST_IDLE: Duration = Duration::from_secs(2);
/// Reminders due within this time are sent together.
const TOGETHER: Duration = Duration::from_millis(50);

/// When the peer is to be reminded of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reminder {
    due: Instant,
    interval: Duration,
}

impl Reminder {
    fn new(now: Instant) -> Self {
        Self {
            due: now + FIRST,
            interval: FIRST,
        }
    }

    /// True if it is due; the next one then follows after twice the time.
    fn strike(&mut self, now: Instant) -> bool {
        let due = self.due <= now;
        if due {
            self.interval = (2 * self.interval).min(LONGEST);
            self.due = now + self.interval;
        }
        due
    }
}

/// The reminders of a connection.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    /// When to look next.
    pub(super) at: Option<Instant>,
    /// Something arrived since the last look.
    pub(super) arrived: bool,
    /// Until the next look for streams that do not continue.
    interval: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    fn is_forgetful(&self) -> bool {
        self.handle
            .as_ref()
            .is_some_and(|handle| !handle.own_peer && handle.role != ConnectionRole::Normal)
    }

    /// A stream begins to arrive.
    pub(super) fn watch_incoming(&mut self) {
        if self.reminders.at.is_none() && self.is_forgetful() {
            self.reminders.interval = FIRST;
            self.reminders.at = Some(Instant::now() + FIRST);
        }
    }

    /// The last frame of a message was sent and its outcome is open.
    pub(super) fn remind_later(&mut self, key: DeliveryKey) {
        if !self.is_forgetful() {
            return;
        }
        let Some(sent) = self
            .outgoing
            .get_mut(key.0 as usize)
            .and_then(Option::as_mut)
            .filter(|sent| sent.delivery.annotations.has(STREAMING))
        else {
            return;
        };
        let reminder = Reminder::new(Instant::now());
        sent.reminder = Some(reminder);
        let at = self.reminders.at.get_or_insert(reminder.due);
        *at = reminder.due.min(*at);
    }

    /// Sends the reminders that are due.
    pub(super) fn remind(&mut self, now: Instant) {
        if self.reminders.at.is_none_or(|at| now < at) {
            return;
        }
        let mut next = self.remind_of_continuation(now);
        for (slot, sent) in self.outgoing.iter_mut().enumerate() {
            let Some(reminder) = sent.as_mut().and_then(|sent| sent.reminder.as_mut()) else {
                continue;
            };
            if reminder.strike(now) {
                let key = DeliveryKey(u32::try_from(slot).unwrap_or(u32::MAX));
                self.engine.disposition(key, None, false);
            }
            next = Some(next.map_or(reminder.due, |next| next.min(reminder.due)));
        }
        self.reminders.at = next.map(|next| next.max(now + TOGETHER));
    }

    /// Asks for the rest of streams if nothing arrives. Says when to look again, if there are any.
    fn remind_of_continuation(&mut self, now: Instant) -> Option<Instant> {
        let mut links: SmallVec<[(SessionId, LinkId); 2]> = SmallVec::new();
        for (slot, incoming) in self.incoming.iter().enumerate() {
            let Some(link) = incoming.as_ref().and_then(Incoming::streams_on) else {
                continue;
            };
            let key = DeliveryKey(u32::try_from(slot).unwrap_or(u32::MAX));
            let session = self.engine.link_session(link);
            if links.iter().all(|(known, _)| *known != session) && !self.engine.is_complete(key) {
                links.push((session, link));
            }
        }
        let reminders = &mut self.reminders;
        if std::mem::take(&mut reminders.arrived) {
            reminders.interval = FIRST;
        } else {
            reminders.interval = (2 * reminders.interval).clamp(FIRST, LONGEST_IDLE);
            for (_, link) in &links {
                self.engine.repeat_credit(*link);
            }
        }
        (!links.is_empty()).then(|| now + self.reminders.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_become_rarer_and_never_stop() {
        let start = Instant::now();
        let mut reminder = Reminder::new(start);
        assert!(!reminder.strike(start + FIRST / 2));
        let mut now = start;
        let mut intervals = Vec::new();
        for _ in 0..8 {
            intervals.push(reminder.due - now);
            now = reminder.due;
            assert!(reminder.strike(now));
        }
        assert_eq!(intervals[..3], [FIRST, 2 * FIRST, 4 * FIRST]);
        assert_eq!(intervals[7], LONGEST);
    }
}
