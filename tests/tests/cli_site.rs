//! Sites on the platform `linux`, through the command line: the whole way of a request, bad input, and trouble.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use cli_support::{User, ask, backend, eventually, free_port, init_lock, is_root, signal};
use pki::{Authority, KeyKind, LeafRequest, LinkToken, Token};
use rustix::process::Signal;

/// A token of another site that accepts nobody: its link stays down
fn foreign_token(validity: Duration) -> LinkToken {
    let authority = Authority::generate("skupper-site-ca", KeyKind::P256).unwrap();
    let mut request = LeafRequest::new("skupper", vec!["127.0.0.1".to_owned()], KeyKind::Rsa2048);
    request.validity = validity;
    let certificate = authority.issue(&request).unwrap();
    let at = |port| model::HostPort::new("127.0.0.1", port).unwrap();
    LinkToken::issued(
        "skupper",
        "9c88f6dc-ae0e-4dad-956b-def9737b095f",
        at(free_port()),
        at(free_port()),
        &certificate,
    )
}

#[test]
fn a_request_crosses_a_link_and_not_without_one() {
    let user = User::new();
    user.init("west", "");
    user.init("east", "--ingress none");
    let token = user.token("west", "west.yaml");
    let linked = user.ok(&format!("link create {} -n east", token.display()));
    assert!(
        linked
            .stdout
            .contains("(name=link1)\nCheck the status of the link"),
        "{linked:?}"
    );
    let status = user.ok("link status link1 --wait 20 -n east");
    assert_eq!(status.stdout, "Link link1 is connected\n", "{status:?}");

    let target = backend("east");
    let port = free_port();
    let exposed = user.ok(&format!(
        "expose host 127.0.0.1 --address hello --port 8080 --target-port {target} -n east"
    ));
    assert_eq!((exposed.stdout.as_str(), exposed.stderr.as_str()), ("", ""));
    let created = user.ok(&format!(
        "service create hello 8080 --host-port {port} -n west"
    ));
    assert_eq!((created.stdout.as_str(), created.stderr.as_str()), ("", ""));
    eventually("a reply", || {
        ask(port).is_ok_and(|reply| reply == "east:ping")
    });

    let east = user.ok("status -n east").stdout;
    assert!(
        east.starts_with("Skupper is enabled for namespace \"east\" with site name \""),
        "{east}"
    );
    assert!(
        east.ends_with(
            "in interior mode. It is connected to 1 other site. It has 1 exposed service.\n"
        ),
        "{east}"
    );
    let services = user.ok("service status -n west").stdout;
    assert_eq!(
        services,
        format!(
            "Services exposed through Skupper:\n╰─ hello (tcp port 8080)\n   ╰─ Host ports:\n      ╰─ ip: 127.0.0.1 - ports: {port} -> 8080\n"
        )
    );
    let incoming = user.ok("link status --show-incoming-links -n west").stdout;
    assert!(
        incoming.contains("\t There are no links configured or connected\n"),
        "{incoming}"
    );
    assert!(
        incoming.contains("\t A link from ") && incoming.contains(" is connected to this site\n"),
        "{incoming}"
    );
    let details = user.ok("link status link1 --verbose -n east").stdout;
    assert!(details.starts_with("\n Cost:\t\t1\t"), "{details:?}");
    assert!(details.contains("\n Status:\tConnected\t"), "{details:?}");

    user.ok("link delete link1 -n east");
    eventually("the end of the way", || {
        ask(port).map_or(true, |reply| reply.is_empty())
    });
    user.ok(&format!(
        "link create {} -n east --name again",
        token.display()
    ));
    eventually("a reply over the new link", || {
        ask(port).is_ok_and(|reply| reply == "east:ping")
    });

    assert_eq!(
        user.ok("delete -n east").stdout,
        "Skupper is now removed from 'east'.\n"
    );
    assert_eq!(
        user.ok("delete -n west").stdout,
        "Skupper is now removed from 'west'.\n"
    );
    assert!(!user.site_dir("east").exists() && !user.site_dir("west").exists());
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}

