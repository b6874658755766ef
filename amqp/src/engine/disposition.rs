use bytes::BytesMut;
use smallvec::SmallVec;

use super::Connection;
use super::event::{DeliveryKey, Event, LinkId};
use super::table::extend_id;
use crate::performative::{DeliveryState, Disposition, Role};

/// Octets of the longest state that goes with the first frame of a delivery: it has a place in the smallest frames that a
/// peer may ask for ([`MIN_MAX_FRAME_SIZE`](crate::frame::MIN_MAX_FRAME_SIZE)).
pub const FIRST_STATE_LIMIT: usize = 400;

/// A disposition not yet written: that of the next delivery may extend it.
#[derive(Debug)]
pub(super) struct Batch {
    first: u32,
    last: u32,
    settled: bool,
    state: Option<DeliveryState>,
}

impl Batch {
    /// Whether the batch could take in delivery `id` with the same outcome.
    fn extends_to(&self, id: u32, state: Option<&DeliveryState>, settled: bool) -> bool {
        let plain = matches!(
            state,
            None | Some(DeliveryState::Accepted | DeliveryState::Released)
        );
        plain
            && self.settled == settled
            && self.state.as_ref() == state
            && self.last.wrapping_add(1) == id
    }
}

impl Connection {
    /// Tells the peer the state of a delivery of either direction. If `settled`, the key is gone, or will be when the
    /// delivery is complete. Deliveries that the peer settled are not answered. What is told of a delivery before its first
    /// frame goes with that frame (§2.7.5), unless it is longer than [`FIRST_STATE_LIMIT`].
    pub fn disposition(
        &mut self,
        delivery: DeliveryKey,
        state: Option<DeliveryState>,
        settled: bool,
    ) {
        let Some(entry) = self.deliveries.get_mut(delivery.0 as usize) else {
            return;
        };
        if entry.dead || entry.is_settled() && entry.started {
            return;
        }
        if !entry.started {
            // Then it starts settled.
            entry.settled_locally |= settled;
            if let Some(state) = state {
                let mut octets = BytesMut::new();
                state.encode(&mut octets);
                entry.state = (octets.len() <= FIRST_STATE_LIMIT).then(|| octets[..].into());
            }
            return;
        }
        entry.settled_locally = settled;
        let (session, link, role) = (entry.session, entry.link, entry.role);
        let (id, wire_id, complete) = (entry.id, entry.wire_id(), entry.complete);
        if self
            .links
            .get(link as usize)
            .is_some_and(super::link::Link::is_attached)
        {
            self.batch(session, role, wire_id, state, settled);
        }
        if !settled {
            return;
        }
        if complete {
            self.drop_delivery(delivery.0);
        } else if let Some(session) = self.sessions.get_mut(session as usize) {
            session.unsettled(role).remove(id);
        }
    }

    /// Writes what [`disposition`](Self::disposition) collected.
    pub(super) fn flush_dispositions(&mut self, session: u32) {
        for role in [Role::Sender, Role::Receiver] {
            let Some(entry) = self.sessions.get_mut(session as usize) else {
                return;
            };
            if let Some(batch) = entry.batches[role as usize].take() {
                self.write_batch(session, role, batch);
            }
        }
    }

    pub(super) fn on_disposition(&mut self, session: u32, disposition: &Disposition) {
        let role = disposition.role.peer();
        let entry = &mut self.sessions[session as usize];
        let next = match role {
            Role::Sender => entry.next_delivery_id,
            Role::Receiver => entry.next_incoming_delivery.unwrap_or(0),
        };
        let span = disposition
            .last
            .unwrap_or(disposition.first)
            .wrapping_sub(disposition.first);
        if span > u32::MAX / 2 {
            // The last before the first.
            return;
        }
        let first = extend_id(next, disposition.first);
        // Ids of deliveries that are forgotten, or never were, are in no entry.
        let unsettled = entry.unsettled(role);
        let range = unsettled.range(first, first.saturating_add(span.into()));
        let keys: SmallVec<[u32; 16]> = unsettled.keys(range.clone()).collect();
        if disposition.settled {
            unsettled.remove_range(range);
        }
        for key in keys {
            self.apply(key, disposition.state.clone(), disposition.settled);
        }
    }

    fn apply(&mut self, key: u32, state: Option<DeliveryState>, settled: bool) {
        let Some(delivery) = self.deliveries.get_mut(key as usize) else {
            return;
        };
        delivery.settled_remotely |= settled;
        let (link, complete) = (delivery.link, delivery.complete);
        if self
            .links
            .get(link as usize)
            .is_some_and(|link| link.is_known() && !link.detach_sent)
        {
            self.events.push_back(Event::Disposition {
                delivery: DeliveryKey(key),
                link: LinkId(link),
                state,
                settled,
            });
        }
        if settled && complete {
            self.drop_delivery(key);
        }
    }

    fn batch(
        &mut self,
        session: u32,
        role: Role,
        id: u32,
        state: Option<DeliveryState>,
        settled: bool,
    ) {
        let Some(entry) = self.sessions.get_mut(session as usize) else {
            return;
        };
        let slot = &mut entry.batches[role as usize];
        match slot {
            Some(batch) if batch.extends_to(id, state.as_ref(), settled) => batch.last = id,
            _ => {
                let previous = slot.replace(Batch {
                    first: id,
                    last: id,
                    settled,
                    state,
                });
                if let Some(previous) = previous {
                    self.write_batch(session, role, previous);
                }
            }
        }
        self.mark_session(session);
    }

    fn write_batch(&mut self, session: u32, role: Role, batch: Batch) {
        let Some(channel) = self.open_channel(session) else {
            return;
        };
        let disposition = Disposition {
            role,
            first: batch.first,
            last: (batch.last != batch.first).then_some(batch.last),
            settled: batch.settled,
            state: batch.state,
            batchable: false,
        };
        self.write_frame(channel, |out| disposition.encode(out));
    }
}
