//! Lingering: whether a user's manager, and the sites with it, runs without a login (loginctl(1), `enable-linger`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, connection};

use crate::bus::system_bus;

/// Asking a person for a password may be part of it
const LIMIT: Duration = Duration::from_secs(60);
/// For a question that logind answers at once
const CALL: Duration = Duration::from_secs(5);

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Logins {
    fn get_user(&self, uid: u32) -> zbus::Result<OwnedObjectPath>;
    fn set_user_linger(&self, uid: u32, enable: bool, interactive: bool) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.User",
    default_service = "org.freedesktop.login1",
    gen_blocking = false
)]
trait User {
    #[zbus(property(emits_changed_signal = "false"))]
    fn linger(&self) -> zbus::Result<bool>;
}

/// Lingering could not be enabled, or disabled
#[derive(Debug, Error)]
#[error("lingering could not be {what} for {user}: {reason}")]
pub struct LingerError {
    /// `enabled` or `disabled`
    pub what: &'static str,
    /// The user
    pub user: String,
    /// What each way said
    pub reason: String,
}

/// Lingering of one user
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Linger {
    user: String,
    uid: u32,
    /// Of logind's marks
    directory: PathBuf,
    /// Buses on which logind is looked for, in this order
    addresses: Vec<String>,
    /// `loginctl`, or its path
    program: OsString,
}

impl Linger {
    /// `user` is the login name
    pub fn of(user: &str, uid: u32) -> Self {
        Self {
            user: user.to_owned(),
            uid,
            directory: PathBuf::from("/var/lib/systemd/linger"),
            addresses: system_bus(),
            program: "loginctl".into(),
        }
    }

    /// With another directory of marks, no bus, and another program in the place of `loginctl`
    pub fn without_bus(
        user: &str,
        uid: u32,
        directory: &Path,
        program: impl Into<OsString>,
    ) -> Self {
        Self {
            user: user.to_owned(),
            uid,
            directory: directory.to_owned(),
            addresses: Vec::new(),
            program: program.into(),
        }
    }

    /// Whether the user's manager starts with the host and outlives logins: as logind's mark says, or logind itself
    /// where the mark is not to be seen
    pub async fn is_enabled(&self) -> bool {
        if self.directory.join(&self.user).exists() {
            return true;
        }
        match tokio::time::timeout(CALL, self.property()).await {
            Ok(Ok(lingers)) => lingers,
            // also where logind does not know the user, who then neither lingers nor is logged in
            Ok(Err(error)) => {
                tracing::debug!(%error, "logind does not tell of lingering");
                false
            }
            Err(_) => {
                tracing::debug!("logind did not answer within {CALL:?}");
                false
            }
        }
    }

    async fn property(&self) -> zbus::Result<bool> {
        let bus = self.connect().await?;
        let user = LoginsProxy::new(&bus).await?.get_user(self.uid).await?;
        UserProxy::new(&bus, user).await?.linger().await
    }

    /// What a person types to enable it; with the name, because without one the caller must be in a login session
    pub fn command(&self) -> String {
        format!("loginctl {} {}", verb(true), self.user)
    }

    /// What a person types to disable it
    pub fn undo_command(&self) -> String {
        format!("loginctl {} {}", verb(false), self.user)
    }

    /// Enables it, over the system bus, else with `loginctl`
    ///
    /// # Errors
    /// When neither is there, or the host does not allow it.
    pub async fn enable(&self) -> Result<(), LingerError> {
        self.set(true).await
    }

    /// Disables it in the same ways; logind then ends the manager of a user who is not logged in
    ///
    /// # Errors
    /// As of [`Self::enable`].
    pub async fn disable(&self) -> Result<(), LingerError> {
        self.set(false).await
    }

    async fn set(&self, enable: bool) -> Result<(), LingerError> {
        let work = async {
            let Err(first) = self.set_over_bus(enable).await else {
                return Ok(());
            };
            self.set_by_program(enable)
                .await
                .map_err(|second| format!("{first}; {second}"))
        };
        let outcome = tokio::time::timeout(LIMIT, work)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
        outcome.map_err(|reason| LingerError {
            what: if enable { "enabled" } else { "disabled" },
            user: self.user.clone(),
            reason,
        })
    }

    async fn set_over_bus(&self, enable: bool) -> Result<(), String> {
        let call = async {
            LoginsProxy::new(&self.connect().await?)
                .await?
                .set_user_linger(self.uid, enable, true)
                .await
        };
        call.await.map_err(|error: zbus::Error| match error {
            zbus::Error::MethodError(_, Some(text), _) => text,
            other => other.to_string(),
        })
    }

    async fn set_by_program(&self, enable: bool) -> Result<(), String> {
        let output = Command::new(&self.program)
            .args([verb(enable), &self.user])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("loginctl: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "loginctl: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        let mut last = None;
        for address in &self.addresses {
            match connection::Builder::address(address.as_str())?
                .build()
                .await
            {
                Ok(bus) => return Ok(bus),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| zbus::Error::Failure("there is no system bus".to_owned())))
    }
}

/// Of loginctl(1)
fn verb(enable: bool) -> &'static str {
    if enable {
        "enable-linger"
    } else {
        "disable-linger"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mark_of_logind_says_that_it_is_enabled() {
        let directory = tempfile::tempdir().unwrap();
        let linger = Linger::without_bus("alice", 1000, directory.path(), "/nonexistent/loginctl");
        assert!(!linger.is_enabled().await);
        std::fs::write(directory.path().join("bob"), "").unwrap();
        assert!(!linger.is_enabled().await);
        std::fs::write(directory.path().join("alice"), "").unwrap();
        assert!(linger.is_enabled().await);
        assert_eq!(linger.command(), "loginctl enable-linger alice");
        assert_eq!(linger.undo_command(), "loginctl disable-linger alice");
    }
}