#[test]
fn the_default_site_is_the_users() {
    let user = User::new();
    user.init("default", "--site-name hub");
    let status = user.ok("status").stdout;
    assert_eq!(
        status,
        "Skupper is enabled for \"alice\" with site name \"hub\" in interior mode. \
         It is not connected to any other sites. It has no exposed services.\n"
    );
    let again = user.ok("init");
    assert_eq!(
        again.stdout,
        "Skupper has already been initialized for user 'alice'.\n"
    );
    let report: serde_json::Value =
        serde_json::from_str(&user.ok("status --output json").stdout).unwrap();
    assert_eq!(
        (&report["name"], &report["sites"]["total"]),
        (&"hub".into(), &0.into())
    );
    assert!(user.ok("status -o yaml").stdout.contains("platform: linux"));
    assert!(
        user.ok("status --verbose")
            .stdout
            .contains("\nsite name:            hub\n")
    );
    let version = user.ok("version").stdout;
    assert!(
        version.contains("\ntransport version              skupper-router "),
        "{version}"
    );
    user.run("--platform docker status")
        .fails_with(&["hub", "linux", "docker"]);
    assert_eq!(
        user.ok("delete").stdout,
        "Skupper is now removed for user 'alice'.\n"
    );
    assert_eq!(
        user.ok("delete").stdout,
        "Skupper is not enabled for user 'alice'\n"
    );
}

#[test]
fn tokens_are_secret_and_say_where() {
    let user = User::new();
    let port = user.init("a", "");
    let file = user.token("a", "t.yaml");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&format!("inter-router-port: \"{port}\"")),
        "{text}"
    );
    let again = user.ok(&format!(
        "token create {} -n a -t cert --name bob",
        file.display()
    ));
    assert_eq!(
        again.stdout,
        format!("Connection token written to {} \n", file.display())
    );
    let next = user.path("home").join("next.yaml");
    user.ok(&format!("token create {} -n a --format v2", next.display()));
    assert!(fs::read_to_string(&next).unwrap().contains("kind: Link\n"));
    user.run("token create t2.yaml -n a --ingress-host nowhere")
        .fails_with(&["tokens can only be generated for the available ingress hosts: [127.0.0.1"]);
    user.run("token create /nonexistent/t.yaml -n a")
        .fails_with(&["/nonexistent/t.yaml"]);
    user.run("token create t2.yaml -n a -t claim")
        .fails_with(&["not supported yet; ask for -t cert"]);
    user.run("token create t2.yaml -n a -t x")
        .fails_with(&["invalid token type. Specify cert or claim"]);
    user.init("b", "--ingress none");
    user.run("token create t2.yaml -n b")
        .fails_with(&["tokens cannot be generated for sites initialized with ingress type none"]);
    assert!(!user.path("home").join("t2.yaml").exists());
    user.run(&format!("link create {} -n a", file.display()))
        .fails_with(&["Can't create connection to self with token"]);
}

#[test]
fn bad_tokens_change_nothing() {
    let user = User::new();
    user.init("a", "");
    let before = user.snapshot("a");
    let good = Token::write_v1_link(&foreign_token(Duration::from_secs(3600)));
    let expired = Token::write_v1_link(&foreign_token(Duration::ZERO));
    let end = SystemTime::now() + Duration::from_secs(1);
    eventually("the end of the certificate", || SystemTime::now() > end);
    let ca = good
        .lines()
        .find(|line| line.trim_start().starts_with("ca.crt:"))
        .unwrap();
    let claim = format!(
        "apiVersion: v1\nkind: Secret\ndata:\n{ca}\n  password: c2VjcmV0\nmetadata:\n  name: x\n  annotations:\n    \
         skupper.io/generated-by: y\n    skupper.io/site-version: 1.4.3\n    skupper.io/url: https://h:8081/x\n  labels:\n    \
         skupper.io/type: token-claim\n"
    );
    let cases: [(&str, String, &[&str]); 8] = [
        ("empty", String::new(), &["empty"]),
        (
            "text",
            "Dear user,\nthis is: no token: at all\n\t- really".to_owned(),
            &["token"],
        ),
        ("cut", good[..good.len() / 2].to_owned(), &["token"]),
        (
            "foreign",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n".to_owned(),
            &["ConfigMap"],
        ),
        (
            "other-secret",
            good.replace(
                "skupper.io/type: connection-token",
                "skupper.io/type: other",
            ),
            &["not a valid skupper token"],
        ),
        (
            "no-key",
            good.lines()
                .filter(|line| !line.contains("tls.key"))
                .collect::<Vec<_>>()
                .join("\n"),
            &["tls.key"],
        ),
        ("expired", expired, &["expired"]),
        ("claim", claim, &["claim", "-t cert"]),
    ];
    for (name, text, expected) in cases {
        let file = user.write(name, text);
        user.run(&format!("link create {} -n a", file.display()))
            .fails_with(expected);
    }
    user.run("link create missing.yaml -n a")
        .fails_with(&["Could not read connection token", "missing.yaml"]);
    user.run("link create /dev/zero -n a --dry-run")
        .fails_with(&["Could not read connection token"]);
    assert_eq!(user.snapshot("a"), before);
    assert!(
        user.ok("link status -n a")
            .stdout
            .contains("There are no links configured")
    );
}

