//! Sites that a real systemd runs: the user's manager, its units, and what survives.
#![allow(clippy::unwrap_used)]

mod cli_support;
mod systemd_support;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use cli_support::{eventually, free_port, init_lock, signal};
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

/// Files and links in the directory of the user's units
fn unit_files(user: &ManagedUser) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![user.units_dir()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
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
        "skupper init -n west -v --ingress-host 127.0.0.1 --bind-port {} --bind-port-edge {}",
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
fn a_router_that_cannot_start_is_rolled_back_with_the_end_of_its_log() {
    let Some(user) = ManagedUser::new() else {
        return;
    };
    let _one_at_a_time = init_lock();
    let line = format!(
        "skupper init -n west --ingress none --bind-port {} --bind-port-edge {}",
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
