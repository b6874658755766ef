//! What peers do that they may not: refused or ended where it happens, counted and logged here.

use std::{fmt, sync::atomic::Ordering};

use tracing::warn;

use super::shared::Shared;

/// A kind of offence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offence {
    /// The protocol or a limit of the connection was broken.
    Protocol,
    /// A link was refused.
    Link,
}

impl Shared {
    /// Counts what a peer has done; `what` is logged once a minute for each `kind` and host. A kind is no text that peers
    /// can choose.
    pub(crate) fn offended(
        &self,
        offence: Offence,
        peer: &str,
        kind: &str,
        what: &dyn fmt::Display,
    ) {
        let counters = &self.counters;
        let counter = match offence {
            Offence::Protocol => &counters.protocol_violations,
            Offence::Link => &counters.links_refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let kind = format!("{offence:?} {kind} {}", host(peer));
        let Some(silent) = self.complaints.due(&kind) else {
            return;
        };
        match offence {
            Offence::Protocol => {
                warn!(target: "router::server", %peer, silent, "the peer broke the protocol: {what}");
            }
            Offence::Link => {
                warn!(target: "router::core", %peer, silent, "link refused: {what}");
            }
        }
    }
}

/// A peer's address without the port, which is another one each time that it comes.
pub(super) fn host(peer: &str) -> &str {
    peer.rsplit_once(':').map_or(peer, |(host, _)| host)
}
