//! One router process, of this project or of another.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use model::router_config::{Listener, LogEntity, LogLevel, RouterConfig};
use router::management::client::{Client, Row};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use crate::{
    environment::{self, Family},
    rows,
    wait::eventually,
};

/// Name of the listener that the tests ask through.
const MANAGEMENT: &str = "test-management";
/// Lines of a log that are shown when a test fails.
const LOG_LINES: usize = 60;

/// A running router. It is killed, and its log shown if the test failed, when this is dropped.
#[derive(Debug)]
pub struct TestRouter {
    /// Router id.
    pub id: String,
    /// The configuration last written.
    pub config: RouterConfig,
    /// Configuration, log, socket.
    folder: tempfile::TempDir,
    program: Program,
    variables: Vec<(&'static str, String)>,
    endpoint: Endpoint,
    child: Child,
}

#[derive(Clone, Debug)]
enum Program {
    Ours,
    /// With a hard limit of open files.
    Limited(u64),
    C(PathBuf, Option<String>),
}

#[derive(Clone, Debug)]
enum Endpoint {
    Socket(PathBuf),
    Port(u16),
}

impl TestRouter {
    /// Starts this project's router and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(config: RouterConfig) -> Self {
        Self::start_with(config, Vec::new()).await
    }

    /// As [`Self::start`], with variables in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_with(config: RouterConfig, variables: Vec<(&'static str, String)>) -> Self {
        let router = Self::spawn(config, Program::Ours, variables);
        router.answers().await;
        router
    }

    /// As [`Self::start`], with no more than `files` open files.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_limited(config: RouterConfig, files: u64) -> Self {
        let router = Self::spawn(config, Program::Limited(files), Vec::new());
        router.answers().await;
        router
    }

    /// Starts a C router and waits until it answers. Its entities need names that are unique across types.
    ///
    /// # Panics
    /// When the machine has none of that family, or it cannot be started.
    pub async fn start_c(family: Family, config: RouterConfig) -> Self {
        let (program, libraries) = family.program().expect("checked with `available`");
        let router = Self::spawn(config, Program::C(program, libraries), Vec::new());
        router.answers().await;
        router
    }

    /// Starts one of ours that is not expected to come up; wait for it with [`Self::ended`].
    ///
    /// # Panics
    /// When not even the process can be made.
    pub fn start_doomed(config: RouterConfig) -> Self {
        Self::spawn(config, Program::Ours, Vec::new())
    }

    fn spawn(
        mut config: RouterConfig,
        program: Program,
        variables: Vec<(&'static str, String)>,
    ) -> Self {
        let folder = environment::scratch();
        let (endpoint, level) = match &program {
            Program::Ours | Program::Limited(_) => (
                Endpoint::Socket(folder.path().join("m.sock")),
                LogLevel::Debug,
            ),
            Program::C(..) => (Endpoint::Port(environment::free_port()), LogLevel::Info),
        };
        config.put_listener(match &endpoint {
            Endpoint::Socket(path) => Listener::on_socket(MANAGEMENT, path.clone()),
            Endpoint::Port(port) => Listener {
                host: "127.0.0.1".to_owned(),
                ..Listener::new(MANAGEMENT, *port)
            },
        });
        config.logs = vec![LogEntity::at_least("DEFAULT", level)];
        let file = folder.path().join("router.json");
        std::fs::write(&file, config.to_json()).expect("the configuration can be written");
        let child = command(&program, &variables, folder.path());
        Self {
            id: config.router.id.clone(),
            config,
            folder,
            program,
            variables,
            endpoint,
            child,
        }
    }

    async fn answers(&self) {
        eventually(&format!("{} answers", self.id), async || {
            self.rows("router").await.map(drop)
        })
        .await;
    }

    /// Kills it and starts it again with the same configuration.
    ///
    /// # Panics
    /// When it does not come up again.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.child = command(&self.program, &self.variables, self.folder.path());
        self.answers().await;
    }

    /// Changes the configuration file as writers do: a new file in place of the old one.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut RouterConfig)) {
        change(&mut self.config);
        let text = self.config.to_json();
        self.write_file(&text);
    }

    /// Puts any text in place of the configuration.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_file(&self, text: &str) {
        let new = self.folder.path().join("router.json.new");
        std::fs::write(&new, text).expect("the configuration can be written");
        std::fs::rename(&new, self.file()).expect("the configuration can be replaced");
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("router.json")
    }

    /// A connection for questions.
    ///
    /// # Errors
    /// When the router does not answer.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(match &self.endpoint {
            Endpoint::Socket(path) => Client::connect_unix(path).await?,
            Endpoint::Port(port) => Client::connect_tcp(&format!("127.0.0.1:{port}")).await?,
        })
    }

    /// Entities of a type; the error is a text for [`eventually`].
    ///
    /// # Errors
    /// When the router does not answer.
    pub async fn rows(&self, entity: &str) -> Result<Vec<Row>, String> {
        let answer = async {
            let mut client = self.client().await?;
            let rows = client.query(entity, &[]).await?;
            client.close().await;
            anyhow::Ok(rows)
        };
        answer.await.map_err(|error| format!("{error:#}"))
    }

    /// Waits until the rows of a type are as wanted.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn until(&self, what: &str, entity: &str, wanted: impl Fn(&[Row]) -> bool) {
        eventually(&format!("{}: {what}", self.id), async || {
            let rows = self.rows(entity).await?;
            if wanted(&rows) {
                Ok(())
            } else {
                Err(format!("{rows:?}"))
            }
        })
        .await;
    }

    /// Waits until it knows exactly these other routers as reachable.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn until_nodes(&self, wanted: &[&str]) {
        let mut wanted: Vec<&str> = wanted.to_vec();
        wanted.sort_unstable();
        eventually(&format!("{} knows {wanted:?}", self.id), async || {
            let nodes = self.rows("router.node").await?;
            let mut found: Vec<&str> = nodes
                .iter()
                .map(|node| rows::text(node, "id"))
                .filter(|id| *id != self.id)
                .collect();
            found.sort_unstable();
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }

    /// Waits until this router knows all of these addresses.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until_addresses(&self, wanted: &[&str]) {
        let what = format!("{wanted:?} are known");
        self.until(&what, "router.address", |found| {
            wanted.iter().all(|address| {
                found
                    .iter()
                    .any(|row| rows::text(row, "name").ends_with(address))
            })
        })
        .await;
    }

    /// Waits for a state of a connector: `SUCCESS`, `FAILED`, … and a part of its message.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn until_connector(&self, name: &str, status: &str, message: &str) {
        self.until(
            &format!("connector {name} is {status} ({message})"),
            "connector",
            |found| {
                rows::named(found, name).is_some_and(|row| {
                    rows::text(row, "connectionStatus") == status
                        && rows::text(row, "connectionMsg").contains(message)
                })
            },
        )
        .await;
    }

    /// Waits until a tcpListener of it listens (or does not).
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn until_listening(&self, name: &str, listens: bool) {
        let status = if listens { "up" } else { "down" };
        self.until(
            &format!("tcpListener {name} is {status}"),
            "tcpListener",
            |found| {
                rows::named(found, name).is_some_and(|row| rows::text(row, "operStatus") == status)
            },
        )
        .await;
    }

    /// Resident memory in octets.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn resident_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("every process has a resident size");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of KiB");
        kib * 1024
    }

    /// Number of the process.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(Pid::from_raw).expect("the process runs")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the process runs");
    }

    /// Kills it; the folder stays for [`Self::restart`].
    ///
    /// # Panics
    /// When that fails.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.context("waiting for the router"),
            Err(_) => bail!("{} still runs after {limit:?}", self.id),
        }
    }

    /// Waits until it has logged something.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until_log(&self, text: &str) {
        eventually(&format!("{} logs {text:?}", self.id), async || {
            if self.log().contains(text) {
                Ok(())
            } else {
                Err("not logged".to_owned())
            }
        })
        .await;
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read(self.folder.path().join("router.log"))
            .map(|octets| String::from_utf8_lossy(&octets).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for TestRouter {
    #[expect(
        clippy::print_stderr,
        reason = "logs belong to the failed test's output"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!(
                "--- end of the log of {} ---\n{}",
                self.id,
                shown.join("\n")
            );
        }
    }
}

fn command(program: &Program, variables: &[(&'static str, String)], folder: &Path) -> Child {
    let file = folder.join("router.json");
    let mut command = match program {
        Program::Ours => {
            let mut command = Command::new(environment::skupper());
            command.args(["router", "--config"]);
            command
        }
        Program::Limited(files) => {
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={files}"));
            command.arg(environment::skupper());
            command.args(["router", "--config"]);
            command
        }
        Program::C(path, libraries) => {
            let mut command = Command::new(path);
            if let Some(libraries) = libraries {
                command.env("LD_LIBRARY_PATH", libraries);
            }
            command.arg("-c");
            command
        }
    };
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("router.log"))
        .expect("the log can be made");
    command
        .arg(file)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor is free"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the router can be started")
}
