//! The entity types that can be asked for.

use amqp::Value;
use model::router_config::EntityKind;

use super::{
    Rows, Source, configured,
    rows::{
        AddressRow, AllocatorRow, ConnectionRow, LinkRow, ListenerAddressRow, NodeRow, RouterRow,
        TcpConnectionRow, TcpConnectorRow, TcpListenerRow,
    },
    rows_of,
};

/// Attributes of one entity.
pub(super) type Row = Vec<(&'static str, Value)>;

/// Prefix of long type names.
const PREFIX: &str = "io.skupper.router.";
/// Prefix that the long names of some types have in routers of version 3.
const OLD_PREFIX: &str = "org.apache.qpid.dispatch.";

/// Type of the node itself, on which QUERY and the GET operations are called.
pub(super) const NODE_TYPE: &str = "org.amqp.management";
/// The same as C routers call the one entity of it.
const NODE: &str = "io.skupper.router.management";
/// Operations of the node.
pub(super) const NODE_OPERATIONS: &[&str] = &[
    "READ",
    "QUERY",
    "GET-TYPES",
    "GET-ATTRIBUTES",
    "GET-OPERATIONS",
    "GET-ANNOTATIONS",
    "GET-MGMT-NODES",
    "GET-SCHEMA",
    "GET-JSON-SCHEMA",
    "GET-LOG",
];
const BASE_ATTRIBUTES: &[&str] = &["name", "identity", "type"];

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
    rows: Entities,
}

/// Where the entities of a type come from.
#[derive(Clone, Copy, Debug)]
enum Entities {
    Own(fn(&dyn Source) -> Rows<Row>),
    /// They are those of other types, and show what all have in common.
    Of(fn(&EntityType) -> bool),
}

impl EntityType {
    /// Finds a type by its long or short name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        let short = name
            .strip_prefix(PREFIX)
            .or_else(|| name.strip_prefix(OLD_PREFIX))
            .unwrap_or(name);
        let short = if short == NODE_TYPE { NODE } else { short };
        let short = short.strip_prefix(PREFIX).unwrap_or(short);
        TYPES
            .iter()
            .chain(BASES)
            .find(|known| known.name.strip_prefix(PREFIX) == Some(short))
    }

    /// The type itself, or those that it sums up.
    pub(super) fn members(&'static self) -> Vec<&'static Self> {
        match self.rows {
            Entities::Own(_) => vec![self],
            Entities::Of(belongs) => TYPES.iter().filter(|entity| belongs(entity)).collect(),
        }
    }

    /// Rows of a type that sums up no others; those of one that does are its members' ([`Self::members`]).
    pub(super) fn own_rows(&self, source: &dyn Source) -> Rows<Row> {
        match self.rows {
            Entities::Own(rows) => rows(source),
            Entities::Of(_) => Box::new(std::iter::empty()),
        }
    }

    /// All its rows.
    pub(super) fn rows(&'static self, source: &dyn Source) -> impl Iterator<Item = Row> {
        let members = self.members().into_iter();
        members
            .flat_map(|member| member.own_rows(source))
            .map(|row| self.shown(row))
    }

    /// What a row of one of the members shows of itself here.
    pub(super) fn shown(&self, mut row: Row) -> Row {
        if let Entities::Of(_) = self.rows {
            row.retain(|(name, _)| self.attributes.contains(name));
        }
        row
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
            None if self.name == NODE => NODE_OPERATIONS,
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
            rows: Entities::Own(|$source| {
                rows_of(IntoIterator::into_iter($rows), $row::into_attributes)
            }),
        }
    };
}

