//! The demo, and what it leaves behind.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use cli_support::{User, eventually, init_lock, signal};
use rustix::process::Signal;

#[test]
fn the_demo_shows_a_request_across_and_cleans_up() {
    let user = User::new();
    // Demos at the same time might choose the same ports, and none would be done in time.
    let _one_at_a_time = init_lock();
    let started = Instant::now();
    let ended = user.ok("demo");
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    for text in [
        "$ skupper init -n west --platform linux\n",
        "$ skupper init -n east --platform linux\n",
        "Link link1 is connected\n",
        "$ curl http://127.0.0.1:",
        "\nHello from the east",
        "| wc -c\n1048576\n",
        "# The link of west carried ",
        "It is connected to 1 other site.",
        "Skupper is now removed from 'west'.\n",
        "Skupper is now removed from 'east'.\n",
    ] {
        assert!(
            ended.stdout.contains(text),
            "no {text:?} in {}",
            ended.stdout
        );
    }
    assert!(!user.site_dir("west").exists() && !user.site_dir("east").exists());
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}

#[test]
fn the_demo_keeps_its_hands_off_sites_that_are_there() {
    let user = User::new();
    user.init("west", "");
    let before = user.snapshot("west");
    user.run("demo").fails_with(&["\"west\"", "already"]);
    assert_eq!(user.snapshot("west"), before);
    assert!(!user.site_dir("east").exists());
}

#[test]
fn kept_sites_answer_until_the_link_is_cut() {
    let user = User::new();
    let _one_at_a_time = init_lock();
    let ended = user.ok("demo --keep");
    let url = ended
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("$ curl http://127.0.0.1:"))
        .unwrap();
    let port: u16 = url.trim_end_matches('/').parse().unwrap();
    let get = || cli_support::http_get(port, "/").unwrap_or_default();
    assert!(get().contains("Hello from the east"));
    user.ok("link delete link1 -n east");
    eventually("the end of the way", || !get().contains("Hello"));
    let token = user.token("west", "t.yaml");
    user.ok(&format!("link create {} -n east", token.display()));
    eventually("a reply over the new link", || {
        get().contains("Hello from the east")
    });
    for pid in user.processes("demo-backend") {
        signal(pid, Signal::TERM);
    }
    eventually("the end of the backend", || {
        user.processes("demo-backend").is_empty()
    });
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let user = User::new();
    let _one_at_a_time = init_lock();
    let child = user
        .command(["demo"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    eventually("the second site", || user.site_dir("east").exists());
    signal(pid, Signal::INT);
    let ended = cli_support::finish("demo", child);
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(
        !user.site_dir("west").exists() && !user.site_dir("east").exists(),
        "{ended:?}"
    );
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}
