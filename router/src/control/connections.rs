//! Connections of the router and the groups they form.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use super::Control;
use crate::{
    core::{
        shared::{ConnectionHandle, ConnectionId, ConnectionRole},
        table::Neighbour,
    },
    routing::ControlLink,
};

/// All open connections, by number.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_id: BTreeMap<ConnectionId, Arc<ConnectionHandle>>,
}

impl Connections {
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Arc<ConnectionHandle>> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ConnectionHandle>> {
        self.by_id.values()
    }

    /// Control connections with the data connections of their groups, by the id of the control connection.
    pub(super) fn neighbours(&self) -> HashMap<u64, Arc<Neighbour>> {
        self.pools(ConnectionRole::InterRouter, ConnectionRole::InterRouterData)
            .map(|pool| (pool.control.id.0, Arc::new(pool)))
            .collect()
    }

    /// Connections of edges that have data connections beside them.
    pub(super) fn edges(&self) -> HashMap<ConnectionId, Arc<Neighbour>> {
        self.pools(ConnectionRole::Edge, ConnectionRole::EdgeData)
            .filter(|pool| !pool.data.is_empty())
            .map(|pool| (pool.control.id, Arc::new(pool)))
            .collect()
    }

    /// Connections of the role `main`, each with those of the role `data` that belong to its group. All members of a
    /// group end on the same router, and one side has dialled all of them.
    fn pools(&self, main: ConnectionRole, data: ConnectionRole) -> impl Iterator<Item = Neighbour> {
        let mut groups: HashMap<(&str, &str, bool), Vec<Arc<ConnectionHandle>>> = HashMap::new();
        for connection in self.iter().filter(|connection| connection.role == data) {
            if let Some(group) = group_of(connection) {
                groups.entry(group).or_default().push(connection.clone());
            }
        }
        self.iter()
            .filter(move |connection| connection.role == main)
            .map(move |control| Neighbour {
                control: control.clone(),
                data: group_of(control)
                    .and_then(|group| groups.get(&group))
                    .cloned()
                    .unwrap_or_default(),
                turn: AtomicUsize::new(0),
            })
    }
}

fn group_of(connection: &ConnectionHandle) -> Option<(&str, &str, bool)> {
    let group = connection.facts.group.as_deref()?;
    Some((group, &connection.container, connection.outgoing))
}

impl Control {
    pub(super) fn connection_up(&mut self, connection: Arc<ConnectionHandle>) {
        let id = connection.id;
        let uplink = connection.role == ConnectionRole::Edge
            && connection.outgoing
            && self.shared.space.edge;
        self.connections.by_id.insert(id, connection);
        if uplink {
            self.uplinks.candidate(id);
        }
        self.dirty = true;
    }

    pub(super) fn connection_down(&mut self, id: ConnectionId) {
        self.connections.by_id.remove(&id);
        if let Some(routing) = &mut self.routing {
            routing.link_down(ControlLink(id.0), Instant::now());
        }
        self.forget_connection(id);
        self.shared.requests.forget(id);
        self.uplink_down(id);
        self.dirty = true;
    }
}
