//! The application router: an AMQP 1.0 message router that speaks the wire protocol of the Skupper routers.
//!
//! ```text
//!  sockets ──► net::driver ──► amqp engine ──► core::forward ──► core::delivery ──► net::driver / adaptor ──► sockets
//!                   │                              ▲ table
//!                   └─ control messages ──► control (routing, addresses, management) ── publishes
//! ```
//!
//! Data stays on the worker that accepted it; everything about the network is the business of one control task.

pub mod adaptor;
pub mod config;
pub mod control;
pub mod core;
mod file_mark;
mod health;
pub mod logging;
pub mod management;
mod memory;
pub mod net;
mod router;
pub mod routing;
pub mod worker;

pub use self::router::{RouterError, RouterOptions, run};
