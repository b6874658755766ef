//! Link states: LSU states one, unasked when it changes; RA says how new the sender's tables are; LSR asks for what was
//! missed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{self, Body, Change, Header, LinkStateUpdate, RouterAdvertisement};
use super::mobile::MAR_PATIENCE;
use super::path::{RouterSet, Topology};
use super::{ControlLink, LogEvent, Output, Route, RouterId, Routing};

/// Routers that C routers can tell apart (their masks have 128 bits).
pub(super) const FOREIGN_LIMIT: usize = 128;
/// With this many routers, a network with C routers comes near their limit.
const MANY_ROUTERS: usize = 100;
/// A router that is mentioned by nobody leaves the tables after this many ticks.
const ORPHAN_TICKS: u8 = 3;
/// An LSR is repeated after this time without an answer.
const LSR_PATIENCE: Duration = Duration::from_millis(900);
/// Advertisements that have been behind what is known for longer are not late copies.
const LATE: Duration = Duration::from_secs(3);

impl Routing {
    /// Makes sure that the router is in the tables; false if there is no room.
    pub(super) fn learn(&mut self, id: &RouterId) -> bool {
        self.learn_within(id, self.config.max_routers)
    }

    /// As [`Self::learn`], for the sender of a HELLO or LSU, which tell of which implementation it is.
    ///
    /// A network has C routers in it as soon as one of those came without the mark. Then nobody is taken in beyond their
    /// limit: not announced as a neighbour, and its advertisements are not passed on. The same holds for a C router
    /// that knocks at a larger network.
    pub(super) fn learn_sender(&mut self, header: &Header) -> bool {
        let limit = if header.own {
            self.config.max_routers
        } else {
            self.config.max_routers.min(FOREIGN_LIMIT)
        };
        if !self.learn_within(&header.id, limit) {
            return false;
        }
        self.nodes.set_foreign(&header.id, !header.own);
        true
    }

    pub(super) fn has_foreign(&self) -> bool {
        self.nodes.has_foreign()
    }

    /// Before C routers meet their limit, once.
    fn warn_of_many(&mut self) {
        let count = self.nodes.len() + 1;
        if !self.many_warned && count >= MANY_ROUTERS && self.has_foreign() {
            self.many_warned = true;
            self.output
                .push_back(Output::Log(LogEvent::ManyRouters { count }));
        }
    }

    fn learn_within(&mut self, id: &RouterId, limit: usize) -> bool {
        if self.nodes.get(id.as_str()).is_some() {
            return true;
        }
        let count = self.nodes.len() + 1;
        let limit = if limit > FOREIGN_LIMIT && count >= FOREIGN_LIMIT && self.has_foreign() {
            FOREIGN_LIMIT
        } else {
            limit
        };
        if *id == self.config.id || count >= limit {
            self.refused += u64::from(*id != self.config.id);
            if *id != self.config.id
                && self.warned.len() < self.config.max_routers
                && self.warned.insert(id.clone())
            {
                let event = LogEvent::TooManyRouters {
                    id: id.clone(),
                    limit,
                };
                self.output.push_back(Output::Log(event));
            }
            return false;
        }
        self.nodes.insert(id.clone());
        self.output
            .push_back(Output::Log(LogEvent::RouterLearned { id: id.clone() }));
        true
    }

    pub(super) fn handle_ra(&mut self, header: &Header, ra: &RouterAdvertisement, now: Instant) {
        if !self.learn(&header.id) {
            return;
        }
        self.identify(header, ra.instance);
        let Some(node) = self.nodes.get_mut(header.id.as_str()) else {
            return;
        };
        if node.link_state.seq > ra.ls_seq || node.mobile_seq > ra.mobile_seq {
            // A late copy, or we hold something of a run that the instance did not tell apart.
            let since = *node.ahead_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= LATE {
                self.forget_run(&header.id);
            }
        } else {
            node.ahead_since = None;
        }
        let Some(node) = self.nodes.get_mut(header.id.as_str()) else {
            return;
        };
        node.link_state.last_seen = Some(now);
        node.advertised = ra.ls_seq;
        node.advertised_mobile = ra.mobile_seq;
        // An unreachable router can not be asked; the tick that makes it reachable does.
        if node.link_state.seq < ra.ls_seq && self.link_to(header.id.as_str()).is_some() {
            self.send_lsr(&header.id, now);
        }
    }

    fn send_lsr(&mut self, id: &RouterId, now: Instant) {
        if let Some(node) = self.nodes.get_mut(id.as_str()) {
            node.link_state_asked = Some(now);
        }
        self.send_to(id, &message::router_address(id), &Body::Lsr, None);
    }

