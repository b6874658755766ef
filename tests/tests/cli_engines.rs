//! The demo on real engines: podman of root, podman of a user, docker. `tests/run.sh` starts them and names them in the
//! environment; where it names none, a test says so.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::time::{Duration, Instant};

use cli_support::{User, ended, init_lock};

/// Runs the demo on an engine and checks that everything of it is gone
fn demo(user: &User, platform: &str, variable: &str, endpoint: &str) {
    // Root has one directory for all its sites, whichever engine they are on.
    let _one_at_a_time = init_lock();
    let line = format!("demo --platform {platform}");
    let started = Instant::now();
    let output = user
        .command(line.split_whitespace())
        .env_remove("SKUPPER_PLATFORM")
        .env(variable, endpoint)
        .output()
        .unwrap();
    let ended = ended(&line, output);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    for text in [
        &format!("$ {platform} run -d --network skupper-east"),
        "Link link1 is connected\n",
        "\nHello from the east",
        "# The link of west carried ",
        "# The link of east carried ",
        "Skupper is now removed from 'west'.\n",
        "Skupper is now removed from 'east'.\n",
    ] {
        assert!(ended.stdout.contains(text), "no {text:?} in {ended:?}");
    }
}

fn endpoint(variable: &str) -> Option<String> {
    let endpoint = std::env::var(variable).ok().filter(|text| !text.is_empty());
    if endpoint.is_none() {
        e2e::did_not_run(
            &format!("{variable} names no engine (tests/run.sh starts one)"),
            false,
        );
    }
    endpoint
}

#[test]
fn podman_of_root() {
    if let Some(endpoint) = endpoint("SKUPPER_TEST_PODMAN") {
        demo(&User::caller(), "podman", "CONTAINER_HOST", &endpoint);
    }
}

#[test]
fn podman_of_a_user() {
    if let Some(endpoint) = endpoint("SKUPPER_TEST_PODMAN_ROOTLESS") {
        let user = match std::env::var("SKUPPER_TEST_PODMAN_ROOTLESS_USER") {
            Ok(name) if !name.is_empty() => User::named(&name),
            _ => User::caller(),
        };
        demo(&user, "podman", "CONTAINER_HOST", &endpoint);
    }
}

#[test]
fn docker() {
    if let Some(endpoint) = endpoint("SKUPPER_TEST_DOCKER") {
        demo(&User::caller(), "docker", "DOCKER_HOST", &endpoint);
    }
}
