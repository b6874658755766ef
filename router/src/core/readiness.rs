//! Whether the router serves, as `/readyz` tells: each of those who know has a say.

use std::sync::{Mutex, PoisonError};

/// Reasons why the router is not ready; none is left when it is.
#[derive(Debug)]
pub struct Readiness(Mutex<Reasons>);

#[derive(Debug)]
struct Reasons {
    sockets: Option<String>,
    network: Option<String>,
}

impl Default for Readiness {
    fn default() -> Self {
        let starting = || Some("the router is starting".to_owned());
        Self(Mutex::new(Reasons {
            sockets: starting(),
            network: starting(),
        }))
    }
}

impl Readiness {
    /// What stands against it at the sockets: listeners that are not bound.
    pub fn set_sockets(&self, reason: Option<String>) {
        self.with(|reasons| reasons.sockets = reason);
    }

    /// What stands against it in the network: no uplink, connectors that were not tried yet, an end that has begun.
    pub fn set_network(&self, reason: Option<String>) {
        self.with(|reasons| reasons.network = reason);
    }

    /// # Errors
    /// Why the router is not ready.
    pub fn check(&self) -> Result<(), String> {
        self.with(|reasons| {
            let reason = reasons.sockets.as_ref().or(reasons.network.as_ref());
            reason.cloned().map_or(Ok(()), Err)
        })
    }

    fn with<R>(&self, look: impl FnOnce(&mut Reasons) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_to_agree() {
        let readiness = Readiness::default();
        assert!(readiness.check().is_err(), "nobody has said anything yet");
        readiness.set_network(None);
        assert!(readiness.check().is_err());
        readiness.set_sockets(None);
        assert_eq!(readiness.check(), Ok(()));
        readiness.set_network(Some("no uplink".to_owned()));
        assert_eq!(readiness.check(), Err("no uplink".to_owned()));
        readiness.set_sockets(Some("no listener".to_owned()));
        assert_eq!(readiness.check(), Err("no listener".to_owned()));
    }
}
