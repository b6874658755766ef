//! The controller itself: its lock, its tasks, its end.

use std::sync::Arc;
use std::time::Duration;

use model::paths::SitePaths;
use runtime::native;
use runtime::site::{self, Context, Silent, control};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guard::{self, PATIENCE, Process};
use crate::{ControllerError, ControllerOptions, Role, containers, logs, router};

/// How often the site's files are looked at.
const WATCH: Duration = Duration::from_secs(2);
const GUARD_GRACE: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    options: &ControllerOptions,
    ready: impl FnOnce() + Send,
) -> Result<(), ControllerError> {
    let paths = options.paths.site(&options.namespace);
    let missing = || ControllerError::NoSite {
        namespace: options.namespace.clone(),
    };
    if !paths.site_file().exists() {
        return Err(missing());
    }
    let what = format!("controller of {}", options.namespace);
    let Some(_lock) = native::acquire_within(&paths.controller_lock(), &what, PATIENCE).await?
    else {
        tracing::info!("another controller of this site lives");
        return Ok(());
    };
    if guard::is_stopping(&paths) {
        // the command that started us was interrupted
        return Ok(());
    }
    let stop = stop_signal()?;
    let ctx = context(options, &stop);
    let site = site::read_site(&ctx)?.ok_or_else(missing)?;
    tracing::info!(site = %site.name, platform = %site.platform, pid = std::process::id(), "controller started");
    make_socket_directory(&paths);
    ready();
    let tasks = TaskTracker::new();
    let supervised = options.role == Role::Supervised;
    if !supervised {
        let (options, paths, stop) = (options.clone(), paths.clone(), stop.clone());
        tasks.spawn(async move { guard::keep(&options, &paths, Process::Guard, &stop).await });
    }
    {
        let (options, paths, stop) = (options.clone(), paths.clone(), stop.clone());
        let ctx = ctx.clone();
        let native = !site.platform.is_container();
        tasks.spawn(async move {
            match (native, supervised) {
                (false, _) => containers::keep(&ctx, &stop).await,
                (true, false) => router::keep(&options, &paths, &stop).await,
                (true, true) => {}
            }
        });
    }
    watch(&ctx, &paths, &stop).await;
    // the guard first: it would start another controller
    if !supervised
        && let Err(error) = native::end_holder(&control::guard_lock(&paths), GUARD_GRACE).await
    {
        tracing::warn!(%error, "guard goes on running");
    }
    tasks.close();
    tasks.wait().await;
    tracing::info!("controller ended");
    Ok(())
}

/// Cancelled by SIGTERM and SIGINT. SIGHUP, the end of a terminal, means nothing to a controller.
pub(crate) fn stop_signal() -> Result<CancellationToken, ControllerError> {
    let failed = |source| ControllerError::Io {
        what: "signals",
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {}
            }
        }
        cancel.cancel();
    });
    Ok(stop)
}

/// Returns when told to stop, or when the site was removed without telling (its directory is gone).
async fn watch(ctx: &Context, paths: &SitePaths, stop: &CancellationToken) {
    const ROTATE_EVERY: u32 = 30;
    let mut round: u32 = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = stop.cancelled() => return,
        }
        if is_gone(ctx, paths) {
            tracing::info!("the site is gone");
            stop.cancel();
            return;
        }
        round = round.wrapping_add(1);
        if round.is_multiple_of(ROTATE_EVERY) {
            for log in [paths.router_log(), paths.controller_log()] {
                if let Err(error) = logs::rotate(&log) {
                    tracing::warn!(log = %log.display(), %error, "log can't be rotated");
                }
            }
        }
    }
}

/// Sockets with long paths lie in a directory that does not survive a restart of the host.
fn make_socket_directory(paths: &SitePaths) {
    let directory = paths.socket_dir();
    if directory.exists() {
        return;
    }
    let shared = directory.parent().unwrap_or(&directory);
    for missing in [shared, &directory] {
        if !missing.exists()
            && let Err(error) = model::store::ensure_dir(missing, 0o700)
        {
            tracing::error!(path = %missing.display(), %error, "directory of the sockets can't be made");
            return;
        }
    }
}

/// A site whose file is missing while no command works on it.
fn is_gone(ctx: &Context, paths: &SitePaths) -> bool {
    !paths.site_file().exists()
        && site::interrupted(ctx).is_none()
        && !native::is_held(&paths.lock_file()).unwrap_or(false)
}

fn context(options: &ControllerOptions, stop: &CancellationToken) -> Context {
    Context::new(
        options.paths.clone(),
        options.namespace.clone(),
        options.engine_environment.clone(),
        options.executable.clone(),
        Arc::new(Silent),
        stop.clone(),
    )
}
