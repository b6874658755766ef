//! What the driver of a connection is told: messages to send, news of those under way, and what the control task wants
//! done.

use std::sync::Arc;

use amqp::{
    engine::{DeliveryKey, LinkId},
    performative::Condition,
};

use super::{delivery::Delivery, idle::IdleWatch};

/// Messages that may wait for one connection; far above what link credit lets through.
pub const CONNECTION_INBOX: usize = 1 << 16;

/// How a message leaves on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// The control link.
    Control,
    /// The data link of the message's priority.
    Data,
    /// A streaming link of its own.
    Stream,
    /// One given outgoing link.
    Link(LinkId),
    /// The anonymous link of an edge router to its interior.
    Uplink,
}

/// Sent to the driver of a connection.
#[derive(Debug)]
pub enum ConnectionMessage {
    /// Send this message.
    Deliver { via: Via, delivery: Arc<Delivery> },
    /// An outgoing link's current message has new octets or has ended.
    Ready(LinkId),
    /// The source of a message that was sent has settled it.
    SourceSettled(DeliveryKey),
    /// An incoming message has feedback.
    Feedback(DeliveryKey),
    /// Something the control task wants done.
    Command(Command),
}

/// What the control task asks of a driver.
#[derive(Debug)]
pub enum Command {
    /// Give credit to a producer whose address got a destination.
    Credit(LinkId),
    /// Edge router: this connection is now the active uplink; attach the fixed links.
    ActivateUplink,
    /// Edge router: represent local consumers of the address.
    AttachConsumer(Arc<str>),
    /// Edge router: represent local producers of the address.
    AttachProducer(Arc<str>),
    /// Edge router: the last local consumer or producer of the address is gone.
    DetachProxy { address: Arc<str>, consumer: bool },
    /// Of what this driver has told the control task, so much ([`ControlMessage::weight`]) has been handled.
    ///
    /// [`ControlMessage::weight`]: super::control_message::ControlMessage::weight
    Handled(u32),
    /// Close the connection as soon as no message is under way on it.
    Retire,
    /// Another main connection has taken over: detach the control links, and retire once the peer knows it, too.
    HandOver,
    /// Let go of this as soon as no message is under way on the connection.
    WhenIdle(IdleWatch),
    /// Close the connection with this condition; none closes the socket without an AMQP close.
    Close(Option<Condition>),
}
