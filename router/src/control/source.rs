//! What management shows: rows made from the state of the control task.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::router_config::RouterConfig;

use super::{
    Control,
    shown::{self, Open, OpenLink, seconds},
};
use crate::{
    core::control_message::ConnectorState,
    management::{
        AddressRow, AllocatorRow, ConnectionRow, LinkRow, ListenerAddressRow, LogCounts, LogLine,
        NodeRow, PolicyCounts, RouterRow, Rows, Source, TcpConnectionRow, TcpConnectorRow,
        TcpListenerRow, rows_of,
    },
    memory::{resident_memory, virtual_memory},
};

/// A duplicate router id is reported for so long after it was last noticed.
const DUPLICATE_SHOWN: Duration = Duration::from_secs(60);

impl Control {
    /// AMQP connections and flows by number.
    fn open_connections(&self) -> Vec<(u64, Open)> {
        let amqp = self.connections.iter().cloned();
        let flows = self.shared.flows.all().into_iter();
        let mut all: Vec<(u64, Open)> = amqp
            .map(|connection| (connection.id.0, Open::Amqp(connection)))
            .chain(flows.map(|(id, flow)| (id, Open::Flow(flow))))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    pub(super) fn is_duplicate(&self) -> bool {
        self.duplicate
            .is_some_and(|at| at.elapsed() < DUPLICATE_SHOWN)
    }
}

impl Source for Control {
    fn router(&self) -> RouterRow {
        let router = &self.config.router;
        let counters = &self.shared.counters;
        let table = self.shared.table.load();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let tcp = self.shared.flows.len() as u64;
        let amqp = self.connections.iter().count() as u64;
        let clients = load(&counters.amqp_clients);
        RouterRow {
            id: router.id.clone(),
            mode: router.mode.to_string(),
            area: "0".to_owned(),
            van_id: self.config.tenant().map(str::to_owned),
            version: model::COMPATIBILITY_VERSION.to_owned(),
            metadata: router.metadata.clone(),
            addr_count: table.addresses.len() as u64 + load(&counters.own_addresses),
            link_count: load(&counters.links) + 2 * tcp,
            node_count: table.routes.routers.len() as u64,
            connection_count: amqp + tcp,
            presettled_deliveries: load(&counters.presettled),
            dropped_presettled_deliveries: load(&counters.dropped_presettled),
            accepted_deliveries: load(&counters.accepted),
            rejected_deliveries: load(&counters.rejected),
            released_deliveries: load(&counters.released),
            modified_deliveries: load(&counters.modified),
            deliveries_ingress: load(&counters.ingress),
            deliveries_egress: load(&counters.egress),
            deliveries_transit: load(&counters.transit),
            deliveries_delayed_1_sec: load(&counters.delayed_1_sec),
            deliveries_delayed_10_sec: load(&counters.delayed_10_sec),
            deliveries_stuck: load(&counters.stuck),
            links_blocked: u32::try_from(load(&counters.links_blocked)).unwrap_or(u32::MAX),
            uptime_seconds: seconds(self.started),
            memory_usage: virtual_memory(),
            resident_memory_usage: resident_memory(),
            worker_threads: int(self.shared.workers.len()),
            connection_counters: BTreeMap::from([
                ("amqp".to_owned(), clients),
                ("http1".to_owned(), 0),
                ("http2".to_owned(), 0),
                ("tcp".to_owned(), tcp),
            ]),
            host_name: Some(
                rustix::system::uname()
                    .nodename()
                    .to_string_lossy()
                    .into_owned(),
            ),
            hello_interval_seconds: int(router.hello_interval.as_secs()),
            hello_max_age_seconds: int(router.hello_max_age.as_secs()),
            ra_interval_seconds: int(router.ra_interval.as_secs()),
            ra_interval_flux_seconds: int(router.ra_interval_flux.as_secs()),
            remote_ls_max_age_seconds: int(router.remote_ls_max_age.as_secs()),
            unreachable_holdoff_seconds: int(router.unreachable_holdoff.as_secs()),
            timestamps_in_utc: true,
            default_distribution: router.default_distribution.to_string(),
            data_connection_count: router
                .data_connection_count
                .map_or_else(|| "auto".to_owned(), |count| count.to_string()),
            ..RouterRow::default()
        }
    }

    fn connections(&self) -> Rows<ConnectionRow> {
        let (now, edge) = (self.shared.uptime(), self.shared.space.edge);
        let active = self.uplinks.active();
        let all = self.open_connections().into_iter();
        rows_of(all, move |(id, open)| match open {
            Open::Amqp(connection) => shown::amqp_row(&connection, edge, active, now),
            Open::Flow(flow) => shown::flow_row(id, &flow),
        })
    }

    fn tcp_connections(&self) -> Rows<TcpConnectionRow> {
        let flows = self.shared.flows.all().into_iter();
        rows_of(flows, |(id, flow)| shown::tcp_connection_row(id, &flow))
    }

