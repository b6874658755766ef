//! Who may manage this router.
//!
//! | the request came over | access |
//! |---|---|
//! | a listener's Unix socket, or a normal listener from this host (loopback) | full |
//! | a normal listener, by a peer that proved who it is (any SASL mechanism but ANONYMOUS) | full |
//! | a connection with another router (inter-router or edge) | reading |
//! | anything else: anonymous peers from elsewhere, peers that this router dialled as a client | none |
//!
//! Only the last hop counts: annotations say where a message began, but any router on the way could write them.

use amqp::performative::{Condition, DeliveryState};

use super::{
    connection::{ConnectionHandle, ConnectionRole},
    offences::host,
    shared::Shared,
};

/// Name of the management node.
const NODE: &str = "$management";

/// What the peer of a connection may do with management.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Nothing.
    None,
    /// Ask.
    Read,
    /// Ask, and change the router.
    Full,
}

impl Access {
    /// Access over a connection.
    pub fn of(connection: &ConnectionHandle) -> Self {
        if connection.role != ConnectionRole::Normal {
            return Self::Read;
        }
        let facts = &connection.facts;
        let proved = !matches!(facts.sasl.as_str(), "" | "ANONYMOUS");
        if !connection.outgoing && (facts.on_this_host || proved) {
            Self::Full
        } else {
            Self::None
        }
    }
}

/// True if an address is that of a management node, here or anywhere.
pub fn is_management(address: &str) -> bool {
    address
        .strip_suffix(NODE)
        .is_some_and(|before| before.is_empty() || before.ends_with('/') || before.ends_with(':'))
}

/// What peers without access are told.
pub fn unauthorized() -> Condition {
    Condition::new(
        "amqp:unauthorized-access",
        "management is for clients on the router's host or with a proven identity",
    )
}

/// Outcome of a message to management from a peer without access.
pub fn refused() -> DeliveryState {
    DeliveryState::Rejected(Some(unauthorized()))
}

/// Counts and logs that a peer was refused.
pub fn complain(shared: &Shared, peer: &str, what: &str) {
    shared
        .counters
        .management_refused
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let host = host(peer);
    if let Some(silent) = shared.complaints.due(&format!("{what} {host}")) {
        tracing::warn!(target: "router::agent", %peer, silent, "management refused: {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn management_is_known_by_its_last_segment() {
        for address in [
            "$management",
            "_local/$management",
            "amqp:/_topo/0/ra/$management",
            "amqp:$management",
        ] {
            assert!(is_management(address), "{address}");
        }
        for address in ["my$management", "$management/x", "management", ""] {
            assert!(!is_management(address), "{address}");
        }
    }

    #[test]
    fn access_follows_the_last_hop() {
        use Access::{Full, None, Read};
        use ConnectionRole::{Edge, InterRouter, InterRouterData, Normal};
        for (role, outgoing, on_this_host, sasl, access) in [
            (Normal, false, true, "ANONYMOUS", Full),
            (Normal, false, true, "", Full),
            (Normal, false, false, "ANONYMOUS", None),
            (Normal, false, false, "", None),
            (Normal, false, false, "EXTERNAL", Full),
            (Normal, true, false, "PLAIN", None),
            (Edge, false, true, "EXTERNAL", Read),
            (Edge, true, false, "EXTERNAL", Read),
            (InterRouter, false, false, "EXTERNAL", Read),
            (InterRouterData, true, true, "ANONYMOUS", Read),
        ] {
            let mut connection = super::super::connection::tests::peer(Option::None, false);
            connection.role = role;
            connection.outgoing = outgoing;
            connection.facts.on_this_host = on_this_host;
            connection.facts.sasl = sasl.to_owned();
            assert_eq!(Access::of(&connection), access, "{role:?} {sasl}");
        }
    }
}
