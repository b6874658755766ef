//! From entities to text.

use std::time::Duration;

use serde::Serialize as _;
use serde_json::{Map, Value, json, ser::PrettyFormatter};

use super::{
    AddressEntity, AddressFamily, AddressMatch, AmqpUrl, Connector, Distribution, Listener,
    ListenerAddress, LogEntity, MultiAddressStrategy, NetworkEntity, ProxyProfile, RouterConfig,
    RouterEntity, Sensitive, SiteEntity, SslProfile, TcpConnector, TcpListener, UidFormat,
};

/// Indented as Skupper writes it; no final newline
pub(super) fn to_json(config: &RouterConfig) -> String {
    let mut entities = vec![json!(["router", router(&config.router)])];
    entities.extend(
        config
            .ssl_profiles
            .values()
            .map(|entity| json!(["sslProfile", ssl_profile(entity)])),
    );
    entities.extend(
        config
            .proxy_profiles
            .values()
            .map(|entity| json!(["proxyProfile", proxy_profile(entity)])),
    );
    entities.extend(
        config
            .connectors
            .values()
            .map(|entity| json!(["connector", connector(entity)])),
    );
    entities.extend(
        config
            .listeners
            .values()
            .map(|entity| json!(["listener", listener(entity)])),
    );
    entities.extend(
        config
            .addresses
            .iter()
            .map(|entity| json!(["address", address(entity)])),
    );
    entities.extend(
        config
            .tcp_connectors
            .values()
            .map(|entity| json!(["tcpConnector", tcp_connector(entity)])),
    );
    entities.extend(
        config
            .tcp_listeners
            .values()
            .map(|entity| json!(["tcpListener", tcp_listener(entity)])),
    );
    entities.extend(
        config
            .listener_addresses
            .values()
            .map(|entity| json!(["listenerAddress", listener_address(entity)])),
    );
    entities.extend(config.logs.iter().map(|entity| json!(["log", log(entity)])));
    entities.extend(
        config
            .site
            .iter()
            .map(|entity| json!(["site", site(entity)])),
    );
    entities.extend(
        config
            .network
            .iter()
            .map(|entity| json!(["network", network(entity)])),
    );
    entities.extend(
        config
            .max_connections
            .map(|limit| json!(["policy", {"maxConnections": limit}])),
    );

    let mut text = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    entities
        .serialize(&mut serializer)
        .expect("values with text keys into memory");
    String::from_utf8(text).expect("the serializer writes UTF-8")
}

/// Collects attributes that differ from their defaults
#[derive(Default)]
struct Writer(Map<String, Value>);

impl Writer {
    fn always(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.0.insert(attribute.to_owned(), value.into());
        self
    }

    fn unless<T: Copy + Into<Value> + PartialEq>(
        self,
        attribute: &str,
        value: T,
        default: T,
    ) -> Self {
        if value == default {
            self
        } else {
            self.always(attribute, value)
        }
    }

    fn some(self, attribute: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.always(attribute, value),
            None => self,
        }
    }

    /// Seconds as a text, which is what readers of Skupper 1 expect of the router entity
    fn seconds(self, attribute: &str, value: Duration, default: Duration) -> Self {
        if value == default {
            return self;
        }
        self.always(attribute, value.as_secs().to_string())
    }

    fn words(self, attribute: &str, words: &[String]) -> Self {
        if words.is_empty() {
            return self;
        }
        self.always(attribute, words.join(" "))
    }

    fn path(self, attribute: &str, path: Option<&std::path::PathBuf>) -> Self {
        self.some(
            attribute,
            path.map(|path| path.to_string_lossy().into_owned()),
        )
    }
}

fn router(entity: &RouterEntity) -> Value {
    let default = RouterEntity::new("", entity.mode);
    Writer::default()
        .always("id", entity.id.as_str())
        .always("mode", entity.mode.as_str())
        .seconds(
            "helloIntervalSeconds",
            entity.hello_interval,
            default.hello_interval,
        )
        // Skupper writes it even though it is the default of the router.
        .always(
            "helloMaxAgeSeconds",
            entity.hello_max_age.as_secs().to_string(),
        )
        .seconds("raIntervalSeconds", entity.ra_interval, default.ra_interval)
        .seconds(
            "raIntervalFluxSeconds",
            entity.ra_interval_flux,
            default.ra_interval_flux,
        )
        .seconds(
            "remoteLsMaxAgeSeconds",
            entity.remote_ls_max_age,
            default.remote_ls_max_age,
        )
        .seconds(
            "unreachableHoldoffSeconds",
            entity.unreachable_holdoff,
            default.unreachable_holdoff,
        )
        .some("workerThreads", entity.worker_threads)
        .some(
            "dataConnectionCount",
            entity.data_connection_count.map(|count| count.to_string()),
        )
        .unless(
            "defaultDistribution",
            entity.default_distribution.as_str(),
            Distribution::Balanced.as_str(),
        )
        .some("metadata", entity.metadata.as_deref())
        .some("vanId", entity.van_id.as_deref())
        .some("dropTcpConnections", entity.drop_tcp_connections)
        .0
        .into()
}

