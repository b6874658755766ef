use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{EngineError, OWNER_LABEL};

/// Network to be made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkSpec {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// IPv6 addresses beside IPv4.
    pub ipv6: bool,
}

/// Container to be made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ContainerSpec {
    pub name: String,
    /// Reference of an image that is there already; nothing is pulled.
    pub image: String,
    /// Arguments of the image's entrypoint.
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    pub labels: BTreeMap<String, String>,
    /// Networks to join, at least one.
    pub networks: Vec<NetworkAttachment>,
    pub mounts: Vec<BindMount>,
    pub ports: Vec<PublishedPort>,
    pub restart: RestartPolicy,
    /// `uid:gid` inside the container; `None`: the image's. See [`super::Engine::container_user`].
    pub user: Option<String>,
    /// Lines of `/etc/hosts`: name, address or `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// Time between SIGTERM and SIGKILL when the *engine* stops the container (host shutdown); 10 s if `None`.
    pub stop_timeout: Option<Duration>,
}

/// Network a container joins, and the names it answers to there beside its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkAttachment {
    pub network: String,
    pub aliases: Vec<String>,
}

/// Host directory seen inside a container, with the shared SELinux label (`z`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BindMount {
    /// Existing *directory*: files are replaced by rename, which a mounted file would not follow.
    pub source: PathBuf,
    /// Absolute path inside the container.
    pub target: String,
    pub read_only: bool,
}

/// TCP port of a container published on the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishedPort {
    /// Host address to bind; `None`: all.
    pub host_ip: Option<String>,
    pub host_port: u16,
    pub container_port: u16,
}

/// What the engine does when a container's process ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RestartPolicy {
    /// Start it again unless it was stopped by request.
    #[default]
    Always,
    /// Leave it.
    No,
}

impl PublishedPort {
    /// Reads a binding as both engines describe it: key `80/tcp`, ports as text; `None` for other protocols.
    pub(crate) fn from_binding(
        key: &str,
        host_ip: Option<String>,
        host_port: Option<&str>,
    ) -> Option<Self> {
        Some(Self {
            host_ip: host_ip.filter(|ip| !ip.is_empty()),
            host_port: host_port?.parse().ok()?,
            container_port: key.strip_suffix("/tcp")?.parse().ok()?,
        })
    }
}

impl NetworkSpec {
    pub(crate) fn owned_labels(&self) -> BTreeMap<String, String> {
        owned(&self.labels)
    }
}

impl ContainerSpec {
    /// Refuses what the engines would misread: they make missing directories as root, or treat `a:b` as two paths.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let refuse = |reason: String| {
            Err(EngineError::InvalidContainer {
                name: self.name.clone(),
                reason,
            })
        };
        if self.networks.is_empty() {
            return refuse("no network to join".to_owned());
        }
        for mount in &self.mounts {
            let source = &mount.source;
            let shown = source.display();
            if source.to_str().is_none() {
                return refuse(format!("path {shown} is not valid UTF-8"));
            }
            if !source.is_absolute() || !mount.target.starts_with('/') {
                return refuse(format!(
                    "mount {shown} at {} needs absolute paths",
                    mount.target
                ));
            }
            if !source.is_dir() {
                return refuse(format!("mounted directory {shown} does not exist"));
            }
        }
        Ok(())
    }

    pub(crate) fn owned_labels(&self) -> BTreeMap<String, String> {
        owned(&self.labels)
    }
}

fn owned(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(OWNER_LABEL.0.to_owned(), OWNER_LABEL.1.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mounts: Vec<BindMount>) -> ContainerSpec {
        ContainerSpec {
            name: "c".into(),
            networks: vec![NetworkAttachment::default()],
            mounts,
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn a_missing_directory_is_refused_before_the_engine_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let mount = |source: PathBuf, target: &str| BindMount {
            source,
            target: target.into(),
            read_only: false,
        };
        assert!(
            spec(vec![mount(directory.path().into(), "/run/x")])
                .check()
                .is_ok()
        );
        for (source, target, reason) in [
            (directory.path().join("missing"), "/x", "does not exist"),
            (directory.path().into(), "x", "absolute"),
            (PathBuf::from("relative"), "/x", "absolute"),
        ] {
            let error = spec(vec![mount(source, target)]).check().unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn the_owner_label_cannot_be_overridden() {
        let network = NetworkSpec {
            labels: BTreeMap::from([("application".to_owned(), "other".to_owned())]),
            ..NetworkSpec::default()
        };
        assert_eq!(network.owned_labels()["application"], "skupper");
    }
}
