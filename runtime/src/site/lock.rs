//! One command at a time per site.

use std::time::Duration;

use tokio::time::Instant;

use crate::native::{self, HeldLock};

use super::context::Context;
use super::error::SiteError;

/// How long a command waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);
/// From here on the user is told what the command waits for.
const SILENT: Duration = Duration::from_secs(1);

/// Takes the site's lock, waiting up to ten seconds for another command. The site's `run` directory must exist.
///
/// # Errors
/// [`SiteError::Busy`] names the command that holds the lock.
pub(crate) async fn acquire(ctx: &Context, command: &str) -> Result<HeldLock, SiteError> {
    let path = ctx.site_paths().lock_file();
    let started = Instant::now();
    let mut told = false;
    loop {
        ctx.check_cancelled()?;
        if let Some(lock) = HeldLock::try_acquire(&path, command)? {
            return Ok(lock);
        }
        let waited = started.elapsed();
        if waited >= PATIENCE {
            return Err(SiteError::Busy {
                holder: native::holder(&path),
                waited: PATIENCE,
            });
        }
        if !told && waited >= SILENT {
            told = true;
            let who = native::holder(&path).map_or_else(
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
