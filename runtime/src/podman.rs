//! Podman through its own (libpod) API, 4.0 and later.
//!
//! Answers are read for the fields in use only, every one optional: Podman changed the types of others between
//! versions. Several calls report failures inside a 200 answer; [`api`] names them.

mod api;
mod container;
mod logs;
mod object;

use std::path::PathBuf;
use std::time::Duration;

use model::Platform;

use crate::engine::transport::{Call, Transport};
use crate::engine::{
    ContainerInfo, ContainerSpec, ContainerSummary, Engine, EngineEnvironment, EngineError,
    EngineFuture, EngineVersion, ImageInfo, NetworkInfo, NetworkSpec, version_of,
};

use self::api::InfoAnswer;

/// Served by every Podman from 4.0 on, 5.x included.
const BASE: &str = "/v4.0.0/libpod";
const MINIMUM: &str = "4.0.0";

/// Podman engine behind its socket.
#[derive(Debug)]
pub(crate) struct Podman {
    transport: Transport,
    rootless: bool,
    /// `uid:gid` of the caller when the engine is root's and the caller is not.
    user: Option<String>,
}

impl Podman {
    /// Checks version and learns whether the engine is rootless.
    pub(crate) async fn connect(
        transport: Transport,
        version: &EngineVersion,
        env: &EngineEnvironment,
    ) -> Result<Self, EngineError> {
        let major = version.api_version.split('.').next();
        let major = major.and_then(|text| text.parse::<u32>().ok());
        if major.is_none_or(|major| major < 4) {
            return Err(EngineError::TooOld {
                platform: Platform::Podman,
                minimum: MINIMUM,
                found: version.api_version.clone(),
            });
        }
        let answer = transport.send(Call::get(path("/info"))).await?;
        if !answer.status.is_success() {
            return Err(answer.refusal());
        }
        let rootless = answer.json::<InfoAnswer>()?.host.security.rootless;
        let user = (!rootless && !env.is_root()).then(|| format!("{}:{}", env.uid, env.gid));
        Ok(Self {
            transport,
            rootless,
            user,
        })
    }
}

impl Engine for Podman {
    fn platform(&self) -> Platform {
        Platform::Podman
    }

    fn endpoint(&self) -> &str {
        self.transport.url()
    }

    fn rootless(&self) -> bool {
        self.rootless
    }

    fn container_user(&self) -> Option<String> {
        self.user.clone()
    }

    fn version(&self) -> EngineFuture<'_, EngineVersion> {
        Box::pin(version_of(&self.transport))
    }

    fn network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<NetworkInfo>> {
        Box::pin(object::network(&self.transport, name))
    }

    fn create_network<'a>(&'a self, spec: &'a NetworkSpec) -> EngineFuture<'a, ()> {
        Box::pin(object::create_network(&self.transport, spec))
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(object::remove_network(&self.transport, name))
    }

    fn load_image(&self, archive: PathBuf) -> EngineFuture<'_, String> {
        Box::pin(object::load_image(&self.transport, archive))
    }

    fn image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, Option<ImageInfo>> {
        Box::pin(object::image(&self.transport, reference))
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(object::remove_image(&self.transport, reference))
    }

    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> EngineFuture<'a, String> {
        Box::pin(container::create(&self.transport, spec))
    }

    fn start_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(container::start(&self.transport, name))
    }

    fn stop_container<'a>(&'a self, name: &'a str, grace: Duration) -> EngineFuture<'a, ()> {
        Box::pin(container::stop(&self.transport, name, grace))
    }

    fn restart_container<'a>(&'a self, name: &'a str, grace: Duration) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            container::stop(&self.transport, name, grace).await?;
            container::start(&self.transport, name).await
        })
    }

    fn remove_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()> {
        Box::pin(container::remove(&self.transport, name))
    }

    fn container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<ContainerInfo>> {
        Box::pin(container::inspect(&self.transport, name))
    }

    fn containers<'a>(
        &'a self,
        labels: &'a [(&'a str, &'a str)],
    ) -> EngineFuture<'a, Vec<ContainerSummary>> {
        Box::pin(container::list(&self.transport, labels))
    }

    fn container_logs<'a>(&'a self, name: &'a str, tail: usize) -> EngineFuture<'a, String> {
        Box::pin(logs::tail(&self.transport, name, tail))
    }
}

fn path(rest: &str) -> String {
    format!("{BASE}{rest}")
}

#[cfg(test)]
mod tests;
