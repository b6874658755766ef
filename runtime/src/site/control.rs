//! Start and end of a site's controller, its guard and its native router.
//!
//! | lock in `run/` | held by |
//! |---|---|
//! | `controller.lock` | the controller |
//! | `guard.lock` | the controller's guard: each of the two starts the other again |
//! | `router.lock` | the router of a `linux` site, whoever its parent is |
//!
//! The file `run/stopping` tells the two not to start anything any more.
//!
//! Where a service manager runs the site ([`super::supervisor`]), there is no guard, and the router is not the
//! controller's child; the locks mean the same.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use model::name::Namespace;
use model::paths::{Paths, SitePaths};
use model::site::Site;
use tokio::time::Instant;

use crate::native::{self, Detached, Spawned};

use super::context::Context;
use super::error::SiteError;
use super::step::Step;
use super::supervisor::Processes;

/// How long a controller may take to hold its lock.
const START: Duration = Duration::from_secs(10);
/// A router lets flows end for eight seconds; its controller waits for it.
const CONTROLLER_GRACE: Duration = Duration::from_secs(12);
const ROUTER_GRACE: Duration = Duration::from_secs(10);
const GUARD_GRACE: Duration = Duration::from_secs(2);

/// The lock of the controller's guard.
pub fn guard_lock(paths: &SitePaths) -> PathBuf {
    paths.run_dir().join("guard.lock")
}

/// While this file exists, nothing of the site is started again.
pub fn stop_marker(paths: &SitePaths) -> PathBuf {
    paths.run_dir().join("stopping")
}

/// Arguments of this binary for the controller of a site. The user's directories are named only where the
/// environment, which the process inherits, does not lead to the same ones.
pub fn controller_arguments(paths: &Paths, namespace: &Namespace, guard: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "controller".into(),
        "--namespace".into(),
        namespace.as_str().into(),
    ];
    if guard {
        arguments.push("--guard".into());
    }
    let same = Paths::from_env().is_ok_and(|from_env| {
        from_env.data_home == paths.data_home
            && from_env.config_home == paths.config_home
            && from_env.runtime_dir == paths.runtime_dir
    });
    if !same {
        arguments.extend(directories(paths));
    }
    arguments
}

/// Arguments of this binary for a controller that a service manager runs: no guard, no child, and nothing is left to
/// the manager's environment.
pub fn supervised_arguments(paths: &Paths, namespace: &Namespace) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "controller".into(),
        "--namespace".into(),
        namespace.as_str().into(),
        "--supervised".into(),
    ];
    arguments.extend(directories(paths));
    arguments
}

fn directories(paths: &Paths) -> impl Iterator<Item = OsString> {
    [
        ("--data-home", &paths.data_home),
        ("--config-home", &paths.config_home),
        ("--runtime-dir", &paths.runtime_dir),
    ]
    .into_iter()
    .flat_map(|(flag, directory)| [flag.into(), directory.into()])
}

/// The step that starts the site's processes.
pub(crate) fn start_step(ctx: &Context, site: &Site) -> Step {
    match &site.systemd {
        None => Step::StartController,
        Some(_) => Step::StartUnits(Processes::of(ctx, Some(site))),
    }
}

/// Whether the site's controller lives.
///
/// # Errors
/// When its lock file can't be opened.
pub fn is_running(paths: &SitePaths) -> Result<bool, SiteError> {
    Ok(native::is_held(&paths.controller_lock())?)
}

/// Starts the controller unless it runs, and waits until it holds its lock.
///
/// # Errors
/// [`SiteError::Controller`] with the end of its log.
pub(crate) async fn start(ctx: &Context, paths: &SitePaths) -> Result<(), SiteError> {
    let marker = stop_marker(paths);
    super::recover::remove_path(&marker)
        .map_err(SiteError::io(format!("remove {}", marker.display())))?;
    if is_running(paths)? {
        return Ok(());
    }
    let program = ctx.controller_program();
    let mut process = native::spawn_detached(&Detached {
        program: program.to_owned(),
        arguments: controller_arguments(&ctx.paths, &ctx.namespace, false),
        log: paths.controller_log(),
        directory: ctx.paths.data_home.clone(),
    })
    .map_err(|error| failed(paths, format!("{}: {error}", program.display())))?;
    let started = await_lock(ctx, paths, &mut process).await;
    if started.is_err() {
        // without its lock nobody would find it any more
        process
            .kill()
            .await
            .map_err(SiteError::io("end the site controller"))?;
    }
    started
}

async fn await_lock(
    ctx: &Context,
    paths: &SitePaths,
    process: &mut Spawned,
) -> Result<(), SiteError> {
    const STEP: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + START;
    while !is_running(paths)? {
        if let Some(status) = process.ended() {
            // another one was faster, or it could not start
            if is_running(paths)? {
                return Ok(());
            }
            return Err(failed(paths, format!("it ended at once ({status})")));
        }
        if Instant::now() >= deadline {
            return Err(failed(paths, format!("no sign of it for {START:?}")));
        }
        ctx.check_cancelled()?;
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}

fn failed(paths: &SitePaths, reason: String) -> SiteError {
    SiteError::Controller {
        reason,
        log: native::log_tail(&paths.controller_log(), 10),
    }
}

/// Ends the controller, its guard and the native router, and returns when none of them lives.
///
/// # Errors
/// Names the process that can't be ended.
pub(crate) async fn stop(paths: &SitePaths) -> Result<(), SiteError> {
    if !paths.run_dir().exists() {
        return Ok(());
    }
    let marker = stop_marker(paths);
    match fs::write(&marker, "") {
        Ok(()) => {}
        // stopping works on a full disk too; a guard that saw no marker is ended in the second round
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
        Err(error) => return Err(SiteError::io(format!("write {}", marker.display()))(error)),
    }
    // twice: one of the pair may have been starting the other while the first round ended it
    for _ in 0..2 {
        native::end_holder(&paths.controller_lock(), CONTROLLER_GRACE).await?;
        native::end_holder(&guard_lock(paths), GUARD_GRACE).await?;
        native::end_holder(&paths.router_lock(), ROUTER_GRACE).await?;
    }
    Ok(())
}
