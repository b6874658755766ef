//! The manager through its own program, which finds it without a message bus too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Answer, Bus, BusError, CALL, JOB, Surroundings, UnitState, join, within};
use crate::scope::Scope;
use crate::unit::UnitName;

/// `systemctl`, as the caller
#[derive(Clone, Debug)]
pub(super) struct Systemctl {
    program: OsString,
    scope: Scope,
    runtime_directory: PathBuf,
}

impl Systemctl {
    pub(super) fn new(surroundings: &Surroundings) -> Self {
        Self {
            program: surroundings.systemctl.clone(),
            scope: surroundings.scope,
            runtime_directory: surroundings.runtime_directory.clone(),
        }
    }

    /// Runs it; gives what it printed
    async fn run(&self, limit: Duration, words: &[&str]) -> Result<String, BusError> {
        let call = format!("systemctl {}", words.join(" "));
        let mut command = Command::new(&self.program);
        command
            .arg(self.scope.flag())
            .args(["--no-pager", "--no-ask-password"])
            .args(words)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if self.scope == Scope::User {
            command.env("XDG_RUNTIME_DIR", &self.runtime_directory);
        }
        let work = async {
            let output = command.output().await.map_err(|error| {
                BusError::Unavailable(format!("{}: {error}", self.program.display()))
            })?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            let complaint = String::from_utf8_lossy(&output.stderr);
            let reason = match complaint.trim() {
                "" => output.status.to_string(),
                text => text.lines().collect::<Vec<_>>().join("; "),
            };
            Err(BusError::Refused {
                call: call.clone(),
                reason,
            })
        };
        within(limit, &call, work).await
    }

    async fn job(&self, verb: &str, what: &'static str, unit: &UnitName) -> Result<(), BusError> {
        match self.run(JOB, &[verb, unit.as_str()]).await {
            Err(BusError::Refused { reason, .. }) => Err(BusError::Job {
                unit: unit.clone(),
                what,
                result: reason,
                state: match self.state(unit).await {
                    Ok(state) => format!("{}, {}", state.active, state.result),
                    Err(error) => error.to_string(),
                },
            }),
            other => other.map(|_| ()),
        }
    }

    async fn is_loaded(&self, unit: &UnitName) -> Result<bool, BusError> {
        let state = self
            .run(
                CALL,
                &["show", "--property=LoadState", "--value", unit.as_str()],
            )
            .await?;
        Ok(state.trim() != "not-found")
    }
}

impl Bus for Systemctl {
    fn unit_path(&self) -> Answer<'_, Vec<PathBuf>> {
        Box::pin(async {
            let text = self
                .run(CALL, &["show", "--property=UnitPath", "--value"])
                .await?;
            Ok(text.split_whitespace().map(PathBuf::from).collect())
        })
    }

    fn reload(&self) -> Answer<'_, ()> {
        Box::pin(async { self.run(JOB, &["daemon-reload"]).await.map(|_| ()) })
    }

    fn enable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut words = vec!["enable", "--quiet", "--force"];
            words.extend(units.iter().map(UnitName::as_str));
            self.run(CALL, &words).await.map(|_| ())
        })
    }

    fn disable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut known = Vec::new();
            for unit in units {
                if self.is_loaded(unit).await? {
                    known.push(unit.clone());
                }
            }
            if known.is_empty() {
                return Ok(());
            }
            tracing::debug!(units = %join(&known), "disable");
            let mut words = vec!["disable", "--quiet"];
            words.extend(known.iter().map(UnitName::as_str));
            self.run(CALL, &words).await.map(|_| ())
        })
    }

    fn start<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(self.job("start", "started", unit))
    }

    fn stop<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(async move {
            let state = self.state(unit).await?;
            if state.active == "inactive" && !self.is_loaded(unit).await? {
                return Ok(());
            }
            self.job("stop", "stopped", unit).await
        })
    }

    fn restart<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(self.job("restart", "restarted", unit))
    }

    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        Box::pin(async move {
            // a unit that did not fail may be forgotten already, which is an error to systemctl
            if self.state(unit).await?.active == "failed" {
                self.run(CALL, &["reset-failed", unit.as_str()]).await?;
            }
            Ok(())
        })
    }

    fn state<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, UnitState> {
        Box::pin(async move {
            let text = self
                .run(
                    CALL,
                    &[
                        "show",
                        "--property=ActiveState,SubState,Result",
                        unit.as_str(),
                    ],
                )
                .await?;
            Ok(parse_state(&text))
        })
    }
}

fn parse_state(text: &str) -> UnitState {
    let mut state = UnitState::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let field = match key {
            "ActiveState" => &mut state.active,
            "SubState" => &mut state.sub,
            "Result" => &mut state.result,
            _ => continue,
        };
        value.clone_into(field);
    }
    state
}

#[cfg(test)]
mod tests;
