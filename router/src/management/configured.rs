//! Rows of entities that stand in the configuration file.

use std::time::Duration;

use amqp::Value;
use model::router_config::{AddressMatch, AmqpUrl, LOG_MODULES, Listener, LogEntity, LogLevel};

use super::{
    Source,
    entity::Row,
    rows::{IntoValue as _, int},
};

pub(super) const LISTENER_ATTRIBUTES: &[&str; 31] = &[
    "name",
    "identity",
    "type",
    "host",
    "port",
    "unixSocket",
    "role",
    "cost",
    "sslProfile",
    "saslMechanisms",
    "authenticatePeer",
    "requireEncryption",
    "requireSsl",
    "maxFrameSize",
    "maxConnections",
    "maxSessions",
    "maxSessionFrames",
    "idleTimeoutSeconds",
    "initialHandshakeTimeoutSeconds",
    "linkCapacity",
    "stripAnnotations",
    "failoverUrls",
    "http",
    "healthz",
    "metrics",
    "websockets",
    "socketAddressFamily",
    "httpRootDir",
    "messageLoggingComponents",
    "policyVhost",
    "openProperties",
];

pub(super) const CONNECTOR_ATTRIBUTES: &[&str; 26] = &[
    "name",
    "identity",
    "type",
    "host",
    "port",
    "role",
    "cost",
    "sslProfile",
    "verifyHostname",
    "saslMechanisms",
    "saslUsername",
    "maxFrameSize",
    "maxSessions",
    "maxSessionFrames",
    "idleTimeoutSeconds",
    "linkCapacity",
    "stripAnnotations",
    "failoverUrls",
    "connectionStatus",
    "connectionMsg",
    "proxyProfile",
    "socketAddressFamily",
    "allowRedirect",
    "messageLoggingComponents",
    "policyVhost",
    "openProperties",
];

/// Passwords are not among them.
pub(super) const SSL_PROFILE_ATTRIBUTES: &[&str; 12] = &[
    "name",
    "identity",
    "type",
    "certFile",
    "privateKeyFile",
    "caCertFile",
    "ciphers",
    "protocols",
    "uidFormat",
    "uidNameMappingFile",
    "ordinal",
    "oldestValidOrdinal",
];

/// Passwords are not among them.
pub(super) const PROXY_PROFILE_ATTRIBUTES: &[&str; 6] =
    &["name", "identity", "type", "host", "port", "username"];

pub(super) const NETWORK_ATTRIBUTES: &[&str; 5] =
    &["name", "identity", "type", "networkId", "tenantId"];

pub(super) const POLICY_ATTRIBUTES: &[&str; 15] = &[
    "name",
    "identity",
    "type",
    "maxConnections",
    "maxMessageSize",
    "enableVhostPolicy",
    "enableVhostNamePatterns",
    "policyDir",
    "defaultVhost",
    "connectionsProcessed",
    "connectionsDenied",
    "connectionsCurrent",
    "linksDenied",
    "maxMessageSizeDenied",
    "totalDenials",
];

pub(super) const ADDRESS_ATTRIBUTES: &[&str; 7] = &[
    "name",
    "identity",
    "type",
    "prefix",
    "pattern",
    "distribution",
    "priority",
];

pub(super) const LOG_ATTRIBUTES: &[&str; 8] = &[
    "name",
    "identity",
    "type",
    "module",
    "enable",
    "includeTimestamp",
    "includeSource",
    "outputFile",
];

pub(super) const LOG_STATS_ATTRIBUTES: &[&str; 9] = &[
    "name",
    "identity",
    "type",
    "debugCount",
    "infoCount",
    "noticeCount",
    "warningCount",
    "errorCount",
    "criticalCount",
];

pub(super) const SITE_ATTRIBUTES: &[&str; 8] = &[
    "name",
    "identity",
    "type",
    "location",
    "provider",
    "version",
    "platform",
    "namespace",
];

pub(super) fn listeners(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let rows = config.listeners.values().map(|listener| {
        row(
            LISTENER_ATTRIBUTES,
            [
                text(&listener.name),
                text(&listener_identity(listener)),
                text("io.skupper.router.listener"),
                text(&listener.host),
                text(&listener.port),
                optional(listener.socket.as_ref().map(|path| path.display())),
                text(&listener.role),
                number(listener.cost),
                optional(listener.ssl_profile.as_ref()),
                words(&listener.sasl_mechanisms),
                Value::Bool(listener.authenticate_peer),
                Value::Bool(listener.require_encryption),
                Value::Bool(listener.require_ssl),
                number(listener.max_frame_size),
                number(listener.max_connections),
                number(listener.max_sessions),
                listener.max_session_frames.map_or(Value::Null, number),
                seconds(listener.idle_timeout),
                seconds(listener.initial_handshake_timeout),
                number(listener.link_capacity),
                text(&listener.strip_annotations),
                failover(&listener.failover_urls),
                Value::Bool(listener.http),
                Value::Bool(listener.healthz),
                Value::Bool(listener.metrics),
                Value::Bool(listener.websockets),
                Value::Null,
                Value::Null,
                text("none"),
                Value::Null,
                Value::Null,
            ],
        )
    });
    rows.collect()
}

