//! The state machines of a connection with its sessions and links (part 2), and the SASL exchange before it (part 5).
//!
//! A [`Connection`] takes octets with [`receive`](Connection::receive), reports what happened as [`Event`]s, and keeps
//! the octets it wants sent in a [`Transmit`] queue. It does by itself what has one right answer: it answers Begin,
//! End and Close, keeps session windows, numbers deliveries, sends keep-alives. What is a decision stays with the
//! application: whether to open, accept a link, grant credit, settle.
//!
//! Memory is bounded: by frame size and [`Connection::EVENT_LIMIT`] on input, by the budget of
//! [`send`](Connection::send) on output, by the limits of [`ConnectionConfig`] for everything that is kept.
//!
//! Identifiers ([`SessionId`], [`LinkId`], [`DeliveryKey`]) may be used after what they name is gone: such calls do
//! nothing. They are reused, but never while an event that carries them waits in the queue.

mod config;
mod connection;
mod delivery;
mod disposition;
mod error;
mod event;
mod flow;
mod handshake;
mod input;
mod link;
mod send;
mod session;
mod table;
mod timer;
mod transfer;
mod transmit;
mod trim;

pub use config::{ClientSasl, ConnectionConfig, Password, PasswordCheck, ServerSasl};
pub use connection::{Connection, Load};
pub use disposition::FIRST_STATE_LIMIT;
pub use error::{ConnectionError, EngineError};
pub use event::{DeliveryKey, Event, LinkId, Sent, SessionId};
pub use transmit::Transmit;
