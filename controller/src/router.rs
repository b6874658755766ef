//! The router of a native site: a child of the controller, or a survivor of an earlier one.

use std::fs;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use model::paths::SitePaths;
use runtime::native::{self, HeldLock};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::guard::is_stopping;
use crate::{ControllerError, ControllerOptions};

/// A router lets flows end for eight seconds.
const GRACE: Duration = Duration::from_secs(10);

/// Keeps the router running until told to stop; then lets it drain and returns when it has ended.
pub(crate) async fn keep(options: &ControllerOptions, paths: &SitePaths, stop: &CancellationToken) {
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() && !is_stopping(paths) {
        backoff.started();
        let ended = match HeldLock::try_acquire_for_child(&paths.router_lock()) {
            // it runs already, and no other router must
            Ok(None) => adopt(paths, stop).await,
            Ok(Some(lock)) => own(options, paths, &lock, stop).await,
            Err(error) => Err(error.into()),
        };
        if stop.is_cancelled() {
            break;
        }
        let pause = backoff.ended();
        match ended {
            Ok(how) => tracing::warn!(how, ?pause, "router ended, is started again"),
            Err(error) => tracing::error!(%error, ?pause, "router can't be started"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    if let Err(error) = native::end_holder(&paths.router_lock(), GRACE).await {
        tracing::error!(%error, "router goes on running");
    }
}

/// Waits until a router that somebody else started has ended.
async fn adopt(paths: &SitePaths, stop: &CancellationToken) -> Result<String, ControllerError> {
    let lock = paths.router_lock();
    let pid = native::holder(&lock).map(|holder| holder.pid);
    tracing::info!(?pid, "router runs already");
    tokio::select! {
        freed = native::freed(&lock) => freed?,
        () = stop.cancelled() => {}
    }
    Ok("adopted".to_owned())
}

/// Starts the router and waits for its end. The router inherits the lock as its standard input, so that the lock is
/// held exactly as long as the router lives, whatever happens to this process.
async fn own(
    options: &ControllerOptions,
    paths: &SitePaths,
    lock: &HeldLock,
    stop: &CancellationToken,
) -> Result<String, ControllerError> {
    let mut child = start(options, paths, lock)?;
    if let Some(pid) = child.id() {
        lock.write_holder(pid, "router")?;
        tracing::info!(pid, "router started");
    }
    let ended = |status: io::Result<ExitStatus>| {
        status
            .map(|status| status.to_string())
            .map_err(|source| ControllerError::Io {
                what: "router",
                source,
            })
    };
    tokio::select! {
        status = child.wait() => return ended(status),
        () = stop.cancelled() => {}
    }
    terminate(&child);
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => ended(status),
        Err(_) => {
            tracing::warn!("router does not drain in time, is killed");
            ended(match child.kill().await {
                Ok(()) => child.wait().await,
                Err(error) => Err(error),
            })
        }
    }
}

fn start(
    options: &ControllerOptions,
    paths: &SitePaths,
    lock: &HeldLock,
) -> Result<Child, ControllerError> {
    let failed = |source| ControllerError::Io {
        what: "router",
        source,
    };
    // a socket that nobody listens on any more: the lock says so
    match fs::remove_file(paths.router_socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let log = native::open_log(&paths.router_log()).map_err(failed)?;
    Command::new(&options.executable)
        .arg("router")
        .arg("--config")
        .arg(paths.router_config())
        .stdin(lock.as_stdin()?)
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .kill_on_drop(false)
        .spawn()
        .map_err(failed)
}

fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    // not reaped yet, so the id is still the child's
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM)
    {
        tracing::warn!(%error, "router can't be told to stop");
    }
}