pub(super) fn ssl_profile(entity: &SslProfile) -> Value {
    Writer::default()
        .always("name", entity.name.as_str())
        .path("certFile", entity.cert_file.as_ref())
        .path("privateKeyFile", entity.private_key_file.as_ref())
        .path("caCertFile", entity.ca_cert_file.as_ref())
        .some("password", entity.password.as_ref().map(Sensitive::expose))
        .some("ciphers", entity.ciphers.as_deref())
        .words("protocols", &entity.protocols)
        .some(
            "uidFormat",
            entity.uid_format.as_ref().map(UidFormat::to_string),
        )
        .path("uidNameMappingFile", entity.uid_name_mapping_file.as_ref())
        .some("ordinal", entity.ordinal)
        .some("oldestValidOrdinal", entity.oldest_valid_ordinal)
        .0
        .into()
}

pub(super) fn proxy_profile(entity: &ProxyProfile) -> Value {
    Writer::default()
        .always("name", entity.name.as_str())
        .always("host", entity.host.as_str())
        .always("port", entity.port.to_string())
        .some("username", entity.username.as_deref())
        .some("password", entity.password.as_ref().map(Sensitive::expose))
        .0
        .into()
}

pub(super) fn listener(entity: &Listener) -> Value {
    let default = Listener::new("", 0);
    Writer::default()
        .always("name", entity.name.as_str())
        .unless("host", entity.host.as_str(), "")
        .always("port", entity.port)
        .path("unixSocket", entity.socket.as_ref())
        .unless("role", entity.role.as_str(), default.role.as_str())
        .unless("cost", entity.cost, default.cost)
        .some("sslProfile", entity.ssl_profile.as_deref())
        .words("saslMechanisms", &entity.sasl_mechanisms)
        .unless("authenticatePeer", entity.authenticate_peer, false)
        .unless("requireEncryption", entity.require_encryption, false)
        .unless("requireSsl", entity.require_ssl, false)
        .unless(
            "maxFrameSize",
            entity.max_frame_size,
            default.max_frame_size,
        )
        .unless(
            "maxConnections",
            entity.max_connections,
            default.max_connections,
        )
        .unless("maxSessions", entity.max_sessions, default.max_sessions)
        .some("maxSessionFrames", entity.max_session_frames)
        .unless(
            "idleTimeoutSeconds",
            entity.idle_timeout.as_secs(),
            default.idle_timeout.as_secs(),
        )
        .unless(
            "initialHandshakeTimeoutSeconds",
            entity.initial_handshake_timeout.as_secs(),
            0,
        )
        .unless("linkCapacity", entity.link_capacity, default.link_capacity)
        .unless(
            "stripAnnotations",
            entity.strip_annotations.as_str(),
            default.strip_annotations.as_str(),
        )
        .some(
            "socketAddressFamily",
            entity.socket_address_family.map(AddressFamily::as_str),
        )
        .some(
            "failoverUrls",
            (!entity.failover_urls.is_empty()).then(|| AmqpUrl::list(&entity.failover_urls)),
        )
        .unless("http", entity.http, false)
        .some("httpRootDir", entity.http_root_dir.as_deref())
        .unless("websockets", entity.websockets, true)
        .unless("healthz", entity.healthz, true)
        .unless("metrics", entity.metrics, true)
        .0
        .into()
}

