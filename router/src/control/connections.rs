//! Connections of the router and the groups they form.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use amqp::performative::Condition;

use super::Control;
use crate::{
    core::{
        connection::{ConnectionHandle, ConnectionId, ConnectionRole},
        connection_message::Command,
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

    /// The main connections, this one excepted, of which it is a newer edition: of the same group, or of its certificates
    /// before these.
    pub(super) fn earlier(&self, main: ConnectionId) -> Vec<ConnectionId> {
        let key = |connection: &ConnectionHandle| {
            let (group, ordinal, container, outgoing) = group_of(connection)?;
            Some(((group.to_owned(), container.to_owned(), outgoing), ordinal))
        };
        let Some((this, (group, ordinal))) =
            self.get(main).and_then(|this| Some((this, key(this)?)))
        else {
            return Vec::new();
        };
        self.iter()
            .filter(|other| other.role == this.role && other.id < main)
            .filter(|other| key(other).is_some_and(|(of, before)| of == group && before <= ordinal))
            .map(|other| other.id)
            .collect()
    }

    /// True if it is a main connection of a peer that has one of newer certificates in the same group.
    fn is_outdated(&self, main: ConnectionId) -> bool {
        let Some(this) = self.get(main).filter(|this| !this.outgoing) else {
            return false;
        };
        let Some((group, ordinal, container, _)) = group_of(this) else {
            return false;
        };
        self.iter()
            .filter(|other| other.role == this.role)
            .filter_map(|other| group_of(other))
            .any(|other| {
                other.0 == group && (other.2, other.3) == (container, false) && other.1 > ordinal
            })
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
        if self.refuse_outdated(id) {
            return;
        }
        if uplink {
            self.uplinks.candidate(id);
        }
        self.dirty = true;
    }

    /// Closes a connection if there is a newer one of its group, as routers of 3.x do. True if so.
    pub(super) fn refuse_outdated(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else {
            return false;
        };
        let refused =
            connection.role == ConnectionRole::InterRouter && self.connections.is_outdated(id);
        if refused {
            let text = "Existing connection takes precedence";
            let condition = Condition::new("amqp:connection:forced", text);
            connection.command(Command::Close(Some(condition)));
        }
        refused
    }

    pub(super) fn connection_down(&mut self, id: ConnectionId) {
        self.connections.by_id.remove(&id);
        if let Some(routing) = &mut self.routing {
            routing.link_down(ControlLink(id.0), Instant::now());
        }
        self.forget_connection(id);
        self.shared.requests.forget(id);
        self.uplink_down(id);
        self.edges_moved(Some(id));
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::connection::tests::peer;

    fn handle(id: u64, role: ConnectionRole, group: &str, ordinal: u64) -> Arc<ConnectionHandle> {
        let mut handle = peer(None, false);
        handle.id = ConnectionId(id);
        handle.role = role;
        handle.facts.group = Some(group.to_owned());
        handle.facts.group_ordinal = Some(ordinal);
        Arc::new(handle)
    }

    fn data_of(connections: &Connections, main: u64) -> Vec<u64> {
        let neighbours = connections.neighbours();
        neighbours[&main]
            .data
            .iter()
            .map(|data| data.id.0)
            .collect()
    }

    const MAIN: ConnectionRole = ConnectionRole::InterRouter;
    const DATA: ConnectionRole = ConnectionRole::InterRouterData;

    #[test]
    fn data_connections_may_come_before_their_main_connection() {
        let mut connections = Connections::default();
        connections.insert(handle(1, DATA, "g", 0));
        connections.insert(handle(2, MAIN, "g", 0));
        connections.insert(handle(3, DATA, "g", 0));
        connections.insert(handle(4, DATA, "other", 0));
        assert_eq!(data_of(&connections, 2), [1, 3]);
        assert!(connections.earlier(ConnectionId(2)).is_empty());
    }

    #[test]
    fn those_beside_an_outdated_main_connection_have_to_show_that_they_live() {
        let mut connections = Connections::default();
        let alive = handle(2, DATA, "g", 0);
        for connection in [
            handle(1, MAIN, "g", 0),
            alive.clone(),
            handle(3, DATA, "g", 0),
        ] {
            connections.insert(connection);
        }
        connections.insert(handle(4, MAIN, "g", 0));
        connections.insert(handle(5, DATA, "g", 0));
        assert_eq!(connections.earlier(ConnectionId(4)), [ConnectionId(1)]);
        assert_eq!(data_of(&connections, 4), [5]);
        assert!(!connections.settle_doubts());
        alive.octets_in.fetch_add(8, Ordering::Relaxed);
        assert!(connections.settle_doubts());
        assert_eq!(data_of(&connections, 4), [2, 5]);
        // One that is gone is no matter of doubt.
        connections.by_id.remove(&ConnectionId(3));
        assert!(connections.settle_doubts() && connections.doubtful.is_empty());
    }

    #[test]
    fn groups_of_new_certificates_are_apart_from_those_of_old_ones() {
        let mut connections = Connections::default();
        for connection in [
            handle(1, MAIN, "g", 1),
            handle(2, DATA, "g", 1),
            handle(3, DATA, "g", 2),
            handle(4, MAIN, "g", 2),
        ] {
            connections.insert(connection);
        }
        assert_eq!(data_of(&connections, 1), [2]);
        assert_eq!(data_of(&connections, 4), [3]);
        assert_eq!(connections.earlier(ConnectionId(4)), [ConnectionId(1)]);
        assert!(!connections.is_outdated(ConnectionId(4)));
        // An old edition that comes late takes nobody's place.
        connections.insert(handle(5, MAIN, "g", 1));
        assert_eq!(connections.earlier(ConnectionId(5)), [ConnectionId(1)]);
        assert!(connections.is_outdated(ConnectionId(5)));
        for (id, group) in [(6, "other"), (7, "g")] {
            connections.by_id.remove(&ConnectionId(4));
            connections.insert(handle(id, MAIN, group, 1));
            assert!(!connections.is_outdated(ConnectionId(id)));
        }
    }
}
