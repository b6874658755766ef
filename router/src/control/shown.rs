//! Connections, TCP flows and links as rows of management.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use amqp::Value;
use model::router_config::{MultiAddressStrategy, RouterConfig};

use crate::{
    adaptor::tcp::{TcpConnector, TcpListener, host_port},
    core::{
        configured::ConfiguredAddresses,
        connection::{ConnectionHandle, ConnectionId, ConnectionRole},
        flows::{Flow, FlowPeer, Progress},
        links::{LinkRecord, LinkType},
        local::LocalTarget,
        shared::Shared,
        table::Address,
    },
    management::{
        AddressRow, AllocatorRow, ConnectionRow, LinkRow, TcpConnectionRow, TcpConnectorRow,
        TcpListenerRow,
    },
    routing::{Route, RouteView, Treatment},
};

/// What C routers call the container at the end of a flow.
const ADAPTOR: &str = "TcpAdaptor";
/// Priority of the messages of flows.
const FLOW_PRIORITY: u32 = 4;

/// Something that is shown as a connection.
pub(super) enum Open {
    Amqp(Arc<ConnectionHandle>),
    Flow(Arc<Flow>),
}

/// A link of something that is shown as a connection.
pub(super) enum OpenLink {
    Amqp(Arc<LinkRecord>),
    /// The one into the network, or the one out of it.
    Flow(Arc<Flow>, Way),
}

/// Which way messages of a link go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    In,
    Out,
}

impl Open {
    /// Its links, in order.
    pub(super) fn links(self) -> Vec<OpenLink> {
        match self {
            Self::Amqp(connection) => {
                let links = connection.links.all().into_iter();
                links.map(OpenLink::Amqp).collect()
            }
            Self::Flow(flow) => vec![
                OpenLink::Flow(flow.clone(), Way::In),
                OpenLink::Flow(flow, Way::Out),
            ],
        }
    }
}

/// An AMQP connection. `active` is the uplink in use on an edge router, which has no other active ones.
pub(super) fn amqp_row(
    connection: &ConnectionHandle,
    edge: bool,
    active: Option<ConnectionId>,
    now: u32,
) -> ConnectionRow {
    let facts = &connection.facts;
    ConnectionRow {
        identity: connection.id.0.to_string(),
        host: facts.host.clone(),
        role: connection.role.as_str().to_owned(),
        protocol: "amqp".to_owned(),
        dir: if connection.outgoing { "out" } else { "in" }.to_owned(),
        container: connection.container.clone(),
        sasl: (!facts.sasl.is_empty()).then(|| facts.sasl.clone()),
        // As C routers: SASL was completed, whatever it proves.
        is_authenticated: !facts.sasl.is_empty(),
        user: facts.user.clone(),
        is_encrypted: facts.tls.is_some(),
        ssl_proto: facts.tls.as_ref().map(|(protocol, _)| protocol.clone()),
        ssl_cipher: facts.tls.as_ref().map(|(_, cipher)| cipher.clone()),
        properties: facts.properties.iter().cloned().collect(),
        ssl: facts.tls.is_some(),
        opened: true,
        active: connection.role != ConnectionRole::Edge || !edge || active == Some(connection.id),
        admin_status: "enabled".to_owned(),
        oper_status: "up".to_owned(),
        uptime_seconds: facts.opened.map_or(0, seconds),
        last_dlv_seconds: match connection.last_delivery.load(Ordering::Relaxed) {
            0 => None,
            at => Some(now.saturating_sub(at - 1)),
        },
        mesh_id: connection.mesh.load().as_deref().cloned(),
        group_correlation_id: facts.group.clone(),
        group_ordinal: facts.group_ordinal,
        octets_in: connection.octets_in.load(Ordering::Relaxed),
        octets_out: connection.octets_out.load(Ordering::Relaxed),
        ..ConnectionRow::default()
    }
}

/// A TCP flow as a connection. As in C routers, its two messages are the deliveries that are timed.
pub(super) fn flow_row(id: u64, flow: &Flow) -> ConnectionRow {
    let (host, dir) = far_end(flow);
    ConnectionRow {
        identity: id.to_string(),
        host,
        role: ConnectionRole::Normal.as_str().to_owned(),
        protocol: "tcp".to_owned(),
        dir: dir.to_owned(),
        container: ADAPTOR.to_owned(),
        is_encrypted: flow.encrypted,
        ssl: flow.encrypted,
        properties: BTreeMap::from([("qd.adaptor".to_owned(), Value::from("tcp"))]),
        opened: true,
        active: true,
        admin_status: "enabled".to_owned(),
        oper_status: if flow.cancel.is_cancelled() {
            "closing"
        } else {
            "up"
        }
        .to_owned(),
        uptime_seconds: seconds(flow.opened),
        last_dlv_seconds: flow.last_message(),
        ..ConnectionRow::default()
    }
}

