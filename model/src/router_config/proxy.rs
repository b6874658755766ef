//! HTTP proxies on the way to other routers.

use super::{ConfigError, Sensitive, attributes::Attributes};

/// Entity `proxyProfile`: an HTTP proxy that connectors are to use
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyProfile {
    /// Unique among the proxy profiles
    pub name: String,
    /// Name or address of the proxy
    pub host: String,
    /// Its port
    pub port: u16,
    /// For basic authorization
    pub username: Option<String>,
    /// For basic authorization
    pub password: Option<Sensitive>,
}

impl ProxyProfile {
    /// A proxy that wants no authorization
    pub fn new(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            port,
            username: None,
            password: None,
        }
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let name = attributes.required("name")?;
        let host = attributes.required("host")?;
        let port = attributes.port("port", 1)?;
        let port = port.ok_or_else(|| ConfigError::Missing {
            entity: attributes.label().to_owned(),
            attribute: "port",
        })?;
        let profile = Self {
            username: attributes.filled("username")?,
            password: attributes.filled("password")?.map(Sensitive::new),
            ..Self::new(name, host, port)
        };
        if profile.username.is_none() && profile.password.is_some() {
            return Err(ConfigError::Missing {
                entity: attributes.label().to_owned(),
                attribute: "username",
            });
        }
        Ok(profile)
    }
}
