//! Policies of C routers, which this one does not enforce: only what asks for nothing is accepted.

use super::{ConfigError, attributes::Attributes};

/// Limit of connections that C routers have if nobody says otherwise
const MAX_CONNECTIONS: u32 = 65_535;

/// Reads entity `policy`, which must not ask for a limit that would not be kept
pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<(), ConfigError> {
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
    if connections.is_some_and(|limit| limit != MAX_CONNECTIONS) {
        attributes
            .warn("attribute \"maxConnections\" has no effect; listeners have one of their own");
    }
    // Of importance with enableVhostPolicy only.
    for attribute in ["defaultVhost", "enableVhostNamePatterns", "policyDir"] {
        attributes.text(attribute)?;
    }
    Ok(())
}
