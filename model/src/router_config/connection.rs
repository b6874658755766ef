//! AMQP connections: `listener` and `connector`.

use std::{path::PathBuf, time::Duration};

use super::{
    AMQP_PORT, AddressFamily, AmqpUrl, ConfigError, Role, Sensitive, StripAnnotations,
    attributes::Attributes, value::Word as _,
};

/// Entity `listener`: accepts AMQP connections, or HTTP requests for health and metrics
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique among the listeners
    pub name: String,
    /// Local address; empty: all, IPv4 and IPv6
    pub host: String,
    /// Port; 0: any free one
    pub port: u16,
    /// Unix socket instead of host and port (our attribute `unixSocket`); mode 0600, role normal
    pub socket: Option<PathBuf>,
    /// What is expected of the peers
    pub role: Role,
    /// Cost of the links that come in here
    pub cost: u32,
    /// TLS, if any
    pub ssl_profile: Option<String>,
    /// Offered, in this order; empty: those that fit
    pub sasl_mechanisms: Vec<String>,
    /// Whether peers must say who they are
    pub authenticate_peer: bool,
    /// Whether plain connections are refused
    pub require_encryption: bool,
    /// Whether connections without TLS are refused
    pub require_ssl: bool,
    /// Octets
    pub max_frame_size: u32,
    /// Open at one time; more are closed at once. An attribute of this router only
    pub max_connections: u32,
    /// Per connection
    pub max_sessions: u32,
    /// Incoming window of sessions, in frames; `None`: as wide as fits
    pub max_session_frames: Option<u32>,
    /// Connections are closed after this much silence; zero: never
    pub idle_timeout: Duration,
    /// Time for a peer to open its connection; zero: any
    pub initial_handshake_timeout: Duration,
    /// Credit granted to senders
    pub link_capacity: u32,
    /// Where router annotations are removed
    pub strip_annotations: StripAnnotations,
    /// Restricts what host resolves to
    pub socket_address_family: Option<AddressFamily>,
    /// Told to those that connect: where to go when this listener cannot be reached
    pub failover_urls: Vec<AmqpUrl>,
    /// Whether this is a listener for HTTP
    pub http: bool,
    /// Directory of files to serve, or `disabled`
    pub http_root_dir: Option<String>,
    /// Whether AMQP over WebSocket is served
    pub websockets: bool,
    /// Whether `/healthz` is served
    pub healthz: bool,
    /// Whether `/metrics` is served
    pub metrics: bool,
}

