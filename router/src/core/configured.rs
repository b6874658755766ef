//! What the configuration says about addresses: their distribution and priority.

use model::router_config::{AddressEntity, AddressMatch, Distribution, RouterConfig};

use super::address::{pattern_matches, prefix_matches};
use crate::routing::Treatment;

/// The `address` entities of a configuration and its default distribution.
#[derive(Clone, Debug)]
pub struct ConfiguredAddresses {
    entities: Vec<AddressEntity>,
    default: Treatment,
    has_priorities: bool,
}

impl Default for ConfiguredAddresses {
    fn default() -> Self {
        Self {
            entities: Vec::new(),
            default: Treatment::Balanced,
            has_priorities: false,
        }
    }
}

impl ConfiguredAddresses {
    /// Of a router's configuration.
    pub fn new(config: &RouterConfig) -> Self {
        Self {
            entities: config.addresses.clone(),
            default: treatment_of(config.router.default_distribution),
            has_priorities: config
                .addresses
                .iter()
                .any(|entity| entity.priority.is_some()),
        }
    }

    /// Treatment that the configuration names for a key with class letter; only mobile addresses can have one.
    pub fn named(&self, key: &str) -> Option<Treatment> {
        self.entity(key.strip_prefix('M')?)
            .map(|entity| treatment_of(entity.distribution))
    }

    /// Treatment of a key of which no other router knows. An edge has one downlink, and local addresses have no cost.
    pub fn treatment(&self, key: &str) -> Treatment {
        match key.as_bytes().first() {
            Some(b'M') => self.named(key).unwrap_or(self.default),
            Some(b'H') => Treatment::Balanced,
            _ => Treatment::Closest,
        }
    }

    /// Priority that the configuration gives to a mobile address, without class letter.
    pub fn priority(&self, address: &str) -> Option<u8> {
        if !self.has_priorities {
            return None;
        }
        self.entity(address)?.priority
    }

    /// The entity with the longest prefix or pattern that matches.
    fn entity(&self, address: &str) -> Option<&AddressEntity> {
        self.entities
            .iter()
            .filter_map(|entity| {
                let (matches, weight) = match &entity.matches {
                    AddressMatch::Prefix(prefix) => (prefix_matches(prefix, address), prefix.len()),
                    AddressMatch::Pattern(pattern) => {
                        (pattern_matches(pattern, address), pattern.len())
                    }
                };
                matches.then_some((weight, entity))
            })
            .max_by_key(|(weight, _)| *weight)
            .map(|(_, entity)| entity)
    }
}

/// The routing protocol's word for a distribution.
pub fn treatment_of(distribution: Distribution) -> Treatment {
    match distribution {
        Distribution::Balanced => Treatment::Balanced,
        Distribution::Closest => Treatment::Closest,
        Distribution::Multicast => Treatment::Multicast,
        Distribution::Unavailable => Treatment::Unavailable,
    }
}
