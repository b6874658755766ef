//! HELLO: who is at the other end of each control link, and do we hear each other.
//!
//! A router lists everyone it heard of late in `seen`; finding oneself in the list of a neighbour confirms the link in
//! both directions and binds the neighbour to it. Besides the period, a HELLO is sent at once to a link that comes up and
//! to a router that was not heard before, so that a link takes round trips to come up rather than seconds.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::agreement::Agreement;
use super::message::{self, Body, Hello, RouterAdvertisement, Run};
use super::node::Node;
use super::{ControlLink, LogEvent, Output, RouterId, Routing, is_due};

/// A control link in use.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) cost: u32,
    /// The last router that said HELLO on it, confirmed or not.
    pub(super) heard: Option<(RouterId, Run)>,
    pub(super) agreement: Agreement,
}

/// What a link costs in addition while its router is about to end: more than any other way that makes sense, and little
/// enough that whole paths can be added up.
const LEAVING_COST: u32 = 1 << 20;

impl Link {
    /// Cost that others are told, of a router that is about to end or not.
    pub(super) fn stated_cost(&self, leaving: bool) -> u32 {
        let more = if leaving { LEAVING_COST } else { 0 };
        self.cost.saturating_add(more).min(i32::MAX as u32)
    }
}

impl Routing {
    pub(super) fn expire_hellos(&mut self, now: Instant) {
        let max_age = self.config.hello_max_age;
        self.hellos
            .retain(|_, heard| now.saturating_duration_since(*heard) <= max_age);
    }

    pub(super) fn send_hello_if_due(&mut self, now: Instant) {
        if !is_due(self.last_hello, self.config.hello_interval, now) {
            return;
        }
        self.last_hello = Some(now);
        if self.links.is_empty() {
            return;
        }
        let message = self.hello();
        for link in self.links.keys() {
            self.output.push_back(Output::Send {
                link: *link,
                message: message.clone(),
            });
        }
    }

    pub(super) fn send_hello_on(&mut self, link: ControlLink) {
        let message = self.hello();
        self.output.push_back(Output::Send { link, message });
    }

    fn hello(&mut self) -> Bytes {
        let body = Body::Hello(Hello {
            instance: self.config.instance,
            seen: self.hellos.keys().cloned().collect(),
            digest: Some(self.digest()),
        });
        self.encode(message::HELLO_ADDRESS, &body)
    }

