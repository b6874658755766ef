//! The site controller: keeps what belongs to a site running on this host.
//!
//! ```text
//! skupper init ─starts─▶ controller ◀─restart each other─▶ guard
//!                            │
//!                            ├─ linux:               the router process, as its child (or adopted)
//!                            └─ podman, docker:      the containers, where the engine did not restart them
//! ```
//!
//! One controller per site, a host process of the user. Alive means that its lock file is locked
//! ([`runtime::native`]), never that a process id exists. A killed controller is started again by its guard and takes
//! over the router that went on running; a killed guard is started again by the controller. Where systemd supervises,
//! it takes the guard's place.
#![forbid(unsafe_code)]

mod backoff;
mod containers;
mod guard;
mod logs;
mod router;
mod supervise;

use std::path::PathBuf;

use model::name::Namespace;
use model::paths::Paths;
use runtime::engine::EngineEnvironment;
use runtime::native::LockError;
use runtime::site::SiteError;
use thiserror::Error;

/// What `skupper controller` was started for.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    pub paths: Paths,
    pub namespace: Namespace,
    /// Be the guard, not the controller.
    pub guard: bool,
    /// This binary.
    pub executable: PathBuf,
    pub engine_environment: EngineEnvironment,
}

#[derive(Debug, Error)]
pub enum ControllerError {
    #[error("there is no site in namespace {namespace}")]
    NoSite { namespace: Namespace },
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: std::io::Error,
    },
}

/// Runs until SIGTERM, or until the site is gone. Returns at once when another controller (or guard) of the site
/// lives.
///
/// # Errors
/// Only what prevents the start: once it runs, failures are logged and tried again.
pub async fn run(options: &ControllerOptions) -> Result<(), ControllerError> {
    // away from the terminal of the command that started it; a leader of a group (a shell's job) can't and need not
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "no session of its own");
    }
    if options.guard {
        guard::run(options).await
    } else {
        supervise::run(options).await
    }
}
