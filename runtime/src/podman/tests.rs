use std::collections::BTreeMap;

use super::*;
use crate::engine::testing::FakeEngine;
use crate::engine::{BindMount, ContainerState, NetworkAttachment, ObjectKind, PublishedPort};

fn podman(fake: &FakeEngine) -> Podman {
    Podman {
        transport: fake.transport(),
        rootless: true,
        user: None,
    }
}

/// Container inspection as Podman 5 writes it: entrypoint and stop signal have types that 4.x did not have.
const CONTAINER: &str = r#"{"Id":"0a1b","Name":"skupper-router","Image":"feed","ImageName":"localhost/skupper:1",
 "State":{"Status":"stopped","Pid":0,"ExitCode":137,"StartedAt":"0001-01-01T00:00:00Z","Health":null},
 "RestartCount":3,"Config":{"Entrypoint":["/skupper"],"StopSignal":"SIGTERM","Labels":{"application":"skupper"}},
 "NetworkSettings":{"Networks":{"skupper":{"IPAddress":"10.89.0.2","GlobalIPv6Address":"","Aliases":["a"]}},"Ports":null},
 "HostConfig":{"PortBindings":{"55671/tcp":[{"HostIp":"","HostPort":"55671"}],"9/udp":[{"HostIp":"","HostPort":"9"}]}},
 "Mounts":[{"Type":"bind","Source":"/s","Destination":"/run/skupper","RW":false},{"Type":"volume","Source":"/v","Destination":"/w","RW":true}]}"#;

