use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use runtime::engine::{
    ContainerState, EngineError, NetworkAttachment, ObjectKind, PublishedPort, RestartPolicy,
};
use runtime::image::ImageArchive;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Bed;
use super::payload::{GREETING, MOUNT, PORT};

const GRACE: Duration = Duration::from_secs(20);

pub(crate) async fn version_is_told(bed: Arc<Bed>) {
    let version = bed.engine.version().await.unwrap();
    assert!(version.component.ends_with("Engine"), "{version:?}");
    assert!(version.version.contains('.'), "{version:?}");
    assert!(version.api_version.contains('.'), "{version:?}");
}

pub(crate) async fn images_have_a_stable_id_and_go_only_when_unused(bed: Arc<Bed>) {
    let engine = &bed.engine;
    // A binary of our own, since other tests use the bed's image.
    let binary = bed.directory().join("binary");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&binary).unwrap();
    file.write_all(bed.name("tail").as_bytes()).unwrap();
    drop(file);
    let archive = bed.directory().join("own.tar");
    let mut ids = Vec::new();
    let mut loaded = String::new();
    for _ in 0..2 {
        let reference = ImageArchive::build(&binary, &archive).unwrap();
        loaded = engine.load_image(archive.clone()).await.unwrap();
        assert_eq!(loaded, reference.as_str());
        let info = engine.image(&loaded).await.unwrap().unwrap();
        assert!(info.is_owned() && info.size > 1_000_000, "{info:?}");
        ids.push(info.id);
        if ids.len() == 1 {
            engine.remove_image(&loaded).await.unwrap();
            assert_eq!(engine.image(&loaded).await.unwrap(), None);
        }
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 64);

    bed.network().await;
    let mut spec = bed.spec("user");
    spec.image.clone_from(&loaded);
    engine.create_container(&spec).await.unwrap();
    let error = engine.remove_image(&loaded).await.unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::Conflict {
                kind: ObjectKind::Image,
                ..
            }
        ),
        "{error:?}"
    );
    engine.remove_container(&spec.name).await.unwrap();
    engine.remove_image(&loaded).await.unwrap();
    engine.remove_image(&loaded).await.unwrap();
    assert_eq!(engine.image(&loaded).await.unwrap(), None);
}

pub(crate) async fn broken_archives_are_refused(bed: Arc<Bed>) {
    let archive = bed.directory().join("broken.tar");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "manifest.json", &b"[]"[..])
        .unwrap();
    let empty = builder.into_inner().unwrap();
    for content in [b"no tar at all".repeat(100), empty] {
        fs::write(&archive, content).unwrap();
        let error = bed.engine.load_image(archive.clone()).await.unwrap_err();
        assert!(
            matches!(
                error,
                EngineError::Api { .. } | EngineError::UnreadableAnswer { .. }
            ),
            "{error:?}"
        );
    }
}

pub(crate) async fn networks_are_made_once_and_removed_only_when_empty(bed: Arc<Bed>) {
    let engine = &bed.engine;
    let name = bed.name("net");
    assert_eq!(engine.network(&name).await.unwrap(), None);
    bed.network().await;
    let info = engine.network(&name).await.unwrap().unwrap();
    assert_eq!(info.name, name);
    assert!(info.dns_enabled && info.is_owned() && info.attached.is_empty());
    assert_eq!(info.labels[bed.label().0], bed.label().1);

    let spec = bed.network_spec("net");
    let error = engine.create_network(&spec).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Conflict { kind: ObjectKind::Network, name: taken, .. } if *taken == name),
        "{error:?}"
    );

    // A container that never ran holds its network too.
    let container = bed.spec("member");
    engine.create_container(&container).await.unwrap();
    let info = engine.network(&name).await.unwrap().unwrap();
    assert_eq!(info.attached, std::slice::from_ref(&container.name));
    let error = engine.remove_network(&name).await.unwrap_err();
    assert!(error.to_string().contains(&container.name), "{error}");
    engine.remove_container(&container.name).await.unwrap();
    engine.remove_network(&name).await.unwrap();
    assert_eq!(engine.network(&name).await.unwrap(), None);
    engine.remove_network(&name).await.unwrap();
}

pub(crate) async fn networks_can_have_ipv6(bed: Arc<Bed>) {
    let mut network = bed.network_spec("net");
    network.ipv6 = true;
    bed.engine.create_network(&network).await.unwrap();
    let info = bed.serve(bed.spec("server")).await;
    let addresses = &info.networks[0].addresses;
    assert!(addresses.iter().any(IpAddr::is_ipv4), "{info:?}");
    assert!(addresses.iter().any(IpAddr::is_ipv6), "{info:?}");
}