/// `listener/<host>:<port>:<name>`.
fn listener_identity(listener: &Listener) -> String {
    match &listener.socket {
        Some(path) => format!("listener/{}:{}", path.display(), listener.name),
        None => endpoint_identity("listener", &listener.host, listener.port, &listener.name),
    }
}

fn endpoint_identity(kind: &str, host: &str, port: u16, name: &str) -> String {
    format!("{kind}/{host}:{port}:{name}")
}

pub(super) fn connectors(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let states = source.connector_states();
    let rows = config.connectors.values().map(|connector| {
        let state = states.get(&connector.name);
        let identity = endpoint_identity(
            "connector",
            &connector.host,
            connector.port,
            &connector.name,
        );
        row(
            CONNECTOR_ATTRIBUTES,
            [
                text(&connector.name),
                text(&identity),
                text("io.skupper.router.connector"),
                text(&connector.host),
                text(&connector.port),
                text(&connector.role),
                number(connector.cost),
                optional(connector.ssl_profile.as_ref()),
                Value::Bool(connector.verify_hostname),
                words(&connector.sasl_mechanisms),
                optional(connector.sasl_username.as_ref()),
                number(connector.max_frame_size),
                number(connector.max_sessions),
                connector.max_session_frames.map_or(Value::Null, number),
                seconds(connector.idle_timeout),
                number(connector.link_capacity),
                text(&connector.strip_annotations),
                text(state.map_or("", |state| &state.servers)),
                text(state.map_or("INITIALIZING", |state| &state.status)),
                text(state.map_or("", |state| &state.message)),
                optional(connector.proxy_profile.as_ref()),
                Value::Null,
                Value::Bool(false),
                text("none"),
                Value::Null,
                Value::Null,
            ],
        )
    });
    rows.collect()
}

pub(super) fn ssl_profiles(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let rows = config.ssl_profiles.values().map(|profile| {
        row(
            SSL_PROFILE_ATTRIBUTES,
            [
                text(&profile.name),
                text(&format!("sslProfile/{}", profile.name)),
                text("io.skupper.router.sslProfile"),
                optional(profile.cert_file.as_ref().map(|path| path.display())),
                optional(profile.private_key_file.as_ref().map(|path| path.display())),
                optional(profile.ca_cert_file.as_ref().map(|path| path.display())),
                optional(profile.ciphers.as_ref()),
                words(&profile.protocols),
                optional(profile.uid_format.as_ref()),
                optional(
                    profile
                        .uid_name_mapping_file
                        .as_ref()
                        .map(|path| path.display()),
                ),
                profile.ordinal.into_value(),
                profile.oldest_valid_ordinal.into_value(),
            ],
        )
    });
    rows.collect()
}

pub(super) fn proxy_profiles(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let rows = config.proxy_profiles.values().map(|profile| {
        row(
            PROXY_PROFILE_ATTRIBUTES,
            [
                text(&profile.name),
                text(&format!("proxyProfile/{}", profile.name)),
                text("io.skupper.router.proxyProfile"),
                text(&profile.host),
                text(&profile.port),
                optional(profile.username.as_ref()),
            ],
        )
    });
    rows.collect()
}

/// There is always one.
pub(super) fn network(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let network = config.network.clone().unwrap_or_default();
    vec![row(
        NETWORK_ATTRIBUTES,
        [
            text("network/0"),
            text("network/0"),
            text("io.skupper.router.network"),
            optional(network.network_id),
            optional(network.tenant_id),
        ],
    )]
}

/// There is always one: it says how many connections there may be and are, and how many were refused.
pub(super) fn policy(source: &dyn Source) -> Vec<Row> {
    let counts = source.policy();
    vec![row(
        POLICY_ATTRIBUTES,
        [
            text("policy/0"),
            text("policy/0"),
            text("io.skupper.router.policy"),
            int(source.config().max_connections.unwrap_or(65_535).into()),
            Value::Int(0),
            Value::Bool(false),
            Value::Bool(false),
            text(""),
            text("$default"),
            int(counts.connections_processed),
            int(counts.connections_denied),
            int(counts.connections_current),
            int(counts.links_denied),
            Value::Int(0),
            int(counts
                .connections_denied
                .saturating_add(counts.links_denied)),
        ],
    )]
}