/// The same as the C routers of version 2 show it beside that.
pub(super) fn tcp_connection_row(id: u64, flow: &Flow) -> TcpConnectionRow {
    let (host, direction) = far_end(flow);
    let [last_in_seconds, last_out_seconds] = flow.last_octets();
    TcpConnectionRow {
        name: match &flow.peer {
            FlowPeer::Client(listener, peer, _) => listener.flow_name(*peer),
            // openers of version 3 do not say it
            FlowPeer::Server(_, name) if name.is_empty() => host.clone(),
            FlowPeer::Server(_, name) => name.to_string(),
        },
        identity: id.to_string(),
        address: flow.address().to_string(),
        host,
        direction: direction.to_owned(),
        bytes_in: flow.octets_in.load(Ordering::Relaxed),
        bytes_out: flow.octets_out.load(Ordering::Relaxed),
        uptime_seconds: seconds(flow.opened),
        last_in_seconds,
        last_out_seconds,
    }
}

/// One of the two links of a flow. Each carries one message, which is the stream of octets. As those of C routers, the
/// link that leads to the reply address of another router names none.
pub(super) fn flow_link(connection: u64, flow: &Flow, way: Way) -> LinkRow {
    let (side, service) = match &flow.peer {
        FlowPeer::Client(..) => ("ingress", Way::In),
        FlowPeer::Server(..) => ("egress", Way::Out),
    };
    let (dir, number, begun, done) = match way {
        Way::In => {
            let sending = flow.did(Progress::Sending);
            ("in", flow.links, sending, sending)
        }
        // a message counts as delivered when its end is
        Way::Out => (
            "out",
            flow.links + 1,
            flow.did(Progress::Receiving),
            flow.did(Progress::Received),
        ),
    };
    LinkRow {
        identity: number.to_string(),
        link_name: format!("tcp.{side}.{dir}"),
        link_type: LinkType::Endpoint.as_str().to_owned(),
        link_dir: dir.to_owned(),
        owning_addr: (way == service).then(|| format!("M{}", flow.address())),
        capacity: 1,
        connection_id: connection.to_string(),
        admin_status: "enabled".to_owned(),
        oper_status: "up".to_owned(),
        priority: FLOW_PRIORITY,
        credit_available: u32::from(!begun),
        delivery_count: done.into(),
        unsettled_count: (way == Way::In && begun).into(),
        undelivered_count: (begun && !done).into(),
        ..LinkRow::default()
    }
}

/// Something that is shown as an address.
pub(super) enum Known {
    /// Served by the router itself.
    Own(AddressRow),
    /// Of the table; and whether a tcpListener watches it.
    Mobile(Arc<Address>, bool),
}

impl Known {
    /// As a row.
    pub(super) fn row(self, routes: &RouteView, configured: &ConfiguredAddresses) -> AddressRow {
        let (address, watch) = match self {
            Self::Own(row) => return row,
            Self::Mobile(address, watch) => (address, watch),
        };
        let remote = routes.addresses.get(&address.key);
        AddressRow {
            key: address.key.to_string(),
            distribution: distribution(address.treatment).to_owned(),
            subscriber_count: u32::try_from(address.consumers.len()).unwrap_or(u32::MAX),
            remote_count: remote.map_or(0, |remote| {
                u32::try_from(remote.routers.len()).unwrap_or(u32::MAX)
            }),
            remote_host_routers: remote
                .map(|remote| remote.routers.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            deliveries_ingress: address.counts.ingress.load(Ordering::Relaxed),
            deliveries_egress: address.counts.egress.load(Ordering::Relaxed),
            deliveries_transit: address.counts.transit.load(Ordering::Relaxed),
            priority: configured
                .priority(address.key.get(1..).unwrap_or_default())
                .map_or(-1, i32::from),
            watch,
            ..AddressRow::default()
        }
    }
}

fn distribution(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Flood => "flood",
        Treatment::Multicast => "multicast",
        Treatment::Closest => "closest",
        Treatment::Balanced => "balanced",
        Treatment::Unavailable => "unavailable",
    }
}

