//! The documented sessions' command lines, and the texts of every kind of mistake.

use super::*;
use crate::error::ErrorKind;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

/// The command of a line that parses
pub(crate) fn command(line: &str) -> Command {
    match parse(&words(line)) {
        Ok(Request::Run { arguments, .. }) => arguments.command.unwrap(),
        other => panic!("{line}: {other:?}"),
    }
}

fn global(line: &str) -> Global {
    match parse(&words(line)) {
        Ok(Request::Run { arguments, .. }) => arguments.global,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> CommandError {
    match parse(&words(line)) {
        Err(error) => error,
        other => panic!("{line}: {other:?}"),
    }
}

fn help(line: &str) -> String {
    match parse(&words(line)) {
        Ok(Request::Help(page)) => page,
        other => panic!("{line}: {other:?}"),
    }
}

/// Every line of the document that a host can run
#[test]
fn documented_command_lines_are_understood() {
    for line in [
        "version",
        "init",
        "status",
        "token create token.yaml",
        "link create token.yaml",
        "link create token.yaml -name link1",
        "link create token.yaml --name link1",
        "link create token.yaml --cost 2",
        "link status",
        "link status link1 --verbose",
        "link status --wait 60",
        "link status --namespace east",
        "link status link1 --verbose --namespace east",
        "link delete link1",
        "service create hello-world-backend 8080",
        "service create backend 8080",
        "service status",
        "expose host hello-world-backend --address backend --port 8080",
        "init --ingress none",
        "init --ingress-host machine.example.com",
        "init --site-name west",
        "init --router-logging trace",
        "init --namespace backend",
        "init --enable-service-sync false",
        "token create secret.yaml -t cert",
        "token create secret.yaml -token-type cert",
        "status --namespace west",
        "--platform podman status",
        "switch",
        "switch podman",
        "switch kubernetes",
        "switch -",
        "delete",
        "completion",
    ] {
        command(line);
    }
}

/// Every line of the document that is refused, by its name, with a hint
#[test]
fn what_is_documented_and_not_built_is_refused_by_name() {
    for (line, name) in [
        ("gateway expose mysql 192.168.1.200 3306", "gateway"),
        ("gateway expose mydb localhost 3306 -n x", "gateway"),
        ("gateway init --type docker", "gateway"),
        ("gateway status", "gateway"),
        ("gateway bind mydb localhost 3306", "gateway"),
        ("gateway forward mydb 3306", "gateway"),
        ("gateway generate-bundle database.yaml ./", "gateway"),
        ("network status", "network"),
        ("network status --namespace west", "network"),
        ("debug events", "debug"),
        ("debug dump my-site", "debug"),
        ("revoke-access", "revoke-access"),
        ("update", "update"),
        ("token status token.yaml", "token status"),
        ("service label backend app=web", "service label"),
        ("version manifest", "version manifest"),
        (
            "bind deployment backend --port 5001 --protocol http2 --tls-trust ca",
            "bind",
        ),
        (
            "init --enable-console --enable-flow-collector",
            "--enable-console",
        ),
        ("init --console-auth unsecured", "--console-auth"),
        ("init --console-user admin", "--console-user"),
        ("init --console-password secret", "--console-password"),
        (
            "init --bind-port-flow-collector 8010",
            "--bind-port-flow-collector",
        ),
        (
            "init --flow-collector-record-ttl 1m",
            "--flow-collector-record-ttl",
        ),
        ("init --create-network-policy", "--create-network-policy"),
        (
            "init --enable-cluster-permissions",
            "--enable-cluster-permissions",
        ),
        ("init --router-cpu 5", "--router-cpu"),
        ("init --routers 3", "--routers"),
        ("init --router-debug-mode gdb", "--router-debug-mode"),
        ("init --kubeconfig x", "--kubeconfig"),
        ("status --context x", "--context"),
        ("status -c x", "--context"),
        (
            "token create secret.yaml --expiry 30m0s --uses 2 -t claim",
            "--expiry",
        ),
        (
            "expose deployment/backend --port 8080 --target-namespace east-backend",
            "--target-namespace",
        ),
        (
            "expose deployment backend --port 443 --enable-tls",
            "--enable-tls",
        ),
        (
            "expose deployment backend --port 8080 --protocol http2 --generate-tls-secrets",
            "--generate-tls-secrets",
        ),
        (
            "expose deployment backend --port 5432 --tls-cert a --tls-trust b",
            "--tls-cert",
        ),
        ("service create backend 5432 --tls-cert a", "--tls-cert"),
        (
            "service create backend --generate-tls-secrets",
            "--generate-tls-secrets",
        ),
        ("service create backend 80 --aggregate json", "--aggregate"),
        (
            "service create backend 80 --event-channel",
            "--event-channel",
        ),
    ] {
        let error = error(line);
        assert_eq!(error.kind, ErrorKind::Refused, "{line}: {}", error.text);
        assert!(error.text.contains(name), "{line}: {}", error.text);
        assert!(!error.hints.is_empty(), "{line}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn mistakes_have_the_words_of_cobra() {
    for (line, text) in [
        ("status --nope", "unknown flag: --nope"),
        ("status --nope=1", "unknown flag: --nope"),
        ("status -x", "unknown shorthand flag: 'x' in -x"),
        ("status -vx", "unknown shorthand flag: 'x' in -vx"),
        ("--nope", "unknown flag: --nope"),
        ("init --site-name", "flag needs an argument: --site-name"),
        ("status -n", "flag needs an argument: 'n' in -n"),
        (
            "init --bind-port abc",
            "invalid argument \"abc\" for \"--bind-port\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax",
        ),
        (
            "link create t --cost 99999999999",
            "invalid argument \"99999999999\" for \"--cost\" flag: strconv.ParseInt: parsing \"99999999999\": \
             value out of range",
        ),
        (
            "expose host h --port 1,x",
            "invalid argument \"x\" for \"--port\" flag: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "init --enable-ipv6=maybe",
            "invalid argument \"maybe\" for \"--enable-ipv6\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        (
            "init --timeout 2",
            "invalid argument \"2\" for \"--timeout\" flag: time: missing unit in duration \"2\"",
        ),
        (
            "init --timeout x",
            "invalid argument \"x\" for \"--timeout\" flag: time: invalid duration \"x\"",
        ),
        (
            "service create a 80 --label x",
            "invalid argument \"x\" for \"--label\" flag: x must be formatted as key=value",
        ),
        (
            "status -o xml",
            "invalid argument \"xml\" for \"-o, --output\" flag: must be one of: json, yaml",
        ),
    ] {
        let error = error(line);
        assert_eq!(error.text, text, "{line}");
        assert_eq!(error.kind, ErrorKind::Usage, "{line}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn an_unknown_command_comes_with_suggestions() {
    let unknown = error("statu");
    assert_eq!(
        unknown.text,
        "unknown command \"statu\" for \"skupper\"\n\nDid you mean this?\n\tstatus\n"
    );
    assert_eq!(unknown.kind, ErrorKind::UnknownCommand);
    assert_eq!(
        error("zzzzzz").text,
        "unknown command \"zzzzzz\" for \"skupper\""
    );
    // flags are not looked at
    assert_eq!(error("zzzzzz --nope").kind, ErrorKind::UnknownCommand);
}

#[test]
fn bare_parents_and_unknown_words_below_them_show_the_parent() {
    assert!(help("service").contains("\n  skupper service [command]\n"));
    assert!(help("").starts_with("Join the services"));
    match parse(&words("service foo --bar")).unwrap() {
        Request::UnknownWord { page, word, parent } => {
            assert!(page.contains("skupper service [command]"));
            assert_eq!((word.as_str(), parent.as_str()), ("foo", "skupper service"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn help_is_had_in_every_way() {
    for line in [
        "status --help",
        "status -h",
        "help status",
        "--help status",
        "status x --help",
    ] {
        let page = help(line);
        assert!(page.starts_with("Report the status of the current Skupper site\n\nUsage:\n  skupper status [flags]\n"), "{page}");
        assert!(page.contains("  -h, --help"), "{page}");
    }
    let page = help("link create -h");
    assert!(
        page.contains("  skupper link create <input-token-file> [flags]\n"),
        "{page}"
    );
    assert!(page.contains("\nGlobal Flags:\n"), "{page}");
    assert!(page.contains("      --cost int32 "), "{page}");
    let page = help("init -h");
    assert!(page.contains("--timeout duration"), "{page}");
    assert!(page.contains("(default 2m0s)"), "{page}");
    let root = help("--help");
    assert!(root.contains("\nAvailable Commands:\n"), "{root}");
    assert!(
        !root.contains("demo-backend") && !root.contains("controller"),
        "{root}"
    );
}

#[test]
fn flags_stand_anywhere_and_the_last_one_counts() {
    for line in [
        "--platform podman -n west status",
        "status --platform=podman --namespace west",
        "status -nwest --platform podman",
        "--platform docker status --platform podman -n east -n west",
    ] {
        let global = global(line);
        assert_eq!(global.platform.as_deref(), Some("podman"), "{line}");
        assert_eq!(global.namespace.as_deref(), Some("west"), "{line}");
    }
    assert!(global("status -v").verbose);
    assert!(!global("status --verbose=false").verbose);
}

#[test]
fn a_flag_takes_the_next_word_whatever_it_is() {
    assert_eq!(global("status -n -x").namespace.as_deref(), Some("-x"));
}

#[test]
fn words_after_two_dashes_are_words() {
    let Command::Status(_) = command("status -- --nope") else {
        panic!()
    };
}

#[test]
fn declarations_are_sound() {
    root().debug_assert();
}

#[test]
fn durations_are_those_of_go() {
    use std::time::Duration;
    for (text, duration) in [
        ("90s", Duration::from_secs(90)),
        ("1m30s", Duration::from_secs(90)),
        ("2h", Duration::from_secs(7200)),
        ("1.5s", Duration::from_millis(1500)),
        ("100ms", Duration::from_millis(100)),
        ("0", Duration::ZERO),
    ] {
        assert_eq!(values::duration(text).unwrap(), duration, "{text}");
    }
    for text in ["", "-1s", "s", "1", "1x", ".s", "1e400h"] {
        assert!(values::duration(text).is_err(), "{text}");
    }
}

/// The differences between the documentation and this program, in one table: `(documented, here, why)`
///
/// A line of it is a promise: the left side is what the user's document shows, the right side is what is printed.
#[test]
fn differences_from_the_documentation() {
    use model::Namespace;

    use crate::wording::Wording;
    let user = Wording::new("alice", &Namespace::default());
    let west = Wording::new("alice", &Namespace::parse("west").unwrap());
    let table: &[(&str, String, &str, &str)] = &[
        (
            "Skupper is now installed for user '<username>'. Use 'skupper status' to get more information.",
            user.installed(),
            "Skupper is now installed for user 'alice'.  Use 'skupper status' to get more information.",
            "the program of that release prints two spaces; the document lost one",
        ),
        (
            "Skupper is enabled for namespace \"west\" in interior mode.",
            west.enabled("host-alice-west"),
            "Skupper is enabled for namespace \"west\" with site name \"host-alice-west\"",
            "a site name that differs from the namespace is named, as in that release",
        ),
        (
            "client version 1.4",
            format!("{:30} {}", "client version", model::COMPATIBILITY_VERSION),
            "client version                 1.9.6",
            "padded to 30 columns as the program does; the version is the one this program is compatible with",
        ),
        (
            "- child lines drawn with └─",
            crate::render::tree::Node::with("a", [crate::render::tree::Node::new("b")]).draw(),
            "a\n╰─ b\n",
            "the program prints ╰─; the document lost the glyph in conversion",
        ),
        (
            "link create <filename> [-name <link-name>]",
            format!(
                "{:?}",
                normalize::normalize(&words("link create f -name l"))
            ),
            "[\"link\", \"create\", \"f\", \"--name\", \"l\"]",
            "one dash is accepted as two",
        ),
        (
            "token create <filename> makes a claim token by default",
            error("token create f --uses 2").text,
            "--uses: it belongs to claim tokens, which are not supported yet",
            "host sites issue certificate tokens, as the hosts of that release do",
        ),
    ];
    for (documented, printed, expected, why) in table {
        assert_eq!(printed, expected, "documented as {documented:?}; {why}");
    }
}
