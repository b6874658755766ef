//! What can go wrong with a site. Each variant names the thing, the reason and, in [`SiteError::remedy`],
//! what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::name::{LinkName, Namespace, ServiceName, SiteName};
use model::platform::Platform;
use model::store::StoreError;
use thiserror::Error;

use crate::engine::EngineError;
use crate::host::PortError;
use crate::image::ImageError;
use crate::native::{EndError, Holder, LockError};

use super::access::AccessError;
use super::supervisor::SupervisorError;

/// Any cause from another crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Error)]
pub enum SiteError {
    // ---- the site as a whole
    #[error("another command is working on this site{by}, waited {waited:?}", by = held_by(.holder.as_ref()))]
    Busy {
        holder: Option<Holder>,
        waited: Duration,
    },
    #[error("there is a site already: {name}")]
    AlreadyInitialized { name: SiteName },
    #[error("there is no site in namespace {namespace}")]
    NotEnabled { namespace: Namespace },
    #[error("interrupted")]
    Cancelled,
    #[error("{what}: {source}")]
    State { what: String, source: Cause },
    #[error("{0}")]
    Invalid(String),
    #[error("{what} is not supported: {instead}")]
    Unsupported { what: String, instead: String },
    #[error("platform {platform} has no sites on this host")]
    Platform { platform: Platform },
    #[error("router id {name} is already used by {by}")]
    NameInUse { name: SiteName, by: String },

