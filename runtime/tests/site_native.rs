//! The life of a site on the platform `linux`, with a controller that only holds its lock.

mod site_support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use model::name::SiteName;
use model::platform::Platform;
use model::router_config::RouterConfig;
use model::site::IngressKind;
use runtime::native::{self, HeldLock};
use runtime::site::{self, DeleteReport, SiteError, SiteHandle};
use tokio_util::sync::CancellationToken;

use site_support::progress::{Disturbing, Event, Quiet};
use site_support::{User, free_port, request};

#[test]
fn fake_controller() {
    site_support::fake_controller();
}

#[tokio::test]
async fn a_site_is_made_and_removed_without_a_trace() {
    let user = User::new();
    let ctx = user.context("default");
    let request = request(Platform::Linux);
    let made = site::init(&ctx, &request).await.expect("a site");
    let paths = user.site("default");
    let handle = SiteHandle::open(&ctx).expect("readable").expect("a site");
    assert_eq!(*handle.site(), made);
    assert!(native::is_held(&paths.controller_lock()).expect("readable"));
    assert!(!paths.journal().exists());
    let config = fs::read_to_string(paths.router_config()).expect("there");
    let config = RouterConfig::parse(&config).expect("valid").config;
    assert_eq!(config.router.id, made.name.as_str());
    let interior = &config.listeners["interior-listener"];
    assert_eq!(
        (interior.host.as_str(), Some(interior.port)),
        ("127.0.0.1", request.bind_port)
    );
    for profile in config.ssl_profiles.values() {
        let files = [
            &profile.cert_file,
            &profile.private_key_file,
            &profile.ca_cert_file,
        ];
        for file in files.into_iter().flatten() {
            let mode = fs::metadata(file).expect("there").mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
    }
    let server = pki::Certificate::load(&paths.cert("skupper-site-server")).expect("there");
    let facts = server.facts().expect("readable");
    for host in ["skupper-router", "host.example", "192.0.2.1"] {
        assert!(facts.covers(host), "{host}");
    }
    server.verify().expect("issued by the site's authority");

    let report = site::delete(&ctx, false).await.expect("removed");
    let DeleteReport::Removed { name, .. } = report else {
        panic!("{report:?}");
    };
    assert_eq!(name, Some(made.name));
    user.assert_nothing_left("after delete");
    let again = site::delete(&ctx, false).await.expect("nothing to do");
    assert_eq!(again, DeleteReport::NotFound);
}

#[tokio::test]
async fn init_twice_changes_nothing() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let before = user.files();
    let error = site::init(&ctx, &request(Platform::Linux))
        .await
        .expect_err("a site is there");
    assert!(
        matches!(error, SiteError::AlreadyInitialized { .. }),
        "{error}"
    );
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn commands_without_a_site_say_so_and_make_nothing() {
    let user = User::new();
    let ctx = user.context("default");
    let name = model::name::LinkName::parse("link1").expect("a name");
    let error = site::link_delete(&ctx, &name).await.expect_err("no site");
    assert!(matches!(error, SiteError::NotEnabled { .. }), "{error}");
    let error = site::status(&ctx).await.expect_err("no site");
    assert!(matches!(error, SiteError::NotEnabled { .. }), "{error}");
    assert_eq!(
        site::delete(&ctx, false).await.expect("fine"),
        DeleteReport::NotFound
    );
    user.assert_nothing_left("nothing was there");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_holder_and_nothing_is_made() {
    let user = User::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let mut request = request(Platform::Linux);
    request.bind_port_edge = Some(port);
    let error = site::init(&user.context("default"), &request)
        .await
        .expect_err("taken");
    let SiteError::Port { option, free, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*option, "--bind-port-edge");
    assert!(free.is_some());
    let text = error.to_string();
    assert!(text.contains(&port.to_string()), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    user.assert_nothing_left("port taken");
}

#[tokio::test]
async fn one_port_twice_is_refused() {
    let user = User::new();
    let mut request = request(Platform::Linux);
    request.bind_port_edge = request.bind_port;
    let error = site::init(&user.context("default"), &request)
        .await
        .expect_err("twice");
    assert!(error.to_string().contains("used twice"), "{error}");
    user.assert_nothing_left("twice");
}

#[tokio::test]
async fn further_sites_get_free_ports_and_names_of_their_own() {
    let user = User::new();
    let west = user.context("west");
    let mut request = site::InitRequest::new(Platform::Linux);
    request.bind_ips = vec!["127.0.0.1".parse().expect("a literal")];
    let first = site::init(&west, &request).await.expect("a site");
    let east = user.context("east");
    let second = site::init(&east, &request).await.expect("a site");
    let ports = |site: &model::site::Site| {
        [
            site.ingress.port,
            site.ingress.edge_port,
            site.ingress.claims_port,
        ]
    };
    for port in ports(&first) {
        assert!(!ports(&second).contains(&port), "{port}");
    }
    assert!(first.name.as_str().ends_with("-west"), "{}", first.name);
    assert_ne!(first.name, second.name);

    request.name = Some(first.name.clone());
    let error = site::init(&user.context("north"), &request)
        .await
        .expect_err("the name is taken");
    assert!(matches!(error, SiteError::NameInUse { .. }), "{error}");
    for ctx in [west, east] {
        site::delete(&ctx, false).await.expect("removed");
    }
    user.assert_nothing_left("both removed");
}

#[tokio::test]
async fn a_site_without_ingress_listens_nowhere() {
    let user = User::new();
    let ctx = user.context("default");
    let mut request = request(Platform::Linux);
    request.ingress = IngressKind::None;
    request.name = Some(SiteName::parse("quiet").expect("a name"));
    let site = site::init(&ctx, &request).await.expect("a site");
    assert!(site.ingress.hosts.is_empty());
    let text = fs::read_to_string(user.site("default").router_config()).expect("there");
    let config = RouterConfig::parse(&text).expect("valid").config;
    let names: Vec<&String> = config.listeners.keys().collect();
    assert_eq!(names, ["management"]);
}

#[tokio::test]
async fn a_controller_that_does_not_start_leaves_nothing_but_its_last_words() {
    let user = User::new();
    user.write_controller("echo told to fail; exit 3");
    let error = site::init(&user.context("default"), &request(Platform::Linux))
        .await
        .expect_err("no controller");
    let SiteError::Controller { log, .. } = error.root() else {
        panic!("{error}");
    };
    assert!(
        log.iter().any(|line| line.contains("told to fail")),
        "{log:?}"
    );
    user.assert_nothing_left("no controller");
}

#[tokio::test]
async fn a_router_that_does_not_come_up_is_rolled_back() {
    let user = User::new();
    user.routers.set_down(true);
    // thirty seconds of waiting pass at once; the controller before it needs real time
    let last = steps_of_init(&user).await - 1;
    let progress = Arc::new(Disturbing::new(last, Event::SkipTime));
    let ctx = user.context_with("default", progress, &CancellationToken::new());
    let error = site::init(&ctx, &request(Platform::Linux))
        .await
        .expect_err("no router");
    assert!(
        matches!(error.root(), SiteError::RouterNotReady { .. }),
        "{error}"
    );
    user.assert_nothing_left("no router");
}

#[tokio::test]
async fn ctrl_c_at_any_step_of_init_leaves_nothing() {
    let user = User::new();
    let steps = steps_of_init(&user).await;
    assert!(steps > 8, "{steps}");
    for at in 0..steps {
        let cancel = CancellationToken::new();
        let progress = Arc::new(Disturbing::new(at, Event::Cancel(cancel.clone())));
        let ctx = user.context_with("default", progress.clone(), &cancel);
        let error = site::init(&ctx, &request(Platform::Linux))
            .await
            .expect_err("interrupted");
        assert!(
            matches!(error.root(), SiteError::Cancelled),
            "step {at}: {error}"
        );
        assert!(error.remedy().is_empty(), "step {at}: {:?}", error.remedy());
        user.assert_nothing_left(&format!(
            "interrupted at {:?}",
            progress.seen.steps().last()
        ));
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_init_is_undone_by_the_next_command() {
    let user = User::new();
    let steps = steps_of_init(&user).await;
    for at in 0..steps {
        let progress = Arc::new(Disturbing::new(at, Event::Crash));
        let ctx = user.context_with("default", progress, &CancellationToken::new());
        let crashed = tokio::spawn({
            let ctx = ctx.clone();
            async move { site::init(&ctx, &request(Platform::Linux)).await }
        })
        .await;
        assert!(crashed.is_err_and(|error| error.is_panic()));
        let ctx = user.context("default");
        assert!(user.site("default").journal().exists());
        assert!(SiteHandle::open(&ctx).expect("readable").is_none());
        let left = site::interrupted(&ctx).expect("half done");
        assert_eq!(left.operation, "skupper init");
        if at % 2 == 0 {
            let report = site::delete(&ctx, false).await.expect("removed");
            assert!(matches!(report, DeleteReport::Removed { .. }), "{report:?}");
        } else {
            let request = request(Platform::Linux);
            site::init(&ctx, &request).await.expect("a new site");
            site::delete(&ctx, false).await.expect("removed");
        }
        user.assert_nothing_left(&format!("crashed at step {at}"));
    }
}

#[tokio::test]
async fn a_crash_of_delete_is_finished_by_the_next_command() {
    let user = User::new();
    for at in 0..2 {
        user.init("default", Platform::Linux).await;
        let progress = Arc::new(Disturbing::new(at, Event::Crash));
        let ctx = user.context_with("default", progress, &CancellationToken::new());
        let crashed = tokio::spawn({
            let ctx = ctx.clone();
            async move { site::delete(&ctx, false).await }
        })
        .await;
        assert!(crashed.is_err_and(|error| error.is_panic()));
        let progress = Arc::new(Quiet::default());
        let ctx = user.context_with("default", progress.clone(), &CancellationToken::new());
        assert!(SiteHandle::open(&ctx).expect("readable").is_none());
        let name = model::name::ServiceName::parse("x").expect("a name");
        let error = site::service_delete(&ctx, &name).await.expect_err("gone");
        assert!(matches!(error, SiteError::NotEnabled { .. }), "{error}");
        assert!(
            progress.warnings()[0].contains("skupper delete"),
            "{:?}",
            progress.warnings()
        );
        user.assert_nothing_left(&format!("delete crashed at {at}"));
    }
}

#[tokio::test]
async fn a_second_command_waits_ten_seconds_and_names_the_first() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let lock = user.site("default").lock_file();
    let held = HeldLock::try_acquire(&lock, "skupper service create db")
        .expect("usable")
        .expect("free");
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let name = model::name::LinkName::parse("link1").expect("a name");
    let error = site::link_delete(&ctx, &name).await.expect_err("busy");
    let SiteError::Busy {
        holder: Some(holder),
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(holder.pid, std::process::id());
    assert!(error.to_string().contains("skupper service create db"));
    assert!(started.elapsed().as_secs() >= 10);
    drop(held);
    let error = site::link_delete(&ctx, &name)
        .await
        .expect_err("no such link");
    assert!(matches!(error, SiteError::NoSuchLink { .. }), "{error}");
}

#[tokio::test]
async fn a_command_waits_for_a_short_one() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let lock = user.site("default").lock_file();
    let held = HeldLock::try_acquire(&lock, "short")
        .expect("usable")
        .expect("free");
    let name = model::name::LinkName::parse("link1").expect("a name");
    let (outcome, ()) = tokio::join!(site::link_delete(&ctx, &name), async {
        tokio::task::yield_now().await;
        drop(held);
    });
    assert!(matches!(outcome, Err(SiteError::NoSuchLink { .. })));
}

#[tokio::test]
async fn two_inits_at_once_make_one_site() {
    let user = User::new();
    let (first, second) = (user.context("default"), user.context("default"));
    let (one, other) = (request(Platform::Linux), request(Platform::Linux));
    let (a, b) = tokio::join!(site::init(&first, &one), site::init(&second, &other));
    let (made, refused) = if a.is_ok() { (a, b) } else { (b, a) };
    made.expect("one of them");
    let error = refused.expect_err("the other");
    assert!(
        matches!(error, SiteError::AlreadyInitialized { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_journal_that_points_outside_the_site_is_not_followed() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let precious = user.root.path().join("precious");
    fs::write(&precious, "x").expect("writable");
    let paths = user.site("default");
    let sneaky = paths.root().join("run/../../../../precious");
    let journal = format!(
        "{}\n{}\n{}\n",
        serde_json::json!({"operation": "skupper service create", "direction": "back", "namespace": "default",
            "platform": "linux", "engine_endpoint": null, "site_id": "5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11"}),
        serde_json::json!({"undo": "remove-path", "path": precious}),
        serde_json::json!({"undo": "remove-path", "path": sneaky}),
    );
    fs::write(paths.journal(), journal).expect("writable");
    let name = model::name::LinkName::parse("link1").expect("a name");
    let error = site::link_delete(&ctx, &name).await.expect_err("refused");
    assert!(matches!(error, SiteError::Several(_)), "{error}");
    assert!(precious.exists());
    fs::remove_file(paths.journal()).expect("there");
}

#[tokio::test]
async fn files_of_a_newer_version_are_left_alone() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let file = user.site("default").site_file();
    let text = fs::read_to_string(&file).expect("there");
    let newer = text.replacen("format: 1", "format: 99", 1);
    assert_ne!(text, newer);
    fs::write(&file, &newer).expect("writable");
    let error = site::delete(&ctx, false).await.expect_err("newer");
    assert!(error.to_string().contains("99"), "{error}");
    assert_eq!(fs::read_to_string(&file).expect("there"), newer);
    fs::write(&file, text).expect("writable");
    site::delete(&ctx, false).await.expect("removed");
}

#[tokio::test]
async fn a_damaged_description_is_no_obstacle_to_delete() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    fs::write(user.site("default").site_file(), "format: 1\nnonsense").expect("writable");
    let error = SiteHandle::open(&ctx).expect_err("damaged");
    assert!(error.to_string().contains("site.yaml"), "{error}");
    site::delete(&ctx, false).await.expect("removed");
    user.assert_nothing_left("damaged");
}

#[tokio::test]
async fn a_dry_run_lists_the_steps_and_makes_nothing() {
    let user = User::new();
    let plan = site::plan_init(&user.context("default"), &request(Platform::Linux))
        .await
        .expect("a plan");
    let text = plan.to_string();
    assert!(text.contains("certificate authorities"), "{text}");
    assert!(
        text.ends_with("wait for router ") || text.contains("wait for router"),
        "{text}"
    );
    user.assert_nothing_left("dry run");
}

#[tokio::test]
async fn a_site_whose_controller_died_is_started_by_the_next_change() {
    let user = User::new();
    let ctx = user.init("default", Platform::Linux).await;
    let lock = user.site("default").controller_lock();
    native::end_holder(&lock, std::time::Duration::from_secs(5))
        .await
        .expect("ended");
    let status = site::status(&ctx).await.expect("a site");
    assert!(!status.controller);
    assert_eq!(status.warnings.len(), 1);
    let mut service = model::service::Service::new(
        model::name::ServiceName::parse("db").expect("a name"),
        vec![free_port()],
    );
    service.listen = true;
    site::service_create(&ctx, &service).await.expect("made");
    assert!(native::is_held(&lock).expect("readable"));
}

async fn steps_of_init(user: &User) -> usize {
    site::plan_init(&user.context("default"), &request(Platform::Linux))
        .await
        .expect("a plan")
        .steps
        .len()
}

/// Inside a small file system of its own: see the test below.
#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "tells the test that started this process"
)]
async fn inside_a_small_file_system() {
    let Ok(size) = std::env::var("SMALL_FILE_SYSTEM") else {
        return;
    };
    let user = User::new();
    fs::create_dir_all(&user.paths.data_home).expect("writable");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
        .arg(&user.paths.data_home)
        .status()
        .expect("mount");
    assert!(mounted.success());
    let ctx = user.context("default");
    match site::init(&ctx, &request(Platform::Linux)).await {
        Ok(_) => {
            println!("it fits");
            site::delete(&ctx, false).await.expect("removed");
        }
        Err(error) => {
            println!("failed: {error}");
            let text = error.to_string();
            // a controller without a word to say had no room for its log either
            let causes = ["full", "space", "controller did not start"];
            assert!(causes.iter().any(|cause| text.contains(cause)), "{text}");
            let left: Vec<_> = fs::read_dir(&user.paths.data_home)
                .expect("mounted")
                .flatten()
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    let unmounted = std::process::Command::new("umount")
        .arg(&user.paths.data_home)
        .status()
        .expect("umount");
    assert!(unmounted.success());
}

/// Needs user and mount namespaces; says so where there are none.
#[test]
#[expect(clippy::print_stdout, reason = "says why it did not run")]
fn a_full_disk_at_any_point_of_init_leaves_nothing() {
    use std::process::Command;
    let probe = Command::new("unshare")
        .args(["-rm", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !probe {
        println!("did not run: no user and mount namespaces here");
        return;
    }
    // pages of 4 KiB: from too small for the first file to enough for all
    for (failures, pages) in (1..60).enumerate() {
        let output = Command::new("unshare")
            .arg("-rm")
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "inside_a_small_file_system", "--nocapture"])
            .env("SMALL_FILE_SYSTEM", (pages * 4096).to_string())
            .output()
            .expect("unshare");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{pages} pages: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if text.contains("it fits") {
            assert!(failures > 5, "{failures}");
            return;
        }
    }
    panic!("never enough space");
}

#[tokio::test]
async fn locks_of_killed_commands_are_no_site() {
    let user = User::new();
    let paths = user.site("default");
    fs::create_dir_all(paths.run_dir()).expect("writable");
    fs::write(paths.lock_file(), "4711 skupper init\n").expect("writable");
    fs::write(
        user.paths.sites_dir().join(".init.lock"),
        "4711 skupper init\n",
    )
    .expect("writable");
    let report = site::delete(&user.context("default"), false)
        .await
        .expect("fine");
    assert_eq!(report, DeleteReport::NotFound);
    user.assert_nothing_left("killed early");
}
