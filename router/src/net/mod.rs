//! Sockets: TLS, AMQP listeners and connectors, connection drivers, the HTTP side.

pub mod connector;
pub mod driver;
pub mod http;
pub mod listener;
pub mod tls;
