//! The seam to a service manager of the host, which keeps a site's processes running across failures and restarts.
//!
//! Without one, or where it does not answer, sites look after themselves ([`super::control`]). Which of the two it is,
//! is decided by `init` and recorded in the site.
//!
//! | platform | processes |
//! |---|---|
//! | `linux` | the controller, the router |
//! | `podman`, `docker` | the controller, which looks after the containers |

use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::platform::Platform;
use model::site::{Site, SystemdSettings};
use thiserror::Error;

use crate::engine::BoxFuture;

use super::context::Context;
use super::control;
use super::error::SiteError;
use super::naming;
use super::request::Supervision;

/// A router lets flows end for eight seconds.
const ROUTER_STOP: Duration = Duration::from_secs(15);
const CONTROLLER_STOP: Duration = Duration::from_secs(10);

/// A service manager.
///
/// Every call ends within a deadline. What is undone already, or was never there, is no failure of [`Self::stop`] and
/// [`Self::remove`].
pub trait Supervisor: Debug + Send + Sync {
    /// Whether it takes these processes now: the directory of their definitions, else the reason why not.
    fn offer<'a>(&'a self, processes: &'a Processes) -> BoxFuture<'a, Result<PathBuf, String>>;

    /// Writes the definitions, so that the processes start with the host from now on.
    fn install<'a>(
        &'a self,
        directory: &'a Path,
        processes: &'a Processes,
    ) -> BoxFuture<'a, Result<(), SupervisorError>>;

    /// Starts them and returns when all say that they are ready.
    fn start<'a>(&'a self, processes: &'a Processes) -> BoxFuture<'a, Result<(), SupervisorError>>;

    /// The last lines that a process wrote, wherever they are.
    fn log<'a>(&'a self, process: &'a Process, lines: usize) -> BoxFuture<'a, Vec<String>>;

    /// Stops them and returns when they have ended.
    fn stop<'a>(&'a self, processes: &'a Processes) -> BoxFuture<'a, Result<(), SupervisorError>>;

    /// Stops them and removes their definitions, also when the manager does not answer, going on after failures.
    /// Without a directory, looks where it would have put them. Definitions of other sites stay.
    fn remove<'a>(
        &'a self,
        directory: Option<&'a Path>,
        processes: &'a Processes,
    ) -> BoxFuture<'a, Result<(), SupervisorError>>;
}

/// What a service manager could not do.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct SupervisorError {
    pub reason: String,
    /// What the user can do about it.
    pub remedy: Option<String>,
    /// Last lines of the process that is to blame.
    pub log: Vec<String>,
}

/// The processes of a site on the host itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Processes {
    /// The site's directory: tells its definitions from those of other sites.
    pub root: PathBuf,
    /// Nothing is started without it.
    pub site_file: PathBuf,
    /// Nor while this file exists: the site is being removed.
    pub stop_marker: PathBuf,
    /// Where sockets are made; must be there before the processes are.
    pub sockets: PathBuf,
    /// In the order in which they are started.
    pub all: Vec<Process>,
}

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// `skupper-router`, in other namespaces with the namespace in front.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Program and arguments; the program tells readiness by the protocol of sd_notify(3).
    pub command: Vec<OsString>,
    /// Gets its output, appended, if no log of the host does.
    pub log: PathBuf,
    /// Longest time from SIGTERM to its end.
    pub stop_grace: Duration,
    /// The engine it works with, if that is the usual one of this host.
    pub engine: Option<Platform>,
}

impl Processes {
    /// Of a site; without it (its description is damaged), all that it may have.
    pub(crate) fn of(ctx: &Context, site: Option<&Site>) -> Self {
        let paths = ctx.site_paths();
        let namespace = &ctx.namespace;
        let program = ctx.controller_program().as_os_str().to_owned();
        let mut command = vec![program.clone()];
        command.extend(control::supervised_arguments(&ctx.paths, namespace));
        let engine = site.filter(|site| {
            site.container
                .as_ref()
                .is_some_and(|container| container.engine_endpoint.is_none())
        });
        let mut all = vec![Process {
            name: naming::controller_unit(namespace),
            description: format!("Skupper controller of namespace {namespace}"),
            command,
            log: paths.controller_log(),
            stop_grace: CONTROLLER_STOP,
            engine: engine.map(|site| site.platform),
        }];
        if site.is_none_or(|site| !site.platform.is_container()) {
            all.push(Process {
                name: naming::router_container(namespace),
                description: format!("Skupper router of namespace {namespace}"),
                command: vec![
                    program,
                    "router".into(),
                    "--config".into(),
                    paths.router_config().into(),
                    "--lock".into(),
                    paths.router_lock().into(),
                ],
                log: paths.router_log(),
                stop_grace: ROUTER_STOP,
                engine: None,
            });
        }
        Self {
            root: paths.root(),
            site_file: paths.site_file(),
            stop_marker: control::stop_marker(&paths),
            sockets: paths.socket_dir(),
            all,
        }
    }

    /// Their names, for people.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|it| it.name.as_str()).collect();
        names.join(", ")
    }
}

/// Who keeps a new site's processes running; tells the user when a restart of the host ends them.
///
/// # Errors
/// When a service manager was required and takes no sites.
pub(crate) async fn choose(
    ctx: &Context,
    wanted: Supervision,
    site: &Site,
) -> Result<Option<SystemdSettings>, SiteError> {
    let supervisor = match (wanted, ctx.supervisor()) {
        (Supervision::Detached, _) | (Supervision::Best, None) => return Ok(None),
        (Supervision::Systemd, None) => return Err(no_supervisor()),
        (_, Some(supervisor)) => supervisor,
    };
    match supervisor.offer(&Processes::of(ctx, Some(site))).await {
        Ok(unit_directory) => Ok(Some(SystemdSettings { unit_directory })),
        Err(reason) if wanted == Supervision::Systemd => {
            Err(SiteError::Supervisor(SupervisorError {
                reason,
                remedy: None,
                log: Vec::new(),
            }))
        }
        Err(reason) => {
            ctx.progress.warn(&format!(
                "the site will not come back by itself after a restart of this host: {reason}"
            ));
            Ok(None)
        }
    }
}

/// The manager of a site that has one.
///
/// # Errors
/// When this program was not given one.
pub(crate) fn required(ctx: &Context) -> Result<&dyn Supervisor, SiteError> {
    ctx.supervisor().ok_or_else(no_supervisor)
}

fn no_supervisor() -> SiteError {
    SiteError::Supervisor(SupervisorError {
        reason: "there is no service manager to use".to_owned(),
        remedy: None,
        log: Vec::new(),
    })
}
