//! Choice of destinations for a message, and its hand-over to them.
//!
//! Rules of the network's routers: in-process and local consumers, the treatment of the address (closest, balanced,
//! multicast), valid origins, trace and radius guards, no echo to the edge or edge mesh a message came from.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use amqp::{engine::LinkId, performative::DeliveryState};
use smallvec::SmallVec;

use super::{
    access::{self, Access},
    address::AddressKey,
    annotations::Annotations,
    connection::{ConnectionHandle, ConnectionId},
    connection_message::Via,
    delivery::{Delivery, Outstanding},
    local::LocalTarget,
    requests::Request as ManagementRequest,
    shared::{LINK_CAPACITY, Shared},
    table::{Address, AddressCounts, Consumer, ConsumerTarget, Neighbour, Table},
};
use crate::{
    adaptor::tcp::{Bridge, Doubt, ReplySlot, TcpConnector},
    routing::{RemoteAddress, Route, RouterId, Treatment},
};

#[cfg(test)]
mod tests;

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
        /// Whose consumers these are; none for dynamic addresses and copies.
        destination: Option<Destination>,
        /// To be raised if the message is released.
        doubt: Option<Box<Doubt>>,
        /// Where the message is counted; none if its address is not shown.
        counted: Option<Counted>,
    },
    /// A TCP server behind a tcpConnector.
    Tcp {
        connector: Arc<TcpConnector>,
        open: Arc<AtomicU32>,
        counted: Option<Counted>,
    },
    /// A waiting TCP flow.
    Reply(Arc<ReplySlot>),
    /// A TCP stream whose consumer speaks another framing, or may.
    Bridge(Box<Bridge>),
    /// The management agent, with what the sender may do there.
    Management(Access),
}

impl Sink {
    /// The counter at which a delivery to this destination is counted. It is one for each consumer, and for each
    /// neighbour and address, so it also tells destinations apart. None for addresses that can have one only.
    pub fn counter(&self) -> Option<&Arc<AtomicU32>> {
        match self {
            Self::Connection { open, .. } => open.as_ref(),
            Self::Tcp { open, .. } => Some(open),
            Self::Bridge(bridge) => bridge.sink().counter(),
            Self::Reply(_) | Self::Management(_) => None,
        }
    }

    /// The same destination; `doubt` is raised if it releases the message.
    pub(crate) fn doubting(mut self, raised: Doubt) -> Self {
        if let Self::Connection { doubt, .. } = &mut self {
            *doubt = Some(Box::new(raised));
        }
        self
    }
}

/// The counters of an address, and where a message came from.
#[derive(Clone, Debug)]
pub struct Counted {
    counts: Arc<AddressCounts>,
    /// It entered the network here.
    ingress: bool,
}

impl Counted {
    fn dispatched(&self, to_router: bool) {
        if self.ingress {
            self.counts.ingress.fetch_add(1, Ordering::Relaxed);
        }
        let left = if to_router {
            &self.counts.transit
        } else {
            &self.counts.egress
        };
        left.fetch_add(1, Ordering::Relaxed);
    }
}

/// The consumers that a message for a mobile address was chosen for, as far as this router can tell them apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Destination {
    /// Those of another interior router and its edges.
    Router(RouterId),
    /// The one behind an outgoing link.
    Link(ConnectionId, LinkId),
    /// Those that an edge's interior router knows.
    Uplink(ConnectionId),
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
    choose_again(shared, table, request, &[])
}

