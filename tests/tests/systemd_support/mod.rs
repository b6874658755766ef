//! A real `systemd --user` for tests, on machines that systemd does not run too; made by `tests/lib/user-manager.sh`.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::cgroup;

use crate::cli_support::{Ended, binary, ended, eventually, free_port, init_lock, is_root};

/// A user of every Debian machine, without services of its own
const NAME: &str = "nobody";

/// A user with a home, and a manager that runs most of the time
#[derive(Debug)]
pub struct ManagedUser {
    root: tempfile::TempDir,
    name: String,
    uid: u32,
    gid: u32,
    /// One more group, by id
    group: Option<u32>,
    manager: Option<Child>,
}

impl ManagedUser {
    /// Without an engine. `None` on machines where there can be no such user; says why
    pub fn new() -> Option<Self> {
        Self::named(NAME, None)
    }

    /// With podman of their own, whose socket the manager starts. Storage and settings are in the user's home
    pub fn with_podman() -> Option<Self> {
        let name = variable("SKUPPER_TEST_PODMAN_ROOTLESS_USER")?;
        let user = Self::named(&name, None)?;
        let directory = user.home().join(".config/containers");
        user.make_directory(&directory);
        // of the machine's own settings, those that need its systemd can't be used
        let settings = match env::var_os("CONTAINERS_CONF") {
            Some(file) => fs::read(file).unwrap(),
            None => b"[containers]\nlog_driver = \"k8s-file\"\n\
                [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
                .to_vec(),
        };
        let files = [
            (
                "storage.conf",
                b"[storage]\ndriver = \"overlay\"\n".to_vec(),
            ),
            ("containers.conf", settings),
        ];
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        Some(user)
    }

    /// The client of the user's podman, as the beginning of a command line
    pub fn podman_client(&self) -> String {
        format!(
            "podman --url unix:///run/user/{}/podman/podman.sock",
            self.uid
        )
    }

    /// Who may use the docker at the endpoint
    pub fn with_docker() -> Option<(Self, String)> {
        let endpoint = variable("SKUPPER_TEST_DOCKER")?;
        let socket = endpoint.strip_prefix("unix://").unwrap();
        let group = fs::metadata(socket).unwrap().gid();
        Some((Self::named(NAME, Some(group))?, endpoint))
    }

    fn named(name: &str, group: Option<u32>) -> Option<Self> {
        if !is_root() {
            e2e::did_not_run("a systemd of another user needs root", true);
            return None;
        }
        if !["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]
            .iter()
            .any(|program| Path::new(program).exists())
        {
            e2e::did_not_run(
                "there is no systemd (tests/run.sh packages installs it)",
                false,
            );
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let entry: Vec<&str> = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == name)
            .unwrap();
        let (uid, gid) = (entry[2].parse().unwrap(), entry[3].parse().unwrap());
        let root = tempfile::Builder::new()
            .prefix("sk")
            .tempdir_in("/tmp")
            .unwrap();
        std::os::unix::fs::chown(root.path(), Some(uid), Some(gid)).unwrap();
        let mut user = Self {
            root,
            name: name.to_owned(),
            uid,
            gid,
            group,
            manager: None,
        };
        user.boot();
        Some(user)
    }

    /// A directory below the home, with those above it
    fn make_directory(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        for directory in path
            .ancestors()
            .take_while(|directory| *directory != self.root.path())
        {
            std::os::unix::fs::chown(directory, Some(self.uid), Some(self.gid)).unwrap();
        }
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    /// Starts the manager, as a host does for a user who lingers
    pub fn boot(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/user-manager.sh");
        let log = self.root.path().join("manager.log");
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(log)
            .unwrap();
        let manager = Command::new("unshare")
            .args(["--mount", "sh"])
            .arg(script)
            .args([self.uid.to_string(), self.gid.to_string()])
            .arg(&self.name)
            .arg(self.root.path())
            .args(self.group.map(|group| group.to_string()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.manager = Some(manager);
        eventually("the user's manager runs", || {
            let state = self.run("systemctl --user is-system-running");
            matches!(state.stdout.trim(), "running" | "degraded")
        });
    }

    /// The power fails: everything of the user ends at once
    pub fn crash(&mut self) {
        let Some(mut manager) = self.manager.take() else {
            return;
        };
        let groups = cgroup::named(&manager.id().to_string());
        // the manager first, which would start things again
        manager.kill().unwrap();
        manager.wait().unwrap();
        eventually("the user's processes are gone", || {
            let left: Vec<i32> = groups
                .iter()
                .flat_map(|group| cgroup::processes(group))
                .collect();
            for pid in &left {
                if let Some(pid) = rustix::process::Pid::from_raw(*pid) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            left.is_empty()
        });
        for group in groups {
            eventually("the cgroup is gone", || cgroup::remove(&group).is_ok());
        }
    }

    /// A command line of words without quotes, run as the user, where the manager is
    pub fn command(&self, line: &str) -> Command {
        let manager = self.manager.as_ref().unwrap().id();
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &manager.to_string(), "--mount", "--"])
            .args(["setpriv", "--reuid", &self.uid.to_string()])
            .args(["--regid", &self.gid.to_string()])
            .arg(match self.group {
                Some(group) => format!("--groups={group}"),
                None => "--clear-groups".to_owned(),
            })
            .args(["env", "-i", "PATH=/usr/bin:/bin"])
            .arg(format!("HOME={}", self.root.path().display()))
            .arg(format!("XDG_RUNTIME_DIR=/run/user/{}", self.uid))
            .arg(if program == "skupper" {
                binary().as_os_str()
            } else {
                program.as_ref()
            })
            .args(words)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Ended {
        ended(line, self.command(line).output().unwrap())
    }

    #[track_caller]
    pub fn ok(&self, line: &str) -> Ended {
        let ended = self.run(line);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    /// Makes a site of the platform `linux` with ports that are free
    #[track_caller]
    pub fn init(&self, namespace: &str) -> Ended {
        self.init_with(namespace, "--platform linux")
    }

    /// The same with other words
    #[track_caller]
    pub fn init_with(&self, namespace: &str, words: &str) -> Ended {
        let _one_at_a_time = init_lock();
        self.ok(&format!(
            "skupper init -n {namespace} {words} --ingress-host 127.0.0.1 --bind-port {} --bind-port-edge {}",
            free_port(),
            free_port()
        ))
    }

    pub fn site_dir(&self, namespace: &str) -> PathBuf {
        self.root
            .path()
            .join(".local/share/skupper/sites")
            .join(namespace)
    }

    pub fn units_dir(&self) -> PathBuf {
        self.root.path().join(".config/systemd/user")
    }

    /// Process id that holds a lock of the site, as the file says
    pub fn holder(&self, namespace: &str, lock: &str) -> Option<i32> {
        let file = self.site_dir(namespace).join("run").join(lock);
        let text = fs::read_to_string(file).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// What the manager calls the unit: `active`, `failed`, …
    pub fn state(&self, unit: &str) -> String {
        self.run(&format!("systemctl --user is-active {unit}"))
            .stdout
            .trim()
            .to_owned()
    }
}

impl Drop for ManagedUser {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A variable by which `tests/run.sh` names what an engine needs
fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|text| !text.is_empty());
    if value.is_none() {
        e2e::did_not_run(&format!("{name} is not set (tests/run.sh sets it)"), false);
    }
    value
}
