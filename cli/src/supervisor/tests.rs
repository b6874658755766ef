//! Faults of a manager, against sites that are really made; the manager itself is real in the end-to-end tests.

use std::sync::{Mutex, PoisonError};

use model::{Namespace, Platform};
use runtime::engine::EngineEnvironment;
use runtime::site::{self, Context, InitRequest, Progress, SiteError};
use systemd::UnitState;
use systemd::bus::Answer;
use tokio_util::sync::CancellationToken;

use super::*;

/// Notes what is asked of it; refuses the calls that begin with a word
#[derive(Debug, Default)]
struct FakeBus {
    path: Vec<PathBuf>,
    refuses: Option<&'static str>,
    /// Asked for once this call is made
    cancels: Option<(&'static str, CancellationToken)>,
    calls: Mutex<Vec<String>>,
}

impl FakeBus {
    fn call<T: Default + Send + 'static>(&self, call: String) -> Answer<'static, T> {
        let refused = self.refuses.is_some_and(|word| call.starts_with(word));
        let cancelled = self
            .cancels
            .as_ref()
            .filter(|(word, _)| call.starts_with(word))
            .map(|(_, cancel)| cancel.clone());
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call.clone());
        Box::pin(async move {
            if let Some(cancel) = cancelled {
                cancel.cancel();
                // as a job that takes long
                std::future::pending::<()>().await;
            }
            if refused {
                return Err(BusError::Refused {
                    call,
                    reason: "not today".to_owned(),
                });
            }
            Ok(T::default())
        })
    }

    fn calls(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn all(verb: &str, units: &[UnitName]) -> String {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    format!("{verb} {}", names.join(" "))
}

impl Bus for FakeBus {
    fn unit_path(&self) -> Answer<'_, Vec<PathBuf>> {
        Box::pin(async { Ok(self.path.clone()) })
    }
    fn reload(&self) -> Answer<'_, ()> {
        self.call("reload".to_owned())
    }
    fn enable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()> {
        self.call(all("enable", units))
    }
    fn disable<'a>(&'a self, units: &'a [UnitName]) -> Answer<'a, ()> {
        self.call(all("disable", units))
    }
    fn start<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        self.call(format!("start {unit}"))
    }
    fn stop<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        self.call(format!("stop {unit}"))
    }
    fn restart<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        self.call(format!("restart {unit}"))
    }
    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, ()> {
        self.call(format!("reset {unit}"))
    }
    fn state<'a>(&'a self, unit: &'a UnitName) -> Answer<'a, UnitState> {
        self.call(format!("state {unit}"))
    }
}

#[derive(Debug, Default)]
struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }
}

impl Progress for Warnings {
    fn step(&self, _text: &str) {}

    fn warn(&self, text: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    }
}

/// A user with directories of its own
struct Bed {
    root: tempfile::TempDir,
    paths: Paths,
    warnings: Arc<Warnings>,
    cancel: CancellationToken,
}

