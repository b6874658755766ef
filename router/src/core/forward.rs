//! Choice of destinations for a message, and its hand-over to them.
//!
//! Rules of the network's routers: in-process and local consumers, the treatment of the address (closest, balanced,
//! multicast), valid origins, trace and radius guards, no echo to the edge a message came from.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use amqp::performative::DeliveryState;
use smallvec::SmallVec;

use super::{
    address::AddressKey,
    annotations::Annotations,
    delivery::{Delivery, Outstanding},
    local::LocalTarget,
    shared::{ConnectionHandle, ConnectionId, ConnectionRole, LINK_CAPACITY, Shared, Via},
    table::{Address, Consumer, ConsumerTarget, Table},
};
use crate::{
    adaptor::tcp::{ReplySlot, TcpConnector},
    routing::{RouterId, Treatment},
};

/// What is known of a message when its destination is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Address text: link address, to-override or `to`.
    pub address: &'a str,
    /// Its annotations as they arrived.
    pub annotations: &'a Annotations,
    /// Connection on which it arrived.
    pub arrived_on: Option<&'a ConnectionHandle>,
    /// The message is completely received.
    pub complete: bool,
    /// Connection that should carry it if it leads there: the one that brought the opposite stream.
    pub preferred: Option<ConnectionId>,
}

/// One destination of a message.
#[derive(Clone, Debug)]
pub enum Sink {
    /// A link of a connection.
    Connection {
        connection: Arc<ConnectionHandle>,
        via: Via,
        open: Option<Arc<AtomicU32>>,
    },
    /// A TCP server behind a tcpConnector.
    Tcp {
        connector: Arc<TcpConnector>,
        open: Arc<AtomicU32>,
    },
    /// A waiting TCP flow.
    Reply(Arc<ReplySlot>),
    /// The management agent.
    Management,
}

/// Result of a choice.
#[derive(Debug)]
pub enum Choice {
    /// Exactly one destination.
    One(Sink),
    /// A copy to each (multicast); never empty.
    Many(Vec<Sink>),
    /// No destination: the message is released.
    Nowhere,
    /// The address is configured as unavailable: the message is rejected.
    Unavailable,
}

/// Chooses the destinations of a message.
pub fn choose(shared: &Shared, table: &Table, request: Request<'_>) -> Choice {
    // Edges are the end of every path; they know no radius.
    if !shared.space.edge && request.annotations.trace.len() > table.routes.radius as usize + 1 {
        return Choice::Nowhere;
    }
    let chooser = Chooser {
        shared,
        table,
        request,
    };
    match shared.space.classify(request.address) {
        AddressKey::Local("$management") => Choice::One(Sink::Management),
        AddressKey::Local(name) => match shared.local.find(name) {
            Some(LocalTarget::Reply(slot)) => Choice::One(Sink::Reply(slot)),
            Some(LocalTarget::Link(connection, link)) => {
                Choice::One(chooser.link_sink(&connection, link, None))
            }
            None => Choice::Nowhere,
        },
        AddressKey::Router(_) if shared.space.edge => chooser.uplink(),
        AddressKey::Router(id) => chooser
            .router(id, None)
            .map_or(Choice::Nowhere, Choice::One),
        AddressKey::Edge(id) => match chooser.mobile(&format!("H{id}")) {
            Choice::Nowhere if shared.space.edge => chooser.uplink(),
            choice => choice,
        },
        AddressKey::Mobile(text) => match chooser.mobile(&format!("M{text}")) {
            // An edge knows only the addresses it has proxies for; its interior knows the rest.
            Choice::Nowhere if shared.space.edge => chooser.uplink(),
            choice => choice,
        },
        AddressKey::AllRouters(_) | AddressKey::Foreign(_) => Choice::Nowhere,
    }
}

