//! `skupper delete`: everything of a site, also of a half-made one, and nothing else.
//!
//! Removing only goes forward: each part is harmless when it is done already, and an interrupted `delete` is
//! finished by the next command. Containers and networks are recognised by their labels, never by name alone.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::name::SiteName;
use model::paths::SitePaths;
use model::platform::Platform;
use model::site::{ContainerSettings, Site, SystemdSettings};
use model::store::StoreError;

use crate::engine::{ContainerSummary, Engine, EngineError, OWNER_LABEL};
use crate::native::HeldLock;

use super::apply::STOP_GRACE;
use super::context::Context;
use super::control;
use super::error::SiteError;
use super::journal::{Direction, Header, Journal};
use super::lock;
use super::naming::{self, LABEL_NAMESPACE, LABEL_OWNER};
use super::recover;
use super::request::{DeleteReport, KeptNetwork};
use super::state::all_sites;
use super::supervisor::Processes;

pub(crate) const OPERATION: &str = "skupper delete";

/// What is known about the site that goes.
#[derive(Debug, Default)]
struct Remains {
    name: Option<SiteName>,
    container: Option<ContainerSettings>,
    systemd: Option<SystemdSettings>,
    processes: Option<Processes>,
    /// The engine, or all that answer when the site's description is gone.
    engines: Vec<Arc<dyn Engine>>,
}

/// Removes the site of the context's namespace.
///
/// # Errors
/// [`SiteError::NetworkAttached`] (unless `force`: the network then stays) and an engine that does not answer,
/// before anything is removed; [`SiteError::Several`] with everything that could not be removed.
pub async fn delete(ctx: &Context, force: bool) -> Result<DeleteReport, SiteError> {
    let paths = ctx.site_paths();
    let existed = paths.root().exists();
    let _lock = if existed {
        match lock_existing(ctx, &paths).await? {
            Some(lock) => Some(lock),
            // undoing an interrupted command removed it all
            None => {
                recover::remove_empty_home(&ctx.paths);
                return Ok(DeleteReport::Removed {
                    name: None,
                    kept_network: None,
                });
            }
        }
    } else {
        None
    };
    let remains = survey(ctx, &paths, force).await?;
    let containers = find_containers(ctx, &remains.engines).await?;
    let empty = containers.iter().all(|(_, found)| found.is_empty()) && is_empty_site(&paths);
    if empty {
        // at most the lock of a command that was killed before it did anything
        remove(&paths.root()).await?;
        recover::remove_empty_home(&ctx.paths);
        return Ok(DeleteReport::NotFound);
    }
    let kept_network = attached_network(&remains).await?;
    if let Some(kept) = kept_network.as_ref().filter(|_| !force) {
        return Err(SiteError::NetworkAttached {
            network: kept.name.clone(),
            attached: kept.attached.clone(),
        });
    }
    ctx.check_cancelled()?;
    if existed {
        begin_journal(ctx, &paths, &remains)?;
    }
    carry_out(ctx, &paths, &remains, containers).await?;
    recover::remove_empty_home(&ctx.paths);
    Ok(DeleteReport::Removed {
        name: remains.name,
        kept_network,
    })
}

/// What [`delete`] would remove, one line each.
///
/// # Errors
/// As [`delete`], before anything is removed.
pub async fn plan_delete(ctx: &Context) -> Result<Vec<String>, SiteError> {
    let paths = ctx.site_paths();
    let remains = survey(ctx, &paths, false).await?;
    let mut lines = Vec::new();
    if let (Some(systemd), Some(processes)) = (&remains.systemd, &remains.processes) {
        lines.push(format!(
            "remove units {} ({})",
            processes.names(),
            systemd.unit_directory.display()
        ));
    }
    if paths.root().exists() {
        lines.push("stop the site controller".to_owned());
    }
    for (_, found) in find_containers(ctx, &remains.engines).await? {
        lines.extend(
            found
                .iter()
                .map(|container| format!("remove container {}", container.name)),
        );
    }
    if let Some(settings) = &remains.container {
        if settings.network_created {
            lines.push(format!("remove network {}", settings.network));
        }
        lines.push(format!(
            "remove image {} unless another site uses it",
            settings.image
        ));
    }
    if paths.root().exists() {
        lines.push(format!("remove directory {}", paths.root().display()));
    }
    Ok(lines)
}

/// Finishes a `delete` that was interrupted. The caller holds the site's lock.
pub(crate) async fn finish(ctx: &Context) -> Result<(), SiteError> {
    let paths = ctx.site_paths();
    let remains = survey(ctx, &paths, true).await?;
    let containers = find_containers(ctx, &remains.engines).await?;
    carry_out(ctx, &paths, &remains, containers).await?;
    recover::remove_empty_home(&ctx.paths);
    Ok(())
}

