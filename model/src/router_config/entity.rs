//! Single entities: what can be made, changed and removed while a router runs.

use serde_json::{Map, Value};

use super::{
    AddressEntity, AddressMatch, ConfigError, Connector, EntityKind, Listener, ListenerAddress,
    LogEntity, ProxyProfile, RouterConfig, SslProfile, TcpConnector, TcpListener,
    attributes::Attributes, value::Word as _, write,
};

/// One entity of a kind that may come and go while a router runs
#[derive(Clone, Debug, PartialEq)]
pub enum Entity {
    /// `sslProfile`
    SslProfile(SslProfile),
    /// `proxyProfile`
    ProxyProfile(ProxyProfile),
    /// `listener`
    Listener(Box<Listener>),
    /// `connector`
    Connector(Box<Connector>),
    /// `address`
    Address(AddressEntity),
    /// `tcpListener`
    TcpListener(TcpListener),
    /// `listenerAddress`
    ListenerAddress(ListenerAddress),
    /// `tcpConnector`
    TcpConnector(TcpConnector),
    /// `log`
    Log(LogEntity),
}

/// What makes an [`Entity`] the same one in two configurations
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum EntityKey {
    /// Kind and name; a log entity's is its module
    Named(EntityKind, String),
    /// Which addresses
    Address(AddressMatch),
}

impl EntityKey {
    /// Kind of the entity
    pub fn kind(&self) -> EntityKind {
        match self {
            Self::Named(kind, _) => *kind,
            Self::Address(_) => EntityKind::Address,
        }
    }
}

impl std::fmt::Display for EntityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(kind, name) => write!(f, "{kind} {name:?}"),
            Self::Address(AddressMatch::Prefix(prefix)) => write!(f, "address prefix {prefix:?}"),
            Self::Address(AddressMatch::Pattern(pattern)) => {
                write!(f, "address pattern {pattern:?}")
            }
        }
    }
}

impl Entity {
    /// Reads one entity. Here an unknown attribute is an error: whoever makes an entity alone can be told. The texts are
    /// about attributes without effect.
    pub fn parse(
        kind: EntityKind,
        attributes: Map<String, Value>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let mut warnings = Vec::new();
        let mut attributes = Attributes::new(kind.as_str(), attributes, &mut warnings)?;
        let entity = Self::read(kind, &mut attributes)?;
        attributes.finish_strictly()?;
        Ok((entity, warnings))
    }

    /// Its attributes, as a file would have them; defaults are left out
    pub fn attributes(&self) -> Map<String, Value> {
        let attributes = match self {
            Self::SslProfile(entity) => write::ssl_profile(entity),
            Self::ProxyProfile(entity) => write::proxy_profile(entity),
            Self::Listener(entity) => write::listener(entity),
            Self::Connector(entity) => write::connector(entity),
            Self::Address(entity) => write::address(entity),
            Self::TcpListener(entity) => write::tcp_listener(entity),
            Self::ListenerAddress(entity) => write::listener_address(entity),
            Self::TcpConnector(entity) => write::tcp_connector(entity),
            Self::Log(entity) => write::log(entity),
        };
        match attributes {
            Value::Object(attributes) => attributes,
            _ => Map::new(),
        }
    }

    /// What it is found by
    pub fn key(&self) -> EntityKey {
        let (kind, name) = match self {
            Self::Address(entity) => return EntityKey::Address(entity.matches.clone()),
            Self::SslProfile(entity) => (EntityKind::SslProfile, &entity.name),
            Self::ProxyProfile(entity) => (EntityKind::ProxyProfile, &entity.name),
            Self::Listener(entity) => (EntityKind::Listener, &entity.name),
            Self::Connector(entity) => (EntityKind::Connector, &entity.name),
            Self::TcpListener(entity) => (EntityKind::TcpListener, &entity.name),
            Self::ListenerAddress(entity) => (EntityKind::ListenerAddress, &entity.name),
            Self::TcpConnector(entity) => (EntityKind::TcpConnector, &entity.name),
            Self::Log(entity) => (EntityKind::Log, &entity.module),
        };
        EntityKey::Named(kind, name.clone())
    }

    pub(super) fn read(
        kind: EntityKind,
        attributes: &mut Attributes<'_>,
    ) -> Result<Self, ConfigError> {
        Ok(match kind {
            EntityKind::SslProfile => Self::SslProfile(SslProfile::read(attributes)?),
            EntityKind::ProxyProfile => Self::ProxyProfile(ProxyProfile::read(attributes)?),
            EntityKind::Listener => Self::Listener(Box::new(Listener::read(attributes)?)),
            EntityKind::Connector => Self::Connector(Box::new(Connector::read(attributes)?)),
            EntityKind::Address => Self::Address(AddressEntity::read(attributes)?),
            EntityKind::TcpListener => Self::TcpListener(TcpListener::read(attributes)?),
            EntityKind::ListenerAddress => {
                Self::ListenerAddress(ListenerAddress::read(attributes)?)
            }
            EntityKind::TcpConnector => Self::TcpConnector(TcpConnector::read(attributes)?),
            EntityKind::Log => Self::Log(LogEntity::read(attributes)?),
        })
    }
}

