//! The life of a site on a container platform, with an engine that fails where it is told to.

mod site_support;

use std::fs;
use std::sync::Arc;

use model::name::ServiceName;
use model::platform::Platform;
use model::router_config::{Mode, Role, RouterConfig};
use model::service::{Service, Target};
use runtime::engine::ContainerState;
use runtime::site::{self, ContainerHealth, DeleteReport, SiteError, SiteHandle};
use tokio_util::sync::CancellationToken;

use site_support::progress::{Disturbing, Event, Quiet};
use site_support::{User, free_port, request};

#[test]
fn fake_controller() {
    site_support::fake_controller();
}

fn service(text: &str, port: u16) -> Service {
    Service::new(ServiceName::parse(text).expect("a name"), vec![port])
}

#[tokio::test]
async fn a_site_is_a_router_container_on_a_network_of_its_own() {
    let user = User::new();
    let ctx = user.context("default");
    let request = request(Platform::Podman);
    site::init(&ctx, &request).await.expect("a site");
    let paths = user.site("default");
    {
        let state = user.engine.state();
        assert!(state.networks.contains_key("skupper"));
        let (router, container) = &state.containers["skupper-router"];
        assert_eq!(*container, ContainerState::Running);
        assert_eq!(
            router.networks[0].aliases,
            ["skupper-router", "skupper-router-local"]
        );
        assert_eq!(
            router.command,
            [
                "router",
                "--config",
                "/etc/skupper-router/config/skrouterd.json"
            ]
        );
        let ports: Vec<(Option<u16>, u16)> = router
            .ports
            .iter()
            .map(|port| (Some(port.host_port), port.container_port))
            .collect();
        assert_eq!(
            ports,
            [(request.bind_port, 55671), (request.bind_port_edge, 45671)]
        );
        for mount in &router.mounts {
            assert_eq!(mount.read_only, mount.target != "/run/skupper");
            assert!(
                !mount.source.starts_with(paths.issuers_dir()),
                "authorities stay outside"
            );
        }
        assert_eq!(router.labels["skupper.io/component"], "skupper-router");
    }
    let text = fs::read_to_string(paths.router_config()).expect("there");
    let config = RouterConfig::parse(&text).expect("valid").config;
    assert_eq!(config.listeners["interior-listener"].port, 55671);
    assert_eq!(
        config.ssl_profiles["skupper-internal"].cert_file,
        Some("/etc/skupper-router-certs/skupper-site-server/tls.crt".into())
    );
    assert_eq!(
        config.listeners["management"].socket,
        Some("/run/skupper/router.sock".into())
    );
    site::delete(&ctx, false).await.expect("removed");
    user.assert_nothing_left("after delete");
}

