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

/// Messages whose sinks are full, and their frames that are kept from the windows of sessions.
#[derive(Debug, Default)]
pub(super) struct HeldFrames(Vec<Held>);

/// One message on one session.
#[derive(Debug)]
struct Held {
    key: DeliveryKey,
    /// Whose window lacks its frames. `None`: reading pauses.
    session: Option<SessionId>,
    /// Kept from the window.
    frames: u32,
}

impl HeldFrames {
    /// One more frame of a message; without a session, reading pauses until the message has room.
    fn add(&mut self, key: DeliveryKey, session: Option<SessionId>) {
        // The key may be another message's by now, of another session, whose frames are not released yet.
        let at = self
            .0
            .iter()
            .position(|held| held.key == key && held.session == session)
            .unwrap_or_else(|| {
                self.0.push(Held {
                    key,
                    session,
                    frames: 0,
                });
                self.0.len() - 1
            });
        self.0[at].frames += u32::from(session.is_some());
    }

    /// Gives the frames of messages that are not full any more back to their sessions.
    fn release(
        &mut self,
        mut is_full: impl FnMut(DeliveryKey) -> bool,
        mut give_back: impl FnMut(SessionId, u32),
    ) {
        self.0.retain(|held| {
            let full = is_full(held.key);
            if let (Some(session), false) = (held.session, full) {
                give_back(session, held.frames);
            }
            full
        });
    }

    /// A message waits that no session can be made to wait for.
    fn pauses_reading(&self) -> bool {
        self.0.iter().any(|held| held.session.is_none())
    }

    /// The message with most frames of each session that is `narrow`.
    fn most_of(&self, narrow: impl Fn(SessionId) -> bool) -> Vec<DeliveryKey> {
        let mut most: Vec<(SessionId, u32, DeliveryKey)> = Vec::new();
        for held in &self.0 {
            let Some(session) = held.session.filter(|&id| narrow(id)) else {
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
        self.held.add(key, session);
        if let Some(session) = session {
            self.engine.hold_window(session, 1);
            if self.engine.is_window_held(session) {
                self.watch_waiting();
            }
        }
    }

    /// Lets the senders go on whose messages have room again, or have ended.
    pub(super) fn release_held(&mut self) {
        let Self {
            held,
            incoming,
            engine,
            ..
        } = self;
        let is_full = |key: DeliveryKey| {
            incoming
                .get_mut(key.0 as usize)
                .and_then(Option::as_mut)
                .is_some_and(|incoming| {
                    incoming
                        .branches()
                        .iter()
                        .any(|branch| !has_room(&branch.delivery))
                })
        };
        held.release(is_full, |session, frames| {
            engine.release_window(session, frames);
        });
    }

    /// Nothing is read while the sink of a client's message is full, too much waits for all of them, or the control task
    /// is behind with what came here.
    pub(super) fn is_paused(&self) -> bool {
        self.crowd.is_full() || self.told > TOLD_LIMIT || self.held.pauses_reading()
    }

    /// The message that takes most of a session's window, where others lack it: one of each such session.
    pub(super) fn narrowing(&self) -> Vec<DeliveryKey> {
        self.held.most_of(|id| self.engine.is_window_held(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: DeliveryKey = DeliveryKey(7);
    const OTHER: DeliveryKey = DeliveryKey(8);
    const FIRST: SessionId = SessionId(0);
    const SECOND: SessionId = SessionId(1);

    /// What each session gets back once `full` are the only messages without room.
    fn released(held: &mut HeldFrames, full: &[DeliveryKey]) -> Vec<(SessionId, u32)> {
        let mut given = Vec::new();
        held.release(
            |key| full.contains(&key),
            |session, frames| given.push((session, frames)),
        );
        given
    }

    #[test]
    fn a_key_that_is_used_again_takes_nothing_of_another_sessions_window() {
        let mut held = HeldFrames::default();
        for _ in 0..3 {
            held.add(KEY, Some(FIRST));
        }
        // Its message has ended, and nobody has looked since.
        for _ in 0..2 {
            held.add(KEY, Some(SECOND));
        }
        assert_eq!(released(&mut held, &[KEY]), []);
        assert_eq!(released(&mut held, &[]), [(FIRST, 3), (SECOND, 2)]);
        assert_eq!(released(&mut held, &[]), [], "once");
    }

    #[test]
    fn each_narrow_session_names_the_message_with_most_of_its_frames() {
        let mut held = HeldFrames::default();
        for (key, session, frames) in [(KEY, FIRST, 1), (OTHER, FIRST, 3), (KEY, SECOND, 9)] {
            for _ in 0..frames {
                held.add(key, Some(session));
            }
        }
        assert_eq!(held.most_of(|session| session == FIRST), [OTHER]);
        assert_eq!(held.most_of(|_| true), [OTHER, KEY]);
    }

    #[test]
    fn a_message_of_a_client_pauses_reading_until_it_has_room() {
        let mut held = HeldFrames::default();
        held.add(OTHER, Some(FIRST));
        assert!(!held.pauses_reading());
        held.add(KEY, None);
        assert!(held.pauses_reading());
        assert_eq!(held.most_of(|_| true), [OTHER]);
        assert_eq!(released(&mut held, &[OTHER]), [], "it had no window");
        assert!(!held.pauses_reading());
    }
}