/// The lock, with interrupted commands undone; `None` when that removed the site. An interrupted `delete` is left
/// to this one.
async fn lock_existing(ctx: &Context, paths: &SitePaths) -> Result<Option<HeldLock>, SiteError> {
    model::store::ensure_dir(&paths.run_dir(), 0o700)
        .map_err(|source| SiteError::state("directory of the site", source))?;
    let lock = lock::acquire(ctx, OPERATION).await?;
    let left = super::journal::read(&paths.journal()).map_err(SiteError::io("journal"))?;
    if left.is_some_and(|left| left.header.direction == Direction::Back) {
        recover::finish_interrupted(ctx).await?;
    }
    Ok(lock.is_current().then_some(lock))
}

/// Nothing but the directory of the lock, and no journal in it.
fn is_empty_site(paths: &SitePaths) -> bool {
    let run = paths.run_dir();
    let only_run = std::fs::read_dir(paths.root()).map_or(true, |entries| {
        entries.flatten().all(|entry| entry.path() == run)
    });
    only_run && !super::journal::is_left(&paths.journal()) && !paths.socket_dir().exists()
}

/// Reads what is left of the site's description, and connects to its engine.
async fn survey(ctx: &Context, paths: &SitePaths, force: bool) -> Result<Remains, SiteError> {
    let site = match Site::read(&paths.site_file()) {
        Ok(site) => Some(site),
        Err(error @ StoreError::NewerFormat { .. }) if !force => {
            return Err(SiteError::state("site", error));
        }
        Err(_) => None,
    };
    let Some(site) = site else {
        return Ok(Remains {
            processes: Some(Processes::of(ctx, None)),
            engines: engines_that_answer(ctx).await,
            ..Remains::default()
        });
    };
    let endpoint = site
        .container
        .as_ref()
        .and_then(|container| container.engine_endpoint.as_deref());
    let engines = match ctx.engine(site.platform, endpoint).await {
        Ok(engine) => engine.into_iter().collect(),
        Err(error) if force => {
            ctx.progress
                .warn(&format!("containers may be left over: {error}"));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let processes = Processes::of(ctx, Some(&site));
    Ok(Remains {
        name: Some(site.name),
        container: site.container,
        // of a site that looks after itself there are none
        processes: site.systemd.is_some().then_some(processes),
        systemd: site.systemd,
        engines,
    })
}

async fn engines_that_answer(ctx: &Context) -> Vec<Arc<dyn Engine>> {
    let mut engines: Vec<Arc<dyn Engine>> = Vec::new();
    for platform in [Platform::Podman, Platform::Docker] {
        if let Ok(Some(engine)) = ctx.engine(platform, None).await
            && engines
                .iter()
                .all(|known| known.endpoint() != engine.endpoint())
        {
            engines.push(engine);
        }
    }
    engines
}

type Found = (Arc<dyn Engine>, Vec<ContainerSummary>);

/// The containers of this user's site in this namespace, by label.
async fn find_containers(
    ctx: &Context,
    engines: &[Arc<dyn Engine>],
) -> Result<Vec<Found>, SiteError> {
    let uid = ctx.paths.uid.to_string();
    let labels = [
        OWNER_LABEL,
        (LABEL_NAMESPACE, ctx.namespace.as_str()),
        (LABEL_OWNER, uid.as_str()),
    ];
    let mut found = Vec::new();
    for engine in engines {
        found.push((Arc::clone(engine), engine.containers(&labels).await?));
    }
    Ok(found)
}

/// The site's own network, when containers of others are attached to it.
async fn attached_network(remains: &Remains) -> Result<Option<KeptNetwork>, SiteError> {
    let Some(settings) = remains.container.as_ref().filter(|it| it.network_created) else {
        return Ok(None);
    };
    for engine in &remains.engines {
        let Some(network) = engine.network(&settings.network).await? else {
            continue;
        };
        let mut attached = Vec::new();
        for name in network.attached {
            let ours = engine
                .container(&name)
                .await?
                .is_none_or(|container| container.labels.contains_key(LABEL_NAMESPACE));
            if !ours {
                attached.push(name);
            }
        }
        if !attached.is_empty() {
            return Ok(Some(KeptNetwork {
                name: network.name,
                attached,
            }));
        }
    }
    Ok(None)
}

fn begin_journal(ctx: &Context, paths: &SitePaths, remains: &Remains) -> Result<(), SiteError> {
    let header = Header {
        operation: OPERATION.to_owned(),
        direction: Direction::Forward,
        namespace: ctx.namespace.clone(),
        platform: remains.engines.first().map(|engine| engine.platform()),
        engine_endpoint: remains
            .container
            .as_ref()
            .and_then(|container| container.engine_endpoint.clone()),
        site_id: None,
    };
    match Journal::begin(&paths.journal(), &header) {
        Ok(_) => Ok(()),
        // a full disk is a reason to delete a site; only finishing after a crash is lost
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        Err(error) => Err(SiteError::io("journal")(error)),
    }
}

/// Removes everything, going on after failures. The directory goes last, and only when nothing else is left that it
/// describes.
async fn carry_out(
    ctx: &Context,
    paths: &SitePaths,
    remains: &Remains,
    containers: Vec<Found>,
) -> Result<(), SiteError> {
    let mut errors: Vec<String> = Vec::new();
    if let Some(processes) = &remains.processes {
        note(&mut errors, remove_units(ctx, remains, processes).await);
    }
    ctx.progress.step("stop the site controller");
    note(&mut errors, control::stop(paths).await);
    for (engine, found) in &containers {
        remove_containers(ctx, &**engine, found, &mut errors).await;
    }
    for engine in &remains.engines {
        note(&mut errors, remove_network(ctx, &**engine, remains).await);
        note(&mut errors, remove_image(ctx, &**engine, remains).await);
    }
    if errors.is_empty() {
        ctx.progress.step("remove the site's files");
        for path in [paths.socket_dir(), paths.root()] {
            note(&mut errors, remove(&path).await);
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(SiteError::Several(errors))
}

/// Definitions of a service manager; a site whose manager is gone from this host, or does not answer, is removed all
/// the same.
async fn remove_units(
    ctx: &Context,
    remains: &Remains,
    processes: &Processes,
) -> Result<(), SiteError> {
    let Some(supervisor) = ctx.supervisor() else {
        return Ok(());
    };
    let directory = remains
        .systemd
        .as_ref()
        .map(|systemd| systemd.unit_directory.as_path());
    if directory.is_some() {
        ctx.progress
            .step(&format!("remove units {}", processes.names()));
    }
    Ok(supervisor.remove(directory, processes).await?)
}

/// All at once: each may need its time to let flows end.
async fn remove_containers(
    ctx: &Context,
    engine: &dyn Engine,
    found: &[ContainerSummary],
    errors: &mut Vec<String>,
) {
    for container in found {
        ctx.progress
            .step(&format!("remove container {}", container.name));
    }
    let removed = join_all(found.iter().map(|container| async move {
        // one that can't be stopped is killed by the removal
        if let Err(error) = engine.stop_container(&container.name, STOP_GRACE).await {
            tracing::debug!(container = %container.name, %error, "not stopped");
        }
        engine.remove_container(&container.name).await
    }))
    .await;
    for outcome in removed {
        note(errors, outcome.map_err(SiteError::from));
    }
}

async fn remove_network(
    ctx: &Context,
    engine: &dyn Engine,
    remains: &Remains,
) -> Result<(), SiteError> {
    let (name, known) = match &remains.container {
        Some(settings) if !settings.network_created => return Ok(()),
        Some(settings) => (settings.network.clone(), true),
        None => (naming::network(&ctx.namespace), false),
    };
    let Some(network) = engine.network(&name).await? else {
        return Ok(());
    };
    let ours = network.labels.get(LABEL_NAMESPACE).map(String::as_str)
        == Some(ctx.namespace.as_str())
        && network.labels.get(LABEL_OWNER).map(String::as_str)
            == Some(ctx.paths.uid.to_string().as_str());
    if !ours {
        return Ok(());
    }
    ctx.progress.step(&format!("remove network {name}"));
    match engine.remove_network(&name).await {
        Ok(()) => Ok(()),
        // reported as kept, or nobody knows whose containers these are
        Err(EngineError::Conflict { .. }) => Ok(()),
        Err(error) if known => Err(error.into()),
        Err(_) => Ok(()),
    }
}

async fn remove_image(
    ctx: &Context,
    engine: &dyn Engine,
    remains: &Remains,
) -> Result<(), SiteError> {
    let Some(settings) = &remains.container else {
        return Ok(());
    };
    let used = all_sites(&ctx.paths).iter().any(|site| {
        site.namespace != ctx.namespace
            && site
                .container
                .as_ref()
                .is_some_and(|other| other.image == settings.image)
    });
    if used {
        return Ok(());
    }
    match engine.remove_image(&settings.image).await {
        // another user's site on the same engine uses it
        Err(
            EngineError::Conflict { .. }
            | EngineError::Foreign { .. }
            | EngineError::NotFound { .. },
        )
        | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Goes on while others still put files there: a command that waits for our lock, a router that ends.
async fn remove(path: &Path) -> Result<(), SiteError> {
    const TRIES: usize = 40;
    const STEP: Duration = Duration::from_millis(50);
    let mut tries = 0;
    loop {
        tries += 1;
        match recover::remove_path(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {
                tokio::time::sleep(STEP).await;
            }
            outcome => {
                return outcome.map_err(SiteError::io(format!("remove {}", path.display())));
            }
        }
    }
}

fn note(errors: &mut Vec<String>, outcome: Result<(), SiteError>) {
    if let Err(error) = outcome {
        errors.push(error.to_string());
    }
}