/// Hands a delivery to a chosen destination.
pub fn dispatch(shared: &Arc<Shared>, sink: Sink, delivery: Arc<Delivery>) {
    match sink {
        Sink::Connection {
            connection,
            via,
            open,
        } => {
            if let (Some(open), false) = (open, delivery.presettled) {
                delivery.count_at(Outstanding::new(&open));
            }
            let counter = match connection.role {
                ConnectionRole::Normal => &shared.counters.egress,
                _ if delivery.arrived_on.is_some() => &shared.counters.transit,
                _ => &shared.counters.ingress,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            connection.deliver(via, delivery);
        }
        Sink::Tcp { connector, open } => {
            delivery.count_at(Outstanding::new(&open));
            shared.counters.egress.fetch_add(1, Ordering::Relaxed);
            connector.open(shared, delivery);
        }
        Sink::Reply(slot) => slot.offer(delivery),
        Sink::Management => {
            let message = delivery.take(|chunks, _, _| {
                let mut octets = bytes::BytesMut::new();
                for chunk in chunks.drain(..) {
                    octets.extend_from_slice(&chunk);
                }
                octets.freeze()
            });
            shared.tell(super::shared::ControlMessage::Management { message });
            delivery.report(Some(DeliveryState::Accepted), true);
        }
    }
}

struct Chooser<'a> {
    shared: &'a Shared,
    table: &'a Table,
    request: Request<'a>,
}