impl Listener {
    /// A normal listener on all addresses
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        Self {
            name: name.into(),
            host: String::new(),
            port,
            socket: None,
            role: Role::Normal,
            cost: 1,
            ssl_profile: None,
            sasl_mechanisms: Vec::new(),
            authenticate_peer: false,
            require_encryption: false,
            require_ssl: false,
            max_frame_size: MAX_FRAME_SIZE,
            max_connections: MAX_CONNECTIONS,
            max_sessions: MAX_SESSIONS,
            max_session_frames: None,
            idle_timeout: IDLE_TIMEOUT,
            initial_handshake_timeout: Duration::ZERO,
            link_capacity: LINK_CAPACITY,
            strip_annotations: StripAnnotations::Both,
            socket_address_family: None,
            failover_urls: Vec::new(),
            http: false,
            http_root_dir: None,
            websockets: true,
            healthz: true,
            metrics: true,
        }
    }

    /// A listener for management on a Unix socket
    pub fn on_socket(name: impl Into<String>, socket: PathBuf) -> Self {
        Self {
            socket: Some(socket),
            ..Self::new(name, 0)
        }
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let host = attributes.text("host")?.unwrap_or_default();
        let port = attributes.port("port", 0)?.unwrap_or(AMQP_PORT);
        let http_root_dir = attributes.filled("httpRootDir")?;
        let websockets = attributes.boolean("websockets")?;
        if websockets == Some(true) {
            attributes.warn("attribute \"websockets\" has no effect: WebSockets are not served");
        }
        let websockets = websockets.unwrap_or(true);
        let default = Self::new(
            attributes
                .filled("name")?
                .unwrap_or_else(|| format!("listener/{host}:{port}")),
            port,
        );
        let listener = Self {
            host,
            socket: attributes.filled("unixSocket")?.map(Into::into),
            role: role(attributes)?.unwrap_or(default.role),
            cost: attributes
                .number("cost", 1, HIGHEST)?
                .unwrap_or(default.cost),
            ssl_profile: attributes.filled("sslProfile")?,
            sasl_mechanisms: attributes.words("saslMechanisms")?,
            authenticate_peer: attributes.boolean("authenticatePeer")?.unwrap_or_default(),
            require_encryption: attributes.boolean("requireEncryption")?.unwrap_or_default(),
            require_ssl: attributes.boolean("requireSsl")?.unwrap_or_default(),
            max_frame_size: attributes
                .number("maxFrameSize", 512, u32::MAX)?
                .unwrap_or(default.max_frame_size),
            max_connections: attributes
                .number("maxConnections", 1, HIGHEST)?
                .unwrap_or(default.max_connections),
            max_sessions: attributes
                .number("maxSessions", 1, 65_536)?
                .unwrap_or(default.max_sessions),
            max_session_frames: attributes.number("maxSessionFrames", 1, u32::MAX)?,
            idle_timeout: attributes
                .seconds("idleTimeoutSeconds", 0)?
                .unwrap_or(default.idle_timeout),
            initial_handshake_timeout: attributes
                .seconds("initialHandshakeTimeoutSeconds", 0)?
                .unwrap_or_default(),
            link_capacity: attributes
                .number("linkCapacity", 1, HIGHEST)?
                .unwrap_or(default.link_capacity),
            strip_annotations: attributes
                .choice("stripAnnotations")?
                .unwrap_or(default.strip_annotations),
            socket_address_family: attributes.choice("socketAddressFamily")?,
            failover_urls: AmqpUrl::read_list(attributes)?,
            http: attributes.boolean("http")?.unwrap_or_default() || http_root_dir.is_some(),
            http_root_dir,
            websockets,
            healthz: attributes.boolean("healthz")?.unwrap_or(default.healthz),
            metrics: attributes.boolean("metrics")?.unwrap_or(default.metrics),
            ..default
        };
        attributes.without_effect(&["messageLoggingComponents", "openProperties", "policyVhost"]);
        listener.warn(attributes);
        Ok(listener)
    }

    /// What is accepted and not done
    fn warn(&self, attributes: &mut Attributes<'_>) {
        let elsewhere = self.http_root_dir.as_deref();
        if elsewhere.is_some_and(|directory| directory != NO_FILES) {
            attributes.warn("attribute \"httpRootDir\" has no effect: files are not served");
        }
        if self.sasl_mechanisms.iter().any(|word| !is_offered(word)) {
            attributes.warn("of \"saslMechanisms\", only EXTERNAL and ANONYMOUS are offered");
        }
        warn_of_annotations(self.strip_annotations, attributes);
    }

    /// Mechanisms that peers can use: there is nothing to check a password by
    pub fn offered_mechanisms(&self) -> impl Iterator<Item = &str> {
        let mechanisms = self.sasl_mechanisms.iter().map(String::as_str);
        mechanisms.filter(|mechanism| is_offered(mechanism))
    }

    /// Whether peers are asked for a certificate, so that the profile has to say which ones are believed.
    pub fn wants_certificate(&self) -> bool {
        if self.http {
            self.authenticate_peer
        } else {
            self.offers_external()
        }
    }

    fn offers_external(&self) -> bool {
        self.sasl_mechanisms
            .iter()
            .any(|mechanism| mechanism == "EXTERNAL")
    }

    /// Whether plain octets are refused: a peer cannot prove who it is without TLS
    pub fn tls_only(&self) -> bool {
        self.ssl_profile.is_some()
            && (self.require_ssl
                || self.require_encryption
                || self.authenticate_peer
                || self.offers_external())
    }
}

/// Entity `connector`: a connection to make and keep
#[derive(Clone, Debug, PartialEq)]
pub struct Connector {
    /// Unique among the connectors
    pub name: String,
    /// Name or address to dial
    pub host: String,
    /// Port to dial
    pub port: u16,
    /// What is expected of the peer
    pub role: Role,
    /// Cost of the link
    pub cost: u32,
    /// TLS, if any
    pub ssl_profile: Option<String>,
    /// Whether the peer's certificate must name the host
    pub verify_hostname: bool,
    /// Proxy to dial through; `None`: the one that the environment names for the host, if any
    pub proxy_profile: Option<String>,
    /// Accepted, best first; empty: those that fit
    pub sasl_mechanisms: Vec<String>,
    /// For PLAIN
    pub sasl_username: Option<String>,
    /// For PLAIN
    pub sasl_password: Option<Sensitive>,
    /// Octets
    pub max_frame_size: u32,
    /// Per connection
    pub max_sessions: u32,
    /// Incoming window of sessions, in frames; `None`: as wide as fits
    pub max_session_frames: Option<u32>,
    /// Connections are closed after this much silence; zero: never
    pub idle_timeout: Duration,
    /// Credit granted to senders
    pub link_capacity: u32,
    /// Where router annotations are removed
    pub strip_annotations: StripAnnotations,
    /// Restricts what host resolves to
    pub socket_address_family: Option<AddressFamily>,
}

