//! Commands on the platform `linux` that are interrupted, find the disk full, or meet other commands: what they leave
//! is always a site that the next command can work with.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cli_support::{
    Ended, SmallDisk, User, backend, eventually, finish, free_port, init_lock, is_root, signal,
};
use rustix::process::Signal;

fn spawn(user: &User, line: &str) -> Child {
    user.command(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// Whether the process has said what a SIGINT is to do
fn catches_interrupts(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:\t"))
        .and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .is_some_and(|mask| mask & (1 << 1) != 0)
}

/// Runs a line and interrupts it so long after it is ready for that; a second time as soon as it says so, if asked to
fn interrupt(user: &User, line: &str, delay: Duration, twice: bool) -> Ended {
    let mut child = spawn(user, line);
    let id = pid(&child);
    let running = |child: &mut Child| child.try_wait().unwrap().is_none();
    while running(&mut child) && !catches_interrupts(id) {
        std::thread::yield_now();
    }
    let ready = Instant::now();
    while running(&mut child) && ready.elapsed() < delay {
        std::thread::yield_now();
    }
    if running(&mut child) {
        signal(id, Signal::INT);
    }
    if !twice {
        return finish(line, child);
    }
    // two at once are one: the second is sent when the first was heard
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("Interrupted") && said.read_line(&mut text).unwrap() > 0 {}
    if running(&mut child) {
        signal(id, Signal::INT);
    }
    said.read_to_string(&mut text).unwrap();
    let mut ended = finish(line, child);
    ended.stderr = text;
    ended
}

const MOMENTS: [(Duration, bool); 4] = [
    (Duration::ZERO, false),
    (Duration::from_millis(40), false),
    (Duration::from_millis(150), false),
    (Duration::from_millis(25), true),
];

/// Interrupts a command at several moments. Afterwards the site is as before it or as after it, whatever the moment.
fn at_any_moment(user: &User, namespace: &str, line: &str, back: &str) {
    let before = user.snapshot(namespace);
    for (delay, twice) in MOMENTS {
        let ended = interrupt(user, line, delay, twice);
        assert!([0, 130].contains(&ended.code), "{ended:?}");
        if !twice && ended.code == 130 {
            assert_eq!(user.snapshot(namespace), before, "{ended:?}");
        }
        // Any change finishes what a second interrupt left: one that is refused afterwards will do.
        let next = user.run(&format!("link delete none -n {namespace}"));
        assert!(
            next.code == 1 && next.stderr.contains("no such link \"none\""),
            "{next:?}"
        );
        let journal = user.site_dir(namespace).join("run/journal");
        assert!(!journal.exists(), "{ended:?} {next:?}");
        if ended.code == 130 {
            assert_eq!(
                names(&user.snapshot(namespace)),
                names(&before),
                "{ended:?}"
            );
            assert_eq!(user.snapshot(namespace), before, "{ended:?}");
        } else {
            user.ok(back);
            assert_eq!(names(&user.snapshot(namespace)), names(&before), "{back}");
        }
    }
    user.ok(line);
}

fn names(snapshot: &[(PathBuf, Vec<u8>)]) -> Vec<&Path> {
    snapshot.iter().map(|(path, _)| path.as_path()).collect()
}

#[test]
fn interrupted_changes_of_services_leave_all_or_nothing() {
    let user = User::new();
    user.init("a", "");
    let port = free_port();
    let create = format!("service create s 80 --host-port {port} -n a");
    let bind = "service bind s host 192.0.2.1 -n a";
    let unbind = "service unbind s host 192.0.2.1 -n a";
    let delete = "service delete s -n a";
    let expose = "expose host 192.0.2.1 --address e --port 80 -n a";
    let unexpose = "unexpose host 192.0.2.1 --address e -n a";
    at_any_moment(&user, "a", &create, delete);
    at_any_moment(&user, "a", bind, unbind);
    at_any_moment(&user, "a", unbind, bind);
    at_any_moment(&user, "a", delete, &create);
    at_any_moment(&user, "a", expose, unexpose);
    at_any_moment(&user, "a", unexpose, expose);
    assert_eq!(
        user.ok("service status -n a").stdout,
        "No services defined\n"
    );
}

#[test]
fn interrupted_changes_of_links_leave_all_or_nothing() {
    let user = User::new();
    user.init("a", "");
    user.init("b", "--ingress none");
    let token = user.path("home").join("t.yaml");
    let line = format!("token create {} -n a", token.display());
    let before = user.snapshot("a");
    for (delay, twice) in MOMENTS {
        let ended = interrupt(&user, &line, delay, twice);
        match ended.code {
            130 => assert!(!token.exists(), "{ended:?}"),
            0 => fs::remove_file(&token).unwrap(),
            _ => panic!("{ended:?}"),
        }
        let beside: Vec<_> = fs::read_dir(user.path("home")).unwrap().flatten().collect();
        assert!(beside.is_empty(), "{beside:?} {ended:?}");
        assert_eq!(names(&user.snapshot("a")), names(&before), "{ended:?}");
    }
    user.ok(&line);
    let create = format!("link create {} -n b", token.display());
    let delete = "link delete link1 -n b";
    at_any_moment(&user, "b", &create, delete);
    at_any_moment(&user, "b", delete, &create);
    for line in [
        "status -n b",
        "link status -n a",
        "service status -n a",
        "version -n a",
    ] {
        let ended = interrupt(&user, line, Duration::ZERO, false);
        assert!([0, 130].contains(&ended.code), "{ended:?}");
    }
}

#[test]
fn an_interrupted_delete_is_finished_by_the_next() {
    let user = User::new();
    for (delay, twice) in MOMENTS {
        user.init("a", "");
        let ended = interrupt(&user, "delete -n a", delay, twice);
        assert!([0, 130].contains(&ended.code), "{ended:?}");
        if ended.code == 130 {
            let again = user.ok("delete -n a");
            assert!(
                again.stdout.contains("now removed") || again.stdout.contains("not enabled"),
                "{ended:?} {again:?}"
            );
        }
        assert!(!user.site_dir("a").exists(), "{ended:?}");
        eventually("the end of all processes", || {
            user.processes("skupper").is_empty()
        });
    }
}

#[test]
fn no_command_changes_a_site_on_a_full_disk() {
    if !is_root() {
        e2e::did_not_run("only root can mount a small file system", true);
        return;
    }
    let other = User::new();
    other.init("far", "");
    let far = fs::read(other.token("far", "far.yaml")).unwrap();

    let user = User::new();
    let disk = SmallDisk::mount(&user, "2m");
    user.init("a", "");
    let far = user.write("far.yaml", far);
    let token = user.path("home").join("t.yaml");
    let (first, second) = (free_port(), free_port());
    // each works on what the ones before it made
    let lines = [
        format!("link create {} -n a", far.display()),
        format!("service create s 80 --host-port {first} -n a"),
        "service bind s host 192.0.2.1 -n a".to_owned(),
        "service unbind s host 192.0.2.1 -n a".to_owned(),
        "expose host 192.0.2.1 --address e --port 80 -n a".to_owned(),
        "unexpose host 192.0.2.1 --address e -n a".to_owned(),
        "service delete s -n a".to_owned(),
        "link delete link1 -n a".to_owned(),
        format!("service create last 80 --host-port {second} -n a"),
    ];
    for line in &lines {
        let before = user.snapshot("a");
        disk.fill();
        let ended = user.run(line);
        ended.fails_with(&["the file system is full", "free some space"]);
        assert_eq!(user.snapshot("a"), before, "{ended:?}");
        assert!(!user.site_dir("a").join("run/journal").exists());
        assert!(user.ok("status -n a").stdout.contains("is enabled"));
        disk.free();
        user.ok(line);
    }
    disk.fill();
    let ended = user.run(&format!(
        "token create {}/t.yaml -n a",
        disk.path().display()
    ));
    ended.fails_with(&["full"]);
    assert!(!disk.path().join("t.yaml").exists(), "{ended:?}");
    // the token is not on the full disk
    user.ok(&format!("token create {} -n a", token.display()));
    // a full disk is a reason to delete a site
    user.ok("delete -n a");
    assert!(!user.site_dir("a").exists());
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}

/// Both lines at the same time; each succeeds or refuses with one of the texts
fn race(user: &User, lines: [&str; 2], refusals: &[&str]) -> [i32; 2] {
    let children = lines.map(|line| (line, spawn(user, line)));
    children.map(|(line, child)| {
        let ended = finish(line, child);
        let known = refusals.iter().any(|text| ended.stderr.contains(text));
        assert!(ended.code == 0 || (ended.code == 1 && known), "{ended:?}");
        ended.code
    })
}

#[test]
fn links_and_services_made_at_the_same_time_are_both_there() {
    let user = User::new();
    user.init("far", "");
    let token = user.token("far", "t.yaml");
    user.init("a", "");
    let port = free_port();
    let link = format!("link create {} -n a", token.display());
    let service = format!("service create s 80 --host-port {port} -n a");
    assert_eq!(race(&user, [&link, &service], &[]), [0, 0]);
    user.ok("link status link1 --wait 20 -n a");
    assert!(
        user.ok("service status -n a")
            .stdout
            .contains("s (tcp port 80)")
    );
    let taken = free_port();
    let same = format!("service create same 80 --host-port {taken} -n a");
    let codes = race(&user, [&same, &same], &["already defined"]);
    assert_eq!(codes.iter().sum::<i32>(), 1);
    let codes = race(
        &user,
        [
            "service delete s -n a",
            "service bind s host 192.0.2.1 -n a",
        ],
        &["not defined"],
    );
    assert_eq!(codes[0], 0);
    let codes = race(
        &user,
        ["link delete link1 -n a", "link delete link1 -n a"],
        &["no such link"],
    );
    assert_eq!(codes.iter().sum::<i32>(), 1);
}

#[test]
fn delete_wins_against_any_other_command() {
    let user = User::new();
    user.init("far", "");
    let token = user.token("far", "t.yaml");
    let (one, two) = (free_port(), free_port());
    let others = [
        format!("service create s 80 --host-port {one} -n a"),
        format!("link create {} -n a", token.display()),
        "expose host 192.0.2.1 --address e --port 80 -n a".to_owned(),
        format!("token create {}/new.yaml -n a", user.path("home").display()),
        "delete -n a".to_owned(),
        "status -n a".to_owned(),
    ];
    for other in &others {
        user.init("a", "");
        user.ok(&format!("service create old 80 --host-port {two} -n a"));
        let refusals = [
            "not enabled",
            "is not enabled",
            "no site",
            "not initialized",
        ];
        race(&user, ["delete -n a", other], &refusals);
        assert!(!user.site_dir("a").exists(), "{other}");
    }
    user.ok("delete -n far");
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}

#[test]
fn two_inits_at_once_make_one_site() {
    let user = User::new();
    let _one_at_a_time = init_lock();
    let init = "init -n a --ingress none";
    race(&user, [init, init], &["already"]);
    assert!(user.ok("status -n a").stdout.contains("is enabled"));
    user.ok("delete -n a");
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}

#[test]
fn the_lock_of_a_killed_command_is_free() {
    let user = User::new();
    user.init("a", "");
    let port = free_port();
    let line = format!("service create s 80 --host-port {port} -n a");
    let lock = user.site_dir("a").join("run/site.lock");
    let mut child = spawn(&user, &line);
    let mine = format!("{} ", pid(&child));
    while child.try_wait().unwrap().is_none()
        && !fs::read_to_string(&lock).is_ok_and(|text| text.starts_with(&mine))
    {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
    let started = Instant::now();
    let next = user.run(&line);
    // it may have been done before it was killed
    assert!(
        next.code == 0 || next.stderr.contains("already defined"),
        "{next:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(9), "{next:?}");
    assert!(
        user.ok("service status -n a")
            .stdout
            .contains("s (tcp port 80)")
    );
}

#[test]
fn tokens_of_the_next_generation_and_addresses_of_ipv6_make_links() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        e2e::did_not_run("this machine has no IPv6 loopback address", true);
        return;
    }
    let user = User::new();
    let _one_at_a_time = init_lock();
    let (port, edge) = (free_port(), free_port());
    user.ok(&format!(
        "init -n west --ingress-host ::1 --bind-port {port} --bind-port-edge {edge}"
    ));
    user.ok("init -n east --ingress none");
    drop(_one_at_a_time);
    let target = backend("west");
    user.ok(&format!(
        "expose host 127.0.0.1 --address hello --port 80 --target-port {target} -n west"
    ));
    let local = free_port();
    user.ok(&format!(
        "service create hello 80 --host-port {local} -n east"
    ));
    for format in ["v1", "v2"] {
        let token = user.path("home").join(format);
        user.ok(&format!(
            "token create {} --format {format} -n west",
            token.display()
        ));
        let text = fs::read_to_string(&token).unwrap();
        assert!(text.contains("::1"), "{text}");
        let linked = user.ok(&format!("link create {} -n east", token.display()));
        assert!(
            linked.stdout.contains(&format!("[::1]:{port}")),
            "{linked:?}"
        );
        user.ok("link status link1 --wait 20 -n east");
        eventually("a reply", || {
            cli_support::ask(local).is_ok_and(|reply| reply == "west:ping")
        });
        user.ok("link delete link1 -n east");
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let user = User::new();
    user.init("a", "");
    let token = user.token("a", "t.yaml");
    let token = token.to_str().unwrap();
    let before = user.snapshot("a");
    let long = "x".repeat(300);
    let strange = [
        "../x",
        "a/b",
        "a b",
        "",
        ".",
        "..",
        "a\nb",
        "a\u{1b}[2J",
        "-",
        "'",
        long.as_str(),
    ];
    for name in strange {
        let lines: [(&str, Vec<&str>); 5] = [
            ("--namespace", vec!["status", "-n", name]),
            (
                "namespace of init",
                vec!["init", "-n", name, "--ingress", "none"],
            ),
            (
                "link",
                vec!["link", "create", token, "--name", name, "-n", "a"],
            ),
            ("service", vec!["service", "create", name, "80", "-n", "a"]),
            (
                "address",
                vec![
                    "expose",
                    "host",
                    "h",
                    "--port",
                    "80",
                    "--address",
                    name,
                    "-n",
                    "a",
                ],
            ),
        ];
        for (what, words) in lines {
            let ended = cli_support::ended(what, user.command(&words).output().unwrap());
            // an empty value is an unset one
            if name.is_empty() && ended.code == 0 {
                continue;
            }
            ended.fails_with(&[]);
            assert!(!ended.stderr.contains('\u{1b}'), "{words:?} {ended:?}");
        }
    }
    for name in ["a/b", "a b", "a|b", "$x", "a\nb", long.as_str()] {
        let words = ["init", "-n", "b", "--site-name", name, "--ingress", "none"];
        let ended = cli_support::ended(name, user.command(words).output().unwrap());
        ended.fails_with(&["name"]);
        assert!(!user.site_dir("b").exists());
    }
    assert_eq!(user.snapshot("a"), before);
    let sites: Vec<_> = fs::read_dir(user.site_dir("a").parent().unwrap())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(sites, ["a"]);
}

#[test]
fn directories_that_cannot_be_used_are_named_with_the_remedy() {
    let user = User::new();
    let run = |words: &str, variables: &[(&str, &str)]| {
        let mut command = user.command(words.split_whitespace());
        command.envs(variables.iter().copied());
        cli_support::ended(words, command.output().unwrap())
    };
    let init = "init -n a --ingress none";
    let nowhere = ("XDG_DATA_HOME", "/proc/nowhere");
    run(init, &[nowhere]).fails_with(&["/proc/nowhere/skupper"]);
    // a directory of somebody else: `sudo -u` without a home of its own
    let closed = ("XDG_DATA_HOME", "/proc/1/fd");
    run(init, &[closed]).fails_with(&["/proc/1/fd/skupper", "$XDG_DATA_HOME"]);
    run("token create  -n a", &[]).fails_with(&[]);
    let empty = ["token", "create", "", "-n", "a"];
    cli_support::ended("empty", user.command(empty).output().unwrap())
        .fails_with(&["the name of the token file is empty"]);
}

#[test]
fn sites_in_long_and_odd_directories_work() {
    let user = User::new();
    let odd = user
        .path("home")
        .join("sp ace 'quo\"te ö")
        .join("x".repeat(120));
    for name in [odd.parent().unwrap(), &odd] {
        fs::create_dir(name).unwrap();
        user.own_program(name);
    }
    let run = |words: &str| {
        let mut command = user.command(words.split_whitespace());
        command
            .env("XDG_DATA_HOME", &odd)
            .env("XDG_RUNTIME_DIR", &odd);
        let ended = cli_support::ended(words, command.output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    };
    {
        let _one_at_a_time = init_lock();
        run("init -n a --ingress none");
    }
    let port = free_port();
    let target = backend("odd");
    run(&format!("service create s 80 --host-port {port} -n a"));
    run(&format!(
        "service bind s host 127.0.0.1 --target-port {target} -n a"
    ));
    eventually("a reply", || {
        cli_support::ask(port).is_ok_and(|reply| reply == "odd:ping")
    });
    assert!(!run("status -n a --verbose").stdout.contains("not running"));
    run("delete -n a");
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);
}

/// Runs a line after another one of a shell, which restricts it
fn restricted(user: &User, by: &str, line: &str) -> Ended {
    let plain = user.command(line.split_whitespace());
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("{by}; exec \"$0\" \"$@\"")])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(
            plain
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(user.path("home"))
        .stdin(Stdio::null());
    user.run_as(&mut shell);
    cli_support::ended(line, shell.output().unwrap())
}

#[test]
fn too_few_descriptors_are_an_error_like_others() {
    let user = User::new();
    for files in 6..=24 {
        for line in ["version", "status", "link status"] {
            let ended = restricted(&user, &format!("ulimit -n {files}"), line);
            assert!(!ended.stderr.contains("panicked"), "{files}: {ended:?}");
            assert!((0..=1).contains(&ended.code), "{files}: {ended:?}");
        }
    }
    restricted(&user, "ulimit -n 10", "status").fails_with(&["open files", "ulimit -n"]);
}

#[test]
fn a_mask_that_takes_permissions_from_the_owner_does_no_harm() {
    let user = User::new();
    let masked = |line: &str| {
        let ended = restricted(&user, "umask 0777", line);
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    {
        let _one_at_a_time = init_lock();
        masked("init -n a --ingress none");
    }
    masked(&format!(
        "service create s 80 --host-port {} -n a",
        free_port()
    ));
    masked("service delete s -n a");
    user.ok("status -n a");
    user.ok("delete -n a");
    assert!(!user.site_dir("a").exists());
}

#[test]
fn a_damaged_file_is_named_and_takes_nothing_with_it() {
    let user = User::new();
    user.init("a", "");
    let port = free_port();
    user.ok(&format!("service create s 80 --host-port {port} -n a"));
    let file = user.site_dir("a").join("services/s.yaml");
    let before = fs::read(&file).unwrap();
    fs::write(&file, "name: [").unwrap();
    for line in ["status", "service delete s", "service create other 80"] {
        user.run(&format!("{line} -n a"))
            .fails_with(&["services/s.yaml is damaged", "repair that file"]);
    }
    fs::write(&file, before).unwrap();
    user.ok("service delete s -n a");
    fs::write(user.site_dir("a").join("site.yaml"), "").unwrap();
    user.run("status -n a")
        .fails_with(&["site.yaml is damaged"]);
    user.ok("delete -n a");
    assert!(!user.site_dir("a").exists());
    eventually("the end of all processes", || {
        user.processes("skupper").is_empty()
    });
}