#[tokio::test]
async fn a_service_is_an_edge_router_that_answers_to_its_name() {
    let user = User::new();
    let ctx = user.context("west");
    site::init(&ctx, &request(Platform::Podman))
        .await
        .expect("a site");
    let before = user.files();
    let port = free_port();
    let mut db = service("db", 5432);
    db.host_ports.insert(5432, port);
    db.labels.insert("app".to_owned(), "db".to_owned());
    site::service_create(&ctx, &db).await.expect("a service");
    {
        let state = user.engine.state();
        let (container, _) = &state.containers["west-db"];
        assert_eq!(container.networks[0].aliases, ["db"]);
        assert_eq!(container.networks[0].network, "skupper-west");
        assert_eq!(container.ports[0].host_port, port);
        assert_eq!(container.labels["app"], "db");
        assert_eq!(container.labels["skupper.io/address"], "db");
        let certs: Vec<&str> = container
            .mounts
            .iter()
            .map(|mount| mount.target.as_str())
            .filter(|target| target.contains("certs"))
            .collect();
        assert_eq!(
            certs,
            ["/etc/skupper-router-certs/skupper-site-server"],
            "nothing but what it needs"
        );
    }
    let file = user.site("west").service_router_config(&db.name);
    let read = || {
        let text = fs::read_to_string(&file).expect("there");
        RouterConfig::parse(&text).expect("valid").config
    };
    let config = read();
    let handle = SiteHandle::required(&ctx).expect("a site");
    assert_eq!(config.router.mode, Mode::Edge);
    assert_eq!(config.router.id, format!("{}-db", handle.site().name));
    let uplink = &config.connectors["uplink"];
    assert_eq!(
        (uplink.host.as_str(), uplink.port, uplink.role),
        ("skupper-router", 45671, Role::Edge)
    );
    assert_eq!(config.tcp_listeners["db:5432"].port, 5432);

    let target = Target::same_ports("postgres", &[5432]);
    site::service_bind(&ctx, &db.name, &target)
        .await
        .expect("bound");
    assert!(read().tcp_connectors.contains_key("db@postgres:5432:5432"));
    let status = site::status(&ctx).await.expect("a site");
    assert_eq!(status.services[0].container, ContainerHealth::Running);

    site::service_delete(&ctx, &db.name).await.expect("removed");
    assert!(!user.engine.state().containers.contains_key("west-db"));
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn a_container_removed_by_hand_is_seen_and_is_no_obstacle() {
    let user = User::new();
    let ctx = user.init("default", Platform::Podman).await;
    let db = service("db", 5432);
    site::service_create(&ctx, &db).await.expect("a service");
    user.engine.state().containers.remove("db");
    let status = site::status(&ctx).await.expect("a site");
    assert_eq!(status.services[0].container, ContainerHealth::Missing);
    let handle = SiteHandle::required(&ctx).expect("a site");
    let engine = site::engine_of(&ctx, &handle)
        .await
        .expect("available")
        .expect("an engine");
    site::ensure_container(&ctx, &handle, &engine, &db.name)
        .await
        .expect("made again");
    assert_eq!(
        user.engine.state().containers["db"].1,
        ContainerState::Running
    );
    user.engine.state().containers.remove("db");
    site::service_delete(&ctx, &db.name).await.expect("removed");
}

#[tokio::test]
async fn names_of_others_are_refused_and_never_touched() {
    let user = User::new();
    user.engine
        .add_foreign("skupper-router", "bridge", &[("application", "skupper")]);
    let error = site::init(&user.context("default"), &request(Platform::Podman))
        .await
        .expect_err("a v1 site");
    assert!(
        matches!(
            error,
            SiteError::ContainerExists {
                skupper_v1: true,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "a container named skupper-router already exists"
    );
    user.assert_nothing_left("a v1 site is there");
    assert!(user.engine.state().changes.is_empty());

    let ctx = user.context("west");
    site::init(&ctx, &request(Platform::Podman))
        .await
        .expect("a site beside it");
    user.engine.add_foreign("west-db", "skupper-west", &[]);
    let error = site::service_create(&ctx, &service("db", 5432))
        .await
        .expect_err("taken");
    assert_eq!(
        error.to_string(),
        "a container named west-db already exists"
    );
    assert_eq!(user.engine.state().containers.len(), 3);
}

#[tokio::test]
async fn networks_that_do_not_fit_are_refused() {
    let user = User::new();
    {
        let mut state = user.engine.state();
        state
            .networks
            .insert("plain".to_owned(), runtime::engine::NetworkSpec::default());
        state.without_names.insert("plain".to_owned());
        state
            .networks
            .insert("shared".to_owned(), runtime::engine::NetworkSpec::default());
    }
    let mut init = request(Platform::Podman);
    init.container_network = Some("plain".to_owned());
    let error = site::init(&user.context("default"), &init)
        .await
        .expect_err("no names");
    assert!(
        matches!(error, SiteError::NetworkWithoutNames { .. }),
        "{error}"
    );
    init.container_network = Some("shared".to_owned());
    let ctx = user.context("default");
    site::init(&ctx, &init).await.expect("a site");
    let mut other = request(Platform::Podman);
    other.container_network = Some("shared".to_owned());
    let error = site::init(&user.context("west"), &other)
        .await
        .expect_err("used by a site");
    assert!(matches!(error, SiteError::NetworkInUse { .. }), "{error}");
    // a network that was there before stays
    site::delete(&ctx, false).await.expect("removed");
    assert!(user.engine.state().networks.contains_key("shared"));
}

#[tokio::test]
async fn containers_of_others_on_the_network_stop_delete_unless_forced() {
    let user = User::new();
    let ctx = user.init("default", Platform::Podman).await;
    user.engine.add_foreign("my-app", "skupper", &[]);
    let before = user.files();
    let error = site::delete(&ctx, false).await.expect_err("in use");
    assert!(error.to_string().contains("my-app"), "{error}");
    assert_eq!(user.files(), before);
    assert!(SiteHandle::open(&ctx).expect("readable").is_some());
    let report = site::delete(&ctx, true).await.expect("removed");
    let DeleteReport::Removed {
        kept_network: Some(kept),
        ..
    } = report
    else {
        panic!("{report:?}");
    };
    assert_eq!(
        (kept.name.as_str(), kept.attached.as_slice()),
        ("skupper", &["my-app".to_owned()][..])
    );
    let state = user.engine.state();
    assert!(state.containers.contains_key("my-app"));
    assert_eq!(state.containers.len(), 1);
    assert!(state.networks.contains_key("skupper"));
}

#[tokio::test]
async fn every_call_of_the_engine_may_fail_during_init() {
    let user = User::new();
    let ctx = user.init("default", Platform::Podman).await;
    let calls = user.engine.state().changes.clone();
    assert_eq!(
        calls,
        [
            "create network skupper",
            "load image",
            "create container skupper-router",
            "start container skupper-router"
        ]
    );
    site::delete(&ctx, false).await.expect("removed");
    for (index, call) in calls.iter().enumerate() {
        let at = user.engine.state().changes.len() + index;
        user.engine.state().fail_at = [at].into();
        let error = site::init(&ctx, &request(Platform::Podman))
            .await
            .expect_err("told to fail");
        assert!(error.to_string().contains(call.as_str()), "{error}");
        assert!(error.remedy().is_empty(), "{:?}", error.remedy());
        user.assert_nothing_left(call);
    }
}

#[tokio::test]
async fn ctrl_c_and_crashes_at_any_step_of_init_leave_nothing() {
    let user = User::new();
    let steps = site::plan_init(&user.context("default"), &request(Platform::Podman))
        .await
        .expect("a plan")
        .steps
        .len();
    for at in 0..steps {
        for crash in [false, true] {
            let cancel = CancellationToken::new();
            let event = if crash {
                Event::Crash
            } else {
                Event::Cancel(cancel.clone())
            };
            let progress = Arc::new(Disturbing::new(at, event));
            let ctx = user.context_with("default", progress, &cancel);
            let outcome = tokio::spawn({
                let ctx = ctx.clone();
                async move { site::init(&ctx, &request(Platform::Podman)).await }
            })
            .await;
            match outcome {
                Err(error) => assert!(error.is_panic()),
                Ok(outcome) => drop(outcome.expect_err("interrupted")),
            }
            if crash {
                site::delete(&user.context("default"), false)
                    .await
                    .expect("removed");
            }
            user.assert_nothing_left(&format!("step {at}, crash {crash}"));
        }
    }
}

#[tokio::test]
async fn an_undo_that_fails_is_tried_again_by_the_next_command() {
    let user = User::new();
    let ctx = user.context("default");
    // the start of the router fails, and so does the first undo: removing its container
    user.engine.state().fail_at = [3, 4].into();
    let error = site::init(&ctx, &request(Platform::Podman))
        .await
        .expect_err("told to fail");
    let SiteError::RolledBack { left, .. } = &error else {
        panic!("{error}");
    };
    assert!(left[0].contains("remove container"), "{left:?}");
    assert!(
        error
            .remedy()
            .iter()
            .any(|line| line.contains("tries again"))
    );
    assert!(user.site("default").journal().exists());
    assert!(SiteHandle::open(&ctx).expect("readable").is_none());
    site::delete(&ctx, false).await.expect("fine");
    user.assert_nothing_left("tried again");
}

#[tokio::test]
async fn every_call_of_the_engine_may_fail_during_changes_of_services() {
    let user = User::new();
    let ctx = user.init("default", Platform::Podman).await;
    let db = service("db", 5432);
    let before = user.files();
    for index in 0..2 {
        let at = user.engine.state().changes.len() + index;
        user.engine.state().fail_at = [at].into();
        site::service_create(&ctx, &db)
            .await
            .expect_err("told to fail");
        assert_eq!(user.files(), before, "create, call {index}");
        assert!(!user.engine.state().containers.contains_key("db"));
    }
    user.engine.state().fail_at.clear();
    site::service_create(&ctx, &db).await.expect("a service");
    let with_service = user.files();
    let remove = user.engine.state().changes.len();
    // stopping may fail: removing kills
    user.engine.state().fail_at = [remove + 1].into();
    let error = site::service_delete(&ctx, &db.name)
        .await
        .expect_err("told to fail");
    assert!(error.to_string().contains("remove container db"), "{error}");
    assert_eq!(user.files(), with_service);
    assert_eq!(
        user.engine.state().containers["db"].1,
        ContainerState::Running,
        "started again"
    );
    user.engine.state().fail_at.clear();
    site::service_delete(&ctx, &db.name).await.expect("removed");
    assert_eq!(user.files(), before);
}

#[tokio::test]
async fn delete_reports_what_it_could_not_remove_and_goes_on_later() {
    let user = User::new();
    let ctx = user.init("default", Platform::Podman).await;
    // stop, remove: the removal fails
    let at = user.engine.state().changes.len() + 1;
    user.engine.state().fail_at = [at].into();
    let error = site::delete(&ctx, false).await.expect_err("told to fail");
    assert!(error.to_string().contains("skupper-router"), "{error}");
    assert!(user.site("default").root().exists());
    user.engine.state().fail_at.clear();
    site::delete(&ctx, false).await.expect("removed");
    user.assert_nothing_left("second try");
}

#[tokio::test]
async fn containers_without_a_directory_are_found_by_label() {
    let user = User::new();
    let ctx = user.init("default", Platform::Podman).await;
    user.engine.add_foreign("my-app", "bridge", &[]);
    user.engine
        .add_foreign("v1-thing", "bridge", &[("application", "skupper")]);
    runtime::native::end_holder(
        &user.site("default").controller_lock(),
        std::time::Duration::from_secs(5),
    )
    .await
    .expect("ended");
    fs::remove_dir_all(user.site("default").root()).expect("removable");
    let report = site::delete(&ctx, false).await.expect("removed");
    assert!(matches!(report, DeleteReport::Removed { name: None, .. }));
    let state = user.engine.state();
    let names: Vec<&String> = state.containers.keys().collect();
    assert_eq!(names, ["my-app", "v1-thing"]);
    assert!(state.networks.is_empty());
}

#[tokio::test]
async fn an_engine_that_does_not_answer_stops_everything_before_it_begins() {
    let user = User::new();
    user.engine.state().unavailable = true;
    let ctx = user.context("default");
    let error = site::init(&ctx, &request(Platform::Podman))
        .await
        .expect_err("no engine");
    let SiteError::Engine(cause) = &error else {
        panic!("{error}");
    };
    assert!(
        cause
            .hints()
            .iter()
            .any(|line| line.contains("podman.socket"))
    );
    user.assert_nothing_left("no engine");
    user.engine.state().unavailable = false;
    let ctx = user.init("default", Platform::Podman).await;
    user.engine.state().unavailable = true;
    let before = user.files();
    site::delete(&ctx, false).await.expect_err("no engine");
    assert_eq!(user.files(), before);
    assert!(SiteHandle::open(&ctx).expect("readable").is_some());
    user.engine.state().unavailable = false;
    site::delete(&ctx, false).await.expect("removed");
}

#[tokio::test]
async fn a_loopback_target_of_a_container_is_allowed_with_a_warning() {
    let user = User::new();
    user.init("default", Platform::Podman).await;
    let progress = Arc::new(Quiet::default());
    let ctx = user.context_with("default", progress.clone(), &CancellationToken::new());
    let mut web = service("web", 80);
    web.targets.push(Target::same_ports("localhost", &[80]));
    site::expose(&ctx, &web).await.expect("exposed");
    assert!(progress.warnings()[0].contains("host.containers.internal"));
}

#[tokio::test]
async fn two_sites_share_an_image_until_the_last_one_goes() {
    let user = User::new();
    let west = user.init("west", Platform::Podman).await;
    let east = user.init("east", Platform::Podman).await;
    assert_eq!(user.engine.state().images.len(), 1);
    site::delete(&west, false).await.expect("removed");
    assert_eq!(user.engine.state().images.len(), 1);
    assert!(
        user.engine
            .state()
            .containers
            .contains_key("east-skupper-router")
    );
    site::delete(&east, false).await.expect("removed");
    user.assert_nothing_left("both removed");
}

#[tokio::test]
async fn plans_name_every_step_in_order() {
    let user = User::new();
    let ctx = user.context("default");
    let plan = site::plan_init(&ctx, &request(Platform::Podman))
        .await
        .expect("a plan");
    let root = user.site("default").root();
    let lines: Vec<String> = plan
        .to_string()
        .replace(&format!("{}/", root.display()), "")
        .lines()
        .map(str::to_owned)
        .collect();
    let router = host_router_name(&plan);
    let image = lines
        .iter()
        .find(|line| line.starts_with("load image localhost/skupper:"))
        .expect("an image")
        .clone();
    assert_eq!(
        lines,
        [
            "create directory issuers",
            "create directory certs",
            "create directory links",
            "create directory services",
            "create directory router",
            "create directory run/sockets",
            "write the site's description (site.yaml)",
            "generate certificate authorities and certificates for host.example, 192.0.2.1",
            "write the router's configuration (router/skrouterd.json)",
            "create network skupper",
            image.as_str(),
            "start container skupper-router",
            "start the site controller",
            router.as_str(),
        ]
    );
    site::init(&ctx, &request(Platform::Podman))
        .await
        .expect("a site");
    let db = service("db", 5432);
    let plan = site::plan_service_create(&ctx, &db).await.expect("a plan");
    let starts: Vec<String> = plan
        .to_string()
        .lines()
        .map(|line| {
            line.split(" (")
                .next()
                .unwrap_or("")
                .replace(&format!("{}/", root.display()), "")
        })
        .collect();
    assert_eq!(
        starts[..4],
        [
            "write service db",
            "create directory service-routers/db",
            "write the router's configuration",
            "start container db"
        ]
    );
    assert!(starts[4].ends_with("-db"), "{starts:?}");
    let lines = site::plan_delete(&ctx).await.expect("a plan");
    assert!(
        lines.contains(&"remove container skupper-router".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"remove network skupper".to_owned()),
        "{lines:?}"
    );
    assert_eq!(user.engine.state().containers.len(), 1, "plans do nothing");
}

fn host_router_name(plan: &site::Plan) -> String {
    match plan.steps.last() {
        Some(site::Step::AwaitRouter { id, .. }) => format!("wait for router {id}"),
        other => panic!("{other:?}"),
    }
}
