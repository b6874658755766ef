//! The life of a router process: start, follow the configuration, drain, end.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::router_config::{Mode, RouterConfig};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::{self, Applied, Live, LoadError, watch::ConfigWatch},
    control::{Adaptors, Control},
    core::{address::AddressSpace, control_message::ControlMessage, shared::Shared},
    health::Health,
    logging,
    management::Change,
    net::tls::TlsProfiles,
    worker::Workers,
};

/// Time that flows have to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(8);
/// Changes asked for over management that may wait.
const CHANGES: usize = 64;
/// Workers unless the configuration says how many.
const MAX_DEFAULT_WORKERS: usize = 4;

/// How a router is started.
#[derive(Clone, Debug, Default)]
pub struct RouterOptions {
    /// Configuration file in the form of `skrouterd.json`.
    pub config: PathBuf,
    /// Only read and check the configuration.
    pub check: bool,
    /// File to hold locked for the life of the process: others learn by it that the router runs.
    pub lock: Option<PathBuf>,
    /// How the log is written.
    pub log_format: logging::Format,
}

/// Why a router did not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// Something that the configuration needs cannot be had.
    #[error("{0}")]
    Start(String),
    /// Another router holds the lock.
    #[error("another router runs already: {0} is locked")]
    Running(PathBuf),
}

/// Runs a router until it is told to end. `ready` is called once it listens.
///
/// # Errors
/// When it cannot start: unusable configuration or certificates, a port that is taken, a lock that is held.
pub fn run(options: &RouterOptions, ready: impl FnOnce()) -> Result<(), RouterError> {
    let parsed = config::load(&options.config)?;
    let profiles = Arc::new(TlsProfiles::new(&parsed.config.ssl_profiles));
    let log = logging::init(&parsed.config.logs, options.log_format);
    for warning in &parsed.warnings {
        warn!(target: "router::config", "{warning}");
    }
    if options.check {
        return check_certificates(&parsed.config, &profiles);
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            RouterError::Start(format!("cannot start the control runtime: {error}"))
        })?;
    let _lock = match &options.lock {
        Some(path) => Some(runtime.block_on(lock(path))?),
        None => None,
    };
    raise_file_limit();
    // A static program has its random numbers from a file: opened now, when there are files to be had. Threads that
    // begin to ask for some while clients hold all of them would panic.
    let _: u64 = rand::random();
    let count = parsed
        .config
        .router
        .worker_threads
        .map_or_else(default_workers, |count| count as usize);
    let workers = Workers::start(count)
        .map_err(|error| RouterError::Start(format!("cannot start workers: {error}")))?;
    let space = AddressSpace {
        id: parsed.config.router.id.clone(),
        edge: parsed.config.router.mode == Mode::Edge,
    };
    let shared = Arc::new(Shared::new(space, workers.handles.clone()));
    let outcome = runtime.block_on(serve(options, parsed.config, shared, profiles, log, ready));
    drop(workers);
    outcome
}

/// Reads the certificates of all listeners and connectors.
fn check_certificates(config: &RouterConfig, profiles: &TlsProfiles) -> Result<(), RouterError> {
    let failed = |kind: &str, name: &str, error: &dyn std::fmt::Display| {
        RouterError::Start(format!("{kind} \"{name}\": {error}"))
    };
    for profile in config.ssl_profiles.keys() {
        profiles
            .check_names(profile)
            .map_err(|error| failed("sslProfile", profile, &error))?;
    }
    for listener in config.listeners.values() {
        if let Some(profile) = &listener.ssl_profile {
            profiles
                .server_config(profile, listener.wants_certificate())
                .map_err(|error| failed("listener", &listener.name, &error))?;
        }
    }
    for connector in config.connectors.values() {
        if let Some(profile) = &connector.ssl_profile {
            profiles
                .client_config(profile, connector.verify_hostname)
                .map_err(|error| failed("connector", &connector.name, &error))?;
        }
    }
    for listener in config.tcp_listeners.values() {
        if let Some(profile) = &listener.ssl_profile {
            profiles
                .adaptor_server_config(profile, listener.authenticate_peer)
                .map_err(|error| failed("tcpListener", &listener.name, &error))?;
        }
    }
    for connector in config.tcp_connectors.values() {
        if let Some(profile) = &connector.ssl_profile {
            profiles
                .client_config(profile, connector.verify_hostname)
                .map_err(|error| failed("tcpConnector", &connector.name, &error))?;
        }
    }
    Ok(())
}

