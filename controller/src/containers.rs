//! The containers of a site: what the engine did not start again is started again here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::engine::{ContainerInfo, ContainerState, Engine};
use runtime::native::HeldLock;
use runtime::site::{self, Context, SiteError, SiteHandle};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(2);
/// Between tries while the engine does not answer, or can't do what is asked.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);

/// Looks after the containers until told to stop. They go on running then: the engine's matter.
pub(crate) async fn keep(ctx: &Context, stop: &CancellationToken) {
    let mut keeper = Keeper::default();
    let mut interval = INTERVAL;
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
        match keeper.look_after(ctx).await {
            Ok(()) => interval = INTERVAL,
            Err(error) => {
                interval = (interval * 2).min(LONGEST_INTERVAL);
                tracing::warn!(%error, next = ?interval, "containers can't be looked after");
                // an engine that was restarted needs a new connection
                keeper.engine = None;
                ctx.disconnect();
            }
        }
    }
}

/// One run of a container, which has ended
#[derive(Debug, PartialEq)]
struct Run {
    id: String,
    started_at: Option<String>,
}

/// What is known from one look to the next
#[derive(Default)]
struct Keeper {
    engine: Option<Arc<dyn Engine>>,
    /// What had ended at the last look, by the container's name
    ended: BTreeMap<String, Run>,
}

impl Keeper {
    async fn look_after(&mut self, ctx: &Context) -> Result<(), SiteError> {
        // a command that was interrupted is undone by the next command, not by us
        if site::interrupted(ctx).is_some() {
            return Ok(());
        }
        let Some(handle) = SiteHandle::open(ctx)? else {
            return Ok(());
        };
        let engine = match &self.engine {
            Some(engine) => Arc::clone(engine),
            None => match site::engine_of(ctx, &handle).await? {
                Some(connected) => Arc::clone(self.engine.insert(connected)),
                None => return Ok(()),
            },
        };
        let mut wrong = Vec::new();
        let before = std::mem::take(&mut self.ended);
        for name in site::container_names(&handle) {
            let Some(found) = engine.container(&name).await? else {
                wrong.push(name);
                continue;
            };
            let Some(run) = ended(found) else { continue };
            // What has only just ended is on its way: to a new start by the engine, or to its removal by somebody.
            // Podman goes on with the removal of a container that is started meanwhile, whose process then stays.
            if before.get(&name) == Some(&run) {
                wrong.push(name.clone());
            }
            self.ended.insert(name, run);
        }
        if wrong.is_empty() {
            return Ok(());
        }
        // what looks wrong may be a command at work: it holds the lock
        let lock = handle.paths().lock_file();
        let Some(_lock) = HeldLock::try_acquire(&lock, "site controller")? else {
            return Ok(());
        };
        if site::interrupted(ctx).is_some() {
            return Ok(());
        }
        let Some(handle) = SiteHandle::open(ctx)? else {
            return Ok(());
        };
        tracing::warn!(containers = ?wrong, "not running, are started again");
        site::ensure_containers(ctx, &handle, &engine, &wrong).await
    }
}

/// The run of a container that has ended and is not on its way back; also of one that never ran.
fn ended(found: ContainerInfo) -> Option<Run> {
    match found.state {
        ContainerState::Created | ContainerState::Exited(_) => Some(Run {
            id: found.id,
            started_at: found.started_at.map(|at| at.to_string()),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
