//! Addresses: MAU announces them, MAR asks for all of a router.
//!
//! Changes of the own set are collected for one tick and go out as one differential MAU with the next sequence number,
//! followed by an RA with that number. A receiver that misses one notices the gap from either and asks for the whole set.
//! Where routers meet that knew nothing of each other, those of this implementation tell link states with all addresses:
//! if everyone asked everyone, a healed partition would cost the square of the network times the length of its paths.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decode::Envelope;
use super::message::{self, Body, Change, Descriptor, Header, MOBILE_VERSION};
use super::view::multicast;
use super::{ControlLink, LogEvent, Output, RemoteAddress, RouterId, Routing, Treatment};

/// Addresses kept for one remote router.
const MAX_ADDRESSES: usize = 100_000;
/// A MAR is repeated after this time without an answer: C routers give none until they have computed paths, a second
/// after they became neighbours.
pub(super) const MAR_PATIENCE: Duration = Duration::from_millis(900);
/// Sets of so many addresses at most travel with link states; larger ones are asked for.
const TOLD_ADDRESSES: usize = 1000;
/// Time after which a MAR counts as not answered if an update shows that its sender has news.
const GAP_PATIENCE: Duration = Duration::from_millis(300);

/// The own addresses.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Number of the last differential MAU.
    pub(super) seq: i64,
    current: BTreeMap<Arc<str>, Descriptor>,
    /// As of `seq`.
    published: BTreeMap<Arc<str>, Descriptor>,
    /// Keys in which the two may differ.
    touched: BTreeSet<Arc<str>>,
}

impl Local {
    pub(super) fn announce(
        &mut self,
        key: &str,
        treatment: Treatment,
        producers: u32,
        mesh: Option<&str>,
    ) {
        let descriptor = Descriptor {
            key: key.into(),
            treatment: Some(treatment),
            producers,
            mesh: mesh.map(Arc::from),
        };
        if self.current.get(key) != Some(&descriptor) {
            self.touched.insert(descriptor.key.clone());
            self.current.insert(descriptor.key.clone(), descriptor);
        }
    }

    pub(super) fn withdraw(&mut self, key: &str) {
        if let Some((key, _)) = self.current.remove_entry(key) {
            self.touched.insert(key);
        }
    }

    /// All that is published, if it is little enough to be told unasked.
    pub(super) fn told(&self) -> Option<Vec<Descriptor>> {
        (self.seq > 0 && self.published.len() <= TOLD_ADDRESSES)
            .then(|| self.published.values().cloned().collect())
    }

    /// Publishes what has changed. `None`: nothing has.
    fn publish(&mut self) -> Option<Change> {
        let (mut add, mut del) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut self.touched) {
            match (self.current.get(&key), self.published.get(&key)) {
                (Some(current), published) => {
                    // The number of producers is informational; its change alone is not news.
                    if published.is_none_or(|old| {
                        (old.treatment, &old.mesh) != (current.treatment, &current.mesh)
                    }) {
                        add.push(current.clone());
                    }
                    self.published.insert(key, current.clone());
                }
                (None, Some(_)) => {
                    self.published.remove(&key);
                    del.push(key);
                }
                (None, None) => {}
            }
        }
        if add.is_empty() && del.is_empty() {
            return None;
        }
        self.seq += 1;
        Some(Change::Differential { add, del })
    }
}

/// The addresses of all other routers.
#[derive(Debug, Default)]
pub(super) struct Remote {
    by_key: HashMap<Arc<str>, Announcers>,
    /// Keys whose entry in the view is out of date.
    dirty: HashSet<Arc<str>>,
    /// All of them are: routes have changed.
    pub(super) all_dirty: bool,
}

#[derive(Debug)]
struct Announcers {
    treatment: Treatment,
    /// Router and mesh.
    routers: BTreeMap<RouterId, Option<Arc<str>>>,
}

