//! Edge mode: the active uplink of an edge router and its proxies; and, on an interior, the tracking links of its edges.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use amqp::engine::LinkId;
use tracing::info;

use super::{
    Control,
    addresses::{Proxies, tracking_message},
};
use crate::core::{
    connection::{ConnectionId, ConnectionRole},
    connection_message::{Command, Via},
    idle::IdleWatch,
    table::ConsumerTarget,
};

/// What stands in the place of a key in a message on the tracking link: the interior router is about to end. Edges of C
/// routers, and older ones of this implementation, know no such address.
const LEAVING: &str = "$skupper.leaving";
/// Edges have so long to go elsewhere before an interior router that ends withdraws their addresses.
const MOVING: Duration = Duration::from_secs(2);
/// After so long the network knows that this edge is elsewhere.
const MOVED: Duration = Duration::from_millis(500);

/// Connections between edges and interiors.
#[derive(Debug, Default)]
pub(super) struct Uplinks {
    /// Open connections of this edge to interiors that stay.
    candidates: BTreeSet<ConnectionId>,
    /// The one that carries links. It is no candidate if its interior is about to end: then the next one takes over.
    active: Option<ConnectionId>,
    /// Those that were active before, and since when they are not. What is under way there ends in peace.
    former: Vec<(ConnectionId, Instant)>,
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

/// Edges of an interior router that is about to end.
#[derive(Debug)]
pub(super) struct Moving {
    edges: BTreeSet<ConnectionId>,
    until: Instant,
    /// The router does not end before.
    watches: Vec<IdleWatch>,
}

impl Moving {
    /// It is not yet known whether that edge goes elsewhere.
    pub(super) fn concerns(&self, edge: ConnectionId) -> bool {
        self.edges.contains(&edge)
    }

    pub(super) fn wait_for(&mut self, watch: IdleWatch) {
        watch.note_busy();
        self.watches.push(watch);
    }
}

impl Control {
    /// This interior router is about to end. Edges of this implementation are told, and go elsewhere if they can while
    /// what is under way ends here. Others learn it by the orderly end of their connection, once nothing is under way
    /// on it; so do those that only keep this router as a second choice.
    pub(super) fn send_edges_elsewhere(&mut self) {
        let mut edges = BTreeSet::new();
        let connections = self.connections.iter();
        for edge in connections.filter(|edge| edge.role == ConnectionRole::Edge && !edge.outgoing) {
            match self.uplinks.tracking(edge.id).filter(|_| edge.own_peer) {
                Some(link) => {
                    edge.deliver(Via::Link(link), Arc::new(tracking_message(LEAVING, true)));
                    edges.insert(edge.id);
                }
                None => {
                    edge.command(Command::Retire);
                }
            }
        }
        self.moving = (!edges.is_empty()).then(|| Moving {
            edges,
            until: Instant::now() + MOVING,
            watches: Vec::new(),
        });
    }

    /// Edges have gone elsewhere, or had their time for it. `gone` is one that has.
    pub(super) fn edges_moved(&mut self, gone: Option<ConnectionId>) {
        let Some(moving) = &mut self.moving else {
            return;
        };
        if let Some(gone) = gone {
            moving.edges.remove(&gone);
        }
        if moving.edges.is_empty() || moving.until <= Instant::now() {
            self.moving = None;
            self.dirty = true;
        }
    }

    /// Edge router: ends connections of interiors that are about to end, once nothing can come there any more.
    pub(super) fn retire_uplinks(&mut self) {
        let former = std::mem::take(&mut self.uplinks.former);
        let (due, rest): (Vec<_>, Vec<_>) = former
            .into_iter()
            .partition(|(_, since)| since.elapsed() >= MOVED);
        self.uplinks.former = rest;
        if due.is_empty() {
            return;
        }
        let beside = self.connections.edges();
        for (id, _) in due {
            let data = beside.get(&id).into_iter().flat_map(|pool| &pool.data);
            for connection in self.connections.get(id).into_iter().chain(data) {
                connection.command(Command::Retire);
            }
        }
    }

    /// Activates an uplink if there is none, or none that stays, and represents local consumers and producers on it.
    pub(super) fn follow_uplink(&mut self) {
        if !self.shared.space.edge {
            return;
        }
        let stays = |id: ConnectionId| self.uplinks.candidates.contains(&id);
        if !self.uplinks.active.is_some_and(stays)
            && let Some(id) = self.uplinks.candidates.first().copied()
            && let Some(connection) = self.connections.get(id)
        {
            info!(target: "router::core", interior = %connection.container, "uplink active");
            connection.command(Command::ActivateUplink);
            if let Some(former) = self.uplinks.active.replace(id) {
                self.uplinks.former.push((former, Instant::now()));
                // Its proxies carry what there is until the new ones are known to lead somewhere.
                for entry in self.addresses.values_mut() {
                    entry.proxies = Proxies::default();
                }
            }
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
        self.uplinks.former.retain(|(former, _)| *former != id);
        if self.uplinks.active != Some(id) {
            return;
        }
        self.uplinks.active = None;
        for entry in self.addresses.values_mut() {
            entry.proxies = Proxies::default();
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
        if key == LEAVING {
            self.uplinks.candidates.remove(&connection);
            handle.leaving.cancel();
            self.dirty = true;
            return;
        }
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
