//! Messages that arrive faster than their sinks take them, and what their senders notice of it.
//!
//! Streams of flows carry a window of their own, end to end; it bounds what waits of them. Everything else is slowed
//! down by what AMQP offers. A client is not read from. Between routers, where one connection carries the messages of
//! many, the frames that wait are kept from the window of their session: the connection goes on, and so do its other
//! sessions. A message that takes most of a window and does not move is broken off, see [`super::waiting`].

use amqp::engine::{DeliveryKey, SessionId};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Driver, TOLD_LIMIT};
use crate::core::{
    annotations::{DISABLE_Q2, STREAMING},
    connection::ConnectionRole,
    delivery::Delivery,
};

/// Octets of one message that may wait for its sink before its sender is slowed down.
pub(super) const QUEUE_LIMIT: usize = 256 * 1024;
/// The same for streams that carry their own end-to-end window, beyond what their writer has granted: a little more than
/// the largest fixed window, so that it is never met by senders who keep to theirs. C routers before 2.5 mark streams of
/// flows as streaming only.
const WINDOWED_QUEUE_LIMIT: usize = 2560 * 1024;

/// An incoming message whose sink is full.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: DeliveryKey,
    /// Whose window lacks its frames. `None`: reading pauses.
    session: Option<SessionId>,
    /// Kept from the window.
    frames: u32,
}

/// Whether the message's sink is not too far behind.
pub(super) fn has_room(delivery: &Delivery) -> bool {
    if delivery.annotations.has(DISABLE_Q2) || delivery.annotations.has(STREAMING) {
        delivery.has_window_room(WINDOWED_QUEUE_LIMIT)
    } else {
        delivery.has_room(QUEUE_LIMIT)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// A frame of a message has arrived whose sink is full.
    #[cold]
    pub(super) fn hold(&mut self, key: DeliveryKey, session: SessionId) {
        let session = (self.role() != ConnectionRole::Normal).then_some(session);
        // The key may be another message's by now, of another session, whose frames are not released yet.
        let at = self
            .held
            .iter()
            .position(|held| held.key == key && held.session == session);
        let held = match at {
            Some(at) => &mut self.held[at],
            None => {
                self.held.push(Held {
                    key,
                    session,
                    frames: 0,
                });
                let last = self.held.len() - 1;
                &mut self.held[last]
            }
        };
        if let Some(session) = session {
            held.frames += 1;
            self.engine.hold_window(session, 1);
            if self.engine.is_window_held(session) {
                self.watch_waiting();
            }
        }
    }

    /// Lets the senders go on whose messages have room again, or have ended.
    pub(super) fn release_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let Self {
            held,
            incoming,
            engine,
            ..
        } = self;
        held.retain(|held| {
            let full = incoming
                .get_mut(held.key.0 as usize)
                .and_then(Option::as_mut)
                .is_some_and(|incoming| {
                    incoming
                        .branches()
                        .iter()
                        .any(|branch| !has_room(&branch.delivery))
                });
            if let (Some(session), false) = (held.session, full) {
                engine.release_window(session, held.frames);
            }
            full
        });
    }

    /// Nothing is read while the sink of a client's message is full, too much waits for all of them, or the control task
    /// is behind with what came here.
    pub(super) fn is_paused(&self) -> bool {
        self.crowd.is_full()
            || self.told > TOLD_LIMIT
            || self.held.iter().any(|held| held.session.is_none())
    }

    /// The message that takes most of a session's window, where others lack it: one of each such session.
    pub(super) fn narrowing(&self) -> Vec<DeliveryKey> {
        let mut most: Vec<(SessionId, u32, DeliveryKey)> = Vec::new();
        for held in &self.held {
            let Some(session) = held.session.filter(|&id| self.engine.is_window_held(id)) else {
                continue;
            };
            match most.iter_mut().find(|(id, ..)| *id == session) {
                Some((_, frames, key)) if *frames < held.frames => {
                    (*frames, *key) = (held.frames, held.key);
                }
                Some(_) => {}
                None => most.push((session, held.frames, held.key)),
            }
        }
        most.into_iter().map(|(.., key)| key).collect()
    }
}
