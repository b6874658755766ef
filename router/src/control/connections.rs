//! Connections of the router and the groups they form.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
    /// Data connections that may be dead, with the octets they had received when that was suspected: their peer has made
    /// the main connection of the group anew, which C routers do under the name that the group always had.
    doubtful: BTreeMap<ConnectionId, u64>,
}

impl Connections {
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Arc<ConnectionHandle>> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ConnectionHandle>> {
        self.by_id.values()
    }

    fn insert(&mut self, connection: Arc<ConnectionHandle>) {
        if !connection.role.is_data() {
            self.doubt_group(&connection);
        }
        self.by_id.insert(connection.id, connection);
    }

    /// If `main` takes the place of another one, the data connections beside that have probably the same fate.
    fn doubt_group(&mut self, main: &ConnectionHandle) {
        let group = group_of(main);
        let of_group = |other: &&Arc<ConnectionHandle>| group_of(other) == group;
        let again = |other: &Arc<ConnectionHandle>| other.role == main.role;
        if group.is_none() || !self.iter().filter(of_group).any(again) {
            return;
        }
        let data = self.iter().filter(of_group);
        let doubtful: Vec<_> = data
            .filter(|data| data.role.is_data())
            .map(|data| (data.id, data.octets_in.load(Ordering::Relaxed)))
            .collect();
        self.doubtful.extend(doubtful);
    }

    /// Takes doubts away from connections that have received something since. True if there were any such.
    pub(super) fn settle_doubts(&mut self) -> bool {
        let doubtful = self.doubtful.len();
        let by_id = &self.by_id;
        self.doubtful.retain(|id, octets| {
            let connection = by_id.get(id);
            connection.is_some_and(|known| known.octets_in.load(Ordering::Relaxed) == *octets)
        });
        self.doubtful.len() != doubtful
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
        let mut groups: HashMap<Group<'_>, Vec<Arc<ConnectionHandle>>> = HashMap::new();
        let data = self.iter().filter(|connection| connection.role == data);
        for connection in data.filter(|data| !self.doubtful.contains_key(&data.id)) {
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

/// What the connections of a group have in common: correlator, ordinal, peer, and which side dials. Routers of 3.x whose
/// certificates get a new number make a second group of the same name, and put nothing new on the first one.
type Group<'a> = (&'a str, u64, &'a str, bool);

fn group_of(connection: &ConnectionHandle) -> Option<Group<'_>> {
    let facts = &connection.facts;
    let (group, ordinal) = (facts.group.as_deref()?, facts.group_ordinal.unwrap_or(0));
    Some((group, ordinal, &connection.container, connection.outgoing))
}

impl Control {
    pub(super) fn connection_up(&mut self, connection: Arc<ConnectionHandle>) {
        let id = connection.id;
        let uplink = connection.role == ConnectionRole::Edge
            && connection.outgoing
            && self.shared.space.edge;
        self.connections.insert(connection);
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
