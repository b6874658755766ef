//! An engine in memory that can be told to fail at any call.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::platform::Platform;
use runtime::engine::{
    ContainerInfo, ContainerNetwork, ContainerSpec, ContainerState, ContainerSummary, Engine,
    EngineError, EngineFuture, EngineVersion, ImageInfo, NetworkInfo, NetworkSpec, OWNER_LABEL,
    ObjectKind,
};

/// Podman without podman.
#[derive(Debug, Default)]
pub(crate) struct FakeEngine {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) containers: BTreeMap<String, (ContainerSpec, ContainerState)>,
    pub(crate) networks: BTreeMap<String, NetworkSpec>,
    pub(crate) without_names: BTreeSet<String>,
    pub(crate) images: BTreeSet<String>,
    /// Calls that change something so far.
    pub(crate) changes: Vec<String>,
    /// Indices into [`Self::changes`] of the calls that fail.
    pub(crate) fail_at: BTreeSet<usize>,
    pub(crate) unavailable: bool,
}

impl FakeEngine {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container that belongs to nobody's site.
    pub(crate) fn add_foreign(&self, name: &str, network: &str, labels: &[(&str, &str)]) {
        let spec = ContainerSpec {
            name: name.to_owned(),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            networks: vec![runtime::engine::NetworkAttachment {
                network: network.to_owned(),
                aliases: Vec::new(),
            }],
            ..ContainerSpec::default()
        };
        self.state()
            .containers
            .insert(name.to_owned(), (spec, ContainerState::Running));
    }

    pub(crate) fn assert_only_foreign(&self, when: &str) {
        let state = self.state();
        let ours: Vec<&String> = state
            .containers
            .iter()
            .filter(|(_, (spec, _))| spec.labels.contains_key("skupper.io/site-id"))
            .map(|(name, _)| name)
            .collect();
        assert!(ours.is_empty(), "{when}: containers {ours:?}");
        let networks: Vec<&String> = state
            .networks
            .iter()
            .filter(|(_, spec)| spec.labels.contains_key("skupper.io/site-id"))
            .map(|(name, _)| name)
            .collect();
        assert!(networks.is_empty(), "{when}: networks {networks:?}");
        assert!(state.images.is_empty(), "{when}: images {:?}", state.images);
    }

    fn change(&self, what: String) -> Result<MutexGuard<'_, State>, EngineError> {
        let mut state = self.asked()?;
        let index = state.changes.len();
        state.changes.push(what.clone());
        if state.fail_at.contains(&index) {
            return Err(EngineError::Api {
                call: what,
                status: 500,
                message: "told to fail".to_owned(),
            });
        }
        Ok(state)
    }

    fn asked(&self) -> Result<MutexGuard<'_, State>, EngineError> {
        let state = self.state();
        if state.unavailable {
            return Err(EngineError::Unavailable {
                platform: Platform::Podman,
                endpoint: "unix:///fake.sock".to_owned(),
                root: false,
                source: io::Error::from(io::ErrorKind::NotFound),
            });
        }
        Ok(state)
    }
}

impl State {
    fn is_ours(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(OWNER_LABEL.0).map(String::as_str) == Some(OWNER_LABEL.1)
    }