/// Chooses another destination of a message that those in `tried` ([`Sink::counter`]) have released.
pub fn choose_again(
    shared: &Shared,
    table: &Table,
    request: Request<'_>,
    tried: &[Arc<AtomicU32>],
) -> Choice {
    // Edges are the end of every path; they know no radius.
    if !shared.space.edge && request.annotations.trace.len() > table.routes.radius as usize + 1 {
        return Choice::Nowhere;
    }
    let chooser = Chooser {
        shared,
        table,
        request,
        tried,
    };
    match shared.space.classify(request.address) {
        AddressKey::Local("$management") => Choice::One(Sink::Management(
            request.arrived_on.map_or(Access::None, Access::of),
        )),
        AddressKey::Local(name) => match shared.local.find(name) {
            Some(LocalTarget::Reply(slot)) => Choice::One(Sink::Reply(slot)),
            Some(LocalTarget::Link(connection, link)) => {
                Choice::One(chooser.link_sink(&connection, link, None, None))
            }
            None => chooser.mobile(&format!("L{name}")),
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
            // An edge knows only the addresses it has proxies for; its interior knows the rest. What somebody who
            // was known has released is not offered to the interior: that would come back here.
            Choice::Nowhere if shared.space.edge && tried.is_empty() => chooser.uplink(),
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
            doubt,
            counted,
            ..
        } => {
            if let Some(doubt) = doubt {
                delivery.doubt_if_released(doubt);
            }
            // Pre-settled messages count until they are sent, which is of interest at consumers only.
            if let Some(open) = open
                && (!delivery.presettled || matches!(via, Via::Link(_)))
            {
                delivery.count_at(Outstanding::new(&open));
            }
            let to_interior = connection.role.is_between_interiors();
            count_entry(shared, &delivery);
            let left = if to_interior {
                &shared.counters.transit
            } else {
                &shared.counters.egress
            };
            left.fetch_add(1, Ordering::Relaxed);
            if let Some(counted) = counted {
                counted.dispatched(to_interior);
            }
            connection.deliver(via, delivery);
        }
        Sink::Tcp {
            connector,
            open,
            counted,
        } => {
            delivery.count_at(Outstanding::new(&open));
            count_entry(shared, &delivery);
            shared.counters.egress.fetch_add(1, Ordering::Relaxed);
            if let Some(counted) = counted {
                counted.dispatched(false);
            }
            connector.open(shared, delivery);
        }
        Sink::Reply(slot) => {
            count_entry(shared, &delivery);
            shared.counters.egress.fetch_add(1, Ordering::Relaxed);
            slot.offer(delivery);
        }
        Sink::Bridge(bridge) => bridge.start(shared, delivery),
        Sink::Management(Access::None) => {
            delivery.report(Some(access::refused()), true);
        }
        Sink::Management(access) => {
            let Some(connection) = delivery.arrived_on else {
                delivery.report(Some(DeliveryState::Released), true);
                return;
            };
            if let Err(request) = shared
                .requests
                .add(ManagementRequest::new(connection, access, delivery))
            {
                request.refuse(shared, "too many requests of this connection wait");
            }
        }
    }
}

/// Counts what an adaptor of this router brings into the network. Connections count theirs when they arrive; answers of
/// the router itself, which are settled from the beginning, do not count.
fn count_entry(shared: &Shared, delivery: &Delivery) {
    if delivery.arrived_on.is_none() && !delivery.presettled {
        shared.counters.ingress.fetch_add(1, Ordering::Relaxed);
    }
}

/// A router with an address, the way to it, and the counter of what is open there.
type Usable<'t> = (&'t RouterId, &'t Route, Option<&'t Arc<AtomicU32>>);

struct Chooser<'a> {
    shared: &'a Shared,
    table: &'a Table,
    request: Request<'a>,
    /// Counters of destinations that have released the message.
    tried: &'a [Arc<AtomicU32>],
}