pub(super) fn addresses(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let rows = config.addresses.iter().map(|address| {
        let (prefix, pattern) = match &address.matches {
            AddressMatch::Prefix(prefix) => (Some(prefix), None),
            AddressMatch::Pattern(pattern) => (None, Some(pattern)),
        };
        let key = prefix.or(pattern).map_or("", String::as_str);
        let name = address.name.as_deref().unwrap_or(key);
        row(
            ADDRESS_ATTRIBUTES,
            [
                text(name),
                text(&format!("router.config.address/{name}")),
                text("io.skupper.router.router.config.address"),
                optional(prefix),
                optional(pattern),
                text(&address.distribution),
                Value::Int(address.priority.map_or(-1, i32::from)),
            ],
        )
    });
    rows.collect()
}

/// A row for each module, as C routers have; those without configuration do as `DEFAULT` does.
pub(super) fn logs(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let unset = |module: &str| LogEntity {
        include_timestamp: None,
        ..LogEntity::at_least(module, LogLevel::Info)
    };
    let configured = |module: &str| config.logs.iter().rfind(|log| log.module == module);
    let known = LOG_MODULES.iter().map(|module| match configured(module) {
        Some(log) => log_row(log, log.enable_text()),
        None => log_row(&unset(module), "default".to_owned()),
    });
    let others = config
        .logs
        .iter()
        .filter(|log| !LOG_MODULES.contains(&log.module.as_str()));
    known
        .chain(others.map(|log| log_row(log, log.enable_text())))
        .collect()
}

fn log_row(log: &LogEntity, enable: String) -> Row {
    row(
        LOG_ATTRIBUTES,
        [
            text(&format!("log/{}", log.module)),
            text(&format!("log/{}", log.module)),
            text("io.skupper.router.log"),
            text(&log.module),
            Value::String(enable),
            log.include_timestamp.into_value(),
            log.include_source.into_value(),
            optional(log.output_file.as_ref()),
        ],
    )
}

/// Counters of the log, by module.
pub(super) fn log_stats(source: &dyn Source) -> Vec<Row> {
    let counts = source.log_counts();
    let rows = LOG_MODULES.iter().map(|module| {
        let counts = counts.get(module).copied().unwrap_or_default();
        let identity = format!("logStats/{module}");
        row(
            LOG_STATS_ATTRIBUTES,
            [
                text(&identity),
                text(&identity),
                text("io.skupper.router.logStats"),
                int(counts.debug),
                int(counts.info),
                Value::Int(0),
                int(counts.warning),
                int(counts.error),
                Value::Int(0),
            ],
        )
    });
    rows.collect()
}

pub(super) fn site(source: &dyn Source) -> Vec<Row> {
    let config = source.config();
    let rows = config.site.iter().map(|site| {
        let name = site.name.as_deref().unwrap_or("site");
        row(
            SITE_ATTRIBUTES,
            [
                text(name),
                text(&format!("site/{name}")),
                text("io.skupper.router.site"),
                optional(site.location.as_ref()),
                optional(site.provider.as_ref()),
                optional(site.version.as_ref()),
                optional(site.platform.as_ref()),
                optional(site.namespace.as_ref()),
            ],
        )
    });
    rows.collect()
}

fn row<const N: usize>(attributes: &[&'static str; N], values: [Value; N]) -> Row {
    attributes.iter().copied().zip(values).collect()
}

fn text(value: &(impl ToString + ?Sized)) -> Value {
    Value::String(value.to_string())
}

fn optional<T: ToString>(value: Option<T>) -> Value {
    value.map_or(Value::Null, |value| Value::String(value.to_string()))
}

fn words(words: &[String]) -> Value {
    optional(
        Some(words)
            .filter(|words| !words.is_empty())
            .map(|words| words.join(" ")),
    )
}

fn failover(urls: &[AmqpUrl]) -> Value {
    optional((!urls.is_empty()).then(|| AmqpUrl::list(urls)))
}

/// An integer attribute of configured entities.
fn number(value: u32) -> Value {
    i32::try_from(value).map_or(Value::Long(value.into()), Value::Int)
}

fn seconds(value: Duration) -> Value {
    i64::try_from(value.as_secs()).map_or(Value::Long(i64::MAX), |seconds| {
        i32::try_from(seconds).map_or(Value::Long(seconds), Value::Int)
    })
}
