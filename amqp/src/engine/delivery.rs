use super::Connection;
use super::connection::Grave;
use crate::performative::{DeliveryTag, Role};

/// A delivery on its way, either direction.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) session: u32,
    pub(super) link: u32,
    /// The local role: of the sender for outgoing deliveries.
    pub(super) role: Role,
    /// Of outgoing deliveries that are not started, meaningless.
    pub(super) id: u64,
    pub(super) tag: DeliveryTag,
    /// A frame of it was sent or received.
    pub(super) started: bool,
    /// The last frame of it was sent or received, or it was aborted.
    pub(super) complete: bool,
    pub(super) settled_locally: bool,
    pub(super) settled_remotely: bool,
    /// Gone for the application; the entry waits to be freed or for its last frame.
    pub(super) dead: bool,
    /// The entry waits to be freed.
    pub(super) buried: bool,
    /// How an outgoing delivery given up by the application ends.
    pub(super) last_frame: Option<LastFrame>,
    /// What goes with the first frame of an outgoing delivery, encoded.
    pub(super) state: Option<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastFrame {
    Aborted,
    Settled,
}

impl Delivery {
    pub(super) fn is_settled(&self) -> bool {
        self.settled_locally || self.settled_remotely
    }

    fn close(&mut self) {
        self.dead = true;
        self.complete = true;
        self.buried = true;
    }

    /// The id as the wire shows it.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what the wire shows"
    )]
    pub(super) fn wire_id(&self) -> u32 {
        self.id as u32
    }
}

impl Connection {
    /// The delivery is over: takes it out of the session's books, and the entry away when no event names it any more.
    pub(super) fn drop_delivery(&mut self, key: u32) {
        let Some(delivery) = self
            .deliveries
            .get_mut(key as usize)
            .filter(|delivery| !delivery.buried)
        else {
            return;
        };
        delivery.close();
        if delivery.started {
            let (session, role, id) = (delivery.session, delivery.role, delivery.id);
            if let Some(session) = self.sessions.get_mut(session as usize) {
                session.unsettled(role).remove(id);
            }
        }
        self.bury(Grave::Delivery(key));
    }

    /// All deliveries of a link that is detached at both ends.
    pub(super) fn drop_deliveries(&mut self, link: u32) {
        let Some(entry) = self.links.get_mut(link as usize) else {
            return;
        };
        let (session, role, current) = (entry.session, entry.role, entry.current.take());
        let deliveries = &mut self.deliveries;
        let mut dropped: Vec<u32> = Vec::new();
        if let Some(session) = self.sessions.get_mut(session as usize) {
            session.unsettled(role).retain(|key| {
                let other = deliveries
                    .get(key as usize)
                    .is_some_and(|delivery| delivery.link != link);
                if !other {
                    dropped.push(key);
                }
                other
            });
            session.finals.retain(|key| Some(*key) != current);
        }
        if let Some(current) = current
            && !dropped.contains(&current)
        {
            dropped.push(current);
        }
        for key in dropped {
            if let Some(delivery) = self
                .deliveries
                .get_mut(key as usize)
                .filter(|delivery| !delivery.buried)
            {
                delivery.close();
                self.bury_later(Grave::Delivery(key));
            }
        }
    }
}