impl Chooser<'_> {
    fn mobile(&self, key: &str) -> Choice {
        let local = self.table.addresses.get(key);
        let remote = self.table.routes.addresses.get(key);
        let Some(treatment) = local
            .map(|address| address.treatment)
            .or(remote.map(|remote| remote.treatment))
        else {
            return match self.table.configured.treatment(key) {
                Treatment::Unavailable => Choice::Unavailable,
                _ => Choice::Nowhere,
            };
        };
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
        let from_edge_peer = self
            .request
            .arrived_on
            .filter(|connection| connection.role.is_edge());
        let mesh = self.request.annotations.mesh.as_deref();
        address.consumers.iter().filter(move |consumer| {
            if self.is_tried(Some(&consumer.open)) {
                return false;
            }
            if consumer.proxy {
                return from_edge_peer.is_none();
            }
            let Some(connection) = consumer.connection().filter(|c| c.role.is_edge()) else {
                return true;
            };
            from_edge_peer.is_none_or(|from| from.container != connection.container)
                && (mesh.is_none() || !connection.is_in_mesh(mesh))
        })
    }

    fn is_tried(&self, counter: Option<&Arc<AtomicU32>>) -> bool {
        counter.is_some_and(|counter| self.tried.iter().any(|tried| Arc::ptr_eq(tried, counter)))
    }

    /// Routers with the address that may get this message, nearest first, and the ways to them.
    ///
    /// They are those to which the way from where the message entered leads through here. If there are none, whoever
    /// sent it here sees the network otherwise, as routers do for a moment when a way changes: then it goes on to
    /// where it has not been.
    fn usable<'t>(
        &'t self,
        local: Option<&'t Arc<Address>>,
        remote: Option<&'t Arc<RemoteAddress>>,
    ) -> SmallVec<[Usable<'t>; 8]> {
        let ingress = self.request.annotations.ingress.as_deref();
        let on_the_way: SmallVec<_> = self
            .reachable(local, remote)
            .filter(|(router, ..)| self.table.routes.origin_valid(router, ingress))
            .collect();
        if ingress.is_none() || !on_the_way.is_empty() {
            return on_the_way;
        }
        let trace = &self.request.annotations.trace;
        let been = |id: &RouterId| {
            let mut routers = trace.iter().map(|entry| entry.strip_prefix("0/"));
            routers.any(|router| router == Some(id.as_str()))
        };
        self.reachable(local, remote)
            .filter(|(_, route, _)| !been(&route.next_hop))
            .collect()
    }

    /// Routers with the address, and the ways to them, those that have released this message aside.
    fn reachable<'t>(
        &'t self,
        local: Option<&'t Arc<Address>>,
        remote: Option<&'t Arc<RemoteAddress>>,
    ) -> impl Iterator<Item = Usable<'t>> {
        let mesh = self.request.annotations.mesh.as_deref();
        remote
            .into_iter()
            .flat_map(|remote| remote.routers.iter().zip(&remote.meshes))
            // Nothing comes back to the mesh where it entered.
            .filter(move |(_, sole)| sole.is_none() || sole.as_deref() != mesh)
            .filter_map(|(router, _)| Some((router, self.table.routes.routers.get(router)?)))
            .map(move |(router, route)| {
                let counter = local.and_then(|address| address.transit.get(&route.link.0));
                (router, route, counter)
            })
            .filter(move |(_, _, counter)| !self.is_tried(*counter))
    }

    fn closest(
        &self,
        local: Option<&Arc<Address>>,
        remote: Option<&Arc<RemoteAddress>>,
    ) -> Option<Sink> {
        if let Some(address) = local {
            let eligible: SmallVec<[&Arc<Consumer>; 8]> = self.eligible(address).collect();
            if !eligible.is_empty() {
                let turn = address.turn.fetch_add(1, Ordering::Relaxed);
                return Some(self.consumer_sink(eligible[turn % eligible.len()], local));
            }
        }
        // Routers come sorted by cost; among the cheapest ones turns are taken, then dearer ones are tried.
        let usable: SmallVec<[(&RouterId, u32); 8]> = self
            .usable(local, remote)
            .into_iter()
            .map(|(router, route, _)| (router, route.cost))
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

    fn balanced(
        &self,
        local: Option<&Arc<Address>>,
        remote: Option<&Arc<RemoteAddress>>,
    ) -> Option<Sink> {
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
                    return Some(self.consumer_sink(consumer, local));
                }
            }
        }
        for (router, route, counter) in self.usable(local, remote) {
            let outstanding = counter.map_or(0, |counter| counter.load(Ordering::Relaxed));
            offer(
                outstanding.saturating_add(route.cost),
                outstanding < LINK_CAPACITY,
                BestOf::Router(router),
            );
        }
        match best?.2 {
            BestOf::Consumer(consumer) => Some(self.consumer_sink(consumer, local)),
            BestOf::Router(router) => self.router(router.as_str(), local),
        }
    }

    fn multicast(&self, key: &str, local: Option<&Arc<Address>>) -> Choice {
        let mut sinks: Vec<Sink> = local
            .map(|address| {
                self.eligible(address)
                    .map(|consumer| self.consumer_sink(consumer, Some(address)))
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
                let (connection, via) = self.carrier(neighbour);
                sinks.push(Sink::Connection {
                    connection: connection.clone(),
                    via,
                    open: None,
                    destination: None,
                    doubt: None,
                    counted: self.counted(local),
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
        let (id, route) = self.table.routes.routers.get_key_value(id)?;
        let neighbour = self.table.neighbours.get(&route.link.0)?;
        let open = address
            .and_then(|address| address.transit.get(&route.link.0))
            .cloned();
        let (connection, via) = self.carrier(neighbour);
        Some(Sink::Connection {
            connection: connection.clone(),
            via,
            open,
            destination: Some(Destination::Router(id.clone())),
            doubt: None,
            counted: self.counted(address),
        })
    }

    /// The connection to a neighbour, and the link of it, that carry this message: a message that is not complete would
    /// block the links that others use.
    fn carrier<'t>(&self, neighbour: &'t Neighbour) -> (&'t Arc<ConnectionHandle>, Via) {
        if self.request.complete || !neighbour.control.streaming {
            return (&neighbour.control, Via::Data);
        }
        (self.stream_connection(neighbour), Via::Stream)
    }

    fn stream_connection<'t>(&self, neighbour: &'t Neighbour) -> &'t Arc<ConnectionHandle> {
        neighbour.for_stream(self.request.preferred, crate::worker::current())
    }

    /// The connection for a stream to or from an edge whose links are on `connection`.
    fn edge_stream<'t>(
        &'t self,
        connection: &'t Arc<ConnectionHandle>,
    ) -> &'t Arc<ConnectionHandle> {
        self.table
            .edges
            .get(&connection.id)
            .map_or(connection, |pool| self.stream_connection(pool))
    }

    /// Where a message for this address is counted.
    fn counted(&self, address: Option<&Arc<Address>>) -> Option<Counted> {
        let counts = address?.counts.clone();
        let ingress = self
            .request
            .arrived_on
            .is_none_or(|connection| !connection.role.is_between_interiors());
        Some(Counted { counts, ingress })
    }

    fn consumer_sink(&self, consumer: &Arc<Consumer>, address: Option<&Arc<Address>>) -> Sink {
        match &consumer.target {
            ConsumerTarget::Link(connection, link) => {
                self.link_sink(connection, *link, Some(&consumer.open), address)
            }
            ConsumerTarget::Tcp(connector) => Sink::Tcp {
                connector: connector.clone(),
                open: consumer.open.clone(),
                counted: self.counted(address),
            },
        }
    }

    fn link_sink(
        &self,
        connection: &Arc<ConnectionHandle>,
        link: LinkId,
        open: Option<&Arc<AtomicU32>>,
        address: Option<&Arc<Address>>,
    ) -> Sink {
        let (connection, via) =
            if !self.request.complete && connection.role.is_edge() && connection.streaming {
                (self.edge_stream(connection), Via::Stream)
            } else {
                (connection, Via::Link(link))
            };
        Sink::Connection {
            connection: connection.clone(),
            via,
            open: open.cloned(),
            destination: open.map(|_| Destination::Link(connection.id, link)),
            doubt: None,
            counted: self.counted(address),
        }
    }

    fn uplink(&self) -> Choice {
        let Some(uplink) = &self.table.uplink else {
            return Choice::Nowhere;
        };
        if self
            .request
            .arrived_on
            .is_some_and(|connection| connection.role.is_edge())
        {
            return Choice::Nowhere;
        }
        let (connection, via) = if !self.request.complete && uplink.streaming {
            (self.edge_stream(uplink), Via::Stream)
        } else {
            (uplink, Via::Uplink)
        };
        Choice::One(Sink::Connection {
            connection: connection.clone(),
            via,
            open: None,
            destination: Some(Destination::Uplink(uplink.id)),
            doubt: None,
            counted: None,
        })
    }
}

enum BestOf<'a> {
    Consumer(&'a Arc<Consumer>),
    Router(&'a RouterId),
}
