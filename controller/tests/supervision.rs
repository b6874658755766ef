//! Real controllers, guards and locks; the router is a process that only lives.

#[path = "../../runtime/tests/site_support/mod.rs"]
mod site_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use controller::{ControllerOptions, Role};
use model::name::Namespace;
use model::paths::{Paths, SitePaths};
use model::platform::Platform;
use runtime::engine::EngineEnvironment;
use runtime::native;
use runtime::site::{self, control};
use rustix::process::{Pid, Signal, kill_process};

use site_support::User;

const ARGUMENTS: &str = "REAL_CONTROLLER_ARGUMENTS";
const PROGRAM: &str = "REAL_CONTROLLER_PROGRAM";

/// No test: the process that the script below becomes.
#[test]
fn real_controller() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let words: Vec<&str> = arguments.split(' ').collect();
    let values: BTreeMap<&str, &str> = words
        .windows(2)
        .filter(|pair| pair[0].starts_with("--"))
        .map(|pair| (pair[0], pair[1]))
        .collect();
    let options = ControllerOptions {
        paths: Paths {
            data_home: values["--data-home"].into(),
            config_home: values["--config-home"].into(),
            runtime_dir: values["--runtime-dir"].into(),
            uid: 0,
            user: "user".to_owned(),
        },
        namespace: Namespace::parse(values["--namespace"]).expect("a namespace"),
        role: if words.contains(&"--guard") {
            Role::Guard
        } else {
            Role::Controller
        },
        executable: PathBuf::from(std::env::var(PROGRAM).expect("set by the script")),
        engine_environment: EngineEnvironment::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime
        .block_on(controller::run(&options, || {}))
        .expect("it runs");
}

/// A site whose program is: controller and guard for real, `sleep` for a router.
async fn supervised() -> (User, SitePaths) {
    let user = User::new();
    let this = std::env::current_exe().expect("this program");
    let program = user.controller();
    user.write_controller(&format!(
        "case $1 in\n\
         controller) {ARGUMENTS}=\"$*\" {PROGRAM}={} exec {} --exact real_controller --nocapture;;\n\
         router) exec sleep 1000;;\n\
         esac",
        program.display(),
        this.display()
    ));
    user.init("default", Platform::Linux).await;
    let paths = user.site("default");
    for lock in locks(&paths) {
        until(&format!("{} held", lock.display()), || {
            pid_of(&lock).is_some()
        })
        .await;
    }
    (user, paths)
}

fn locks(paths: &SitePaths) -> [PathBuf; 3] {
    [
        paths.controller_lock(),
        control::guard_lock(paths),
        paths.router_lock(),
    ]
}

fn pid_of(lock: &Path) -> Option<u32> {
    if !native::is_held(lock).expect("readable") {
        return None;
    }
    native::holder(lock)
        .map(|holder| holder.pid)
        .filter(|pid| *pid != std::process::id())
}

fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("ours");
}

/// What happens in other processes can't be awaited otherwise.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills the holder of a lock and returns the one that came after it.
async fn replaced(lock: &Path) -> (u32, u32) {
    let old = pid_of(lock).expect("alive");
    kill(old, Signal::KILL);
    until(&format!("{} held by another", lock.display()), || {
        pid_of(lock).is_some_and(|pid| pid != old)
    })
    .await;
    (old, pid_of(lock).expect("alive"))
}

#[tokio::test]
async fn a_killed_router_comes_back() {
    let (user, paths) = supervised().await;
    replaced(&paths.router_lock()).await;
    // and again: the pause grows, the router still comes
    replaced(&paths.router_lock()).await;
    site::delete(&user.context("default"), false)
        .await
        .expect("removed");
    user.assert_nothing_left("deleted");
}

#[tokio::test]
async fn a_killed_controller_comes_back_and_takes_the_running_router_over() {
    let (user, paths) = supervised().await;
    let router = pid_of(&paths.router_lock());
    replaced(&paths.controller_lock()).await;
    assert_eq!(pid_of(&paths.router_lock()), router, "the same router");
    replaced(&paths.router_lock()).await;
    site::delete(&user.context("default"), false)
        .await
        .expect("removed");
    user.assert_nothing_left("deleted");
}

#[tokio::test]
async fn a_killed_guard_comes_back() {
    let (user, paths) = supervised().await;
    replaced(&control::guard_lock(&paths)).await;
    replaced(&paths.controller_lock()).await;
    site::delete(&user.context("default"), false)
        .await
        .expect("removed");
    user.assert_nothing_left("deleted");
}

#[tokio::test]
async fn a_router_without_controller_and_guard_is_adopted_by_the_next_command() {
    let (user, paths) = supervised().await;
    let router = pid_of(&paths.router_lock());
    let guard = pid_of(&control::guard_lock(&paths)).expect("alive");
    let controller = pid_of(&paths.controller_lock()).expect("alive");
    // stopped first, so that neither sees the other's end
    kill(guard, Signal::STOP);
    kill(controller, Signal::KILL);
    kill(guard, Signal::KILL);
    until("both are gone", || {
        pid_of(&paths.controller_lock()).is_none() && pid_of(&control::guard_lock(&paths)).is_none()
    })
    .await;
    let ctx = user.context("default");
    assert!(!site::status(&ctx).await.expect("a site").controller);
    let service = model::service::Service::new(
        model::name::ServiceName::parse("db").expect("a name"),
        vec![site_support::free_port()],
    );
    site::service_create(&ctx, &service).await.expect("made");
    assert!(site::status(&ctx).await.expect("a site").controller);
    assert_eq!(pid_of(&paths.router_lock()), router);
    site::delete(&ctx, false).await.expect("removed");
    user.assert_nothing_left("deleted");
}

#[tokio::test]
async fn everything_ends_on_sigterm() {
    let (_user, paths) = supervised().await;
    kill(
        pid_of(&paths.controller_lock()).expect("alive"),
        Signal::TERM,
    );
    for lock in locks(&paths) {
        native::freed(&lock).await.expect("readable");
    }
    for lock in locks(&paths) {
        assert_eq!(pid_of(&lock), None, "{}", lock.display());
    }
}

#[tokio::test]
async fn everything_ends_when_the_site_is_removed_by_hand() {
    let (_user, paths) = supervised().await;
    let pids: Vec<u32> = locks(&paths)
        .iter()
        .map(|lock| pid_of(lock).expect("alive"))
        .collect();
    fs::remove_dir_all(paths.root()).expect("removable");
    until("all have ended", || pids.iter().all(|pid| !is_alive(*pid))).await;
}

#[tokio::test]
async fn a_second_controller_leaves_at_once() {
    let (user, paths) = supervised().await;
    let first = pid_of(&paths.controller_lock());
    let ctx = user.context("default");
    let mut second = native::spawn_detached(&native::Detached {
        program: user.controller(),
        arguments: control::controller_arguments(&ctx.paths, &ctx.namespace, false),
        log: paths.controller_log(),
        directory: ctx.paths.data_home.clone(),
    })
    .expect("started");
    let mut status = None;
    let deadline = Instant::now() + Duration::from_secs(20);
    while status.is_none() && Instant::now() < deadline {
        status = second.ended();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(status.expect("it ended").success());
    assert_eq!(pid_of(&paths.controller_lock()), first);
}

/// A zombie is as good as dead.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}