    pub(super) fn handle_lsr(&mut self, link: ControlLink, header: &Header) {
        self.learn(&header.id);
        let body = self.own_link_state();
        self.send_to(
            &header.id,
            &message::router_address(&header.id),
            &body,
            Some(link),
        );
    }

    /// Takes a link state in; returns whether it said anything new. It may come from its router or from another one that
    /// holds it.
    pub(super) fn handle_lsu(
        &mut self,
        header: &Header,
        update: LinkStateUpdate,
        now: Instant,
    ) -> bool {
        if !self.learn_sender(header) || !self.is_of_current_run(header, update.instance) {
            return false;
        }
        let Some(node) = self.nodes.get_mut(header.id.as_str()) else {
            return false;
        };
        node.version.get_or_insert(header.version);
        let mut news = false;
        if let Some(seq) = update
            .mobile_seq
            .filter(|seq| *seq > node.advertised_mobile)
        {
            node.advertised_mobile = seq;
            news = true;
        }
        let told = update.mobile_seq.zip(update.addresses);
        let told = told.filter(|(seq, _)| *seq > node.mobile_seq);
        if update.ls_seq > node.link_state.seq {
            news = true;
            node.link_state.seq = update.ls_seq;
            node.link_state.last_seen = Some(now);
            let peers: Vec<RouterId> = update.peers.keys().cloned().collect();
            node.link_state.peers = update.peers;
            if self.eager > 0 {
                self.eager -= 1;
                self.last_change = Some(now);
                self.routes_stale = true;
                self.requests_due = true;
            } else {
                self.recompute_due = true;
            }
            // Peers that are news are asked as soon as the new paths lead to them.
            for peer in &peers {
                self.learn(peer);
            }
        }
        if let Some((seq, exist)) = told {
            news = true;
            self.handle_mau(header, seq, Change::Absolute { exist }, now);
        }
        news
    }

    /// Whether an LSU is not a leftover of the sender's previous run: those have higher sequence numbers than all that
    /// follows. One from a later run than the known one is the first sign of a restart.
    fn is_of_current_run(&mut self, header: &Header, instance: Option<i64>) -> bool {
        let Some(instance) = instance else {
            return true;
        };
        let known = self.nodes.get(header.id.as_str());
        if known
            .and_then(|node| node.instance)
            .is_some_and(|known| instance < known)
        {
            return false;
        }
        self.identify(header, instance);
        true
    }

    /// The part of the tick between HELLO and RA: ages, own link state, paths, requests. Returns whether the own link
    /// state changed.
    pub(super) fn maintain(&mut self, now: Instant) -> bool {
        self.expire_neighbours(now);
        self.expire_link_states(now);
        self.forget_orphans();
        self.warn_of_many();
        if self.own_changed || self.recompute_due {
            self.last_change = Some(now);
            self.view_dirty = true;
        }
        let changed = std::mem::take(&mut self.own_changed);
        if changed {
            self.flux_since = Some(now);
            self.own.seq += 1;
            self.digest = None;
            self.routes_stale = true;
        }
        if std::mem::take(&mut self.recompute_due) {
            self.routes_stale = true;
        }
        self.refresh_routes();
        self.forget_unreachable(now);
        self.send_requests(now);
        changed
    }

    pub(super) fn own_link_state(&self) -> Body {
        Body::Lsu(LinkStateUpdate {
            instance: Some(self.config.instance),
            ls_seq: self.own.seq,
            mobile_seq: Some(self.local.seq),
            addresses: None,
            peers: self.own.peers.clone(),
        })
    }

    /// As [`Self::own_link_state`], for routers that may know nothing of this one.
    pub(super) fn own_introduction(&self) -> Body {
        let mut body = self.own_link_state();
        if let Body::Lsu(update) = &mut body
            && !self.has_foreign()
        {
            update.addresses = self.local.told();
        }
        body
    }

    fn expire_link_states(&mut self, now: Instant) {
        let max_age = self.config.remote_ls_max_age;
        for (_, node) in self.nodes.iter_mut() {
            let state = &mut node.link_state;
            let expired = state
                .last_seen
                .is_none_or(|last| now.saturating_duration_since(last) > max_age);
            if expired && !state.peers.is_empty() {
                state.clear();
                node.advertised = 0;
                self.recompute_due = true;
            }
        }
    }

