//! Distribution of addresses.

use super::{ConfigError, Distribution, attributes::Attributes};

/// Entity `address`: how the addresses that match are distributed
#[derive(Clone, Debug, PartialEq)]
pub struct AddressEntity {
    /// Optional name
    pub name: Option<String>,
    /// Which addresses
    pub matches: AddressMatch,
    /// How
    pub distribution: Distribution,
    /// 0 to 9; `None`: that of the message
    pub priority: Option<u8>,
}

/// Which addresses an [`AddressEntity`] is about
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum AddressMatch {
    /// The address itself and everything below it: `mc` matches `mc` and `mc/x`
    Prefix(String),
    /// Segments, with `*` for one and `#` for any number
    Pattern(String),
}

impl AddressEntity {
    /// Distribution of a prefix
    pub fn prefix(prefix: impl Into<String>, distribution: Distribution) -> Self {
        Self {
            name: None,
            matches: AddressMatch::Prefix(prefix.into()),
            distribution,
            priority: None,
        }
    }

    /// From the attributes of the file
    pub(super) fn read(attributes: &mut Attributes<'_>) -> Result<Self, ConfigError> {
        let matches = match (attributes.filled("prefix")?, attributes.filled("pattern")?) {
            (Some(prefix), None) => AddressMatch::Prefix(prefix),
            (None, Some(pattern)) => AddressMatch::Pattern(pattern),
            (None, None) => {
                return Err(ConfigError::Missing {
                    entity: attributes.label().to_owned(),
                    attribute: "prefix or pattern",
                });
            }
            (Some(_), Some(_)) => {
                return Err(attributes.invalid("pattern", "prefix and pattern exclude each other"));
            }
        };
        let entity = Self {
            name: attributes.filled("name")?,
            matches,
            distribution: attributes
                .choice("distribution")?
                .unwrap_or(Distribution::Balanced),
            priority: attributes.number("priority", 0, 9)?,
        };
        attributes.without_effect(&["enableFallback", "ingressPhase", "egressPhase", "waypoint"]);
        Ok(entity)
    }
}
