//! The interior routing protocol as a pure state machine: messages and time in, messages and routes out.
//!
//! It knows neither sockets nor clocks, and nothing of edge routers: their addresses are announced like local ones.
//!
//! ```text
//!  link_up, link_down ─┐                              ┌─► Output::Send (own and forwarded messages)
//!  receive ────────────┼─► Routing ── tick, 1/s ──────┼─► Output::ViewChanged ─► view(): RouteView
//!  announce, withdraw ─┘   hello, link_state, mobile  └─► Output::NeighbourUp, …Down, DuplicateId, Log
//! ```
//!
//! Behaviour is that of the C routers 2.4 to 3.5, with which it shares networks: HELLO finds neighbours ([`hello`]), RA,
//! LSR and LSU spread link states ([`link_state`]), MAR and MAU spread addresses ([`mobile`]), and every router computes
//! the same shortest paths from the same link states ([`path`]).
//!
//! C routers advertise what is new to everyone and are then asked for it by everyone. Here a new link state goes to
//! everyone at once ([`flood`]), neighbours compare what they know and tell each other what may be missing
//! ([`agreement`]), and advertisements only show that a router is alive. Where there are C routers it does as they do in
//! addition.
//!
//! Own links that come and go take effect on own routes at once, and are told at once. So do the first news of others
//! between two ticks; everything else is collected until the next tick.

mod agreement;
mod annotations;
mod decode;
mod encode;
mod flood;
mod hello;
mod link_state;
mod message;
mod mobile;
mod node;
mod path;
mod peek;
mod receiving;
mod sending;
mod types;
mod view;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use message::MessageError;
pub use path::RouterSet;
pub use peek::{Addressed, addressed};
pub use types::{Config, ControlLink, LogEvent, Output, RouterId, Treatment};
pub use view::{RemoteAddress, Route, RouteView};

use agreement::Agreement;
use hello::Link;
use message::{RouterAdvertisement, Run};
use mobile::{Local, Remote};
use node::{LinkState, Nodes};
use path::Topology;

/// An advertisement that says no more than one flooded less than this ago is a copy.
const FLOOD_MEMORY: Duration = Duration::from_secs(2);
/// Link states between two ticks that take effect at once, in networks of fewer than [`FEW_ROUTERS`] routers; in larger
/// ones it is the first only, because paths take long to compute.
const EAGER: u32 = 32;
const FEW_ROUTERS: usize = 100;
/// Changes of own links between two ticks that are told at once.
const EARLY: u32 = 4;

/// The state of one router in the routing protocol.
///
/// After every call take all of [`Self::poll`]: outputs wait in a queue that is bounded by what one call can cause only.
pub struct Routing {
    config: Config,
    own_entry: Arc<str>,
    /// Time of the last call that told it.
    now: Instant,
    links: BTreeMap<ControlLink, Link>,
    /// See [`Self::leave`].
    leaving: bool,
    nodes: Nodes,
    /// Own link state; its peers are exactly the nodes with a link.
    own: LinkState,
    /// The own link state has changed since its sequence number was raised.
    own_changed: bool,
    /// A remote link state has changed: paths are recomputed with the next tick.
    recompute_due: bool,
    /// Own links have changed: paths are recomputed before they are used.
    routes_stale: bool,
    /// Routers heard of late, with the time.
    hellos: BTreeMap<RouterId, Instant>,
    last_hello: Option<Instant>,
    last_search: Option<Instant>,
    last_ra: Option<Instant>,
    last_change: Option<Instant>,
    /// When something happened that C routers may not know of: own links changed, a router came within reach, or one has
    /// restarted.
    flux_since: Option<Instant>,
    /// The last RA passed on of each run of a router, and when.
    floods: HashMap<(RouterId, Run), (RouterAdvertisement, Instant)>,
    local: Local,
    remote: Remote,
    topology: Arc<Topology>,
    routes: Arc<BTreeMap<RouterId, Route>>,
    view: Arc<RouteView>,
    view_dirty: bool,
    output: VecDeque<Output>,
    /// Address updates of others, passed on once they are in this router's own view: what they make others send must
    /// find its way here.
    updates: VecDeque<Output>,
    duplicate_reported: Option<Instant>,
    /// A router with our id has to hear of us.
    duplicate_unaware: bool,
    /// Routers for which there was no room; each is logged once.
    warned: HashSet<RouterId>,
    /// Routers with a newer protocol; each is logged once.
    warned_version: HashSet<RouterId>,
    many_warned: bool,
    /// See [`Self::take_refused`].
    refused: u64,
    /// Link states that may still take effect at once until the next tick.
    eager: u32,
    /// New paths may lead to routers that have to be asked.
    requests_due: bool,
    /// Changes of own links that may still be told at once until the next tick.
    early: u32,
    /// See [`Self::digest`]; `None`: to be computed.
    digest: Option<u32>,
}

