//! From text to entities.

use serde_json::{Map, Value};

use super::{
    ConfigError, Entity, EntityKind, Mode, NetworkEntity, Parsed, RouterConfig, RouterEntity,
    SiteEntity,
    attributes::{Attributes, camel_case},
    policy,
};

/// Types that C routers know and this one does not
const NOT_SUPPORTED: [&str; 3] = ["autoLink", "httpConnector", "httpListener"];

/// Type and attributes
type Entry = (String, Map<String, Value>);

pub(super) fn parse(text: &str) -> Result<Parsed, ConfigError> {
    let mut warnings = Vec::new();
    let mut router = None;
    let mut policy = None;
    let mut config = RouterConfig::new(RouterEntity::new("Standalone", Mode::Standalone));
    for (kind, attributes) in entities(text)? {
        let mut attributes = Attributes::new(&kind, attributes, &mut warnings)?;
        let label = attributes.label().to_owned();
        let first = match kind.as_str() {
            "router" => router
                .replace(RouterEntity::read(&mut attributes)?)
                .is_none(),
            "site" => config
                .site
                .replace(SiteEntity::read(&mut attributes)?)
                .is_none(),
            "network" => config
                .network
                .replace(NetworkEntity::read(&mut attributes)?)
                .is_none(),
            "policy" => policy.replace(policy::read(&mut attributes)?).is_none(),
            // Without enableVhostPolicy, which is refused, it has no effect in C routers either.
            "vhost" => {
                attributes.ignored("has no effect: policies are not enforced");
                continue;
            }
            _ if NOT_SUPPORTED.contains(&kind.as_str()) => {
                return Err(ConfigError::NotSupported(label));
            }
            _ => match EntityKind::find(&kind) {
                Some(kind) => config.put(Entity::read(kind, &mut attributes)?),
                None => return Err(ConfigError::UnknownEntity(kind)),
            },
        };
        if !first {
            return Err(ConfigError::Duplicate(label));
        }
        attributes.finish();
    }
    if let Some(router) = router {
        config.router = router;
    }
    config.max_connections = policy.flatten();
    Ok(Parsed { config, warnings })
}

/// The list of pairs; lines whose first visible character is `#` are comments
fn entities(text: &str) -> Result<Vec<Entry>, ConfigError> {
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

fn pair(entry: Value) -> Option<Entry> {
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