pub(super) fn connector(entity: &Connector) -> Value {
    let default = Connector::default_with_name(String::new());
    Writer::default()
        .always("name", entity.name.as_str())
        .always("host", entity.host.as_str())
        .always("port", entity.port.to_string())
        .unless("role", entity.role.as_str(), default.role.as_str())
        .unless("cost", entity.cost, default.cost)
        .some("sslProfile", entity.ssl_profile.as_deref())
        .unless("verifyHostname", entity.verify_hostname, true)
        .some("proxyProfile", entity.proxy_profile.as_deref())
        .words("saslMechanisms", &entity.sasl_mechanisms)
        .some("saslUsername", entity.sasl_username.as_deref())
        .some(
            "saslPassword",
            entity.sasl_password.as_ref().map(Sensitive::expose),
        )
        .unless(
            "maxFrameSize",
            entity.max_frame_size,
            default.max_frame_size,
        )
        .unless("maxSessions", entity.max_sessions, default.max_sessions)
        .some("maxSessionFrames", entity.max_session_frames)
        .unless(
            "idleTimeoutSeconds",
            entity.idle_timeout.as_secs(),
            default.idle_timeout.as_secs(),
        )
        .unless("linkCapacity", entity.link_capacity, default.link_capacity)
        .unless(
            "stripAnnotations",
            entity.strip_annotations.as_str(),
            default.strip_annotations.as_str(),
        )
        .some(
            "socketAddressFamily",
            entity.socket_address_family.map(AddressFamily::as_str),
        )
        .0
        .into()
}

pub(super) fn address(entity: &AddressEntity) -> Value {
    let (attribute, text) = match &entity.matches {
        AddressMatch::Prefix(text) => ("prefix", text),
        AddressMatch::Pattern(text) => ("pattern", text),
    };
    Writer::default()
        .some("name", entity.name.as_deref())
        .always(attribute, text.as_str())
        .unless(
            "distribution",
            entity.distribution.as_str(),
            Distribution::Balanced.as_str(),
        )
        .some("priority", entity.priority)
        .0
        .into()
}

pub(super) fn tcp_listener(entity: &TcpListener) -> Value {
    let default = TcpListener::new("", "", 0);
    Writer::default()
        .always("name", entity.name.as_str())
        .unless("host", entity.host.as_str(), "")
        .always("port", entity.port.to_string())
        .some(
            "address",
            Some(entity.address.as_str()).filter(|address| !address.is_empty()),
        )
        .unless(
            "multiAddressStrategy",
            entity.strategy.as_str(),
            MultiAddressStrategy::None.as_str(),
        )
        .some("siteId", entity.site_id.as_deref())
        .some("backlog", entity.backlog)
        .some("sslProfile", entity.ssl_profile.as_deref())
        .unless("authenticatePeer", entity.authenticate_peer, false)
        .unless(
            "encapsulation",
            entity.encapsulation.as_str(),
            default.encapsulation.as_str(),
        )
        .0
        .into()
}

pub(super) fn listener_address(entity: &ListenerAddress) -> Value {
    Writer::default()
        .always("name", entity.name.as_str())
        .always("address", entity.address.as_str())
        .always("value", entity.value)
        .always("listener", entity.listener.as_str())
        .0
        .into()
}

pub(super) fn tcp_connector(entity: &TcpConnector) -> Value {
    let default = TcpConnector::new("", "", "", 0);
    Writer::default()
        .always("name", entity.name.as_str())
        .always("host", entity.host.as_str())
        .always("port", entity.port.to_string())
        .always("address", entity.address.as_str())
        .some("siteId", entity.site_id.as_deref())
        .some("sslProfile", entity.ssl_profile.as_deref())
        .unless("verifyHostname", entity.verify_hostname, true)
        .unless(
            "encapsulation",
            entity.encapsulation.as_str(),
            default.encapsulation.as_str(),
        )
        .some("processId", entity.process_id.as_deref())
        .0
        .into()
}

pub(super) fn log(entity: &LogEntity) -> Value {
    Writer::default()
        .always("module", entity.module.as_str())
        .always("enable", entity.enable_text())
        .some("includeTimestamp", entity.include_timestamp)
        .some("includeSource", entity.include_source)
        .some("outputFile", entity.output_file.as_deref())
        .0
        .into()
}

fn site(entity: &SiteEntity) -> Value {
    Writer::default()
        .some("name", entity.name.as_deref())
        .some("location", entity.location.as_deref())
        .some("provider", entity.provider.as_deref())
        .some("version", entity.version.as_deref())
        .some("platform", entity.platform.as_deref())
        .some("namespace", entity.namespace.as_deref())
        .0
        .into()
}

fn network(entity: &NetworkEntity) -> Value {
    Writer::default()
        .some("networkId", entity.network_id.as_deref())
        .some("tenantId", entity.tenant_id.as_deref())
        .0
        .into()
}