#[tokio::test]
async fn inspection_reads_the_fields_in_use_and_survives_the_rest() {
    let fake = FakeEngine::start(|_| (200, CONTAINER.into()));
    let info = podman(&fake).container("skupper-router").await.unwrap();
    let info = info.unwrap();
    assert_eq!(info.state, ContainerState::Exited(137));
    assert_eq!(
        (info.pid, info.started_at, info.restart_count),
        (None, None, 3)
    );
    assert_eq!(
        info.networks[0].addresses,
        ["10.89.0.2".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(
        info.mounts,
        [BindMount {
            source: "/s".into(),
            target: "/run/skupper".into(),
            read_only: true
        }]
    );
    assert_eq!(
        info.ports,
        [PublishedPort {
            host_ip: None,
            host_port: 55671,
            container_port: 55671
        }]
    );
}

#[tokio::test]
async fn null_collections_are_empty() {
    let body = r#"{"Id":"x","Name":"n","State":{"Status":"paused"},"Config":{"Labels":null},
                   "NetworkSettings":{"Networks":null},"HostConfig":{"PortBindings":{"1/tcp":null}},"Mounts":null}"#;
    let fake = FakeEngine::start(move |_| (200, body.into()));
    let info = podman(&fake).container("n").await.unwrap().unwrap();
    assert_eq!(info.state, ContainerState::Other("paused".into()));
    assert!(info.labels.is_empty() && info.ports.is_empty() && info.networks.is_empty());
    let fake = FakeEngine::start(move |_| (200, "null".into()));
    assert!(podman(&fake).containers(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_removal_that_failed_inside_a_200_answer_is_an_error() {
    let fake = FakeEngine::start(|request| {
        match request {
        line if line.starts_with("DELETE") && line.contains("/networks/") => (
            200,
            r#"[{"Name":"skupper","Err":"netavark: it broke"}]"#.into(),
        ),
        line if line.starts_with("DELETE") && line.contains("/containers/") => {
            (200, r#"[{"Id":"0a1b","Err":{}}]"#.into())
        }
        line if line.starts_with("DELETE") => (
            200,
            r#"{"Deleted":null,"Untagged":null,"Errors":["image is in use by a container"],"ExitCode":2}"#.into(),
        ),
        line if line.contains("/networks/") => (
            200,
            r#"{"name":"skupper","dns_enabled":true,"labels":{"application":"skupper"}}"#.into(),
        ),
        line if line.contains("/containers/json") => (200, "[]".into()),
        line if line.contains("/containers/") => (200, CONTAINER.into()),
        _ => (200, r#"{"Id":"x","Labels":{"application":"skupper"}}"#.into()),
    }
    });
    let podman = podman(&fake);
    let error = podman.remove_network("skupper").await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Api { status: 200, message, .. } if message == "netavark: it broke")
    );
    let error = podman.remove_container("skupper-router").await.unwrap_err();
    assert!(matches!(error, EngineError::Api { status: 200, .. }));
    let error = podman
        .remove_image("localhost/skupper:1")
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        EngineError::Conflict {
            kind: ObjectKind::Image,
            ..
        }
    ));
}

#[tokio::test]
async fn a_load_that_failed_inside_a_200_answer_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    std::fs::write(&archive, b"no tar").unwrap();
    for (body, expected) in [
        (
            r#"{"error":"payload does not match"}"#,
            "payload does not match (status 200)",
        ),
        (r#"{"Names":[]}"#, "no image name in the answer"),
        ("", "unreadable answer"),
    ] {
        let fake = FakeEngine::start(move |_| (200, body.into()));
        let error = podman(&fake).load_image(archive.clone()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let missing = directory.path().join("missing.tar");
    let fake = FakeEngine::start(|_| (200, String::new()));
    let error = podman(&fake).load_image(missing).await.unwrap_err();
    assert!(error.to_string().contains("missing.tar"), "{error}");
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn foreign_objects_are_never_asked_to_be_removed() {
    let fake = FakeEngine::start(|request| match request {
        line if line.contains("/networks/") => (
            200,
            r#"{"name":"n","labels":{"application":"other"}}"#.into(),
        ),
        line if line.contains("/containers/json") => (200, "[]".into()),
        _ => (
            200,
            r#"{"Id":"x","Name":"n","Config":{"Labels":null}}"#.into(),
        ),
    });
    let podman = podman(&fake);
    for result in [
        podman.remove_network("n").await,
        podman.remove_container("n").await,
        podman.remove_image("n").await,
    ] {
        assert!(matches!(result, Err(EngineError::Foreign { .. })));
    }
    assert!(fake.requests().iter().all(|line| line.starts_with("GET")));
}

#[tokio::test]
async fn names_cannot_leave_their_place_in_the_path() {
    let fake = FakeEngine::start(|_| (404, r#"{"message":"no such container"}"#.into()));
    let found = podman(&fake).container("../a?b c").await.unwrap();
    assert!(found.is_none());
    assert_eq!(
        fake.requests(),
        ["GET /v4.0.0/libpod/containers/..%2Fa%3Fb%20c/json"]
    );
}

#[tokio::test]
async fn refusals_at_creation_name_what_is_missing_or_taken() {
    let spec = ContainerSpec {
        name: "c".into(),
        image: "localhost/skupper:1".into(),
        networks: vec![NetworkAttachment {
            network: "skupper".into(),
            aliases: vec![],
        }],
        ..ContainerSpec::default()
    };
    for (status, message, expected) in [
        (
            404,
            "localhost/skupper:1: image not known",
            "image \"localhost/skupper:1\" not found",
        ),
        (
            500,
            "unable to find network with name or ID skupper: network not found",
            "network \"skupper\" not found",
        ),
        (
            500,
            "the container name \"c\" is already in use by 0a",
            "container \"c\": the container name",
        ),
        (
            500,
            "no space left on device",
            "POST /v4.0.0/libpod/containers/create: no space left on device (status 500)",
        ),
    ] {
        let body =
            serde_json::json!({"cause": "x", "message": message, "response": status}).to_string();
        let fake = FakeEngine::start(move |_| (status, body.clone()));
        let error = podman(&fake).create_container(&spec).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn the_listing_filter_names_every_label() {
    let fake = FakeEngine::start(|_| {
        (200, r#"[{"Id":"1","Names":["n"],"State":"Exited","ExitCode":2,"Labels":null,"Networks":null}]"#.into())
    });
    let listed = podman(&fake)
        .containers(&[("application", "skupper"), ("a", "b")])
        .await
        .unwrap();
    assert_eq!(listed[0].state, ContainerState::Exited(2));
    assert_eq!(listed[0].labels, BTreeMap::new());
    let query = &fake.requests()[0];
    assert!(
        query
            .ends_with("filters=%7B%22label%22:%5B%22application%3Dskupper%22%2C%22a%3Db%22%5D%7D"),
        "{query}"
    );
}