pub(crate) async fn foreign_objects_are_left_alone(bed: Arc<Bed>) {
    let (network, container) = (bed.name("foreign"), bed.name("foreign"));
    let body = serde_json::json!({"Name": network, "Driver": "bridge"}).to_string();
    assert_eq!(bed.raw("POST", "/networks/create", &body).await, 201);
    let body =
        serde_json::json!({"Image": bed.image(), "Labels": {"application": "shop"}}).to_string();
    let path = format!("/containers/create?name={container}");
    assert_eq!(bed.raw("POST", &path, &body).await, 201);

    let error = bed.engine.remove_network(&network).await.unwrap_err();
    let kept = matches!(
        error,
        EngineError::Foreign {
            kind: ObjectKind::Network,
            ..
        }
    );
    let error = bed.engine.remove_container(&container).await.unwrap_err();
    let kept_too = matches!(
        error,
        EngineError::Foreign {
            kind: ObjectKind::Container,
            ..
        }
    );
    let path = format!("/containers/{container}?force=true");
    assert_eq!(bed.raw("DELETE", &path, "").await, 204);
    let path = format!("/networks/{network}");
    assert_eq!(bed.raw("DELETE", &path, "").await, 204);
    assert!(kept && kept_too);
}

pub(crate) async fn containers_live_from_creation_to_removal(bed: Arc<Bed>) {
    let engine = &bed.engine;
    bed.network().await;
    engine
        .create_network(&bed.network_spec("other"))
        .await
        .unwrap();
    let host_port = free_port();
    let mut spec = bed.spec("server");
    spec.ports = vec![PublishedPort {
        host_ip: Some("127.0.0.1".into()),
        host_port,
        container_port: PORT,
    }];
    spec.networks.push(NetworkAttachment {
        network: bed.name("other"),
        aliases: vec!["elsewhere".into()],
    });
    spec.labels
        .insert("skupper.io/component".into(), "router".into());
    spec.stop_timeout = Some(Duration::from_secs(3));

    let info = bed.serve(spec.clone()).await;
    assert_eq!(info.name, spec.name);
    assert_eq!(info.image, spec.image);
    assert_eq!(info.state, ContainerState::Running);
    assert!(info.pid.is_some() && info.started_at.is_some() && info.is_owned());
    assert_eq!(info.labels["skupper.io/component"], "router");
    assert_eq!(info.mounts, spec.mounts);
    assert_eq!(info.ports, spec.ports);
    assert_eq!(info.restart_count, 0);
    assert_eq!(info.networks.len(), 2);
    assert!(
        info.networks
            .iter()
            .all(|network| !network.addresses.is_empty())
    );
    assert_eq!(fs::read(bed.directory().join("ready")).unwrap(), b"yes");
    assert_eq!(greeting(host_port).await, GREETING);

    let listed = engine
        .containers(&[bed.label(), ("skupper.io/component", "router")])
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].name), (&info.id, &spec.name));
    assert_eq!(listed[0].state, ContainerState::Running);
    assert_eq!(listed[0].networks.len(), 2);
    let none = [bed.label(), ("skupper.io/component", "other")];
    assert!(engine.containers(&none).await.unwrap().is_empty());

    engine.start_container(&spec.name).await.unwrap();
    let error = engine.create_container(&spec).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Conflict { kind: ObjectKind::Container, name, .. } if *name == spec.name),
        "{error:?}"
    );

    let before = Instant::now();
    engine.stop_container(&spec.name, GRACE).await.unwrap();
    assert!(before.elapsed() < GRACE / 2, "not ended by SIGTERM");
    let stopped = bed.container(&spec.name).await;
    assert_eq!(stopped.state, ContainerState::Exited(0));
    assert_eq!((stopped.pid, &stopped.ports), (None, &spec.ports));
    engine.stop_container(&spec.name, GRACE).await.unwrap();
    let logs = engine.container_logs(&spec.name, 1000).await.unwrap();
    assert!(
        logs.contains("serving") && logs.contains("terminated"),
        "{logs}"
    );
    let last = engine.container_logs(&spec.name, 1).await.unwrap();
    assert!(last.trim_end().lines().count() <= 1, "{last}");

    engine.start_container(&spec.name).await.unwrap();
    bed.until(&spec.name, |info| info.state.is_running()).await;
    let pid = bed.container(&spec.name).await.pid;
    engine.restart_container(&spec.name, GRACE).await.unwrap();
    let again = bed.until(&spec.name, |info| info.state.is_running()).await;
    assert_ne!(again.pid, pid);

    engine.remove_container(&spec.name).await.unwrap();
    assert_eq!(engine.container(&spec.name).await.unwrap(), None);
    engine.remove_container(&spec.name).await.unwrap();
}

