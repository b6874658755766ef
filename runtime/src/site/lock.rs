//! One command at a time per site.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::paths::Paths;
use tokio::time::Instant;

use crate::native::{self, HeldLock};

use super::context::Context;
use super::error::SiteError;

/// How long a command waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);
/// An `init` may wait half a minute for its router.
const INIT_PATIENCE: Duration = Duration::from_secs(60);
const INIT_LOCK: &str = ".init.lock";
const STEP: Duration = Duration::from_millis(50);
/// From here on the user is told what the command waits for.
const SILENT: Duration = Duration::from_secs(1);

/// Takes the site's lock, waiting up to ten seconds for another command. The site's `run` directory must exist.
///
/// # Errors
/// [`SiteError::Busy`] names the command that holds the lock; [`SiteError::NotEnabled`] when the directory is gone.
pub(crate) async fn acquire(ctx: &Context, command: &str) -> Result<HeldLock, SiteError> {
    wait_for(ctx, &ctx.site_paths().lock_file(), command, PATIENCE).await
}

/// Keeps two `init` of one user apart, which might choose the same free ports. The file is gone when nobody needs it.
#[derive(Debug)]
pub(crate) struct InitTurn {
    path: PathBuf,
    _lock: HeldLock,
}

impl InitTurn {
    /// # Errors
    /// [`SiteError::Busy`] after a minute.
    pub(crate) async fn wait(ctx: &Context, command: &str) -> Result<Self, SiteError> {
        let path = ctx.paths.sites_dir().join(INIT_LOCK);
        let lock = wait_for(ctx, &path, command, INIT_PATIENCE).await?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for InitTurn {
    fn drop(&mut self) {
        // still locked: whoever waits sees that it is gone and makes it anew
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "lock file stays");
        }
    }
}

/// Removes the lock file of an `init` that was killed, where it is the last thing in the directory of the sites.
pub(crate) fn remove_left_turn(paths: &Paths) {
    let directory = paths.sites_dir();
    let path = directory.join(INIT_LOCK);
    let alone = fs::read_dir(&directory)
        .is_ok_and(|entries| entries.flatten().all(|entry| entry.path() == path));
    if !alone || !path.exists() {
        return;
    }
    match HeldLock::try_acquire(&path, "skupper delete") {
        Ok(Some(lock)) => drop(InitTurn { path, _lock: lock }),
        // somebody makes a site now
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "lock file stays"),
    }
}

async fn wait_for(
    ctx: &Context,
    path: &Path,
    command: &str,
    patience: Duration,
) -> Result<HeldLock, SiteError> {
    let started = Instant::now();
    let mut told = false;
    loop {
        ctx.check_cancelled()?;
        match HeldLock::try_acquire(path, command) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            // the site was removed while we waited
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                return Err(SiteError::NotEnabled {
                    namespace: ctx.namespace.clone(),
                });
            }
            Err(error) => return Err(error.into()),
        }
        let waited = started.elapsed();
        if waited >= patience {
            return Err(SiteError::Busy {
                holder: native::holder(path),
                waited: patience,
            });
        }
        if !told && waited >= SILENT {
            told = true;
            let who = native::holder(path).map_or_else(
                || "another command".to_owned(),
                |holder| format!("{} (process {})", holder.what, holder.pid),
            );
            ctx.progress.warn(&format!("waiting for {who} to end"));
        }
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = ctx.cancel.cancelled() => {}
        }
    }
}
