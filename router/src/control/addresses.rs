//! Addresses with consumers or producers on this router: announcement, credit, address tracking of edges, and the
//! table that workers read.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use amqp::{
    Value,
    engine::LinkId,
    message::{self, section},
};
use bytes::BytesMut;

use super::{Control, in_process::InProcess};
use crate::{
    adaptor::tcp::TcpConnector,
    core::{
        annotations::Annotations,
        connection::{ConnectionHandle, ConnectionId, ConnectionRole},
        connection_message::{Command, Via},
        delivery::Delivery,
        table::{Address, AddressCounts, Consumer, ConsumerTarget, Table},
    },
    routing::{RemoteAddress, RouteView, Treatment},
};

/// One address that something on this router produces for or consumes.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) consumers: Vec<Arc<Consumer>>,
    producers: Vec<Producer>,
    /// tcpListeners with this address.
    pub(super) watches: usize,
    announced: Option<Announced>,
    /// Edge router: links that represent this address at the interior.
    pub(super) proxies: Proxies,
    transit: HashMap<u64, Arc<AtomicU32>>,
    turn: Arc<AtomicUsize>,
    counts: Arc<AddressCounts>,
}

/// Edge router: what has been asked of the uplink for an address.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    pub(super) consumer: bool,
    pub(super) producer: bool,
    /// The attached producer proxy.
    pub(super) link: Option<LinkId>,
}

/// What the routing protocol was told of an address.
#[derive(Debug, Eq, PartialEq)]
struct Announced {
    treatment: Treatment,
    /// Edge mesh in which all its consumers are.
    mesh: Option<String>,
}

/// What an address keeps from one table to the next.
struct Lasting {
    transit: HashMap<u64, Arc<AtomicU32>>,
    turn: Arc<AtomicUsize>,
    counts: Arc<AddressCounts>,
}

#[derive(Debug)]
struct Producer {
    connection: Arc<ConnectionHandle>,
    link: LinkId,
    /// Credit has been given, or an edge has been told that the address is reachable.
    told: bool,
}

impl Entry {
    pub(super) fn has_local_consumers(&self) -> bool {
        self.consumers.iter().any(|consumer| !consumer.proxy)
    }

    /// True if one of its consumers is at such a connection.
    fn is_of_edges(&self, such: impl Fn(ConnectionId) -> bool) -> bool {
        let mut connections = self.consumers.iter().filter_map(|known| known.connection());
        connections.any(|connection| such(connection.id))
    }

    pub(super) fn has_producers(&self) -> bool {
        self.watches > 0 || !self.producers.is_empty()
    }

    pub(super) fn producer_count(&self) -> u32 {
        u32::try_from(self.producers.len() + self.watches).unwrap_or(u32::MAX)
    }

    fn is_unused(&self) -> bool {
        self.consumers.is_empty()
            && !self.has_producers()
            && self.announced.is_none()
            && !self.proxies.consumer
            && !self.proxies.producer
    }

    /// True if a producer of `connection` can reach a consumer: the consumers of an edge itself, and of its mesh, do
    /// not count for it.
    fn useful_to(&self, connection: &ConnectionHandle, remote: Option<&RemoteAddress>) -> bool {
        if connection.role != ConnectionRole::Edge {
            return remote.is_some() || !self.consumers.is_empty();
        }
        let elsewhere = remote.is_some_and(|remote| {
            remote
                .meshes
                .iter()
                .any(|mesh| !connection.is_in_mesh(mesh.as_deref()))
        });
        let mesh = connection.mesh.load();
        elsewhere
            || self.consumers.iter().any(|consumer| {
                consumer.connection().is_none_or(|consumer| {
                    consumer.id != connection.id
                        && !consumer.is_in_mesh(mesh.as_ref().map(|mesh| mesh.as_str()))
                })
            })
    }

    /// The one edge mesh in which all consumers on this router are.
    fn sole_mesh(&self) -> Option<String> {
        let mut consumers = self.consumers.iter().filter(|consumer| !consumer.proxy);
        let mesh = consumers.next()?.connection()?.mesh.load_full()?;
        consumers
            .all(|consumer| {
                consumer
                    .connection()
                    .is_some_and(|connection| connection.is_in_mesh(Some(&mesh)))
            })
            .then(|| mesh.as_ref().clone())
    }
}

impl Control {
    pub(super) fn consumer_up(
        &mut self,
        connection: Arc<ConnectionHandle>,
        link: LinkId,
        key: &Arc<str>,
    ) {
        self.consumer_keys
            .insert((connection.id, link), key.clone());
        self.add_consumer(
            key,
            ConsumerTarget::Link(connection, link),
            Arc::default(),
            false,
        );
    }