impl Routing {
    /// A router without links. `now` is the time of the first tick at the earliest.
    pub fn new(config: Config, now: Instant) -> Self {
        let view = RouteView::empty(&config.id, config.instance);
        Self {
            own_entry: view.own_trace_entry.clone(),
            now,
            links: BTreeMap::new(),
            leaving: false,
            nodes: Nodes::new(),
            own: LinkState::default(),
            own_changed: false,
            recompute_due: false,
            routes_stale: false,
            hellos: BTreeMap::new(),
            last_hello: None,
            last_search: None,
            last_ra: None,
            last_change: None,
            flux_since: None,
            floods: HashMap::new(),
            local: Local::default(),
            remote: Remote::default(),
            topology: view.topology.clone(),
            routes: Arc::default(),
            view: Arc::new(view),
            view_dirty: false,
            output: VecDeque::new(),
            updates: VecDeque::new(),
            duplicate_reported: None,
            duplicate_unaware: false,
            warned: HashSet::new(),
            warned_version: HashSet::new(),
            many_warned: false,
            refused: 0,
            eager: 0,
            requests_due: false,
            early: EARLY,
            digest: None,
            config,
        }
    }

    /// Both control links of a connection are attached. `cost` is at least 1; a repeated call changes it.
    pub fn link_up(&mut self, link: ControlLink, cost: u32, now: Instant) {
        self.now = now;
        let cost = cost.clamp(1, i32::MAX as u32);
        match self.links.get_mut(&link) {
            // The neighbour's next HELLO brings the new cost into the link state.
            Some(known) => known.cost = cost,
            None => {
                let new = Link {
                    cost,
                    heard: None,
                    agreement: Agreement::default(),
                };
                self.links.insert(link, new);
                self.send_hello_on(link);
            }
        }
    }

    /// This router is about to end: others are told that its links cost very much, so that new messages take another way
    /// where there is one.
    pub fn leave(&mut self, now: Instant) {
        self.now = now;
        self.leaving = true;
        for (id, node) in self.nodes.iter() {
            let link = node.link.and_then(|link| self.links.get(&link));
            if let (Some(link), Some(stated)) = (link, self.own.peers.get_mut(id)) {
                *stated = link.stated_cost(true);
                self.own_changed = true;
                self.routes_stale = true;
            }
        }
        self.tell_early(now);
    }

    /// The connection is gone, and with it the neighbour: routes over it are replaced before the next output is taken.
    pub fn link_down(&mut self, link: ControlLink, now: Instant) {
        self.now = now;
        self.links.remove(&link);
        let neighbour = self
            .nodes
            .iter()
            .find(|(_, node)| node.link == Some(link))
            .map(|(id, _)| id.clone());
        if let Some(id) = neighbour {
            self.unbind(&id);
        }
        self.tell_early(now);
    }

    /// A neighbour has made its connection anew, and means the same as with the one before: `new`, which is up, takes the
    /// place of `old` without waiting for a HELLO. Nobody else hears of it unless the cost differs.
    pub fn hand_over(&mut self, old: ControlLink, new: ControlLink, now: Instant) {
        self.now = now;
        let Some(heard) = self.links.get(&old).map(|old| old.heard.clone()) else {
            return;
        };
        let Some(link) = self.links.get_mut(&new) else {
            return;
        };
        let stated = link.stated_cost(self.leaving);
        link.heard = link.heard.take().or(heard);
        let neighbour = self
            .nodes
            .iter_mut()
            .find(|(_, node)| node.link == Some(old));
        let Some((id, node)) = neighbour else { return };
        node.link = Some(new);
        node.confirmed = Some(now);
        self.own_changed |= self.own.peers.insert(id.clone(), stated) != Some(stated);
        self.routes_stale = true;
        self.tell_early(now);
    }