/// A tcpListener, with its counters.
pub(super) fn listener_row(listener: &TcpListener, config: &RouterConfig) -> TcpListenerRow {
    let counters = &listener.counters;
    let configured = config.tcp_listeners.get(&listener.name);
    TcpListenerRow {
        name: listener.name.clone(),
        address: configured
            .map(|entity| entity.address.clone())
            .filter(|address| !address.is_empty()),
        multi_address_strategy: configured
            .map_or(MultiAddressStrategy::None, |entity| entity.strategy)
            .to_string(),
        backlog: configured
            .and_then(|entity| entity.backlog)
            .and_then(|backlog| i32::try_from(backlog).ok())
            .unwrap_or(0),
        host: listener.host.clone(),
        port: listener.port.to_string(),
        site_id: listener.site_id.clone(),
        ssl_profile: configured.and_then(|entity| entity.ssl_profile.clone()),
        authenticate_peer: configured.is_some_and(|entity| entity.authenticate_peer),
        encapsulation: listener.encapsulation.as_str().to_owned(),
        bytes_in: counters.octets_in.load(Ordering::Relaxed),
        bytes_out: counters.octets_out.load(Ordering::Relaxed),
        connections_opened: counters.opened.load(Ordering::Relaxed),
        connections_closed: counters.closed.load(Ordering::Relaxed),
        oper_status: if listener.listening.load(Ordering::Relaxed) {
            "up"
        } else {
            "down"
        }
        .to_owned(),
        connection_msg: listener.error(),
        observer: "none".to_owned(),
    }
}

/// A tcpConnector, with its counters.
pub(super) fn connector_row(connector: &TcpConnector, config: &RouterConfig) -> TcpConnectorRow {
    let counters = &connector.counters;
    let configured = config.tcp_connectors.get(&connector.name);
    TcpConnectorRow {
        name: connector.name.clone(),
        address: configured.map_or_else(
            || connector.address.to_string(),
            |entity| entity.address.clone(),
        ),
        host: connector.host.clone(),
        port: connector.port.to_string(),
        site_id: configured.and_then(|entity| entity.site_id.clone()),
        ssl_profile: configured.and_then(|entity| entity.ssl_profile.clone()),
        verify_hostname: configured.is_none_or(|entity| entity.verify_hostname),
        encapsulation: connector.encapsulation.as_str().to_owned(),
        bytes_in: counters.octets_in.load(Ordering::Relaxed),
        bytes_out: counters.octets_out.load(Ordering::Relaxed),
        // C routers count their internal dispatcher.
        connections_opened: counters.opened.load(Ordering::Relaxed) + 1,
        connections_closed: counters.closed.load(Ordering::Relaxed),
        ..TcpConnectorRow::default()
    }
}

/// What the router holds many of.
pub(super) fn allocations(shared: &Shared, connections: usize, links: usize) -> Vec<AllocatorRow> {
    let table = shared.table.load();
    [
        ("address", size_of::<Address>(), table.addresses.len()),
        ("connection", size_of::<ConnectionHandle>(), connections),
        (
            "dynamic_address",
            size_of::<LocalTarget>(),
            shared.local.len(),
        ),
        ("link", size_of::<LinkRecord>(), links),
        ("router", size_of::<Route>(), table.routes.routers.len()),
        ("tcp_flow", size_of::<Flow>(), shared.flows.len()),
    ]
    .into_iter()
    .map(|(name, size, count)| AllocatorRow {
        type_name: name.to_owned(),
        type_size: size as u64,
        total_alloc_from_heap: count as u64,
        held_by_threads: count as u64,
        ..AllocatorRow::default()
    })
    .collect()
}

/// A link of an AMQP connection.
pub(super) fn link_row(connection: u64, link: &LinkRecord, now: u32) -> LinkRow {
    let counts = &link.counts;
    let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let gauge = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    LinkRow {
        identity: link.id.to_string(),
        link_name: link.name.clone(),
        link_type: link.link_type.as_str().to_owned(),
        link_dir: if link.incoming { "in" } else { "out" }.to_owned(),
        owning_addr: link.address.clone(),
        capacity: link.capacity,
        undelivered_count: gauge(&counts.undelivered).into(),
        unsettled_count: gauge(&counts.unsettled).into(),
        delivery_count: total(&counts.deliveries),
        connection_id: connection.to_string(),
        admin_status: "enabled".to_owned(),
        oper_status: "up".to_owned(),
        presettled_count: total(&counts.presettled),
        dropped_presettled_count: total(&counts.dropped_presettled),
        accepted_count: total(&counts.accepted),
        rejected_count: total(&counts.rejected),
        released_count: total(&counts.released),
        modified_count: total(&counts.modified),
        deliveries_delayed_1_sec: total(&counts.delayed_1_sec),
        deliveries_delayed_10_sec: total(&counts.delayed_10_sec),
        deliveries_stuck: gauge(&counts.stuck).into(),
        priority: link.priority.into(),
        settle_rate: gauge(&counts.settle_rate),
        credit_available: gauge(&counts.credit),
        zero_credit_seconds: counts.without_credit(now),
        ..LinkRow::default()
    }
}