    pub(super) fn handle_hello(
        &mut self,
        link: ControlLink,
        header: &message::Header,
        hello: &Hello,
        now: Instant,
    ) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let sender = Run {
            instance: hello.instance,
            process: header.process,
        };
        match &mut state.heard {
            Some((id, run)) if *id == header.id => *run = sender,
            heard => *heard = Some((header.id.clone(), sender)),
        }
        let mut new = false;
        if let Some(heard) = self.hellos.get_mut(&header.id) {
            *heard = now;
        } else if self.hellos.len() < self.config.max_routers {
            self.hellos.insert(header.id.clone(), now);
            new = true;
        }
        if hello.seen.contains(&self.config.id) {
            let new = self.confirm_neighbour(link, header, hello, now);
            self.compare(link, header, hello.digest, new, now);
            // Of a router that has told nothing yet others know by its neighbours; it tells of all its links at once.
            if self.own.seq > 0 {
                self.tell_early(now);
            }
        }
        if new {
            self.send_hello_on(link);
        }
    }

    /// The neighbour hears us: bind it to the link and keep it alive. Returns whether it has to be told everything: it was
    /// out of reach until now, or has forgotten all. In the latter case the neighbour that it hears first tells it.
    fn confirm_neighbour(
        &mut self,
        link: ControlLink,
        header: &message::Header,
        hello: &Hello,
        now: Instant,
    ) -> bool {
        if !self.learn_sender(header) {
            return false;
        }
        let restarted = self.identify(header, hello.instance);
        let others_tell = restarted && hello.seen.len() > 1 && !self.has_foreign();
        self.refresh_routes();
        let Some((cost, stated)) = self
            .links
            .get(&link)
            .map(|link| (link.cost, link.stated_cost(self.leaving)))
        else {
            return false;
        };
        let Some(node) = self.nodes.get_mut(header.id.as_str()) else {
            return false;
        };
        if let Some(bound) = node.link.filter(|bound| *bound != link) {
            // Two connections to one router: changing over with each HELLO would never settle. The bound one stays
            // unless it is silent, dearer, or a leftover of the neighbour's previous life.
            let interval = self.config.hello_interval;
            let silent = node
                .confirmed
                .is_none_or(|last| now.saturating_duration_since(last) > interval + interval / 2);
            let dearer = self.links.get(&bound).is_none_or(|bound| bound.cost > cost);
            if !(restarted || silent || dearer) {
                return false;
            }
            self.output.push_back(Output::NeighbourDown {
                link: bound,
                id: header.id.clone(),
            });
        }
        let new = (restarted || !node.reachable) && !others_tell;
        node.confirmed = Some(now);
        if node.link != Some(link) {
            node.link = Some(link);
            node.wants_link_state = true;
            self.routes_stale = true;
            self.output.push_back(Output::NeighbourUp {
                link,
                id: header.id.clone(),
            });
        }
        if self.own.peers.insert(header.id.clone(), stated) != Some(stated) {
            self.own_changed = true;
            self.routes_stale = true;
        }
        new
    }

    /// Sends a message to this router's own id over each link to a C router, if that is due: a C router keeps the HELLO of
    /// another router with our id to itself, but it will pass this on to that one.
    pub(super) fn look_for_twin(&mut self, now: Instant) {
        let Some(interval) = self.config.twin_search else {
            return;
        };
        if !is_due(self.last_search, interval, now) {
            return;
        }
        self.last_search = Some(now);
        let foreign = |link: &Link| {
            let heard = link.heard.as_ref();
            let node = heard.and_then(|(id, _)| self.nodes.get(id.as_str()));
            node.is_some_and(Node::is_foreign)
        };
        let links: Vec<ControlLink> = self
            .links
            .iter()
            .filter(|(_, link)| foreign(link))
            .map(|(link, _)| *link)
            .collect();
        if links.is_empty() {
            return;
        }
        let body = Body::Ra(RouterAdvertisement {
            instance: self.config.instance,
            ls_seq: self.own.seq,
            mobile_seq: self.local.seq,
        });
        let to = message::router_address(&self.config.id);
        let mark = self.config.process.unwrap_or(message::UNTOLD);
        // One that came from here would not be sent back here.
        let message = message::encode_annotated(None, &self.config.id, &to, &body, Some(mark));
        for link in links {
            self.output.push_back(Output::Send {
                link,
                message: message.clone(),
            });
        }
    }

    /// Another router says it is us. It gets to know of us in return.
    pub(super) fn report_duplicate(&mut self, now: Instant) {
        const PAUSE: Duration = Duration::from_secs(10);
        if self
            .duplicate_reported
            .is_none_or(|last| now.saturating_duration_since(last) >= PAUSE)
        {
            self.duplicate_reported = Some(now);
            self.output.push_back(Output::DuplicateId {
                id: self.config.id.clone(),
            });
            self.duplicate_unaware = true;
        }
    }

    /// Takes the neighbour out of the own link state.
    pub(super) fn unbind(&mut self, id: &RouterId) {
        let Some(node) = self.nodes.get_mut(id.as_str()) else {
            return;
        };
        let Some(link) = node.link.take() else {
            return;
        };
        node.confirmed = None;
        self.own_changed |= self.own.peers.remove(id).is_some();
        self.routes_stale = true;
        self.output.push_back(Output::NeighbourDown {
            link,
            id: id.clone(),
        });
    }

    /// Neighbours whose HELLO ceased.
    pub(super) fn expire_neighbours(&mut self, now: Instant) {
        let max_age = self.config.hello_max_age;
        let lost: Vec<_> = self
            .own
            .peers
            .keys()
            .filter(|id| {
                let confirmed = self.nodes.get(id.as_str()).and_then(|node| node.confirmed);
                confirmed.is_none_or(|last| now.saturating_duration_since(last) > max_age)
            })
            .cloned()
            .collect();
        for id in lost {
            self.unbind(&id);
        }
    }

    /// Notes boot identity and version of a sender; on a restart forgets what its previous run said.
    pub(super) fn identify(&mut self, header: &message::Header, instance: i64) -> bool {
        let Some(node) = self.nodes.get_mut(header.id.as_str()) else {
            return false;
        };
        if !node.identify(instance, header.version) {
            return false;
        }
        self.forget_run(&header.id);
        true
    }

    /// Forgets what a router said before it restarted, and asks it anew.
    pub(super) fn forget_run(&mut self, id: &RouterId) {
        let Some(node) = self.nodes.get_mut(id.as_str()) else {
            return;
        };
        node.link_state.clear();
        node.wants_link_state = true;
        node.advertised = 0;
        node.advertised_mobile = 0;
        node.ahead_since = None;
        self.digest = None;
        self.recompute_due = true;
        // It has forgotten what was advertised to it.
        self.flux_since = Some(self.now);
        self.forget_addresses(id);
        let event = LogEvent::Restarted { id: id.clone() };
        self.output.push_back(Output::Log(event));
    }
}
