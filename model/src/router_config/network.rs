//! The network that the router belongs to.

use super::{ConfigError, attributes::Attributes};

/// Entity `network` of routers of version 3
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkEntity {
    /// Name of the network, shown in management. Networks that are linked with each other are not supported
    pub network_id: Option<String>,
    /// Prefix of the addresses of all TCP services, as [`RouterEntity::van_id`](super::RouterEntity::van_id)
    pub tenant_id: Option<String>,
}

impl NetworkEntity {
    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        attributes.take_name();
        let network = Self {
            network_id: attributes.filled("networkId")?,
            tenant_id: attributes.filled("tenantId")?,
        };
        if network.network_id.is_some() {
            attributes.warn(
                "attribute \"networkId\" is only shown: networks are not linked with each other",
            );
        }
        Ok(network)
    }
}
