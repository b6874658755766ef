//! What happens to a message inside the router, without sockets: address keys, the immutable forwarding table, the
//! choice of destinations, and the [`delivery::Delivery`] that carries octets from where they arrive to where they leave.

pub mod access;
pub mod address;
pub mod annotations;
pub mod configured;
pub mod connection;
pub mod connection_message;
pub mod control_message;
pub mod counters;
pub mod delivery;
pub mod flows;
pub mod forward;
pub mod idle;
pub mod inbox;
pub mod links;
pub mod local;
mod offences;
pub mod readiness;
pub mod requests;
pub mod seats;
pub mod shared;
pub mod table;

pub(crate) use self::offences::Offence;
