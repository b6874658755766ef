//! The command line without a site: what is said on which stream, and how it ends.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::process::Stdio;

use cli_support::User;

#[test]
fn help_goes_to_standard_output() {
    let user = User::new();
    for line in [
        "",
        "--help",
        "help",
        "service",
        "link",
        "token",
        "status --help",
        "help init",
    ] {
        let ended = user.ok(line);
        assert!(ended.stdout.contains("Usage:\n  skupper"), "{ended:?}");
        assert_eq!(ended.stderr, "", "{line}");
    }
}

#[test]
fn mistakes_go_to_standard_error_with_usage() {
    let user = User::new();
    for (line, text) in [
        (
            "status --nope",
            "Error: unknown flag: --nope\nUsage:\n  skupper status [flags]\n",
        ),
        (
            "status x",
            "Error: unknown command \"x\" for \"skupper status\"\nUsage:\n",
        ),
        (
            "delete x",
            "Error: unknown command \"x\" for \"skupper delete\"\nUsage:\n",
        ),
        (
            "token create",
            "Error: accepts 1 arg(s), received 0\nUsage:\n",
        ),
        (
            "link create a b",
            "Error: accepts 1 arg(s), received 2\nUsage:\n",
        ),
        (
            "link status a b",
            "Error: accepts at most 1 arg(s), received 2\nUsage:\n",
        ),
        (
            "service create",
            "Error: Name and port(s) must be specified\nUsage:\n",
        ),
        (
            "expose host h --port 1",
            "Error: --address is required\nUsage:\n",
        ),
        (
            "switch vm",
            "Error: invalid argument \"vm\" for \"skupper switch\"\nUsage:\n",
        ),
        (
            "statu",
            "Error: unknown command \"statu\" for \"skupper\"\n\nDid you mean this?\n\tstatus\n\nRun 'skupper --help' for usage.\n",
        ),
    ] {
        let ended = user.run(line);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert_eq!(ended.stdout, "", "{ended:?}");
        assert!(ended.stderr.starts_with(text), "{ended:?}");
    }
}

#[test]
fn without_a_site_commands_say_so_and_end_well() {
    let user = User::new();
    let text = "Skupper is not enabled for user 'alice'\n";
    for line in [
        "status",
        "delete",
        "token create t.yaml",
        "link create t.yaml",
        "link status",
        "link delete link1",
        "service status",
        "service create a 80",
        "service delete a",
        "service bind a host h",
        "service unbind a host h",
        "expose host h --address a --port 80",
        "unexpose host h --address a",
    ] {
        let ended = user.ok(line);
        assert_eq!(ended.stdout, text, "{line}");
        assert_eq!(ended.stderr, "", "{line}");
    }
    assert_eq!(
        user.ok("status -n west").stdout,
        "Skupper is not enabled in namespace 'west'\n"
    );
    let report: serde_json::Value =
        serde_json::from_str(&user.ok("status -o json").stdout).unwrap();
    assert_eq!(report["enabled"], false);
    assert!(
        !user.path("data").join("skupper/sites").exists(),
        "looking left something behind"
    );
}

#[test]
fn version_comes_first_whatever_is_wrong() {
    let user = User::new();
    let ended = user.run("version");
    assert!(
        ended
            .stdout
            .starts_with("client version                 1.9.6\n"),
        "{ended:?}"
    );
    ended.fails_with(&["Skupper is not enabled for user 'alice'"]);
}

#[test]
fn platforms_are_remembered_and_checked() {
    let user = User::new();
    let run = |line: &str| {
        let output = user
            .command(line.split_whitespace())
            .env_remove("SKUPPER_PLATFORM")
            .output()
            .unwrap();
        cli_support::ended(line, output)
    };
    assert_eq!(run("switch podman").stdout, "");
    assert_eq!(run("switch").stdout, "podman\n");
    assert_eq!(run("switch linux").stdout, "");
    assert_eq!(run("switch -").stdout, "Switched to: podman\n");
    assert_eq!(run("switch").stdout, "podman\n");
    assert_eq!(run("switch --platform docker").stdout, "docker\n");
    run("--platform vm status").fails_with(&["invalid platform: vm"]);
    assert_eq!(run("switch kubernetes").code, 0);
    for line in ["status", "init", "delete", "service create a 80"] {
        run(line).fails_with(&[
            "not managed yet",
            "Hint: create a token on the Kubernetes site",
        ]);
    }
    // the file of an installed Skupper 1 is read and never written
    let v1 = user.path("data").join("skupper/platform.yaml");
    assert!(!v1.exists());
    fs::write(
        user.path("config").join("skupper/platform.yaml"),
        "current: {",
    )
    .unwrap();
    run("status").fails_with(&["platform.yaml"]);
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let user = User::new();
    for line in [
        "gateway status",
        "network status",
        "debug dump x",
        "revoke-access",
        "update",
        "init --enable-console",
        "init --router-cpu 5",
        "init --router-mode edge",
        "init --enable-service-sync",
        "token create t.yaml -t claim",
        "expose host h --address a --port 80 --enable-tls",
        "service create a 80 --event-channel",
    ] {
        let ended = user.run(line);
        assert!(ended.stderr.contains("\nHint: "), "{ended:?}");
        ended.fails_with(&["support"]);
    }
    assert!(!user.site_dir("default").exists());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let user = User::new();
    let mut child = user
        .command(["init", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = cli_support::finish("init --help", child);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let user = User::new();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = user.command(["--help"]).stdout(full).output().unwrap();
    let ended = cli_support::ended("--help", output);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("standard output"), "{ended:?}");
}

#[test]
fn words_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let user = User::new();
    let output = user
        .command([std::ffi::OsStr::from_bytes(b"\xff")])
        .output()
        .unwrap();
    cli_support::ended("\\xff", output).fails_with(&["not valid UTF-8"]);
}

#[test]
fn completion_is_code_for_the_shell() {
    let user = User::new();
    assert!(user.ok("completion").stdout.contains("complete -F"));
    assert!(
        user.ok("completion zsh")
            .stdout
            .starts_with("#compdef skupper")
    );
    user.run("completion tcsh")
        .fails_with(&["invalid argument \"tcsh\""]);
}
