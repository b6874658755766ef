//! How one side of a message is told that the other one did something.

use std::{fmt, sync::Arc, task::Waker};

use amqp::engine::{DeliveryKey, LinkId};

use crate::core::{connection_message::ConnectionMessage, inbox::Inbox};

/// Whom to wake when the other side did something.
#[derive(Clone)]
pub enum Wake {
    /// A task that polls the delivery itself.
    Task(Waker),
    /// The driver of a connection, told which outgoing link has octets to send.
    Outgoing(Arc<Inbox<ConnectionMessage>>, LinkId),
    /// The driver of a connection, told that the source of a message that it has sent has settled it.
    Settled(Arc<Inbox<ConnectionMessage>>, DeliveryKey),
    /// The driver of a connection, told which incoming delivery has feedback.
    Incoming(Arc<Inbox<ConnectionMessage>>, DeliveryKey),
}

impl Wake {
    pub(super) fn wake(&self) {
        // A refused push means that the driver is gone or drowning: it looks at all its deliveries when it ends.
        let _ = match self {
            Self::Task(waker) => {
                waker.wake_by_ref();
                Ok(())
            }
            Self::Outgoing(inbox, link) => inbox.push(ConnectionMessage::Ready(*link)),
            Self::Settled(inbox, delivery) => {
                inbox.push(ConnectionMessage::SourceSettled(*delivery))
            }
            Self::Incoming(inbox, delivery) => inbox.push(ConnectionMessage::Feedback(*delivery)),
        };
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(_) => f.write_str("Task"),
            Self::Outgoing(_, link) => write!(f, "Outgoing({link:?})"),
            Self::Settled(_, delivery) => write!(f, "Settled({delivery:?})"),
            Self::Incoming(_, delivery) => write!(f, "Incoming({delivery:?})"),
        }
    }
}

/// One of the two sides of a message.
#[derive(Default)]
pub(super) struct Side {
    pub(super) wake: Option<Wake>,
    /// Something new for this side since it last looked; it has been woken.
    pub(super) notified: bool,
}

impl Side {
    /// Marks the side; returns whom to wake if it was not marked yet.
    pub(super) fn notify(&mut self) -> Option<Wake> {
        if self.notified {
            return None;
        }
        self.notified = true;
        self.wake.clone()
    }
}
