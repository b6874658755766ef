use super::Connection;
use super::error::ConnectionError;
use super::event::{Event, LinkId, SessionId};
use super::link::Link;
use super::session::OUTGOING_WINDOW;
use crate::performative::{Flow, Role};

impl Connection {
    /// Receiver: sets the link's credit, the deliveries that may still come, to `credit`.
    pub fn grant(&mut self, link: LinkId, credit: u32) {
        let Some(entry) = self.link_of(link, Role::Receiver) else {
            return;
        };
        entry.pending = 0;
        entry.credit = credit;
        entry.credit_target = credit;
        entry.most_credit = entry.most_credit.max(credit);
        entry.overrun = 0;
        entry.drain = false;
        self.mark_link_flow(link.0);
    }

    /// Receiver: adds to the credit. The sender is told when half of the target, the highest sum since the last
    /// [`grant`](Self::grant), is used, so before the credit is used up.
    pub fn add_credit(&mut self, link: LinkId, count: u32) {
        let Some(entry) = self.link_of(link, Role::Receiver) else {
            return;
        };
        entry.pending = entry.pending.saturating_add(count);
        entry.credit_target = entry
            .credit_target
            .max(entry.credit.saturating_add(entry.pending));
        self.replenish(link.0);
    }

    /// Receiver: asks the sender to use the credit up now, by deliveries or without (§2.6.7). Added credit that it was not
    /// told yet is given up.
    pub fn drain(&mut self, link: LinkId) {
        let Some(entry) = self.link_of(link, Role::Receiver) else {
            return;
        };
        entry.drain = true;
        entry.pending = 0;
        self.mark_link_flow(link.0);
    }

    /// Sender: nothing more to send for [`Event::Drain`]; the rest of the credit is given back.
    pub fn drained(&mut self, link: LinkId) {
        let Some(entry) = self.link_of(link, Role::Sender) else {
            return;
        };
        let unused = entry.credit.saturating_sub(entry.reserved);
        if !entry.drain || unused == 0 {
            return;
        }
        entry.credit -= unused;
        entry.delivery_count = entry.delivery_count.wrapping_add(unused);
        self.mark_link_flow(link.0);
    }

    /// Receiver: tells the sender once more what credit it has. Nothing changes by it.
    pub fn repeat_credit(&mut self, link: LinkId) {
        if self.link_of(link, Role::Receiver).is_some() {
            self.mark_link_flow(link.0);
        }
    }

    /// Sender: deliveries that may be started. Receiver: deliveries that may still come.
    #[must_use]
    pub fn credit(&self, link: LinkId) -> u32 {
        match self.links.get(link.0 as usize) {
            Some(entry) if entry.role == Role::Receiver => entry.credit,
            Some(entry) if entry.is_attached() => entry.credit.saturating_sub(entry.reserved),
            _ => 0,
        }
    }

    pub(super) fn on_flow(&mut self, session: u32, flow: &Flow) -> Result<(), ConnectionError> {
        let link = flow
            .handle
            .map(|handle| self.link_by_handle(session, handle))
            .transpose()?;
        self.on_session_flow(session, flow);
        match link {
            Some(link) => self.on_link_flow(link, flow),
            None if flow.echo => self.mark_session_flow(session),
            None => {}
        }
        Ok(())
    }

    /// Completes the queued octets: dispositions, then flows, one per link and session.
    pub(super) fn flush(&mut self) {
        if self.dirty_sessions.is_empty() && self.dirty_links.is_empty() {
            return;
        }
        let mut sessions = std::mem::take(&mut self.dirty_sessions);
        for session in &sessions {
            self.flush_dispositions(*session);
        }
        let mut links = std::mem::take(&mut self.dirty_links);
        for link in links.drain(..) {
            self.write_link_flow(link);
        }
        for session in sessions.drain(..) {
            let Some(entry) = self.sessions.get_mut(session as usize) else {
                continue;
            };
            entry.dirty = false;
            if entry.flow_due {
                self.write_flow(session, None);
            }
        }
        // Nothing was added meanwhile; this keeps the capacity.
        self.dirty_sessions = sessions;
        self.dirty_links = links;
    }

    /// Tells the sender credit that was added, if it needs it by now.
    pub(super) fn replenish(&mut self, link: u32) {
        let Some(entry) = self.links.get_mut(link as usize) else {
            return;
        };
        if entry.pending > 0 && entry.credit <= entry.credit_target / 2 {
            entry.credit = entry.credit.saturating_add(entry.pending);
            entry.pending = 0;
            entry.most_credit = entry.most_credit.max(entry.credit);
            entry.overrun = 0;
            entry.drain = false;
            self.mark_link_flow(link);
        }
    }

