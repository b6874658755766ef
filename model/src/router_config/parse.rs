//! From text to entities.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    AddressEntity, ConfigError, Connector, Listener, LogEntity, Mode, Parsed, ProxyProfile,
    RouterConfig, RouterEntity, SiteEntity, SslProfile, TcpConnector, TcpListener,
    attributes::{Attributes, camel_case},
};

/// Types that C routers know and this one does not
const NOT_SUPPORTED: [&str; 6] = [
    "autoLink",
    "httpConnector",
    "httpListener",
    "listenerAddress",
    "policy",
    "vhost",
];

/// Type and attributes
type Entity = (String, Map<String, Value>);

pub(super) fn parse(text: &str) -> Result<Parsed, ConfigError> {
    let mut warnings = Vec::new();
    let mut router = None;
    let mut config = RouterConfig::new(RouterEntity::new("Standalone", Mode::Standalone));
    for (kind, attributes) in entities(text)? {
        let mut attributes = Attributes::new(&kind, attributes, &mut warnings)?;
        let label = attributes.label().to_owned();
        let first = match kind.as_str() {
            "router" => router
                .replace(RouterEntity::read(&mut attributes)?)
                .is_none(),
            "sslProfile" => {
                let entity = SslProfile::read(&mut attributes)?;
                put(&mut config.ssl_profiles, entity.name.clone(), entity)
            }
            "proxyProfile" => {
                let entity = ProxyProfile::read(&mut attributes)?;
                put(&mut config.proxy_profiles, entity.name.clone(), entity)
            }
            "listener" => {
                let entity = Listener::read(&mut attributes)?;
                put(&mut config.listeners, entity.name.clone(), entity)
            }
            "connector" => {
                let entity = Connector::read(&mut attributes)?;
                put(&mut config.connectors, entity.name.clone(), entity)
            }
            "address" => push_unless(
                &mut config.addresses,
                AddressEntity::read(&mut attributes)?,
                |a, b| a.matches == b.matches,
            ),
            "tcpListener" => {
                let entity = TcpListener::read(&mut attributes)?;
                put(&mut config.tcp_listeners, entity.name.clone(), entity)
            }
            "tcpConnector" => {
                let entity = TcpConnector::read(&mut attributes)?;
                put(&mut config.tcp_connectors, entity.name.clone(), entity)
            }
            "log" => push_unless(
                &mut config.logs,
                LogEntity::read(&mut attributes)?,
                |a, b| a.module == b.module,
            ),
            "site" => config
                .site
                .replace(SiteEntity::read(&mut attributes)?)
                .is_none(),
            _ if NOT_SUPPORTED.contains(&kind.as_str()) => {
                return Err(ConfigError::NotSupported(label));
            }
            _ => return Err(ConfigError::UnknownEntity(kind)),
        };
        if !first {
            return Err(ConfigError::Duplicate(label));
        }
        attributes.finish();
    }
    if let Some(router) = router {
        config.router = router;
    }
    Ok(Parsed { config, warnings })
}

/// The list of pairs; lines whose first visible character is `#` are comments
fn entities(text: &str) -> Result<Vec<Entity>, ConfigError> {
    let is_comment = |line: &str| line.trim_start().starts_with('#');
    // Comments become empty lines, so that positions in errors stay right.
    let json: String = text
        .split('\n')
        .map(|line| if is_comment(line) { "" } else { line })
        .collect::<Vec<_>>()
        .join("\n");
    let entries: Vec<Value> = serde_json::from_str(&json).map_err(|error| {
        let message = error.to_string();
        let message = message
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned();
        ConfigError::Syntax {
            line: error.line(),
            column: error.column(),
            message,
        }
    })?;
    entries
        .into_iter()
        .enumerate()
        .map(|(index, entry)| {
            pair(entry).ok_or(ConfigError::Shape {
                position: index + 1,
            })
        })
        .collect()
}

fn pair(entry: Value) -> Option<Entity> {
    let Value::Array(pair) = entry else {
        return None;
    };
    let [Value::String(kind), Value::Object(attributes)] = <[Value; 2]>::try_from(pair).ok()?
    else {
        return None;
    };
    let kind = camel_case(&kind);
    let kind = kind
        .strip_prefix("router.config.")
        .unwrap_or(&kind)
        .to_owned();
    Some((kind, attributes))
}

/// Adds an entity; false if there is one of the name
fn put<T>(map: &mut BTreeMap<String, T>, name: String, entity: T) -> bool {
    map.insert(name, entity).is_none()
}

/// Adds an entity; false if there is one that is the same
fn push_unless<T>(list: &mut Vec<T>, entity: T, same: impl Fn(&T, &T) -> bool) -> bool {
    if list.iter().any(|other| same(other, &entity)) {
        return false;
    }
    list.push(entity);
    true
}
