use std::collections::VecDeque;

use slab::Slab;

use super::Connection;
use super::connection::{Grave, key};
use super::disposition::Batch;
use super::error::{ConnectionError, FRAMING_ERROR, LIMIT_EXCEEDED, NOT_ALLOWED};
use super::event::{Event, SessionId};
use super::table::{NumberMap, Unsettled};
use crate::performative::{Begin, Condition, End, Role};

/// One end of a session (part 2 §2.5). Its slab key is the local channel.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) remote_channel: Option<u16>,
    pub(super) end_sent: bool,
    /// Gone for the application; the entry waits to be freed.
    pub(super) dead: bool,

    /// Link keys by local handle.
    pub(super) handles: Slab<u32>,
    /// Link keys by the peer's handle.
    pub(super) remote_handles: NumberMap,
    pub(super) remote_handle_max: u32,

    /// Transfer-id of the next frame sent.
    pub(super) next_outgoing_id: u32,
    /// Frames the peer accepts.
    pub(super) remote_window: u32,
    pub(super) next_delivery_id: u64,
    pub(super) outgoing: Unsettled,
    /// A send met the closed window.
    pub(super) blocked: bool,
    /// Deliveries whose last, empty frame waits for the window.
    pub(super) finals: VecDeque<u32>,

    /// Transfer-id of the next frame received.
    pub(super) next_incoming_id: u32,
    /// Frames the peer may still send.
    pub(super) window: u32,
    /// Frames the application consumed since the peer was told a window.
    pub(super) released: u32,
    /// Frames that the application keeps from the window for now, with `auto_window`.
    pub(super) held: u32,
    /// `None` before the first delivery, which may have any id.
    pub(super) next_incoming_delivery: Option<u64>,
    pub(super) incoming: Unsettled,

    /// In the connection's list of dirty sessions.
    pub(super) dirty: bool,
    /// The peer is to be told the window.
    pub(super) flow_due: bool,
    /// Dispositions not yet written, as sender and as receiver.
    pub(super) batches: [Option<Batch>; 2],
}

/// Frames we may send in one window: no limit of our own, as C routers say it.
pub(super) const OUTGOING_WINDOW: u32 = 0x7fff_ffff;

/// Zero on the wire, one full turn up so that ids before it can be told.
pub(super) const FIRST_DELIVERY_ID: u64 = 1 << 32;

const HANDLE_MAX: u32 = 0x7fff_ffff;

impl Session {
    fn new(window: u32) -> Self {
        Self {
            window,
            remote_handle_max: u32::MAX,
            next_delivery_id: FIRST_DELIVERY_ID,
            ..Self::default()
        }
    }

    /// Whether frames may be sent on it.
    pub(super) fn is_open(&self) -> bool {
        !self.end_sent && !self.dead
    }

    /// Whether the peer is to be told its window again, with `auto_window` and a window of `full` frames: half of what is
    /// not held is used.
    pub(super) fn is_window_due(&self, full: u32) -> bool {
        let open = full - self.held;
        !self.flow_due && self.window <= open / 2 && self.window < open
    }

    pub(super) fn unsettled(&mut self, role: Role) -> &mut Unsettled {
        match role {
            Role::Sender => &mut self.outgoing,
            Role::Receiver => &mut self.incoming,
        }
    }
}

impl Connection {
    /// Starts a session. Links may be attached at once, before [`Event::SessionBegun`].
    ///
    /// When no channel is free, [`Event::SessionEnded`] follows, as if the peer had refused.
    pub fn begin(&mut self) -> SessionId {
        let session = self.new_session();
        let id = SessionId(session);
        let channel_max = self
            .remote_open
            .as_ref()
            .map_or(u16::MAX, |open| open.channel_max);
        let over_limit = self.sessions.len() > usize::from(self.config.max_sessions);
        match u16::try_from(session) {
            Ok(channel) if channel <= channel_max && !over_limit => {
                self.write_begin(channel, None);
            }
            _ => {
                let entry = &mut self.sessions[session as usize];
                entry.dead = true;
                entry.end_sent = true;
                let error = Condition::new(LIMIT_EXCEEDED, "too many sessions");
                self.events.push_back(Event::SessionEnded {
                    session: id,
                    error: Some(error),
                });
                self.bury_later(Grave::Session(session));
            }
        }
        id
    }

    /// Ends a session; its links and deliveries need not be ended before.
    pub fn end(&mut self, session: SessionId, error: Option<Condition>) {
        if !self
            .sessions
            .get(session.0 as usize)
            .is_some_and(Session::is_open)
        {
            return;
        }
        if let Some(channel) = channel_of(session.0) {
            self.flush();
            self.write_frame(channel, |out| End { error }.encode(out));
        }
        self.sessions[session.0 as usize].end_sent = true;
    }

    /// With `auto_window`: frames received that are not consumed yet. The window stays smaller by them until they are
    /// released.
    pub fn hold_window(&mut self, session: SessionId, frames: u32) {
        if let Some(entry) = self.sessions.get_mut(session.0 as usize) {
            entry.held = entry
                .held
                .saturating_add(frames)
                .min(self.config.incoming_window);
        }
    }