impl Chooser<'_> {
    fn mobile(&self, key: &str) -> Choice {
        let local = self.table.addresses.get(key);
        let remote = self.table.routes.addresses.get(key);
        let Some(treatment) = local
            .map(|address| address.treatment)
            .or(remote.map(|remote| remote.treatment))
        else {
            return Choice::Nowhere;
        };
        let remote: &[RouterId] = remote.map_or(&[], |remote| &remote.routers);
        let sink = match treatment {
            Treatment::Unavailable => return Choice::Unavailable,
            Treatment::Flood | Treatment::Multicast => return self.multicast(key, local),
            Treatment::Closest => self.closest(local, remote),
            Treatment::Balanced => self.balanced(local, remote),
        };
        sink.map_or(Choice::Nowhere, Choice::One)
    }

    /// Local consumers that may get this message.
    fn eligible<'t>(&self, address: &'t Address) -> impl Iterator<Item = &'t Arc<Consumer>> {
        let arrived_on = self.request.arrived_on;
        let from_edge_peer = arrived_on
            .filter(|connection| connection.role == ConnectionRole::Edge)
            .map(|c| c.id);
        address.consumers.iter().filter(move |consumer| {
            from_edge_peer.is_none()
                || (!consumer.proxy
                    && consumer.connection().map(|connection| connection.id) != from_edge_peer)
        })
    }

    fn closest(&self, local: Option<&Arc<Address>>, remote: &[RouterId]) -> Option<Sink> {
        if let Some(address) = local {
            let eligible: SmallVec<[&Arc<Consumer>; 8]> = self.eligible(address).collect();
            if !eligible.is_empty() {
                let turn = address.turn.fetch_add(1, Ordering::Relaxed);
                return Some(self.consumer_sink(eligible[turn % eligible.len()]));
            }
        }
        // Routers come sorted by cost; among the cheapest ones turns are taken, then dearer ones are tried.
        let usable: SmallVec<[(&RouterId, u32); 8]> = remote
            .iter()
            .filter(|router| {
                self.table
                    .routes
                    .origin_valid(router, self.request.annotations.ingress.as_deref())
            })
            .filter_map(|router| Some((router, self.table.routes.routers.get(router)?.cost)))
            .collect();
        let cheapest = usable.first()?.1;
        let equal = usable
            .iter()
            .take_while(|(_, cost)| *cost == cheapest)
            .count();
        let turn = local.map_or_else(
            || self.shared.next_worker(),
            |address| address.turn.fetch_add(1, Ordering::Relaxed),
        );
        self.router(usable[turn % equal].0.as_str(), local)
    }

    fn balanced(&self, local: Option<&Arc<Address>>, remote: &[RouterId]) -> Option<Sink> {
        let mut best: Option<(u32, bool, BestOf<'_>)> = None;
        let mut offer = |value: u32, eligible: bool, candidate| {
            // An eligible candidate beats an ineligible one; among equals the first offered stays.
            if best
                .as_ref()
                .is_none_or(|(v, e, _)| (eligible && !*e) || (eligible == *e && value < *v))
            {
                best = Some((value, eligible, candidate));
            }
        };
        if let Some(address) = local {
            let consumers: SmallVec<[&Arc<Consumer>; 8]> = self.eligible(address).collect();
            let start = address.turn.load(Ordering::Relaxed);
            for index in 0..consumers.len() {
                let consumer = consumers[(start + index) % consumers.len()];
                let open = consumer.open.load(Ordering::Relaxed);
                offer(open, open < LINK_CAPACITY, BestOf::Consumer(consumer));
                if open == 0 {
                    // Idle consumers take turns.
                    address.turn.store(start + index + 1, Ordering::Relaxed);
                    return Some(self.consumer_sink(consumer));
                }
            }
        }
        for router in remote {
            let Some(route) = self.table.routes.routers.get(router) else {
                continue;
            };
            if !self
                .table
                .routes
                .origin_valid(router, self.request.annotations.ingress.as_deref())
            {
                continue;
            }
            let outstanding = local
                .and_then(|address| address.transit.get(&route.link.0))
                .map_or(0, |counter| counter.load(Ordering::Relaxed));
            offer(
                outstanding.saturating_add(route.cost),
                outstanding < LINK_CAPACITY,
                BestOf::Router(router),
            );
        }
        match best?.2 {
            BestOf::Consumer(consumer) => Some(self.consumer_sink(consumer)),
            BestOf::Router(router) => self.router(router.as_str(), local),
        }
    }

    fn multicast(&self, key: &str, local: Option<&Arc<Address>>) -> Choice {
        let mut sinks: Vec<Sink> = local
            .map(|address| {
                self.eligible(address)
                    .map(|consumer| self.consumer_sink(consumer))
                    .collect()
            })
            .unwrap_or_default();
        let trace: SmallVec<[&str; 8]> = self
            .request
            .annotations
            .trace
            .iter()
            .map(String::as_str)
            .collect();
        for link in self.table.routes.multicast_links(
            key,
            self.request.annotations.ingress.as_deref(),
            &trace,
        ) {
            if let Some(neighbour) = self.table.neighbours.get(&link.0) {
                sinks.push(Sink::Connection {
                    connection: neighbour.control.clone(),
                    via: Via::Data,
                    open: None,
                });
            }
        }
        if sinks.is_empty() {
            Choice::Nowhere
        } else {
            Choice::Many(sinks)
        }
    }

    fn router(&self, id: &str, address: Option<&Arc<Address>>) -> Option<Sink> {
        let route = self.table.routes.routers.get(id)?;
        let neighbour = self.table.neighbours.get(&route.link.0)?;
        let open = address
            .and_then(|address| address.transit.get(&route.link.0))
            .cloned();
        let (connection, via) = if self.request.complete {
            (&neighbour.control, Via::Data)
        } else if neighbour.control.streaming {
            (
                neighbour.for_stream(self.request.preferred, crate::worker::current()),
                Via::Stream,
            )
        } else {
            (&neighbour.control, Via::Data)
        };
        Some(Sink::Connection {
            connection: connection.clone(),
            via,
            open,
        })
    }

    fn consumer_sink(&self, consumer: &Arc<Consumer>) -> Sink {
        match &consumer.target {
            ConsumerTarget::Link(connection, link) => {
                self.link_sink(connection, *link, Some(&consumer.open))
            }
            ConsumerTarget::Tcp(connector) => Sink::Tcp {
                connector: connector.clone(),
                open: consumer.open.clone(),
            },
        }
    }

    fn link_sink(
        &self,
        connection: &Arc<ConnectionHandle>,
        link: amqp::engine::LinkId,
        open: Option<&Arc<AtomicU32>>,
    ) -> Sink {
        let via = if !self.request.complete
            && connection.role != ConnectionRole::Normal
            && connection.streaming
        {
            Via::Stream
        } else {
            Via::Link(link)
        };
        Sink::Connection {
            connection: connection.clone(),
            via,
            open: open.cloned(),
        }
    }

    fn uplink(&self) -> Choice {
        let Some(uplink) = &self.table.uplink else {
            return Choice::Nowhere;
        };
        if self
            .request
            .arrived_on
            .is_some_and(|connection| connection.id == uplink.id)
        {
            return Choice::Nowhere;
        }
        let via = if !self.request.complete && uplink.streaming {
            Via::Stream
        } else {
            Via::Uplink
        };
        Choice::One(Sink::Connection {
            connection: uplink.clone(),
            via,
            open: None,
        })
    }
}

enum BestOf<'a> {
    Consumer(&'a Arc<Consumer>),
    Router(&'a RouterId),
}
