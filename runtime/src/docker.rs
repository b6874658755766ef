//! Docker through `bollard`: real Docker only, 20.10 (API 1.41) and later.

mod container;
mod create;
mod describe;
mod failure;
mod object;

use std::path::PathBuf;
use std::time::Duration;

use bollard::ClientVersion;
use model::Platform;

use crate::engine::transport::{Call, LONG_CALL_LIMIT, Transport};
use crate::engine::{
    ContainerInfo, ContainerSpec, ContainerSummary, Endpoint, Engine, EngineEnvironment,
    EngineError, EngineFuture, EngineVersion, ImageInfo, NetworkInfo, NetworkSpec, version_of,
};

use self::failure::Calls;

/// Lowest API with what is used, `host-gateway` above all; newer engines are spoken to in their own version.
const API: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};
const MINIMUM: &str = "20.10";

/// Docker engine behind its socket.
#[derive(Debug)]
pub(crate) struct Docker {
    calls: Calls,
    rootless: bool,
    /// `uid:gid` of the caller, whom the engine does not know.
    user: Option<String>,
}

impl Docker {
    /// Checks version and learns whether the engine is rootless.
    pub(crate) async fn connect(
        transport: &Transport,
        version: EngineVersion,
        env: &EngineEnvironment,
    ) -> Result<Self, EngineError> {
        if !is_recent(&version.api_version) {
            return Err(EngineError::TooOld {
                platform: Platform::Docker,
                minimum: MINIMUM,
                found: version.version,
            });
        }
        let seconds = LONG_CALL_LIMIT.as_secs();
        let client = match transport.endpoint() {
            Endpoint::Unix(_) => bollard::Docker::connect_with_unix(transport.url(), seconds, &API),
            Endpoint::Tcp { .. } => {
                bollard::Docker::connect_with_http(transport.url(), seconds, &API)
            }
        };
        let mut calls = match client {
            Ok(client) => Calls::new(transport.clone(), client, env.is_root()),
            Err(error) => return Err(failure::connecting(transport, env.is_root(), error)),
        };
        calls.negotiate().await?;
        let rootless = object::is_rootless(&calls).await?;
        let user = (!rootless).then(|| format!("{}:{}", env.uid, env.gid));
        Ok(Self {
            calls,
            rootless,
            user,
        })
    }
}

impl Engine for Docker {
    fn platform(&self) -> Platform {
        Platform::Docker
    }

    fn endpoint(&self) -> &str {
        self.calls.transport.url()
    }

    fn rootless(&self) -> bool {
        self.rootless
    }

    fn container_user(&self) -> Option<String> {
        self.user.clone()
    }

    fn version(&self) -> EngineFuture<'_, EngineVersion> {
        Box::pin(version_of(&self.calls.transport))
    }

    fn network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<NetworkInfo>> {
        Box::pin(object::network(&self.calls, name))
    }

    fn create_network<'a>(&'a self, spec: &'a NetworkSpec) -> EngineFuture<'a, ()> {
        Box::pin(object::create_network(&self.calls, spec))
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(object::remove_network(&self.calls, name))
    }

    fn load_image(&self, archive: PathBuf) -> EngineFuture<'_, String> {
        Box::pin(object::load_image(&self.calls, archive))
    }

    fn image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, Option<ImageInfo>> {
        Box::pin(object::image(&self.calls, reference))
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(object::remove_image(&self.calls, reference))
    }

    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> EngineFuture<'a, String> {
        Box::pin(container::create(&self.calls, spec))
    }

    fn start_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(container::start(&self.calls, name))
    }

    fn stop_container<'a>(&'a self, name: &'a str, grace: Duration) -> EngineFuture<'a, ()> {
        Box::pin(container::stop(&self.calls, name, grace))
    }

    fn restart_container<'a>(&'a self, name: &'a str, grace: Duration) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            container::stop(&self.calls, name, grace).await?;
            container::start(&self.calls, name).await
        })
    }

    fn remove_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(container::remove(&self.calls, name))
    }

    fn container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<ContainerInfo>> {
        Box::pin(container::inspect(&self.calls, name))
    }

    fn containers<'a>(
        &'a self,
        labels: &'a [(&'a str, &'a str)],
    ) -> EngineFuture<'a, Vec<ContainerSummary>> {
        Box::pin(container::list(&self.calls, labels))
    }

    fn container_logs<'a>(&'a self, name: &'a str, tail: usize) -> EngineFuture<'a, String> {
        Box::pin(container::logs(&self.calls, name, tail))
    }
}

/// Path of a call that `bollard` cannot express.
fn raw(path: &str) -> String {
    format!("/v{}.{}{path}", API.major_version, API.minor_version)
}

fn raw_get(path: &str) -> Call {
    Call::get(raw(path))
}

fn is_recent(api_version: &str) -> bool {
    let mut parts = api_version.split('.').map(str::parse::<usize>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => {
            (major, minor) >= (API.major_version, API.minor_version)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_recent;

    #[test]
    fn api_versions_compare_as_numbers() {
        for (version, recent) in [
            ("1.41", true),
            ("1.100", true),
            ("2.0", true),
            ("1.40", false),
            ("1.5", false),
            ("", false),
            ("one", false),
        ] {
            assert_eq!(is_recent(version), recent, "{version}");
        }
    }
}