impl Remote {
    /// Returns the shared key.
    fn add(&mut self, id: &RouterId, descriptor: &Descriptor, default: Treatment) -> Arc<str> {
        let key = match self.by_key.get_key_value(&descriptor.key) {
            Some((key, _)) => key.clone(),
            None => descriptor.key.clone(),
        };
        let announcers = self
            .by_key
            .entry(key.clone())
            .or_insert_with(|| Announcers {
                treatment: descriptor.treatment.unwrap_or(default),
                routers: BTreeMap::new(),
            });
        // Of several routers the first one decides; one alone may change its mind.
        if let Some(treatment) = descriptor.treatment
            && treatment != announcers.treatment
            && announcers.routers.keys().all(|other| other == id)
        {
            announcers.treatment = treatment;
            self.dirty.insert(key.clone());
        }
        let known = announcers
            .routers
            .insert(id.clone(), descriptor.mesh.clone());
        if known.as_ref() != Some(&descriptor.mesh) {
            self.dirty.insert(key.clone());
        }
        key
    }

    fn remove(&mut self, id: &RouterId, key: &str) {
        let Some((shared, announcers)) = self.by_key.get_key_value(key) else {
            return;
        };
        if !announcers.routers.contains_key(id) {
            return;
        }
        let shared = shared.clone();
        if let Some(announcers) = self.by_key.get_mut(key) {
            announcers.routers.remove(id);
            if announcers.routers.is_empty() {
                self.by_key.remove(key);
            }
        }
        self.dirty.insert(shared);
    }

    /// The addresses of a router, if they are few enough to be told unasked. Numbers of producers are not known.
    pub(super) fn told(&self, id: &RouterId, keys: &HashSet<Arc<str>>) -> Option<Vec<Descriptor>> {
        if keys.len() > TOLD_ADDRESSES {
            return None;
        }
        let descriptor = |key: &Arc<str>| {
            let announcers = self.by_key.get(key)?;
            Some(Descriptor {
                key: key.clone(),
                treatment: Some(announcers.treatment),
                producers: 0,
                mesh: announcers.routers.get(id)?.clone(),
            })
        };
        keys.iter().map(descriptor).collect()
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.all_dirty || !self.dirty.is_empty()
    }

    /// Brings the addresses of a view up to date.
    pub(super) fn refresh(
        &mut self,
        view: &mut HashMap<Arc<str>, Arc<RemoteAddress>>,
        cost: impl Fn(&RouterId) -> Option<u32>,
    ) {
        let dirty = std::mem::take(&mut self.dirty);
        if std::mem::take(&mut self.all_dirty) {
            view.retain(|key, _| self.by_key.contains_key(key));
            for (key, announcers) in &self.by_key {
                refresh_entry(view, key, Some(announcers), &cost);
            }
        } else {
            for key in &dirty {
                refresh_entry(view, key, self.by_key.get(key), &cost);
            }
        }
    }
}

fn refresh_entry(
    view: &mut HashMap<Arc<str>, Arc<RemoteAddress>>,
    key: &Arc<str>,
    announcers: Option<&Announcers>,
    cost: &impl Fn(&RouterId) -> Option<u32>,
) {
    let mut near: Vec<_> = announcers
        .into_iter()
        .flat_map(|announcers| &announcers.routers)
        .filter_map(|(id, mesh)| Some((cost(id)?, id, mesh)))
        .collect();
    let Some(announcers) = announcers.filter(|_| !near.is_empty()) else {
        view.remove(key);
        return;
    };
    near.sort_unstable_by_key(|(cost, id, _)| (*cost, *id));
    let address = RemoteAddress {
        treatment: announcers.treatment,
        routers: near.iter().map(|(_, id, _)| (*id).clone()).collect(),
        meshes: near.iter().map(|(_, _, mesh)| (*mesh).clone()).collect(),
    };
    if view.get(key).is_none_or(|old| **old != address) {
        view.insert(key.clone(), Arc::new(address));
    }
}

impl Routing {
    /// Sends a differential MAU if there are changes. Returns whether there were. `introduced`: the first link state is
    /// about to tell everyone all addresses.
    pub(super) fn send_mau_if_changed(&mut self, introduced: bool) -> bool {
        let Some(change) = self.local.publish() else {
            return false;
        };
        if introduced && self.local.told().is_some() && !self.has_foreign() {
            return true;
        }
        let body = Body::Mau {
            mobile_seq: self.local.seq,
            change,
        };
        let message = self.encode(message::MULTICAST_ADDRESS, &body);
        for link in multicast(&self.topology, self.routes.values(), None, |_| false) {
            self.output.push_back(Output::Send {
                link,
                message: message.clone(),
            });
        }
        true
    }

