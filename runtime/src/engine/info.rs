use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::IpAddr;

use jiff::Timestamp;

use super::{BindMount, EngineError, OWNER_LABEL, ObjectKind, PublishedPort};

/// Version answer of an engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EngineVersion {
    /// `Podman Engine` or `Docker Engine`.
    pub component: String,
    pub version: String,
    /// Version of the engine's own API: libpod's or Docker's.
    pub api_version: String,
}

/// Existing network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworkInfo {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Whether containers resolve each other's names on it.
    pub dns_enabled: bool,
    /// Names of the containers that joined it, running or not.
    pub attached: Vec<String>,
}

/// Existing image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageInfo {
    /// 64 hex digits, without `sha256:`.
    pub id: String,
    /// Manifest digest with its algorithm, where the engine knows one.
    pub digest: Option<String>,
    /// Bytes.
    pub size: u64,
    pub labels: BTreeMap<String, String>,
}

/// State of a container, in the words both engines share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ContainerState {
    Created,
    Running,
    /// Ended with this exit code (128 + signal when killed).
    Exited(i64),
    /// Anything else, as the engine calls it: `paused`, `restarting`, `stopping`, `removing` …
    Other(String),
}

/// Existing container, inspected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerInfo {
    pub id: String,
    pub name: String,
    /// Reference it was made from.
    pub image: String,
    pub state: ContainerState,
    pub labels: BTreeMap<String, String>,
    /// How often the restart policy acted.
    pub restart_count: u64,
    /// Main process on the host; `None` unless running.
    pub pid: Option<u32>,
    pub networks: Vec<ContainerNetwork>,
    pub started_at: Option<Timestamp>,
    /// Bind mounts only.
    pub mounts: Vec<BindMount>,
    /// As asked for, whether or not they are bound now.
    pub ports: Vec<PublishedPort>,
}

/// Network of a container; addresses only while it runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerNetwork {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// Names given at creation; engines add the short identifier.
    pub aliases: Vec<String>,
}

/// Line of a container listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    pub image: String,
    pub state: ContainerState,
    pub labels: BTreeMap<String, String>,
    /// Names of its networks.
    pub networks: Vec<String>,
}

impl ContainerState {
    /// Reads either engine's state word.
    pub(crate) fn from_word(word: &str, exit_code: i64) -> Self {
        match word {
            "created" | "configured" | "initialized" => Self::Created,
            "running" => Self::Running,
            "exited" | "stopped" | "dead" => Self::Exited(exit_code),
            other => Self::Other(other.to_owned()),
        }
    }

    pub fn is_running(&self) -> bool {
        *self == Self::Running
    }
}

impl Display for ContainerState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => formatter.write_str("created"),
            Self::Running => formatter.write_str("running"),
            Self::Exited(code) => write!(formatter, "exited ({code})"),
            Self::Other(word) => formatter.write_str(word),
        }
    }
}

impl NetworkInfo {
    /// Whether it was made for a site.
    pub fn is_owned(&self) -> bool {
        is_owned(&self.labels)
    }

    /// Fails unless it, which is called `name`, may be taken away: it has to be owned, and no container on it.
    pub(crate) fn check_removable(&self, name: &str) -> Result<(), EngineError> {
        check_owned(self.is_owned(), ObjectKind::Network, name)?;
        if self.attached.is_empty() {
            return Ok(());
        }
        let reason = format!("in use by containers {}", self.attached.join(", "));
        Err(EngineError::conflict(ObjectKind::Network, name, reason))
    }
}

impl ImageInfo {
    /// Whether it was made from this product's binary.
    pub fn is_owned(&self) -> bool {
        is_owned(&self.labels)
    }

    /// Fails unless it, which is called `name`, may be taken away: it has to be owned.
    pub(crate) fn check_removable(&self, name: &str) -> Result<(), EngineError> {
        check_owned(self.is_owned(), ObjectKind::Image, name)
    }
}

impl ContainerInfo {
    /// Whether it was made for a site.
    pub fn is_owned(&self) -> bool {
        is_owned(&self.labels)
    }

    /// Fails unless it, which is called `name`, may be taken away: it has to be owned.
    pub(crate) fn check_removable(&self, name: &str) -> Result<(), EngineError> {
        check_owned(self.is_owned(), ObjectKind::Container, name)
    }
}

impl ContainerSummary {
    /// Whether it was made for a site.
    pub fn is_owned(&self) -> bool {
        is_owned(&self.labels)
    }
}

fn is_owned(labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(OWNER_LABEL.0)
        .is_some_and(|value| value == OWNER_LABEL.1)
}

fn check_owned(owned: bool, kind: ObjectKind, name: &str) -> Result<(), EngineError> {
    if owned {
        return Ok(());
    }
    let name = name.to_owned();
    Err(EngineError::Foreign { kind, name })
}