/// Whole seconds since then.
pub(super) fn seconds(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX)
}

/// Who is at the far end of a flow's socket, and which way it was opened.
fn far_end(flow: &Flow) -> (String, &'static str) {
    match &flow.peer {
        FlowPeer::Client(_, peer, _) => (peer.to_string(), "in"),
        FlowPeer::Server(connector, _) => (host_port(&connector.host, connector.port), "out"),
    }
}

#[cfg(test)]
mod tests {
    use model::router_config as config;

    use super::*;
    use crate::net::tls::TlsProfiles;

    fn flows() -> [Flow; 2] {
        let profiles = Arc::new(TlsProfiles::new(&BTreeMap::new()));
        let mut entry = config::TcpListener::new("l", "svc", 1);
        entry.site_id = Some("west".to_owned());
        let listener = Arc::new(TcpListener::new(&entry, &profiles, None));
        let exit = config::TcpConnector::new("c", "svc", "::1", 80);
        let connector = Arc::new(TcpConnector::new(&exit, &profiles, None));
        [
            Flow::new(
                FlowPeer::Client(listener, ([127, 0, 0, 1], 9).into(), "svc".into()),
                4,
                &Arc::default(),
            ),
            Flow::new(
                FlowPeer::Server(connector, "127.0.0.1:9@west".into()),
                6,
                &Arc::default(),
            ),
        ]
    }

    #[test]
    fn a_flow_is_a_connection_with_a_link_each_way() {
        let [entry, exit] = flows();
        let row = flow_row(1, &entry);
        assert_eq!((row.host.as_str(), row.dir.as_str()), ("127.0.0.1:9", "in"));
        let row = flow_row(2, &exit);
        assert_eq!((row.host.as_str(), row.dir.as_str()), ("[::1]:80", "out"));
        assert_eq!(row.oper_status, "up");
        exit.cancel.cancel();
        assert_eq!(flow_row(2, &exit).oper_status, "closing");

        let of = |flow: &Flow| -> Vec<(String, String, Option<String>)> {
            [Way::In, Way::Out]
                .map(|way| flow_link(1, flow, way))
                .into_iter()
                .map(|row| (row.identity, row.link_name, row.owning_addr))
                .collect()
        };
        let service = Some("Msvc".to_owned());
        let name = |name: &str| name.to_owned();
        assert_eq!(
            of(&entry),
            [
                (name("4"), name("tcp.ingress.in"), service.clone()),
                (name("5"), name("tcp.ingress.out"), None)
            ]
        );
        assert_eq!(
            of(&exit),
            [
                (name("6"), name("tcp.egress.in"), None),
                (name("7"), name("tcp.egress.out"), service)
            ]
        );
    }

    #[test]
    fn both_ends_of_a_flow_have_one_name() {
        let [entry, exit] = flows();
        entry.read(1 << 33);
        let (entry, exit) = (tcp_connection_row(1, &entry), tcp_connection_row(2, &exit));
        assert_eq!(entry.name, "127.0.0.1:9@west");
        assert_eq!(entry.name, exit.name);
        assert_eq!((entry.bytes_in, exit.bytes_in), (1 << 33, 0));
        let last = |row: &TcpConnectionRow| (row.last_in_seconds, row.last_out_seconds);
        assert_eq!((last(&entry), last(&exit)), ((Some(0), None), (None, None)));
        let octets = |row: TcpConnectionRow| {
            let attributes = row.into_attributes();
            let found = attributes.into_iter().find(|(name, _)| *name == "bytesIn");
            found.map(|(_, value)| value)
        };
        assert_eq!(octets(entry), Some(Value::Ulong(1 << 33)));
        assert_eq!(octets(exit), Some(Value::Uint(0)));
    }

    #[test]
    fn links_count_the_messages_of_their_flow() {
        let [flow, _] = flows();
        let counts = || -> Vec<(u64, u64, u64, u32)> {
            [Way::In, Way::Out]
                .map(|way| flow_link(1, &flow, way))
                .into_iter()
                .map(|row| {
                    (
                        row.delivery_count,
                        row.unsettled_count,
                        row.undelivered_count,
                        row.credit_available,
                    )
                })
                .collect()
        };
        assert_eq!(counts(), [(0, 0, 0, 1), (0, 0, 0, 1)]);
        flow.has(Progress::Sending);
        assert_eq!(counts(), [(1, 1, 0, 0), (0, 0, 0, 1)]);
        flow.has(Progress::Receiving);
        assert_eq!(counts(), [(1, 1, 0, 0), (0, 0, 1, 0)]);
        flow.has(Progress::Received);
        assert_eq!(counts(), [(1, 1, 0, 0), (1, 0, 0, 0)]);
    }
}