pub(crate) async fn a_killed_container_comes_back_and_a_stopped_one_does_not(bed: Arc<Bed>) {
    bed.network().await;
    let name = bed.name("server");
    let mut spec = bed.spec("server");
    let host_port = free_port();
    spec.ports = vec![PublishedPort {
        host_ip: None,
        host_port,
        container_port: PORT,
    }];
    let first = bed.serve(spec).await;
    kill(first.pid);
    let second = bed
        .until(&name, |info| info.pid.is_some() && info.pid != first.pid)
        .await;
    assert_eq!(second.restart_count, 1);
    assert_eq!(second.id, first.id);
    greets(host_port).await;

    bed.engine.stop_container(&name, GRACE).await.unwrap();
    let stopped = bed.container(&name).await;
    assert!(
        matches!(stopped.state, ContainerState::Exited(_)),
        "{stopped:?}"
    );
}

pub(crate) async fn containers_find_each_other_by_name_and_alias(bed: Arc<Bed>) {
    bed.network().await;
    let mut server = bed.spec("server");
    server.networks[0].aliases = vec!["skupper-router".into(), "skupper-router-local".into()];
    let server_name = server.name.clone();
    let info = bed.serve(server).await;
    let aliases = &info.networks[0].aliases;
    assert!(
        aliases.contains(&"skupper-router-local".to_owned()),
        "{info:?}"
    );
    let names = [&*server_name, "skupper-router", "skupper-router-local"];
    bed.asks(&names, bed.spec("asker")).await;
}

pub(crate) async fn a_taken_port_is_named(bed: Arc<Bed>) {
    bed.network().await;
    let taken = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut spec = bed.spec("server");
    spec.ports = vec![PublishedPort {
        host_ip: Some("127.0.0.1".into()),
        host_port: port,
        container_port: PORT,
    }];
    bed.engine.create_container(&spec).await.unwrap();
    let error = bed.engine.start_container(&spec.name).await.unwrap_err();
    assert!(
        matches!(error, EngineError::PortInUse { port: named, .. } if named == port),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("port {port} is already in use"))
    );
    assert!(!bed.container(&spec.name).await.state.is_running());
    bed.engine.remove_container(&spec.name).await.unwrap();
}

pub(crate) async fn missing_things_are_named(bed: Arc<Bed>) {
    let engine = &bed.engine;
    let name = bed.name("missing");
    assert_eq!(engine.container(&name).await.unwrap(), None);
    let not_found = |result: Result<(), EngineError>, kind, name: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), format!("{kind} \"{name}\" not found"));
    };
    not_found(
        engine.start_container(&name).await,
        ObjectKind::Container,
        &name,
    );
    not_found(
        engine.stop_container(&name, GRACE).await,
        ObjectKind::Container,
        &name,
    );
    let logs = engine.container_logs(&name, 1).await.map(drop);
    not_found(logs, ObjectKind::Container, &name);

    let mut spec = bed.spec("server");
    spec.restart = RestartPolicy::No;
    // Podman notices a missing network at creation, Docker when it starts the container.
    let created = engine.create_container(&spec).await.map(drop);
    let started = match created {
        Ok(()) => engine.start_container(&spec.name).await,
        Err(error) => Err(error),
    };
    not_found(started, ObjectKind::Network, &bed.name("net"));
    engine.remove_container(&spec.name).await.unwrap();
    bed.network().await;
    spec.image = "localhost/skupper:missing".into();
    let created = engine.create_container(&spec).await.map(drop);
    not_found(created, ObjectKind::Image, &spec.image);
    spec = bed.spec("server");
    spec.mounts[0].source = bed.directory().join("missing");
    let error = engine.create_container(&spec).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(!spec.mounts[0].source.exists());
    assert_eq!(spec.mounts[0].target, MOUNT);
    assert_eq!(engine.container(&spec.name).await.unwrap(), None);
}

fn free_port() -> u16 {
    let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn greeting(port: u16) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Waits until the server behind a published port answers again; the publisher accepts before it does.
async fn greets(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            let _ = stream.read_to_string(&mut text).await;
        }
        if text == GREETING {
            return;
        }
        assert!(Instant::now() < deadline, "no answer on port {port}");
    }
}

fn kill(pid: Option<u32>) {
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .filter(|&pid| pid > 1);
    kill_process(Pid::from_raw(pid.unwrap()).unwrap(), Signal::KILL).unwrap();
}
