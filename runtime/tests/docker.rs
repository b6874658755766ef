//! The engine contract on a real Docker: `SKUPPER_TEST_DOCKER` is the path of its socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod common;

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use common::{Bed, bed, engine_at, payload_of_container, socket};
use model::Platform;
use runtime::engine::{Engine, EngineEnvironment, connect};

const VARIABLE: &str = "SKUPPER_TEST_DOCKER";

async fn docker() -> Option<Arc<dyn Engine>> {
    Some(engine_at(Platform::Docker, &socket(VARIABLE)?).await)
}

/// What a container runs: this very program with this test as its argument.
#[test]
fn payload() {
    payload_of_container();
}

common::engine_tests!(docker);

#[tokio::test]
async fn docker_is_not_mistaken_for_podman() {
    let Some(socket) = socket(VARIABLE) else {
        return;
    };
    let env = EngineEnvironment::from_env();
    let error = connect(Platform::Podman, Some(&socket), &env)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("Docker Engine answers there"),
        "{error}"
    );
}

#[tokio::test]
async fn files_belong_to_the_caller_who_may_still_use_low_ports() {
    let Some(socket) = socket(VARIABLE) else {
        return;
    };
    let env = EngineEnvironment {
        uid: 4321,
        gid: 4322,
        ..EngineEnvironment::default()
    };
    let engine = connect(Platform::Docker, Some(&socket), &env)
        .await
        .unwrap();
    assert_eq!(engine.container_user().as_deref(), Some("4321:4322"));
    bed(engine, "caller", |bed: Arc<Bed>| async move {
        bed.network().await;
        bed.serve(bed.spec("server")).await;
        let file = std::fs::metadata(bed.directory().join("ready")).unwrap();
        assert_eq!((file.uid(), file.gid()), (4321, 4322));
    })
    .await;
}

#[tokio::test]
async fn the_host_has_a_name_in_containers() {
    let Some(engine) = docker().await else {
        return;
    };
    bed(engine, "host", |bed: Arc<Bed>| async move {
        bed.network().await;
        let mut spec = bed.spec("asker");
        for name in ["host.docker.internal", "host.containers.internal"] {
            spec.extra_hosts
                .push((name.to_owned(), "host-gateway".to_owned()));
        }
        bed.resolves(&["host.docker.internal", "host.containers.internal"], spec)
            .await;
    })
    .await;
}
