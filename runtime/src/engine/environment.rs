use std::env;
use std::path::PathBuf;

use model::Platform;

const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What the process environment says about engines, read once by the caller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EngineEnvironment {
    /// `PODMAN_ENDPOINT`, v1's variable.
    pub podman_endpoint: Option<String>,
    /// `CONTAINER_HOST`, podman's variable.
    pub container_host: Option<String>,
    /// `CONTAINER_ENDPOINT`, v2's variable.
    pub container_endpoint: Option<String>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    pub uid: u32,
    pub gid: u32,
}

impl EngineEnvironment {
    /// Reads the process environment; empty variables count as unset.
    pub fn from_env() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            podman_endpoint: variable("PODMAN_ENDPOINT"),
            container_host: variable("CONTAINER_HOST"),
            container_endpoint: variable("CONTAINER_ENDPOINT"),
            docker_host: variable("DOCKER_HOST"),
            xdg_runtime_dir: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    fn runtime_dir(&self) -> PathBuf {
        self.xdg_runtime_dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", self.uid)))
    }
}

/// Endpoint used when none is given or stored; empty for platforms without an engine.
///
/// Podman: `PODMAN_ENDPOINT`, `CONTAINER_HOST`, `CONTAINER_ENDPOINT`, else the user's (root: the system's) socket.
/// Docker: `DOCKER_HOST`, else the system's socket, or the user's own where only that exists.
pub fn default_endpoint(platform: Platform, env: &EngineEnvironment) -> String {
    match platform {
        Platform::Podman => env
            .podman_endpoint
            .as_ref()
            .or(env.container_host.as_ref())
            .or(env.container_endpoint.as_ref())
            .cloned()
            .unwrap_or_else(|| podman_socket(env)),
        Platform::Docker => env
            .docker_host
            .clone()
            .unwrap_or_else(|| docker_socket(env)),
        Platform::Linux | Platform::Kubernetes => String::new(),
    }
}

fn podman_socket(env: &EngineEnvironment) -> String {
    let directory = if env.is_root() {
        PathBuf::from("/run")
    } else {
        env.runtime_dir()
    };
    format!("unix://{}/podman/podman.sock", directory.display())
}

fn docker_socket(env: &EngineEnvironment) -> String {
    let own = env.runtime_dir().join("docker.sock");
    let rootless = !env.is_root() && own.exists() && !PathBuf::from(DOCKER_SOCKET).exists();
    if rootless {
        format!("unix://{}", own.display())
    } else {
        format!("unix://{DOCKER_SOCKET}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_before_the_default_socket_in_a_fixed_order() {
        let mut env = EngineEnvironment {
            uid: 1000,
            ..EngineEnvironment::default()
        };
        assert_eq!(
            default_endpoint(Platform::Podman, &env),
            "unix:///run/user/1000/podman/podman.sock"
        );
        env.xdg_runtime_dir = Some("/tmp/run".into());
        assert_eq!(
            default_endpoint(Platform::Podman, &env),
            "unix:///tmp/run/podman/podman.sock"
        );
        env.container_endpoint = Some("unix:///c".into());
        assert_eq!(default_endpoint(Platform::Podman, &env), "unix:///c");
        env.container_host = Some("unix:///b".into());
        assert_eq!(default_endpoint(Platform::Podman, &env), "unix:///b");
        env.podman_endpoint = Some("/a".into());
        assert_eq!(default_endpoint(Platform::Podman, &env), "/a");
        env.docker_host = Some("unix:///d".into());
        assert_eq!(default_endpoint(Platform::Docker, &env), "unix:///d");
        assert_eq!(default_endpoint(Platform::Linux, &env), "");
    }

    #[test]
    fn root_uses_the_system_socket_whatever_its_session_says() {
        let env = EngineEnvironment {
            xdg_runtime_dir: Some("/run/user/0".into()),
            ..EngineEnvironment::default()
        };
        assert_eq!(
            default_endpoint(Platform::Podman, &env),
            "unix:///run/podman/podman.sock"
        );
    }
}
