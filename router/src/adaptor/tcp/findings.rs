//! What is known of the framing of consumers.
//!
//! Nothing in the network says which framing the connectors of an address understand, so this router goes by evidence:
//!
//! | consumer | expected |
//! |---|---|
//! | tcpConnector of this router | what its `encapsulation` says; without one, any |
//! | reached over a router of this implementation | any: the router that is nearer to the consumer translates |
//! | an opener found it out within the last minute | what it found |
//! | at a neighbour or edge with a C router before 2.5 | legacy; it knows nothing else, and does not notice |
//! | at a neighbour or edge with 2.5 to 2.7 | probably legacy; `encapsulation` could say lite there |
//! | at a neighbour or edge with 3.0 or later | lite; edges behind it may differ |
//! | farther away | probably what the next router speaks, as long as no neighbour speaks the other framing; else open |
//!
//! A finding belongs to one address at one [`Destination`], so that connectors of both kinds can serve one address. It
//! is dropped when the destination restarts, is gone, or (lite) releases an opener. A release of a legacy opener may
//! also mean that the server refuses connections: it puts in doubt what was only expected, not what was found.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Framing;
use crate::core::{
    connection::{ConnectionHandle, ConnectionRole},
    forward::{Destination, Sink},
    table::Table,
};

/// How long a finding is believed.
const TTL: Duration = Duration::from_secs(60);
/// Findings kept; beyond it all are forgotten, and found again.
const LIMIT: usize = 8192;
/// First release that knows lite framing.
const FIRST_LITE: (u32, u32) = (2, 5);
/// First release that knows nothing else.
const ONLY_LITE: (u32, u32) = (3, 0);

/// Framing that a consumer is expected to understand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expectation {
    /// Each, and it answers in the one in which it is asked.
    Any,
    /// This one, by its release, its configuration or an earlier stream.
    Only(Framing),
    /// This one, as far as the network looks from here.
    Probably(Framing),
    /// Either.
    Open,
}

/// One address at one destination.
#[derive(Clone, Debug)]
pub(crate) struct Counterpart {
    destination: Destination,
    /// Boot identity of the destination's router, 0 where it does not count.
    instance: i64,
    address: Arc<str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Finding {
    Speaks(Framing),
    /// What was expected turned out wrong.
    Doubtful,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    finding: Finding,
    instance: i64,
    at: Instant,
}

/// What openers found out, for a minute.
#[derive(Debug, Default)]
pub struct Findings(Mutex<HashMap<Destination, HashMap<Arc<str>, Entry>>>);

impl Findings {
    /// What to expect of the consumer behind `sink`, and where to note what turns out; none where nothing has to be
    /// found out.
    pub(crate) fn expect(
        &self,
        table: &Table,
        address: &str,
        sink: &Sink,
    ) -> (Expectation, Option<Counterpart>) {
        let (connection, destination) = match sink {
            Sink::Tcp { connector, .. } => {
                let framing = connector.framing();
                return (framing.map_or(Expectation::Any, Expectation::Only), None);
            }
            Sink::Connection {
                connection,
                destination: Some(destination),
                ..
            } if connection.role != ConnectionRole::Normal && !connection.own_peer => {
                (connection, destination)
            }
            _ => return (Expectation::Any, None),
        };
        let instance = match destination {
            Destination::Router(id) => table.routes.routers.get(id).map_or(0, |r| r.instance),
            Destination::Link(..) | Destination::Uplink(_) => 0,
        };
        let found = self.recall(destination, instance, address);
        let expectation = match found {
            Some(Finding::Speaks(framing)) => Expectation::Only(framing),
            Some(Finding::Doubtful) => Expectation::Open,
            None => by_release(table, connection, destination),
        };
        let counterpart = Counterpart {
            destination: destination.clone(),
            instance,
            address: address.into(),
        };
        (expectation, Some(counterpart))
    }

