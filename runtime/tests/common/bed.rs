use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Permissions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runtime::engine::{
    BindMount, ContainerInfo, ContainerSpec, ContainerState, Engine, NetworkAttachment,
    NetworkSpec, RestartPolicy,
};
use runtime::image::ImageArchive;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, interval};

use super::payload::{ASK, MOUNT, NAMES, RESOLVE, ROLE, SERVE};

const LABEL: &str = "skupper.io/test";
const PATIENCE: Duration = Duration::from_secs(60);

/// Beds that use the image now: the first loads it, the last removes it.
static IMAGE_USERS: Mutex<usize> = Mutex::const_new(0);

/// Names, directory and image of one test on one engine.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) engine: Arc<dyn Engine>,
    prefix: String,
    image: String,
    directory: TempDir,
}

/// Runs `test` and removes what it made, whether or not it passed.
pub(crate) async fn bed<F>(
    engine: Arc<dyn Engine>,
    name: &str,
    test: impl FnOnce(Arc<Bed>) -> F + Send,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let bed = Arc::new(Bed::make(engine, name).await);
    let outcome = tokio::spawn(test(Arc::clone(&bed))).await;
    bed.clean().await;
    if let Err(error) = outcome {
        resume_unwind(error.into_panic());
    }
}

impl Bed {
    async fn make(engine: Arc<dyn Engine>, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The engine may belong to another user than the tests.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let binary = env::current_exe().unwrap();
        let mut users = IMAGE_USERS.lock().await;
        *users += 1;
        let archive = directory.path().join("image.tar");
        let built = tokio::task::spawn_blocking(move || {
            let reference = ImageArchive::reference(&binary)?;
            ImageArchive::build(&binary, &archive).map(|built| (reference, built, archive))
        });
        let (reference, built, archive) = built.await.unwrap().unwrap();
        assert_eq!(reference, built);
        if engine.image(reference.as_str()).await.unwrap().is_none() {
            let loaded = engine.load_image(archive.clone()).await.unwrap();
            assert_eq!(loaded, reference.as_str());
        }
        fs::remove_file(archive).unwrap();
        Self {
            engine,
            // Docker puts names into host names and both into file names: keep it short.
            prefix: format!("skt{}-{}", std::process::id(), &name[..name.len().min(12)])
                .replace('_', "-"),
            image: reference.as_str().to_owned(),
            directory,
        }
    }

    /// Name that no other test uses.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.prefix.clone())])
    }

    pub(crate) fn label(&self) -> (&str, &str) {
        (LABEL, &self.prefix)
    }

    pub(crate) fn network_spec(&self, name: &str) -> NetworkSpec {
        NetworkSpec {
            name: self.name(name),
            labels: self.labels(),
            ipv6: false,
        }
    }

    /// Makes the network that [`Bed::spec`] joins.
    pub(crate) async fn network(&self) {
        let spec = self.network_spec("net");
        self.engine.create_network(&spec).await.unwrap();
    }

    /// Container of this program on the bed's network.
    pub(crate) fn spec(&self, name: &str) -> ContainerSpec {
        ContainerSpec {
            name: self.name(name),
            image: self.image.clone(),
            command: ["payload", "--exact", "--nocapture"]
                .map(str::to_owned)
                .into(),
            labels: self.labels(),
            networks: vec![NetworkAttachment {
                network: self.name("net"),
                aliases: Vec::new(),
            }],
            mounts: vec![BindMount {
                source: self.directory.path().to_owned(),
                target: MOUNT.to_owned(),
                read_only: false,
            }],
            user: self.engine.container_user(),
            ..ContainerSpec::default()
        }
    }

    /// Makes and starts a server, and waits until it serves.
    pub(crate) async fn serve(&self, mut spec: ContainerSpec) -> ContainerInfo {
        spec.env.push((ROLE.to_owned(), SERVE.to_owned()));
        self.engine.create_container(&spec).await.unwrap();
        self.engine.start_container(&spec.name).await.unwrap();
        self.until_logged(&spec.name, "serving").await;
        self.container(&spec.name).await
    }

    /// Connects from a new container to port 80 of every name.
    pub(crate) async fn asks(&self, names: &[&str], spec: ContainerSpec) {
        self.run_to_end(ASK, names, spec, "answered").await;
    }

    /// Looks every name up from a new container.
    pub(crate) async fn resolves(&self, names: &[&str], spec: ContainerSpec) {
        self.run_to_end(RESOLVE, names, spec, "resolved").await;
    }

    async fn run_to_end(&self, role: &str, names: &[&str], mut spec: ContainerSpec, word: &str) {
        spec.env.push((ROLE.to_owned(), role.to_owned()));
        spec.env.push((NAMES.to_owned(), names.join(" ")));
        spec.restart = RestartPolicy::No;
        self.engine.create_container(&spec).await.unwrap();
        self.engine.start_container(&spec.name).await.unwrap();
        let ended = self
            .until(&spec.name, |info| {
                matches!(info.state, ContainerState::Exited(_))
            })
            .await;
        let logs = self.engine.container_logs(&spec.name, 100).await.unwrap();
        assert_eq!(ended.state, ContainerState::Exited(0), "{logs}");
        for name in names {
            assert!(logs.contains(&format!("{name} {word}")), "{logs}");
        }
    }

    pub(crate) async fn container(&self, name: &str) -> ContainerInfo {
        self.engine.container(name).await.unwrap().unwrap()
    }

    /// Polls until the container is as wanted: the engines' events come from another process than their states.
    pub(crate) async fn until(
        &self,
        name: &str,
        wanted: impl Fn(&ContainerInfo) -> bool,
    ) -> ContainerInfo {
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let info = self.container(name).await;
            if wanted(&info) {
                return info;
            }
            assert!(Instant::now() < deadline, "still {info:?}");
        }
    }

    pub(crate) async fn until_logged(&self, name: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let logs = self.engine.container_logs(name, 100).await.unwrap();
            if logs.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} in {logs:?}");
        }
    }

    /// Sends a request of the Docker API, which both engines have, around the code under test; gives the status.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: &str) -> u16 {
        let socket = PathBuf::from(self.engine.endpoint().trim_start_matches("unix://"));
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let request = format!(
            "{method} /v1.41{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn clean(&self) {
        let mine = self.engine.containers(&[self.label()]).await.unwrap();
        for container in mine {
            self.engine.remove_container(&container.name).await.unwrap();
        }
        for network in ["net", "other"] {
            self.engine
                .remove_network(&self.name(network))
                .await
                .unwrap();
        }
        let mut users = IMAGE_USERS.lock().await;
        *users -= 1;
        if *users == 0 {
            self.engine.remove_image(&self.image).await.unwrap();
        }
    }
}