    pub(super) fn mark_session_flow(&mut self, session: u32) {
        if let Some(entry) = self.sessions.get_mut(session as usize) {
            entry.flow_due = true;
            self.mark_session(session);
        }
    }

    pub(super) fn mark_session(&mut self, session: u32) {
        if let Some(entry) = self.sessions.get_mut(session as usize)
            && !entry.dirty
        {
            entry.dirty = true;
            self.dirty_sessions.push(session);
        }
    }

    /// §2.5.6: what the peer accepts, less what it had not seen when it said so.
    fn on_session_flow(&mut self, session: u32, flow: &Flow) {
        let entry = &mut self.sessions[session as usize];
        let unseen = entry
            .next_outgoing_id
            .wrapping_sub(flow.next_incoming_id.unwrap_or(0));
        // An id that was not sent yet counts nothing as unseen.
        let unseen = if unseen > u32::MAX / 2 { 0 } else { unseen };
        entry.remote_window = flow.incoming_window.saturating_sub(unseen);
        if entry.remote_window == 0 {
            return;
        }
        self.write_finals(session);
        let entry = &mut self.sessions[session as usize];
        if entry.blocked && entry.remote_window > 0 {
            entry.blocked = false;
            self.events.push_back(Event::WindowOpened {
                session: SessionId(session),
            });
        }
    }

    fn on_link_flow(&mut self, link: u32, flow: &Flow) {
        let entry = &mut self.links[link as usize];
        if entry.detach_sent {
            return;
        }
        if entry.role == Role::Receiver {
            // The sender skipped deliveries: credit is gone without them.
            if let Some(count) = flow.delivery_count {
                let skipped = count.wrapping_sub(entry.delivery_count);
                if skipped > 0 && skipped <= u32::MAX / 2 {
                    entry.delivery_count = count;
                    entry.credit = entry.credit.saturating_sub(skipped);
                    self.replenish(link);
                }
            }
        } else if let Some(granted) = flow.link_credit {
            self.on_credit(link, flow.delivery_count, granted, flow.drain);
        }
        if flow.echo {
            self.mark_link_flow(link);
        }
    }

    /// §2.6.7: the credit the receiver told, less the deliveries it had not seen then.
    fn on_credit(&mut self, link: u32, delivery_count: Option<u32>, granted: u32, drain: bool) {
        let entry = &mut self.links[link as usize];
        // A receiver that has not seen the Attach counts from the initial value, with nothing sent.
        let unseen = delivery_count.map_or(0, |count| entry.delivery_count.wrapping_sub(count));
        let unseen = if unseen > u32::MAX / 2 { 0 } else { unseen };
        let credit = granted.saturating_sub(unseen);
        let changed = credit != entry.credit;
        entry.credit = credit;
        entry.drain = drain;
        if entry.refused {
            return;
        }
        if changed {
            self.events.push_back(Event::Credit { link: LinkId(link) });
        }
        if drain {
            self.events.push_back(Event::Drain { link: LinkId(link) });
        }
    }

    /// A link that can still have credit, with the local role `role`.
    fn link_of(&mut self, link: LinkId, role: Role) -> Option<&mut Link> {
        let entry = self.links.get_mut(link.0 as usize)?;
        (entry.role == role && !entry.dead && !entry.detach_sent && !entry.detach_received)
            .then_some(entry)
    }

    fn mark_link_flow(&mut self, link: u32) {
        let entry = &mut self.links[link as usize];
        let attached = entry.is_attached();
        if !entry.flow_due && attached {
            self.dirty_links.push(link);
        }
        // Before both Attaches it waits for the second.
        self.links[link as usize].flow_due = true;
    }

    fn write_link_flow(&mut self, link: u32) {
        let Some(entry) = self.links.get_mut(link as usize) else {
            return;
        };
        if entry.flow_due && entry.is_attached() {
            entry.flow_due = false;
            let session = entry.session;
            self.write_flow(session, Some(link));
        }
    }

    fn write_flow(&mut self, session: u32, link: Option<u32>) {
        let Some(channel) = self.open_channel(session) else {
            return;
        };
        let entry = &mut self.sessions[session as usize];
        entry.window = match self.config.auto_window {
            true => entry.window.max(self.config.incoming_window - entry.held),
            false => entry.window + entry.released,
        };
        entry.released = 0;
        entry.flow_due = false;
        let link = link.and_then(|link| self.links.get(link as usize));
        let flow = Flow {
            next_incoming_id: entry.remote_channel.map(|_| entry.next_incoming_id),
            incoming_window: entry.window,
            next_outgoing_id: entry.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            handle: link.and_then(|link| link.handle),
            delivery_count: link.map(|link| link.delivery_count),
            link_credit: link.map(|link| link.credit),
            drain: link.is_some_and(|link| link.drain),
            ..Flow::default()
        };
        self.write_frame(channel, |out| flow.encode(out));
    }
}
