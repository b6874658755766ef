//! Edge mode: the active uplink of an edge router and its proxies; and, on an interior, the tracking links of its edges.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use amqp::engine::LinkId;
use tracing::info;

use super::Control;
use crate::core::{connection::ConnectionId, connection_message::Command, table::ConsumerTarget};

/// Connections between edges and interiors.
#[derive(Debug, Default)]
pub(super) struct Uplinks {
    /// Open connections of this edge to interiors.
    candidates: BTreeSet<ConnectionId>,
    /// The one that carries links.
    active: Option<ConnectionId>,
    /// Interior: tracking links of edges.
    tracking: HashMap<ConnectionId, LinkId>,
}

impl Uplinks {
    pub(super) fn candidate(&mut self, id: ConnectionId) {
        self.candidates.insert(id);
    }

    pub(super) fn active(&self) -> Option<ConnectionId> {
        self.active
    }

    pub(super) fn tracking(&self, id: ConnectionId) -> Option<LinkId> {
        self.tracking.get(&id).copied()
    }

    pub(super) fn set_tracking(&mut self, id: ConnectionId, link: LinkId) {
        self.tracking.insert(id, link);
    }
}

impl Control {
    /// Activates an uplink if there is none, and represents local consumers and producers on it.
    pub(super) fn follow_uplink(&mut self) {
        if !self.shared.space.edge {
            return;
        }
        if self.uplinks.active.is_none()
            && let Some(id) = self.uplinks.candidates.first().copied()
            && let Some(connection) = self.connections.get(id)
        {
            info!(target: "router::core", interior = %connection.container, "uplink active");
            connection.command(Command::ActivateUplink);
            self.uplinks.active = Some(id);
        }
        let Some(connection) = self.uplinks.active.and_then(|id| self.connections.get(id)) else {
            return;
        };
        for (key, entry) in &mut self.addresses {
            let Some(address) = key.strip_prefix('M') else {
                continue;
            };
            let consumes = entry.has_local_consumers() && !self.draining;
            let produces = entry.has_producers();
            for (wanted, exists, consumer) in [
                (consumes, &mut entry.proxies.consumer, true),
                (produces, &mut entry.proxies.producer, false),
            ] {
                if wanted == *exists {
                    continue;
                }
                *exists = wanted;
                let address: Arc<str> = address.into();
                connection.command(match (wanted, consumer) {
                    (true, true) => Command::AttachConsumer(address),
                    (true, false) => Command::AttachProducer(address),
                    (false, consumer) => Command::DetachProxy { address, consumer },
                });
            }
        }
    }

    pub(super) fn uplink_down(&mut self, id: ConnectionId) {
        self.uplinks.candidates.remove(&id);
        self.uplinks.tracking.remove(&id);
        if self.uplinks.active != Some(id) {
            return;
        }
        self.uplinks.active = None;
        for entry in self.addresses.values_mut() {
            entry.proxies = super::addresses::Proxies::default();
            entry.consumers.retain(|consumer| !consumer.proxy);
        }
    }

    /// Edge router: the link for local producers of an address is attached; it is used once the interior says that the
    /// address is reachable.
    pub(super) fn proxy_up(&mut self, connection: ConnectionId, link: LinkId, address: &str) {
        if self.uplinks.active != Some(connection) {
            return;
        }
        if let Some(entry) = self.addresses.get_mut(format!("M{address}").as_str()) {
            entry.proxies.link = Some(link);
        }
    }

    /// Edge router: the interior told whether an address is reachable.
    pub(super) fn reachable(&mut self, connection: ConnectionId, key: &str, reachable: bool) {
        if self.uplinks.active != Some(connection) {
            return;
        }
        let Some(handle) = self.connections.get(connection).cloned() else {
            return;
        };
        let Some((key, link)) = self
            .addresses
            .get_key_value(key)
            .map(|(key, entry)| (key.clone(), entry.proxies.link))
        else {
            return;
        };
        self.remove_consumers(&key, |consumer| consumer.proxy);
        if let (true, Some(link)) = (reachable, link) {
            self.consumer_keys.insert((connection, link), key.clone());
            self.add_consumer(
                &key,
                ConsumerTarget::Link(handle, link),
                Arc::default(),
                true,
            );
        }
    }
}
