//! Sites that a real systemd runs: the user's manager, its units, and what survives.
#![allow(clippy::unwrap_used)]

mod cli_support;
mod systemd_support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cli_support::{Ended, ask, backend, eventually, free_port, init_lock, signal};
use rustix::process::Signal;
use systemd_support::ManagedUser;

const UNITS: [&str; 4] = [
    "east-skupper-controller.service",
    "east-skupper-router.service",
    "west-skupper-controller.service",
    "west-skupper-router.service",
];

fn linked(user: &ManagedUser) {
    eventually("link1 is connected", || {
        user.run("skupper link status link1 -n east").stdout == "Link link1 is connected\n"
    });
}

/// Files and links of sites in the directory of the user's units
fn unit_files(user: &ManagedUser) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![user.units_dir()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains("skupper") {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Nothing of any site: neither unit files nor units in the manager
fn assert_no_units(user: &ManagedUser) {
    assert_eq!(unit_files(user), Vec::<PathBuf>::new());
    let units =
        user.ok("systemctl --user list-units --type service --all --plain --no-legend *skupper*");
    assert_eq!(units.stdout, "", "{units:?}");
}

/// A user with an engine, as the engine's own client sees it
struct Host {
    user: ManagedUser,
    client: String,
    namespace: &'static str,
}

impl Host {
    fn run(&self, words: &str) -> Ended {
        self.user.run(&format!("{} {words}", self.client))
    }

    /// Identifier of a container that runs
    fn running(&self, container: &str) -> Option<String> {
        let found = self.run(&format!(
            "inspect --type container --format {{{{.State.Running}}}}:{{{{.Id}}}} {container}"
        ));
        let id = found.stdout.trim().strip_prefix("true:")?;
        Some(id.to_owned())
    }

    fn eventually_running(&self, container: &str) {
        eventually(&format!("{container} runs"), || {
            self.running(container).is_some()
        });
    }

    /// Deletes the sites, and looks at what is left
    fn ends_clean(&self) {
        let namespace = self.namespace;
        let image = self.run(&format!(
            "inspect --type container --format {{{{.Config.Image}}}} {namespace}-skupper-router"
        ));
        let image = image.stdout.trim();
        assert!(image.starts_with("localhost/skupper:"), "{image}");
        self.user.ok(&format!("skupper delete -n {namespace}"));
        self.user.ok("skupper delete -n east");
        assert_no_units(&self.user);
        for gone in [
            format!("inspect --type container {namespace}-skupper-router"),
            format!("inspect --type container {namespace}-hello"),
            format!("network inspect skupper-{namespace}"),
            format!("image inspect {image}"),
        ] {
            let looked = self.run(&gone);
            assert_ne!(looked.code, 0, "{looked:?}");
        }
        let engine = self.run("ps");
        assert_eq!(engine.code, 0, "{engine:?}");
        assert!(!self.user.site_dir(namespace).exists());
    }
}

impl Drop for Host {
    /// What a reader of a failed test wants to know
    #[expect(
        clippy::print_stderr,
        reason = "shown by the test runner after a failure"
    )]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let site = self.namespace;
        eprintln!("{:#?}", self.run("ps --all"));
        for line in [
            "skupper link status link1 --verbose -n east".to_owned(),
            format!("skupper status --verbose -n {site}"),
            format!(
                "tail -n 30 {}",
                self.user
                    .site_dir(site)
                    .join("run/controller.log")
                    .display()
            ),
            format!("{} logs --tail 20 {site}-skupper-router", self.client),
            format!("{} logs --tail 20 {site}-hello", self.client),
            "systemctl --user list-units *podman* *skupper*".to_owned(),
        ] {
            let ended = self.user.run(&line);
            eprintln!("$ {line}\n{}{}", ended.stdout, ended.stderr);
        }
    }
}

/// Two sites, one of containers, linked; a request passes from a port of the host through both
fn serve_through(host: &Host) -> u16 {
    let (user, containers) = (&host.user, host.namespace);
    let token = user.home().join("token.yaml");
    user.ok(&format!(
        "skupper token create {} -n {containers}",
        token.display()
    ));
    user.init("east");
    user.ok(&format!("skupper link create {} -n east", token.display()));
    linked(user);
    let (target, port) = (backend("east"), free_port());
    user.ok(&format!(
        "skupper service create hello 8080 --host-port {} -n east",
        free_port()
    ));
    user.ok(&format!(
        "skupper service bind hello host 127.0.0.1 --target-port {target} -n east"
    ));
    user.ok(&format!(
        "skupper service create hello 8080 --host-port {port} -n {containers}"
    ));
    host.eventually_running(&format!("{containers}-hello"));
    answers(port);
    port
}

