//! Addresses that this router serves itself: routing control and management, as management shows them.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    management::AddressRow,
    routing::{self, Addressed, RouteView},
};

/// What routers tell each other: key and distribution, in the order of the C routers.
const ROUTING: [(&str, &str); 5] = [
    ("Lqdhello", "flood"),
    ("Lqdrouter", "flood"),
    ("Lqdrouter.ma", "multicast"),
    ("Tqdrouter", "flood"),
    ("Tqdrouter.ma", "multicast"),
];
/// Where edge routers follow addresses. Served by the connections themselves, so that nothing is counted.
const TRACKING: (&str, &str) = ("M_$qd.edge_addr_tracking", "balanced");
const MANAGEMENT: &str = "M$management";
const MANAGEMENT_HERE: &str = "L$management";

/// Messages of these addresses since the start, by key.
#[derive(Debug, Default)]
pub(super) struct InProcess(BTreeMap<String, Counts>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// To the inside of the router.
    to: u64,
    /// From there.
    from: u64,
    /// To other routers, one for each.
    transit: u64,
}

impl InProcess {
    /// A control message came from a neighbour.
    pub(super) fn received(&mut self, message: &Bytes, view: &RouteView) {
        match routing::addressed(message, view.id.as_str()) {
            // for somebody else
            Some(Addressed { key, .. }) if key.starts_with('R') => {}
            Some(Addressed { key, .. }) => self.counts(key, view).to += 1,
            None => {}
        }
    }

    /// A control message goes to a neighbour.
    pub(super) fn sent(&mut self, message: &Bytes, view: &RouteView) {
        let Some(Addressed { key, own }) = routing::addressed(message, view.id.as_str()) else {
            return;
        };
        let leaves = !key.starts_with('L');
        let counts = self.counts(key, view);
        counts.from += u64::from(own);
        counts.transit += u64::from(leaves);
    }

    /// Management was asked something.
    pub(super) fn asked(&mut self, view: &RouteView) {
        self.counts(MANAGEMENT.to_owned(), view).to += 1;
    }

    fn counts(&mut self, key: String, view: &RouteView) -> &mut Counts {
        if self.0.len() > ROUTING.len() + 2 * (view.routers.len() + ROUTING.len()) {
            // routers that are gone
            self.0.retain(|key, _| match key.strip_prefix('R') {
                Some(id) => view.routers.contains_key(id),
                None => true,
            });
        }
        self.0.entry(key).or_default()
    }

    /// How many rows there are; `interior` if the router takes part in routing.
    pub(super) fn len(interior: bool, view: &RouteView) -> usize {
        if interior {
            ROUTING.len() + 3 + view.routers.len()
        } else {
            2
        }
    }

    /// The rows.
    pub(super) fn rows(&self, interior: bool, view: &RouteView) -> Vec<AddressRow> {
        let row = |key: &str, distribution: &str| {
            let counts = self.0.get(key).copied().unwrap_or_default();
            AddressRow {
                key: key.to_owned(),
                distribution: distribution.to_owned(),
                in_process: 1,
                deliveries_to_container: counts.to,
                deliveries_from_container: counts.from,
                deliveries_transit: counts.transit,
                priority: -1,
                ..AddressRow::default()
            }
        };
        let mut rows = Vec::with_capacity(Self::len(interior, view));
        if interior {
            let everybody: Vec<String> = view.routers.keys().map(ToString::to_string).collect();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            rows.extend(ROUTING.iter().map(|(key, distribution)| {
                let plain = row(key, distribution);
                match key.as_bytes().first() {
                    Some(b'T') => AddressRow {
                        remote_count: count(everybody.len()),
                        remote_host_routers: everybody.clone(),
                        ..plain
                    },
                    // the neighbours are those who hear it
                    _ if *key == "Lqdhello" => AddressRow {
                        subscriber_count: count(view.neighbours.len()),
                        ..plain
                    },
                    _ => plain,
                }
            }));
            rows.push(AddressRow {
                in_process: 0,
                ..row(TRACKING.0, TRACKING.1)
            });
            rows.extend(everybody.iter().map(|id| AddressRow {
                in_process: 0,
                remote_count: 1,
                remote_host_routers: vec![id.clone()],
                ..row(&format!("R{id}"), "closest")
            }));
        }
        let asked = row(MANAGEMENT, "closest");
        rows.push(AddressRow {
            deliveries_ingress: asked.deliveries_to_container,
            ..asked
        });
        rows.push(row(MANAGEMENT_HERE, "closest"));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_router_serves_management_alone() {
        let view = RouteView::empty(&"e".into(), 1);
        let mut counts = InProcess::default();
        counts.asked(&view);
        let rows = counts.rows(false, &view);
        let shown: Vec<(&str, u64, u64)> = rows
            .iter()
            .map(|row| {
                (
                    row.key.as_str(),
                    row.deliveries_ingress,
                    row.deliveries_to_container,
                )
            })
            .collect();
        assert_eq!(shown, [("M$management", 1, 1), ("L$management", 0, 0)]);
        assert_eq!(rows.len(), InProcess::len(false, &view));
        assert_eq!(counts.rows(true, &view).len(), InProcess::len(true, &view));
    }

    #[test]
    fn control_messages_count_where_they_begin_and_where_they_end() {
        // As C routers write them: from `b`, for everybody and for this router alone.
        let message = |to: &str| {
            let mut octets = bytes::BytesMut::new();
            let message = amqp::message::Message {
                properties: amqp::message::Properties {
                    to: Some(to.to_owned()),
                    ..amqp::message::Properties::default()
                },
                ..amqp::message::Message::default()
            };
            message.encode(&mut octets);
            octets.freeze()
        };
        let view = RouteView::empty(&"a".into(), 1);
        let mut counts = InProcess::default();
        for _ in 0..2 {
            counts.sent(&message("amqp:/_topo/0/all/qdrouter"), &view);
        }
        counts.sent(&message("amqp:/_local/qdhello"), &view);
        counts.received(&message("amqp:/_topo/0/all/qdrouter"), &view);
        counts.received(&message("amqp:/_topo/0/a/qdrouter.ma"), &view);
        counts.received(&message("amqp:/_topo/0/c/qdrouter.ma"), &view);
        let of = |key: &str| {
            let rows = counts.rows(true, &view);
            let row = rows.iter().find(|row| row.key == key);
            row.map(|row| {
                (
                    row.deliveries_to_container,
                    row.deliveries_from_container,
                    row.deliveries_transit,
                )
            })
        };
        assert_eq!(of("Tqdrouter"), Some((1, 2, 2)));
        assert_eq!(of("Lqdhello"), Some((0, 1, 0)));
        assert_eq!(of("Lqdrouter.ma"), Some((1, 0, 0)));
        assert_eq!(of("Tqdrouter.ma"), Some((0, 0, 0)));
    }

    #[test]
    fn routers_that_are_gone_are_forgotten() {
        let view = RouteView::empty(&"a".into(), 1);
        let mut counts = InProcess::default();
        for number in 0..1000 {
            counts.counts(format!("R{number}"), &view).from += 1;
        }
        assert!(counts.0.len() < 20, "{}", counts.0.len());
    }

    #[test]
    fn what_is_no_control_message_is_not_counted() {
        let view = RouteView::empty(&"a".into(), 1);
        let mut counts = InProcess::default();
        counts.received(&Bytes::from_static(b"nonsense"), &view);
        counts.sent(&Bytes::from_static(b""), &view);
        assert!(counts.0.is_empty());
    }
}
