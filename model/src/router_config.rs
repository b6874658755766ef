//! The router's configuration file, `skrouterd.json`.
//!
//! A JSON list of pairs `[type, {attribute: value, …}]`, the form that the C routers and all Skupper releases use.
//! Reading is tolerant where a C router is (dashes in names, numbers and booleans as texts, `#` lines) and stricter
//! where mistakes would hurt: references, roles and duplicates are checked here, before anything is applied.
//!
//! ```text
//! text ──parse──▶ RouterConfig + warnings ──difference──▶ ConfigDiff ──▶ running router
//!                      │ to_json
//!                      ▼
//!                    text
//! ```

mod address;
mod attributes;
mod check;
mod connection;
mod difference;
mod entity;
mod error;
mod failover;
mod log;
mod network;
mod parse;
mod policy;
mod proxy;
mod router;
mod site;
mod ssl_profile;
mod tcp;
mod uid;
mod value;
mod write;

use std::collections::BTreeMap;

pub use self::{
    address::{AddressEntity, AddressMatch},
    connection::{Connector, Listener},
    difference::{Changes, ConfigDiff},
    entity::{Entity, EntityKey},
    error::ConfigError,
    failover::{AmqpUrl, MAX_FAILOVER_URLS},
    log::{LOG_MODULES, LogEntity, LogSelector},
    network::NetworkEntity,
    proxy::ProxyProfile,
    router::RouterEntity,
    site::SiteEntity,
    ssl_profile::SslProfile,
    tcp::{ListenerAddress, TcpConnector, TcpListener},
    uid::{UidFormat, UidPart},
    value::{
        AddressFamily, AmqpScheme, Distribution, Encapsulation, EntityKind, LogLevel, Mode,
        MultiAddressStrategy, Role, Sensitive, StripAnnotations,
    },
};

/// Variable that stands for the base directory of certificates in files written by Skupper 2
pub const SSL_PROFILE_BASE_PATH: &str = "SSL_PROFILE_BASE_PATH";

/// Port named `amqp` (IANA)
pub const AMQP_PORT: u16 = 5672;
/// Port named `amqps` (IANA)
pub const AMQPS_PORT: u16 = 5671;

/// A router's configuration; maps are keyed by the entity's name
#[derive(Clone, Debug, PartialEq)]
pub struct RouterConfig {
    /// The router itself
    pub router: RouterEntity,
    /// Certificates by purpose
    pub ssl_profiles: BTreeMap<String, SslProfile>,
    /// Proxies of connectors
    pub proxy_profiles: BTreeMap<String, ProxyProfile>,
    /// Where AMQP connections are accepted
    pub listeners: BTreeMap<String, Listener>,
    /// AMQP connections to make
    pub connectors: BTreeMap<String, Connector>,
    /// How addresses are distributed
    pub addresses: Vec<AddressEntity>,
    /// Where TCP clients are accepted
    pub tcp_listeners: BTreeMap<String, TcpListener>,
    /// Addresses of TCP listeners that have several
    pub listener_addresses: BTreeMap<String, ListenerAddress>,
    /// Where TCP servers are
    pub tcp_connectors: BTreeMap<String, TcpConnector>,
    /// What is logged
    pub logs: Vec<LogEntity>,
    /// The site, for flow records
    pub site: Option<SiteEntity>,
    /// The network, if the file names one
    pub network: Option<NetworkEntity>,
    /// Connections that all listeners together accept at a time, if a policy limits them
    pub max_connections: Option<u32>,
}

/// A configuration that was read, and what to tell about it
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The configuration
    pub config: RouterConfig,
    /// Attributes that are unknown or have no effect, one sentence each
    pub warnings: Vec<String>,
}

impl RouterConfig {
    /// A configuration with nothing but a router
    pub fn new(router: RouterEntity) -> Self {
        Self {
            router,
            ssl_profiles: BTreeMap::new(),
            proxy_profiles: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connectors: BTreeMap::new(),
            addresses: Vec::new(),
            tcp_listeners: BTreeMap::new(),
            listener_addresses: BTreeMap::new(),
            tcp_connectors: BTreeMap::new(),
            logs: Vec::new(),
            site: None,
            network: None,
            max_connections: None,
        }
    }

    /// Reads and checks a configuration; variables in certificate paths stay as they are
    pub fn parse(text: &str) -> Result<Parsed, ConfigError> {
        let parsed = parse::parse(text)?;
        parsed.config.check()?;
        Ok(parsed)
    }

    /// [`Self::parse`], with every `${NAME}` in certificate paths replaced by its value
    pub fn parse_with(
        text: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Parsed, ConfigError> {
        let mut parsed = Self::parse(text)?;
        for profile in parsed.config.ssl_profiles.values_mut() {
            profile.expand(variables)?;
        }
        Ok(parsed)
    }

    /// Adds or replaces a TLS profile
    pub fn put_ssl_profile(&mut self, profile: SslProfile) {
        self.ssl_profiles.insert(profile.name.clone(), profile);
    }

    /// Adds or replaces a proxy profile
    pub fn put_proxy_profile(&mut self, profile: ProxyProfile) {
        self.proxy_profiles.insert(profile.name.clone(), profile);
    }

    /// Adds or replaces a listener
    pub fn put_listener(&mut self, listener: Listener) {
        self.listeners.insert(listener.name.clone(), listener);
    }

    /// Adds or replaces a connector
    pub fn put_connector(&mut self, connector: Connector) {
        self.connectors.insert(connector.name.clone(), connector);
    }

    /// Adds or replaces a TCP listener
    pub fn put_tcp_listener(&mut self, listener: TcpListener) {
        self.tcp_listeners.insert(listener.name.clone(), listener);
    }

    /// Adds or replaces an address of a TCP listener
    pub fn put_listener_address(&mut self, address: ListenerAddress) {
        self.listener_addresses
            .insert(address.name.clone(), address);
    }

    /// Adds or replaces a TCP connector
    pub fn put_tcp_connector(&mut self, connector: TcpConnector) {
        self.tcp_connectors
            .insert(connector.name.clone(), connector);
    }

    /// Name in front of the addresses of `tcpListener` and `tcpConnector` entities, with a slash between
    pub fn tenant(&self) -> Option<&str> {
        let network = self.network.as_ref();
        network
            .and_then(|network| network.tenant_id.as_deref())
            .or(self.router.van_id.as_deref())
    }

    /// Checks references, roles against the mode, and duplicates
    pub fn check(&self) -> Result<(), ConfigError> {
        check::check(self)
    }

    /// The file's text: four spaces of indent, groups in the order of Skupper 1, default values left out
    pub fn to_json(&self) -> String {
        write::to_json(self)
    }

    /// What has to be done to get from one configuration to the next
    pub fn difference(old: &Self, new: &Self) -> ConfigDiff {
        difference::difference(old, new)
    }
}

#[cfg(test)]
mod tests;
