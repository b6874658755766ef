#![forbid(unsafe_code)]
//! AMQP 1.0 without I/O: octets in, events out, octets out.
//!
//! The crate knows no sockets, no clock and no runtime; whoever drives it reads and writes the octets and passes the
//! time in. Section numbers in the documentation are those of the OASIS AMQP 1.0 standard, with the part's number
//! first: 1 types, 2 transport, 3 messaging, 5 security.
//!
//! ```text
//!  octets ──► engine::Connection::receive ──► Event ──► application
//!  octets ◄── engine::Transmit            ◄── attach, grant, send, disposition, …
//! ```
//!
//! Layers, from the bottom: [`types`] (values), [`frame`] and [`performative`] (what frames hold), [`sasl`],
//! [`message`] (the sections of a message), [`engine`] (the state machines of connection, sessions and links).

mod codec;
pub mod engine;
pub mod frame;
pub mod message;
pub mod performative;
pub mod sasl;
pub mod types;

pub use bytes::{Bytes, BytesMut};
pub use codec::{DecodeError, MAX_DEPTH, MAX_ZERO_WIDTH};
pub use performative::{Condition, DeliveryState, Role};
pub use types::{Described, Symbol, Value};
