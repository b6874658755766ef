//! The router itself.

use std::time::Duration;

use super::{ConfigError, Distribution, Mode, attributes::Attributes};

/// Entity `router`: identity, place in the network, timers of the routing protocol
#[derive(Clone, Debug, PartialEq)]
pub struct RouterEntity {
    /// Unique in the network; no `|`, `$`, `/`
    pub id: String,
    /// Place in the network
    pub mode: Mode,
    /// Time between HELLOs (1 s)
    pub hello_interval: Duration,
    /// After this much silence a neighbour is gone (3 s)
    pub hello_max_age: Duration,
    /// Time between advertisements (30 s)
    pub ra_interval: Duration,
    /// The same while the topology changes (4 s)
    pub ra_interval_flux: Duration,
    /// After this much silence a remote router is gone (60 s)
    pub remote_ls_max_age: Duration,
    /// How long a router that became unreachable is remembered (1 s)
    pub unreachable_holdoff: Duration,
    /// Threads that forward; `None`: as many as fit the machine
    pub worker_threads: Option<u32>,
    /// Connections per neighbour that carry streams; `None`: as many as there are worker threads
    pub data_connection_count: Option<u32>,
    /// Distribution of addresses that no `address` entity matches
    pub default_distribution: Distribution,
    /// Free text shown to other routers; Skupper puts a JSON text here: site id, version, platform
    pub metadata: Option<String>,
    /// Prefix of the addresses of all TCP services, with a slash behind it
    pub van_id: Option<String>,
    /// Whether flows end with the TCP listener or connector that made them; `None`: as `false`
    pub drop_tcp_connections: Option<bool>,
}

impl RouterEntity {
    /// A router with default timers
    pub fn new(id: impl Into<String>, mode: Mode) -> Self {
        Self {
            id: id.into(),
            mode,
            hello_interval: Duration::from_secs(1),
            hello_max_age: Duration::from_secs(3),
            ra_interval: Duration::from_secs(30),
            ra_interval_flux: Duration::from_secs(4),
            remote_ls_max_age: Duration::from_secs(60),
            unreachable_holdoff: Duration::from_secs(1),
            worker_threads: None,
            data_connection_count: None,
            default_distribution: Distribution::Balanced,
            metadata: None,
            van_id: None,
            drop_tcp_connections: None,
        }
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let mode = attributes.choice("mode")?.unwrap_or(Mode::Standalone);
        let id = match mode {
            Mode::Standalone => attributes
                .filled("id")?
                .unwrap_or_else(|| "Standalone".to_owned()),
            Mode::Edge | Mode::Interior => attributes.required("id")?,
        };
        let default = Self::new(id, mode);
        let router = Self {
            hello_interval: attributes
                .seconds("helloIntervalSeconds", 1)?
                .unwrap_or(default.hello_interval),
            hello_max_age: attributes
                .seconds("helloMaxAgeSeconds", 1)?
                .unwrap_or(default.hello_max_age),
            ra_interval: attributes
                .seconds("raIntervalSeconds", 1)?
                .unwrap_or(default.ra_interval),
            ra_interval_flux: attributes
                .seconds("raIntervalFluxSeconds", 1)?
                .unwrap_or(default.ra_interval_flux),
            remote_ls_max_age: attributes
                .seconds("remoteLsMaxAgeSeconds", 1)?
                .unwrap_or(default.remote_ls_max_age),
            unreachable_holdoff: attributes
                .seconds("unreachableHoldoffSeconds", 0)?
                .unwrap_or(default.unreachable_holdoff),
            worker_threads: attributes.number_or_auto("workerThreads", 1, 1024)?,
            data_connection_count: attributes.number_or_auto("dataConnectionCount", 0, 1024)?,
            default_distribution: attributes
                .choice("defaultDistribution")?
                .unwrap_or(default.default_distribution),
            metadata: attributes.filled("metadata")?,
            van_id: attributes.filled("vanId")?,
            drop_tcp_connections: attributes.boolean("dropTcpConnections")?,
            ..default
        };
        attributes.without_effect(&[
            "area",
            "debugDumpFile",
            "name",
            "saslConfigDir",
            "saslConfigName",
            "timestampFormat",
            "timestampsInUTC",
        ]);
        Ok(router)
    }
}
