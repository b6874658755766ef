//! Bringing a configuration into force: at start, and again for each change, as the difference to the one before.

use std::{collections::BTreeMap, io, sync::Arc};

use model::router_config::{self as config, Changes, Role, RouterConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    adaptor::tcp::{TcpConnector, TcpListener},
    control::Adaptors,
    core::{control_message::ControlMessage, shared::Shared},
    net::{
        connector::Connector,
        http::{self, HttpOptions, HttpState, HttpTls},
        listener::Listener,
        tls::TlsProfiles,
    },
};

/// What is in force, and what it takes to change it.
pub struct Applied {
    shared: Arc<Shared>,
    profiles: Arc<TlsProfiles>,
    adaptors: Adaptors,
    http: Arc<dyn HttpState>,
    config: RouterConfig,
    listeners: BTreeMap<String, Listening>,
    connectors: BTreeMap<String, CancellationToken>,
    /// Ends all connections.
    connections: CancellationToken,
}

/// A listener that runs.
struct Listening {
    /// Stops accepting.
    stop: CancellationToken,
    /// Ends its connections.
    connections: CancellationToken,
    /// Tasks that hold its sockets.
    accepting: TaskTracker,
}

impl Applied {
    /// Binds all sockets of the first configuration and starts what it asks for.
    ///
    /// # Errors
    /// When a listener's socket cannot be bound.
    pub fn start(
        shared: Arc<Shared>,
        profiles: Arc<TlsProfiles>,
        adaptors: Adaptors,
        http: Arc<dyn HttpState>,
        config: RouterConfig,
    ) -> io::Result<Self> {
        let bound = config
            .listeners
            .values()
            .map(|listener| Ok((listener.clone(), Listener::bind(listener.clone())?)))
            .collect::<io::Result<Vec<_>>>()?;
        shared.seats.limit(config.max_connections);
        let mut applied = Self {
            shared,
            profiles,
            adaptors,
            http,
            config,
            listeners: BTreeMap::new(),
            connectors: BTreeMap::new(),
            connections: CancellationToken::new(),
        };
        for (listener, socket) in bound {
            applied.listen(&listener, socket);
        }
        let config = applied.config.clone();
        for connector in config.connectors.values().cloned() {
            applied.connect(connector);
        }
        for listener in config.tcp_listeners.values() {
            applied.add_tcp_listener(listener, &config);
        }
        for connector in config.tcp_connectors.values() {
            applied.add_tcp_connector(connector);
        }
        Ok(applied)
    }

    /// The configuration in force.
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// The first listener without a socket, in words: its port was taken when it was changed.
    pub fn unbound(&self) -> Option<String> {
        let mut names = self.config.listeners.keys();
        let name = names.find(|name| !self.listeners.contains_key(*name))?;
        Some(format!("listener \"{name}\" is not bound"))
    }

