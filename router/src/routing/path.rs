//! Shortest paths and valid origins.
//!
//! The graph is directed: the edges leaving a router are those of its own link state. Every router must settle ties
//! alike, or the multicast trees of different routers do not fit together: a predecessor is replaced only by a strictly
//! cheaper one, and routers of equal cost are settled in ascending order of their ids.
//!
//! Valid origins are the reverse question, "whose shortest path to D leads through me", one tree per origin. They are
//! needed only for origins that really send, so a tree is computed when its origin is first asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::RouterId;

const NONE: u32 = u32::MAX;

/// Set of small numbers.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct BitSet(Vec<u64>);

impl BitSet {
    pub(super) fn insert(&mut self, bit: usize) {
        if self.0.len() <= bit / 64 {
            self.0.resize(bit / 64 + 1, 0);
        }
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    pub(super) fn remove(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    pub(super) fn contains(&self, bit: usize) -> bool {
        self.0
            .get(bit / 64)
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// The smallest number that is not in the set.
    pub(super) fn first_free(&self) -> usize {
        let full = self.0.iter().take_while(|word| **word == u64::MAX).count();
        full * 64
            + self
                .0
                .get(full)
                .map_or(0, |word| word.trailing_ones() as usize)
    }
}

/// The network as this router knows it at one moment.
pub(super) struct Topology {
    /// Ascending, so that the order of numbers is the order of ids.
    ids: Vec<RouterId>,
    /// Edges of router `r` are `edges[starts[r]..starts[r + 1]]`, as (peer, cost).
    starts: Vec<u32>,
    edges: Vec<(u32, u32)>,
    me: usize,
    own: Tree,
    /// Per origin: the destinations to which its path leads through me.
    transit: Vec<OnceLock<BitSet>>,
}

/// Shortest paths from one root; [`NONE`] where there is no path.
#[derive(Default)]
pub(super) struct Tree {
    /// Reachable routers in the order they were settled, the root first.
    order: Vec<u32>,
    previous: Vec<u32>,
    cost: Vec<u64>,
    hops: Vec<u32>,
}

/// A path from this router, in numbers of the topology.
pub(super) struct Path<'a> {
    pub(super) destination: &'a RouterId,
    pub(super) position: usize,
    pub(super) next_hop: &'a RouterId,
    pub(super) cost: u64,
    pub(super) hops: u32,
}

impl Topology {
    /// Builds the graph of `me` and `others`; both as id and stated peers. Peers that are not listed themselves have no
    /// edges and can not be routed to: they are left out.
    pub(super) fn new<'a>(
        me: (&'a RouterId, &'a BTreeMap<RouterId, u32>),
        others: impl Iterator<Item = (&'a RouterId, &'a BTreeMap<RouterId, u32>)>,
    ) -> Self {
        let mut states: Vec<_> = others.filter(|(id, _)| *id != me.0).chain([me]).collect();
        states.sort_unstable_by_key(|(id, _)| *id);
        let ids: Vec<RouterId> = states.iter().map(|(id, _)| (*id).clone()).collect();
        let mut starts = Vec::with_capacity(states.len() + 1);
        let mut edges = Vec::new();
        for (_, peers) in &states {
            starts.push(edges.len() as u32);
            edges.extend(
                peers
                    .iter()
                    .filter_map(|(peer, cost)| Some((ids.binary_search(peer).ok()? as u32, *cost))),
            );
        }
        starts.push(edges.len() as u32);
        let position = ids.binary_search(me.0).expect("me is one of the ids");
        let mut topology = Self {
            transit: ids.iter().map(|_| OnceLock::new()).collect(),
            ids,
            starts,
            edges,
            me: position,
            own: Tree::default(),
        };
        topology.own = topology.tree(position);
        topology
    }

    /// Dijkstra's algorithm with the tie rule of the protocol.
    pub(super) fn tree(&self, root: usize) -> Tree {
        self.tree_over(root, self.edges_of(root))
    }

    /// As [`Self::tree`], with edges of the root that may be others than it states.
    fn tree_over(&self, root: usize, of_root: &[(u32, u32)]) -> Tree {
        let count = self.ids.len();
        let mut tree = Tree {
            order: Vec::with_capacity(count),
            previous: vec![NONE; count],
            cost: vec![u64::MAX; count],
            hops: vec![0; count],
        };
        let mut settled = vec![false; count];
        let mut queue = BinaryHeap::from([Reverse((0u64, root as u32))]);
        tree.cost[root] = 0;
        while let Some(Reverse((cost, router))) = queue.pop() {
            let from = router as usize;
            if std::mem::replace(&mut settled[from], true) {
                continue;
            }
            tree.order.push(router);
            let edges = if from == root {
                of_root
            } else {
                self.edges_of(from)
            };
            for &(peer, edge) in edges {
                let to = peer as usize;
                let total = cost + u64::from(edge);
                if !settled[to] && total < tree.cost[to] {
                    tree.cost[to] = total;
                    tree.hops[to] = tree.hops[from] + 1;
                    tree.previous[to] = router;
                    queue.push(Reverse((total, peer)));
                }
            }
        }
        tree
    }

    /// Paths to every reachable router except me.
    pub(super) fn paths(&self) -> impl Iterator<Item = Path<'_>> {
        let mut first = vec![NONE; self.ids.len()];
        self.own.order.iter().skip(1).map(move |&router| {
            let position = router as usize;
            let previous = self.own.previous[position];
            first[position] = if previous as usize == self.me {
                router
            } else {
                first[previous as usize]
            };
            Path {
                destination: &self.ids[position],
                position,
                next_hop: &self.ids[first[position] as usize],
                cost: self.own.cost[position],
                hops: self.own.hops[position],
            }
        })
    }