    pub(super) fn add_consumer(
        &mut self,
        key: &Arc<str>,
        target: ConsumerTarget,
        open: Arc<AtomicU32>,
        proxy: bool,
    ) {
        let entry = self.addresses.entry(key.clone()).or_default();
        entry.consumers.push(Arc::new(Consumer {
            target,
            open,
            proxy,
        }));
        self.dirty = true;
    }

    pub(super) fn consumer_down(&mut self, connection: ConnectionId, link: LinkId) {
        let Some(key) = self.consumer_keys.remove(&(connection, link)) else {
            return;
        };
        self.remove_consumers(&key, |consumer| {
            matches!(&consumer.target, ConsumerTarget::Link(handle, id) if handle.id == connection && *id == link)
        });
        if let Some(entry) = self.addresses.get_mut(&key)
            && entry.proxies.link == Some(link)
            && self.uplinks.active() == Some(connection)
        {
            entry.proxies.link = None;
        }
    }

    pub(super) fn remove_consumers(&mut self, key: &str, gone: impl Fn(&Consumer) -> bool) {
        if let Some(entry) = self.addresses.get_mut(key) {
            entry.consumers.retain(|consumer| !gone(consumer));
        }
        self.dirty = true;
    }

    pub(super) fn producer_up(
        &mut self,
        connection: Arc<ConnectionHandle>,
        link: LinkId,
        key: Arc<str>,
    ) {
        self.producer_keys
            .insert((connection.id, link), key.clone());
        self.addresses
            .entry(key)
            .or_default()
            .producers
            .push(Producer {
                connection,
                link,
                told: false,
            });
        self.dirty = true;
    }

    pub(super) fn producer_down(&mut self, connection: ConnectionId, link: LinkId) {
        let Some(key) = self.producer_keys.remove(&(connection, link)) else {
            return;
        };
        if let Some(entry) = self.addresses.get_mut(&key) {
            entry
                .producers
                .retain(|producer| producer.connection.id != connection || producer.link != link);
        }
        self.dirty = true;
    }

    pub(super) fn tcp_consumer_up(&mut self, connector: Arc<TcpConnector>) {
        let key: Arc<str> = format!("M{}", connector.address).into();
        let open = connector.open.clone();
        self.add_consumer(&key, ConsumerTarget::Tcp(connector), open, false);
    }

    pub(super) fn tcp_consumer_down(&mut self, name: &str) {
        let keys: Vec<Arc<str>> = self.addresses.keys().cloned().collect();
        for key in keys {
            self.remove_consumers(&key, |consumer| {
                matches!(&consumer.target, ConsumerTarget::Tcp(connector) if connector.name == name)
            });
        }
    }

    pub(super) fn watch(&mut self, address: &str, up: bool) {
        let entry = self
            .addresses
            .entry(format!("M{address}").into())
            .or_default();
        entry.watches = if up {
            entry.watches + 1
        } else {
            entry.watches.saturating_sub(1)
        };
        self.dirty = true;
    }

    /// A connection is gone; its links have been reported one by one, this catches what was not.
    pub(super) fn forget_connection(&mut self, id: ConnectionId) {
        let consumers: Vec<_> = self
            .consumer_keys
            .keys()
            .filter(|(connection, _)| *connection == id)
            .copied()
            .collect();
        for (connection, link) in consumers {
            self.consumer_down(connection, link);
        }
        let producers: Vec<_> = self
            .producer_keys
            .keys()
            .filter(|(connection, _)| *connection == id)
            .copied()
            .collect();
        for (connection, link) in producers {
            self.producer_down(connection, link);
        }
    }

    /// Tells the routing protocol which addresses have consumers here.
    pub(super) fn announce(&mut self) {
        let Some(routing) = &mut self.routing else {
            return;
        };
        for (key, entry) in &mut self.addresses {
            let stays = match &self.moving {
                Some(moving) => entry.is_of_edges(|edge| moving.concerns(edge)),
                None => !self.draining,
            };
            let wanted = entry.has_local_consumers() && stays && key.starts_with(['M', 'H']);
            let treatment = self.configured.treatment(key);
            let wanted = wanted.then(|| Announced {
                treatment,
                mesh: entry.sole_mesh(),
            });
            if wanted == entry.announced {
                continue;
            }
            match &wanted {
                Some(Announced {
                    mesh: Some(mesh), ..
                }) => {
                    routing.announce_in_mesh(key, treatment, entry.producer_count(), mesh);
                }
                Some(Announced { mesh: None, .. }) => {
                    routing.announce(key, treatment, entry.producer_count());
                }
                None => routing.withdraw(key),
            }
            entry.announced = wanted;
        }
    }