    /// Brings a changed configuration into force.
    ///
    /// # Errors
    /// The reason, when the change needs a restart or a new socket cannot be bound; nothing is changed then.
    pub async fn change(&mut self, new: RouterConfig) -> Result<(), String> {
        let difference = RouterConfig::difference(&self.config, &new);
        if let Some(reason) = difference.refused {
            return Err(reason);
        }
        let mut listeners = difference.listeners;
        listeners
            .changed
            .extend(renamed(&mut listeners.added, &mut listeners.removed));
        // Sockets first: they are all that can fail. A changed listener that keeps its port gives it up before.
        let mut bound = Vec::new();
        for listener in listeners.added {
            let socket = Listener::bind(listener.clone()).map_err(|error| error.to_string())?;
            bound.push((listener, socket));
        }
        self.profiles.replace(&new.ssl_profiles);
        self.config.proxy_profiles.clone_from(&new.proxy_profiles);
        // C routers of version 3 end them unless told otherwise; here somebody has to say so.
        let drop_flows = new.router.drop_tcp_connections == Some(true);
        for connector in &difference.tcp_connectors.removed {
            self.remove_tcp_connector(connector, drop_flows);
        }
        for listener in &difference.tcp_listeners.removed {
            self.remove_tcp_listener(listener, drop_flows);
        }
        for connector in &difference.connectors.removed {
            self.disconnect(&connector.name);
        }
        for listener in &listeners.removed {
            self.stop_listening(&listener.name);
        }
        for (old, new) in listeners.changed {
            if let Some(accepting) = self.stop_listening(&old.name) {
                // It usually keeps its port, which is free only then.
                accepting.wait().await;
            }
            match Listener::bind(new.clone()) {
                Ok(socket) => bound.push((new, socket)),
                Err(error) => {
                    warn!(target: "router::config", listener = %old.name, %error, "changed listener is down");
                }
            }
        }
        for (listener, socket) in bound {
            self.listen(&listener, socket);
        }
        for (old, new) in difference.connectors.changed {
            self.disconnect(&old.name);
            self.connect(new);
        }
        for connector in difference.connectors.added {
            self.connect(connector);
        }
        for (old, new) in &difference.tcp_connectors.changed {
            let moved = (&old.address, &old.host, old.port) != (&new.address, &new.host, new.port);
            self.remove_tcp_connector(old, moved);
            self.add_tcp_connector(new);
        }
        for connector in &difference.tcp_connectors.added {
            self.add_tcp_connector(connector);
        }
        self.change_listener_addresses(&difference.listener_addresses, &difference.tcp_listeners);
        for (old, next) in &difference.tcp_listeners.changed {
            let place = |one: &config::TcpListener| {
                let address = (one.address.clone(), one.strategy);
                (address, one.host.clone(), one.port)
            };
            self.remove_tcp_listener(old, place(old) != place(next));
            self.add_tcp_listener(next, &new);
        }
        for listener in &difference.tcp_listeners.added {
            self.add_tcp_listener(listener, &new);
        }
        self.shared.seats.limit(new.max_connections);
        self.config = new;
        self.shared
            .tell(ControlMessage::Configured(Arc::new(self.config.clone())));
        info!(target: "router::config", "configuration applied");
        Ok(())
    }

    /// Stops accepting on all listeners, AMQP and TCP.
    pub fn stop_accepting(&self) {
        for listening in self.listeners.values() {
            listening.stop.cancel();
        }
        self.adaptors.with(|maps| {
            for listener in maps.listeners.values() {
                listener.stop.cancel();
            }
        });
    }

    /// Closes all connections.
    pub fn close_connections(&self) {
        for connector in self.connectors.values() {
            connector.cancel();
        }
        self.connections.cancel();
    }

    fn listen(&mut self, config: &config::Listener, socket: Listener) {
        let stop = CancellationToken::new();
        let connections = self.connections.child_token();
        let accepting = TaskTracker::new();
        self.listeners.insert(
            config.name.clone(),
            Listening {
                stop: stop.clone(),
                connections: connections.clone(),
                accepting: accepting.clone(),
            },
        );
        if !config.http {
            accepting.spawn(socket.run(
                self.shared.clone(),
                self.profiles.clone(),
                stop,
                connections,
            ));
            return;
        }
        let options = HttpOptions {
            healthz: config.healthz,
            metrics: config.metrics,
            tls: config.ssl_profile.as_ref().map(|profile| HttpTls {
                profiles: self.profiles.clone(),
                profile: profile.clone(),
                authenticate_peer: config.authenticate_peer,
            }),
        };
        for listener in socket.into_tcp() {
            accepting.spawn(http::serve(
                listener,
                options.clone(),
                self.http.clone(),
                stop.clone(),
            ));
        }
    }

    /// Returns the tasks that give the sockets up.
    fn stop_listening(&mut self, name: &str) -> Option<TaskTracker> {
        let listening = self.listeners.remove(name)?;
        listening.stop.cancel();
        listening.connections.cancel();
        listening.accepting.close();
        Some(listening.accepting)
    }

