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
//! over the router that went on running; a killed guard is started again by the controller. Where systemd runs the site,
//! it takes the guard's place, and runs a native router itself ([`Role::Supervised`]).
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
    pub role: Role,
    /// This binary.
    pub executable: PathBuf,
    pub engine_environment: EngineEnvironment,
}

/// Which part of the supervision this process plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The controller of a site that looks after itself: starts the guard and a native router.
    Controller,
    /// The guard of that controller.
    Guard,
    /// The controller of a site whose processes a service manager keeps running: it needs no guard, and a native router
    /// is a process of the manager too.
    Supervised,
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
/// lives. `ready` is called once the controller is at work.
///
/// # Errors
/// Only what prevents the start: once it runs, failures are logged and tried again.
pub async fn run(
    options: &ControllerOptions,
    ready: impl FnOnce() + Send,
) -> Result<(), ControllerError> {
    // away from the terminal of the command that started it; a leader of a group (a shell's job) can't and need not
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "no session of its own");
    }
    match options.role {
        Role::Guard => guard::run(options).await,
        Role::Controller | Role::Supervised => supervise::run(options, ready).await,
    }
}