    /// To be called between ticks: neighbours that have been silent for too long are given up without waiting for the
    /// next one.
    pub fn check(&mut self, now: Instant) {
        self.now = now;
        self.expire_neighbours(now);
        self.tell_early(now);
    }

    /// Tells of a link that was lost or came up before the next tick: own messages go other ways from now on, and
    /// routers on these ways pass on only what they expect there.
    fn tell_early(&mut self, now: Instant) {
        if self.own_changed && self.early > 0 {
            self.early -= 1;
            if self.maintain(now) {
                self.tell_link_state(now);
            }
        }
    }

    /// To be called once a second.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.floods
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < FLOOD_MEMORY);
        self.early = EARLY;
        self.eager = if self.nodes.len() < FEW_ROUTERS {
            EAGER
        } else {
            1
        };
        self.expire_hellos(now);
        // C routers take that one of two routers with the same id for their neighbour from which they heard last: before
        // the HELLO that is the other one.
        self.look_for_twin(now);
        self.send_hello_if_due(now);
        let ra_due = self.ra_is_due(now);
        let link_state_changed = self.maintain(now);
        // The MAU goes before what tells of its number, lest every router ask for what is on its way.
        let introduced = link_state_changed && self.own.seq == flood::FIRST;
        let addresses_changed = self.send_mau_if_changed(introduced);
        self.digest = None;
        if link_state_changed {
            self.tell_link_state(now);
        }
        let told = self.last_ra == Some(now);
        if !told && (ra_due || addresses_changed && !link_state_changed) {
            self.send_ra(now);
        }
    }

    /// An address has a local destination. `key` with its class letter; `producers` is informational.
    pub fn announce(&mut self, key: &str, treatment: Treatment, producers: u32) {
        self.local.announce(key, treatment, producers, None);
    }

    /// Like [`Self::announce`], for an address whose destinations all lie in one edge mesh.
    pub fn announce_in_mesh(
        &mut self,
        key: &str,
        treatment: Treatment,
        producers: u32,
        mesh: &str,
    ) {
        self.local.announce(key, treatment, producers, Some(mesh));
    }

    /// The address has no local destination any more.
    pub fn withdraw(&mut self, key: &str) {
        self.local.withdraw(key);
    }

    /// The next thing to do; `None`: nothing until the next call of another method.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.output.pop_front() {
            return Some(output);
        }
        self.refresh_routes();
        if std::mem::take(&mut self.requests_due) {
            self.send_requests(self.now);
            if let Some(output) = self.output.pop_front() {
                return Some(output);
            }
        }
        if self.refresh_view() {
            return Some(Output::ViewChanged);
        }
        self.updates.pop_front()
    }

    /// Routes and remote addresses, as of the last [`Output::ViewChanged`]. They are to be in force before the next
    /// output is taken.
    pub fn view(&self) -> Arc<RouteView> {
        self.view.clone()
    }

    fn refresh_view(&mut self) -> bool {
        if !self.view_dirty && !self.remote.is_dirty() {
            return false;
        }
        self.view_dirty = false;
        let mut addresses = self.view.addresses.clone();
        let routes = self.routes.clone();
        self.remote
            .refresh(&mut addresses, |id| routes.get(id).map(|route| route.cost));
        self.view = Arc::new(RouteView {
            id: self.config.id.clone(),
            own_trace_entry: self.own_entry.clone(),
            instance: self.config.instance,
            routers: routes,
            addresses,
            radius: self.topology.radius(),
            neighbours: self.own.peers.keys().cloned().collect(),
            last_topology_change: self.last_change,
            topology: self.topology.clone(),
        });
        true
    }
}

impl std::fmt::Debug for Routing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routing")
            .field("id", &self.config.id)
            .field("links", &self.links)
            .field("routers", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// Whether a period has passed. Ticks come a little early at times: a tenth of a second must not cost a whole one.
fn is_due(last: Option<Instant>, interval: Duration, now: Instant) -> bool {
    const EARLY: Duration = Duration::from_millis(100);
    last.is_none_or(|last| now.saturating_duration_since(last) + EARLY >= interval)
}
