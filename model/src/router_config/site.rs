//! What flow records say about the place.

use super::{ConfigError, attributes::Attributes};

/// Entity `site`: what flow records say about the place
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteEntity {
    /// Name, or the site's id
    pub name: Option<String>,
    /// Where it is
    pub location: Option<String>,
    /// Whose machine it is
    pub provider: Option<String>,
    /// Version of the site's software
    pub version: Option<String>,
    /// Kind of machinery
    pub platform: Option<String>,
    /// Name among the sites of the platform
    pub namespace: Option<String>,
}

impl SiteEntity {
    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            name: attributes.filled("name")?,
            location: attributes.filled("location")?,
            provider: attributes.filled("provider")?,
            version: attributes.filled("version")?,
            platform: attributes.filled("platform")?,
            namespace: attributes.filled("namespace")?,
        })
    }
}
