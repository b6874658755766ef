//! The adaptors now configured.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::adaptor::tcp::{TcpConnector, TcpListener};

/// The adaptors now configured, by name; kept up to date by whoever applies the configuration.
#[derive(Clone, Debug, Default)]
pub struct Adaptors(Arc<Mutex<AdaptorMaps>>);

/// Listeners and connectors by name.
#[derive(Debug, Default)]
pub struct AdaptorMaps {
    /// tcpListeners.
    pub listeners: BTreeMap<String, Arc<TcpListener>>,
    /// tcpConnectors.
    pub connectors: BTreeMap<String, Arc<TcpConnector>>,
}

impl Adaptors {
    /// Reads or changes the maps.
    pub fn with<R>(&self, look: impl FnOnce(&mut AdaptorMaps) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
