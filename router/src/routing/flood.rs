//! Messages to every router: changed link states, and advertisements.
//!
//! A message of the flood address goes over every link, once. C routers pass it on to all neighbours that are not in its
//! trace, whatever it says; routers of this implementation drop what they have passed on already, because in a meshed
//! network there are more paths than anyone wants to count. Hence a flood costs no more than two messages for each link.
//!
//! Messages that one change causes, HELLO and the periodic RA left out, in a network of this implementation with L links
//! and N routers: a link that is lost or comes up changes two link states, 2 (2 L - N + 1); changed addresses of a router
//! are a MAU over its tree and an RA, (N - 1) + (2 L - N + 1).

use std::time::Instant;

use super::message::{self, Body, Header, RouterAdvertisement, Run};
use super::{Annotations, ControlLink, FLOOD_MEMORY, Output, Routing, is_due};

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
        let body = self.own_link_state();
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
        self.pass_on(from, header, Some(run), annotations, rest);
    }

    /// Sends a flooded message of another router, if known of which run, to every neighbour that has not seen it.
    pub(super) fn pass_on(
        &mut self,
        from: ControlLink,
        header: &Header,
        run: Option<Run>,
        annotations: &Annotations,
        rest: &[u8],
    ) {
        let targets: Vec<ControlLink> = self
            .links
            .iter()
            .filter(|(link, state)| {
                let passed = state.heard.as_ref().is_some_and(|(id, neighbour)| {
                    // Two routers of one id would never learn of each other if the trace alone decided.
                    annotations.traced(id.as_str())
                        && (*id != header.id || run.is_none_or(|run| !run.differs(neighbour)))
                });
                **link != from && !passed
            })
            .map(|(link, _)| *link)
            .collect();
        self.forward(&targets, annotations, rest);
    }
}

/// Whether an advertisement says more than another one of the same run of its router.
fn is_news(ra: &RouterAdvertisement, last: &RouterAdvertisement) -> bool {
    ra.ls_seq > last.ls_seq || ra.mobile_seq > last.mobile_seq
}
