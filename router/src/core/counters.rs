//! Counters of the whole router.

use std::sync::atomic::{AtomicU64, Ordering};

use super::connection::ConnectionRole;

/// Counters of the whole router, as management and metrics show them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Deliveries that came from clients, edge routers and adaptors.
    pub ingress: AtomicU64,
    /// Deliveries that left to clients, edge routers and adaptors.
    pub egress: AtomicU64,
    /// Deliveries that left to interior routers.
    pub transit: AtomicU64,
    /// Outcomes seen on deliveries.
    pub accepted: AtomicU64,
    /// See `accepted`.
    pub rejected: AtomicU64,
    /// See `accepted`.
    pub released: AtomicU64,
    /// See `accepted`.
    pub modified: AtomicU64,
    /// Pre-settled deliveries.
    pub presettled: AtomicU64,
    /// Pre-settled deliveries thrown away for newer ones.
    pub dropped_presettled: AtomicU64,
    /// Messages other than streams that had their outcome after one to ten seconds.
    pub delayed_1_sec: AtomicU64,
    /// The same after more than ten seconds.
    pub delayed_10_sec: AtomicU64,
    /// Messages other than streams that wait for their outcome for long, as of a few seconds ago.
    pub stuck: AtomicU64,
    /// Links on which this router has had no credit for long, as of a few seconds ago.
    pub links_blocked: AtomicU64,
    /// TCP streams that were translated between framings.
    pub streams_translated: AtomicU64,
    /// Messages broken off because too much waited for their readers, on their connection or in their session.
    pub broken_off: AtomicU64,
    /// AMQP connections that were opened so far.
    pub amqp_opened: AtomicU64,
    /// AMQP connections now open.
    pub amqp_connections: AtomicU64,
    /// Of these, the ones that are no connections between routers.
    pub amqp_clients: AtomicU64,
    /// Links now attached.
    pub links: AtomicU64,
    /// Addresses that the router serves itself, and those of other routers: not in the table.
    pub own_addresses: AtomicU64,
    /// Connections that ended before they were established: TLS failed, or the peer was too slow.
    pub handshakes_failed: AtomicU64,
    /// Connections that were closed at once, because their listener had as many as it may.
    pub connections_refused: AtomicU64,
    /// Links and messages to management that were refused for want of access.
    pub management_refused: AtomicU64,
    /// Connections ended, and messages between routers ignored, because the peer broke the protocol or a limit.
    pub protocol_violations: AtomicU64,
    /// Links that peers attached and this router refused, other than to management.
    pub links_refused: AtomicU64,
    /// Messages of the routing protocol that were refused as a whole or in part.
    pub routing_refused: AtomicU64,
    /// Management requests that were refused because too much of their connection waits, or nobody reads the answers.
    pub requests_refused: AtomicU64,
}

impl Counters {
    /// Counts an AMQP connection after both Opens.
    pub fn connection_opened(&self, role: ConnectionRole) {
        self.amqp_opened.fetch_add(1, Ordering::Relaxed);
        self.amqp_connections.fetch_add(1, Ordering::Relaxed);
        if role == ConnectionRole::Normal {
            self.amqp_clients.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its end.
    pub fn connection_ended(&self, role: ConnectionRole) {
        self.amqp_connections.fetch_sub(1, Ordering::Relaxed);
        if role == ConnectionRole::Normal {
            self.amqp_clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that was not established.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }
}