    // ---- ports, engine, network
    #[error("{port}")]
    Port {
        #[source]
        port: PortError,
        /// The option that chooses another port, e.g. `--bind-port`.
        option: &'static str,
        /// A port that is free.
        free: Option<u16>,
        /// The site of this user that has the port, if one has.
        site: Option<Namespace>,
    },
    #[error("there are not enough free ports next to {first}")]
    NoFreePort { first: u16 },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("network {network} can't be used because it does not resolve names")]
    NetworkWithoutNames { network: String },
    #[error("network {network} belongs to the site in namespace {namespace}")]
    NetworkInUse {
        network: String,
        namespace: Namespace,
    },
    #[error("network {network} has containers that do not belong to the site: {}", .attached.join(", "))]
    NetworkAttached {
        network: String,
        attached: Vec<String>,
    },
    #[error("a container named {name} already exists")]
    ContainerExists {
        name: String,
        /// Whether it carries the mark of a v1 installation.
        skupper_v1: bool,
    },

    // ---- processes and routers
    #[error("the site controller did not start: {reason}")]
    Controller { reason: String, log: Vec<String> },
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    #[error("the router did not answer within {waited:.0?}: {reason}")]
    RouterNotReady {
        waited: Duration,
        reason: String,
        log: Vec<String>,
    },
    #[error("the router refuses {reason}")]
    Refused { reason: String },
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    End(#[from] EndError),

    // ---- tokens and links
    #[error("tokens cannot be generated for sites initialized with ingress type none")]
    IngressNone,
    #[error("tokens can only be generated for the available ingress hosts: [{}]", .hosts.join(" "))]
    UnknownIngressHost { hosts: Vec<String> },
    #[error("file {path:?} exists already")]
    TokenFileExists { path: PathBuf },
    #[error("cannot write token file {}: {source}", .path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("link {name} already exists")]
    LinkExists { name: LinkName },
    #[error("no such link {:?}", .name.to_string())]
    NoSuchLink { name: LinkName },
    #[error("the token was issued by this site")]
    LinkToSelf,
    #[error("already connected to {site:?} by link {link}")]
    AlreadyLinked { site: String, link: LinkName },
    #[error("the token has no endpoint for interior links")]
    NoEndpoint,
    #[error("router id {id} is already in the network behind this link")]
    RouterIdInNetwork { id: String },

    // ---- services
    #[error("service {name} already defined")]
    ServiceExists { name: ServiceName },
    #[error("service {name} not defined")]
    NoSuchService { name: ServiceName },
    #[error("target {host} is already bound to service {service}")]
    TargetExists { service: ServiceName, host: String },
    #[error("could not find target {host} for service interface {service}")]
    NoSuchTarget { service: ServiceName, host: String },
    #[error("ingress port {port} {}", reason(.source))]
    HostPort {
        port: u16,
        #[source]
        source: PortError,
    },
    #[error("container {name} is not managed by this site")]
    ForeignContainer { name: String },

    // ---- several at once
    #[error("{failure}")]
    RolledBack {
        #[source]
        failure: Box<Self>,
        /// What could not be undone; empty when nothing is left over.
        left: Vec<String>,
    },
    #[error("{}", .0.join("; "))]
    Several(Vec<String>),
    #[error("{what}: the file system is full")]
    Full { what: String },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl SiteError {
    pub(crate) fn state(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::State {
            what: what.into(),
            source: source.into(),
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { what },
            _ => Self::Io { what, source },
        }
    }

    /// The error itself, without the report of what was undone.
    pub fn root(&self) -> &Self {
        match self {
            Self::RolledBack { failure, .. } => failure.root(),
            other => other,
        }
    }

    /// No space or quota left for a file of the site.
    fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::State { source, .. } => {
                let of_file = matches!(source.downcast_ref(), Some(StoreError::Full { .. }));
                of_file || matches!(source.downcast_ref(), Some(ImageError::Full { .. }))
            }
            _ => false,
        }
    }

    /// The directory of the sites belongs to somebody else, or nothing can be written there.
    fn is_forbidden(&self) -> bool {
        let Self::State { source, .. } = self else {
            return false;
        };
        match source.downcast_ref() {
            Some(StoreError::Io { source, path, .. }) => {
                let forbidden = matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                );
                // other files of a site are no matter of the environment
                forbidden && path.components().any(|part| part.as_os_str() == "skupper")
            }
            _ => false,
        }
    }

    /// What the user can do about it, as lines; empty when the message says it all.
    pub fn remedy(&self) -> Vec<String> {
        match self {
            Self::Busy { .. } => vec!["wait for the other command to end, then try again".to_owned()],
            error if error.is_full() => {
                vec!["free some space there, then run the command again".to_owned()]
            }
            Self::State { source, .. }
                if matches!(source.downcast_ref(), Some(StoreError::Content { .. })) =>
            {
                vec!["repair that file, or remove it and make anew what it described".to_owned()]
            }
            error if error.is_forbidden() => vec![
                "sites are kept below $XDG_DATA_HOME, else below $HOME/.local/share (root's below /var/lib): make it a directory that this user can write to".to_owned(),
            ],
            Self::NotEnabled { .. } => vec!["make a site with: skupper init".to_owned()],
            Self::AlreadyInitialized { .. } => {
                vec!["remove it with: skupper delete; or make another with: skupper init -n NAME".to_owned()]
            }
            Self::NameInUse { .. } => vec!["choose another name with --site-name".to_owned()],
            Self::Port {
                option, free, site, ..
            } => {
                let mut lines = Vec::new();
                if let Some(site) = site {
                    lines.push(format!("the site in namespace {site} uses this port"));
                }
                lines.push(free.map_or_else(
                    || format!("choose another port with {option}"),
                    |free| format!("choose another port, e.g. {option} {free}"),
                ));
                lines
            }
            Self::NetworkWithoutNames { .. } => vec![
                "choose another network with --container-network, or create it with name resolution".to_owned(),
            ],
            Self::NetworkInUse { .. } => {
                vec!["choose another network with --container-network".to_owned()]
            }
            Self::NetworkAttached { .. } => vec![
                "remove or disconnect these containers, or keep the network with: skupper delete --force".to_owned(),
            ],
            Self::ContainerExists { skupper_v1: true, .. } => vec![
                "it belongs to an installation of Skupper v1: remove that with its own command, or use -n NAME".to_owned(),
            ],
            Self::ContainerExists { .. } => {
                vec!["remove or rename that container, or use -n NAME for another site".to_owned()]
            }
            Self::Controller { log, .. } | Self::RouterNotReady { log, .. } => log.clone(),
            Self::Supervisor(error) => error.remedy.iter().chain(&error.log).cloned().collect(),
            Self::IngressNone => vec![
                "make the link from this site to the other one, or init with --ingress external".to_owned(),
            ],
            Self::TokenFileExists { .. } => vec!["replace it with --force".to_owned()],
            Self::TokenFile { path, source } => vec![token_file(path, source)],
            Self::AlreadyLinked { link, .. } => {
                vec![format!("remove the link first with: skupper link delete {link}")]
            }
            Self::RouterIdInNetwork { .. } => vec![
                "two sites of a network need different names: init one of them again with --site-name".to_owned(),
            ],
            Self::ServiceExists { name } => {
                vec![format!("add a target with: skupper service bind {name} host HOST")]
            }
            Self::NoSuchService { .. } => vec!["list them with: skupper service status".to_owned()],
            Self::NoSuchLink { .. } => vec!["list them with: skupper link status".to_owned()],
            Self::HostPort {
                source: PortError::Address { .. },
                ..
            } => vec!["choose an address of this host with --host-ip".to_owned()],
            Self::HostPort { .. } => vec!["choose another port with --host-port".to_owned()],
            Self::RolledBack { failure, left } => {
                let mut lines = failure.remedy();
                if !left.is_empty() {
                    lines.push(format!("could not be undone: {}", left.join("; ")));
                    lines.push("the next command on this site tries again".to_owned());
                }
                lines
            }
            _ => Vec::new(),
        }
    }
}

/// The first is the sentence of v1.
fn reason(error: &PortError) -> &'static str {
    match error {
        PortError::InUse { .. } => "is already in use",
        PortError::Forbidden { .. } | PortError::Address { .. } => "can't be used",
    }
}

fn token_file(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "make its directory first, or name a file elsewhere".to_owned()
        }
        io::ErrorKind::IsADirectory => {
            format!(
                "name a file in it, e.g. {}",
                path.join("token.yaml").display()
            )
        }
        _ => "name a file in a directory that this user can write to".to_owned(),
    }
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| {
        format!(": {} (process {})", holder.what, holder.pid)
    })
}
