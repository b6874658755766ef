//! The steps that an operation consists of. Making a list of steps changes nothing; see [`super::apply`].

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display, Formatter};
use std::path::{Path, PathBuf};

use model::name::ServiceName;

use crate::engine::{ContainerSpec, NetworkSpec};

use super::certificates::CertificatePlan;
use super::supervisor::Processes;

/// What an operation will do, in order. Its text is one line per step.
#[derive(Debug)]
pub struct Plan {
    /// The command that it carries out, e.g. `skupper init`.
    pub operation: String,
    pub steps: Vec<Step>,
}

/// One change. Its text begins with a verb, e.g. `create network skupper`.
#[derive(Debug)]
pub enum Step {
    /// Make a directory (and missing parents) that is not there yet.
    MakeDirectory {
        path: PathBuf,
        mode: u32,
    },
    /// Make certificate authorities and the certificates they issue.
    Certificates(CertificatePlan),
    /// Write a file, atomically, replacing one that is there.
    Write {
        path: PathBuf,
        content: Content,
        mode: u32,
        what: String,
    },
    /// Remove a file or a directory with all that is in it.
    Remove {
        path: PathBuf,
        what: String,
    },
    CreateNetwork(NetworkSpec),
    /// Make the image from this binary and load it.
    LoadImage {
        reference: String,
    },
    /// Create and start a container.
    CreateContainer(Box<ContainerSpec>),
    /// Stop and remove a container of the site.
    RemoveContainer {
        name: String,
        service: ServiceName,
    },
    /// Start the site controller, which starts what is not a container.
    StartController,
    /// Let the service manager have the site's processes.
    InstallUnits {
        directory: PathBuf,
        processes: Processes,
    },
    /// Start them through the service manager.
    StartUnits(Processes),
    /// Wait until the router answers.
    AwaitRouter {
        socket: PathBuf,
        id: String,
        /// Name of its container; none for a process.
        container: Option<String>,
    },
    /// Wait until the running router has loaded its new configuration.
    AwaitConfig {
        socket: PathBuf,
        entities: Entities,
    },
}

/// What a router must, and must no longer, list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entities {
    /// (entity type, name)
    pub present: BTreeSet<(&'static str, String)>,
    pub absent: BTreeSet<(&'static str, String)>,
}

/// Bytes of a file; not shown by `Debug`, they may hold a key.
#[derive(Clone, Eq, PartialEq)]
pub struct Content(pub Vec<u8>);

impl Plan {
    pub fn new(operation: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn make_directory(&mut self, path: impl Into<PathBuf>) {
        self.push(Step::MakeDirectory {
            path: path.into(),
            mode: 0o700,
        });
    }

    pub(crate) fn write(
        &mut self,
        path: impl Into<PathBuf>,
        content: impl Into<Vec<u8>>,
        what: impl Into<String>,
    ) {
        self.push(Step::Write {
            path: path.into(),
            content: Content(content.into()),
            mode: 0o600,
            what: what.into(),
        });
    }

    pub(crate) fn remove(&mut self, path: impl Into<PathBuf>, what: impl Into<String>) {
        self.push(Step::Remove {
            path: path.into(),
            what: what.into(),
        });
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path, .. } => write!(f, "create directory {}", show(path)),
            Self::Certificates(plan) => write!(f, "generate {plan}"),
            Self::Write { path, what, .. } => write!(f, "write {what} ({})", show(path)),
            Self::Remove { path, what } => write!(f, "remove {what} ({})", show(path)),
            Self::CreateNetwork(spec) => write!(f, "create network {}", spec.name),
            Self::LoadImage { reference } => write!(f, "load image {reference}"),
            Self::CreateContainer(spec) => write!(f, "start container {}", spec.name),
            Self::RemoveContainer { name, .. } => write!(f, "remove container {name}"),
            Self::StartController => f.write_str("start the site controller"),
            Self::InstallUnits {
                directory,
                processes,
            } => write!(
                f,
                "install units {} ({})",
                processes.names(),
                show(directory)
            ),
            Self::StartUnits(processes) => write!(f, "start units {}", processes.names()),
            Self::AwaitRouter { id, .. } => write!(f, "wait for router {id}"),
            Self::AwaitConfig { .. } => {
                f.write_str("wait for the router to load its configuration")
            }
        }
    }
}

impl Debug for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

fn show(path: &Path) -> impl Display + '_ {
    path.display()
}
