//! The manager over D-Bus (org.freedesktop.systemd1(5)).

use std::path::PathBuf;

use futures_util::StreamExt as _;
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, connection};

use super::{Answer, Bus, BusError, CALL, JOB, UnitState, join, within};
use crate::unit::UnitName;

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
    ) -> zbus::Result<Vec<(String, String, String)>>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn unit_path(&self) -> zbus::Result<Vec<String>>;

    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
trait Unit {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn sub_state(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
trait Service {
    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> zbus::Result<String>;
}

/// A manager on a message bus
#[derive(Clone, Debug)]
pub(super) struct DBus {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

/// What is asked of a unit
#[derive(Clone, Copy, Debug)]
enum Job {
    Start,
    Stop,
    Restart,
}

impl DBus {
    /// Connects, and makes sure that a manager is there
    pub(super) async fn connect(address: &str) -> Result<Self, String> {
        let connect = async {
            let connection = connection::Builder::address(address)?.build().await?;
            let manager = ManagerProxy::new(&connection).await?;
            // A bus without a manager is asked to start one, and says no.
            manager.unit_path().await?;
            // Without a subscription not every manager tells of jobs.
            manager.subscribe().await?;
            Ok::<_, zbus::Error>(Self {
                connection,
                manager,
            })
        };
        match tokio::time::timeout(CALL, connect).await {
            Ok(connected) => connected.map_err(|error| describe(&error)),
            Err(_) => Err(format!("no answer within {CALL:?}")),
        }
    }

    async fn run(&self, unit: &UnitName, job: Job) -> Result<(), BusError> {
        let (what, verb) = match job {
            Job::Start => ("started", "start"),
            Job::Stop => ("stopped", "stop"),
            Job::Restart => ("restarted", "restart"),
        };
        let call = format!("{verb} {unit}");
        let work = async {
            // listening first: the job may be over before its number is known
            let mut removed = self
                .manager
                .receive_job_removed()
                .await
                .map_err(|error| refused(&call, &error))?;
            let started = match job {
                Job::Start => self.manager.start_unit(unit.as_str(), "replace").await,
                Job::Stop => self.manager.stop_unit(unit.as_str(), "replace").await,
                Job::Restart => self.manager.restart_unit(unit.as_str(), "replace").await,
            };
            let path = match started {
                Ok(path) => path,
                Err(error) if matches!(job, Job::Stop) && is_unknown_unit(&error) => return Ok(()),
                Err(error) => return Err(refused(&call, &error)),
            };
            loop {
                let Some(signal) = removed.next().await else {
                    return Err(BusError::Unavailable(
                        "the connection to systemd ended".to_owned(),
                    ));
                };
                let arguments = signal.args().map_err(|error| refused(&call, &error))?;
                if *arguments.job() != path {
                    continue;
                }
                return match arguments.result().as_str() {
                    "done" => Ok(()),
                    result => Err(BusError::Job {
                        unit: unit.clone(),
                        what,
                        result: result.to_owned(),
                        state: self.describe_state(unit).await,
                    }),
                };
            }
        };
        within(JOB, &call, work).await
    }

    async fn describe_state(&self, unit: &UnitName) -> String {
        match self.state(unit).await {
            Ok(state) => format!("{}, {}", state.active, state.result),
            Err(error) => error.to_string(),
        }
    }

    /// A call that only asks or notes
    async fn call<T>(
        &self,
        call: String,
        work: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, BusError> {
        let noted = async { work.await.map_err(|error| refused(&call, &error)) };
        within(CALL, &call, noted).await
    }
}

impl Bus for DBus {
    fn unit_path(&self) -> Answer<'_, Vec<PathBuf>> {
        Box::pin(async {
            let directories = self
                .call("tell its unit path".to_owned(), self.manager.unit_path())
                .await?;
            Ok(directories.into_iter().map(PathBuf::from).collect())
        })
    }

    fn reload(&self) -> Answer<'_, ()> {
        Box::pin(async {
            // reading all unit files of a large host takes a while
            let work = async {
                self.manager
                    .reload()
                    .await
                    .map_err(|error| refused("read unit files", &error))
            };
            within(JOB, "read unit files", work).await
        })
    }

    fn enable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()> {
        Box::pin(async move {
            let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            self.call(
                format!("enable {}", join(units)),
                self.manager.enable_unit_files(&names, false, true),
            )
            .await
            .map(|_| ())
        })
    }

    fn disable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()> {
        Box::pin(async move {
            let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            self.call(
                format!("disable {}", join(units)),
                self.manager.disable_unit_files(&names, false),
            )
            .await
            .map(|_| ())
        })
    }

    fn start<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(self.run(unit, Job::Start))
    }

    fn stop<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(self.run(unit, Job::Stop))
    }

    fn restart<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(self.run(unit, Job::Restart))
    }

    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = format!("reset {unit}");
            let work = async {
                match self.manager.reset_failed_unit(unit.as_str()).await {
                    Err(error) if !is_unknown_unit(&error) => Err(refused(&call, &error)),
                    _ => Ok(()),
                }
            };
            within(CALL, &call, work).await
        })
    }

    fn state<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, UnitState> {
        Box::pin(async move {
            let work = async {
                let path = self.manager.load_unit(unit.as_str()).await?;
                let object = UnitProxy::new(&self.connection, path.clone()).await?;
                let service = ServiceProxy::new(&self.connection, path).await?;
                Ok(UnitState {
                    active: object.active_state().await?,
                    sub: object.sub_state().await?,
                    result: service.result().await?,
                })
            };
            self.call(format!("tell the state of {unit}"), work).await
        })
    }
}

fn is_unknown_unit(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == NO_SUCH_UNIT)
}

fn refused(call: &str, error: &zbus::Error) -> BusError {
    BusError::Refused {
        call: call.to_owned(),
        reason: describe(error),
    }
}

/// The sentence of the other side, without the name of the error where there is one
fn describe(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}