    pub(super) fn send_mar(&mut self, id: &RouterId, now: Instant) {
        let Some(node) = self.nodes.get_mut(id.as_str()) else {
            return;
        };
        node.addresses_asked = Some(now);
        let body = Body::Mar {
            have_seq: node.mobile_seq,
        };
        self.send_to(id, &message::mobile_address(id), &body, None);
    }

    /// Answers at once whoever asks: one that is not known yet has just joined, and those whose paths lead through it
    /// send there already. The answer goes back the way the question came.
    pub(super) fn handle_mar(&mut self, link: ControlLink, header: &Header, have_seq: i64) {
        self.learn(&header.id);
        if have_seq >= self.local.seq {
            return;
        }
        let change = Change::Absolute {
            exist: self.local.published.values().cloned().collect(),
        };
        let body = Body::Mau {
            mobile_seq: self.local.seq,
            change,
        };
        self.send_to(
            &header.id,
            &message::mobile_address(&header.id),
            &body,
            Some(link),
        );
    }

    pub(super) fn handle_mau(
        &mut self,
        header: &Header,
        mobile_seq: i64,
        change: Change,
        now: Instant,
    ) {
        let id = &header.id;
        let Some(node) = self.nodes.get_mut(id.as_str()) else {
            self.output
                .push_back(Output::Log(LogEvent::UnknownRouter { id: id.clone() }));
            return;
        };
        let expected = node.mobile_seq.saturating_add(1);
        if matches!(change, Change::Differential { .. }) && mobile_seq != expected {
            let asked = node
                .addresses_asked
                .is_some_and(|at| now.saturating_duration_since(at) < GAP_PATIENCE);
            // An old one is a late copy: nothing is missing.
            if mobile_seq > expected && !asked {
                let event = LogEvent::MobileGap {
                    id: id.clone(),
                    expected,
                    received: mobile_seq,
                };
                self.output.push_back(Output::Log(event));
                self.send_mar(id, now);
            }
            return;
        }
        node.addresses_asked = None;
        node.mobile_seq = mobile_seq;
        let (add, del) = match change {
            Change::Differential { add, del } => (add, del),
            Change::Absolute { exist } => {
                let keep: HashSet<&str> = exist.iter().map(|descriptor| &*descriptor.key).collect();
                let del = node
                    .addresses
                    .iter()
                    .filter(|key| !keep.contains(&***key))
                    .cloned()
                    .collect();
                (exist, del)
            }
        };
        let mut full = false;
        for descriptor in add
            .iter()
            .filter(|descriptor| is_announceable(&descriptor.key))
        {
            if node.addresses.len() >= MAX_ADDRESSES && !node.addresses.contains(&descriptor.key) {
                full = true;
                continue;
            }
            let key = self
                .remote
                .add(id, descriptor, self.config.default_treatment);
            node.addresses.insert(key);
        }
        for key in del {
            node.addresses.remove(&key);
            self.remote.remove(id, &key);
        }
        if full {
            self.refused += 1;
            let event = LogEvent::TooManyAddresses {
                id: id.clone(),
                limit: MAX_ADDRESSES,
            };
            self.output.push_back(Output::Log(event));
        }
    }

    /// Takes in what passes by. A router that has just heard of an address sends there at once, through this one, which
    /// may have asked in vain so far: C routers do not answer whom they do not know yet.
    pub(super) fn overhear(&mut self, passing: &Envelope, now: Instant) {
        let Some((header, mobile_seq, change)) = passing.all_addresses() else {
            return;
        };
        let known = self.nodes.get(header.id.as_str());
        if header.version <= MOBILE_VERSION
            && known.is_some_and(|node| node.mobile_seq < mobile_seq)
        {
            self.handle_mau(&header, mobile_seq, change, now);
        }
    }

    /// Forgets the addresses of a router, so that it is asked for all of them when next heard of.
    pub(super) fn forget_addresses(&mut self, id: &RouterId) {
        let Some(node) = self.nodes.get_mut(id.as_str()) else {
            return;
        };
        node.mobile_seq = 0;
        node.addresses_asked = None;
        for key in std::mem::take(&mut node.addresses) {
            self.remote.remove(id, &key);
        }
    }
}

/// Mobile, edge and network addresses travel; a key of another class would claim something local to every router.
fn is_announceable(key: &str) -> bool {
    key.starts_with(['M', 'H', 'N'])
}
