//! What the protocol found out, as an immutable snapshot for forwarding and management.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::path::{RouterSet, Topology};
use super::{ControlLink, RouterId, Treatment};

/// Routes and remote addresses at one moment.
#[derive(Clone)]
pub struct RouteView {
    /// This router.
    pub id: RouterId,
    /// `0/<id>`: this router in ingress and trace annotations.
    pub own_trace_entry: Arc<str>,
    /// Boot identity of this router.
    pub instance: i64,
    /// Every reachable remote router.
    pub routers: Arc<BTreeMap<RouterId, Route>>,
    /// Addresses with destinations at reachable remote routers; keys with class letter (`Mqueue`, `Hedge`).
    pub addresses: HashMap<Arc<str>, Arc<RemoteAddress>>,
    /// Most hops (not cost) that a message from a reachable router can have behind it. One with a longer trace than
    /// this + 1 is released.
    pub radius: u32,
    /// Neighbours in the own link state.
    pub neighbours: Arc<[RouterId]>,
    /// When link states last changed; `None`: never yet.
    pub last_topology_change: Option<Instant>,
    pub(super) topology: Arc<Topology>,
}

/// The way to one remote router, and what is known of it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Control link of the next hop.
    pub link: ControlLink,
    /// The neighbour on the shortest path; the router itself when it is reached directly.
    pub next_hop: RouterId,
    /// Sum of the link costs.
    pub cost: u32,
    /// Links on the path.
    pub hops: u32,
    /// Routers whose messages to this one pass through here.
    pub valid_origins: RouterSet,
    /// Small number of the router, unique at any one time; 0 is this router.
    pub index: u32,
    /// Neighbours in its link state.
    pub neighbours: Vec<RouterId>,
    /// Boot identity, 0 while unknown.
    pub instance: i64,
    /// Protocol version it speaks, 0 while unknown.
    pub version: i64,
    /// Control link to it if it is a neighbour, whatever its route.
    pub neighbour_link: Option<ControlLink>,
    /// A confirmed neighbour. Its route may still lead over another, cheaper, router.
    pub is_neighbour: bool,
}

/// An address with destinations at remote routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAddress {
    /// As the first announcement hinted; local configuration goes first, which is the reader's business.
    pub treatment: Treatment,
    /// Reachable routers that announce it, nearest first, equally near ones by id.
    pub routers: Vec<RouterId>,
    /// For each of `routers`: the edge mesh in which all of its destinations lie, if there is one.
    pub meshes: Vec<Option<Arc<str>>>,
}

impl RouteView {
    /// The view of a router without neighbours.
    pub fn empty(id: &RouterId, instance: i64) -> Self {
        Self {
            own_trace_entry: format!("0/{id}").into(),
            instance,
            routers: Arc::default(),
            addresses: HashMap::new(),
            radius: 0,
            neighbours: Arc::new([]),
            last_topology_change: None,
            topology: Arc::new(Topology::new((id, &BTreeMap::new()), std::iter::empty())),
            id: id.clone(),
        }
    }

    /// Whether a delivery that entered the network at `ingress` (`0/<id>`, `None`: here) may go on to `destination`.
    ///
    /// The test for one destination out of several: an unknown ingress router counts as this one. Multicast has its
    /// own rule, see [`Self::multicast_links`].
    pub fn origin_valid(&self, destination: &RouterId, ingress: Option<&str>) -> bool {
        let Some(route) = self.routers.get(destination) else {
            return false;
        };
        let origin = ingress
            .and_then(|text| self.origin(text))
            .unwrap_or(self.topology.me());
        self.topology.passes(origin, route.valid_origins.position())
    }

    /// The control links of the next hops that get a copy of a multicast to `key`, each once.
    ///
    /// `ingress` as in [`Self::origin_valid`], but nothing is sent for an unknown one. Neighbours in `trace` (entries
    /// `0/<id>`) are left out. Keys of class `T` are on every router.
    pub fn multicast_links(
        &self,
        key: &str,
        ingress: Option<&str>,
        trace: &[&str],
    ) -> SmallVec<[ControlLink; 8]> {
        let all = key
            .starts_with('T')
            .then(|| self.routers.values())
            .into_iter()
            .flatten();
        let announced = self
            .addresses
            .get(key)
            .map(|address| address.routers.iter())
            .into_iter()
            .flatten();
        let routes = all.chain(announced.filter_map(|id| self.routers.get(id)));
        self.links_to(routes, ingress, trace)
    }

    fn links_to<'a>(
        &self,
        routes: impl Iterator<Item = &'a Route>,
        ingress: Option<&str>,
        trace: &[&str],
    ) -> SmallVec<[ControlLink; 8]> {
        multicast(&self.topology, routes, ingress, |id| {
            trace
                .iter()
                .any(|entry| entry.strip_prefix("0/") == Some(id))
        })
    }

    fn origin(&self, ingress: &str) -> Option<usize> {
        self.topology.origin(ingress.strip_prefix("0/")?)
    }
}

/// One link per next hop over which at least one of `routes` is reached with a valid origin.
pub(super) fn multicast<'a>(
    topology: &Topology,
    routes: impl Iterator<Item = &'a Route>,
    ingress: Option<&str>,
    traced: impl Fn(&str) -> bool,
) -> SmallVec<[ControlLink; 8]> {
    let mut links = SmallVec::new();
    let origin = match ingress {
        None => topology.me(),
        Some(text) => match text.strip_prefix("0/").and_then(|id| topology.origin(id)) {
            Some(origin) => origin,
            None => return links,
        },
    };
    for route in routes {
        if !links.contains(&route.link)
            && !traced(route.next_hop.as_str())
            && topology.passes(origin, route.valid_origins.position())
        {
            links.push(route.link);
        }
    }
    links
}

impl fmt::Debug for RouteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteView")
            .field("id", &self.id)
            .field("routers", &self.routers)
            .field("addresses", &self.addresses)
            .field("radius", &self.radius)
            .finish_non_exhaustive()
    }
}