impl EntityKind {
    pub(super) fn find(kind: &str) -> Option<Self> {
        Self::from_word(kind)
    }
}

impl RouterConfig {
    /// The entity of a key
    pub fn entity(&self, key: &EntityKey) -> Option<Entity> {
        let (kind, name) = match key {
            EntityKey::Address(matches) => {
                let found = self.addresses.iter().find(|one| one.matches == *matches)?;
                return Some(Entity::Address(found.clone()));
            }
            EntityKey::Named(kind, name) => (*kind, name),
        };
        Some(match kind {
            EntityKind::SslProfile => Entity::SslProfile(self.ssl_profiles.get(name)?.clone()),
            EntityKind::ProxyProfile => {
                Entity::ProxyProfile(self.proxy_profiles.get(name)?.clone())
            }
            EntityKind::Listener => Entity::Listener(Box::new(self.listeners.get(name)?.clone())),
            EntityKind::Connector => {
                Entity::Connector(Box::new(self.connectors.get(name)?.clone()))
            }
            EntityKind::Address => return None,
            EntityKind::TcpListener => Entity::TcpListener(self.tcp_listeners.get(name)?.clone()),
            EntityKind::ListenerAddress => {
                Entity::ListenerAddress(self.listener_addresses.get(name)?.clone())
            }
            EntityKind::TcpConnector => {
                Entity::TcpConnector(self.tcp_connectors.get(name)?.clone())
            }
            EntityKind::Log => {
                Entity::Log(self.logs.iter().find(|one| one.module == *name)?.clone())
            }
        })
    }

    /// Adds an entity, or replaces the one of its key; false if there was one
    pub fn put(&mut self, entity: Entity) -> bool {
        match entity {
            Entity::SslProfile(entity) => self
                .ssl_profiles
                .insert(entity.name.clone(), entity)
                .is_none(),
            Entity::ProxyProfile(entity) => self
                .proxy_profiles
                .insert(entity.name.clone(), entity)
                .is_none(),
            Entity::Listener(entity) => self
                .listeners
                .insert(entity.name.clone(), *entity)
                .is_none(),
            Entity::Connector(entity) => self
                .connectors
                .insert(entity.name.clone(), *entity)
                .is_none(),
            Entity::Address(entity) => {
                put_in(&mut self.addresses, entity, |a, b| a.matches == b.matches)
            }
            Entity::TcpListener(entity) => self
                .tcp_listeners
                .insert(entity.name.clone(), entity)
                .is_none(),
            Entity::ListenerAddress(entity) => self
                .listener_addresses
                .insert(entity.name.clone(), entity)
                .is_none(),
            Entity::TcpConnector(entity) => self
                .tcp_connectors
                .insert(entity.name.clone(), entity)
                .is_none(),
            Entity::Log(entity) => put_in(&mut self.logs, entity, |a, b| a.module == b.module),
        }
    }

    /// Removes the entity of a key, if there is one
    pub fn remove(&mut self, key: &EntityKey) {
        let (kind, name) = match key {
            EntityKey::Address(matches) => {
                self.addresses.retain(|one| one.matches != *matches);
                return;
            }
            EntityKey::Named(kind, name) => (*kind, name),
        };
        match kind {
            EntityKind::SslProfile => {
                self.ssl_profiles.remove(name);
            }
            EntityKind::ProxyProfile => {
                self.proxy_profiles.remove(name);
            }
            EntityKind::Listener => {
                self.listeners.remove(name);
            }
            EntityKind::Connector => {
                self.connectors.remove(name);
            }
            EntityKind::Address => {}
            EntityKind::TcpListener => {
                self.tcp_listeners.remove(name);
            }
            EntityKind::ListenerAddress => {
                self.listener_addresses.remove(name);
            }
            EntityKind::TcpConnector => {
                self.tcp_connectors.remove(name);
            }
            EntityKind::Log => self.logs.retain(|one| one.module != *name),
        }
    }
}

/// Adds to a list, or replaces what is the same; false if there was one
fn put_in<T>(list: &mut Vec<T>, entity: T, same: impl Fn(&T, &T) -> bool) -> bool {
    match list.iter_mut().find(|other| same(other, &entity)) {
        Some(other) => {
            *other = entity;
            false
        }
        None => {
            list.push(entity);
            true
        }
    }
}