#[test]
fn an_unreachable_site_is_kept_and_explained() {
    let user = User::new();
    user.init("a", "");
    let file = user.write(
        "t.yaml",
        Token::write_v1_link(&foreign_token(Duration::from_secs(3600))),
    );
    let linked = user.ok(&format!("link create {} -n a --cost 3", file.display()));
    assert!(
        linked
            .stdout
            .starts_with("Site configured to link to 127.0.0.1:"),
        "{linked:?}"
    );
    eventually("a reason", || {
        let text = user.ok("link status link1 -n a").stdout;
        text.starts_with("Link link1 not connected (") && text.contains("refused")
    });
    assert!(
        user.ok("link status link1 --verbose -n a")
            .stdout
            .contains(" Cost:\t\t3\t")
    );
    let report: serde_json::Value =
        serde_json::from_str(&user.ok("link status -o json -n a").stdout).unwrap();
    assert_eq!(report["outgoing"][0]["connected"], false);
    user.run(&format!("link create {} -n a", file.display()))
        .fails_with(&["Already connected to \"9c88f6dc"]);
    user.run(&format!("link create {} -n a --cost 0", file.display()))
        .fails_with(&["cost"]);
    assert_eq!(
        user.ok("link status nope -n a").stdout,
        "No such link \"nope\"\n"
    );
    user.run("link delete nope -n a")
        .fails_with(&["Failed to remove link: no such link \"nope\""]);
    assert_eq!(
        user.ok("link delete link1 -n a").stdout,
        "Link 'link1' has been removed\n"
    );
}

#[test]
fn a_token_of_the_next_generation_is_taken_too() {
    let user = User::new();
    user.init("a", "");
    let mut token = foreign_token(Duration::from_secs(3600));
    token.name = Some("link-west".to_owned());
    let file = user.write("v2.yaml", Token::write_v2_link(&token));
    user.ok(&format!("link create {} -n a", file.display()));
    assert!(user.ok("link status -n a").stdout.contains("\t Link link"));
}

#[test]
fn a_taken_port_is_named_before_anything_is_made() {
    let user = User::new();
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let _one_at_a_time = init_lock();
    user.run(&format!("init -n a --bind-port {port}"))
        .fails_with(&[&port.to_string(), "--bind-port"]);
    assert!(!user.site_dir("a").exists());
    drop(_one_at_a_time);

    user.init("b", "");
    let taken = backend("x");
    user.run(&format!("service create s 80 --host-port {taken} -n b"))
        .fails_with(&[&format!("ingress port {taken} is already in use")]);
    assert_eq!(
        user.ok("service status -n b").stdout,
        "No services defined\n"
    );
}

#[test]
fn a_missing_engine_says_how_to_get_it() {
    let user = User::new();
    for platform in ["podman", "docker"] {
        let ended = user.run(&format!(
            "--platform {platform} init -n a --podman-endpoint unix:///nonexistent/{platform}.sock"
        ));
        ended.fails_with(&[
            "Unable to initialize Skupper - ",
            &format!("/nonexistent/{platform}.sock"),
        ]);
        if platform == "podman" {
            ended.fails_with(&["systemctl --user enable --now podman.socket"]);
        }
        assert!(!user.site_dir("default").exists());
    }
}

