//! The entity types that can be asked for.

use amqp::Value;
use model::router_config::EntityKind;

use super::{
    Rows, Source, configured,
    rows::{
        AddressRow, ConnectionRow, LinkRow, ListenerAddressRow, NodeRow, RouterRow,
        TcpConnectionRow, TcpConnectorRow, TcpListenerRow,
    },
};

/// Attributes of one entity.
pub(super) type Row = Vec<(&'static str, Value)>;

/// Prefix of long type names.
const PREFIX: &str = "io.skupper.router.";
/// Prefix that the long names of some types have in routers of version 3.
const OLD_PREFIX: &str = "org.apache.qpid.dispatch.";

/// Which of the two agents of a C router serves a type; they differ in texts and in what they do with unknown names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Agent {
    /// Serves what lives in the forwarding core.
    Core,
    /// Serves configuration and everything else.
    Configuration,
}

/// A kind of entity.
#[derive(Debug)]
pub(super) struct EntityType {
    /// Long name.
    pub(super) name: &'static str,
    pub(super) agent: Agent,
    /// Attribute names in order; the first is `name`.
    pub(super) attributes: &'static [&'static str],
    pub(super) rows: fn(&dyn Source) -> Rows<'_, Row>,
}

impl EntityType {
    /// Finds a type by its long or short name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        let short = name
            .strip_prefix(PREFIX)
            .or_else(|| name.strip_prefix(OLD_PREFIX))
            .unwrap_or(name);
        TYPES
            .iter()
            .find(|known| known.name.strip_prefix(PREFIX) == Some(short))
    }

    /// Kind in the configuration, of types that can be changed there.
    pub(super) fn kind(&self) -> Option<EntityKind> {
        let short = self.name.strip_prefix(PREFIX)?;
        let short = short.strip_prefix("router.config.").unwrap_or(short);
        EntityKind::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == short)
    }

    /// Operations that entities of the type offer, QUERY aside.
    pub(super) fn operations(&self) -> &'static [&'static str] {
        match self.kind() {
            // Every module has one.
            Some(EntityKind::Log) => &["READ", "UPDATE"],
            Some(EntityKind::ListenerAddress) => &["CREATE", "READ", "DELETE"],
            Some(_) => &["CREATE", "READ", "UPDATE", "DELETE"],
            None if self.name == ConnectionRow::TYPE => &["READ", "UPDATE"],
            None => &["READ"],
        }
    }
}

macro_rules! live {
    ($row:ident, $agent:ident, |$source:ident| $rows:expr) => {
        EntityType {
            name: $row::TYPE,
            agent: Agent::$agent,
            attributes: $row::ATTRIBUTES,
            rows: |$source| Box::new(IntoIterator::into_iter($rows).map($row::into_attributes)),
        }
    };
}

macro_rules! configured {
    ($name:literal, $attributes:expr, $rows:expr) => {
        EntityType {
            name: concat!("io.skupper.router.", $name),
            agent: Agent::Configuration,
            attributes: $attributes,
            rows: |source| Box::new($rows(source).into_iter()),
        }
    };
}

/// Types that C routers have and that never have an entity here; clients ask for them and expect an empty list.
macro_rules! empty {
    ($name:literal, $agent:ident, $($attribute:literal)*) => {
        EntityType {
            name: concat!("io.skupper.router.", $name),
            agent: Agent::$agent,
            attributes: &["name", "identity", "type", $($attribute),*],
            rows: |_| Box::new(std::iter::empty()),
        }
    };
}

/// All types.
pub(super) static TYPES: &[EntityType] = &[
    live!(RouterRow, Core, |source| vec![source.router()]),
    EntityType {
        name: "io.skupper.router.routerMetrics",
        agent: Agent::Core,
        attributes: RouterRow::ATTRIBUTES,
        rows: |source| {
            let mut row = source.router().into_attributes();
            for (attribute, value) in &mut row {
                if *attribute == "type" {
                    *value = Value::from("org.apache.qpid.dispatch.routerMetrics");
                }
            }
            Box::new(std::iter::once(row))
        },
    },
    live!(ConnectionRow, Core, |source| source.connections()),
    live!(TcpConnectionRow, Core, |source| source.tcp_connections()),
    live!(LinkRow, Core, |source| source.links()),
    live!(AddressRow, Core, |source| source.addresses()),
    live!(NodeRow, Configuration, |source| source.nodes()),
    live!(TcpListenerRow, Configuration, |source| source
        .tcp_listeners()),
    live!(ListenerAddressRow, Configuration, |source| source
        .listener_addresses()),
    live!(TcpConnectorRow, Configuration, |source| source
        .tcp_connectors()),
    configured!(
        "listener",
        configured::LISTENER_ATTRIBUTES,
        configured::listeners
    ),
    configured!(
        "connector",
        configured::CONNECTOR_ATTRIBUTES,
        configured::connectors
    ),
    configured!(
        "sslProfile",
        configured::SSL_PROFILE_ATTRIBUTES,
        configured::ssl_profiles
    ),
    configured!(
        "proxyProfile",
        configured::PROXY_PROFILE_ATTRIBUTES,
        configured::proxy_profiles
    ),
    configured!(
        "network",
        configured::NETWORK_ATTRIBUTES,
        configured::network
    ),
    configured!("policy", configured::POLICY_ATTRIBUTES, configured::policy),
    EntityType {
        name: "io.skupper.router.router.config.address",
        agent: Agent::Core,
        attributes: configured::ADDRESS_ATTRIBUTES,
        rows: |source| Box::new(configured::addresses(source).into_iter()),
    },
    configured!("log", configured::LOG_ATTRIBUTES, configured::logs),
    configured!(
        "logStats",
        configured::LOG_STATS_ATTRIBUTES,
        configured::log_stats
    ),
    configured!("site", configured::SITE_ATTRIBUTES, configured::site),
    empty!("router.config.autoLink", Core, "address" "direction" "connection" "containerId" "externalAddress" "operStatus" "lastError"),
    empty!("httpRequestInfo", Core, "address" "host" "site" "direction" "requests" "bytesIn" "bytesOut" "maxLatency" "details"),
    empty!("httpListener", Configuration, "address" "host" "port" "backlog" "siteId" "sslProfile" "authenticatePeer" "protocolVersion" "aggregation" "eventChannel" "operStatus"),
    empty!("httpConnector", Configuration, "address" "host" "port" "siteId" "sslProfile" "protocolVersion" "aggregation" "eventChannel" "verifyHostname" "hostOverride"),
    empty!("allocator", Configuration, "typeName" "typeSize" "transferBatchSize" "localFreeListMax" "globalFreeListMax" "totalAllocFromHeap" "totalFreeToHeap" "heldByThreads" "batchesRebalancedToThreads" "batchesRebalancedToGlobal"),
    empty!("vhost", Configuration, "hostname" "maxConnections"),
    empty!("vhostStats", Configuration, "connectionsApproved" "connectionsDenied" "connectionsCurrent"),
];
