//! Reading and checking the configuration file.

use std::{collections::BTreeMap, path::Path};

use model::router_config::{Parsed, RouterConfig};

/// Variable of v2 configurations that stands in front of certificate paths.
const SSL_PROFILE_BASE_PATH: &str = "SSL_PROFILE_BASE_PATH";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its content is not a valid configuration.
    #[error("{path}: {source}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        source: Box<model::router_config::ConfigError>,
    },
}

/// Reads a configuration file.
///
/// # Errors
/// See [`LoadError`]; the texts name the file, the entity and the attribute.
pub fn load(path: &Path) -> Result<Parsed, LoadError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: name(),
        source,
    })?;
    let variables: BTreeMap<String, String> = std::env::var(SSL_PROFILE_BASE_PATH)
        .map(|value| BTreeMap::from([(SSL_PROFILE_BASE_PATH.to_owned(), value)]))
        .unwrap_or_default();
    RouterConfig::parse_with(&text, &variables).map_err(|source| LoadError::Invalid {
        path: name(),
        source: Box::new(source),
    })
}
