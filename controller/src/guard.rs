//! The guard: starts the controller again when it dies, and does nothing else.

use std::time::Duration;

use model::paths::SitePaths;
use runtime::native::{self, Detached};
use runtime::site::control;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::supervise::stop_signal;
use crate::{ControllerError, ControllerOptions};

/// How long a started process may take to hold its lock.
const START: Duration = Duration::from_secs(10);
/// A lock is asked for this long before its holder is believed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: &ControllerOptions) -> Result<(), ControllerError> {
    let paths = options.paths.site(&options.namespace);
    let lock = control::guard_lock(&paths);
    let what = format!("guard of {}", options.namespace);
    let Some(_lock) = native::acquire_within(&lock, &what, PATIENCE).await? else {
        return Ok(());
    };
    let stop = stop_signal()?;
    keep(options, &paths, Process::Controller, &stop).await;
    Ok(())
}

/// One of the pair that keep each other running.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Process {
    Controller,
    Guard,
}

/// Starts the process whenever its lock is free, until told to stop or until the site is gone.
pub(crate) async fn keep(
    options: &ControllerOptions,
    paths: &SitePaths,
    process: Process,
    stop: &CancellationToken,
) {
    let lock = match process {
        Process::Controller => paths.controller_lock(),
        Process::Guard => control::guard_lock(paths),
    };
    let mut backoff = Backoff::new();
    let mut first = true;
    loop {
        let freed = tokio::select! {
            freed = native::freed(&lock) => freed,
            () = stop.cancelled() => return,
        };
        if let Err(error) = freed {
            tracing::warn!(?process, %error, "lock can't be watched");
        }
        if stop.is_cancelled() || is_stopping(paths) {
            return;
        }
        if !first {
            let pause = backoff.ended();
            tracing::warn!(?process, ?pause, "ended, is started again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            if is_stopping(paths) {
                return;
            }
        }
        first = false;
        backoff.started();
        start(options, paths, process, &lock).await;
    }
}

/// Whether nothing of the site is to be started: somebody stops it, or it is gone.
pub(crate) fn is_stopping(paths: &SitePaths) -> bool {
    control::stop_marker(paths).exists() || !paths.site_file().exists()
}

async fn start(
    options: &ControllerOptions,
    paths: &SitePaths,
    process: Process,
    lock: &std::path::Path,
) {
    const STEP: Duration = Duration::from_millis(20);
    let guard = process == Process::Guard;
    let spawned = native::spawn_detached(&Detached {
        program: options.executable.clone(),
        arguments: control::controller_arguments(&options.paths, &options.namespace, guard),
        log: paths.controller_log(),
        directory: options.paths.data_home.clone(),
    });
    let mut spawned = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            tracing::error!(?process, %error, "can't be started");
            return;
        }
    };
    let deadline = Instant::now() + START;
    while Instant::now() < deadline && spawned.ended().is_none() {
        if native::is_held(lock).unwrap_or(false) {
            tracing::info!(?process, pid = spawned.pid, "started");
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}
