//! The engine contract on a real Podman: `SKUPPER_TEST_PODMAN` is the path of its socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod common;

use std::sync::Arc;

use common::{Bed, bed, engine_at, payload_of_container, socket};
use model::Platform;
use runtime::engine::{Engine, EngineError, PublishedPort};

const VARIABLE: &str = "SKUPPER_TEST_PODMAN";

async fn podman() -> Option<Arc<dyn Engine>> {
    Some(engine_at(Platform::Podman, &socket(VARIABLE)?).await)
}

/// What a container runs: this very program with this test as its argument.
#[test]
fn payload() {
    payload_of_container();
}

common::engine_tests!(podman);

#[tokio::test]
async fn a_docker_socket_served_by_podman_gives_podman() {
    let Some(socket) = socket(VARIABLE) else {
        return;
    };
    let engine = engine_at(Platform::Docker, &socket).await;
    assert_eq!(engine.platform(), Platform::Podman);
    let version = engine.version().await.unwrap();
    assert_eq!(version.component, "Podman Engine");
    assert!(engine.containers(&[]).await.is_ok());
}

#[tokio::test]
async fn the_host_has_a_name_in_containers() {
    let Some(engine) = podman().await else {
        return;
    };
    bed(engine, "host", |bed: Arc<Bed>| async move {
        bed.network().await;
        bed.resolves(&["host.containers.internal"], bed.spec("asker"))
            .await;
    })
    .await;
}

/// Root may publish any port, so this says something about rootless engines only.
#[tokio::test]
async fn a_privileged_port_is_told_from_a_taken_one() {
    let Some(engine) = podman().await else {
        return;
    };
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let first: u16 = first.trim().parse().unwrap();
    if !engine.rootless() || first == 0 {
        return;
    }
    bed(engine, "privileged", move |bed: Arc<Bed>| async move {
        bed.network().await;
        let mut spec = bed.spec("server");
        spec.ports = vec![PublishedPort {
            host_ip: None,
            host_port: first - 1,
            container_port: 8080,
        }];
        bed.engine.create_container(&spec).await.unwrap();
        let error = bed.engine.start_container(&spec.name).await.unwrap_err();
        assert!(
            matches!(error, EngineError::PortNotPermitted { port, .. } if port == first - 1),
            "{error:?}"
        );
    })
    .await;
}