    fn attached(&self, network: &str) -> Vec<String> {
        self.containers
            .iter()
            .filter(|(_, (spec, _))| spec.networks.iter().any(|joined| joined.network == network))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Engine for FakeEngine {
    fn platform(&self) -> Platform {
        Platform::Podman
    }

    fn endpoint(&self) -> &str {
        "unix:///fake.sock"
    }

    fn rootless(&self) -> bool {
        true
    }

    fn container_user(&self) -> Option<String> {
        None
    }

    fn version(&self) -> EngineFuture<'_, EngineVersion> {
        Box::pin(async move {
            drop(self.asked()?);
            Ok(EngineVersion {
                component: "Podman Engine".to_owned(),
                version: "5.0.0".to_owned(),
                api_version: "5.0.0".to_owned(),
            })
        })
    }

    fn network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<NetworkInfo>> {
        Box::pin(async move {
            let state = self.asked()?;
            Ok(state.networks.get(name).map(|spec| NetworkInfo {
                name: name.to_owned(),
                labels: spec.labels.clone(),
                dns_enabled: !state.without_names.contains(name),
                attached: state.attached(name),
            }))
        })
    }

    fn create_network<'a>(&'a self, spec: &'a NetworkSpec) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.change(format!("create network {}", spec.name))?;
            let mut spec = spec.clone();
            spec.labels
                .insert(OWNER_LABEL.0.to_owned(), OWNER_LABEL.1.to_owned());
            state.networks.insert(spec.name.clone(), spec);
            Ok(())
        })
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.change(format!("remove network {name}"))?;
            let attached = state.attached(name);
            if !attached.is_empty() {
                return Err(EngineError::Conflict {
                    kind: ObjectKind::Network,
                    name: name.to_owned(),
                    reason: attached.join(", "),
                });
            }
            state.networks.remove(name);
            Ok(())
        })
    }

    fn load_image(&self, archive: PathBuf) -> EngineFuture<'_, String> {
        Box::pin(async move {
            let mut state = self.change("load image".to_owned())?;
            let archive = std::fs::read(archive).expect("an archive");
            let text = String::from_utf8_lossy(&archive);
            let at = text.find("localhost/skupper:").expect("a tag");
            let reference: String = text[at..].chars().take_while(|c| *c != '"').collect();
            state.images.insert(reference.clone());
            Ok(reference)
        })
    }

    fn image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, Option<ImageInfo>> {
        Box::pin(async move {
            let state = self.asked()?;
            Ok(state.images.contains(reference).then(|| ImageInfo {
                id: "0".repeat(64),
                digest: None,
                size: 1,
                labels: BTreeMap::new(),
            }))
        })
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.change("remove image".to_owned())?;
            let used = state
                .containers
                .values()
                .any(|(spec, _)| spec.image == reference);
            if used {
                return Err(EngineError::Conflict {
                    kind: ObjectKind::Image,
                    name: reference.to_owned(),
                    reason: "in use".to_owned(),
                });
            }
            state.images.remove(reference);
            Ok(())
        })
    }

    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> EngineFuture<'a, String> {
        Box::pin(async move {
            let mut state = self.change(format!("create container {}", spec.name))?;
            assert!(state.images.contains(&spec.image), "image {}", spec.image);
            for mount in &spec.mounts {
                assert!(
                    mount.source.is_dir(),
                    "{} is no directory",
                    mount.source.display()
                );
            }
            for joined in &spec.networks {
                assert!(state.networks.contains_key(&joined.network));
            }
            if state.containers.contains_key(&spec.name) {
                return Err(EngineError::Conflict {
                    kind: ObjectKind::Container,
                    name: spec.name.clone(),
                    reason: "the name is in use".to_owned(),
                });
            }
            let mut spec = spec.clone();
            spec.labels
                .insert(OWNER_LABEL.0.to_owned(), OWNER_LABEL.1.to_owned());
            state
                .containers
                .insert(spec.name.clone(), (spec.clone(), ContainerState::Created));
            Ok("id".to_owned())
        })
    }

    fn start_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.change(format!("start container {name}"))?;
            match state.containers.get_mut(name) {
                Some((_, container)) => *container = ContainerState::Running,
                None => {
                    return Err(EngineError::NotFound {
                        kind: ObjectKind::Container,
                        name: name.to_owned(),
                    });
                }
            }
            Ok(())
        })
    }

    fn stop_container<'a>(&'a self, name: &'a str, _: Duration) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.change(format!("stop container {name}"))?;
            if let Some((_, container)) = state.containers.get_mut(name) {
                *container = ContainerState::Exited(0);
            }
            Ok(())
        })
    }

    fn restart_container<'a>(&'a self, name: &'a str, _: Duration) -> EngineFuture<'a, ()> {
        self.start_container(name)
    }

    fn remove_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.change(format!("remove container {name}"))?;
            let foreign = state
                .containers
                .get(name)
                .is_some_and(|(spec, _)| !state.is_ours(&spec.labels));
            if foreign {
                return Err(EngineError::Foreign {
                    kind: ObjectKind::Container,
                    name: name.to_owned(),
                });
            }
            state.containers.remove(name);
            Ok(())
        })
    }

    fn container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<ContainerInfo>> {
        Box::pin(async move {
            let state = self.asked()?;
            Ok(state
                .containers
                .get(name)
                .map(|(spec, container)| ContainerInfo {
                    id: "id".to_owned(),
                    name: name.to_owned(),
                    image: spec.image.clone(),
                    state: container.clone(),
                    labels: spec.labels.clone(),
                    restart_count: 0,
                    pid: None,
                    networks: spec
                        .networks
                        .iter()
                        .map(|joined| ContainerNetwork {
                            name: joined.network.clone(),
                            addresses: Vec::new(),
                            aliases: joined.aliases.clone(),
                        })
                        .collect(),
                    started_at: None,
                    mounts: spec.mounts.clone(),
                    ports: spec.ports.clone(),
                }))
        })
    }

    fn containers<'a>(
        &'a self,
        labels: &'a [(&'a str, &'a str)],
    ) -> EngineFuture<'a, Vec<ContainerSummary>> {
        Box::pin(async move {
            let state = self.asked()?;
            Ok(state
                .containers
                .iter()
                .filter(|(_, (spec, _))| {
                    labels.iter().all(|(key, value)| {
                        spec.labels.get(*key).map(String::as_str) == Some(*value)
                    })
                })
                .map(|(name, (spec, container))| ContainerSummary {
                    id: "id".to_owned(),
                    name: name.clone(),
                    image: spec.image.clone(),
                    state: container.clone(),
                    labels: spec.labels.clone(),
                    networks: spec
                        .networks
                        .iter()
                        .map(|joined| joined.network.clone())
                        .collect(),
                })
                .collect())
        })
    }

    fn container_logs<'a>(&'a self, name: &'a str, _: usize) -> EngineFuture<'a, String> {
        Box::pin(async move { Ok(format!("log of {name}")) })
    }
}
