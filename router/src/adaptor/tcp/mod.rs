//! TCP adaptor: every connection of a client becomes two endless messages.
//!
//! ```text
//!  client ─► listener flow ══ forward: to = service address, reply-to ══► connector flow ─► server
//!         ◄─               ◄══ reverse: to = that reply address ═════════                ◄─
//! ```
//!
//! Two framings exist in the network, *legacy* (DATA sections) and *lite* (raw octets behind an empty body);
//! see [`framing`]. Where client and server do not share one, a router on the way translates; see [`bridge`]. Both sides
//! bound what is under way by a window of octets that the far side acknowledges with `received` states; see [`pump`]
//! and [`window`]. Either side may use TLS; see [`tls`].

pub(crate) mod bridge;
mod connector;
mod findings;
pub mod framing;
mod half_close;
mod listener;
mod opening;
mod pump;
mod reply;
mod socket;
mod targets;
mod tls;
mod window;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub use self::{
    bridge::Bridge,
    connector::TcpConnector,
    findings::{Doubt, Findings},
    framing::Framing,
    listener::TcpListener,
    reply::ReplySlot,
    targets::Target,
};
pub(crate) use self::{
    listener::{bind, host_port, is_of},
    window::granted,
};

/// Address of a service as the network knows it: that of the entity, behind the name of the tenant if there is one.
fn service_address(tenant: Option<&str>, address: &str) -> Arc<str> {
    match tenant {
        Some(tenant) => format!("{tenant}/{address}").into(),
        None => address.into(),
    }
}

/// Counters of a listener or connector, as management shows them.
#[derive(Debug, Default)]
pub struct FlowCounters {
    /// Connections accepted or dialled.
    pub opened: AtomicU64,
    /// Of these, ended.
    pub closed: AtomicU64,
    /// Octets read from client or server.
    pub octets_in: AtomicU64,
    /// Octets written to client or server.
    pub octets_out: AtomicU64,
}

impl FlowCounters {
    /// Counts a flow as open until the guard is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> OpenFlow {
        self.opened.fetch_add(1, Ordering::Relaxed);
        OpenFlow(self.clone())
    }
}

/// A counted, open flow.
#[derive(Debug)]
pub(crate) struct OpenFlow(Arc<FlowCounters>);

impl Drop for OpenFlow {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}