fn answers(port: u16) {
    eventually("a reply through the link", || {
        ask(port).is_ok_and(|reply| reply == "east:ping")
    });
}

/// The container is removed behind the site's back: the controller, whichever process it is, makes another one
fn comes_back(host: &Host, container: &str) {
    let before = host.running(container).unwrap();
    let removed = host.run(&format!("rm --force {container}"));
    assert_eq!(removed.code, 0, "{removed:?}");
    eventually(&format!("another {container}"), || {
        host.running(container).is_some_and(|now| now != before)
    });
}

#[test]
fn sites_are_run_by_systemd_and_come_back_whatever_dies() {
    let Some(mut user) = ManagedUser::new() else {
        return;
    };
    let made = user.init("west");
    // nobody lingers on a host without logind
    assert_eq!(
        made.stdout,
        "It is recommended to enable lingering for nobody, otherwise Skupper may not start on boot.\n\
         Skupper is now installed in namespace 'west'.  Use 'skupper status' to get more information.\n"
    );
    assert!(
        made.stderr.contains(
            "stops when you log out. To enable lingering: loginctl enable-linger nobody\n"
        ),
        "{made:?}"
    );
    user.init("east");
    for unit in UNITS {
        assert_eq!(user.state(unit), "active", "{unit}");
        let enabled = user.ok(&format!("systemctl --user is-enabled {unit}"));
        assert_eq!(enabled.stdout, "enabled\n", "{unit}");
    }
    let token = user.home().join("token.yaml");
    user.ok(&format!("skupper token create {} -n west", token.display()));
    user.ok(&format!("skupper link create {} -n east", token.display()));
    linked(&user);

    for lock in ["router.lock", "controller.lock"] {
        let before = user.holder("west", lock).unwrap();
        signal(before, Signal::KILL);
        eventually(&format!("another process holds {lock}"), || {
            user.holder("west", lock).is_some_and(|now| now != before)
        });
    }
    linked(&user);

    // a clean end of the router, which nobody asked systemd for, is no reason to stay down
    let before = user.holder("east", "router.lock").unwrap();
    signal(before, Signal::TERM);
    eventually("the router of east is back", || {
        user.holder("east", "router.lock")
            .is_some_and(|now| now != before)
    });
    linked(&user);

    user.crash();
    user.boot();
    linked(&user);

    // stopped by hand, a site is started by the next command that changes it
    user.ok("systemctl --user stop east-skupper-controller east-skupper-router");
    let created = user.ok(&format!(
        "skupper service create hello 8080 --host-port {} -n east",
        free_port()
    ));
    assert!(created.stderr.contains("is not running"), "{created:?}");
    assert_eq!(user.state("east-skupper-router"), "active");
    linked(&user);

    user.ok("skupper delete -n west");
    assert_eq!(unit_files(&user).len(), 4, "{:?}", unit_files(&user));
    // removed by hand, but still running
    fs::remove_file(user.units_dir().join("east-skupper-router.service")).unwrap();
    user.ok("systemctl --user daemon-reload");
    user.ok("skupper delete -n east");
    assert_no_units(&user);
    assert!(!user.site_dir("east").exists());
}

