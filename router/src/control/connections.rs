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
    meshes: HashMap<ConnectionId, String>,
}

impl Connections {
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Arc<ConnectionHandle>> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ConnectionHandle>> {
        self.by_id.values()
    }

    pub(super) fn mesh(&self, id: ConnectionId) -> Option<&str> {
        self.meshes.get(&id).map(String::as_str)
    }

    pub(super) fn set_mesh(&mut self, id: ConnectionId, mesh: String) {
        if self.by_id.contains_key(&id) {
            self.meshes.insert(id, mesh);
        }
    }

    /// Control connections with the data connections of their groups.
    pub(super) fn neighbours(&self) -> HashMap<u64, Arc<Neighbour>> {
        let mut data: HashMap<(&str, bool), Vec<Arc<ConnectionHandle>>> = HashMap::new();
        for connection in self
            .iter()
            .filter(|connection| connection.role == ConnectionRole::InterRouterData)
        {
            if let Some(group) = &connection.facts.group {
                data.entry((group, connection.outgoing))
                    .or_default()
                    .push(connection.clone());
            }
        }
        self.iter()
            .filter(|connection| connection.role == ConnectionRole::InterRouter)
            .map(|control| {
                let group = control
                    .facts
                    .group
                    .as_deref()
                    .map(|group| (group, control.outgoing));
                let data = group
                    .and_then(|group| data.get(&group))
                    .cloned()
                    .unwrap_or_default();
                // Members of a group must end on the same router.
                let data = data
                    .into_iter()
                    .filter(|member| member.container == control.container)
                    .collect();
                (
                    control.id.0,
                    Arc::new(Neighbour {
                        control: control.clone(),
                        data,
                        turn: AtomicUsize::new(0),
                    }),
                )
            })
            .collect()
    }
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
        self.connections.meshes.remove(&id);
        if let Some(routing) = &mut self.routing {
            routing.link_down(ControlLink(id.0), Instant::now());
        }
        self.forget_connection(id);
        self.uplink_down(id);
        self.dirty = true;
    }
}
