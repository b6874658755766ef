use super::Connection;
use super::connection::{Grave, key};
use super::error::{
    ConnectionError, EngineError, HANDLE_IN_USE, INVALID_FIELD, LIMIT_EXCEEDED, UNATTACHED_HANDLE,
};
use super::event::{Event, LinkId, SessionId};
use super::session::channel_of;
use crate::performative::{Attach, Condition, Detach, Role};

/// One end of a link (part 2 §2.6).
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) session: u32,
    pub(super) name: String,
    /// Of the local end.
    pub(super) role: Role,
    /// The local handle, from the local Attach on.
    pub(super) handle: Option<u32>,
    pub(super) remote_handle: Option<u32>,
    pub(super) attach_received: bool,
    pub(super) detach_sent: bool,
    pub(super) detach_received: bool,
    /// The application does not know it any more.
    pub(super) refused: bool,
    /// Detached at both ends; the entry waits to be freed.
    pub(super) dead: bool,

    /// Deliveries sent or received, modulo 2^32, from the sender's initial value on (§2.6.7).
    pub(super) delivery_count: u32,
    /// Deliveries that the receiver, as far as it has told, still accepts.
    pub(super) credit: u32,
    /// The receiver wants the credit used up.
    pub(super) drain: bool,
    /// Sender: 1 while a delivery is started of which no frame is sent, which has taken its credit.
    pub(super) reserved: u32,
    /// Receiver: credit to be told to the sender.
    pub(super) pending: u32,
    /// Receiver: the credit that is to be kept up.
    pub(super) credit_target: u32,
    /// Receiver: the most credit ever told, and deliveries that came without any.
    pub(super) most_credit: u32,
    pub(super) overrun: u32,
    /// Receiver: the sender is to be told the credit. Sender: the receiver asked for the state.
    pub(super) flow_due: bool,
    /// The incomplete delivery.
    pub(super) current: Option<u32>,
}

impl Link {
    pub(super) fn is_attached(&self) -> bool {
        self.handle.is_some()
            && self.attach_received
            && !self.detach_sent
            && !self.detach_received
            && !self.dead
    }

    /// Whether the application may hear of it.
    pub(super) fn is_known(&self) -> bool {
        !self.refused && !self.dead
    }
}

impl Connection {
    /// Attaches a link; [`Event::Attached`] brings the answer. The engine chooses the handle.
    ///
    /// # Errors
    /// The session is over, a limit is reached, or the name is taken by a link of the same role.
    pub fn attach(&mut self, session: SessionId, attach: Attach) -> Result<LinkId, EngineError> {
        if self.close_sent {
            return Err(EngineError::Closed);
        }
        self.sessions
            .get(session.0 as usize)
            .filter(|entry| entry.is_open())
            .ok_or(EngineError::NoSession)?;
        if self.links.len() >= self.config.max_links as usize {
            return Err(EngineError::TooManyLinks);
        }
        if self.names(attach.role).contains_key(&attach.name) {
            return Err(EngineError::NameInUse);
        }
        let link = self.new_link(session.0, &attach.name, attach.role);
        if !self.write_attach(link, attach) {
            self.release_name(link);
            self.links.remove(link as usize);
            return Err(EngineError::TooManyLinks);
        }
        Ok(LinkId(link))
    }

    /// Accepts a link the peer attached. The engine overwrites name, handle and role of `reply`.
    pub fn accept(&mut self, link: LinkId, reply: Attach) {
        let Some(entry) = self.links.get(link.0 as usize) else {
            return;
        };
        if entry.handle.is_some() || entry.dead || entry.detach_sent {
            return;
        }
        let session = entry.session;
        if !self.write_attach(link.0, reply) {
            // The peer attached a link whose answer it has no handle for.
            self.end(
                SessionId(session),
                Some(Condition::new(
                    LIMIT_EXCEEDED,
                    "no handle below handle-max is free",
                )),
            );
            return;
        }
        let entry = &self.links[link.0 as usize];
        if entry.flow_due {
            self.dirty_links.push(link.0);
        }
    }

    /// Refuses a link the peer attached: an Attach without terminus, then Detach (§2.6.3). There are no further
    /// events of it.
    pub fn refuse(&mut self, link: LinkId, error: Option<Condition>) {
        self.accept(link, Attach::default());
        let Some(entry) = self
            .links
            .get_mut(link.0 as usize)
            .filter(|entry| !entry.dead)
        else {
            return;
        };
        entry.refused = true;
        if entry.handle.is_none() {
            // The Attach could not be sent, so there is nothing to detach.
            entry.detach_sent = true;
            return;
        }
        self.detach(link, true, error);
    }

    /// Detaches a link, or answers the peer's Detach. A link that was not accepted yet is refused.
    pub fn detach(&mut self, link: LinkId, closed: bool, error: Option<Condition>) {
        let Some(entry) = self.links.get(link.0 as usize) else {
            return;
        };
        if entry.detach_sent || entry.dead {
            return;
        }
        if entry.handle.is_none() {
            return self.refuse(link, error);
        }
        self.flush();
        let entry = &mut self.links[link.0 as usize];
        entry.detach_sent = true;
        let (session, handle, both) = (entry.session, entry.handle, entry.detach_received);
        if let Some(handle) = handle
            && let Some(channel) = self.open_channel(session)
        {
            self.write_frame(channel, |out| {
                Detach {
                    handle,
                    closed,
                    error,
                }
                .encode(out);
            });
        }
        if both {
            self.drop_link(link.0);
            if self.events.is_empty() {
                self.reap();
            }
        }
    }

