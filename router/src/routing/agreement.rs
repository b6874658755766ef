//! Neighbours of this implementation know the same network.
//!
//! HELLO carries a digest of what its sender knows. Neighbours that were out of reach of each other until now, and those
//! whose digests differ for longer than news is on its way, tell each other all link states and addresses they hold. What is news to
//! the receiver it passes on like any changed link state; what it knows already ends there. So two networks that meet
//! become one, a router that starts learns everything from its neighbour, and what was lost is made good for, without a
//! word between routers that agree.
//!
//! The paths of C routers need none of this: they ask and answer as before.

use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::message::{self, Body, Header, LinkStateUpdate};
use super::{ControlLink, Output, RouterId, Routing};

/// Digests may differ for so long while news travels and routes are recomputed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause after link states were told in vain, at first and at most.
const PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// How far the neighbour on a link agrees.
#[derive(Debug)]
pub(super) struct Agreement {
    differs_since: Option<Instant>,
    told: Option<Instant>,
    pause: Duration,
}

impl Default for Agreement {
    fn default() -> Self {
        Self {
            differs_since: None,
            told: None,
            pause: PAUSE,
        }
    }
}

impl Agreement {
    /// Takes note of a comparison; returns whether it is time to tell everything.
    fn note(&mut self, same: bool, new: bool, now: Instant) -> bool {
        if same {
            *self = Self::default();
            return false;
        }
        let elapsed = |since: Instant| now.saturating_duration_since(since);
        let since = *self.differs_since.get_or_insert(now);
        let paused = self.told.is_some_and(|told| elapsed(told) < self.pause);
        let due = new || elapsed(since) >= PATIENCE && !paused;
        if due {
            if !new && self.told.is_some() {
                self.pause = (2 * self.pause).min(LONGEST_PAUSE);
            }
            self.told = Some(now);
        }
        due
    }
}

impl Routing {
    /// Digest of the own link state and those of all routers within reach, with the numbers of their addresses.
    pub(super) fn digest(&mut self) -> u32 {
        self.refresh_routes();
        if let Some(digest) = self.digest {
            return digest;
        }
        let one = |id: &RouterId, instance: i64, ls_seq: i64, mobile_seq: i64| {
            let mut hasher = Fnv::default();
            id.as_str().hash(&mut hasher);
            for number in [instance, ls_seq, mobile_seq] {
                hasher.write(&number.to_be_bytes());
            }
            hasher.finish()
        };
        let mut digest = one(
            &self.config.id,
            self.config.instance,
            self.own.seq,
            self.local.seq,
        );
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.reachable) {
            digest ^= one(
                id,
                node.instance.unwrap_or_default(),
                node.link_state.seq,
                node.mobile_seq.max(node.advertised_mobile),
            );
        }
        let digest = (digest ^ (digest >> 32)) as u32;
        self.digest = Some(digest);
        digest
    }

    /// Compares with what the neighbour on `link` knows; `new`: it was out of reach, or has forgotten everything.
    pub(super) fn compare(
        &mut self,
        link: ControlLink,
        header: &Header,
        theirs: Option<u32>,
        new: bool,
        now: Instant,
    ) {
        let Some(theirs) = theirs.filter(|_| header.own) else {
            return;
        };
        let same = self.digest() == theirs;
        let due = self
            .links
            .get_mut(&link)
            .is_some_and(|state| state.agreement.note(same, new, now));
        if due {
            self.tell_everything(link, &header.id);
        }
    }

    /// All link states but the neighbour's, with addresses, in the names of their routers.
    fn tell_everything(&mut self, link: ControlLink, neighbour: &RouterId) {
        if self.own.seq > 0 {
            let body = self.own_introduction();
            let message = self.encode(message::FLOOD_ADDRESS, &body);
            self.output.push_back(Output::Send { link, message });
        }
        let with_addresses = !self.has_foreign();
        for (id, node) in self.nodes.iter() {
            // What is out of reach may be dead: told on and on, it would never be forgotten.
            if !node.reachable || node.link_state.seq == 0 || id == neighbour {
                continue;
            }
            let Some(instance) = node.instance else {
                continue;
            };
            let complete = node.mobile_seq > 0 && node.mobile_seq >= node.advertised_mobile;
            let addresses = (complete && with_addresses)
                .then(|| self.remote.told(id, &node.addresses))
                .flatten();
            let body = Body::Lsu(LinkStateUpdate {
                instance: Some(instance),
                ls_seq: node.link_state.seq,
                mobile_seq: Some(node.advertised_mobile.max(node.mobile_seq)),
                addresses,
                peers: node.link_state.peers.clone(),
            });
            let mark = (!node.is_foreign()).then_some(message::UNTOLD);
            let message = message::encode(&self.own_entry, id, message::FLOOD_ADDRESS, &body, mark);
            self.output.push_back(Output::Send { link, message });
        }
    }
}

/// FNV-1a: the same on every machine and in every release.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        // The digests of routers are combined by their bits: each has to depend on all octets.
        let value = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        value ^ (value >> 29)
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
