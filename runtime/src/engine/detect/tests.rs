use super::*;
use crate::engine::testing::{DOCKER_VERSION, FakeEngine, PODMAN_VERSION, user};

fn engine(version: &'static str, info: &'static str) -> FakeEngine {
    FakeEngine::start(move |request| match request {
        "GET /version" => (200, version.to_owned()),
        // bollard asks with a version in the path.
        line if line.ends_with("/version") => (200, version.to_owned()),
        line if line.ends_with("/info") => (200, info.to_owned()),
        _ => (404, r#"{"message":"page not found"}"#.to_owned()),
    })
}

#[tokio::test]
async fn a_docker_socket_served_by_podman_gets_the_podman_backend() {
    let podman = engine(
        PODMAN_VERSION,
        r#"{"host":{"security":{"rootless":false}},"store":null}"#,
    );
    let engine = connect(Platform::Docker, Some(&podman.endpoint()), &user())
        .await
        .unwrap();
    assert_eq!(engine.platform(), Platform::Podman);
    assert!(!engine.rootless());
    // Root's Podman does not map this user.
    assert_eq!(engine.container_user().as_deref(), Some("1000:1000"));
    assert_eq!(
        engine.version().await.unwrap(),
        EngineVersion {
            component: "Podman Engine".into(),
            version: "5.4.2".into(),
            api_version: "5.4.2".into(),
        }
    );
}

#[tokio::test]
async fn users_own_podman_needs_no_user_in_the_container() {
    let podman = engine(PODMAN_VERSION, r#"{"host":{"security":{"rootless":true}}}"#);
    let engine = connect(Platform::Podman, Some(&podman.endpoint()), &user())
        .await
        .unwrap();
    assert!(engine.rootless());
    assert_eq!(engine.container_user(), None);
}

#[tokio::test]
async fn docker_containers_run_as_the_caller_unless_docker_is_rootless() {
    let docker = engine(
        DOCKER_VERSION,
        r#"{"SecurityOptions":["name=seccomp,profile=default"]}"#,
    );
    let found = connect(Platform::Docker, Some(&docker.endpoint()), &user())
        .await
        .unwrap();
    assert_eq!(found.platform(), Platform::Docker);
    assert_eq!(found.container_user().as_deref(), Some("1000:1000"));
    let docker = engine(DOCKER_VERSION, r#"{"SecurityOptions":["name=rootless"]}"#);
    let found = connect(Platform::Docker, Some(&docker.endpoint()), &user())
        .await
        .unwrap();
    assert_eq!(found.container_user(), None);
}

#[tokio::test]
async fn docker_behind_a_podman_endpoint_is_named() {
    let docker = engine(DOCKER_VERSION, "{}");
    let error = connect(Platform::Podman, Some(&docker.endpoint()), &user())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("use platform docker"), "{error}");
}

#[tokio::test]
async fn a_missing_socket_says_where_and_how_to_start_it() {
    let mut env = user();
    env.podman_endpoint = Some("unix:///nonexistent/podman.sock".into());
    let error = connect(Platform::Podman, None, &env).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "podman endpoint \"unix:///nonexistent/podman.sock\" is not available: \
         No such file or directory (os error 2)"
    );
    let hints = error.hints();
    assert!(
        hints.contains(&"systemctl --user enable --now podman.socket".to_owned()),
        "{hints:?}"
    );
    env.uid = 0;
    let error = connect(Platform::Podman, None, &env).await.unwrap_err();
    let hints = error.hints();
    assert!(
        hints.contains(&"systemctl enable --now podman.socket".to_owned()),
        "{hints:?}"
    );
}

#[tokio::test]
async fn old_engines_are_refused_by_version() {
    let old = r#"{"Components":[{"Name":"Podman Engine","Version":"3.4.4","Details":{"APIVersion":"3.4.4"}}],
                  "Version":"3.4.4","ApiVersion":"1.40"}"#;
    let podman = engine(old, "{}");
    let error = connect(Platform::Podman, Some(&podman.endpoint()), &user())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "podman version must be 4.0.0 or greater, found: 3.4.4"
    );
    let docker = engine(r#"{"Version":"19.03.1","ApiVersion":"1.40"}"#, "{}");
    let error = connect(Platform::Docker, Some(&docker.endpoint()), &user())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "docker version must be 20.10 or greater, found: 19.03.1"
    );
}

#[tokio::test]
async fn platforms_without_containers_have_no_engine() {
    let error = connect(Platform::Linux, None, &user()).await.unwrap_err();
    assert_eq!(error.to_string(), "platform linux has no container engine");
}

#[tokio::test]
async fn an_endpoint_that_answers_nonsense_is_an_error_with_the_call() {
    let strange = FakeEngine::start(|_| (200, "<html>hello</html>".into()));
    let error = connect(Platform::Podman, Some(&strange.endpoint()), &user())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("GET /version: unreadable answer"),
        "{error}"
    );
}

#[tokio::test]
async fn detection_prefers_podman_then_docker_then_linux() {
    let podman = engine(PODMAN_VERSION, "{}");
    let docker = engine(DOCKER_VERSION, "{}");
    let mut env = user();
    env.podman_endpoint = Some(podman.endpoint());
    env.docker_host = Some(docker.endpoint());
    assert_eq!(detect(&env).await, Platform::Podman);
    env.podman_endpoint = Some("ssh://elsewhere".into());
    assert_eq!(detect(&env).await, Platform::Docker);
    env.docker_host = Some("unix:///nonexistent/docker.sock".into());
    assert_eq!(detect(&env).await, Platform::Linux);
    // A Docker behind the variable of Podman is no Podman.
    env.podman_endpoint = Some(docker.endpoint());
    assert_eq!(detect(&env).await, Platform::Linux);
}

#[test]
fn the_headers_of_a_ping_tell_the_engine() {
    let answer = |headers: &[(&'static str, &'static str)]| Answer {
        call: "GET /_ping".to_owned(),
        status: hyper::StatusCode::OK,
        headers: headers
            .iter()
            .map(|(name, value)| {
                (
                    hyper::header::HeaderName::from_static(name),
                    hyper::header::HeaderValue::from_static(value),
                )
            })
            .collect(),
        body: "OK".into(),
    };
    let version = |component: &str, version: &str, api_version: &str| EngineVersion {
        component: component.into(),
        version: version.into(),
        api_version: api_version.into(),
    };
    let podman = answer(&[
        ("api-version", "1.41"),
        ("libpod-api-version", "4.3.1"),
        ("server", "Libpod/4.3.1 (linux)"),
    ]);
    assert_eq!(
        from_ping(&podman),
        Some(version("Podman Engine", "4.3.1", "4.3.1"))
    );
    let docker = answer(&[
        ("api-version", "1.41"),
        ("server", "Docker/20.10.24+dfsg1 (linux)"),
    ]);
    assert_eq!(
        from_ping(&docker),
        Some(version("Docker Engine", "20.10.24+dfsg1", "1.41"))
    );
    assert_eq!(from_ping(&answer(&[("server", "nginx/1.22")])), None);
    assert_eq!(from_ping(&answer(&[])), None);
}
