//! Whose manager: the one of a user, or the one of the system.

use std::path::{Path, PathBuf};

/// Manager that runs a unit
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// `systemd --user` of the caller: runs while the user is logged in, or lingers
    User,
    /// Process 1; for root
    System,
}

impl Scope {
    /// Root's services are the system's
    pub fn of(uid: u32) -> Self {
        if uid == 0 { Self::System } else { Self::User }
    }

    /// Where the administrator, or the user, puts unit files (systemd.unit(5), "Unit File Load Path")
    ///
    /// `config_home` is the user's `$XDG_CONFIG_HOME`, or what stands for it.
    pub fn unit_directory(self, config_home: &Path) -> PathBuf {
        match self {
            Self::User => config_home.join("systemd/user"),
            Self::System => PathBuf::from("/etc/systemd/system"),
        }
    }

    /// Target that is reached at the end of a start
    pub fn boot_target(self) -> &'static str {
        match self {
            Self::User => "default.target",
            Self::System => "multi-user.target",
        }
    }

    /// Flag of `systemctl` and `journalctl`
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::User => "--user",
            Self::System => "--system",
        }
    }
}