    /// Builds and publishes the table.
    pub(super) fn publish(&mut self) {
        self.addresses.retain(|_, entry| !entry.is_unused());
        let routes = match &self.routing {
            Some(routing) => routing.view(),
            None => self.shared.table.load().routes.clone(),
        };
        let neighbours = self.connections.neighbours();
        let mut table = Table::new(routes.clone());
        table.configured = self.configured.clone();
        table.edges = self.connections.edges();
        table.uplink = self
            .uplinks
            .active()
            .and_then(|id| self.connections.get(id))
            .cloned();
        let mut addresses = HashMap::with_capacity(self.addresses.len() + routes.addresses.len());
        // Counters towards neighbours live on across tables, as long as the address does.
        let previous = self.shared.table.load();
        for entry in self.addresses.values_mut() {
            refresh_transit(entry, &neighbours);
        }
        for (key, entry) in &self.addresses {
            let lasting = Lasting {
                transit: entry.transit.clone(),
                turn: entry.turn.clone(),
                counts: entry.counts.clone(),
            };
            let address = self.address(key, entry.consumers.clone(), lasting, &routes);
            addresses.insert(key.clone(), Arc::new(address));
        }
        for key in routes.addresses.keys() {
            if addresses.contains_key(key) {
                continue;
            }
            let old = previous.addresses.get(key);
            let transit = neighbours
                .keys()
                .map(|id| {
                    (
                        *id,
                        old.and_then(|old| old.transit.get(id))
                            .cloned()
                            .unwrap_or_default(),
                    )
                })
                .collect();
            let lasting = Lasting {
                transit,
                turn: old.map(|old| old.turn.clone()).unwrap_or_default(),
                counts: old.map(|old| old.counts.clone()).unwrap_or_default(),
            };
            addresses.insert(
                key.clone(),
                Arc::new(self.address(key, Vec::new(), lasting, &routes)),
            );
        }
        drop(previous);
        let own = InProcess::len(self.routing.is_some(), &routes);
        self.shared
            .counters
            .own_addresses
            .store(own as u64, Ordering::Relaxed);
        table.addresses = addresses;
        table.neighbours = neighbours;
        self.shared.table.store(Arc::new(table));
        self.shared
            .table_changed
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    fn address(
        &self,
        key: &Arc<str>,
        consumers: Vec<Arc<Consumer>>,
        lasting: Lasting,
        routes: &RouteView,
    ) -> Address {
        let treatment = self
            .configured
            .named(key)
            .or_else(|| {
                let remote = routes.addresses.get(key).filter(|_| consumers.is_empty());
                remote.map(|remote| remote.treatment)
            })
            .unwrap_or_else(|| self.configured.treatment(key));
        Address {
            key: key.clone(),
            treatment,
            consumers,
            transit: lasting.transit,
            turn: lasting.turn,
            counts: lasting.counts,
        }
    }

    /// Gives credit to producers whose address has become reachable, and tells edges.
    pub(super) fn inform_producers(&mut self) {
        let routes = self.shared.table.load().routes.clone();
        for (key, entry) in &mut self.addresses {
            let remote = routes.addresses.get(key).map(|remote| &**remote);
            let useful: Vec<bool> = entry
                .producers
                .iter()
                .map(|producer| entry.useful_to(&producer.connection, remote))
                .collect();
            for (producer, useful) in entry.producers.iter_mut().zip(useful) {
                if producer.told == useful {
                    continue;
                }
                producer.told = useful;
                if useful {
                    // Credit that was given stays when the last destination goes: what comes then is released.
                    producer.connection.command(Command::Credit(producer.link));
                }
                if let Some(tracking) = self.uplinks.tracking(producer.connection.id) {
                    producer
                        .connection
                        .deliver(Via::Link(tracking), Arc::new(tracking_message(key, useful)));
                }
            }
        }
    }

    /// An edge has attached its tracking link: it hears about the producers it has already.
    pub(super) fn tracking_up(&mut self, connection: &Arc<ConnectionHandle>, link: LinkId) {
        self.uplinks.set_tracking(connection.id, link);
        for (key, entry) in &self.addresses {
            for producer in entry
                .producers
                .iter()
                .filter(|producer| producer.connection.id == connection.id && producer.told)
            {
                connection.deliver(
                    Via::Link(link),
                    Arc::new(tracking_message(key, producer.told)),
                );
            }
        }
    }
}

fn refresh_transit(
    entry: &mut Entry,
    neighbours: &HashMap<u64, Arc<crate::core::table::Neighbour>>,
) {
    entry.transit.retain(|id, _| neighbours.contains_key(id));
    for id in neighbours.keys() {
        entry.transit.entry(*id).or_default();
    }
}

/// Message on an edge's tracking link: `[key, reachable]`.
pub(super) fn tracking_message(key: &str, reachable: bool) -> Delivery {
    let mut octets = BytesMut::new();
    message::Header::default().encode(&mut octets);
    message::write_section(
        section::VALUE,
        &Value::List(vec![Value::from(key), Value::Bool(reachable)]),
        &mut octets,
    );
    let delivery = Delivery::new(Annotations::default(), None, true, 4);
    delivery.push(octets.freeze());
    delivery.finish(true);
    delivery
}
