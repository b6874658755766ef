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

use crate::{
    adaptor::tcp::host_port,
    core::{
        connection::{ConnectionHandle, ConnectionRole},
        flows::{Flow, FlowPeer, Progress},
        links::{LinkRecord, LinkType},
        local::LocalTarget,
        shared::Shared,
        table::Address,
    },
    management::{AllocatorRow, ConnectionRow, LinkRow, TcpConnectionRow},
    routing::Route,
};

/// What C routers call the container at the end of a flow.
const ADAPTOR: &str = "TcpAdaptor";
/// Priority of the messages of flows.
const FLOW_PRIORITY: u32 = 4;

/// Something that is shown as a connection.
pub(super) enum Open<'a> {
    Amqp(&'a Arc<ConnectionHandle>),
    Flow(Arc<Flow>),
}

/// A TCP flow as a connection. As in C routers, its stream is no delivery that is timed.
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
        ..ConnectionRow::default()
    }
}

/// The same as the C routers of version 2 show it beside that.
pub(super) fn tcp_connection_row(id: u64, flow: &Flow) -> TcpConnectionRow {
    let (host, direction) = far_end(flow);
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
        last_in_seconds: None,
        last_out_seconds: None,
    }
}

/// The two links of a flow, into the network and out of it. Each carries one message, which is the stream of octets.
/// As those of C routers, the link that leads to the reply address of another router names none.
pub(super) fn flow_links(connection: u64, flow: &Flow) -> Vec<LinkRow> {
    let (side, service_in) = match &flow.peer {
        FlowPeer::Client(..) => ("ingress", true),
        FlowPeer::Server(..) => ("egress", false),
    };
    let service = format!("M{}", flow.address());
    let row = |number: u64, dir: &str, serves: bool, begun: bool| LinkRow {
        identity: number.to_string(),
        link_name: format!("tcp.{side}.{dir}"),
        link_type: LinkType::Endpoint.as_str().to_owned(),
        link_dir: dir.to_owned(),
        owning_addr: serves.then(|| service.clone()),
        capacity: 1,
        connection_id: connection.to_string(),
        admin_status: "enabled".to_owned(),
        oper_status: "up".to_owned(),
        priority: FLOW_PRIORITY,
        credit_available: u32::from(!begun),
        ..LinkRow::default()
    };
    let sending = flow.did(Progress::Sending);
    let receiving = flow.did(Progress::Receiving);
    let received = flow.did(Progress::Received);
    vec![
        LinkRow {
            delivery_count: sending.into(),
            unsettled_count: sending.into(),
            ..row(flow.links, "in", service_in, sending)
        },
        // a message counts as delivered when its end is
        LinkRow {
            delivery_count: received.into(),
            undelivered_count: (receiving && !received).into(),
            ..row(flow.links + 1, "out", !service_in, receiving)
        },
    ]
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
    use crate::{
        adaptor::tcp::{TcpConnector, TcpListener},
        net::tls::TlsProfiles,
    };

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
            ),
            Flow::new(FlowPeer::Server(connector, "127.0.0.1:9@west".into()), 6),
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
            flow_links(1, flow)
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
            flow_links(1, &flow)
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
