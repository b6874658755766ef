//! Waiting for routers.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::engine::ContainerState;
use crate::native;

use super::access::{AccessError, Agent, RouterAccess, Row};
use super::apply::Scene;
use super::control;
use super::error::SiteError;
use super::step::Entities;
use super::supervisor::Processes;

/// A router that has not answered after this time will not.
const READY: Duration = Duration::from_secs(30);
/// A router looks at its configuration 0.2 s after it changed.
const LOADED: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 15;

/// Waits until the router answers on its management socket.
///
/// # Errors
/// [`SiteError::RouterNotReady`] with the end of its log after 30 s, or at once when it can't come up any more.
pub(crate) async fn await_router(
    scene: &Scene<'_>,
    socket: &Path,
    id: &str,
    container: Option<&str>,
) -> Result<(), SiteError> {
    let started = Instant::now();
    loop {
        scene.ctx.check_cancelled()?;
        let reason = match router_id(scene.ctx.routers(), socket).await {
            Ok(answered) if answered == id => return Ok(()),
            Ok(other) => format!("router {other} answers instead of {id}"),
            Err(error) => error.to_string(),
        };
        let dead = cannot_come_up(scene, container).await?;
        if dead.is_some() || started.elapsed() >= READY {
            return Err(SiteError::RouterNotReady {
                waited: started.elapsed(),
                reason: dead.unwrap_or(reason),
                log: log(scene, container).await,
            });
        }
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = scene.ctx.cancel.cancelled() => {}
        }
    }
}

/// Waits until the router lists what its new configuration holds. A router that does not run, or does not get there
/// in time, is no failure: the configuration is on disk and will be loaded.
///
/// # Errors
/// [`SiteError::Refused`] when a listener can't listen.
pub(crate) async fn await_config(
    scene: &Scene<'_>,
    socket: &Path,
    entities: &Entities,
) -> Result<(), SiteError> {
    let started = Instant::now();
    loop {
        let missing = match loading(scene.ctx.routers(), socket, entities).await {
            Ok(Loading::Complete) => return Ok(()),
            Ok(Loading::Waiting(name)) => format!("{name} is not settled"),
            Ok(Loading::Refused(reason)) => return Err(SiteError::Refused { reason }),
            Err(error @ AccessError::NotRunning { .. }) => {
                scene.ctx.progress.warn(&format!(
                    "{error}; the change takes effect when it runs again"
                ));
                return Ok(());
            }
            Err(error) => error.to_string(),
        };
        scene.ctx.check_cancelled()?;
        if started.elapsed() >= LOADED {
            scene.ctx.progress.warn(&format!(
                "the router has not confirmed the change within {LOADED:?}: {missing}"
            ));
            return Ok(());
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Id of the router behind a socket.
pub(crate) async fn router_id(
    routers: &dyn RouterAccess,
    socket: &Path,
) -> Result<String, AccessError> {
    let mut session = routers.open(socket).await?;
    let rows = session.query(Agent::Local, "router", &["id"]).await?;
    rows.first()
        .and_then(|row| row.get("id")?.as_str().map(str::to_owned))
        .ok_or_else(|| AccessError::NoAnswer {
            reason: "it does not tell its id".to_owned(),
        })
}

/// How far a router is with its new configuration.
enum Loading {
    Complete,
    /// The first entity that is missing, or still there.
    Waiting(String),
    /// A listener that is loaded and can't listen.
    Refused(String),
}

async fn loading(
    routers: &dyn RouterAccess,
    socket: &Path,
    entities: &Entities,
) -> Result<Loading, AccessError> {
    let mut session = routers.open(socket).await?;
    let kinds: BTreeSet<&'static str> = entities
        .present
        .iter()
        .chain(&entities.absent)
        .map(|(kind, _)| *kind)
        .collect();
    for kind in kinds {
        let attributes: &[&str] = match kind {
            "tcpListener" => &["name", "connectionMsg"],
            _ => &["name"],
        };
        let rows = session.query(Agent::Local, kind, attributes).await?;
        let find = |name: &str| rows.iter().find(|row| attribute(row, "name") == name);
        let of_kind = |(other, _): &&(&'static str, String)| *other == kind;
        for (_, name) in entities.present.iter().filter(of_kind) {
            match find(name).map(|row| attribute(row, "connectionMsg")) {
                None => return Ok(Loading::Waiting(format!("{kind} {name}"))),
                // that of a connector is about its peer, which may come later
                Some(message) if kind != "tcpListener" || message.is_empty() => {}
                Some(message) => return Ok(Loading::Refused(format!("{kind} {name}: {message}"))),
            }
        }
        let staying = entities
            .absent
            .iter()
            .filter(of_kind)
            .find(|(_, name)| find(name).is_some());
        if let Some((_, name)) = staying {
            return Ok(Loading::Waiting(format!("{kind} {name}")));
        }
    }
    Ok(Loading::Complete)
}

fn attribute<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Why waiting longer is pointless.
async fn cannot_come_up(
    scene: &Scene<'_>,
    container: Option<&str>,
) -> Result<Option<String>, SiteError> {
    match container {
        None if control::is_running(&scene.paths)? => Ok(None),
        None => Ok(Some("the site controller ended".to_owned())),
        Some(name) => Ok(match scene.engine()?.container(name).await? {
            None => Some(format!("container {name} is gone")),
            Some(found) => match found.state {
                // the engine restarts it; after some tries it is clear that this does not help
                ContainerState::Exited(code) if found.restart_count >= 3 => {
                    Some(format!("container {name} ends with exit code {code}"))
                }
                _ => None,
            },
        }),
    }
}

async fn log(scene: &Scene<'_>, container: Option<&str>) -> Vec<String> {
    match container {
        None => log_of_process(scene).await,
        Some(name) => {
            let Ok(engine) = scene.engine() else {
                return Vec::new();
            };
            engine
                .container_logs(name, LOG_LINES)
                .await
                .map(|text| text.lines().map(str::to_owned).collect())
                .unwrap_or_default()
        }
    }
}

/// Of the router, or of the controller if there is none.
async fn log_of_process(scene: &Scene<'_>) -> Vec<String> {
    for process in Processes::of(scene.ctx, None).all.iter().rev() {
        let mut lines = native::log_tail(&process.log, LOG_LINES);
        if lines.is_empty()
            && let Some(supervisor) = scene.ctx.supervisor()
        {
            lines = supervisor.log(process, LOG_LINES).await;
        }
        if !lines.is_empty() {
            return lines;
        }
    }
    Vec::new()
}
