//! TCP services: `tcpListener`, `listenerAddress` and `tcpConnector`.

use super::{
    ConfigError, Encapsulation, MultiAddressStrategy, attributes::Attributes, connection::LOOPBACK,
};

/// Entity `tcpListener`: accepts clients of a service
#[derive(Clone, Debug, PartialEq)]
pub struct TcpListener {
    /// Unique among the TCP listeners
    pub name: String,
    /// Address of the service on the network; empty if there are several
    pub address: String,
    /// How the address of a client is chosen, if there are several ([`ListenerAddress`])
    pub strategy: MultiAddressStrategy,
    /// Local address; empty: all, IPv4 and IPv6
    pub host: String,
    /// Port; 0: any free one
    pub port: u16,
    /// Id of the site, part of the client's text in the legacy framing
    pub site_id: Option<String>,
    /// Connections that may wait to be accepted; `None`: as many as the system allows
    pub backlog: Option<u32>,
    /// TLS towards clients, if any
    pub ssl_profile: Option<String>,
    /// Whether clients need a certificate
    pub authenticate_peer: bool,
    /// Framing of streams that begin here
    pub encapsulation: Encapsulation,
}

impl TcpListener {
    /// A listener on all addresses
    pub fn new(name: impl Into<String>, address: impl Into<String>, port: u16) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            strategy: MultiAddressStrategy::None,
            host: String::new(),
            port,
            site_id: None,
            backlog: None,
            ssl_profile: None,
            authenticate_peer: false,
            encapsulation: Encapsulation::Auto,
        }
    }
    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let host = attributes.text("host")?.unwrap_or_default();
        let port = attributes.port("port", 0)?;
        let port = port.ok_or_else(|| ConfigError::Missing {
            entity: attributes.label().to_owned(),
            attribute: "port",
        })?;
        let strategy = attributes
            .choice("multiAddressStrategy")?
            .unwrap_or(MultiAddressStrategy::None);
        let address = match strategy {
            MultiAddressStrategy::None => attributes.required("address")?,
            MultiAddressStrategy::Priority | MultiAddressStrategy::Weighted => {
                if attributes.filled("address")?.is_some() {
                    attributes
                        .warn("attribute \"address\" has no effect with a multiAddressStrategy");
                }
                String::new()
            }
        };
        if !matches!(
            attributes.text("observer")?.as_deref(),
            None | Some("" | "auto" | "none")
        ) {
            attributes.warn("attribute \"observer\" has no effect");
        }
        let name = attributes
            .filled("name")?
            .unwrap_or_else(|| format!("tcpListener/{host}:{port}"));
        let default = Self::new(name, address, port);
        Ok(Self {
            strategy,
            host,
            site_id: attributes.filled("siteId")?,
            // Zero and less mean the most that the system allows.
            backlog: attributes
                .number("backlog", i32::MIN, i32::MAX)?
                .and_then(|backlog| u32::try_from(backlog).ok())
                .filter(|backlog| *backlog > 0),
            ssl_profile: attributes.filled("sslProfile")?,
            authenticate_peer: attributes.boolean("authenticatePeer")?.unwrap_or_default(),
            encapsulation: attributes
                .choice("encapsulation")?
                .unwrap_or(default.encapsulation),
            ..default
        })
    }
}

/// Entity `listenerAddress`: one of the addresses of a TCP listener that has several
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerAddress {
    /// Unique among the listener addresses
    pub name: String,
    /// Address of the service on the network
    pub address: String,
    /// Priority or weight, by the listener's strategy; as a weight, what is less than 1 is none
    pub value: i32,
    /// Name of the [`TcpListener`]
    pub listener: String,
}

impl ListenerAddress {
    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let address = attributes.required("address")?;
        let listener = attributes.required("listener")?;
        let value = attributes.number("value", i32::MIN, i32::MAX)?;
        Ok(Self {
            name: attributes
                .filled("name")?
                .unwrap_or_else(|| format!("listenerAddress/{listener}:{address}")),
            value: value.ok_or_else(|| ConfigError::Missing {
                entity: attributes.label().to_owned(),
                attribute: "value",
            })?,
            address,
            listener,
        })
    }
}

/// Entity `tcpConnector`: connects to a server of a service
#[derive(Clone, Debug, PartialEq)]
pub struct TcpConnector {
    /// Unique among the TCP connectors
    pub name: String,
    /// Address of the service on the network
    pub address: String,
    /// Name or address to dial
    pub host: String,
    /// Port to dial
    pub port: u16,
    /// Id of the site
    pub site_id: Option<String>,
    /// TLS towards the server, if any
    pub ssl_profile: Option<String>,
    /// Whether the server's certificate must name the host
    pub verify_hostname: bool,
    /// Framing of the consumer: the only one that it takes, or that in which a stream comes
    pub encapsulation: Encapsulation,
    /// Reference to a process in flow records
    pub process_id: Option<String>,
}

impl TcpConnector {
    /// A connector to a plain server
    pub fn new(
        name: impl Into<String>,
        address: impl Into<String>,
        host: impl Into<String>,
        port: u16,
    ) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            host: host.into(),
            port,
            site_id: None,
            ssl_profile: None,
            verify_hostname: true,
            encapsulation: Encapsulation::Auto,
            process_id: None,
        }
    }
    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let host = attributes
            .filled("host")?
            .unwrap_or_else(|| LOOPBACK.to_owned());
        let port = attributes.port("port", 1)?;
        let port = port.ok_or_else(|| ConfigError::Missing {
            entity: attributes.label().to_owned(),
            attribute: "port",
        })?;
        let name = attributes
            .filled("name")?
            .unwrap_or_else(|| format!("tcpConnector/{host}:{port}"));
        let default = Self::new(name, attributes.required("address")?, host, port);
        Ok(Self {
            site_id: attributes.filled("siteId")?,
            ssl_profile: attributes.filled("sslProfile")?,
            verify_hostname: attributes
                .boolean("verifyHostname")?
                .unwrap_or(default.verify_hostname),
            encapsulation: attributes
                .choice("encapsulation")?
                .unwrap_or(default.encapsulation),
            process_id: attributes.filled("processId")?,
            ..default
        })
    }
}