#[test]
fn services_that_are_not_there() {
    let user = User::new();
    user.init("a", "");
    for line in [
        "service delete nope",
        "service bind nope host h",
        "service unbind nope host h",
        "unexpose host h --address nope",
        "service delete Not_A_Name",
    ] {
        user.run(&format!("{line} -n a"))
            .fails_with(&["Service ", " not defined"]);
    }
    let port = free_port();
    user.ok(&format!("service create s 80 --host-port {port} -n a"));
    user.run("service create s 80 -n a")
        .fails_with(&["Service s already defined"]);
    user.run("service unbind s host h -n a")
        .fails_with(&["Could not find target h for service interface s"]);
    user.run("service create Bad 80 -n a")
        .fails_with(&["Invalid service name: [\"a DNS-1035 label"]);
    user.run("service create s2 80x -n a")
        .fails_with(&["80x is not a valid port"]);
    user.run("service create s2 80 --protocol http -n a")
        .fails_with(&["http is not supported yet"]);
    user.run("expose deployment/backend --port 8080 -n a")
        .fails_with(&["invalid target type: deployment"]);
    user.ok("service bind s host 192.0.2.1 --target-port 8080 -n a");
    assert!(
        user.ok("service status -n a")
            .stdout
            .contains("host: 192.0.2.1 - ports: map[80:8080]\n")
    );
    user.ok("service unbind s host 192.0.2.1 -n a");
    user.ok("service delete s -n a");
    assert_eq!(
        user.ok("service status -n a").stdout,
        "No services defined\n"
    );
    user.ok("expose host 127.0.0.1 --address e --port 80 -n a");
    user.ok("unexpose host 127.0.0.1 --address e -n a");
    assert_eq!(
        user.ok("service status -n a").stdout,
        "No services defined\n"
    );
}

#[test]
fn a_backend_that_is_down_resets_its_client() {
    let user = User::new();
    user.init("a", "");
    let (port, nobody) = (free_port(), free_port());
    user.ok(&format!("service create s 80 --host-port {port} -n a"));
    user.ok(&format!(
        "service bind s host 127.0.0.1 --target-port {nobody} -n a"
    ));
    let started = Instant::now();
    let reply = ask(port);
    assert!(reply.as_ref().map_or(true, String::is_empty), "{reply:?}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "the client hung"
    );
}

#[test]
fn dry_runs_change_nothing() {
    let user = User::new();
    let init = format!(
        "init -n a --dry-run --bind-port {} --bind-port-edge {}",
        free_port(),
        free_port()
    );
    assert!(!user.ok(&init).stdout.is_empty());
    assert!(!user.site_dir("a").exists());
    user.init("a", "");
    let before = user.snapshot("a");
    let token = user.write(
        "t.yaml",
        Token::write_v1_link(&foreign_token(Duration::from_secs(3600))),
    );
    for line in [
        format!("link create {} --dry-run", token.display()),
        format!("service create s 80 --dry-run --host-port {}", free_port()),
        "expose host h --address s --port 80 --dry-run".to_owned(),
        "delete --dry-run".to_owned(),
    ] {
        assert!(
            !user.ok(&format!("{line} -n a")).stdout.is_empty(),
            "{line}"
        );
    }
    assert_eq!(user.snapshot("a"), before);
}

#[test]
fn a_killed_router_and_a_killed_controller_come_back() {
    let user = User::new();
    user.init("a", "");
    let target = backend("a");
    let port = free_port();
    user.ok(&format!("service create s 80 --host-port {port} -n a"));
    user.ok(&format!(
        "service bind s host 127.0.0.1 --target-port {target} -n a"
    ));
    eventually("a reply", || ask(port).is_ok_and(|reply| reply == "a:ping"));
    // The controller and its guard start each other again, so they are killed one after the other.
    type Is = fn(&str) -> bool;
    let roles: [(&str, Is); 3] = [
        ("router", |line| line.contains("skupper router")),
        ("controller", |line| {
            line.contains("skupper controller") && !line.contains("--guard")
        }),
        ("guard", |line| {
            line.contains("skupper controller") && line.contains("--guard")
        }),
    ];
    for (role, is_it) in roles {
        eventually(&format!("one {role}"), || {
            user.processes_where(is_it).len() == 1
        });
        let old = user.processes_where(is_it);
        for pid in &old {
            signal(*pid, Signal::KILL);
        }
        eventually(&format!("another {role}"), || {
            user.processes_where(is_it)
                .iter()
                .any(|pid| !old.contains(pid))
        });
        eventually("a reply", || ask(port).is_ok_and(|reply| reply == "a:ping"));
    }
    assert!(
        user.ok("status -n a")
            .stdout
            .contains("It has 1 exposed service.")
    );
}

