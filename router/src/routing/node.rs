//! The routers this one knows of.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::path::BitSet;
use super::{ControlLink, RouterId};

/// A link state: the neighbours a router stated, and when.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    pub(super) seq: i64,
    /// Neighbour and cost of the link to it.
    pub(super) peers: BTreeMap<RouterId, u32>,
    /// Last sign of life of the router; meaningless for the own link state.
    pub(super) last_seen: Option<Instant>,
}

impl LinkState {
    /// Forgets everything, so that any statement of the router is news.
    pub(super) fn clear(&mut self) {
        self.seq = 0;
        self.peers.clear();
    }
}

/// A remote router, neighbour or not.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Number of the router, see [`super::Route::index`].
    pub(super) index: u32,
    pub(super) version: Option<i64>,
    /// It is known to be of another implementation; see [`Nodes::set_foreign`].
    foreign: bool,
    /// `None`: not heard from it yet, only of it.
    pub(super) instance: Option<i64>,
    /// Control link of a confirmed neighbour.
    pub(super) link: Option<ControlLink>,
    /// Last HELLO over `link` that confirmed the neighbour.
    pub(super) confirmed: Option<Instant>,
    pub(super) link_state: LinkState,
    /// An LSR is due as soon as the router is reachable, whatever its numbers.
    pub(super) wants_link_state: bool,
    /// Sequence number of the link state in the last RA.
    pub(super) advertised: i64,
    pub(super) link_state_asked: Option<Instant>,
    pub(super) mobile_seq: i64,
    /// Sequence number of the addresses in the last RA.
    pub(super) advertised_mobile: i64,
    /// Since when advertisements say less than is known.
    pub(super) ahead_since: Option<Instant>,
    /// A MAR was sent and not answered yet.
    pub(super) addresses_asked: Option<Instant>,
    /// Keys it announced.
    pub(super) addresses: HashSet<Arc<str>>,
    pub(super) reachable: bool,
    /// Set while it is unreachable and its addresses are not yet forgotten.
    pub(super) unreachable_since: Option<Instant>,
    /// Ticks without link state, link and mention by others.
    pub(super) orphan_ticks: u8,
}

impl Node {
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Takes over what a message says about the sender. Returns whether it has restarted since the last one.
    pub(super) fn identify(&mut self, instance: i64, version: i64) -> bool {
        self.version.get_or_insert(version);
        match self.instance {
            Some(known) if known == instance => false,
            Some(_) => {
                self.instance = Some(instance);
                self.version = Some(version);
                true
            }
            None => {
                self.instance = Some(instance);
                false
            }
        }
    }
}

/// All remote routers, with their numbers.
#[derive(Default)]
pub(super) struct Nodes {
    map: BTreeMap<RouterId, Node>,
    numbers: BitSet,
    /// How many are foreign: that is asked for with each message.
    foreign: usize,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let mut numbers = BitSet::default();
        numbers.insert(0);
        Self {
            map: BTreeMap::new(),
            numbers,
            foreign: 0,
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Node> {
        self.map.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Node> {
        self.map.get_mut(id)
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RouterId, &Node)> {
        self.map.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&RouterId, &mut Node)> {
        self.map.iter_mut()
    }

    /// Adds a router that is not known yet.
    pub(super) fn insert(&mut self, id: RouterId) {
        let index = self.numbers.first_free();
        self.numbers.insert(index);
        self.map.insert(
            id,
            Node {
                index: index as u32,
                wants_link_state: true,
                ..Node::default()
            },
        );
    }

    pub(super) fn remove(&mut self, id: &RouterId) {
        if let Some(node) = self.map.remove(id) {
            self.numbers.remove(node.index as usize);
            self.foreign -= usize::from(node.foreign);
        }
    }

    /// Notes of which implementation a router is.
    pub(super) fn set_foreign(&mut self, id: &RouterId, foreign: bool) {
        if let Some(node) = self.map.get_mut(id.as_str())
            && std::mem::replace(&mut node.foreign, foreign) != foreign
        {
            if foreign {
                self.foreign += 1;
            } else {
                self.foreign -= 1;
            }
        }
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.foreign > 0
    }
}