    fn nodes(&self) -> Vec<NodeRow> {
        let view = self.shared.table.load().routes.clone();
        let me = NodeRow {
            id: self.config.router.id.clone(),
            protocol_version: 1,
            instance: int(self.shared.instance),
            link_state: view.neighbours.iter().map(ToString::to_string).collect(),
            next_hop: Some("(self)".to_owned()),
            address: format!("amqp:/_topo/0/{}", self.config.router.id),
            last_topo_change: view
                .last_topology_change
                .map(|at| int(self.shared.unix_time(at))),
            ..NodeRow::default()
        };
        let others = view.routers.iter().map(|(id, route)| NodeRow {
            id: id.to_string(),
            protocol_version: int(route.version),
            instance: int(route.instance),
            link_state: route.neighbours.iter().map(ToString::to_string).collect(),
            next_hop: (route.next_hop != *id).then(|| route.next_hop.to_string()),
            valid_origins: route
                .valid_origins
                .to_vec()
                .iter()
                .map(ToString::to_string)
                .collect(),
            address: format!("amqp:/_topo/0/{id}"),
            router_link: route.neighbour_link.map(|link| int(link.0)),
            cost: Some(int(route.cost)),
            last_topo_change: None,
            index: int(route.index),
        });
        std::iter::once(me).chain(others).collect()
    }

    fn addresses(&self) -> Rows<AddressRow> {
        let table = self.shared.table.load();
        let mut known: Vec<_> = table
            .addresses
            .values()
            .map(|address| {
                let entry = self.addresses.get(&address.key);
                let watched = entry.is_some_and(|entry| entry.watches > 0);
                (address.clone(), watched)
            })
            .collect();
        known.sort_unstable_by(|(a, _), (b, _)| a.key.cmp(&b.key));
        let own = self
            .in_process
            .rows(self.routing.is_some(), &table.routes)
            .into_iter();
        let own = own.map(shown::Known::Own);
        let known = known
            .into_iter()
            .map(|(address, watched)| shown::Known::Mobile(address, watched));
        let (routes, configured) = (table.routes.clone(), self.configured.clone());
        rows_of(own.chain(known), move |known| {
            known.row(&routes, &configured)
        })
    }

    fn allocations(&self) -> Vec<AllocatorRow> {
        let links = self
            .connections
            .iter()
            .map(|connection| connection.links.len());
        shown::allocations(&self.shared, self.connections.iter().count(), links.sum())
    }

    fn tcp_listeners(&self) -> Rows<TcpListenerRow> {
        let listeners: Vec<_> = self
            .adaptors
            .with(|maps| maps.listeners.values().cloned().collect());
        let config = self.config.clone();
        rows_of(listeners.into_iter(), move |listener| {
            shown::listener_row(&listener, &config)
        })
    }

    fn listener_addresses(&self) -> Vec<ListenerAddressRow> {
        let opened: HashMap<(String, String), u64> = self.adaptors.with(|maps| {
            let addresses = maps.listeners.values().flat_map(|listener| {
                let targets = listener.addresses().into_iter();
                targets.filter_map(|target| {
                    let name = target.name.clone()?;
                    Some(((listener.name.clone(), name), target.opened()))
                })
            });
            addresses.collect()
        });
        let entities = self.config.listener_addresses.values();
        entities
            .map(|entity| ListenerAddressRow {
                name: entity.name.clone(),
                address: entity.address.clone(),
                value: entity.value,
                listener: entity.listener.clone(),
                connections_opened: opened
                    .get(&(entity.listener.clone(), entity.name.clone()))
                    .copied()
                    .unwrap_or_default(),
            })
            .collect()
    }

    fn tcp_connectors(&self) -> Rows<TcpConnectorRow> {
        let connectors: Vec<_> = self
            .adaptors
            .with(|maps| maps.connectors.values().cloned().collect());
        let config = self.config.clone();
        rows_of(connectors.into_iter(), move |connector| {
            shown::connector_row(&connector, &config)
        })
    }

    fn links(&self) -> Rows<LinkRow> {
        let now = self.shared.uptime();
        let all = self.open_connections().into_iter();
        let links = all.flat_map(|(id, open)| {
            let links = open.links().into_iter();
            links.map(move |link| (id, link))
        });
        let links: Vec<_> = links.collect();
        rows_of(links.into_iter(), move |(id, link)| match link {
            OpenLink::Amqp(link) => shown::link_row(id, &link, now),
            OpenLink::Flow(flow, way) => shown::flow_link(id, &flow, way),
        })
    }

    fn policy(&self) -> PolicyCounts {
        let counters = &self.shared.counters;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let denied = load(&counters.connections_refused);
        PolicyCounts {
            connections_processed: load(&counters.amqp_opened) + denied,
            connections_denied: denied,
            connections_current: load(&counters.amqp_connections),
            links_denied: load(&counters.management_refused),
        }
    }

    fn config(&self) -> Arc<RouterConfig> {
        self.config.clone()
    }

    fn log_lines(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    fn log_counts(&self) -> BTreeMap<&'static str, LogCounts> {
        self.log.counts()
    }

    fn connector_states(&self) -> BTreeMap<String, ConnectorState> {
        let mut states = self.connector_states.clone();
        if self.is_duplicate() {
            let text = format!(
                "another router with the id \"{}\" is already in the network",
                self.config.router.id
            );
            for state in states.values_mut() {
                "FAILED".clone_into(&mut state.status);
                state.message.clone_from(&text);
            }
        }
        if let Some(reason) = &self.refused {
            for state in states.values_mut().filter(|state| state.message.is_empty()) {
                state.message = format!("the changed configuration file is not in force: {reason}");
            }
        }
        states
    }
}

fn int(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}
