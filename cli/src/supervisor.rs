//! Sites run by systemd: joins `runtime`, which knows what processes a site has, and `systemd`, which runs units.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Paths, store};
use runtime::engine::BoxFuture;
use runtime::native;
use runtime::site::{Process, Processes, Supervision, Supervisor, SupervisorError};
use systemd::{Bus, BusError, Journal, Linger, Output, Scope, Service, Surroundings, UnitName};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::error::{CommandError, ErrorKind};

/// Variable that chooses who runs a new site: `systemd` or `detached`
pub(crate) const VARIABLE: &str = "SKUPPER_SUPERVISOR";

/// Exists where process 1 is systemd (sd_booted(3))
const BOOTED: &str = "/run/systemd/system";
const LOG_LINES: usize = 10;
/// Of a user's manager, on a slow host
const MANAGER_START: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// Mark of a unit file: the site's directory
const ROOT: &str = "Root";

/// What [`VARIABLE`] says
pub(crate) fn choice() -> Result<Supervision, CommandError> {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("") => Ok(Supervision::Best),
        Ok("systemd") => Ok(Supervision::Systemd),
        Ok("detached") => Ok(Supervision::Detached),
        Ok(other) => Err(
            CommandError::failed(format!("invalid value of {VARIABLE}: {other}"))
                .hint("it is 'systemd' or 'detached'; unset it to use what is there"),
        ),
    }
}

/// Tells the manager that started this process, if one did, that it is at work
pub(crate) fn tell_ready() {
    if let Err(error) = systemd::notify::ready() {
        tracing::warn!(%error, "readiness can't be told");
    }
}

/// The manager of the caller: the user's, or for root the system's
#[derive(Debug)]
pub(crate) struct Systemd {
    surroundings: Surroundings,
    linger: Linger,
    journal: Journal,
    /// Of unit files
    directory: PathBuf,
    /// Which `RuntimeDirectory=` is relative to
    runtime_directory: PathBuf,
    /// Missing where systemd does not run the host
    booted: PathBuf,
    /// How long a manager may take that logind was told to start
    manager_start: Duration,
    bus: OnceCell<Arc<dyn Bus>>,
}

impl Systemd {
    pub(crate) fn new(paths: &Paths) -> Self {
        let surroundings = Surroundings::from_env(paths.uid);
        // our own directory lies in it
        let config_home = paths.config_home.parent().unwrap_or(&paths.config_home);
        Self {
            directory: surroundings.scope.unit_directory(config_home),
            runtime_directory: match surroundings.scope {
                Scope::User => PathBuf::from(format!("/run/user/{}", paths.uid)),
                Scope::System => PathBuf::from("/run"),
            },
            linger: Linger::of(&paths.user, paths.uid),
            journal: Journal::of(surroundings.scope, paths.uid),
            booted: PathBuf::from(BOOTED),
            manager_start: MANAGER_START,
            bus: OnceCell::new(),
            surroundings,
        }
    }

    /// Whether the user's units run without a login; those of root always do
    pub(crate) async fn lingers(&self) -> bool {
        self.surroundings.scope == Scope::System || self.linger.is_enabled().await
    }

    /// What a person types for that
    pub(crate) fn linger_command(&self) -> String {
        self.linger.command()
    }

    /// Makes the user's units run without a login, and waits for the manager that runs them from now on; answers
    /// whether that was this call's doing. A call that fails or is interrupted leaves things as they were
    pub(crate) async fn enable_linger(
        &self,
        cancel: &CancellationToken,
    ) -> Result<bool, CommandError> {
        let ours = !self.lingers().await;
        let work = async {
            if ours {
                self.ask_logind().await?;
            }
            self.await_manager().await
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = cancel.cancelled() => {
                Err(CommandError::new(ErrorKind::Interrupted, "interrupted"))
            }
        };
        match outcome {
            Ok(()) => Ok(ours),
            Err(error) if ours => Err(self.undo_linger(error).await),
            Err(error) => Err(error),
        }
    }

    /// Takes back what [`Self::enable_linger`] did, for a failure that comes after; a hint of the failure tells where
    /// that is not possible
    pub(crate) async fn undo_linger(&self, failure: CommandError) -> CommandError {
        if !self.lingers().await {
            return failure;
        }
        match self.linger.disable().await {
            Ok(()) => failure,
            Err(error) => failure.hint(format!(
                "lingering stays enabled ({error}); to disable it: {}",
                self.linger.undo_command()
            )),
        }
    }