    fn connect(&mut self, config: config::Connector) {
        let cancel = CancellationToken::new();
        self.connectors.insert(config.name.clone(), cancel.clone());
        let workers = u32::try_from(self.shared.workers.len()).unwrap_or(1);
        let configured = self.config.router.data_connection_count;
        let data = match config.role {
            Role::InterRouter => configured.unwrap_or(workers),
            // The one worker of an edge has the main connection already.
            Role::Edge if workers == 1 => configured.unwrap_or(0),
            Role::Edge => configured.unwrap_or(workers),
            Role::Normal => 0,
        };
        let proxy = config
            .proxy_profile
            .as_ref()
            .and_then(|name| self.config.proxy_profiles.get(name));
        Connector::start(config, proxy, &self.shared, &self.profiles, data, &cancel);
    }

    fn disconnect(&mut self, name: &str) {
        if let Some(cancel) = self.connectors.remove(name) {
            cancel.cancel();
        }
    }

    /// Changes the addresses of listeners that stay as they are.
    fn change_listener_addresses(
        &self,
        changes: &Changes<config::ListenerAddress>,
        listeners: &Changes<config::TcpListener>,
    ) {
        let listener = |name: &str| {
            let mut others = listeners
                .added
                .iter()
                .chain(listeners.changed.iter().map(|(_, next)| next));
            // They are made anew, with all of their addresses.
            if others.any(|other| other.name == name) {
                return None;
            }
            self.adaptors.with(|maps| maps.listeners.get(name).cloned())
        };
        let before = changes.changed.iter().map(|(old, _)| old);
        for address in changes.removed.iter().chain(before) {
            if let Some(listener) = listener(&address.listener) {
                listener.remove_address(&self.shared, &address.name);
            }
        }
        let after = changes.changed.iter().map(|(_, next)| next);
        for address in changes.added.iter().chain(after) {
            if let Some(listener) = listener(&address.listener) {
                listener.add_address(&self.shared, address);
            }
        }
    }

    /// A listener with its addresses in the configuration `of`.
    fn add_tcp_listener(&self, config: &config::TcpListener, of: &RouterConfig) {
        let listener = Arc::new(TcpListener::new(config, &self.profiles, of.tenant()));
        for address in of.listener_addresses.values() {
            if address.listener == config.name {
                listener.add_address(&self.shared, address);
            }
        }
        self.adaptors
            .with(|maps| maps.listeners.insert(config.name.clone(), listener.clone()));
        if let Some(worker) = self.shared.workers.first() {
            worker.spawn(listener.run(self.shared.clone()));
        }
    }

    fn remove_tcp_listener(&self, config: &config::TcpListener, end_flows: bool) {
        if let Some(listener) = self
            .adaptors
            .with(|maps| maps.listeners.remove(&config.name))
        {
            listener.stop.cancel();
            if end_flows {
                listener.flows.cancel();
            }
        }
    }

    fn add_tcp_connector(&self, config: &config::TcpConnector) {
        let connector = Arc::new(TcpConnector::new(
            config,
            &self.profiles,
            self.config.tenant(),
        ));
        self.adaptors.with(|maps| {
            maps.connectors
                .insert(config.name.clone(), connector.clone())
        });
        self.shared.tell(ControlMessage::TcpConsumerUp(connector));
    }

    fn remove_tcp_connector(&self, config: &config::TcpConnector, end_flows: bool) {
        if let Some(connector) = self
            .adaptors
            .with(|maps| maps.connectors.remove(&config.name))
        {
            self.shared
                .tell(ControlMessage::TcpConsumerDown(config.name.as_str().into()));
            if end_flows {
                connector.cancel.cancel();
            }
        }
    }
}

/// Takes out the pairs in which a new listener gets the port of one that goes: they are one listener that changes.
fn renamed(
    added: &mut Vec<config::Listener>,
    removed: &mut Vec<config::Listener>,
) -> Vec<(config::Listener, config::Listener)> {
    let mut pairs = Vec::new();
    added.retain(|new| {
        let Some(old) = removed.iter().position(|old| old.port == new.port) else {
            return true;
        };
        pairs.push((removed.swap_remove(old), new.clone()));
        false
    });
    pairs
}

impl std::fmt::Debug for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applied")
            .field("router", &self.config.router.id)
            .finish_non_exhaustive()
    }
}
