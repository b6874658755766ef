//! What management shows of links.
//!
//! The driver of a connection counts, once for each message and never for a frame; the control task reads. What is
//! counted follows the C routers: outcomes of messages that came in and of those that went out, delays of messages that
//! are no streams.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use amqp::performative::DeliveryState;

/// A link without credit for so long counts as blocked.
pub const BLOCKED_AFTER: Duration = Duration::from_secs(10);

/// A message without outcome for so long counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What a link is for, in the words of management.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkType {
    /// Of a client, of an edge router, or of an edge router's own.
    Endpoint,
    /// Routing control.
    RouterControl,
    /// Messages between interior routers.
    InterRouter,
    /// From an interior to an edge.
    EdgeDownlink,
}

impl LinkType {
    /// Word used by management.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::RouterControl => "router-control",
            Self::InterRouter => "inter-router",
            Self::EdgeDownlink => "edge-downlink",
        }
    }
}

/// One attached link.
#[derive(Debug)]
pub struct LinkRecord {
    /// Number, unique for the life of the router.
    pub id: u64,
    /// Name on the wire.
    pub name: String,
    /// What it is for.
    pub link_type: LinkType,
    /// The peer sends.
    pub incoming: bool,
    /// Key with class letter, if it has an address.
    pub address: Option<String>,
    /// Priority of its messages.
    pub priority: u8,
    /// Credit that this side gives.
    pub capacity: u32,
    /// Counters.
    pub counts: LinkCounts,
}

/// Counters of a link.
#[derive(Debug, Default)]
pub struct LinkCounts {
    /// Messages begun.
    pub deliveries: AtomicU64,
    /// Of these, sent settled.
    pub presettled: AtomicU64,
    /// Settled messages that were thrown away for newer ones.
    pub dropped_presettled: AtomicU64,
    /// Outcomes.
    pub accepted: AtomicU64,
    /// See `accepted`.
    pub rejected: AtomicU64,
    /// See `accepted`.
    pub released: AtomicU64,
    /// See `accepted`.
    pub modified: AtomicU64,
    /// Messages that took over one second, but not over ten.
    pub delayed_1_sec: AtomicU64,
    /// Messages that took over ten seconds.
    pub delayed_10_sec: AtomicU64,
    /// Messages that wait for credit or room.
    pub undelivered: AtomicU32,
    /// Messages without settlement.
    pub unsettled: AtomicU32,
    /// Of the unsettled ones, streams aside, those that have been so for long; as of a few seconds ago.
    pub stuck: AtomicU32,
    /// Credit that the sender has.
    pub credit: AtomicU32,
    /// Messages that were done each second, lately.
    pub settle_rate: AtomicU32,
    /// How many were done when the rate was last reckoned.
    done_before: AtomicU64,
    /// Second of the router's life since which this side, as sender, has had no credit, plus one; 0: it has some.
    pub no_credit_since: AtomicU32,
}