    async fn await_manager(&self) -> Result<(), CommandError> {
        // logind has only ordered its start
        let started = Instant::now();
        loop {
            match self.bus().await {
                Ok(_) => {
                    self.journal.await_first_entry().await;
                    return Ok(());
                }
                Err(error) if started.elapsed() > self.manager_start => {
                    return Err(CommandError::failed(format!(
                        "lingering was enabled, but {error}"
                    ))
                    .hint(format!(
                        "look at it with: systemctl status user@{}",
                        self.surroundings.uid
                    )));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Whether the manager that is missing is one that logind starts for users who linger
    fn may_be_started(&self) -> bool {
        self.surroundings.scope == Scope::User && self.booted.exists()
    }

    async fn ask_logind(&self) -> Result<(), CommandError> {
        if !self.booted.exists() {
            return Err(CommandError::failed(
                "lingering can't be enabled: systemd does not run this host",
            )
            .hint("leave --enable-linger out: the site then looks after itself until the host is restarted"));
        }
        self.linger.enable().await.map_err(|error| {
            CommandError::failed(error).hint(format!(
                "ask an administrator to run: {}, or leave --enable-linger out",
                self.linger.command()
            ))
        })
    }

    async fn bus(&self) -> Result<&dyn Bus, BusError> {
        let connect = || async {
            if !self.booted.exists() {
                return Err(BusError::Unavailable(
                    "systemd does not run this host".to_owned(),
                ));
            }
            systemd::connect(&self.surroundings).await
        };
        self.bus.get_or_try_init(connect).await.map(|bus| &**bus)
    }

    /// The unit of a process
    fn service(&self, processes: &Processes, process: &Process) -> Service {
        let scope = self.surroundings.scope;
        let mut after = vec!["network-online.target".to_owned()];
        after.extend(engine_units(scope, process).iter().map(|&unit| unit.into()));
        let mut environment = Vec::new();
        let usual = PathBuf::from(format!("/run/user/{}", self.surroundings.uid));
        if scope == Scope::User && self.surroundings.runtime_directory != usual {
            environment.push((
                "XDG_RUNTIME_DIR".to_owned(),
                self.surroundings.runtime_directory.clone().into(),
            ));
        }
        Service {
            description: process.description.clone(),
            after,
            needs: processes.site_file.clone(),
            unless: processes.stop_marker.clone(),
            command: process.command.clone(),
            environment,
            output: if self.journal.is_readable() {
                Output::Journal
            } else {
                Output::Append(process.log.clone())
            },
            runtime_directory: processes
                .sockets
                .strip_prefix(&self.runtime_directory)
                .ok()
                .and_then(|directory| directory.to_str())
                .map(str::to_owned),
            stop_timeout: process.stop_grace,
            wanted_by: scope.boot_target().to_owned(),
            marks: vec![(ROOT, processes.root.to_string_lossy().into_owned())],
        }
    }

    /// Files with their content
    fn render(&self, processes: &Processes) -> Result<Vec<(UnitName, String)>, String> {
        processes
            .all
            .iter()
            .map(|process| {
                let name = UnitName::service(&process.name)?;
                Ok((name, self.service(processes, process).render()?))
            })
            .collect::<Result<_, systemd::UnitError>>()
            .map_err(|error| error.to_string())
    }

    /// Where the manager finds the user's own units
    async fn read_directory(&self) -> Result<PathBuf, String> {
        let bus = self.bus().await.map_err(|error| match &error {
            BusError::Unavailable(_) if self.may_be_started() => {
                format!("{error}; init --enable-linger starts it")
            }
            _ => error.to_string(),
        })?;
        let path = bus.unit_path().await.map_err(|error| error.to_string())?;
        if path.contains(&self.directory) {
            return Ok(self.directory.clone());
        }
        Err(format!(
            "systemd does not read units from {}",
            self.directory.display()
        ))
    }
}

impl Supervisor for Systemd {
    fn offer<'a>(&'a self, processes: &'a Processes) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async {
            let directory = self.read_directory().await?;
            for (name, _) in self.render(processes)? {
                let file = directory.join(name.as_str());
                if is_taken(&file, processes) {
                    return Err(format!(
                        "{} exists already and is not of this site",
                        file.display()
                    ));
                }
            }
            Ok(directory)
        })
    }

    fn install<'a>(
        &'a self,
        directory: &'a Path,
        processes: &'a Processes,
    ) -> BoxFuture<'a, Result<(), SupervisorError>> {
        Box::pin(async move {
            let units = self.render(processes).map_err(plain)?;
            fs::create_dir_all(directory)
                .map_err(|error| plain(format!("create {}: {error}", directory.display())))?;
            for (name, text) in &units {
                store::write_atomic(&directory.join(name.as_str()), text.as_bytes(), 0o644)
                    .map_err(|error| plain(error.to_string()))?;
            }
            let bus = self.bus().await.map_err(|error| self.failed(&error))?;
            let names: Vec<UnitName> = units.into_iter().map(|(name, _)| name).collect();
            bus.enable(&names)
                .await
                .map_err(|error| self.failed(&error))?;
            bus.reload().await.map_err(|error| self.failed(&error))
        })
    }

    fn start<'a>(&'a self, processes: &'a Processes) -> BoxFuture<'a, Result<(), SupervisorError>> {
        Box::pin(async {
            let bus = self.bus().await.map_err(|error| self.failed(&error))?;
            for process in &processes.all {
                let unit =
                    UnitName::service(&process.name).map_err(|error| plain(error.to_string()))?;
                if let Err(error) = bus.start(&unit).await {
                    return Err(SupervisorError {
                        log: self.log(process, LOG_LINES).await,
                        ..self.failed(&error)
                    });
                }
            }
            Ok(())
        })
    }

    fn log<'a>(&'a self, process: &'a Process, lines: usize) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            // the unit may have been made where there was no journal
            let found = native::log_tail(&process.log, lines);
            match UnitName::service(&process.name) {
                Ok(unit) if found.is_empty() => self.journal.tail(&unit, lines).await,
                _ => found,
            }
        })
    }

    fn stop<'a>(&'a self, processes: &'a Processes) -> BoxFuture<'a, Result<(), SupervisorError>> {
        Box::pin(async {
            let bus = self.bus().await.map_err(|error| self.failed(&error))?;
            let mut errors = Vec::new();
            for unit in names(processes) {
                note(&mut errors, bus.stop(&unit).await);
            }
            several(&errors)
        })
    }

    fn remove<'a>(
        &'a self,
        directory: Option<&'a Path>,
        processes: &'a Processes,
    ) -> BoxFuture<'a, Result<(), SupervisorError>> {
        Box::pin(async move {
            let known = directory.is_some();
            let directory = directory.unwrap_or(&self.directory);
            let units: Vec<UnitName> = names(processes)
                .into_iter()
                .filter(|unit| {
                    let file = directory.join(unit.as_str());
                    // removed by hand, it may still run
                    if file.exists() {
                        !is_taken(&file, processes)
                    } else {
                        known
                    }
                })
                .collect();
            if units.is_empty() {
                return Ok(());
            }
            let mut errors = Vec::new();
            let bus = match self.bus().await {
                Ok(bus) => Some(bus),
                Err(error) => {
                    tracing::warn!(%error, "units are removed without systemd");
                    None
                }
            };
            if let Some(bus) = bus {
                for unit in &units {
                    note(&mut errors, bus.stop(unit).await);
                }
                // what it leaves of a unit whose file is gone is removed below
                if let Err(error) = bus.disable(&units).await {
                    tracing::debug!(%error, "not disabled");
                }
            }
            let wants = format!("{}.wants", self.surroundings.scope.boot_target());
            for unit in &units {
                for file in [
                    directory.join(&wants).join(unit.as_str()),
                    directory.join(unit.as_str()),
                ] {
                    note(&mut errors, remove_file(&file));
                }
            }
            // nothing is left that a manager which does not forget them could start
            if let Some(bus) = bus {
                if let Err(error) = bus.reload().await {
                    tracing::warn!(%error, "removed units are not forgotten");
                }
                for unit in &units {
                    if let Err(error) = bus.reset_failed(unit).await {
                        tracing::debug!(%unit, %error, "not reset");
                    }
                }
            }
            several(&errors)
        })
    }
}