impl Bed {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut paths = Paths::under(root.path());
        paths.uid = 1000;
        paths.config_home = root.path().join("config/skupper");
        Self {
            root,
            paths,
            warnings: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    fn units(&self) -> PathBuf {
        self.root.path().join("config/systemd/user")
    }

    fn reading_bus(&self) -> FakeBus {
        FakeBus {
            path: vec!["/etc/systemd/user".into(), self.units()],
            ..FakeBus::default()
        }
    }

    /// There is none unless the test makes one
    fn journal(&self) -> Journal {
        let root = self.root.path();
        Journal::in_directories(Scope::User, 1000, root, &root.join("journal"))
    }

    fn supervisor(&self, bus: Option<Arc<FakeBus>>) -> Systemd {
        let mut systemd = Systemd::new(&self.paths);
        systemd.booted = self.root.path().join("not-booted");
        systemd.journal = self.journal();
        systemd.bus = OnceCell::new_with(bus.map(|bus| bus as Arc<dyn Bus>));
        systemd
    }

    fn context(&self, bus: Option<Arc<FakeBus>>) -> Context {
        Context::new(
            self.paths.clone(),
            Namespace::default(),
            EngineEnvironment::default(),
            "/opt/skupper".into(),
            Arc::clone(&self.warnings) as Arc<dyn Progress>,
            self.cancel.clone(),
        )
        .with_supervisor(Arc::new(self.supervisor(bus)))
    }

    fn request(&self) -> InitRequest {
        let mut request = InitRequest::new(Platform::Linux);
        request.ingress = model::IngressKind::None;
        request.ingress_hosts = vec!["localhost".to_owned()];
        request
    }

    async fn init(&self, bus: &Arc<FakeBus>) -> Result<model::Site, SiteError> {
        site::init(&self.context(Some(Arc::clone(bus))), &self.request()).await
    }

    /// A site as a successful `init` leaves it, without processes
    fn write_site(&self) -> model::SitePaths {
        let paths = self.paths.site(&Namespace::default());
        store::ensure_dir(&paths.run_dir(), 0o700).unwrap();
        let mut site = model::Site::new(
            Namespace::default(),
            model::SiteName::parse("host1").unwrap(),
            Platform::Linux,
        );
        site.systemd = Some(model::SystemdSettings {
            unit_directory: self.units(),
        });
        site.write(&paths.site_file()).unwrap();
        paths
    }

    fn write_units(&self, root: &Path) {
        let wants = self.units().join("default.target.wants");
        fs::create_dir_all(&wants).unwrap();
        for name in UNITS {
            let file = self.units().join(name);
            fs::write(&file, format!("[X-Skupper]\nRoot={}\n", root.display())).unwrap();
            std::os::unix::fs::symlink(&file, wants.join(name)).unwrap();
        }
    }

    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        let mut directories = vec![self.root.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for path in fs::read_dir(&directory)
                .unwrap()
                .flatten()
                .map(|it| it.path())
            {
                if path.is_dir() {
                    directories.push(path);
                } else {
                    left.push(path);
                }
            }
        }
        left
    }
}

const UNITS: [&str; 2] = ["skupper-controller.service", "skupper-router.service"];

#[tokio::test]
async fn a_failure_at_any_step_of_the_manager_leaves_nothing() {
    for word in [
        "enable",
        "reload",
        "start skupper-controller",
        "start skupper-router",
    ] {
        let bed = Bed::new();
        let bus = Arc::new(FakeBus {
            refuses: Some(word),
            ..bed.reading_bus()
        });
        let error = bed.init(&bus).await.unwrap_err();
        assert!(
            matches!(error.root(), SiteError::Supervisor(failure) if failure.reason.contains("not today")),
            "{word}: {error:?}"
        );
        assert_eq!(bed.left(), Vec::<PathBuf>::new(), "{word}");
        let calls = bus.calls();
        let undone = calls.iter().position(|call| call.starts_with("disable"));
        assert!(undone.is_some_and(|at| at > 0), "{word}: {calls:?}");
        assert_eq!(
            calls.iter().filter(|call| call.starts_with("stop")).count() % 2,
            0,
            "{word}: {calls:?}"
        );
    }
}

