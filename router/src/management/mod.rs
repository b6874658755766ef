//! The management node: a view of this router as AMQP entities, and a client for it.
//!
//! ```text
//! request message ─► handle ─┬─► entity table ─► rows of a Source ─► reply message
//!                            └─► Change ─► config::Live ─► Changed ─► reply message
//! ```
//!
//! Who may ask and who may change says [`crate::core::access`]. Entity names, attribute names and AMQP types are those of the C routers, so that their tools work.

mod agent;
mod change;
pub mod client;
mod configured;
mod entity;
mod query;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use model::router_config::RouterConfig;

pub use self::{
    agent::{Handled, handle},
    change::{Action, Change, ChangeError, Changed},
    query::{Answer, Query},
    rows::{
        AddressRow, AllocatorRow, ConnectionRow, LinkRow, ListenerAddressRow, NodeRow, RouterRow,
        TcpConnectionRow, TcpConnectorRow, TcpListenerRow,
    },
};

use crate::core::control_message::ConnectorState;
pub use crate::logging::{LogCounts, LogLine};

/// Counters of the row of the policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyCounts {
    /// Connections that were opened or refused since the router started.
    pub connections_processed: u64,
    /// Connections that were refused.
    pub connections_denied: u64,
    /// Connections now open.
    pub connections_current: u64,
    /// Links that were refused for want of access.
    pub links_denied: u64,
}

/// Rows that are made when they are looked at: there may be hundreds of thousands. They show what there was when they
/// were asked for, and hold on to it.
pub type Rows<T> = Box<dyn Iterator<Item = T> + Send>;

/// Rows made of things by a function. Things that are skipped (`nth`) are not made rows of.
pub fn rows_of<T, R>(
    things: impl Iterator<Item = T> + Send + 'static,
    make: impl FnMut(T) -> R + Send + 'static,
) -> Rows<R> {
    Box::new(Made { things, make })
}

struct Made<I, F> {
    things: I,
    make: F,
}

impl<I: Iterator, R, F: FnMut(I::Item) -> R> Iterator for Made<I, F> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        self.things.next().map(&mut self.make)
    }

    fn nth(&mut self, index: usize) -> Option<R> {
        self.things.nth(index).map(&mut self.make)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.things.size_hint()
    }
}

/// Where the rows come from.
pub trait Source {
    /// The router itself.
    fn router(&self) -> RouterRow;
    /// AMQP connections and those of adaptors.
    fn connections(&self) -> Rows<ConnectionRow>;
    /// TCP connections of adaptors.
    fn tcp_connections(&self) -> Rows<TcpConnectionRow>;
    /// Routers of the network, this one included.
    fn nodes(&self) -> Vec<NodeRow>;
    /// Addresses known here.
    fn addresses(&self) -> Rows<AddressRow>;
    /// TCP listeners, configured and with their counters.
    fn tcp_listeners(&self) -> Rows<TcpListenerRow>;
    /// Addresses of TCP listeners that have several.
    fn listener_addresses(&self) -> Vec<ListenerAddressRow>;
    /// TCP connectors, configured and with their counters.
    fn tcp_connectors(&self) -> Rows<TcpConnectorRow>;
    /// What the router holds.
    fn allocations(&self) -> Vec<AllocatorRow>;
    /// Links of all connections.
    fn links(&self) -> Rows<LinkRow>;
    /// What the row of the policy counts.
    fn policy(&self) -> PolicyCounts;
    /// Configuration in force: listeners, connectors, profiles, addresses, logs, site.
    fn config(&self) -> Arc<RouterConfig>;
    /// Recent log lines, oldest first.
    fn log_lines(&self) -> Vec<LogLine>;
    /// Lines written so far by module.
    fn log_counts(&self) -> BTreeMap<&'static str, LogCounts>;
    /// By connector name.
    fn connector_states(&self) -> BTreeMap<String, ConnectorState>;
}
