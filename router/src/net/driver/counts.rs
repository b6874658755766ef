//! What a driver counts of its links and messages, for management.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use amqp::{
    engine::LinkId,
    performative::{DeliveryState, Role},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Driver,
    incoming::Incoming,
    links::{Attached, Kind},
};
use crate::core::{
    annotations::STREAMING,
    links::{Delay, LinkCounts, LinkRecord, LinkType, STUCK_AFTER},
};

/// Period of the look for stuck messages.
const STUCK_SCAN: Duration = Duration::from_secs(5);
/// Priority of routing control.
const CONTROL_PRIORITY: u8 = 9;

/// A message that is counted as unsettled on its link until this is dropped.
#[derive(Debug)]
pub(super) struct Unsettled(Arc<LinkRecord>);

impl Unsettled {
    pub(super) fn new(record: &Arc<LinkRecord>) -> Self {
        record.counts.unsettled.fetch_add(1, Ordering::Relaxed);
        Self(record.clone())
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.counts.unsettled.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn counts(&self, link: LinkId) -> Option<&LinkCounts> {
        self.link(link)?
            .record
            .as_ref()
            .map(|record| &record.counts)
    }

    /// What management shows of a link that is attached now.
    pub(super) fn record(&self, link: LinkId, attached: &Attached) -> Arc<LinkRecord> {
        let between = self.role().is_between_interiors();
        let address = match &attached.kind {
            Kind::Downlink if attached.queue.is_some() => {
                let edge = self
                    .handle
                    .as_ref()
                    .map_or("", |handle| handle.container.as_str());
                Some(format!("H{edge}"))
            }
            Kind::Downlink => Some(format!("H{}", self.shared.space.id)),
            _ => attached
                .dynamic
                .as_ref()
                .map(|name| format!("L{name}"))
                .or_else(|| {
                    let address = attached.address.as_deref()?;
                    // reached by its plain name from everywhere, as C routers see it
                    if address == "$management" {
                        return Some(format!("M{address}"));
                    }
                    Some(self.shared.space.classify(address).to_string())
                }),
        };
        Arc::new(LinkRecord {
            id: self.shared.link_id(),
            name: self.engine.link_name(link).to_owned(),
            link_type: match &attached.kind {
                Kind::Control => LinkType::RouterControl,
                Kind::Data | Kind::Stream if between => LinkType::InterRouter,
                Kind::Downlink => LinkType::EdgeDownlink,
                _ => LinkType::Endpoint,
            },
            incoming: self.engine.link_role(link) == Role::Receiver,
            address,
            priority: if attached.kind == Kind::Control {
                CONTROL_PRIORITY
            } else {
                attached.priority
            },
            capacity: self.options.link_capacity,
            counts: LinkCounts::default(),
        })
    }

    /// A message begins to arrive or to leave.
    pub(super) fn count_begun(&self, link: LinkId, presettled: bool) {
        if let Some(counts) = self.counts(link) {
            counts.begun(presettled);
        }
        if let Some(handle) = &self.handle {
            let now = self.shared.uptime().saturating_add(1);
            handle.last_delivery.store(now, Ordering::Relaxed);
        }
    }

    /// Notes the credit that this side has, or has given.
    pub(super) fn note_credit(&self, link: LinkId) {
        let Some(counts) = self.counts(link) else {
            return;
        };
        let credit = self.engine.credit(link);
        if self.engine.link_role(link) == Role::Sender {
            counts.set_credit(credit, || self.shared.uptime());
        } else {
            counts.credit.store(credit, Ordering::Relaxed);
        }
    }

    /// A message begins that is to have an outcome.
    pub(super) fn watch_stuck(&mut self, now: Instant) {
        self.stuck_at.get_or_insert(now + STUCK_AFTER + STUCK_SCAN);
    }

    /// Counts the messages of each link that have waited for their outcome for long, streams aside.
    pub(super) fn count_stuck(&mut self, now: Instant) {
        if self.stuck_at.is_none_or(|at| now < at) {
            return;
        }
        let arrived = self.incoming.iter().flatten().filter_map(|incoming| {
            (incoming.unsettled.is_some() && !incoming.streams())
                .then_some((incoming.link, incoming.since))
        });
        let sent = self
            .outgoing
            .iter()
            .flatten()
            .filter_map(|sent| Some((sent.link, sent.since?)));
        let mut waiting = false;
        let mut stuck: HashMap<LinkId, u32> = HashMap::new();
        for (link, since) in arrived.chain(sent) {
            waiting = true;
            if now.saturating_duration_since(since) > STUCK_AFTER {
                *stuck.entry(link).or_default() += 1;
            }
        }
        for (slot, attached) in self.links.iter().enumerate() {
            let Some(record) = attached.as_ref().and_then(|link| link.record.as_ref()) else {
                continue;
            };
            let link = LinkId(u32::try_from(slot).unwrap_or(u32::MAX));
            let count = stuck.get(&link).copied().unwrap_or_default();
            record.counts.stuck.store(count, Ordering::Relaxed);
        }
        self.stuck_at = waiting.then(|| now + STUCK_SCAN);
    }

    /// A message that has arrived gets its outcome.
    pub(super) fn count_outcome(&self, incoming: &Incoming, state: &DeliveryState) {
        let totals = &self.shared.counters;
        let total = match state {
            DeliveryState::Accepted => &totals.accepted,
            DeliveryState::Rejected(_) => &totals.rejected,
            DeliveryState::Released => &totals.released,
            DeliveryState::Modified { .. } => &totals.modified,
            DeliveryState::Received { .. } | DeliveryState::Other(_) => return,
        };
        total.fetch_add(1, Ordering::Relaxed);
        let Some(counts) = self.counts(incoming.link) else {
            return;
        };
        counts.outcome(state);
        // Streams live as long as they like.
        if incoming.streams() {
            return;
        }
        if let Some(delay) = counts.delayed(incoming.since.elapsed()) {
            let total = match delay {
                Delay::Second => &totals.delayed_1_sec,
                Delay::TenSeconds => &totals.delayed_10_sec,
            };
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message that was sent gets its outcome from the peer. False if what it told is none. `since`: when it was begun, if its delay is of interest.
    pub(super) fn count_sent_outcome(
        &self,
        link: LinkId,
        since: Option<Instant>,
        state: &DeliveryState,
    ) -> bool {
        if matches!(
            state,
            DeliveryState::Received { .. } | DeliveryState::Other(_)
        ) {
            return false;
        }
        if let Some(counts) = self.counts(link) {
            counts.outcome(state);
            if let Some(since) = since {
                counts.delayed(since.elapsed());
            }
        }
        true
    }
}

impl Incoming {
    /// It is marked as a stream.
    fn streams(&self) -> bool {
        match &self.state {
            super::incoming::State::Flowing(branches) => branches
                .first()
                .is_some_and(|branch| branch.delivery.annotations.has(STREAMING)),
            _ => false,
        }
    }
}
