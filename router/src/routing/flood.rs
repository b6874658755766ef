//! Messages to every router: changed link states, and advertisements.
//!
//! A message of the flood address goes over every link, once. C routers pass it on to all neighbours that are not in its
//! trace, whatever it says; routers of this implementation drop what they have passed on already, because in a meshed
//! network there are more paths than anyone wants to count. Hence a flood costs no more than two messages for each link.
//!
//! Messages that one change causes, HELLO and the periodic RA left out, in a network of this implementation with L links
//! and N routers: a link that is lost or comes up changes two link states, 2 (2 L - N + 1); changed addresses of a router
//! are a MAU over its tree and an RA, (N - 1) + (2 L - N + 1). A restart of a router with d links is their loss, each told
//! by one end, their return, told by both, and an RA, besides what one neighbour tells it: (2 d + 2) (2 L - N + 1) + N.

use std::time::Instant;

use super::hello::Link;
use super::message::{self, Body, Header, RouterAdvertisement, Run};
use super::{ControlLink, FLOOD_MEMORY, Output, Routing, is_due};
use crate::core::annotations::Annotations;

/// Number of the first link state of a run.
pub(super) const FIRST: i64 = 1;

impl Routing {
    /// Whether advertisements go out fast: C routers know of a change only from those who advertise it, and may just have
    /// forgotten, or not yet heard, what was advertised before.
    ///
    /// A change between two other routers is theirs to advertise; if everyone did, each would cost the square of the
    /// network.
    fn in_flux(&self, now: Instant) -> bool {
        self.flux_since.is_some_and(|last| {
            now.saturating_duration_since(last) <= 2 * self.config.ra_interval_flux
        }) && self.has_foreign()
    }

    pub(super) fn ra_is_due(&self, now: Instant) -> bool {
        let interval = if self.in_flux(now) {
            self.config.ra_interval_flux
        } else {
            self.config.ra_interval
        };
        let interval = if self.duplicate_unaware {
            // One that is too early would pass for a copy of the one before.
            interval.min(2 * FLOOD_MEMORY)
        } else {
            interval
        };
        is_due(self.last_ra, interval, now)
    }

    pub(super) fn send_ra(&mut self, now: Instant) {
        if self.links.is_empty() {
            return;
        }
        self.last_ra = Some(now);
        self.duplicate_unaware = false;
        let body = Body::Ra(RouterAdvertisement {
            instance: self.config.instance,
            ls_seq: self.own.seq,
            mobile_seq: self.local.seq,
        });
        self.send_to_all(&body);
    }

    /// Tells everyone the own link state, which has changed. C routers take it unasked.
    pub(super) fn tell_link_state(&mut self, now: Instant) {
        let body = if self.own.seq == FIRST {
            self.own_introduction()
        } else {
            self.own_link_state()
        };
        self.send_to_all(&body);
        if self.has_foreign() {
            self.send_ra(now);
        }
    }

    fn send_to_all(&mut self, body: &Body) {
        let message = self.encode(message::FLOOD_ADDRESS, body);
        for link in self.links.keys() {
            self.output.push_back(Output::Send {
                link: *link,
                message: message.clone(),
            });
        }
    }

    /// Passes the advertisement of another router on.
    ///
    /// Copies come over every path of the network, old ones after new ones. One that says no more than a copy already
    /// passed on a moment ago is dropped.
    pub(super) fn flood_ra(
        &mut self,
        from: ControlLink,
        header: &Header,
        ra: &RouterAdvertisement,
        annotations: &Annotations,
        rest: &[u8],
    ) {
        let run = Run {
            instance: ra.instance,
            process: header.process,
        };
        let key = (header.id.clone(), run);
        match self.floods.get(&key) {
            Some((last, _)) if !is_news(ra, last) => return,
            None if self.floods.len() >= 2 * self.config.max_routers => return,
            _ => {}
        }
        self.floods.insert(key, (ra.clone(), self.now));
        let targets = self.unaware(from, header, Some(run), annotations);
        let outputs = self.passed_on(&targets, annotations, rest);
        self.output.extend(outputs);
    }

    /// Passes on the link state of another router, if known of which run. With addresses it waits, as their updates do.
    pub(super) fn pass_on_link_state(
        &mut self,
        from: ControlLink,
        header: &Header,
        run: Option<Run>,
        with_addresses: bool,
        annotations: &Annotations,
        rest: &[u8],
    ) {
        let targets = self.unaware(from, header, run, annotations);
        let outputs = self.passed_on(&targets, annotations, rest);
        if with_addresses {
            self.updates.extend(outputs);
        } else {
            self.output.extend(outputs);
        }
    }

    /// The links to neighbours that have not seen a flooded message of another router yet.
    fn unaware(
        &self,
        from: ControlLink,
        header: &Header,
        run: Option<Run>,
        annotations: &Annotations,
    ) -> Vec<ControlLink> {
        let unaware = |(link, state): &(&ControlLink, &Link)| {
            let passed = state.heard.as_ref().is_some_and(|(id, neighbour)| {
                // Two routers of one id would never learn of each other if the trace alone decided.
                annotations.traced(id.as_str())
                    && (*id != header.id || run.is_none_or(|run| !run.differs(neighbour)))
            });
            **link != from && !passed
        };
        self.links
            .iter()
            .filter(unaware)
            .map(|(link, _)| *link)
            .collect()
    }
}

/// Whether an advertisement says more than another one of the same run of its router.
fn is_news(ra: &RouterAdvertisement, last: &RouterAdvertisement) -> bool {
    ra.ls_seq > last.ls_seq || ra.mobile_seq > last.mobile_seq
}
