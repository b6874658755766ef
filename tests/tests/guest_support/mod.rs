//! A booted host for tests, with logind: this machine's userland once more; made by `tests/lib/guest.sh`.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::cgroup;
use rustix::process::{Pid, Signal, kill_process};

use crate::cli_support::{Ended, SOON, binary, ended, eventually, is_root, pause, signal};

/// The guest's user
pub const NAME: &str = "skupper-guest";
/// An id that no user of the machine is likely to have
const UID: u32 = 60_871;
/// From nothing to all units started, on a slow machine
const BOOT: Duration = Duration::from_secs(90);

/// A host that runs most of the time
#[derive(Debug)]
pub struct Guest {
    holder: Child,
    directory: tempfile::TempDir,
}

impl Guest {
    /// `None` where the machine can't have one; says why
    pub fn boot_one() -> Option<Self> {
        if !is_root() {
            e2e::did_not_run("a guest needs root", true);
            return None;
        }
        let found = Command::new("systemd-nspawn").arg("--version").output();
        if found.is_err() {
            e2e::did_not_run("there is no systemd-nspawn", true);
            return None;
        }
        let directory = tempfile::Builder::new()
            .prefix("sk")
            .tempdir_in("/tmp")
            .unwrap();
        let log = directory.path().join("log");
        fs::create_dir(directory.path().join("guest")).unwrap();
        let log = fs::File::create(log).unwrap();
        let holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount"])
            // the manager's end is not the guest's, that of its process namespace is
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/guest.sh"))
            .args([&directory.path().join("guest"), binary()])
            .arg(name_of(directory.path()))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut guest = Self { holder, directory };
        if let Err(reason) = guest.try_boot() {
            e2e::did_not_run(
                &format!("a guest does not boot here: {reason}: {}", guest.log_end()),
                true,
            );
            return None;
        }
        let made = guest.root(&format!(
            "useradd --create-home --uid {UID} --shell /bin/sh {NAME}"
        ));
        assert_eq!(made.code, 0, "{made:?}");
        Some(guest)
    }

    /// Starts it again
    pub fn boot(&mut self) {
        if let Err(reason) = self.try_boot() {
            panic!("{reason}: {}", self.log_end());
        }
    }

    fn try_boot(&mut self) -> Result<(), String> {
        let asked = self.holder.stdin.as_mut().unwrap().write_all(b"boot\n");
        asked.map_err(|error| error.to_string())?;
        let started = Instant::now();
        loop {
            let state = self
                .leader()
                .map(|_| self.root("systemctl is-system-running").stdout);
            if matches!(
                state.as_deref().map(str::trim),
                Some("running" | "degraded")
            ) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.holder.try_wait() {
                return Err(status.to_string());
            }
            if started.elapsed() > BOOT {
                return Err(format!("not within {BOOT:?} ({state:?})"));
            }
            pause();
        }
    }

    /// The power fails
    pub fn crash(&mut self) {
        let leader = self.leader().unwrap();
        signal(leader, Signal::KILL);
        self.wait_until_down();
    }

    /// An orderly end
    pub fn power_off(&mut self) {
        self.root("systemctl --no-block poweroff");
        self.wait_until_down();
    }

    fn wait_until_down(&self) {
        eventually("the guest is down", || self.machine().is_none());
    }

    /// A command line of words without quotes, run by root in the guest
    pub fn root(&self, line: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run_in(&words, "/root", &["USER=root"], &[])
    }

    /// The same by the guest's user, who need not be logged in
    pub fn user(&self, line: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.as_user(&words)
    }

    #[track_caller]
    pub fn ok(&self, line: &str) -> Ended {
        let ended = self.user(line);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    #[track_caller]
    pub fn root_ok(&self, line: &str) -> Ended {
        let ended = self.root(line);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    /// A line of shell, by the user
    pub fn shell(&self, script: &str) -> Ended {
        self.as_user(&["bash", "-c", script])
    }

    fn as_user(&self, words: &[&str]) -> Ended {
        let id = UID.to_string();
        self.run_in(
            words,
            &format!("/home/{NAME}"),
            &[
                &format!("USER={NAME}"),
                // as a login by pam has it
                &format!("XDG_RUNTIME_DIR=/run/user/{UID}"),
            ],
            &["setpriv", "--reuid", &id, "--regid", &id, "--init-groups"],
        )
    }

    fn run_in(&self, words: &[&str], home: &str, environment: &[&str], before: &[&str]) -> Ended {
        let leader = self.leader().unwrap_or_default().to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &leader, "--all", "--"])
            .args(before)
            .args(["env", "--ignore-environment", "--chdir", home])
            .arg(format!("HOME={home}"))
            .arg("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .args(environment)
            .args(words)
            .stdin(Stdio::null());
        ended(&words.join(" "), command.output().unwrap())
    }

    /// The manager that keeps the guest on this machine
    fn machine(&self) -> Option<i32> {
        let holder = i32::try_from(self.holder.id()).unwrap();
        let script = child_of(holder)?;
        child_of(script)
    }

    /// The guest's process 1, as this machine counts
    fn leader(&self) -> Option<i32> {
        child_of(self.machine()?)
    }

    /// Of its cgroups
    fn name(&self) -> String {
        name_of(self.directory.path())
    }

    fn log_end(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let groups = cgroup::named(&self.name());
        // its mounts end with it
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for group in groups {
            for pid in cgroup::processes(&group) {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            let started = Instant::now();
            while cgroup::remove(&group).is_err() && started.elapsed() < SOON {
                pause();
            }
        }
    }
}

fn name_of(directory: &Path) -> String {
    directory
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

/// A process, no zombie, whose parent this is
fn child_of(parent: i32) -> Option<i32> {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // the name, in parentheses, can hold anything
        let mut fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let (state, its_parent) = (fields.next(), fields.next());
        if state != Some("Z") && its_parent.and_then(|text| text.parse().ok()) == Some(parent) {
            return Some(pid);
        }
    }
    None
}
