//! Policies of C routers, of which this one enforces the number of connections: nothing else may be asked for.

use super::{ConfigError, attributes::Attributes};

/// Limit of connections that C routers have if nobody says otherwise: as good as none
const MAX_CONNECTIONS: u32 = 65_535;

/// Reads entity `policy`, which must not ask for a limit that would not be kept: how many connections there may be
pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Option<u32>, ConfigError> {
    attributes.take_name();
    let refused = |attributes: &Attributes<'_>, attribute: &str| {
        let label = attributes.label();
        Err(ConfigError::NotSupported(format!("{attribute} of {label}")))
    };
    if attributes.boolean("enableVhostPolicy")?.unwrap_or_default() {
        return refused(attributes, "enableVhostPolicy");
    }
    let limit = attributes.number("maxMessageSize", 0, i64::MAX)?;
    if limit.is_some_and(|limit| limit > 0) {
        return refused(attributes, "maxMessageSize");
    }
    let connections = attributes.number("maxConnections", 0, u32::MAX)?;
    // Of importance with enableVhostPolicy only.
    for attribute in ["defaultVhost", "enableVhostNamePatterns", "policyDir"] {
        attributes.text(attribute)?;
    }
    Ok(connections.filter(|limit| *limit != MAX_CONNECTIONS))
}