async fn serve(
    options: &RouterOptions,
    config: RouterConfig,
    shared: Arc<Shared>,
    profiles: Arc<TlsProfiles>,
    log: logging::LogHandle,
    ready: impl FnOnce(),
) -> Result<(), RouterError> {
    let start = |error: io::Error| RouterError::Start(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start)?;
    let adaptors = Adaptors::default();
    let cancel = CancellationToken::new();
    let (changes, mut wanted) = mpsc::channel(CHANGES);
    let control = Control::new(
        shared.clone(),
        Arc::new(config.clone()),
        adaptors.clone(),
        changes,
        log.recent(),
    );
    let control = tokio::spawn(control.run(cancel.clone()));
    let http = Arc::new(Health {
        shared: shared.clone(),
        adaptors: adaptors.clone(),
    });
    info!(target: "router", id = %config.router.id, mode = %config.router.mode, workers = shared.workers.len(),
        version = model::PRODUCT_VERSION, "router starts");
    let applied =
        Applied::start(shared.clone(), profiles.clone(), adaptors, http, config).map_err(start)?;
    let mut live = Live::new(applied);
    let mut watch = ConfigWatch::new(
        &options.config,
        profiles.directories().into_iter().collect(),
    )
    .map_err(|error| RouterError::Start(error.to_string()))?;
    // A change between the first reading and the watch would go unnoticed.
    reload(options, &mut live, &shared, &profiles, &log).await;
    ready();
    loop {
        shared.readiness.set_sockets(live.applied().unbound());
        tokio::select! {
            () = watch.changed() => {
                reload(options, &mut live, &shared, &profiles, &log).await;
                watch.set_directories(profiles.directories());
            }
            Some(change) = wanted.recv() => {
                edit(*change, &mut live, &shared, &log).await;
                watch.set_directories(profiles.directories());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tokio::select! {
        () = drain(&shared, live.applied()) => {}
        _ = terminate.recv() => warn!(target: "router", "told twice: flows are broken off"),
        _ = interrupt.recv() => warn!(target: "router", "told twice: flows are broken off"),
    }
    live.applied().close_connections();
    // Closes are on their way; peers that do not answer are not waited for.
    tokio::time::sleep(Duration::from_millis(100)).await;
    cancel.cancel();
    let _ = control.await;
    info!(target: "router", "router ends");
    Ok(())
}

/// Applies a changed file; an unusable one leaves everything as it is.
async fn reload(
    options: &RouterOptions,
    live: &mut Live,
    shared: &Shared,
    profiles: &TlsProfiles,
    log: &logging::LogHandle,
) {
    for refreshed in profiles.refresh() {
        match refreshed.outcome {
            Ok(()) => {
                info!(target: "router::config", profile = %refreshed.profile, "files replaced");
            }
            Err(error) => {
                warn!(target: "router::config", profile = %refreshed.profile, %error, "changed files not used");
            }
        }
    }
    let refused = |reason: String| {
        warn!(target: "router::config", %reason, "changed configuration not applied");
        shared.tell(ControlMessage::ConfigurationRefused(Some(reason)));
    };
    match config::load(&options.config) {
        Err(error) => refused(error.to_string()),
        Ok(parsed) if parsed.config == *live.file() => {
            // Perhaps it was put back after a change that was refused.
            shared.tell(ControlMessage::ConfigurationRefused(None));
        }
        Ok(parsed) => {
            for warning in &parsed.warnings {
                warn!(target: "router::config", "{warning}");
            }
            match live.reload(parsed.config).await {
                Ok(()) => log.apply(&live.applied().config().logs),
                Err(reason) => refused(reason),
            }
        }
    }
}

/// Makes a change that management asked for, and has it answered.
async fn edit(change: Change, live: &mut Live, shared: &Shared, log: &logging::LogHandle) {
    let logs = live.applied().config().logs.clone();
    let outcome = live.edit(&change.action).await;
    if live.applied().config().logs != logs {
        log.apply(&live.applied().config().logs);
    }
    shared.tell(ControlMessage::Changed(Box::new(change.finished(outcome))));
}

/// Withdraws addresses and waits for flows to end, those that only pass through this router too.
async fn drain(shared: &Shared, applied: &Applied) {
    info!(target: "router", flows = shared.tasks.len(), "draining");
    applied.stop_accepting();
    shared.tell(ControlMessage::Drain);
    if tokio::time::timeout(DRAIN, shared.idle()).await.is_err() {
        warn!(target: "router", flows = shared.tasks.len(), "flows that did not end in time are broken off");
    }
}

/// Takes the lock; whoever only asks whether it is held, holds it for a moment.
async fn lock(path: &Path) -> Result<File, RouterError> {
    const STEP: Duration = Duration::from_millis(20);
    const TRIES: u32 = 50;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| RouterError::Start(format!("cannot open {}: {error}", path.display())))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => {
                use std::io::Write as _;
                let _ = file.set_len(0);
                let _ = writeln!(&file, "{} router", std::process::id());
                return Ok(file);
            }
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(STEP).await,
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(RouterError::Start(format!(
                    "cannot lock {}: {error}",
                    path.display()
                )));
            }
        }
    }
    Err(RouterError::Running(path.to_owned()))
}

fn default_workers() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_DEFAULT_WORKERS)
}

/// Each flow takes a descriptor; the soft limit of most systems is far too low.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                ..limit
            },
        )
    {
        warn!(target: "router", %error, "cannot raise the limit of open files");
    }
}
