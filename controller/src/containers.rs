//! The containers of a site: what the engine did not start again is started again here.

use std::sync::Arc;
use std::time::Duration;

use runtime::engine::{ContainerState, Engine};
use runtime::native::HeldLock;
use runtime::site::{self, Context, SiteError, SiteHandle};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(2);
/// Between tries while the engine does not answer, or can't do what is asked.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);

/// Looks after the containers until told to stop. They go on running then: the engine's matter.
pub(crate) async fn keep(ctx: &Context, stop: &CancellationToken) {
    let mut engine: Option<Arc<dyn Engine>> = None;
    let mut interval = INTERVAL;
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
        match look_after(ctx, &mut engine).await {
            Ok(()) => interval = INTERVAL,
            Err(error) => {
                interval = (interval * 2).min(LONGEST_INTERVAL);
                tracing::warn!(%error, next = ?interval, "containers can't be looked after");
                // an engine that was restarted needs a new connection
                engine = None;
                ctx.disconnect();
            }
        }
    }
}

async fn look_after(ctx: &Context, engine: &mut Option<Arc<dyn Engine>>) -> Result<(), SiteError> {
    // a command that was interrupted is undone by the next command, not by us
    if site::interrupted(ctx).is_some() {
        return Ok(());
    }
    let Some(handle) = SiteHandle::open(ctx)? else {
        return Ok(());
    };
    let engine = match engine {
        Some(engine) => Arc::clone(engine),
        None => match site::engine_of(ctx, &handle).await? {
            Some(connected) => Arc::clone(engine.insert(connected)),
            None => return Ok(()),
        },
    };
    let names = site::container_names(&handle);
    let mut wrong = Vec::new();
    for name in &names {
        if needs_help(&*engine, name).await? {
            wrong.push(name.as_str());
        }
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
    // one that can't be started must not keep the others from coming back
    let mut outcome = site::ensure_router_container(ctx, &handle, &engine).await;
    for service in handle.services() {
        let ensured = site::ensure_container(ctx, &handle, &engine, &service.name).await;
        outcome = outcome.and(ensured);
    }
    outcome
}

/// Missing, or ended and not on its way back.
async fn needs_help(engine: &dyn Engine, name: &str) -> Result<bool, SiteError> {
    Ok(match engine.container(name).await? {
        None => true,
        Some(found) => matches!(
            found.state,
            ContainerState::Created | ContainerState::Exited(_)
        ),
    })
}

#[cfg(test)]
mod tests;