    pub(super) fn on_attach(
        &mut self,
        session: u32,
        attach: Box<Attach>,
    ) -> Result<(), ConnectionError> {
        if self.sessions[session as usize]
            .remote_handles
            .get(attach.handle)
            .is_some()
        {
            let description = format!("handle {} is attached", attach.handle);
            return Err(ConnectionError::protocol(HANDLE_IN_USE, description));
        }
        let role = attach.role.peer();
        let namesake = self.names(role).get(&attach.name).copied();
        // After its Detach, answered or not, the peer may use the name again.
        let link = match namesake.filter(|link| !self.links[*link as usize].detach_received) {
            Some(link) => {
                let entry = &self.links[link as usize];
                if entry.attach_received || entry.session != session {
                    let description = format!("link name \"{}\" is in use", attach.name);
                    return Err(ConnectionError::protocol(INVALID_FIELD, description));
                }
                link
            }
            None => {
                if self.links.len() >= self.config.max_links as usize {
                    return Err(ConnectionError::protocol(LIMIT_EXCEEDED, "too many links"));
                }
                self.new_link(session, &attach.name, role)
            }
        };
        self.sessions[session as usize]
            .remote_handles
            .insert(attach.handle, link);
        let entry = &mut self.links[link as usize];
        let remote_initiated = entry.handle.is_none();
        entry.remote_handle = Some(attach.handle);
        entry.attach_received = true;
        if role == Role::Receiver {
            entry.delivery_count = attach.initial_delivery_count.unwrap_or(0);
        }
        if entry.flow_due {
            self.dirty_links.push(link);
        }
        if !entry.detach_sent {
            self.events.push_back(Event::Attached {
                link: LinkId(link),
                attach,
                remote_initiated,
            });
        }
        Ok(())
    }

    pub(super) fn on_detach(
        &mut self,
        session: u32,
        detach: Detach,
    ) -> Result<(), ConnectionError> {
        let link = self.link_by_handle(session, detach.handle)?;
        self.sessions[session as usize]
            .remote_handles
            .remove(detach.handle);
        let entry = &mut self.links[link as usize];
        entry.detach_received = true;
        entry.remote_handle = None;
        let (known, both) = (entry.is_known(), entry.detach_sent);
        if both {
            self.drop_link(link);
        }
        if known {
            self.events.push_back(Event::Detached {
                link: LinkId(link),
                closed: detach.closed,
                error: detach.error,
            });
        }
        Ok(())
    }

    /// The session of a link ended.
    pub(super) fn drop_link_of_session(&mut self, link: u32) {
        let entry = &self.links[link as usize];
        if entry.is_known() && !entry.detach_received {
            self.events.push_back(Event::Detached {
                link: LinkId(link),
                closed: true,
                error: None,
            });
        }
        self.drop_link(link);
    }

    pub(super) fn link_by_handle(&self, session: u32, handle: u32) -> Result<u32, ConnectionError> {
        self.sessions[session as usize]
            .remote_handles
            .get(handle)
            .ok_or_else(|| {
                ConnectionError::protocol(UNATTACHED_HANDLE, format!("no link has handle {handle}"))
            })
    }

    /// The channel for frames of a session that still sends.
    pub(super) fn open_channel(&self, session: u32) -> Option<u16> {
        let entry = self.sessions.get(session as usize)?;
        if entry.is_open() {
            channel_of(session)
        } else {
            None
        }
    }

    fn drop_link(&mut self, link: u32) {
        self.drop_deliveries(link);
        self.release_name(link);
        let entry = &mut self.links[link as usize];
        entry.dead = true;
        if let Some(handle) = entry.handle
            && let Some(session) = self.sessions.get_mut(entry.session as usize)
        {
            session.handles.try_remove(handle as usize);
        }
        self.bury_later(Grave::Link(link));
    }

    fn new_link(&mut self, session: u32, name: &str, role: Role) -> u32 {
        let link = Link {
            session,
            name: name.to_owned(),
            role,
            ..Link::default()
        };
        let link = key(self.links.insert(link));
        self.names_mut(role).insert(name.to_owned(), link);
        link
    }

    /// Chooses the handle and writes the Attach; false if the peer accepts no more handles.
    fn write_attach(&mut self, link: u32, mut attach: Attach) -> bool {
        let entry = &mut self.links[link as usize];
        let Some(session) = self.sessions.get_mut(entry.session as usize) else {
            return false;
        };
        let handle = key(session.handles.vacant_key());
        if handle > session.remote_handle_max {
            return false;
        }
        session.handles.insert(link);
        entry.handle = Some(handle);
        attach.name.clone_from(&entry.name);
        attach.handle = handle;
        attach.role = entry.role;
        // Mandatory for senders; proton writes it for both roles.
        let initial = *attach.initial_delivery_count.get_or_insert(0);
        if entry.role == Role::Sender {
            entry.delivery_count = initial;
        }
        if let Some(channel) = self.open_channel(self.links[link as usize].session) {
            self.write_frame(channel, |out| attach.encode(out));
        }
        true
    }

    fn release_name(&mut self, link: u32) {
        let entry = &self.links[link as usize];
        let names = match entry.role {
            Role::Sender => &mut self.senders,
            Role::Receiver => &mut self.receivers,
        };
        if names.get(&entry.name) == Some(&link) {
            names.remove(&entry.name);
        }
    }

    fn names(&self, role: Role) -> &std::collections::HashMap<String, u32> {
        match role {
            Role::Sender => &self.senders,
            Role::Receiver => &self.receivers,
        }
    }

    fn names_mut(&mut self, role: Role) -> &mut std::collections::HashMap<String, u32> {
        match role {
            Role::Sender => &mut self.senders,
            Role::Receiver => &mut self.receivers,
        }
    }
}
