//! What becomes of messages that have arrived: another destination, an outcome, a settlement.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize},
};

use amqp::{
    engine::{DeliveryKey, LinkId},
    performative::DeliveryState,
};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Driver,
    incoming::{Branch, Incoming, State},
    waiting::Count,
};
use crate::core::{
    connection::ConnectionRole,
    delivery::{Delivery, Wake},
    forward::{self, Choice, Request},
};

/// Octets of one message that are kept for another destination.
const RETAIN_LIMIT: usize = 1024 * 1024;
/// Destinations that one message is offered to.
const RESEND_LIMIT: usize = 32;

/// What it takes to send a message again.
#[derive(Debug)]
pub(super) struct Retained {
    address: String,
    /// All that has arrived behind the annotations.
    octets: Vec<Bytes>,
    len: usize,
    /// They wait, too.
    count: Count,
    /// Where it was sent to, see [`forward::Sink::counter`].
    tried: Vec<Arc<AtomicU32>>,
}

impl Retained {
    /// A message whose first octets were sent to the destination with this counter.
    pub(super) fn new(
        address: String,
        octets: Bytes,
        counter: &Arc<AtomicU32>,
        waiting: &Arc<AtomicUsize>,
    ) -> Self {
        Self {
            address,
            len: octets.len(),
            count: Count::new(waiting, octets.len()),
            octets: vec![octets],
            tried: vec![counter.clone()],
        }
    }

    /// It is no longer worth the memory.
    pub(super) fn is_too_large(&self) -> bool {
        self.len > RETAIN_LIMIT
    }

