use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use model::Platform;

/// What went wrong between us and a container engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens, or we may not talk to who does.
    #[error("{platform} endpoint \"{endpoint}\" is not available: {source}")]
    Unavailable {
        platform: Platform,
        endpoint: String,
        /// Whether the caller is root, for the hints.
        root: bool,
        source: io::Error,
    },
    #[error("invalid {platform} endpoint \"{endpoint}\": {reason}")]
    InvalidEndpoint {
        platform: Platform,
        endpoint: String,
        reason: String,
    },
    #[error("{platform} version must be {minimum} or greater, found: {found}")]
    TooOld {
        platform: Platform,
        minimum: &'static str,
        found: String,
    },
    #[error("platform {platform} has no container engine")]
    NoEngine { platform: Platform },
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: ObjectKind, name: String },
    /// The name is taken, or the object is in use.
    #[error("{kind} \"{name}\": {reason}")]
    Conflict {
        kind: ObjectKind,
        name: String,
        reason: String,
    },
    /// Refused by us: the object lacks [`super::OWNER_LABEL`].
    #[error("{kind} \"{name}\" was not made by skupper and is left alone")]
    Foreign { kind: ObjectKind, name: String },
    #[error("container \"{name}\" cannot be made: {reason}")]
    InvalidContainer { name: String, reason: String },
    #[error("port {port} is already in use on this host: {message}")]
    PortInUse { port: u16, message: String },
    /// A privileged port, or an address this host may not bind.
    #[error("port {port} may not be published by this user: {message}")]
    PortNotPermitted { port: u16, message: String },
    /// Any other refusal; `status` 200 when the error came inside a successful answer.
    #[error("{call}: {message} (status {status})")]
    Api {
        call: String,
        status: u16,
        message: String,
    },
    #[error("{call}: no answer within {} s", limit.as_secs())]
    Timeout { call: String, limit: Duration },
    /// An answer that is not what the API documents.
    #[error("{call}: unreadable answer: {reason}")]
    UnreadableAnswer { call: String, reason: String },
    #[error("{call}: {source}")]
    Io { call: String, source: io::Error },
}

/// What an engine keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObjectKind {
    Container,
    Image,
    Network,
}

impl EngineError {
    /// Something is in the way of `name`.
    pub(crate) fn conflict(kind: ObjectKind, name: &str, reason: String) -> Self {
        Self::Conflict {
            kind,
            name: name.to_owned(),
            reason,
        }
    }

    /// What the user can do about it, one line each; commands stand alone in a line.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unavailable {
                platform,
                endpoint,
                root,
                source,
            } => unavailable(*platform, endpoint, *root, source),
            Self::TooOld { platform, .. } => {
                vec![format!("Please update your {platform} installation.")]
            }
            Self::PortInUse { port, .. } => vec![
                "Choose another port, or find out who uses it:".to_owned(),
                format!("ss -ltnp 'sport = :{port}'"),
            ],
            Self::PortNotPermitted { .. } => {
                vec![
                    "Choose a port from 1024 up, or lower the first port users may bind:"
                        .to_owned(),
                    "sysctl net.ipv4.ip_unprivileged_port_start=<port>".to_owned(),
                ]
            }
            _ => Vec::new(),
        }
    }
}

impl Display for ObjectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
        })
    }
}

fn unavailable(platform: Platform, endpoint: &str, root: bool, source: &io::Error) -> Vec<String> {
    let denied = source.kind() == io::ErrorKind::PermissionDenied;
    let lines: &[&str] = match (platform, root) {
        (Platform::Docker, false) if denied => &[
            "Your user may not talk to docker. Add it to the group of the socket, then log in again:",
            "sudo usermod -aG docker $USER",
        ],
        (Platform::Docker, _) => &[
            "Make sure docker is running. On most systems you can execute:",
            "sudo systemctl start docker",
        ],
        (_, true) => &[
            "Make sure you have an active podman endpoint available.",
            "On most systems you can execute:",
            "systemctl enable --now podman.socket",
        ],
        (_, false) => &[
            "Make sure you have an active podman endpoint available.",
            "On most systems you can execute:",
            "systemctl --user enable --now podman.socket",
        ],
    };
    let mut lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
    if platform != Platform::Docker {
        lines.push("Alternatively you could also create your own service that runs:".to_owned());
        lines.push(format!("podman system service --time=0 {endpoint}"));
    }
    lines
}
