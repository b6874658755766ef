//! Sockets: TLS, AMQP listeners and connectors, connection drivers, the HTTP side.

pub(crate) mod complaints;
pub mod connector;
pub mod driver;
pub(crate) mod failover;
pub(crate) mod handshakes;
pub mod http;
pub mod listener;
pub(crate) mod proxy;
#[cfg(test)]
mod simulation;
pub mod tls;