macro_rules! configured {
    ($name:literal, $attributes:expr, $rows:expr) => {
        EntityType {
            name: concat!("io.skupper.router.", $name),
            agent: Agent::Configuration,
            attributes: $attributes,
            rows: Entities::Own(|source| Box::new($rows(source).into_iter())),
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
            rows: Entities::Own(|_| Box::new(std::iter::empty())),
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
        rows: Entities::Own(|source| {
            let mut row = source.router().into_attributes();
            for (attribute, value) in &mut row {
                if *attribute == "type" {
                    *value = Value::from("org.apache.qpid.dispatch.routerMetrics");
                }
            }
            Box::new(std::iter::once(row))
        }),
    },
    live!(ConnectionRow, Core, |source| source.connections()),
    live!(TcpConnectionRow, Core, |source| source.tcp_connections()),
    live!(LinkRow, Core, |source| source.links()),
    live!(AddressRow, Core, |source| source.addresses()),
    live!(NodeRow, Configuration, |source| source.nodes()),
    live!(AllocatorRow, Configuration, |source| source.allocations()),
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
        rows: Entities::Own(|source| Box::new(configured::addresses(source).into_iter())),
    },
    configured!("log", configured::LOG_ATTRIBUTES, configured::logs),
    configured!(
        "logStats",
        configured::LOG_STATS_ATTRIBUTES,
        configured::log_stats
    ),
    configured!("site", configured::SITE_ATTRIBUTES, configured::site),
    empty!("router.config.autoLink", Core, "address" "direction" "connection" "containerId" "externalAddress" "linkRef" "operStatus" "lastError"),
    empty!("httpRequestInfo", Core, "address" "host" "site" "direction" "requests" "bytesIn" "bytesOut" "maxLatency" "details"),
    empty!("httpListener", Configuration, "address" "host" "port" "backlog" "siteId" "sslProfile" "authenticatePeer" "protocolVersion" "aggregation" "eventChannel" "operStatus"),
    empty!("httpConnector", Configuration, "address" "host" "port" "siteId" "sslProfile" "protocolVersion" "aggregation" "eventChannel" "verifyHostname" "hostOverride"),
    empty!("vhost", Configuration, "hostname" "aliases" "maxConnections" "maxMessageSize" "maxConnectionsPerUser" "maxConnectionsPerHost" "allowUnknownUser" "groups"),
    empty!("vhostStats", Configuration, "hostname" "connectionsApproved" "connectionsDenied" "connectionsCurrent" "perUserState" "perHostState" "sessionDenied" "senderDenied" "receiverDenied" "maxMessageSizeDenied"),
    empty!("vhostUserGroupSettings", Configuration, "users" "remoteHosts" "maxConnectionsPerUser" "maxConnectionsPerHost" "maxMessageSize" "maxFrameSize" "maxSessionWindow" "maxSessions" "maxSenders" "maxReceivers" "allowDynamicSource" "allowAnonymousSender" "allowUserIdProxy" "allowAdminStatusUpdate" "sources" "targets" "sourcePattern" "targetPattern"),
    EntityType {
        name: NODE,
        agent: Agent::Configuration,
        attributes: BASE_ATTRIBUTES,
        rows: Entities::Own(|_| {
            let values = ["self", "self", NODE].map(Value::from);
            Box::new(std::iter::once(
                BASE_ATTRIBUTES.iter().copied().zip(values).collect(),
            ))
        }),
    },
];

/// Types that only sum up others: each shows what its members have in common.
pub(super) static BASES: &[EntityType] = &[
    EntityType {
        name: "io.skupper.router.entity",
        agent: Agent::Configuration,
        attributes: BASE_ATTRIBUTES,
        rows: Entities::Of(|_| true),
    },
    EntityType {
        name: "io.skupper.router.configurationEntity",
        agent: Agent::Configuration,
        attributes: BASE_ATTRIBUTES,
        rows: Entities::Of(|entity| entity.kind().is_some()),
    },
    EntityType {
        name: "io.skupper.router.operationalEntity",
        agent: Agent::Configuration,
        attributes: BASE_ATTRIBUTES,
        rows: Entities::Of(|entity| entity.kind().is_none()),
    },
];
