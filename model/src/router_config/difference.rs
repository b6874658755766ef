//! What changes between two configurations.

use std::collections::BTreeMap;

use super::{
    AddressEntity, Connector, Listener, ListenerAddress, LogEntity, NetworkEntity, RouterConfig,
    RouterEntity, SiteEntity, SslProfile, TcpConnector, TcpListener,
};

/// Steps from one configuration to the next, by kind of entity
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigDiff {
    /// Why the new one cannot be applied to a running router; then nothing else of this counts
    pub refused: Option<String>,
    /// The router's other attributes: old and new
    pub router: Option<Box<(RouterEntity, RouterEntity)>>,
    /// TLS profiles
    pub ssl_profiles: Changes<SslProfile>,
    /// Listeners
    pub listeners: Changes<Listener>,
    /// Connectors
    pub connectors: Changes<Connector>,
    /// Distributions
    pub addresses: Changes<AddressEntity>,
    /// TCP listeners
    pub tcp_listeners: Changes<TcpListener>,
    /// Addresses of TCP listeners
    pub listener_addresses: Changes<ListenerAddress>,
    /// TCP connectors
    pub tcp_connectors: Changes<TcpConnector>,
    /// Log settings
    pub logs: Changes<LogEntity>,
    /// The site entity: old and new
    pub site: Option<Box<(Option<SiteEntity>, Option<SiteEntity>)>>,
    /// The network entity: old and new
    pub network: Option<Box<(Option<NetworkEntity>, Option<NetworkEntity>)>>,
    /// The limit of connections of a policy: old and new
    pub max_connections: Option<(Option<u32>, Option<u32>)>,
}

/// Changes of one kind of entity; entities are the same if their names are
#[derive(Clone, Debug, PartialEq)]
pub struct Changes<T> {
    /// Only in the old configuration
    pub removed: Vec<T>,
    /// Only in the new configuration
    pub added: Vec<T>,
    /// In both, with other attributes: old and new
    pub changed: Vec<(T, T)>,
}

impl ConfigDiff {
    /// Whether there is nothing to do
    pub fn is_empty(&self) -> bool {
        self.refused.is_none()
            && self.router.is_none()
            && self.ssl_profiles.is_empty()
            && self.listeners.is_empty()
            && self.connectors.is_empty()
            && self.addresses.is_empty()
            && self.tcp_listeners.is_empty()
            && self.listener_addresses.is_empty()
            && self.tcp_connectors.is_empty()
            && self.logs.is_empty()
            && self.site.is_none()
            && self.network.is_none()
            && self.max_connections.is_none()
    }
}

impl<T> Changes<T> {
    /// Whether there is none
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.changed.is_empty()
    }
}

impl<T: Clone + PartialEq> Changes<T> {
    fn between<'a, K: Ord>(old: BTreeMap<K, &'a T>, mut new: BTreeMap<K, &'a T>) -> Self {
        let mut changes = Self {
            removed: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
        };
        for (key, before) in old {
            match new.remove(&key) {
                None => changes.removed.push(before.clone()),
                Some(after) if after != before => {
                    changes.changed.push((before.clone(), after.clone()));
                }
                Some(_) => {}
            }
        }
        changes.added.extend(new.into_values().cloned());
        changes
    }

    fn of_maps(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Self {
        Self::between(old.iter().collect(), new.iter().collect())
    }

    fn of_lists<K: Ord>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Self {
        let keyed = |list| -> BTreeMap<K, &T> {
            <[T]>::iter(list)
                .map(|entity| (key(entity), entity))
                .collect()
        };
        Self::between(keyed(old), keyed(new))
    }
}

pub(super) fn difference(old: &RouterConfig, new: &RouterConfig) -> ConfigDiff {
    ConfigDiff {
        refused: refusal(old, new),
        router: (old.router != new.router)
            .then(|| Box::new((old.router.clone(), new.router.clone()))),
        ssl_profiles: Changes::of_maps(&old.ssl_profiles, &new.ssl_profiles),
        listeners: Changes::of_maps(&old.listeners, &new.listeners),
        connectors: connectors(old, new),
        addresses: Changes::of_lists(&old.addresses, &new.addresses, |entity| {
            entity.matches.clone()
        }),
        tcp_listeners: Changes::of_maps(&old.tcp_listeners, &new.tcp_listeners),
        listener_addresses: Changes::of_maps(&old.listener_addresses, &new.listener_addresses),
        tcp_connectors: Changes::of_maps(&old.tcp_connectors, &new.tcp_connectors),
        logs: Changes::of_lists(&old.logs, &new.logs, |entity| entity.module.clone()),
        site: (old.site != new.site).then(|| Box::new((old.site.clone(), new.site.clone()))),
        network: (old.network != new.network)
            .then(|| Box::new((old.network.clone(), new.network.clone()))),
        max_connections: (old.max_connections != new.max_connections)
            .then_some((old.max_connections, new.max_connections)),
    }
}

/// A connector whose proxy changes has to dial anew
fn connectors(old: &RouterConfig, new: &RouterConfig) -> Changes<Connector> {
    let mut changes = Changes::of_maps(&old.connectors, &new.connectors);
    for (name, connector) in &new.connectors {
        let Some(proxy) = &connector.proxy_profile else {
            continue;
        };
        if old.connectors.get(name) == Some(connector)
            && old.proxy_profiles.get(proxy) != new.proxy_profiles.get(proxy)
        {
            changes.changed.push((connector.clone(), connector.clone()));
        }
    }
    changes
}

/// The rest of the network knows the router, and what it offers, by these
fn refusal(old: &RouterConfig, new: &RouterConfig) -> Option<String> {
    let (before, after) = (&old.router, &new.router);
    if before.id != after.id {
        return Some(format!(
            "the router's id changes from {:?} to {:?}, which needs a restart",
            before.id, after.id
        ));
    }
    if before.mode != after.mode {
        return Some(format!(
            "the router's mode changes from {} to {}, which needs a restart",
            before.mode, after.mode
        ));
    }
    let (before, after) = (old.tenant(), new.tenant());
    (before != after).then(|| {
        format!(
            "vanId or tenantId changes from {:?} to {:?}, which needs a restart",
            before.unwrap_or_default(),
            after.unwrap_or_default()
        )
    })
}