    pub(super) fn push(&mut self, octets: Bytes) {
        self.len += octets.len();
        self.count.add(octets.len());
        self.octets.push(octets);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Answers a message that goes nowhere (or has been taken by the router itself).
    pub(super) fn refuse_message(
        &mut self,
        incoming: &mut Incoming,
        key: DeliveryKey,
        state: DeliveryState,
    ) {
        incoming.state = State::Refused { credited: true };
        incoming.unsettled = None;
        let stranded = state == DeliveryState::Released && self.is_stranded(incoming.link);
        if !incoming.presettled {
            self.count_outcome(incoming, &state);
            self.engine.disposition(key, Some(state), true);
        }
        if stranded {
            // The control task gives credit when there is a consumer again.
            self.engine.drain(incoming.link);
        } else {
            self.replenish(incoming.link);
        }
    }

    /// True for a client's link to an address without any consumer.
    fn is_stranded(&self, link: LinkId) -> bool {
        let Some(attached) = self.link(link).filter(|attached| attached.registered) else {
            return false;
        };
        let Some(address) = &attached.address else {
            return false;
        };
        let key = self.shared.space.classify(address).to_string();
        self.role() == ConnectionRole::Normal && !self.shared.table.load().has_destination(&key)
    }

    pub(super) fn replenish(&mut self, link: LinkId) {
        if self.link(link).is_some() {
            self.engine.add_credit(link, 1);
        }
    }

    /// A sink of an incoming message reported something.
    pub(super) fn feedback(&mut self, key: DeliveryKey) {
        let Some(mut incoming) = self.incoming.get_mut(key.0 as usize).and_then(Option::take)
        else {
            return;
        };
        let link = incoming.link;
        let single = incoming.branches().len() == 1;
        let mut relayed = None;
        let mut received = None;
        let mut used = false;
        for branch in incoming.branches() {
            let feedback = branch.delivery.take_feedback();
            used |= feedback.received.is_some();
            received = feedback.received.filter(|_| single);
            if feedback.outcome.is_some() {
                used |= feedback.outcome != Some(DeliveryState::Released);
                branch.outcome = feedback.outcome;
                if single {
                    relayed = branch.outcome.clone();
                }
            }
            branch.settled |= feedback.settled;
        }
        if relayed.is_none()
            && let Some((section_number, section_offset)) = received
            && !self.keeps_closed(&mut incoming, (section_number, section_offset))
        {
            relayed = Some(DeliveryState::Received {
                section_number,
                section_offset,
            });
        }
        if used {
            // Whoever has begun to use a message keeps it.
            incoming.retained = None;
        }
        if relayed == Some(DeliveryState::Released) && self.send_again(&mut incoming, key) {
            self.incoming[key.0 as usize] = Some(incoming);
            return;
        }
        let settled = !incoming.branches().is_empty()
            && incoming.branches().iter().all(|branch| branch.settled);
        if settled && relayed.is_none() {
            // The outcome of a single sink may have been relayed before; the settlement repeats it.
            relayed = merge(incoming.branches());
        }
        if settled {
            if !incoming.presettled {
                if let Some(state) = merge(incoming.branches()) {
                    self.count_outcome(&incoming, &state);
                }
                incoming.unsettled = None;
                self.engine.disposition(key, relayed, true);
                self.replenish(link);
            }
            // The rest of the message, if it is still coming, is dropped.
            if !self.engine.is_complete(key) {
                incoming.state = State::Refused {
                    credited: !incoming.presettled,
                };
                self.incoming[key.0 as usize] = Some(incoming);
            }
            return;
        }
        if let (Some(state), false) = (relayed, incoming.presettled) {
            self.engine.disposition(key, Some(state), false);
        }
        self.incoming[key.0 as usize] = Some(incoming);
    }

    /// Sends a message that its destination released to another one. False if that is not wanted, or there is none.
    fn send_again(&mut self, incoming: &mut Incoming, key: DeliveryKey) -> bool {
        let complete = self.engine.is_complete(key);
        let (State::Flowing(branches), Some(retained)) =
            (&mut incoming.state, &mut incoming.retained)
        else {
            return false;
        };
        let Some(branch) = branches.first_mut() else {
            return false;
        };
        let request = Request {
            address: &retained.address,
            annotations: &branch.delivery.annotations,
            arrived_on: self.handle.as_deref(),
            complete,
            preferred: None,
        };
        let choice = {
            let table = self.shared.table.load();
            forward::choose_again(&self.shared, &table, request, &retained.tried)
        };
        let Choice::One(sink) = choice else {
            return false;
        };
        match sink.counter() {
            Some(counter) if retained.tried.len() < RESEND_LIMIT => {
                retained.tried.push(counter.clone());
            }
            _ => return false,
        }
        let delivery = Delivery::new(
            branch.delivery.annotations.clone(),
            Some(self.id),
            incoming.presettled,
            branch.delivery.priority,
        );
        let delivery = Arc::new(delivery.counted_in(&self.waiting));
        if let Some(state) = &incoming.told {
            delivery.tell_state(state.clone());
        }
        for octets in &retained.octets {
            delivery.push(octets.clone());
        }
        if complete {
            delivery.finish(incoming.presettled);
            branch.delivery.finish(true);
        } else {
            branch.delivery.abort();
        }
        delivery.set_source(Wake::Incoming(self.inbox.clone(), key));
        *branch = Branch {
            delivery: delivery.clone(),
            outcome: None,
            settled: false,
        };
        forward::dispatch(&self.shared, sink, delivery);
        true
    }

    /// The sender of an incoming message said something of its state: so do all who send it on.
    pub(super) fn sender_told(&mut self, key: DeliveryKey, state: &DeliveryState) {
        if let Some(Some(incoming)) = self.incoming.get_mut(key.0 as usize) {
            incoming.tell(state);
        }
    }

    /// The sender of an incoming message settled it before this side did.
    pub(super) fn sender_settled(&mut self, key: DeliveryKey) {
        let complete = self.engine.is_complete(key);
        let Some(slot) = self.incoming.get_mut(key.0 as usize) else {
            return;
        };
        if !complete && let Some(incoming) = slot {
            // The rest still comes; nobody waits for its outcome.
            incoming.presettled = true;
            incoming.unsettled = None;
            return;
        }
        if let Some(mut incoming) = slot.take() {
            let link = incoming.link;
            for branch in incoming.branches() {
                branch.delivery.finish(true);
            }
            self.replenish(link);
        }
    }
}

/// Outcome of a multicast: the most telling of its copies' outcomes.
fn merge(branches: &[Branch]) -> Option<DeliveryState> {
    let rank = |state: &DeliveryState| match state {
        DeliveryState::Rejected(_) => 4,
        DeliveryState::Accepted => 3,
        DeliveryState::Modified { .. } => 2,
        DeliveryState::Released => 1,
        DeliveryState::Received { .. } | DeliveryState::Other(_) => 0,
    };
    branches
        .iter()
        .filter_map(|branch| branch.outcome.as_ref())
        .max_by_key(|state| rank(state))
        .cloned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use amqp::performative::Condition;

    use super::*;
    use crate::core::annotations::Annotations;

    #[test]
    fn octets_kept_for_another_destination_wait_until_they_are_given_up() {
        let waiting = Arc::new(AtomicUsize::new(0));
        let octets = |len| Bytes::from(vec![0; len]);
        let mut kept = Some(Retained::new(
            "a".to_owned(),
            octets(1000),
            &Arc::default(),
            &waiting,
        ));
        let mut total = 1000;
        assert_eq!(waiting.load(Ordering::Relaxed), total);
        for len in [RETAIN_LIMIT - 1000, 1] {
            assert!(kept.take_if(|kept| kept.is_too_large()).is_none());
            kept.as_mut().unwrap().push(octets(len));
            total += len;
            assert_eq!(waiting.load(Ordering::Relaxed), total);
        }
        assert!(kept.take_if(|kept| kept.is_too_large()).is_some());
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_multicast_has_the_most_telling_outcome_of_its_copies() {
        let rejected = DeliveryState::Rejected(Some(Condition::new("a:b", "c")));
        let modified = DeliveryState::Modified {
            delivery_failed: true,
            undeliverable_here: false,
            annotations: Vec::new(),
        };
        let ranks = [
            DeliveryState::Released,
            modified,
            DeliveryState::Accepted,
            rejected,
        ];
        let branch = |outcome: Option<&DeliveryState>| Branch {
            delivery: Arc::new(Delivery::new(Annotations::default(), None, false, 4)),
            outcome: outcome.cloned(),
            settled: true,
        };
        for (less, more) in ranks.iter().zip(&ranks[1..]) {
            let copies = [branch(Some(more)), branch(None), branch(Some(less))];
            assert_eq!(merge(&copies).as_ref(), Some(more));
        }
        assert_eq!(merge(&[branch(None)]), None);
    }
}