#[test]
fn commands_at_the_same_time_wait_for_each_other() {
    let user = User::new();
    user.init("a", "");
    let children: Vec<_> = (0..4)
        .map(|number| {
            let port = free_port();
            let line = format!("service create s{number} 80 --host-port {port} -n a");
            let child = user
                .command(line.split_whitespace())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (line, child)
        })
        .collect();
    for (line, child) in children {
        let ended = cli_support::finish(&line, child);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let report: serde_json::Value =
        serde_json::from_str(&user.ok("service status -o json -n a").stdout).unwrap();
    assert_eq!(report.as_array().unwrap().len(), 4);
}

#[test]
fn a_lock_that_is_held_ends_the_wait_with_75() {
    let user = User::new();
    user.init("a", "");
    let lock = user.site_dir("a").join("run/site.lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .unwrap();
    user.own(&lock);
    file.lock().unwrap();
    let started = Instant::now();
    let ended = user.run("service create s 80 -n a");
    assert_eq!(ended.code, 75, "{ended:?}");
    assert!(ended.stderr.contains("another command"), "{ended:?}");
    assert!(started.elapsed() >= Duration::from_secs(9));
    drop(file);
    user.ok(&format!(
        "service create s 80 --host-port {} -n a",
        free_port()
    ));
}

#[test]
fn an_interrupted_init_leaves_nothing() {
    let user = User::new();
    let _one_at_a_time = init_lock();
    for round in 0..4u64 {
        let line = "init -n a --ingress none";
        let mut child = user
            .command(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // at another step in each round; the first as soon as there is anything
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none()
            && (!user.site_dir("a").exists() || begun.elapsed() < Duration::from_millis(round * 60))
        {
            std::thread::yield_now();
        }
        if child.try_wait().unwrap().is_none() {
            signal(pid, Signal::INT);
        }
        let ended = cli_support::finish(line, child);
        match ended.code {
            130 => {
                assert!(ended.stderr.contains("Interrupted"), "{ended:?}");
                assert!(!user.site_dir("a").exists(), "left over after {ended:?}");
                eventually("the end of all processes", || {
                    user.processes("skupper").is_empty()
                });
            }
            // it was done before the signal came
            0 => drop(user.ok("delete -n a")),
            _ => panic!("{ended:?}"),
        }
    }
}

#[test]
fn a_killed_init_is_cleaned_up_by_the_next_command() {
    let user = User::new();
    let _one_at_a_time = init_lock();
    let mut child = user
        .command(["init", "-n", "a", "--ingress", "none"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() && !user.site_dir("a").exists() {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
    user.ok("init -n a --ingress none");
    assert!(user.ok("status -n a").stdout.contains("is enabled"));
    user.ok("delete -n a");
    assert!(!user.site_dir("a").exists());
}

#[test]
fn a_wait_for_a_link_can_be_interrupted() {
    let user = User::new();
    user.init("a", "");
    let file = user.write(
        "t.yaml",
        Token::write_v1_link(&foreign_token(Duration::from_secs(3600))),
    );
    user.ok(&format!("link create {} -n a", file.display()));
    let line = "link status link1 --wait 600 --verbose -n a";
    let child = user
        .command(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    eventually("signal handlers", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"));
        caught
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .is_some_and(|mask| mask & (1 << 1) != 0)
    });
    signal(pid, Signal::INT);
    let ended = cli_support::finish(line, child);
    assert_eq!(ended.code, 130, "{ended:?}");
}

#[test]
fn a_name_that_is_in_use_is_refused() {
    let user = User::new();
    user.init("a", "--site-name same");
    let _one_at_a_time = init_lock();
    user.run("init -n b --site-name same --ingress none")
        .fails_with(&["same", "--site-name"]);
    assert!(!user.site_dir("b").exists());
    drop(_one_at_a_time);
    // another user's site can have the name; then the link is refused
    let other = User::new();
    other.init("a", "--site-name same");
    let token = fs::read(user.token("a", "t.yaml")).unwrap();
    let file = other.write("t.yaml", token);
    other
        .run(&format!("link create {} -n a", file.display()))
        .fails_with(&["same", "in the network"]);
    assert!(
        other
            .ok("link status -n a")
            .stdout
            .contains("There are no links configured")
    );
}

#[test]
fn a_full_disk_leaves_nothing() {
    let user = User::new();
    if !is_root() {
        e2e::did_not_run("only root can mount a small file system", true);
        return;
    }
    let data = user.path("data");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k,mode=0777", "tmpfs"])
        .arg(&data)
        .status()
        .unwrap();
    assert!(mounted.success());
    let ended = {
        let _one_at_a_time = init_lock();
        user.run("init -n a --ingress none")
    };
    let left = user.site_dir("a").exists();
    eventually("unmounting", || {
        std::process::Command::new("umount")
            .arg(&data)
            .status()
            .unwrap()
            .success()
    });
    ended.fails_with(&["full"]);
    assert!(!left, "left over: {ended:?}");
    assert!(user.processes("skupper").is_empty());
}
