//! The control task: one task that owns everything about the network that is not on the data path.
//!
//! It runs the routing protocol, knows connections, addresses, producers and consumers, answers management, and
//! publishes the forwarding [`Table`](crate::core::table::Table). It gets messages through a bounded queue and handles
//! them in batches, so that a burst of changes is one new table.

mod adaptors;
mod addresses;
mod connections;
mod in_process;
mod management;
mod shown;
mod source;
mod uplink;
mod watch;

pub use self::adaptors::{AdaptorMaps, Adaptors};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use amqp::engine::LinkId;
use model::router_config::{Mode, RouterConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::{
    addresses::Entry,
    connections::Connections,
    in_process::InProcess,
    uplink::{Moving, Uplinks},
};
use crate::{
    core::{
        configured::{ConfiguredAddresses, treatment_of},
        connection::ConnectionId,
        connection_message::{Command, Via},
        control_message::{ConnectorState, ControlMessage},
        delivery::Delivery,
        requests::Request,
        shared::Shared,
    },
    logging::Recent,
    management::{Change, Query},
    net::complaints::Complaints,
    routing::{Config, ControlLink, LogEvent, Output, RouterId, Routing},
};

/// Period at which silent neighbours are noticed.
const CHECK: Duration = Duration::from_millis(250);
/// Checks in a period of the routing protocol, which is a second.
const CHECKS_A_TICK: u32 = 4;
/// Messages are handled for so long before it is looked whether a check is due.
const SLICE: Duration = Duration::from_millis(50);
/// Of so many ticks, one counts blocked links and stuck messages.
const TROUBLES: u32 = 5;
/// How often another router with this id is looked for behind C routers.
const TWIN_SEARCH: Duration = Duration::from_secs(5);

/// State of the control task.
#[derive(Debug)]
pub struct Control {
    shared: Arc<Shared>,
    config: Arc<RouterConfig>,
    configured: Arc<ConfiguredAddresses>,
    /// None on edge routers.
    routing: Option<Routing>,
    connections: Connections,
    /// By key with class letter.
    addresses: BTreeMap<Arc<str>, Entry>,
    /// Keys of attached consumers and producers.
    consumer_keys: HashMap<(ConnectionId, LinkId), Arc<str>>,
    producer_keys: HashMap<(ConnectionId, LinkId), Arc<str>>,
    uplinks: Uplinks,
    adaptors: Adaptors,
    /// To whoever changes the configuration.
    changes: mpsc::Sender<Box<Change>>,
    log: Arc<Recent>,
    /// The table that is being shown, and to whom.
    query: Option<(Query, Request)>,
    /// Status and message of each connector.
    connector_states: BTreeMap<String, ConnectorState>,
    /// Connectors that have succeeded or failed at least once.
    tried: BTreeSet<String>,
    /// What is told of the addresses of the router itself.
    in_process: InProcess,
    /// When another router with this router's id was last noticed.
    duplicate: Option<Instant>,
    /// Why the last configuration file was not applied.
    refused: Option<String>,
    started: Instant,
    /// Of other routers.
    complaints: Complaints,
    /// Weight of what was handled for each connection and its driver has not been told of.
    handled: HashMap<ConnectionId, u32>,
    dirty: bool,
    draining: bool,
    /// While this router is about to end: edges that may go elsewhere.
    moving: Option<Moving>,
}

impl Control {
    /// Control task of a router.
    pub fn new(
        shared: Arc<Shared>,
        config: Arc<RouterConfig>,
        adaptors: Adaptors,
        changes: mpsc::Sender<Box<Change>>,
        log: Arc<Recent>,
    ) -> Self {
        let routing = (config.router.mode != Mode::Edge).then(|| {
            let router = &config.router;
            let id = RouterId::from(router.id.as_str());
            let parameters = Config {
                process: Some(rand::random_range(2..=u32::MAX)),
                twin_search: Some(TWIN_SEARCH),
                hello_interval: router.hello_interval,
                hello_max_age: router.hello_max_age,
                ra_interval: router.ra_interval,
                ra_interval_flux: router.ra_interval_flux,
                remote_ls_max_age: router.remote_ls_max_age,
                unreachable_holdoff: router.unreachable_holdoff,
                default_treatment: treatment_of(router.default_distribution),
                ..Config::new(id, shared.instance)
            };
            Routing::new(parameters, Instant::now())
        });
        Self {
            shared,
            configured: Arc::new(ConfiguredAddresses::new(&config)),
            config,
            routing,
            connections: Connections::default(),
            addresses: BTreeMap::new(),
            consumer_keys: HashMap::new(),
            producer_keys: HashMap::new(),
            uplinks: Uplinks::default(),
            adaptors,
            changes,
            log,
            query: None,
            connector_states: BTreeMap::new(),
            in_process: InProcess::default(),
            tried: BTreeSet::new(),
            duplicate: None,
            refused: None,
            started: Instant::now(),
            complaints: Complaints::default(),
            handled: HashMap::new(),
            dirty: true,
            draining: false,
            moving: None,
        }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        // Edge routers have nobody to check.
        let checks_a_tick = if self.routing.is_some() {
            CHECKS_A_TICK
        } else {
            1
        };
        let mut checks = tokio::time::interval(CHECK * CHECKS_A_TICK / checks_a_tick);
        checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut until_tick = 0;
        let mut batch = VecDeque::new();
        let mut count = 0_u32;
        let shared = self.shared.clone();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = checks.tick() => {
                    let due = until_tick == 0;
                    until_tick = if due { checks_a_tick } else { until_tick } - 1;
                    if due {
                        count = count.wrapping_add(1);
                        if count.is_multiple_of(TROUBLES) {
                            self.count_troubles(CHECK * CHECKS_A_TICK * TROUBLES);
                        }
                    }
                    self.dirty |= self.connections.settle_doubts();
                    self.shared.flows.clock.set(self.shared.uptime());
                    self.edges_moved(None);
                    self.retire_uplinks();
                    match &mut self.routing {
                        Some(routing) if due => routing.tick(Instant::now()),
                        Some(routing) => routing.check(Instant::now()),
                        None => {}
                    }
                }
                () = shared.control.drain(&mut batch), if batch.is_empty() => {}
                () = shared.requests.wait(), if self.query.is_none() => {}
                () = std::future::ready(()), if !batch.is_empty() || self.query.is_some() => {}
            }
            handle_for(SLICE, &mut batch, |message| self.handle(message));
            self.settle();
            if self.query.is_some() {
                self.go_on();
            } else if let Some(request) = shared.requests.next() {
                self.manage(request);
            }
            // Whoever keeps this task busy stops neither clocks nor what else runs beside it.
            tokio::task::yield_now().await;
        }
    }

    /// Applies the consequences of a batch: announcements, routing output, a new table, credit and tracking.
    fn settle(&mut self) {
        if self.dirty {
            self.announce();
            self.follow_uplink();
        }
        self.take_routing_output();
        if self.dirty {
            self.bring_into_force();
        }
        self.tell_readiness();
        let connections = &self.connections;
        self.handled.retain(|id, weight| {
            connections
                .get(*id)
                .is_some_and(|connection| !connection.command(Command::Handled(*weight)))
        });
    }

    /// A new table, and credit and tracking by it.
    fn bring_into_force(&mut self) {
        self.dirty = false;
        self.publish();
        self.inform_producers();
    }

    fn handle(&mut self, message: ControlMessage) {
        if let Some(id) = message.connection() {
            let handled = self.handled.entry(id).or_default();
            *handled = handled.saturating_add(message.weight());
        }
        match message {
            ControlMessage::ConnectionUp(connection) => self.connection_up(connection),
            ControlMessage::ConnectionDown(id) => self.connection_down(id),
            ControlMessage::ControlLinksUp(id) => {
                if self.refuse_outdated(id) {
                    return;
                }
                if let (Some(routing), Some(connection)) =
                    (&mut self.routing, self.connections.get(id))
                {
                    let (link, now) = (ControlLink(id.0), Instant::now());
                    routing.link_up(link, connection.facts.cost, now);
                    for old in self.connections.earlier(id) {
                        routing.hand_over(ControlLink(old.0), link, now);
                        let old = self.connections.get(old).filter(|old| old.outgoing);
                        if let Some(old) = old {
                            old.command(Command::HandOver);
                        }
                    }
                }
                self.dirty = true;
            }
            ControlMessage::ControlLinksDown(id) => {
                if let Some(routing) = &mut self.routing {
                    routing.link_down(ControlLink(id.0), Instant::now());
                }
                self.dirty = true;
            }
            ControlMessage::Routing {
                connection,
                message,
            } => {
                if let Some(routing) = &mut self.routing {
                    routing.receive(ControlLink(connection.0), &message, Instant::now());
                    self.in_process
                        .received(&message, &self.shared.table.load().routes);
                }
            }
            ControlMessage::ConsumerUp {
                connection,
                link,
                key,
            } => self.consumer_up(connection, link, &key),
            ControlMessage::ConsumerDown { connection, link } => {
                self.consumer_down(connection, link);
            }
            ControlMessage::ProducerUp {
                connection,
                link,
                key,
            } => self.producer_up(connection, link, key),
            ControlMessage::ProducerDown { connection, link } => {
                self.producer_down(connection, link);
            }
            ControlMessage::TrackingUp { connection, link } => self.tracking_up(&connection, link),
            ControlMessage::MeshChanged(_) => self.dirty = true,
            ControlMessage::Reachable {
                connection,
                key,
                reachable,
            } => self.reachable(connection, &key, reachable),
            ControlMessage::ProxyUp {
                connection,
                link,
                address,
            } => self.proxy_up(connection, link, &address),
            ControlMessage::Changed(changed) => self.changed(*changed),
            ControlMessage::TcpConsumerUp(connector) => self.tcp_consumer_up(connector),
            ControlMessage::TcpConsumerDown(connector) => self.tcp_consumer_down(&connector),
            ControlMessage::WatchUp(address) => self.watch(&address, true),
            ControlMessage::WatchDown(address) => self.watch(&address, false),
            ControlMessage::ConnectorState { name, state } => {
                if state.status != "CONNECTING" {
                    self.tried.insert(name.clone());
                }
                self.connector_states.insert(name, state);
            }
            ControlMessage::ConnectorGone { name } => {
                self.connector_states.remove(&name);
                self.tried.remove(&name);
            }
            ControlMessage::Configured(config) => {
                self.configured = Arc::new(ConfiguredAddresses::new(&config));
                self.config = config;
                self.refused = None;
                self.dirty = true;
            }
            ControlMessage::ConfigurationRefused(reason) => self.refused = reason,
            ControlMessage::Drain => {
                self.draining = true;
                self.dirty = true;
                if let Some(routing) = &mut self.routing {
                    routing.leave(Instant::now());
                }
                self.send_edges_elsewhere();
            }
            ControlMessage::WhenIdle(watch) => {
                if let Some(moving) = &mut self.moving {
                    moving.wait_for(watch.clone());
                }
                for connection in self.connections.iter() {
                    connection.command(Command::WhenIdle(watch.clone()));
                }
            }
        }
    }

    fn take_routing_output(&mut self) {
        while let Some(output) = self.routing.as_mut().and_then(Routing::poll) {
            match output {
                Output::Send { link, message } => {
                    if let Some(connection) = self.connections.get(ConnectionId(link.0)) {
                        self.in_process
                            .sent(&message, &self.shared.table.load().routes);
                        connection.deliver(Via::Control, Arc::new(Delivery::raw(message)));
                    }
                }
                Output::ViewChanged => self.bring_into_force(),
                Output::DuplicateId { id } => {
                    self.duplicate = Some(Instant::now());
                    error!(target: "router::routing", router = %id, "another router of the network has this router's id: give one of them another id");
                }
                Output::NeighbourUp { id, .. } => {
                    info!(target: "router::routing", neighbour = %id, "neighbour up");
                }
                Output::NeighbourDown { id, .. } => {
                    warn!(target: "router::routing", neighbour = %id, "neighbour lost");
                }
                Output::Log(event) => self.note_routing(&event),
            }
        }
        if let Some(routing) = &mut self.routing {
            let refused = &self.shared.counters.routing_refused;
            refused.fetch_add(routing.take_refused(), Ordering::Relaxed);
        }
    }

    /// Logs what the routing protocol reports; what other routers are to blame for once a minute for each of them.
    fn note_routing(&self, event: &LogEvent) {
        let about = match event {
            LogEvent::ManyRouters { .. } => {
                warn!(target: "router::routing", "{event}");
                return;
            }
            LogEvent::Malformed { link, .. } => format!("malformed {}", link.0),
            LogEvent::UnsupportedVersion { id, .. } => format!("version {id}"),
            LogEvent::TooManyRouters { .. } => "too many routers".to_owned(),
            LogEvent::TooManyAddresses { id, .. } => format!("addresses {id}"),
            LogEvent::UnknownRouter { .. } => {
                // It happens without anybody to blame: news may overtake each other.
                match self.complaints.due("unknown router") {
                    Some(silent) => info!(target: "router::routing", silent, "{event}"),
                    None => debug!(target: "router::routing", "{event}"),
                }
                return;
            }
            LogEvent::MobileGap { .. }
            | LogEvent::Restarted { .. }
            | LogEvent::RouterLearned { .. }
            | LogEvent::RouterForgotten { .. } => {
                debug!(target: "router::routing", "{event}");
                return;
            }
        };
        if let Some(silent) = self.complaints.due(&about) {
            warn!(target: "router::routing", silent, "{event}");
        }
    }
}

/// Handles messages until none is left or `slice` is over, and one in any case.
fn handle_for<T>(slice: Duration, batch: &mut VecDeque<T>, mut handle: impl FnMut(T)) {
    let until = Instant::now() + slice;
    while let Some(message) = batch.pop_front() {
        handle(message);
        if Instant::now() >= until {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_takes_long_is_left_for_what_else_is_due_and_gone_on_with() {
        let mut batch = VecDeque::from([1, 2, 3, 4]);
        let mut handled = Vec::new();
        handle_for(Duration::ZERO, &mut batch, |message| handled.push(message));
        assert_eq!(handled, [1]);
        // The second one takes longer than all of them may.
        let slice = Duration::from_millis(20);
        let slow = |message| {
            let began = Instant::now();
            while message == 3 && began.elapsed() < slice {
                std::hint::spin_loop();
            }
            handled.push(message);
        };
        handle_for(slice, &mut batch, slow);
        assert_eq!(batch, [4]);
        handle_for(SLICE, &mut batch, |message| handled.push(message));
        assert_eq!(handled, [1, 2, 3, 4]);
    }
}
