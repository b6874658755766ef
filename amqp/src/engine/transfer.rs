use bytes::Bytes;

use super::Connection;
use super::connection::key;
use super::delivery::Delivery;
use super::error::{ConnectionError, INVALID_FIELD, LIMIT_EXCEEDED, NOT_ALLOWED, WINDOW_VIOLATION};
use super::event::{DeliveryKey, Event, LinkId};
use super::session::FIRST_DELIVERY_ID;
use crate::performative::{Role, Transfer};
use crate::types::Symbol;

const TRANSFER_LIMIT_EXCEEDED: Symbol = Symbol::from_static("amqp:link:transfer-limit-exceeded");

/// Deliveries tolerated beyond the most credit ever given: C routers do not check it at all.
const OVERRUN_TOLERANCE: u32 = 256;

impl Connection {
    pub(super) fn on_transfer(
        &mut self,
        session: u32,
        transfer: Transfer,
        payload: Bytes,
    ) -> Result<(), ConnectionError> {
        self.count_received_frame(session)?;
        let link = self.link_by_handle(session, transfer.handle)?;
        let entry = &self.links[link as usize];
        if entry.role != Role::Receiver {
            return Err(ConnectionError::protocol(
                NOT_ALLOWED,
                "transfer to a sender",
            ));
        }
        let visible = entry.is_known() && !entry.detach_sent;
        let (delivery, first) = match entry.current {
            Some(delivery) => {
                self.continue_delivery(delivery, &transfer)?;
                (delivery, false)
            }
            None => (self.receive_delivery(session, link, &transfer)?, true),
        };
        let entry = &mut self.deliveries[delivery as usize];
        let settled = entry.settled_remotely;
        let more = transfer.more && !transfer.aborted;
        entry.complete = !more;
        let over = !more && (transfer.aborted || entry.is_settled());
        if !more {
            self.links[link as usize].current = None;
        }
        if visible {
            self.events.push_back(Event::Transfer {
                link: LinkId(link),
                delivery: DeliveryKey(delivery),
                first,
                payload: if transfer.aborted {
                    Bytes::new()
                } else {
                    payload
                },
                more,
                settled,
                aborted: transfer.aborted,
                state: transfer.state,
            });
        }
        if over || !more && !visible {
            self.drop_delivery(delivery);
        }
        Ok(())
    }

    /// Session flow control (§2.5.6).
    fn count_received_frame(&mut self, session: u32) -> Result<(), ConnectionError> {
        let entry = &mut self.sessions[session as usize];
        let Some(window) = entry.window.checked_sub(1) else {
            return Err(ConnectionError::protocol(
                WINDOW_VIOLATION,
                "transfer beyond the session window",
            ));
        };
        entry.window = window;
        entry.next_incoming_id = entry.next_incoming_id.wrapping_add(1);
        if self.config.auto_window && entry.is_window_due(self.config.incoming_window) {
            self.mark_session_flow(session);
        }
        Ok(())
    }

    /// The first frame of a delivery.
    fn receive_delivery(
        &mut self,
        session: u32,
        link: u32,
        transfer: &Transfer,
    ) -> Result<u32, ConnectionError> {
        let wire_id = transfer.delivery_id.ok_or_else(|| {
            ConnectionError::protocol(INVALID_FIELD, "delivery without delivery-id")
        })?;
        let settled = transfer.settled.unwrap_or(false);
        let entry = &mut self.sessions[session as usize];
        let id = entry
            .next_incoming_delivery
            .unwrap_or(FIRST_DELIVERY_ID + u64::from(wire_id));
        let max_unsettled = self.config.max_unsettled as usize;
        let delivery = Delivery {
            session,
            link,
            role: Role::Receiver,
            id,
            tag: transfer.delivery_tag.unwrap_or_default(),
            started: true,
            complete: false,
            settled_locally: false,
            settled_remotely: settled,
            dead: false,
            buried: false,
            last_frame: None,
            state: None,
        };
        if delivery.wire_id() != wire_id {
            let description = format!("expected delivery-id {}, got {wire_id}", delivery.wire_id());
            return Err(ConnectionError::protocol(INVALID_FIELD, description));
        }
        if !settled && entry.incoming.len() >= max_unsettled {
            return Err(ConnectionError::protocol(
                LIMIT_EXCEEDED,
                "too many unsettled deliveries",
            ));
        }
        entry.next_incoming_delivery = Some(id + 1);
        let delivery = key(self.deliveries.insert(delivery));
        if !settled {
            entry.incoming.push(id, delivery);
        }
        self.links[link as usize].current = Some(delivery);
        self.use_credit(link)?;
        Ok(delivery)
    }

    fn use_credit(&mut self, link: u32) -> Result<(), ConnectionError> {
        let entry = &mut self.links[link as usize];
        entry.delivery_count = entry.delivery_count.wrapping_add(1);
        match entry.credit.checked_sub(1) {
            Some(credit) => entry.credit = credit,
            None => entry.overrun += 1,
        }
        if entry.overrun > entry.most_credit.saturating_add(OVERRUN_TOLERANCE) {
            return Err(ConnectionError::protocol(
                TRANSFER_LIMIT_EXCEEDED,
                "deliveries beyond the link's credit",
            ));
        }
        self.replenish(link);
        Ok(())
    }

    /// A frame after the first.
    fn continue_delivery(&mut self, key: u32, transfer: &Transfer) -> Result<(), ConnectionError> {
        let delivery = &mut self.deliveries[key as usize];
        if transfer
            .delivery_id
            .is_some_and(|id| id != delivery.wire_id())
        {
            return Err(ConnectionError::protocol(
                INVALID_FIELD,
                "deliveries of one link are interleaved",
            ));
        }
        if transfer.settled == Some(true) && !delivery.settled_remotely {
            delivery.settled_remotely = true;
            let (session, id) = (delivery.session, delivery.id);
            self.sessions[session as usize].incoming.remove(id);
        }
        Ok(())
    }
}