    /// Hops to the most distant reachable router, over whichever of the cheapest paths has most of them.
    ///
    /// Other routers may settle ties otherwise in their direction than this one does in its own, so a message can
    /// have passed more routers than the path back to its origin has.
    pub(super) fn radius(&self) -> u32 {
        let mut longest = vec![0u32; self.ids.len()];
        for &router in &self.own.order {
            let from = router as usize;
            for &(peer, edge) in self.edges_of(from) {
                let to = peer as usize;
                if self.own.cost[from] + u64::from(edge) == self.own.cost[to] {
                    longest[to] = longest[to].max(longest[from] + 1);
                }
            }
        }
        longest.into_iter().max().unwrap_or(0)
    }

    fn edges_of(&self, router: usize) -> &[(u32, u32)] {
        &self.edges[self.starts[router] as usize..self.starts[router + 1] as usize]
    }

    /// Links that others state to have with a router.
    fn links_to(&self, router: usize) -> Vec<(u32, u32)> {
        let of_peer = |peer: usize| {
            let mut edges = self.edges_of(peer).iter();
            let (_, cost) = edges.find(|(to, _)| *to as usize == router)?;
            Some((peer as u32, *cost))
        };
        (0..self.ids.len()).filter_map(of_peer).collect()
    }

    /// The origin a message with this ingress router counts for; `None`: unknown or unreachable.
    pub(super) fn origin(&self, id: &str) -> Option<usize> {
        let position = self
            .ids
            .binary_search_by(|known| known.as_str().cmp(id))
            .ok()?;
        (self.own.cost[position] != u64::MAX).then_some(position)
    }

    pub(super) fn me(&self) -> usize {
        self.me
    }

    /// Whether messages from `origin` to `destination` pass through me. My own always do.
    pub(super) fn passes(&self, origin: usize, destination: usize) -> bool {
        origin == self.me
            || self.transit[origin]
                .get_or_init(|| self.transit_from(origin))
                .contains(destination)
    }

    fn transit_from(&self, origin: usize) -> BitSet {
        let tree = match self.edges_of(origin) {
            // Its link state is still on its way here, its messages are not: they come over the links that others state.
            [] => self.tree_over(origin, &self.links_to(origin)),
            stated => self.tree_over(origin, stated),
        };
        let mut through = BitSet::default();
        for &router in &tree.order[1..] {
            let previous = tree.previous[router as usize] as usize;
            if previous == self.me || through.contains(previous) {
                through.insert(router as usize);
            }
        }
        through
    }

    fn reachable(&self) -> impl Iterator<Item = usize> {
        self.own.order.iter().skip(1).map(|&router| router as usize)
    }
}

/// The valid origins of one destination: the routers whose shortest path to it leads through this router.
///
/// This router itself is always valid and not listed. The answer for an origin is computed when first asked for.
#[derive(Clone)]
pub struct RouterSet {
    topology: Arc<Topology>,
    destination: usize,
}

impl RouterSet {
    pub(super) fn new(topology: Arc<Topology>, destination: usize) -> Self {
        Self {
            topology,
            destination,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.destination
    }

    /// Whether `origin` is in the set; false for unknown and unreachable routers.
    pub fn contains(&self, origin: &str) -> bool {
        self.topology.origin(origin).is_some_and(|origin| {
            origin != self.topology.me && self.topology.passes(origin, self.destination)
        })
    }

    /// All members in ascending order.
    pub fn to_vec(&self) -> Vec<RouterId> {
        let mut positions: Vec<_> = self
            .topology
            .reachable()
            .filter(|origin| {
                *origin != self.destination && self.topology.passes(*origin, self.destination)
            })
            .collect();
        positions.sort_unstable();
        positions
            .into_iter()
            .map(|position| self.topology.ids[position].clone())
            .collect()
    }
}

impl fmt::Debug for RouterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.to_vec()).finish()
    }
}