    /// An opener in `framing` was answered in kind, or one in the other framing was not understood.
    pub(crate) fn found(&self, counterpart: Option<&Counterpart>, framing: Framing) {
        self.note(counterpart, Finding::Speaks(framing));
    }

    /// An opener in `framing` that went to `counterpart` was released.
    pub(crate) fn released(&self, counterpart: Option<&Counterpart>, framing: Framing) {
        let Some(counterpart) = counterpart else {
            return;
        };
        if framing == Framing::Legacy
            && self.recall(
                &counterpart.destination,
                counterpart.instance,
                &counterpart.address,
            ) == Some(Finding::Speaks(Framing::Legacy))
        {
            return;
        }
        self.note(Some(counterpart), Finding::Doubtful);
    }

    fn note(&self, counterpart: Option<&Counterpart>, finding: Finding) {
        let Some(counterpart) = counterpart else {
            return;
        };
        let mut findings = self.lock();
        if findings.values().map(HashMap::len).sum::<usize>() >= LIMIT {
            findings.clear();
        }
        let entry = Entry {
            finding,
            instance: counterpart.instance,
            at: Instant::now(),
        };
        let known = findings.entry(counterpart.destination.clone()).or_default();
        match known.get_mut(&counterpart.address) {
            // Found again does not mean believed longer: the probe once a minute is what finds changes.
            Some(old) if old.finding == finding && old.is_valid(counterpart.instance) => {}
            Some(old) => *old = entry,
            None => {
                known.insert(counterpart.address.clone(), entry);
            }
        }
    }

    fn recall(&self, destination: &Destination, instance: i64, address: &str) -> Option<Finding> {
        let findings = self.lock();
        let entry = findings.get(destination)?.get(address)?;
        entry.is_valid(instance).then_some(entry.finding)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, HashMap<Arc<str>, Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_valid(&self, instance: i64) -> bool {
        self.instance == instance && self.at.elapsed() < TTL
    }
}

/// Framing of a C router's own connectors, and whether it knows no other.
fn spoken_by(release: (u32, u32)) -> (Framing, bool) {
    match release {
        release if release < FIRST_LITE => (Framing::Legacy, true),
        release if release < ONLY_LITE => (Framing::Legacy, false),
        _ => (Framing::Lite, true),
    }
}

fn by_release(
    table: &Table,
    connection: &ConnectionHandle,
    destination: &Destination,
) -> Expectation {
    let itself = match destination {
        Destination::Link(..) => Some(connection),
        Destination::Uplink(_) => None,
        Destination::Router(id) => table
            .routes
            .routers
            .get(id)
            .and_then(|route| route.neighbour_link)
            .and_then(|link| table.neighbours.get(&link.0))
            .map(|neighbour| &*neighbour.control),
    };
    if let Some(router) = itself {
        return match router.release().map(spoken_by) {
            _ if router.own_peer => Expectation::Any,
            Some((framing, true)) => Expectation::Only(framing),
            Some((framing, false)) => Expectation::Probably(framing),
            None => Expectation::Open,
        };
    }
    let Some((framing, _)) = connection.release().map(spoken_by) else {
        return Expectation::Open;
    };
    let uniform = table
        .neighbours
        .values()
        .filter_map(|neighbour| neighbour.control.release())
        .all(|release| spoken_by(release).0 == framing);
    if uniform {
        Expectation::Probably(framing)
    } else {
        Expectation::Open
    }
}

/// Told when the opener that a message began with is released.
#[derive(Clone, Debug)]
pub struct Doubt {
    findings: Arc<Findings>,
    counterpart: Counterpart,
    framing: Framing,
}

impl Doubt {
    pub(crate) fn new(
        findings: &Arc<Findings>,
        counterpart: Counterpart,
        framing: Framing,
    ) -> Self {
        Self {
            findings: findings.clone(),
            counterpart,
            framing,
        }
    }

    /// The opener was released.
    pub(crate) fn raise(&self) {
        self.findings
            .released(Some(&self.counterpart), self.framing);
    }
}

#[cfg(test)]
mod tests;
