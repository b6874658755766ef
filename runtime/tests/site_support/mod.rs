//! What the tests of the site life cycle share: a user with a home of its own, a controller that only holds its
//! lock, routers that answer from their configuration files, and an engine that can be told to fail.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod engine;
pub(crate) mod progress;
pub(crate) mod routers;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::name::Namespace;
use model::paths::{Paths, SitePaths};
use model::platform::Platform;
use runtime::engine::{Engine, EngineEnvironment};
use runtime::native::{self, HeldLock};
use runtime::site::{Context, InitRequest, Progress, control};
use tokio_util::sync::CancellationToken;

use self::engine::FakeEngine;
use self::progress::Quiet;
use self::routers::FakeRouters;

const ARGUMENTS: &str = "FAKE_CONTROLLER_ARGUMENTS";

/// A user of this host, whose home is a temporary directory.
pub(crate) struct User {
    pub(crate) root: tempfile::TempDir,
    pub(crate) paths: Paths,
    pub(crate) routers: Arc<FakeRouters>,
    pub(crate) engine: Arc<FakeEngine>,
}

impl User {
    pub(crate) fn new() -> Self {
        // a short path, so that sockets stay within the site
        let root = tempfile::Builder::new()
            .prefix("s")
            .tempdir_in("/tmp")
            .expect("a directory");
        let paths = Paths::under(root.path());
        let user = Self {
            routers: Arc::new(FakeRouters::default()),
            engine: Arc::new(FakeEngine::default()),
            root,
            paths,
        };
        user.write_holding_controller();
        fs::write(user.program(), tiny_program()).expect("writable");
        user
    }

    /// A controller that holds its lock: the test `fake_controller` beside the one that is running.
    pub(crate) fn write_holding_controller(&self) {
        let this = std::env::current_exe().expect("this program");
        let thread = std::thread::current();
        let test = thread.name().expect("tests have names");
        let module = test
            .rsplit_once("::")
            .map_or(String::new(), |(module, _)| format!("{module}::"));
        self.write_controller(&format!(
            "{ARGUMENTS}=\"$*\" exec {} --exact {module}fake_controller --nocapture",
            this.display()
        ));
    }

    /// The program that is started as controller.
    pub(crate) fn write_controller(&self, command: &str) {
        let script = format!("#!/bin/sh\n{command}\n");
        let path = self.controller();
        fs::write(&path, script).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }

    pub(crate) fn controller(&self) -> PathBuf {
        self.root.path().join("controller.sh")
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.root.path().join("program")
    }

    pub(crate) fn context(&self, namespace: &str) -> Context {
        self.context_with(
            namespace,
            Arc::new(Quiet::default()),
            &CancellationToken::new(),
        )
    }

    pub(crate) fn context_with(
        &self,
        namespace: &str,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Context {
        let engine: Arc<dyn Engine> = self.engine.clone();
        Context::new(
            self.paths.clone(),
            Namespace::parse(namespace).expect("a namespace"),
            EngineEnvironment::default(),
            self.program(),
            progress,
            cancel.clone(),
        )
        .with_engine(engine)
        .with_router_access(self.routers.clone())
        .with_controller_program(self.controller())
    }

    pub(crate) fn site(&self, namespace: &str) -> SitePaths {
        self.paths
            .site(&Namespace::parse(namespace).expect("a namespace"))
    }

    /// Every file of all sites with its content; locks, logs and what a router writes are left out.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.paths.sites_dir(), &mut found);
        found
    }

    /// Fails unless nothing of a site is left: files, processes, containers, networks, images.
    pub(crate) fn assert_nothing_left(&self, when: &str) {
        let left: Vec<PathBuf> = all_paths(&self.paths.data_home);
        assert!(left.is_empty(), "{when}: left over {left:?}");
        assert!(!self.paths.data_home.exists(), "{when}: an empty directory");
        let runtime = all_paths(&self.paths.runtime_dir);
        assert!(runtime.is_empty(), "{when}: left over {runtime:?}");
        self.engine.assert_only_foreign(when);
    }

    pub(crate) async fn init(&self, namespace: &str, platform: Platform) -> Context {
        let ctx = self.context(namespace);
        runtime::site::init(&ctx, &request(platform))
            .await
            .expect("a site");
        ctx
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // no process may outlive its test
        for site in fs::read_dir(self.paths.sites_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = site.file_name();
            let Some(Ok(namespace)) = name.to_str().map(Namespace::parse) else {
                continue;
            };
            let paths = self.paths.site(&namespace);
            for lock in [
                paths.controller_lock(),
                control::guard_lock(&paths),
                paths.router_lock(),
            ] {
                if native::is_held(&lock).unwrap_or(false)
                    && let Some(holder) = native::holder(&lock)
                    && holder.pid != std::process::id()
                    && let Some(pid) = i32::try_from(holder.pid)
                        .ok()
                        .and_then(rustix::process::Pid::from_raw)
                {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
    }
}

/// A request whose ports nobody else uses.
pub(crate) fn request(platform: Platform) -> InitRequest {
    let mut request = InitRequest::new(platform);
    request.ingress_hosts = vec!["host.example".to_owned(), "192.0.2.1".to_owned()];
    request.bind_port = Some(free_port());
    request.bind_port_edge = Some(free_port());
    request.bind_ips = vec!["127.0.0.1".parse().expect("a literal")];
    request
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

/// Body of the test that is no test: run as controller, it holds the site's lock until it is killed.
pub(crate) fn fake_controller() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let words: Vec<&str> = arguments.split(' ').collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag).expect(flag);
        OsString::from(words[at + 1])
    };
    assert_eq!(words[0], "controller");
    let paths = Paths {
        data_home: value("--data-home").into(),
        config_home: value("--config-home").into(),
        runtime_dir: value("--runtime-dir").into(),
        uid: 0,
        user: "user".to_owned(),
    };
    let namespace = value("--namespace");
    let namespace = Namespace::parse(namespace.to_str().expect("text")).expect("a namespace");
    let site = paths.site(&namespace);
    let _lock = loop {
        if let Some(lock) =
            HeldLock::try_acquire(&site.controller_lock(), "controller").expect("usable")
        {
            break lock;
        }
        std::thread::yield_now();
    };
    loop {
        std::thread::park();
    }
}

/// A static program of 120 octets, enough to be accepted for an image.
fn tiny_program() -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    elf.extend([0; 8]);
    elf.extend(2_u16.to_le_bytes());
    elf.extend(62_u16.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    elf.extend(0x40_0078_u64.to_le_bytes());
    elf.extend(64_u64.to_le_bytes());
    elf.extend(0_u64.to_le_bytes());
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    elf.extend(5_u32.to_le_bytes());
    for word in [0_u64, 0x40_0000, 0x40_0000, 120, 120, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf
}

fn collect(path: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if metadata.is_dir() {
        if path.file_name().is_some_and(|name| name == "run") {
            return;
        }
        for entry in fs::read_dir(path).expect("readable").flatten() {
            collect(&entry.path(), found);
        }
    } else {
        found.insert(path.to_owned(), fs::read(path).expect("readable"));
    }
}

fn all_paths(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            let mut all = all_paths(&path);
            all.push(path);
            all
        })
        .collect()
}