impl LinkCounts {
    /// Counts a message that begins.
    pub fn begun(&self, presettled: bool) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        if presettled {
            self.presettled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an outcome, if it is one.
    pub fn outcome(&self, state: &DeliveryState) {
        let counter = match state {
            DeliveryState::Accepted => &self.accepted,
            DeliveryState::Rejected(_) => &self.rejected,
            DeliveryState::Released => &self.released,
            DeliveryState::Modified { .. } => &self.modified,
            DeliveryState::Received { .. } | DeliveryState::Other(_) => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a message that took so long, if that is long.
    pub fn delayed(&self, age: Duration) -> Option<Delay> {
        let delay = Delay::of(age)?;
        let counter = match delay {
            Delay::Second => &self.delayed_1_sec,
            Delay::TenSeconds => &self.delayed_10_sec,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Some(delay)
    }

    /// Notes the credit of this side as sender. `now` tells the seconds of the router's life.
    pub fn set_credit(&self, credit: u32, now: impl FnOnce() -> u32) {
        self.credit.store(credit, Ordering::Relaxed);
        if credit > 0 {
            self.no_credit_since.store(0, Ordering::Relaxed);
        } else if self.no_credit_since.load(Ordering::Relaxed) == 0 {
            self.no_credit_since
                .store(now().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Reckons the rate at which messages are done, given the time since it was last done so.
    pub fn reckon_rate(&self, since: Duration) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let done = load(&self.presettled)
            .saturating_add(load(&self.accepted))
            .saturating_add(load(&self.rejected));
        let new = done.saturating_sub(self.done_before.swap(done, Ordering::Relaxed));
        let rate = new / since.as_secs().max(1);
        self.settle_rate
            .store(u32::try_from(rate).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Seconds without credit, at the second `now` of the router's life.
    pub fn without_credit(&self, now: u32) -> u32 {
        match self.no_credit_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since - 1),
        }
    }
}

/// Which of two counters of delays a message belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delay {
    /// Over one second.
    Second,
    /// Over ten seconds.
    TenSeconds,
}

impl Delay {
    /// None if the message was fast.
    pub fn of(age: Duration) -> Option<Self> {
        match age.as_secs() {
            0 => None,
            1..10 => Some(Self::Second),
            _ => Some(Self::TenSeconds),
        }
    }
}

/// The links of one connection.
#[derive(Debug, Default)]
pub struct Links(Mutex<BTreeMap<u64, Arc<LinkRecord>>>);

impl Links {
    /// A link was attached.
    pub fn insert(&self, link: Arc<LinkRecord>) {
        self.with(|links| links.insert(link.id, link));
    }

    /// A link is gone.
    pub fn remove(&self, id: u64) {
        self.with(|links| links.remove(&id));
    }

    /// Those now attached, oldest first.
    pub fn all(&self) -> Vec<Arc<LinkRecord>> {
        self.with(|links| links.values().cloned().collect())
    }

    /// How many are attached now.
    pub fn len(&self) -> usize {
        self.with(|links| links.len())
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at each of them.
    pub fn each(&self, mut look: impl FnMut(&LinkRecord)) {
        self.with(|links| links.values().for_each(|link| look(link)));
    }

    fn with<R>(&self, look: impl FnOnce(&mut BTreeMap<u64, Arc<LinkRecord>>) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_credit_runs_from_its_loss() {
        let counts = LinkCounts::default();
        assert_eq!(counts.without_credit(50), 0, "not known yet");
        counts.set_credit(0, || 0);
        assert_eq!(counts.without_credit(7), 7, "since the start");
        counts.set_credit(0, || 5);
        assert_eq!(counts.without_credit(7), 7, "the loss is not forgotten");
        counts.set_credit(3, || 8);
        assert_eq!(counts.without_credit(20), 0);
        counts.set_credit(0, || 30);
        assert_eq!(counts.without_credit(29), 0);
        assert_eq!(counts.without_credit(41), 11);
    }

    #[test]
    fn the_rate_is_that_of_the_last_period() {
        let counts = LinkCounts::default();
        let rate = |seconds| {
            counts.reckon_rate(Duration::from_secs(seconds));
            counts.settle_rate.load(Ordering::Relaxed)
        };
        assert_eq!(rate(5), 0);
        for _ in 0..20 {
            counts.begun(true);
            counts.outcome(&DeliveryState::Accepted);
            counts.outcome(&DeliveryState::Released);
        }
        assert_eq!(rate(5), 8, "what is released is not done");
        assert_eq!(rate(0), 0, "nothing new");
    }

    #[test]
    fn delays_are_counted_in_one_class() {
        let class = |millis| Delay::of(Duration::from_millis(millis));
        assert_eq!(class(999), None);
        assert_eq!(class(1_000), Some(Delay::Second));
        assert_eq!(class(9_999), Some(Delay::Second));
        assert_eq!(class(10_000), Some(Delay::TenSeconds));
    }
}
