//! TLS clients and servers of an independent implementation: tunnels in front of plain ones.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    environment::{self, free_port},
    wait::{SOON, within},
};

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Authority to check the peer against; none: not checked.
    pub authority: Option<PathBuf>,
    /// Folder with `tls.crt` and `tls.key`.
    pub certificate: Option<PathBuf>,
    /// Name that the server's certificate must have.
    pub name: Option<&'static str>,
    /// Application protocols, separated by commas.
    pub alpn: &'static str,
    /// Further options of `python/tls.py`.
    pub flags: &'static [&'static str],
}

/// A running tunnel; it ends when this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    /// Where it listens.
    pub port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Tunnel {
    /// TLS for clients: plain connections to it become TLS connections to `port`. None without Python.
    pub async fn client(port: u16, options: &Options) -> Option<Self> {
        Self::start("client", port, options).await
    }

    /// TLS for a server: TLS connections to it become plain connections to `port`. None without Python.
    pub async fn server(port: u16, options: &Options) -> Option<Self> {
        Self::start("server", port, options).await
    }

    async fn start(side: &str, connect: u16, options: &Options) -> Option<Self> {
        let Some(python) = environment::python() else {
            environment::did_not_run("no python3 (SKUPPER_TEST_PYTHON)", false);
            return None;
        };
        let port = free_port();
        let mut command = Command::new(python);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/tls.py"))
            .args([
                side,
                "--listen",
                &port.to_string(),
                "--connect",
                &connect.to_string(),
            ])
            .args(options.flags);
        if let Some(authority) = &options.authority {
            command.arg("--ca").arg(authority);
        }
        if let Some(folder) = &options.certificate {
            command.arg("--cert").arg(folder.join("tls.crt"));
            command.arg("--key").arg(folder.join("tls.key"));
        }
        if let Some(name) = options.name {
            command.args(["--name", name]);
        }
        if !options.alpn.is_empty() {
            command.args(["--alpn", options.alpn]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let mut tunnel = Self {
            port,
            lines: BufReader::new(stdout).lines(),
            _child: child,
        };
        assert_eq!(tunnel.line().await, "ready");
        Some(tunnel)
    }

    async fn line(&mut self) -> String {
        let line = within("a line of the tunnel", SOON, self.lines.next_line()).await;
        line.expect("it can be read")
            .expect("the tunnel still runs")
    }

    /// Result of the next handshake: `alpn`, `version`, `reused`, or `error`.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn handshake(&mut self) -> Value {
        serde_json::from_str(&self.line().await).expect("lines are JSON")
    }

    /// Reason why the next handshake or connection failed.
    ///
    /// # Panics
    /// When it did not fail.
    pub async fn failure(&mut self) -> String {
        let result = self.handshake().await;
        let error = result["error"].as_str();
        error
            .unwrap_or_else(|| panic!("no failure: {result}"))
            .to_owned()
    }
}