impl Connector {
    /// A normal connector
    pub fn new(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            ..Self::default_with_name(name.into())
        }
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let host = attributes
            .filled("host")?
            .unwrap_or_else(|| LOOPBACK.to_owned());
        let port = attributes.port("port", 1)?.unwrap_or(AMQP_PORT);
        let name = attributes
            .filled("name")?
            .unwrap_or_else(|| format!("connector/{host}:{port}"));
        let default = Self::default_with_name(name);
        let connector = Self {
            host,
            port,
            role: role(attributes)?.unwrap_or(default.role),
            cost: attributes
                .number("cost", 1, HIGHEST)?
                .unwrap_or(default.cost),
            ssl_profile: attributes.filled("sslProfile")?,
            verify_hostname: attributes
                .boolean("verifyHostname")?
                .unwrap_or(default.verify_hostname),
            proxy_profile: attributes.filled("proxyProfile")?,
            sasl_mechanisms: attributes.words("saslMechanisms")?,
            sasl_username: attributes.filled("saslUsername")?,
            sasl_password: attributes.filled("saslPassword")?.map(Sensitive::new),
            max_frame_size: attributes
                .number("maxFrameSize", 512, u32::MAX)?
                .unwrap_or(default.max_frame_size),
            max_sessions: attributes
                .number("maxSessions", 1, 65_536)?
                .unwrap_or(default.max_sessions),
            max_session_frames: attributes.number("maxSessionFrames", 1, u32::MAX)?,
            idle_timeout: attributes
                .seconds("idleTimeoutSeconds", 0)?
                .unwrap_or(default.idle_timeout),
            link_capacity: attributes
                .number("linkCapacity", 1, HIGHEST)?
                .unwrap_or(default.link_capacity),
            strip_annotations: attributes
                .choice("stripAnnotations")?
                .unwrap_or(default.strip_annotations),
            socket_address_family: attributes.choice("socketAddressFamily")?,
            ..default
        };
        attributes.without_effect(&[
            "allowRedirect",
            "messageLoggingComponents",
            "openProperties",
            "policyVhost",
        ]);
        warn_of_annotations(connector.strip_annotations, attributes);
        Ok(connector)
    }

    pub(super) fn default_with_name(name: String) -> Self {
        Self {
            name,
            host: LOOPBACK.to_owned(),
            port: AMQP_PORT,
            role: Role::Normal,
            cost: 1,
            ssl_profile: None,
            verify_hostname: true,
            proxy_profile: None,
            sasl_mechanisms: Vec::new(),
            sasl_username: None,
            sasl_password: None,
            max_frame_size: MAX_FRAME_SIZE,
            max_sessions: MAX_SESSIONS,
            max_session_frames: None,
            idle_timeout: IDLE_TIMEOUT,
            link_capacity: LINK_CAPACITY,
            strip_annotations: StripAnnotations::Both,
            socket_address_family: None,
        }
    }
}

/// Clients never see or make annotations of routers, whatever is configured
fn warn_of_annotations(configured: StripAnnotations, attributes: &mut Attributes<'_>) {
    if configured != StripAnnotations::Both {
        attributes.warn("attribute \"stripAnnotations\" has no effect: they are always stripped");
    }
}

fn is_offered(mechanism: &str) -> bool {
    ["ANONYMOUS", "EXTERNAL"].contains(&mechanism)
}

/// Roles beyond ours are known, and refused by name
fn role(attributes: &mut Attributes<'_>) -> Result<Option<Role>, ConfigError> {
    let Some(word) = attributes.filled("role")? else {
        return Ok(None);
    };
    if let Some(role) = Role::from_word(&word) {
        return Ok(Some(role));
    }
    if [
        "inter-edge",
        "inter-network",
        "on-demand",
        "route-container",
    ]
    .contains(&word.as_str())
    {
        return Err(ConfigError::NotSupported(format!(
            "role {word:?} of {}",
            attributes.label()
        )));
    }
    Err(attributes.invalid(
        "role",
        format_args!("{word:?} is not one of {}", Role::choices()),
    ))
}

/// `httpRootDir` of listeners that serve no files
const NO_FILES: &str = "disabled";
/// Costs and credits travel as signed numbers of 32 bits
const HIGHEST: u32 = i32::MAX as u32;
pub(super) const LOOPBACK: &str = "127.0.0.1";
const MAX_FRAME_SIZE: u32 = 16_384;
const MAX_SESSIONS: u32 = 32_768;
/// Well above what a site has, and below what descriptors allow where the limit is usual.
const MAX_CONNECTIONS: u32 = 10_000;
const IDLE_TIMEOUT: Duration = Duration::from_secs(16);
const LINK_CAPACITY: u32 = 250;