    /// Whether half of a session's window or more is held.
    #[must_use]
    pub fn is_window_held(&self, session: SessionId) -> bool {
        self.sessions
            .get(session.0 as usize)
            .is_some_and(|entry| entry.held >= self.config.incoming_window.div_ceil(2))
    }

    /// Frames the application consumed: all it received without `auto_window`, those it held with it. The peer is told
    /// when half of the window is used.
    pub fn release_window(&mut self, session: SessionId, frames: u32) {
        let full = self.config.incoming_window;
        let Some(entry) = self
            .sessions
            .get_mut(session.0 as usize)
            .filter(|entry| entry.is_open())
        else {
            return;
        };
        if self.config.auto_window {
            entry.held = entry.held.saturating_sub(frames);
            if entry.is_window_due(full) {
                self.mark_session_flow(session.0);
            }
            return;
        }
        entry.released = entry
            .released
            .saturating_add(frames)
            .min(full - entry.window);
        if entry.released >= (full / 2).max(1) {
            self.mark_session_flow(session.0);
        }
    }

    /// Whether the peer accepts no more frames on the session for now.
    #[must_use]
    pub fn session_blocked(&self, session: SessionId) -> bool {
        self.sessions
            .get(session.0 as usize)
            .is_none_or(|entry| entry.remote_window == 0)
    }

    pub(super) fn on_begin(&mut self, channel: u16, begin: &Begin) -> Result<(), ConnectionError> {
        if self.channels.get(channel.into()).is_some() {
            return Err(ConnectionError::protocol(
                NOT_ALLOWED,
                format!("channel {channel} has a session"),
            ));
        }
        let session = match begin.remote_channel {
            Some(local) => {
                let session = u32::from(local);
                let awaited = self
                    .sessions
                    .get(session as usize)
                    .is_some_and(|entry| entry.remote_channel.is_none() && !entry.dead);
                if !awaited {
                    return Err(ConnectionError::protocol(
                        NOT_ALLOWED,
                        format!("begin for unused channel {local}"),
                    ));
                }
                session
            }
            None => self.accept_session(channel)?,
        };
        self.channels.insert(channel.into(), session);
        let entry = &mut self.sessions[session as usize];
        entry.remote_channel = Some(channel);
        entry.next_incoming_id = begin.next_outgoing_id;
        entry.remote_window = begin.incoming_window.saturating_sub(entry.next_outgoing_id);
        entry.remote_handle_max = begin.handle_max;
        if entry.is_open() {
            let remote_initiated = begin.remote_channel.is_none();
            self.events.push_back(Event::SessionBegun {
                session: SessionId(session),
                remote_initiated,
            });
        }
        Ok(())
    }

    /// A session begun by the peer, answered at once.
    fn accept_session(&mut self, channel: u16) -> Result<u32, ConnectionError> {
        let too_many = || ConnectionError::protocol(LIMIT_EXCEEDED, "too many sessions");
        if self.sessions.len() >= usize::from(self.config.max_sessions) {
            return Err(too_many());
        }
        let session = self.new_session();
        let local = channel_of(session).ok_or_else(too_many)?;
        let remote_max = self
            .remote_open
            .as_ref()
            .map_or(u16::MAX, |open| open.channel_max);
        if local > remote_max {
            return Err(ConnectionError::protocol(
                FRAMING_ERROR,
                "more sessions than channel-max allows",
            ));
        }
        self.write_begin(local, Some(channel));
        Ok(session)
    }

    pub(super) fn on_end(&mut self, session: u32, end: End) {
        let entry = &self.sessions[session as usize];
        if let Some(channel) = entry.remote_channel {
            self.channels.remove(channel.into());
        }
        self.end(SessionId(session), None);
        self.drop_session(session);
        self.events.push_back(Event::SessionEnded {
            session: SessionId(session),
            error: end.error,
        });
    }

    /// Both ends are gone: so are the links and deliveries.
    fn drop_session(&mut self, session: u32) {
        let links: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, link)| link.session == session && !link.dead)
            .map(|(index, _)| key(index))
            .collect();
        for link in links {
            self.drop_link_of_session(link);
        }
        let entry = &mut self.sessions[session as usize];
        entry.dead = true;
        entry.batches = [None, None];
        self.bury_later(Grave::Session(session));
    }

    fn new_session(&mut self) -> u32 {
        key(self
            .sessions
            .insert(Session::new(self.config.incoming_window)))
    }

    fn write_begin(&mut self, channel: u16, remote_channel: Option<u16>) {
        let begin = Begin {
            remote_channel,
            next_outgoing_id: 0,
            incoming_window: self.config.incoming_window,
            outgoing_window: OUTGOING_WINDOW,
            handle_max: HANDLE_MAX,
            ..Begin::default()
        };
        self.write_frame(channel, |out| begin.encode(out));
    }
}

/// The local channel of a session key; `None` of a session that found no channel.
pub(super) fn channel_of(session: u32) -> Option<u16> {
    u16::try_from(session).ok()
}
