//! What the HTTP listener tells of this router: health, readiness, metrics. `docs/metrics.md` lists the metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    control::Adaptors,
    core::shared::Shared,
    memory::{resident_memory, virtual_memory},
    net::http::{
        HttpState,
        MetricKind::{self, Counter, Gauge},
    },
};

/// Health and metrics of the router.
pub(crate) struct Health {
    pub(crate) shared: Arc<Shared>,
    pub(crate) adaptors: Adaptors,
}

impl HttpState for Health {
    fn ready(&self) -> Result<(), String> {
        self.shared.readiness.check()?;
        // Without a consumer of their address they do not listen, and there is nothing wrong with that.
        let failed = self.adaptors.with(|maps| {
            maps.listeners.values().find_map(|listener| {
                let error = listener.error()?;
                Some(format!("tcpListener \"{}\": {error}", listener.name))
            })
        });
        failed.map_or(Ok(()), Err)
    }

    fn metrics(&self) -> Vec<(&'static str, MetricKind, u64)> {
        let counters = &self.shared.counters;
        let table = self.shared.table.load();
        let flows = self.shared.flows.len() as u64;
        let topology = table.routes.last_topology_change;
        let total = |name, counter: &AtomicU64| (name, Counter, counter.load(Ordering::Relaxed));
        let now = |name, counter: &AtomicU64| (name, Gauge, counter.load(Ordering::Relaxed));
        let amqp = counters.amqp_connections.load(Ordering::Relaxed);
        vec![
            ("qdr_connections_total", Gauge, amqp + flows),
            (
                "qdr_links_total",
                Gauge,
                counters.links.load(Ordering::Relaxed) + 2 * flows,
            ),
            (
                "qdr_addresses_total",
                Gauge,
                table.addresses.len() as u64 + counters.own_addresses.load(Ordering::Relaxed),
            ),
            (
                "qdr_routers_total",
                Gauge,
                table.routes.routers.len() as u64,
            ),
            total("qdr_presettled_deliveries_total", &counters.presettled),
            total(
                "qdr_dropped_presettled_deliveries_total",
                &counters.dropped_presettled,
            ),
            total("qdr_accepted_deliveries_total", &counters.accepted),
            total("qdr_released_deliveries_total", &counters.released),
            total("qdr_rejected_deliveries_total", &counters.rejected),
            total("qdr_modified_deliveries_total", &counters.modified),
            total("qdr_deliveries_ingress_total", &counters.ingress),
            total("qdr_deliveries_egress_total", &counters.egress),
            total("qdr_deliveries_transit_total", &counters.transit),
            total("qdr_deliveries_delayed_1sec_total", &counters.delayed_1_sec),
            total(
                "qdr_deliveries_delayed_10sec_total",
                &counters.delayed_10_sec,
            ),
            now("qdr_deliveries_stuck_total", &counters.stuck),
            now("qdr_links_blocked_total", &counters.links_blocked),
            (
                "qdr_last_topology_change_timestamp",
                Gauge,
                topology.map_or(0, |at| {
                    u64::try_from(self.shared.unix_time(at)).unwrap_or_default()
                }),
            ),
            ("qdr_alloc_pool_bytes", Gauge, 0),
            (
                "qdr_router_vmsize_bytes",
                Gauge,
                virtual_memory().unwrap_or_default(),
            ),
            (
                "qdr_router_rss_bytes",
                Gauge,
                resident_memory().unwrap_or_default(),
            ),
            ("qdr_tcp_service_connections", Gauge, flows),
            now("qdr_amqp_service_connections", &counters.amqp_clients),
            ("qdr_http1_service_connections", Gauge, 0),
            ("qdr_http2_service_connections", Gauge, 0),
            total(
                "skupper_handshakes_failed_total",
                &counters.handshakes_failed,
            ),
            total(
                "skupper_connections_refused_total",
                &counters.connections_refused,
            ),
            total(
                "skupper_management_refused_total",
                &counters.management_refused,
            ),
            total(
                "skupper_protocol_violations_total",
                &counters.protocol_violations,
            ),
            total("skupper_links_refused_total", &counters.links_refused),
            total(
                "skupper_routing_messages_refused_total",
                &counters.routing_refused,
            ),
            total(
                "skupper_management_requests_refused_total",
                &counters.requests_refused,
            ),
            total(
                "skupper_streams_translated_total",
                &counters.streams_translated,
            ),
            total("skupper_messages_broken_off_total", &counters.broken_off),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::address::AddressSpace;

    fn health() -> Health {
        let space = AddressSpace {
            id: "r".to_owned(),
            edge: false,
        };
        Health {
            shared: Arc::new(Shared::new(space, Vec::new())),
            adaptors: Adaptors::default(),
        }
    }

    /// Names and kinds in the first two columns of the document's tables.
    fn documented() -> BTreeMap<String, String> {
        let rows = include_str!("../../docs/metrics.md").lines();
        let cells = rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` | "));
        cells
            .map(|(name, rest)| {
                let kind = rest.split(" |").next().unwrap_or_default();
                (name.to_owned(), kind.to_owned())
            })
            .collect()
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_exists() {
        let exported: Vec<(&str, MetricKind, u64)> = health().metrics();
        let names: BTreeMap<String, String> = exported
            .iter()
            .map(|(name, kind, _)| {
                let kind = match kind {
                    Counter => "counter",
                    Gauge => "gauge",
                };
                ((*name).to_owned(), kind.to_owned())
            })
            .collect();
        assert_eq!(names.len(), exported.len(), "each once");
        assert_eq!(names, documented());
    }

    #[test]
    fn readiness_is_that_of_sockets_and_network() {
        let health = health();
        assert!(health.ready().is_err());
        health.shared.readiness.set_sockets(None);
        health.shared.readiness.set_network(None);
        assert_eq!(health.ready(), Ok(()));
    }
}
