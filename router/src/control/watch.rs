//! What the control task looks at regularly for operators: readiness, blocked links, stuck messages.

use std::{sync::atomic::Ordering, time::Duration};

use model::router_config::Role;

use super::Control;
use crate::core::links::BLOCKED_AFTER;

impl Control {
    /// Tells `/readyz` how things stand in the network.
    ///
    /// An edge is ready while it has an uplink. Other routers are ready once each of their connectors has been tried:
    /// a far site that is down is no reason to restart this one.
    pub(super) fn tell_readiness(&self) {
        self.shared.readiness.set_network(self.unready());
    }

    fn unready(&self) -> Option<String> {
        if self.draining {
            return Some("the router is ending".to_owned());
        }
        if self.is_duplicate() {
            return Some(format!(
                "another router with the id \"{}\" is already in the network",
                self.config.router.id
            ));
        }
        let mut connectors = self.config.connectors.values();
        if self.shared.space.edge {
            let uplinks = connectors.any(|connector| connector.role == Role::Edge);
            return (uplinks && self.uplinks.active().is_none())
                .then(|| "no interior router is connected".to_owned());
        }
        let untried = connectors.find(|connector| !self.tried.contains(&connector.name))?;
        Some(format!(
            "connector \"{}\" has not been tried yet",
            untried.name
        ))
    }

    /// Counts links without credit and messages without settlement, and reckons rates over the `period` since the last
    /// time.
    pub(super) fn count_troubles(&self, period: Duration) {
        let now = self.shared.uptime();
        let (mut blocked, mut stuck) = (0_u64, 0_u64);
        for connection in self.connections.iter() {
            connection.links.each(|link| {
                let idle = u64::from(link.counts.without_credit(now));
                blocked += u64::from(idle > BLOCKED_AFTER.as_secs());
                link.counts.reckon_rate(period);
                stuck += u64::from(link.counts.stuck.load(Ordering::Relaxed));
            });
        }
        let counters = &self.shared.counters;
        counters.links_blocked.store(blocked, Ordering::Relaxed);
        counters.stuck.store(stuck, Ordering::Relaxed);
    }
}
