//! Undoing steps: after a failure in this process, or from the journal that another process left.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::name::SiteId;
use model::paths::{Paths, SitePaths};

use crate::engine::{Engine, EngineError};

use super::apply::remove_own_container;
use super::context::Context;
use super::control;
use super::delete;
use super::error::SiteError;
use super::journal::{self, Direction, Undo};
use super::naming::LABEL_SITE;
use super::service;
use super::state::{SiteHandle, read_site};
use super::supervisor::{self, Processes};

/// Where replaced and removed files are kept until an operation is complete.
pub(crate) fn backup_dir(paths: &SitePaths) -> PathBuf {
    paths.run_dir().join("undo")
}

/// Removes backups of complete operations. What stays (a full disk never prevents removal) is removed next time.
pub(crate) fn clear_backups(paths: &SitePaths) {
    let directory = backup_dir(paths);
    if let Err(error) = fs::remove_dir_all(&directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %directory.display(), %error, "backups stay");
    }
}

/// Finishes what an ended process left half done. The caller holds the site's lock.
///
/// # Errors
/// When something can't be undone; the journal then stays.
pub(crate) async fn finish_interrupted(ctx: &Context) -> Result<(), SiteError> {
    let paths = ctx.site_paths();
    let path = paths.journal();
    let broken = || SiteError::io(format!("journal {}", path.display()));
    let Some(left) = journal::read(&path).map_err(broken())? else {
        // a journal without its first line
        journal::remove(&path).map_err(broken())?;
        clear_backups(&paths);
        return Ok(());
    };
    let operation = &left.header.operation;
    match left.header.direction {
        Direction::Forward => {
            ctx.progress
                .warn(&format!("finishing an interrupted `{operation}`"));
            delete::finish(ctx).await
        }
        Direction::Back => {
            ctx.progress
                .warn(&format!("undoing an interrupted `{operation}`"));
            let engine = match left.header.platform {
                Some(platform) => {
                    ctx.engine(platform, left.header.engine_endpoint.as_deref())
                        .await?
                }
                None => None,
            };
            let in_flight = matches!(
                left.undos.last(),
                Some(
                    Undo::RemoveContainer { .. }
                        | Undo::RemoveImage { .. }
                        | Undo::RemoveNetwork { .. }
                )
            );
            if in_flight {
                let_engine_settle(&path).await;
            }
            let failures = match &left.header.site_id {
                Some(site) => undo_all(ctx, &paths, engine.as_ref(), site, &left.undos).await,
                None => Vec::new(),
            };
            if !failures.is_empty() {
                return Err(SiteError::Several(failures));
            }
            journal::remove(&path).map_err(broken())?;
            clear_backups(&paths);
            Ok(())
        }
    }
}

/// An engine goes on with a call whose caller died: what was asked last may not be there yet, and would be there after
/// its undo.
async fn let_engine_settle(journal: &Path) {
    const SETTLED: Duration = Duration::from_secs(3);
    let age = fs::metadata(journal)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| modified.elapsed().ok());
    if let Some(rest) = age.and_then(|age| SETTLED.checked_sub(age)) {
        tokio::time::sleep(rest).await;
    }
}

/// Undoes everything, newest first, going on after failures; returns what could not be undone.
pub(crate) async fn undo_all(
    ctx: &Context,
    paths: &SitePaths,
    engine: Option<&Arc<dyn Engine>>,
    site: &SiteId,
    undos: &[Undo],
) -> Vec<String> {
    let mut left = Vec::new();
    for undo in undos.iter().rev() {
        let keeps_journal =
            matches!(undo, Undo::RemovePath { path } if paths.journal().starts_with(path));
        if keeps_journal && !left.is_empty() {
            // the journal, needed for another try, is in there
            continue;
        }
        if let Err(error) = undo_one(ctx, paths, engine, site, undo).await {
            left.push(error.to_string());
        }
    }
    left
}