    /// Routers without link state, link, and mention in any other link state leave the tables.
    fn forget_orphans(&mut self) {
        let lonely =
            |node: &super::node::Node| node.link_state.peers.is_empty() && node.link.is_none();
        if !self.nodes.iter().any(|(_, node)| lonely(node)) {
            return;
        }
        let mentioned: HashSet<RouterId> = self
            .nodes
            .iter()
            .flat_map(|(_, node)| node.link_state.peers.keys().cloned())
            .collect();
        let mut orphans = Vec::new();
        for (id, node) in self.nodes.iter_mut() {
            if lonely(node) && !mentioned.contains(id) {
                node.orphan_ticks += 1;
                if node.orphan_ticks >= ORPHAN_TICKS {
                    orphans.push(id.clone());
                }
            }
        }
        for id in orphans {
            self.forget_addresses(&id);
            self.nodes.remove(&id);
            self.routes_stale = true;
            self.output
                .push_back(Output::Log(LogEvent::RouterForgotten { id }));
        }
    }

    fn forget_unreachable(&mut self, now: Instant) {
        let holdoff = self.config.unreachable_holdoff;
        let gone: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, node)| {
                node.unreachable_since
                    .is_some_and(|since| now.saturating_duration_since(since) >= holdoff)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.forget_addresses(&id);
            if let Some(node) = self.nodes.get_mut(id.as_str()) {
                node.unreachable_since = None;
            }
        }
    }

    /// LSR and MAR to routers that are reachable and of which something is missing.
    ///
    /// Requests get lost while routes change; they are repeated until they are answered.
    pub(super) fn send_requests(&mut self, now: Instant) {
        let unanswered = |asked: Option<Instant>, patience| {
            asked.is_none_or(|at| now.saturating_duration_since(at) >= patience)
        };
        let told_unasked = !self.has_foreign();
        let mut due = Vec::new();
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.reachable) {
            // Whoever is reachable has a neighbour, hence a link state with a number above 0.
            let behind = node.link_state.seq < node.advertised.max(1);
            let mut wanted = std::mem::take(&mut node.wants_link_state);
            let mut silent = unanswered(node.link_state_asked, LSR_PATIENCE);
            if wanted && told_unasked {
                // What it has to say is on its way; it is asked if it does not come.
                if silent {
                    node.link_state_asked = Some(now);
                }
                (wanted, silent) = (false, false);
            }
            let link_state = wanted || behind && silent;
            let behind = node.mobile_seq < node.advertised_mobile;
            let mut addresses = behind && unanswered(node.addresses_asked, MAR_PATIENCE);
            if addresses && told_unasked && node.mobile_seq == 0 && node.addresses_asked.is_none() {
                node.addresses_asked = Some(now);
                addresses = false;
            }
            if link_state || addresses {
                due.push((id.clone(), link_state, addresses));
            }
        }
        for (id, link_state, addresses) in due {
            if link_state {
                self.send_lsr(&id, now);
            }
            if addresses {
                self.send_mar(&id, now);
            }
        }
    }

    /// Recomputes paths if anything they depend on has changed.
    pub(super) fn refresh_routes(&mut self) {
        if !std::mem::take(&mut self.routes_stale) {
            return;
        }
        let topology = Arc::new(Topology::new(
            (&self.config.id, &self.own.peers),
            self.nodes
                .iter()
                .map(|(id, node)| (id, &node.link_state.peers)),
        ));
        let mut routes = std::collections::BTreeMap::new();
        for path in topology.paths() {
            let Some(link) = self.own_link(path.next_hop) else {
                continue;
            };
            let Some(node) = self.nodes.get(path.destination.as_str()) else {
                continue;
            };
            routes.insert(
                path.destination.clone(),
                Route {
                    link,
                    next_hop: path.next_hop.clone(),
                    cost: u32::try_from(path.cost).unwrap_or(u32::MAX),
                    hops: path.hops,
                    valid_origins: RouterSet::new(topology.clone(), path.position),
                    index: node.index,
                    neighbours: node.link_state.peers.keys().cloned().collect(),
                    instance: node.instance.unwrap_or_default(),
                    version: node.version.unwrap_or_default(),
                    neighbour_link: node.link,
                    is_neighbour: node.link.is_some(),
                },
            );
        }
        let now = self.now;
        for (id, node) in self.nodes.iter_mut() {
            let reachable = routes.contains_key(id);
            if reachable && !node.reachable {
                // It may hold what was true before it was cut off.
                self.flux_since = Some(now);
            }
            if reachable {
                node.unreachable_since = None;
                node.orphan_ticks = 0;
            } else if node.reachable {
                node.unreachable_since = Some(now);
            }
            node.reachable = reachable;
        }
        self.topology = topology;
        self.routes = Arc::new(routes);
        self.view_dirty = true;
        self.remote.all_dirty = true;
        self.digest = None;
    }

    fn own_link(&self, neighbour: &RouterId) -> Option<ControlLink> {
        self.nodes.get(neighbour.as_str())?.link
    }
}
