//! The running manager: what can be asked of it, and the ways to reach it.

mod dbus;
mod systemctl;

use std::env;
use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use self::dbus::DBus;
use self::systemctl::Systemctl;
use crate::scope::Scope;
use crate::unit::UnitName;

/// For calls that only ask or note
const CALL: Duration = Duration::from_secs(10);
/// For jobs: above the longest time that a unit of ours may take to start or to stop
const JOB: Duration = Duration::from_secs(45);

/// Answer of a [`Bus`], on its way
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BusError>> + Send + 'a>>;

/// A manager. Every call ends within a deadline; jobs are waited for
pub trait Bus: Debug + Send + Sync {
    /// Directories that unit files are read from, highest priority first
    fn unit_path(&self) -> Answer<'_, Vec<PathBuf>>;

    /// Reads changed unit files
    fn reload(&self) -> Answer<'_, ()>;

    /// Starts them from now on with their targets
    fn enable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()>;

    /// Takes that back; a unit that is not there is fine
    fn disable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()>;

    /// Starts a unit and returns when it says that it is ready
    fn start<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()>;

    /// Stops a unit and returns when it has ended; a unit that is not there is fine
    fn stop<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()>;

    /// Stops and starts
    fn restart<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()>;

    /// Forgets that the unit failed; a unit that is not there is fine
    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()>;

    /// What the unit is doing
    fn state<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, UnitState>;
}

/// State of a unit in the manager's words (systemd.unit(5); `systemctl show`)
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// `running`, `dead`, `auto-restart`, …
    pub sub: String,
    /// Why it ended last: `success`, `exit-code`, `signal`, `timeout`, …
    pub result: String,
}

/// What went wrong between us and the manager
#[derive(Debug, Error)]
pub enum BusError {
    /// Nobody to ask
    #[error("{0}")]
    Unavailable(String),
    /// It said no
    #[error("systemd could not {call}: {reason}")]
    Refused {
        /// What was asked, e.g. `enable skupper-router.service`
        call: String,
        /// Its answer
        reason: String,
    },
    /// A job that ended otherwise than asked
    #[error("{unit} could not be {what}: {result} ({state})")]
    Job {
        /// The unit
        unit: UnitName,
        /// `started`, …
        what: &'static str,
        /// Of the job: `failed`, `timeout`, `canceled`, `dependency`, …
        result: String,
        /// Of the unit afterwards
        state: String,
    },
    /// No answer
    #[error("systemd did not answer within {waited:?}: {call}")]
    Timeout {
        /// What was asked
        call: String,
        /// The deadline
        waited: Duration,
    },
}

/// Where a manager is looked for
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    /// Whose manager
    pub scope: Scope,
    /// The caller
    pub uid: u32,
    /// Buses to try, in this order
    pub addresses: Vec<String>,
    /// `$XDG_RUNTIME_DIR` for `systemctl`
    pub runtime_directory: PathBuf,
    /// The program, or its name
    pub systemctl: OsString,
}

impl Surroundings {
    /// Of this process: the bus that the environment names, then the usual one
    pub fn from_env(uid: u32) -> Self {
        let scope = Scope::of(uid);
        let runtime_directory = variable("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .unwrap_or_else(|| PathBuf::from(format!("/run/user/{uid}")));
        let addresses = match scope {
            Scope::User => addresses(
                "DBUS_SESSION_BUS_ADDRESS",
                format!("unix:path=/run/user/{uid}/bus"),
            ),
            Scope::System => system_bus(),
        };
        Self {
            scope,
            uid,
            addresses,
            runtime_directory,
            systemctl: "systemctl".into(),
        }
    }
}

/// Addresses of the system's bus
pub(crate) fn system_bus() -> Vec<String> {
    addresses(
        "DBUS_SYSTEM_BUS_ADDRESS",
        "unix:path=/run/dbus/system_bus_socket".to_owned(),
    )
}

/// The bus that the environment names, then the usual one
fn addresses(name: &str, usual: String) -> Vec<String> {
    let mut addresses: Vec<String> = variable(name).into_iter().chain([usual]).collect();
    addresses.dedup();
    addresses
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The manager, over the first bus that has it, else through `systemctl`
///
/// # Errors
/// [`BusError::Unavailable`] with what was tried: hosts without systemd, containers, sessions without a manager.
pub async fn connect(surroundings: &Surroundings) -> Result<Arc<dyn Bus>, BusError> {
    let mut tried = Vec::new();
    for address in &surroundings.addresses {
        match DBus::connect(address).await {
            Ok(bus) => return Ok(Arc::new(bus)),
            Err(reason) => tried.push(format!("{address}: {reason}")),
        }
    }
    let systemctl = Systemctl::new(surroundings);
    match systemctl.unit_path().await {
        Ok(_) => return Ok(Arc::new(systemctl)),
        Err(error) => tried.push(error.to_string()),
    }
    for reason in &tried {
        tracing::debug!(%reason, "no manager");
    }
    let whose = match surroundings.scope {
        Scope::User => "the user's systemd manager",
        Scope::System => "systemd",
    };
    Err(BusError::Unavailable(format!(
        "{whose} can't be reached ({})",
        tried.join("; ")
    )))
}

async fn within<T>(
    limit: Duration,
    call: impl Display,
    work: impl Future<Output = Result<T, BusError>>,
) -> Result<T, BusError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(BusError::Timeout {
            call: call.to_string(),
            waited: limit,
        })
    })
}

fn join(units: &[UnitName]) -> String {
    units
        .iter()
        .map(UnitName::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}
