//! The end of a connection: in order, when nothing is under way any more, or because it is lost.

use std::time::{Duration, Instant};

use amqp::{
    engine::LinkId,
    performative::{Condition, DeliveryState},
};
use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Driver, Ended, HANDED_OVER};
use crate::core::{
    Offence, connection_message::ConnectionMessage, control_message::ControlMessage,
};

/// Time for what is queued when a connection is to be closed.
const LEAVE: Duration = Duration::from_secs(1);
impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Another main connection of this connector has taken over, as C routers of 3.x do it: the control links go at once,
    /// and the messages that are under way come to their end here.
    pub(super) fn hand_over(&mut self) {
        let links = [
            self.router_links.control_out.take(),
            self.router_links.control_in.take(),
        ];
        for link in links.into_iter().flatten() {
            self.engine.detach(link, true, None);
            self.drop_link(link);
        }
        self.retire_at = Some(Instant::now() + HANDED_OVER);
    }

    pub(super) fn retire_when_due(&mut self, now: Instant) {
        if self.retire_at.take_if(|at| *at <= now).is_some() {
            self.retiring = true;
        }
    }

    /// Close in order: the last octets of flows that have just ended may still be in the queues.
    pub(super) fn leave(&mut self) {
        let latest = Instant::now() + LEAVE;
        self.leaving = Some(latest);
        self.close_deadline.get_or_insert(latest + LEAVE);
    }

    /// Closes if this connection is to be left and nothing is in the way any more. True if it was closed now.
    pub(super) fn close_when_sent(&mut self) -> bool {
        if self.idle_watch.is_some() && self.is_idle() {
            self.idle_watch = None;
        }
        if self.retiring && self.leaving.is_none() && self.is_idle() {
            self.leave();
        }
        let Some(latest) = self.leaving.filter(|_| !self.closing) else {
            return false;
        };
        let sent = self.ready.is_empty() && !self.engine.transmit().has_remaining();
        if sent || latest <= Instant::now() {
            self.close(None);
            return true;
        }
        false
    }

    pub(super) fn is_idle(&self) -> bool {
        self.incoming.iter().all(Option::is_none) && self.outgoing.iter().all(Option::is_none)
    }

    pub(super) fn close(&mut self, condition: Option<Condition>) {
        if !self.closing {
            self.closing = true;
            self.close_deadline = Some(Instant::now() + Duration::from_secs(2));
            self.engine.close(condition);
        }
    }

    pub(super) fn finished(&self) -> Option<Ended> {
        if self.engine.is_closed() {
            return Some(if self.closing {
                Ended::Cancelled
            } else {
                Ended::Closed
            });
        }
        self.close_deadline
            .filter(|deadline| *deadline <= Instant::now())
            .map(|_| Ended::Cancelled)
    }

    /// The connection is gone: every message in it gets its outcome, and the control task is told.
    pub(super) fn end(&mut self) {
        for message in self
            .inbox
            .close()
            .into_iter()
            .chain(self.messages.drain(..))
        {
            if let ConnectionMessage::Deliver { delivery, .. } = message {
                delivery.report(Some(DeliveryState::Released), true);
            }
        }
        for link in 0..self.links.len() {
            self.drop_link(LinkId(u32::try_from(link).unwrap_or(u32::MAX)));
        }
        self.streams.release_all();
        for sent in self.outgoing.drain(..).flatten() {
            sent.lost();
        }
        for incoming in self.incoming.drain(..).flatten() {
            incoming.abort();
        }
        if let Some(role) = self.handle.as_ref().map(|handle| handle.role) {
            self.shared.counters.connection_ended(role);
            self.tell(ControlMessage::ConnectionDown(self.id));
        }
    }

    /// Counts and logs the end of an open connection if the peer is to blame.
    pub(super) fn complain(&self, ended: &Ended) {
        if let (Some(handle), Ended::Protocol(reason)) = (&self.handle, ended) {
            // The condition: what follows may be any number of things.
            let kind = reason.split(": ").next().unwrap_or_default();
            self.shared
                .offended(Offence::Protocol, &handle.facts.host, kind, reason);
        }
    }
}