async fn undo_one(
    ctx: &Context,
    paths: &SitePaths,
    engine: Option<&Arc<dyn Engine>>,
    site: &SiteId,
    undo: &Undo,
) -> Result<(), SiteError> {
    let with_engine =
        || engine.ok_or_else(|| SiteError::Invalid("the container engine is not known".to_owned()));
    // a journal is a file: whatever is in it, nothing outside the site is touched
    if let Undo::RemovePath { path } | Undo::Restore { path, .. } = undo
        && !is_inside(paths, path)
    {
        return Err(SiteError::Invalid(format!(
            "{} does not belong to the site",
            path.display()
        )));
    }
    match undo {
        Undo::RemovePath { path } => {
            remove_path(path).map_err(SiteError::io(format!("remove {}", path.display())))
        }
        Undo::Restore { path, backup } => {
            restore(path, backup).map_err(SiteError::io(format!("restore {}", path.display())))
        }
        Undo::RemoveNetwork { name } => remove_own_network(&**with_engine()?, name, site).await,
        Undo::RemoveImage { reference } => {
            match with_engine()?.remove_image(reference).await {
                // another site uses it, or has it under the same name
                Err(EngineError::Conflict { .. } | EngineError::Foreign { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Undo::RemoveContainer { name } => {
            match remove_own_container(&**with_engine()?, name, site).await {
                // the step failed because somebody else has that name
                Err(SiteError::ForeignContainer { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Undo::RestoreService { service: name } => {
            let Some(handle) = SiteHandle::open(ctx)? else {
                return Ok(());
            };
            service::ensure_container(ctx, &handle, with_engine()?, name).await
        }
        Undo::StopController => control::stop(paths).await,
        Undo::StopUnits => {
            let processes = processes(ctx);
            Ok(supervisor::required(ctx)?.stop(&processes).await?)
        }
        Undo::RemoveUnits { directory } => {
            let processes = processes(ctx);
            supervisor::required(ctx)?
                .remove(Some(directory), &processes)
                .await?;
            // what the manager could not end
            control::stop(paths).await
        }
    }
}

/// Of the site as far as its description can be read.
fn processes(ctx: &Context) -> Processes {
    Processes::of(ctx, read_site(ctx).ok().flatten().as_ref())
}

async fn remove_own_network(
    engine: &dyn Engine,
    name: &str,
    site: &SiteId,
) -> Result<(), SiteError> {
    match engine.network(name).await? {
        Some(found) if found.labels.get(LABEL_SITE).map(String::as_str) == Some(site.as_str()) => {
            Ok(engine.remove_network(name).await?)
        }
        _ => Ok(()),
    }
}

/// Removes the parents of a removed site when they are empty.
pub(crate) fn remove_empty_home(paths: &Paths) {
    super::lock::remove_left_turn(paths);
    if let Err(error) = fs::remove_dir(&paths.runtime_dir) {
        tracing::debug!(path = %paths.runtime_dir.display(), %error, "stays");
    }
    for directory in [paths.sites_dir(), paths.data_home.clone()] {
        if let Err(error) = fs::remove_dir(&directory) {
            tracing::debug!(path = %directory.display(), %error, "stays");
            return;
        }
    }
}

fn is_inside(paths: &SitePaths, path: &Path) -> bool {
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    plain && (path.starts_with(paths.root()) || path.starts_with(paths.socket_dir()))
}

/// Removes a file or a directory tree; missing is fine.
pub(crate) fn remove_path(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves the backup to its old place. Without a backup the step did not get that far, or this ran before.
fn restore(path: &Path, backup: &Path) -> io::Result<()> {
    let kept = match fs::symlink_metadata(backup) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kept.is_dir() {
        remove_path(path)?;
    }
    // renaming one name of a file over another name of the same file does nothing: remove the backup then
    fs::rename(backup, path)?;
    remove_path(backup)
}
