//! The journal: whether the output of units can go there and be found again, and its last lines (journalctl(1)).

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::scope::Scope;
use crate::unit::UnitName;

/// Lines that are older belong to another time than the one that is asked about
const SINCE: &str = "-2min";
/// Of `journalctl`
const CALL: Duration = Duration::from_secs(10);
/// What a process wrote just before its end is on its way to the journal
const TRIES: u32 = 10;
const STEP: Duration = Duration::from_millis(100);

/// The journal of this host, as far as one caller can read it
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Journal {
    scope: Scope,
    uid: u32,
    /// Where the daemon takes the output of units
    socket: PathBuf,
    /// Of the host's journal files
    directory: PathBuf,
    program: OsString,
}

impl Journal {
    /// Of the units in a scope
    pub fn of(scope: Scope, uid: u32) -> Self {
        // an empty one, early in the first start of a host, leads to a directory without files
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let directory = Path::new("/var/log/journal").join(machine.trim());
        Self::in_directories(scope, uid, Path::new("/run"), &directory)
    }

    /// For another runtime directory of the system, and another one of the host's journal files
    pub fn in_directories(scope: Scope, uid: u32, run: &Path, directory: &Path) -> Self {
        Self {
            scope,
            uid,
            socket: run.join("systemd/journal/stdout"),
            directory: directory.to_owned(),
            program: "journalctl".into(),
        }
    }

    /// Whether the daemon is there, and the caller can read what units in the scope write
    ///
    /// Users have files of their own only on hosts that keep the journal on disk; elsewhere it takes a group to read them.
    pub fn is_readable(&self) -> bool {
        let own = self.directory.join(format!("user-{}.journal", self.uid));
        self.socket.exists() && (self.scope == Scope::System || File::open(own).is_ok())
    }

    /// Returns when the caller's file is there, or is not to be expected: a manager that has just been started makes it
    /// with the first thing that it says
    pub async fn await_first_entry(&self) {
        for _ in 0..TRIES {
            if self.is_readable() || !self.directory.exists() {
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// The last lines of the last two minutes that processes of the unit wrote; none if they can't be read
    pub async fn tail(&self, unit: &UnitName, lines: usize) -> Vec<String> {
        for _ in 0..TRIES {
            match tokio::time::timeout(CALL, self.read(unit, lines)).await {
                Ok(Some(found)) if found.is_empty() => tokio::time::sleep(STEP).await,
                Ok(Some(found)) => return found,
                Ok(None) | Err(_) => break,
            }
        }
        Vec::new()
    }

    async fn read(&self, unit: &UnitName, lines: usize) -> Option<Vec<String>> {
        let mut matches = vec![match self.scope {
            Scope::User => format!("_SYSTEMD_USER_UNIT={unit}"),
            Scope::System => format!("_SYSTEMD_UNIT={unit}"),
        }];
        if self.scope == Scope::User {
            matches.push(format!("_UID={}", self.uid));
        }
        let output = Command::new(&self.program)
            .arg(self.scope.flag())
            .args(["--no-pager", "--quiet", "--output=cat", "--since", SINCE])
            .arg(format!("--lines={lines}"))
            .args(matches)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await;
        let output = output
            .inspect_err(|error| tracing::debug!(%error, "no journalctl"))
            .ok()
            .filter(|output| output.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(text.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_use_it_only_where_they_can_read_their_own_file() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("log");
        let journal =
            |scope, uid| Journal::in_directories(scope, uid, root.path(), &directory).is_readable();
        assert!(!journal(Scope::System, 0));
        fs::create_dir_all(root.path().join("systemd/journal/stdout")).unwrap();
        assert!(journal(Scope::System, 0));
        assert!(!journal(Scope::User, 1000));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("user-1001.journal"), "").unwrap();
        assert!(!journal(Scope::User, 1000));
        assert!(journal(Scope::User, 1001));
    }

    #[tokio::test]
    async fn a_program_that_fails_or_is_missing_has_no_lines() {
        let mut journal = Journal::of(Scope::User, 1000);
        let unit = UnitName::service("skupper-router").unwrap();
        for program in ["false", "/nowhere/journalctl"] {
            journal.program = program.into();
            assert_eq!(journal.tail(&unit, 5).await, Vec::<String>::new());
        }
    }
}
