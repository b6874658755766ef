//! Carries a plan out, and takes it back when a step fails or the caller interrupts.
//!
//! ```text
//! for each step:  record how to undo it ─▶ do it
//! success:        remove the journal, then the backups
//! failure, Ctrl-C: undo the recorded steps, newest first ─▶ remove the journal
//! crash:          the journal stays; the next command undoes it (see `recover`)
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::name::SiteId;
use model::paths::SitePaths;
use model::site::Site;

use crate::engine::{BoxFuture, Engine, EngineError};
use crate::image::ImageArchive;

use super::context::Context;
use super::control;
use super::error::SiteError;
use super::journal::{Direction, Header, Journal, Undo};
use super::naming::LABEL_SITE;
use super::readiness;
use super::recover;
use super::step::{Plan, Step};
use super::supervisor::{self, SupervisorError};

/// Longer than a router's drain.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);

/// What the steps of an operation work on.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) paths: SitePaths,
    pub(crate) site: &'a Site,
    pub(crate) engine: Option<Arc<dyn Engine>>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(ctx: &'a Context, site: &'a Site, engine: Option<Arc<dyn Engine>>) -> Self {
        Self {
            ctx,
            paths: ctx.site_paths(),
            site,
            engine,
        }
    }

    /// Carries the plan out. `first` are undos of what was done before the journal could begin.
    ///
    /// # Errors
    /// [`SiteError::RolledBack`] with the failure and what could not be undone.
    pub(crate) async fn apply(&self, plan: &Plan, first: Vec<Undo>) -> Result<(), SiteError> {
        let journal_path = self.paths.journal();
        let broken = || SiteError::io(format!("journal {}", journal_path.display()));
        let mut journal =
            Journal::begin(&journal_path, &self.header(&plan.operation)).map_err(broken())?;
        let outcome = match record_all(&mut journal, first) {
            Ok(()) => self.run(plan, &mut journal).await,
            Err(error) => Err(broken()(error)),
        };
        match outcome {
            Ok(()) => {
                journal.commit().map_err(broken())?;
                recover::clear_backups(&self.paths);
                Ok(())
            }
            Err(failure) => {
                let left = recover::undo_all(
                    self.ctx,
                    &self.paths,
                    self.engine.as_ref(),
                    &self.site.id,
                    journal.undos(),
                )
                .await;
                if left.is_empty() {
                    // gone already when the whole site was rolled back
                    journal.commit().map_err(broken())?;
                    recover::clear_backups(&self.paths);
                }
                Err(SiteError::RolledBack {
                    failure: Box::new(failure),
                    left,
                })
            }
        }
    }

    fn header(&self, operation: &str) -> Header {
        Header {
            operation: operation.to_owned(),
            direction: Direction::Back,
            namespace: self.site.namespace.clone(),
            platform: Some(self.site.platform),
            engine_endpoint: self
                .site
                .container
                .as_ref()
                .and_then(|container| container.engine_endpoint.clone()),
            site_id: Some(self.site.id.clone()),
        }
    }

    async fn run(&self, plan: &Plan, journal: &mut Journal) -> Result<(), SiteError> {
        for step in &plan.steps {
            self.ctx.check_cancelled()?;
            self.ctx.progress.step(&step.to_string());
            self.perform(step, journal).await?;
        }
        self.ctx.check_cancelled()
    }

    async fn perform(&self, step: &Step, journal: &mut Journal) -> Result<(), SiteError> {
        match step {
            Step::MakeDirectory { path, mode } => {
                let made = self.first_missing(path);
                self.record(journal, made.map(|path| Undo::RemovePath { path }))?;
                if !path.starts_with(self.paths.root())
                    && let Some(parent) = path.parent()
                {
                    // shared with other sites, in a place that others may write to
                    model::store::ensure_dir(parent, *mode).map_err(self.at(step))?;
                }
                model::store::ensure_dir(path, *mode).map_err(self.at(step))
            }
            Step::Certificates(plan) => {
                let plan = plan.clone();
                tokio::task::spawn_blocking(move || plan.carry_out())
                    .await
                    .map_err(self.at(step))?
            }
            Step::Write {
                path,
                content,
                mode,
                ..
            } => {
                let undo = self.keep_copy(path, journal.undos().len())?;
                self.record(journal, Some(undo))?;
                model::store::write_atomic(path, &content.0, *mode).map_err(self.at(step))
            }
            Step::Remove { path, .. } => self.set_aside(step, path, journal),
            Step::CreateNetwork(spec) => {
                self.record(
                    journal,
                    Some(Undo::RemoveNetwork {
                        name: spec.name.clone(),
                    }),
                )?;
                Ok(self.engine()?.create_network(spec).await?)
            }
            Step::LoadImage { reference } => self.load_image(reference, journal).await,
            Step::CreateContainer(spec) => {
                self.record(
                    journal,
                    Some(Undo::RemoveContainer {
                        name: spec.name.clone(),
                    }),
                )?;
                let engine = self.engine()?;
                engine.create_container(spec).await?;
                Ok(engine.start_container(&spec.name).await?)
            }
            Step::RemoveContainer { name, service } => {
                self.record(
                    journal,
                    Some(Undo::RestoreService {
                        service: service.clone(),
                    }),
                )?;
                let engine = self.engine()?;
                // lets flows end; one that can't be stopped is killed by the removal
                if let Err(error) = engine.stop_container(name, STOP_GRACE).await {
                    tracing::debug!(container = %name, %error, "not stopped");
                }
                remove_own_container(&**engine, name, &self.site.id).await
            }
            Step::StartController => {
                self.record(journal, Some(Undo::StopController))?;
                control::start(self.ctx, &self.paths).await
            }
            Step::InstallUnits {
                directory,
                processes,
            } => {
                self.record(
                    journal,
                    Some(Undo::RemoveUnits {
                        directory: directory.clone(),
                    }),
                )?;
                let install = supervisor::required(self.ctx)?.install(directory, processes);
                self.until_cancelled(install).await
            }
            Step::StartUnits(processes) => {
                self.record(journal, Some(Undo::StopUnits))?;
                let start = supervisor::required(self.ctx)?.start(processes);
                self.until_cancelled(start).await
            }
            Step::AwaitRouter {
                socket,
                id,
                container,
            } => readiness::await_router(self, socket, id, container.as_deref()).await,
            Step::AwaitConfig { socket, entities } => {
                readiness::await_config(self, socket, entities).await
            }
        }
    }

    /// A service manager may take long; what it began is undone after an interruption.
    async fn until_cancelled(
        &self,
        work: BoxFuture<'_, Result<(), SupervisorError>>,
    ) -> Result<(), SiteError> {
        tokio::select! {
            done = work => Ok(done?),
            () = self.ctx.cancel.cancelled() => Err(SiteError::Cancelled),
        }
    }

    async fn load_image(&self, reference: &str, journal: &mut Journal) -> Result<(), SiteError> {
        self.record(
            journal,
            Some(Undo::RemoveImage {
                reference: reference.to_owned(),
            }),
        )?;
        let directory = tempfile::tempdir_in(self.paths.run_dir())
            .map_err(SiteError::io("temporary directory for the image"))?;
        let archive = directory.path().join("image.tar");
        let executable = self.ctx.executable.clone();
        let out = archive.clone();
        let built = tokio::task::spawn_blocking(move || ImageArchive::build(&executable, &out))
            .await
            .map_err(|source| SiteError::state("image", source))?
            .map_err(|source| SiteError::state("image", source))?;
        if built.to_string() != reference {
            return Err(SiteError::Invalid(format!(
                "the program {} changed while its image was made",
                self.ctx.executable.display()
            )));
        }
        self.engine()?.load_image(archive).await?;
        Ok(())
    }

    /// Moves what is removed into the backups, from where it can come back.
    fn set_aside(&self, step: &Step, path: &Path, journal: &mut Journal) -> Result<(), SiteError> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(());
        }
        let backup = self.backup_path(journal.undos().len())?;
        self.record(
            journal,
            Some(Undo::Restore {
                path: path.to_owned(),
                backup: backup.clone(),
            }),
        )?;
        fs::rename(path, &backup).map_err(self.at(step))
    }

    /// A second name for the file as it is now: replacing the file leaves the old content under that name.
    fn keep_copy(&self, path: &Path, number: usize) -> Result<Undo, SiteError> {
        if !path.exists() {
            return Ok(Undo::RemovePath {
                path: path.to_owned(),
            });
        }
        let backup = self.backup_path(number)?;
        fs::hard_link(path, &backup)
            .map_err(SiteError::io(format!("backup of {}", path.display())))?;
        Ok(Undo::Restore {
            path: path.to_owned(),
            backup,
        })
    }

    fn backup_path(&self, number: usize) -> Result<PathBuf, SiteError> {
        let directory = recover::backup_dir(&self.paths);
        model::store::ensure_dir(&directory, 0o700)
            .map_err(|source| SiteError::state("backups", source))?;
        Ok(directory.join(number.to_string()))
    }

    fn record(&self, journal: &mut Journal, undo: Option<Undo>) -> Result<(), SiteError> {
        record_all(journal, undo).map_err(SiteError::io(format!(
            "journal {}",
            self.paths.journal().display()
        )))
    }

    /// The topmost directory of `path` that is missing: removing it undoes making all of them. Outside the site's own
    /// directory, parents are shared with other sites and stay.
    fn first_missing(&self, path: &Path) -> Option<PathBuf> {
        let root = self.paths.root();
        path.ancestors()
            .take_while(|ancestor| !ancestor.exists())
            .filter(|ancestor| *ancestor == path || ancestor.starts_with(&root))
            .last()
            .map(Path::to_owned)
    }

    pub(crate) fn engine(&self) -> Result<&Arc<dyn Engine>, SiteError> {
        self.engine.as_ref().ok_or(SiteError::Platform {
            platform: self.site.platform,
        })
    }

    #[expect(clippy::unused_self, reason = "reads as the scene's own error")]
    fn at<E: Into<super::error::Cause>>(&self, step: &Step) -> impl FnOnce(E) -> SiteError {
        let what = step.to_string();
        move |source| SiteError::state(what, source)
    }
}

/// Removes a container if it is of this site; one of another site with the same name stays.
///
/// # Errors
/// [`SiteError::ForeignContainer`] when it belongs to somebody else.
pub(crate) async fn remove_own_container(
    engine: &dyn Engine,
    name: &str,
    site: &SiteId,
) -> Result<(), SiteError> {
    match engine.container(name).await? {
        None => Ok(()),
        Some(found) if found.labels.get(LABEL_SITE).map(String::as_str) == Some(site.as_str()) => {
            match engine.remove_container(name).await {
                Err(EngineError::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Some(_) => Err(SiteError::ForeignContainer {
            name: name.to_owned(),
        }),
    }
}

fn record_all(journal: &mut Journal, undos: impl IntoIterator<Item = Undo>) -> io::Result<()> {
    undos.into_iter().try_for_each(|undo| journal.record(undo))
}