#[test]
fn an_interrupted_init_leaves_no_unit() {
    let Some(user) = ManagedUser::new() else {
        return;
    };
    let _one_at_a_time = init_lock();
    let line = format!(
        "skupper init -n west -v --platform linux --ingress-host 127.0.0.1 --bind-port {} --bind-port-edge {}",
        free_port(),
        free_port()
    );
    // killed as soon as its units are there: the next command undoes it
    let mut init = user
        .command(&line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("units are there", || !unit_files(&user).is_empty());
    init.kill().unwrap();
    init.wait().unwrap();
    // whichever was faster, nothing may be left
    user.ok("skupper delete -n west");
    assert_no_units(&user);
    assert!(!user.site_dir("west").exists());
}

#[test]
fn lingering_that_cannot_be_enabled_is_refused_before_anything_is_made() {
    let Some(user) = ManagedUser::new() else {
        return;
    };
    user.run("skupper init -n west --platform linux --ingress none --enable-linger")
        .fails_with(&[
            "lingering could not be enabled for nobody: ",
            "Hint: ask an administrator to run: loginctl enable-linger nobody, or leave --enable-linger out",
        ]);
    assert_no_units(&user);
    assert!(!user.site_dir("west").exists());
}

#[test]
fn a_router_that_cannot_start_is_rolled_back_with_the_end_of_its_log() {
    let Some(user) = ManagedUser::new() else {
        return;
    };
    let _one_at_a_time = init_lock();
    let line = format!(
        "skupper init -n west --platform linux --ingress none --bind-port {} --bind-port-edge {}",
        free_port(),
        free_port()
    );
    // as soon as the site has a directory, a file of root is where the router wants its lock
    let run = user.site_dir("west").join("run");
    let spoiler = std::thread::spawn(move || {
        let started = std::time::Instant::now();
        while !run.join("journal").exists() {
            assert!(started.elapsed() < cli_support::SOON, "no site is made");
            std::thread::yield_now();
        }
        fs::write(run.join("router.lock"), "").unwrap();
    });
    let ended = user.run(&line);
    spoiler.join().unwrap();
    ended.fails_with(&[
        "west-skupper-router.service could not be started: failed",
        "The end of its log:",
        "router.lock: Permission denied",
    ]);
    assert_no_units(&user);
}

#[test]
fn a_podman_site_of_an_ordinary_user_is_back_after_a_crash_of_the_host() {
    const UNIT: &str = "tp-skupper-controller.service";
    const CONTAINERS: [&str; 2] = ["tp-skupper-router", "tp-hello"];
    let Some(user) = ManagedUser::with_podman() else {
        return;
    };
    // not enabled: from now on it is the site's unit that wants it
    user.ok("systemctl --user start podman.socket");
    user.init_with("tp", "--platform podman");
    let client = user.podman_client();
    let mut host = Host {
        user,
        client,
        namespace: "tp",
    };
    assert_eq!(host.user.state(UNIT), "active");
    let order = host.user.ok(&format!(
        "systemctl --user show --property After --property Wants {UNIT}"
    ));
    for line in order.stdout.lines() {
        assert!(line.contains("podman.socket"), "{order:?}");
    }
    // its router is a container
    assert_eq!(
        unit_files(&host.user).len(),
        2,
        "{:?}",
        unit_files(&host.user)
    );
    let port = serve_through(&host);

    let before = host.user.holder("tp", "controller.lock").unwrap();
    signal(before, Signal::KILL);
    eventually("another controller", || {
        host.user
            .holder("tp", "controller.lock")
            .is_some_and(|now| now != before)
    });
    for container in CONTAINERS {
        comes_back(&host, container);
    }
    answers(port);

    host.user.crash();
    host.user.boot();
    eventually("the controller is ready", || {
        host.user.state(UNIT) == "active"
    });
    assert_eq!(host.user.state("podman.socket"), "active");
    for container in CONTAINERS {
        host.eventually_running(container);
    }
    answers(port);

    host.ends_clean();
}

#[test]
fn a_docker_site_of_an_ordinary_user_is_run_by_systemd() {
    const UNIT: &str = "td-skupper-controller.service";
    const CONTAINERS: [&str; 2] = ["td-skupper-router", "td-hello"];
    let Some((user, endpoint)) = ManagedUser::with_docker() else {
        return;
    };
    user.init_with(
        "td",
        &format!("--platform docker --podman-endpoint {endpoint}"),
    );
    let client = format!("docker --host {endpoint}");
    let mut host = Host {
        user,
        client,
        namespace: "td",
    };
    assert_eq!(host.user.state(UNIT), "active");
    assert_eq!(
        unit_files(&host.user).len(),
        2,
        "{:?}",
        unit_files(&host.user)
    );
    let port = serve_through(&host);

    // the user's manager dies with all it runs; docker, which is the system's, goes on
    host.user.crash();
    let removed = Command::new("docker")
        .args(["--host", &endpoint, "rm", "--force", "td-hello"])
        .output()
        .unwrap();
    assert!(removed.status.success(), "{removed:?}");
    host.user.boot();
    eventually("the controller is ready", || {
        host.user.state(UNIT) == "active"
    });
    for container in CONTAINERS {
        host.eventually_running(container);
    }
    answers(port);
    comes_back(&host, "td-skupper-router");
    answers(port);

    host.ends_clean();
}