#[tokio::test]
async fn an_interruption_during_a_start_is_rolled_back_at_once() {
    let bed = Bed::new();
    let bus = Arc::new(FakeBus {
        cancels: Some(("start skupper-router", bed.cancel.clone())),
        ..bed.reading_bus()
    });
    let error = bed.init(&bus).await.unwrap_err();
    assert!(matches!(error.root(), SiteError::Cancelled), "{error:?}");
    assert_eq!(bed.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn without_a_manager_the_site_is_not_tied_to_one_and_the_user_is_told() {
    let bed = Bed::new();
    let elsewhere = Arc::new(FakeBus::default());
    for (bus, reason) in [
        (None, "systemd does not run this host"),
        (Some(elsewhere), "systemd does not read units from "),
    ] {
        let plan = site::plan_init(&bed.context(bus), &bed.request())
            .await
            .unwrap()
            .to_string();
        assert!(!plan.contains("unit"), "{plan}");
        assert!(plan.contains("start the site controller"), "{plan}");
        let warning = bed.warnings.text();
        assert!(warning.contains("will not come back"), "{warning}");
        assert!(warning.contains(reason), "{warning}");
    }
    let mut request = bed.request();
    request.supervision = Supervision::Systemd;
    let error = site::plan_init(&bed.context(None), &request)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "systemd does not run this host");
}

#[tokio::test]
async fn units_of_somebody_else_are_neither_replaced_nor_removed() {
    let bed = Bed::new();
    bed.write_units(Path::new("/somewhere/else"));
    let bus = Arc::new(bed.reading_bus());
    let context = bed.context(Some(Arc::clone(&bus)));
    let plan = site::plan_init(&context, &bed.request()).await.unwrap();
    assert!(!plan.to_string().contains("unit"), "{plan}");
    assert!(
        bed.warnings.text().contains("is not of this site"),
        "{}",
        bed.warnings.text()
    );
    let paths = bed.write_site();
    site::delete(&context, false).await.unwrap();
    assert!(!paths.root().exists());
    assert_eq!(bed.left().len(), 4, "{:?}", bed.left());
    assert_eq!(bus.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn the_plan_names_the_units_and_their_directory() {
    let bed = Bed::new();
    let context = bed.context(Some(Arc::new(bed.reading_bus())));
    let plan = site::plan_init(&context, &bed.request())
        .await
        .unwrap()
        .to_string();
    let expected = format!(
        "install units skupper-controller, skupper-router ({})\nstart units skupper-controller, skupper-router\n",
        bed.units().display()
    );
    assert!(plan.contains(&expected), "{plan}");
    assert!(!plan.contains("start the site controller"), "{plan}");
    assert_eq!(bed.left(), Vec::<PathBuf>::new());
    assert_eq!(bed.warnings.text(), "");
}

#[tokio::test]
async fn delete_works_without_the_files_without_the_manager_and_without_the_description() {
    let expected = [
        "stop skupper-controller.service",
        "stop skupper-router.service",
        "disable skupper-controller.service skupper-router.service",
        "reload",
        "reset skupper-controller.service",
        "reset skupper-router.service",
    ];
    for (files, manager, description) in [
        (true, true, true),
        (false, true, true),
        (true, false, true),
        (true, true, false),
    ] {
        let bed = Bed::new();
        let paths = bed.write_site();
        if files {
            bed.write_units(&paths.root());
        }
        if !description {
            fs::write(paths.site_file(), "not: [a site").unwrap();
        }
        let bus = Arc::new(bed.reading_bus());
        let context = bed.context(manager.then(|| Arc::clone(&bus)));
        site::delete(&context, false).await.unwrap();
        let case = (files, manager, description);
        assert_eq!(bed.left(), Vec::<PathBuf>::new(), "{case:?}");
        if manager {
            assert_eq!(bus.calls(), expected, "{case:?}");
        }
    }
}

#[test]
fn the_unit_of_a_container_site_waits_for_the_usual_units_of_its_engine_only() {
    let bed = Bed::new();
    let mut systemd = bed.supervisor(None);
    let mut process = Process {
        name: "skupper-controller".to_owned(),
        description: "x".to_owned(),
        command: vec!["/opt/skupper".into()],
        log: "/log".into(),
        stop_grace: Duration::from_secs(10),
        engine: Some(Platform::Podman),
    };
    let processes = Processes {
        root: "/site".into(),
        site_file: "/site/site.yaml".into(),
        stop_marker: "/site/run/stopping".into(),
        sockets: "/run/user/1000/skupper/0123".into(),
        all: vec![process.clone()],
    };
    let text = |systemd: &Systemd, process: &Process| {
        systemd.service(&processes, process).render().unwrap()
    };
    let starts_with = |unit: &str, units: &str| {
        for key in ["Wants", "After"] {
            let line = format!("\n{key}={units}\n");
            assert!(unit.contains(&line), "no {line:?} in {unit}");
        }
    };
    let unit = text(&systemd, &process);
    starts_with(&unit, "network-online.target podman.socket");
    assert!(unit.contains("RuntimeDirectory=skupper/0123\n"), "{unit}");
    assert!(unit.contains("WantedBy=default.target\n"), "{unit}");
    // the system's docker: no unit of a user can wait for it
    process.engine = Some(Platform::Docker);
    starts_with(&text(&systemd, &process), "network-online.target");
    // another endpoint, or none
    process.engine = None;
    starts_with(&text(&systemd, &process), "network-online.target");

    // a journal that the user can read
    assert!(unit.contains("StandardOutput=append:/log\n"), "{unit}");
    let journal = bed.root.path().join("journal");
    fs::create_dir_all(bed.root.path().join("systemd/journal/stdout")).unwrap();
    fs::create_dir(&journal).unwrap();
    fs::write(journal.join("user-1000.journal"), "").unwrap();
    let unit = text(&systemd, &process);
    assert!(unit.contains("StandardOutput=journal\n"), "{unit}");

    systemd.surroundings.scope = Scope::System;
    for (engine, units) in [
        (None, ""),
        (Some(Platform::Podman), " podman.socket"),
        (Some(Platform::Docker), " docker.socket docker.service"),
    ] {
        process.engine = engine;
        let unit = text(&systemd, &process);
        starts_with(&unit, &format!("network-online.target{units}"));
        assert!(unit.contains("WantedBy=multi-user.target\n"), "{unit}");
    }
}

/// A stand-in for `loginctl` that keeps marks as logind does; `disable` is what it does instead of removing one
fn logind(directory: &Path, disable: &str) -> Linger {
    use std::os::unix::fs::PermissionsExt as _;

    let program = directory.join("loginctl");
    let marks = directory.join("marks");
    fs::create_dir(&marks).unwrap();
    let text = format!(
        "#!/bin/sh\ncase $1 in\nenable-linger) : >{0}/$2 ;;\ndisable-linger) {disable} ;;\nesac\n",
        marks.display()
    );
    fs::write(&program, text.replace("MARK", "\"$(dirname $0)\"/marks/$2")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Linger::without_bus("alice", 1000, &marks, program)
}

/// Systemd of a host that runs it, with that `loginctl`
fn lingering(bed: &Bed, bus: Option<Arc<FakeBus>>, disable: &str) -> Systemd {
    let mut systemd = bed.supervisor(bus);
    systemd.linger = logind(bed.root.path(), disable);
    systemd.booted = bed.root.path().to_owned();
    systemd.surroundings.scope = Scope::User;
    systemd.surroundings.addresses = Vec::new();
    systemd.surroundings.systemctl = "/nonexistent/systemctl".into();
    systemd.manager_start = Duration::ZERO;
    systemd
}

#[tokio::test]
async fn lingering_that_a_failed_init_enabled_is_disabled_again() {
    let bed = Bed::new();
    let systemd = lingering(&bed, Some(Arc::default()), "rm MARK");
    assert!(systemd.enable_linger(&bed.cancel).await.unwrap());
    assert!(systemd.lingers().await);
    let failure = systemd.undo_linger(CommandError::failed("no")).await;
    assert_eq!(failure.text, "no");
    assert_eq!(failure.hints, Vec::<String>::new());
    assert!(!systemd.lingers().await);
}

#[tokio::test]
async fn lingering_that_was_enabled_before_is_not_ours() {
    let bed = Bed::new();
    let systemd = lingering(&bed, Some(Arc::default()), "rm MARK");
    fs::write(bed.root.path().join("marks/alice"), "").unwrap();
    assert!(!systemd.enable_linger(&bed.cancel).await.unwrap());
    // not even if the call itself fails
    let systemd = Systemd {
        bus: OnceCell::new(),
        ..systemd
    };
    systemd.enable_linger(&bed.cancel).await.unwrap_err();
    assert!(systemd.lingers().await);
}

#[tokio::test]
async fn lingering_ends_again_where_the_manager_does_not_come_or_the_user_interrupts() {
    let bed = Bed::new();
    let systemd = lingering(&bed, None, "rm MARK");
    let error = systemd.enable_linger(&bed.cancel).await.unwrap_err();
    assert!(
        error.text.starts_with("lingering was enabled, but "),
        "{}",
        error.text
    );
    assert!(!systemd.lingers().await);

    let bed = Bed::new();
    let mut systemd = lingering(&bed, None, "rm MARK");
    systemd.manager_start = Duration::from_secs(600);
    let (outcome, ()) = tokio::join!(systemd.enable_linger(&bed.cancel), async {
        while !systemd.lingers().await {
            tokio::task::yield_now().await;
        }
        bed.cancel.cancel();
    });
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Interrupted);
    assert!(!systemd.lingers().await);
}

#[tokio::test]
async fn lingering_that_cannot_be_disabled_is_told_with_the_command() {
    let bed = Bed::new();
    let systemd = lingering(&bed, Some(Arc::default()), "echo not today >&2; exit 1");
    assert!(systemd.enable_linger(&bed.cancel).await.unwrap());
    let failure = systemd.undo_linger(CommandError::failed("no")).await;
    assert_eq!(failure.hints.len(), 1);
    let hint = &failure.hints[0];
    assert!(hint.starts_with("lingering stays enabled ("), "{hint}");
    assert!(hint.contains("not today"), "{hint}");
    assert!(hint.ends_with("loginctl disable-linger alice"), "{hint}");
}
