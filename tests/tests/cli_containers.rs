//! Sites on real engines as their users see them: services reached by name from other containers, and containers that
//! were killed or removed behind the site's back. `tests/run.sh` starts the engines and names them in the environment.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cli_support::{Ended, SmallDisk, User, ask, ended, free_port, init_lock, pause, signal};
use rustix::process::Signal;

/// Variables of [`payload_of_container`]
const SERVE: &str = "SKUPPER_TEST_SERVE";
const ASK: &str = "SKUPPER_TEST_ASK";
const REPLY: &str = "SKUPPER_TEST_REPLY";
/// Port that the backend's container serves
const BACKEND_PORT: u16 = 9090;
/// For a container to be up again, on a machine that has other things to do
const RECOVERY: Duration = Duration::from_secs(90);

/// Not a test: what this program does inside the containers, which have no other program
#[test]
fn payload_of_container() {
    if let Ok(name) = env::var(SERVE) {
        serve(&name);
    }
    if let (Ok(target), Ok(reply)) = (env::var(ASK), env::var(REPLY)) {
        assert_eq!(ask_until(&target, &reply), reply);
    }
}

fn serve(name: &str) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, BACKEND_PORT))
        .or_else(|_| TcpListener::bind(("0.0.0.0", BACKEND_PORT)))
        .unwrap();
    for mut stream in listener.incoming().flatten() {
        let mut buffer = [0; 64];
        if let Ok(length) = stream.read(&mut buffer) {
            let _ = stream.write_all(format!("{name}:").as_bytes());
            let _ = stream.write_all(&buffer[..length]);
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// The last reply: the one that is expected, or what came when the time was over
fn ask_until(target: &str, expected: &str) -> String {
    let started = Instant::now();
    loop {
        let reply = ask_name(target).unwrap_or_else(|error| error.to_string());
        if reply == expected || started.elapsed() > Duration::from_secs(60) {
            return reply;
        }
        pause();
    }
}

fn ask_name(target: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(target)?;
    // longer than the resolver of the router tries to find the name of the backend
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.write_all(b"ping")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Name of a site's container; the default site has the plain ones
fn container(namespace: &str, name: &str) -> String {
    match namespace {
        "default" => name.to_owned(),
        _ => format!("{namespace}-{name}"),
    }
}

fn network(namespace: &str) -> String {
    match namespace {
        "default" => "skupper".to_owned(),
        _ => format!("skupper-{namespace}"),
    }
}

/// An engine with its own command line, and a user of it. What was made in `namespaces` is removed at the end.
struct Host {
    user: User,
    program: &'static str,
    endpoint: String,
    namespaces: Vec<&'static str>,
    containers: Vec<String>,
    /// The tests of one engine that take turns
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Tests of the engine of an ordinary user run one after the other: aardvark-dns 1.4 answers late, or not at all, while
/// networks come and go in one user's namespace.
static USERS_ENGINE: Mutex<()> = Mutex::new(());

impl Host {
    fn podman_of_root() -> Option<Self> {
        Self::new(User::caller(), "podman", "SKUPPER_TEST_PODMAN")
    }

    fn podman_of_a_user() -> Option<Self> {
        let user = match env::var("SKUPPER_TEST_PODMAN_ROOTLESS_USER") {
            Ok(name) if !name.is_empty() => User::named(&name),
            _ => User::caller(),
        };
        // a failed test leaves nothing behind that the next one would find
        let turn = USERS_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut host = Self::new(user, "podman", "SKUPPER_TEST_PODMAN_ROOTLESS")?;
        host._turn = Some(turn);
        Some(host)
    }

    fn docker() -> Option<Self> {
        Self::new(User::caller(), "docker", "SKUPPER_TEST_DOCKER")
    }

    fn new(user: User, program: &'static str, variable: &str) -> Option<Self> {
        let endpoint = env::var(variable).ok().filter(|text| !text.is_empty());
        let Some(endpoint) = endpoint else {
            e2e::did_not_run(
                &format!("{variable} names no engine (tests/run.sh starts one)"),
                false,
            );
            return None;
        };
        Some(Self {
            user,
            program,
            endpoint,
            namespaces: Vec::new(),
            containers: Vec::new(),
            _turn: None,
        })
    }

    fn skupper(&self, line: &str) -> Command {
        let variable = match self.program {
            "docker" => "DOCKER_HOST",
            _ => "CONTAINER_HOST",
        };
        let mut command = self.user.command(line.split_whitespace());
        command
            .env("SKUPPER_PLATFORM", self.program)
            .env(variable, &self.endpoint);
        command
    }

    fn run(&self, line: &str) -> Ended {
        ended(line, self.skupper(line).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, line: &str) -> Ended {
        let ended = self.run(line);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    fn init(&mut self, namespace: &'static str) {
        self.namespaces.push(namespace);
        let _one_at_a_time = init_lock();
        self.ok(&format!(
            "init -n {namespace} --bind-port {} --bind-port-edge {}",
            free_port(),
            free_port()
        ));
    }

    /// The engine's own command line
    fn engine<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        let option = match self.program {
            "docker" => "--host",
            _ => "--url",
        };
        Command::new(self.program)
            .args([option, &self.endpoint])
            .args(words)
            .output()
            .unwrap()
    }

    /// A field of a container; empty when there is no such container
    fn field(&self, container: &str, format: &str) -> String {
        let output = self.engine([
            "inspect",
            "--type",
            "container",
            "--format",
            format,
            container,
        ]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Process id of a running container's first process, as the host counts
    fn pid(&self, container: &str) -> Option<i32> {
        let found = self.field(container, "{{.State.Running}} {{.State.Pid}}");
        let pid = found.strip_prefix("true ")?.parse().ok()?;
        (pid > 0).then_some(pid)
    }

    /// Runs this program in a container of the site's network and image
    fn payload(&self, namespace: &str, options: &[&str], variables: &[(&str, &str)]) -> Output {
        let image = self.field(&container(namespace, "skupper-router"), "{{.Config.Image}}");
        let mount = format!("{}:/payload:ro", self.payload_file().display());
        let network = network(namespace);
        let variables: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut words = vec!["run", "--network", &network, "--volume", &mount];
        words.extend(["--entrypoint", "/payload"]);
        words.extend(variables.iter().flat_map(|text| ["--env", text]));
        words.extend(options);
        words.extend([&image, "--exact", "--nocapture", "payload_of_container"]);
        self.engine(words)
    }

    /// This program, where the engine can read it
    fn payload_file(&self) -> PathBuf {
        let file = self.user.path("home").join("payload");
        if !file.exists() {
            fs::copy(env::current_exe().unwrap(), &file).unwrap();
            self.user.own_program(&file);
        }
        file
    }

    /// A server in a container, on the site's network under its container's name
    fn serve(&mut self, namespace: &str, name: &str) {
        self.containers.push(name.to_owned());
        let mut options = vec!["--detach", "--name", name, "--restart", "always"];
        // it does not listen to SIGTERM
        options.extend(["--stop-timeout", "1"]);
        let output = self.payload(namespace, &options, &[(SERVE, name)]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Asks a name and port from another container of the site's network
    #[track_caller]
    fn asked_inside(&self, namespace: &str, target: &str, reply: &str) {
        let asked = self.payload(namespace, &["--rm"], &[(ASK, target), (REPLY, reply)]);
        assert!(asked.status.success(), "{target}: {asked:?}");
    }
}

impl Host {
    /// What a reader of a failed test wants to know
    #[expect(
        clippy::print_stderr,
        reason = "shown by the test runner after a failure"
    )]
    fn explain(&self) {
        let text = |output: Output| {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).into_owned()
        };
        eprintln!("{}", text(self.engine(["ps", "--all"])));
        for namespace in &self.namespaces {
            for line in ["link status --verbose", "service status"] {
                eprintln!("{:?}", self.run(&format!("{line} -n {namespace}")));
            }
            for part in ["skupper-router", "hello"] {
                let name = format!("{namespace}-{part}");
                eprintln!(
                    "== {name}\n{}",
                    text(self.engine(["logs", "--tail", "20", &name]))
                );
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        for container in &self.containers {
            let _ = self.engine(["rm", "--force", container]);
        }
        for namespace in &self.namespaces {
            let _ = self.run(&format!("delete --force -n {namespace}"));
        }
    }
}

#[track_caller]
fn recovered(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(
            started.elapsed() < RECOVERY,
            "not within {RECOVERY:?}: {what}"
        );
        pause();
    }
}

/// Two linked sites on one engine with a backend in a container. A service of another port than its target is
/// reached under its name from a container of either site, and under a port of the host.
fn sites_with_a_service(host: &mut Host, west: &'static str, east: &'static str) -> u16 {
    host.init(west);
    host.init(east);
    let token = host.user.path("home").join("west.yaml");
    host.ok(&format!("token create {} -n {west}", token.display()));
    host.ok(&format!("link create {} -n {east}", token.display()));
    let backend = format!("{west}-backend");
    host.serve(west, &backend);
    let port = free_port();
    host.ok(&format!("service create hello 8080 -n {west}"));
    host.ok(&format!(
        "service bind hello host {backend} --target-port {BACKEND_PORT} -n {west}"
    ));
    host.ok(&format!(
        "service create hello 8080 --host-port {port} -n {east}"
    ));
    let reply = format!("{backend}:ping");
    host.ok(&format!("link status link1 --wait 30 -n {east}"));
    host.asked_inside(west, "hello:8080", &reply);
    host.asked_inside(east, "hello:8080", &reply);
    recovered("a reply at the host's port", || {
        ask(port).is_ok_and(|found| found == reply)
    });
    port
}

/// Containers that are killed or removed behind the site's back are there again without a command
fn containers_come_back(host: &Host, [west, east]: [&str; 2], port: u16) {
    let reply = format!("{west}-backend:ping");
    let answers = || ask(port).is_ok_and(|found| found == reply);
    for container in [
        format!("{east}-hello"),
        format!("{east}-skupper-router"),
        format!("{west}-hello"),
    ] {
        let pid = host.pid(&container).unwrap();
        signal(pid, Signal::KILL);
        recovered(&format!("another process of {container}"), || {
            host.pid(&container).is_some_and(|new| new != pid)
        });
        recovered(&format!("a reply after {container} was killed"), answers);
    }
    let removed = [format!("{east}-hello"), format!("{west}-skupper-router")];
    for container in &removed {
        let output = host.engine(["rm", "--force", container]);
        assert!(output.status.success(), "{output:?}");
    }
    for container in &removed {
        recovered(&format!("{container} again"), || {
            host.pid(container).is_some()
        });
    }
    recovered("a reply after containers were removed", answers);
    host.asked_inside(east, "hello:8080", &reply);
}

/// The engine itself ends and is started again, with all that runs on it
fn an_engine_is_restarted(host: &Host, port: u16, reply: &str) {
    let Ok(file) = env::var("SKUPPER_TEST_DOCKER_PIDFILE") else {
        e2e::did_not_run(
            "this docker is not the tests' own, it is not restarted",
            true,
        );
        return;
    };
    let daemon = || fs::read_to_string(&file).ok()?.trim().parse::<i32>().ok();
    let old = daemon().unwrap();
    signal(old, Signal::TERM);
    recovered("another daemon", || daemon().is_some_and(|new| new != old));
    recovered("a reply after the engine was restarted", || {
        ask(port).is_ok_and(|found| found == reply)
    });
    recovered("an answer of the engine", || {
        host.engine(["ps"]).status.success()
    });
}

fn nothing_is_left<const COUNT: usize>(host: &Host, namespaces: [&str; COUNT]) {
    for namespace in namespaces {
        host.ok(&format!("delete -n {namespace}"));
        for name in ["hello", "skupper-router"] {
            let name = container(namespace, name);
            assert_eq!(host.field(&name, "{{.Name}}"), "", "{name}");
        }
        let output = host.engine(["network", "inspect", &network(namespace)]);
        assert!(!output.status.success(), "{output:?}");
    }
}

fn story(
    host: &mut Host,
    west: &'static str,
    east: &'static str,
    trouble: fn(&Host, [&str; 2], u16),
) {
    let port = sites_with_a_service(host, west, east);
    trouble(host, [west, east], port);
    let refused = host.run(&format!("delete -n {west}"));
    refused.fails_with(&[&format!("{west}-backend")]);
    host.engine(["rm", "--force", &format!("{west}-backend")]);
    nothing_is_left(host, [west, east]);
}

#[test]
fn names_on_podman_of_root() {
    if let Some(mut host) = Host::podman_of_root() {
        story(&mut host, "tw", "te", |_, _, _| {});
    }
}

#[test]
fn names_and_recovery_on_podman_of_a_user() {
    if let Some(mut host) = Host::podman_of_a_user() {
        story(&mut host, "tw", "te", containers_come_back);
    }
}

#[test]
fn names_and_recovery_on_docker() {
    if let Some(mut host) = Host::docker() {
        story(&mut host, "dw", "de", |host, sites, port| {
            containers_come_back(host, sites, port);
            an_engine_is_restarted(host, port, "dw-backend:ping");
        });
    }
}

/// Interrupts a line when `so` has become true, or the line is done
fn interrupt(host: &Host, line: &str, mut so: impl FnMut() -> bool) -> Ended {
    let mut child = host
        .skupper(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    while child.try_wait().unwrap().is_none() && !so() {
        std::thread::yield_now();
    }
    if child.try_wait().unwrap().is_none() {
        signal(pid, Signal::INT);
    }
    cli_support::finish(line, child)
}

#[test]
fn interrupted_commands_on_podman_leave_all_or_nothing() {
    let Some(mut host) = Host::podman_of_a_user() else {
        return;
    };
    host.namespaces.push("ti");
    let site = host.user.site_dir("ti");
    let init = format!(
        "init -n ti --bind-port {} --bind-port-edge {}",
        free_port(),
        free_port()
    );
    let ended = {
        let _one_at_a_time = init_lock();
        interrupt(&host, &init, || site.join("router/skrouterd.json").exists())
    };
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(!site.exists(), "{ended:?}");
    assert_eq!(host.field("ti-skupper-router", "{{.Name}}"), "");
    assert!(
        !host
            .engine(["network", "inspect", "skupper-ti"])
            .status
            .success()
    );

    host.ok(&init);
    let create = "service create s 8080 -n ti";
    let ended = interrupt(&host, create, || site.join("services/s.yaml").exists());
    if ended.code == 130 {
        assert!(!site.join("services/s.yaml").exists(), "{ended:?}");
        assert_eq!(host.field("ti-s", "{{.Name}}"), "", "{ended:?}");
        host.ok(create);
    }
    assert!(host.pid("ti-s").is_some(), "{ended:?}");

    let journal = site.join("run/journal");
    let ended = interrupt(&host, "delete -n ti", || journal.exists());
    assert!([0, 130].contains(&ended.code), "{ended:?}");
    host.ok("delete -n ti");
    assert!(!site.exists());
    for container in ["ti-s", "ti-skupper-router"] {
        assert_eq!(host.field(container, "{{.Name}}"), "", "{ended:?}");
    }
    assert!(
        !host
            .engine(["network", "inspect", "skupper-ti"])
            .status
            .success()
    );
}

#[test]
fn no_site_is_made_on_podman_with_a_full_disk() {
    let Some(host) = Host::podman_of_a_user() else {
        return;
    };
    if !cli_support::is_root() {
        e2e::did_not_run("only root can mount a small file system", true);
        return;
    }
    // another program, so that the engine does not have its image yet
    let program = host.user.path("home").join("skupper");
    let mut octets = fs::read(cli_support::binary()).unwrap();
    octets.push(0);
    fs::write(&program, octets).unwrap();
    host.user.own_program(&program);
    // enough for the site's files, not for the image
    let disk = SmallDisk::mount(&host.user, "1m");
    let line = "init -n tf --ingress none";
    let ended = {
        let _one_at_a_time = init_lock();
        let plain = host.skupper(line);
        let mut command = Command::new(&program);
        command
            .args(plain.get_args())
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(host.user.path("home"));
        host.user.run_as(&mut command);
        ended(line, command.output().unwrap())
    };
    let left = host.user.site_dir("tf").exists();
    let network = host.engine(["network", "inspect", "skupper-tf"]);
    drop(disk);
    ended.fails_with(&["the file system is full"]);
    assert!(!left && !network.status.success(), "{ended:?}");
    assert_eq!(host.field("tf-skupper-router", "{{.Name}}"), "");
}

#[test]
fn the_default_site_on_podman_has_plain_names() {
    let Some(mut host) = Host::podman_of_a_user() else {
        return;
    };
    host.init("default");
    host.serve("default", "plain-backend");
    let port = free_port();
    host.ok(&format!(
        "expose host plain-backend --address hello --port 8080 --target-port {BACKEND_PORT} --host-port {port}"
    ));
    for name in ["hello", "skupper-router"] {
        assert!(host.pid(name).is_some(), "{name}");
    }
    host.asked_inside("default", "hello:8080", "plain-backend:ping");
    recovered("a reply at the host's port", || {
        ask(port).is_ok_and(|reply| reply == "plain-backend:ping")
    });
    for name in ["skupper-router", "skupper-router-local"] {
        host.run(&format!("service create {name} 80"))
            .fails_with(&[name, "site router"]);
    }
    // a name that is a container's already, of the site or of anybody
    host.run("service create plain-backend 80")
        .fails_with(&["a container named plain-backend already exists"]);
    host.ok("unexpose host plain-backend --address hello");
    host.engine(["rm", "--force", "plain-backend"]);
    nothing_is_left(&host, ["default"]);
}
