//! Lingering: whether a user's manager, and the sites with it, runs without a login (loginctl(1), `enable-linger`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;
use zbus::connection;

/// Asking a person for a password may be part of it
const LIMIT: Duration = Duration::from_secs(60);
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Logins {
    fn set_user_linger(&self, uid: u32, enable: bool, interactive: bool) -> zbus::Result<()>;
}

/// Lingering could not be enabled
#[derive(Debug, Error)]
#[error("lingering could not be enabled for {user}: {reason}")]
pub struct LingerError {
    /// The user
    pub user: String,
    /// What each way said
    pub reason: String,
}

/// Lingering of one user
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Linger {
    directory: PathBuf,
    user: String,
    uid: u32,
}

impl Linger {
    /// `user` is the login name
    pub fn of(user: &str, uid: u32) -> Self {
        Self::in_directory(Path::new("/var/lib/systemd/linger"), user, uid)
    }

    /// For another directory of logind's marks
    pub fn in_directory(directory: &Path, user: &str, uid: u32) -> Self {
        Self {
            directory: directory.to_owned(),
            user: user.to_owned(),
            uid,
        }
    }

    /// Whether the user's manager starts with the host and outlives logins
    pub fn is_enabled(&self) -> bool {
        self.directory.join(&self.user).exists()
    }

    /// What a person types to enable it; with the name, because without one the caller must be in a login session
    pub fn command(&self) -> String {
        format!("loginctl enable-linger {}", self.user)
    }

    /// Enables it, over the system bus, else with `loginctl`
    ///
    /// # Errors
    /// When neither is there, or the host does not allow it.
    pub async fn enable(&self) -> Result<(), LingerError> {
        let work = async {
            let Err(first) = self.enable_over_bus().await else {
                return Ok(());
            };
            self.enable_by_program()
                .await
                .map_err(|second| format!("{first}; {second}"))
        };
        let outcome = tokio::time::timeout(LIMIT, work)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
        outcome.map_err(|reason| LingerError {
            user: self.user.clone(),
            reason,
        })
    }

    async fn enable_over_bus(&self) -> Result<(), String> {
        let call = async {
            let bus = connection::Builder::address(SYSTEM_BUS)?.build().await?;
            LoginsProxy::new(&bus)
                .await?
                .set_user_linger(self.uid, true, true)
                .await
        };
        call.await.map_err(|error: zbus::Error| match error {
            zbus::Error::MethodError(_, Some(text), _) => text,
            other => other.to_string(),
        })
    }

    async fn enable_by_program(&self) -> Result<(), String> {
        let output = Command::new("loginctl")
            .args(["enable-linger", &self.user])
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_logind_says_that_it_is_enabled() {
        let directory = tempfile::tempdir().unwrap();
        let linger = Linger::in_directory(directory.path(), "alice", 1000);
        assert!(!linger.is_enabled());
        std::fs::write(directory.path().join("bob"), "").unwrap();
        assert!(!linger.is_enabled());
        std::fs::write(directory.path().join("alice"), "").unwrap();
        assert!(linger.is_enabled());
        assert_eq!(linger.command(), "loginctl enable-linger alice");
    }
}