impl Systemd {
    fn failed(&self, error: &BusError) -> SupervisorError {
        let remedy = match (error, self.surroundings.scope) {
            (BusError::Unavailable(_), Scope::User) => Some(format!(
                "the site's units belong to the user's systemd, which runs while the user is logged in, and always after: {}",
                self.linger.command()
            )),
            _ => None,
        };
        SupervisorError {
            reason: error.to_string(),
            remedy,
            log: Vec::new(),
        }
    }
}

/// Units of the engine that a process works with, as the packages of distributions name them
fn engine_units(scope: Scope, process: &Process) -> &'static [&'static str] {
    match (process.engine, scope) {
        (Some(model::Platform::Podman), _) => &["podman.socket"],
        // a user's unit can't wait for one of the system
        (Some(model::Platform::Docker), Scope::System) => &["docker.socket", "docker.service"],
        _ => &[],
    }
}

fn names(processes: &Processes) -> Vec<UnitName> {
    processes
        .all
        .iter()
        .filter_map(|process| UnitName::service(&process.name).ok())
        .collect()
}

/// Whether there is a unit file of somebody else
fn is_taken(file: &Path, processes: &Processes) -> bool {
    match fs::read_to_string(file) {
        Ok(text) => !systemd::unit::has_mark(&text, ROOT, &processes.root.to_string_lossy()),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn remove_file(file: &Path) -> Result<(), String> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("remove {}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}

fn note<E: ToString>(errors: &mut Vec<String>, outcome: Result<(), E>) {
    if let Err(error) = outcome {
        errors.push(error.to_string());
    }
}

fn several(errors: &[String]) -> Result<(), SupervisorError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(plain(errors.join("; ")))
}

fn plain(reason: String) -> SupervisorError {
    SupervisorError {
        reason,
        remedy: None,
        log: Vec::new(),
    }
}
