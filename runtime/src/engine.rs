//! What a site needs of a container engine, and the way to one.
//!
//! [`connect`] asks the endpoint who answers (`GET /version`), so a Docker socket served by Podman gets the
//! Podman backend: Podman's Docker API lacks what sites use and answers with states Docker does not know.
//! Objects are named by their *names*; identifiers are only reported. Removing is refused for objects that lack
//! the label [`OWNER_LABEL`]: a wrong name must never cost a user's own container.

mod detect;
mod endpoint;
mod environment;
mod error;
mod failure;
mod info;
mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod transport;

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use model::Platform;

pub(crate) use self::detect::version as version_of;
pub use self::detect::{connect, detect};
pub(crate) use self::endpoint::Endpoint;
pub use self::environment::{EngineEnvironment, default_endpoint};
pub use self::error::{EngineError, ObjectKind};
pub(crate) use self::failure::{Failure, classify};
pub use self::info::{
    ContainerInfo, ContainerNetwork, ContainerState, ContainerSummary, EngineVersion, ImageInfo,
    NetworkInfo,
};
pub use self::spec::{
    BindMount, ContainerSpec, NetworkAttachment, NetworkSpec, PublishedPort, RestartPolicy,
};

/// Label (key, value) of everything made for a site; v1 sites use the same.
pub const OWNER_LABEL: (&str, &str) = ("application", "skupper");

/// Boxed future of the object-safe [`Engine`].
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answer of an [`Engine`] call, on its way.
pub type EngineFuture<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

/// Running container engine, reached through its API socket.
///
/// Every call ends within a deadline ([`EngineError::Timeout`]). Dropping a future abandons the call; the engine may
/// still carry it out.
pub trait Engine: Debug + Send + Sync {
    /// Engine that really answers: `Podman` even behind a Docker socket.
    fn platform(&self) -> Platform;

    /// Endpoint in use, as a URL.
    fn endpoint(&self) -> &str;

    /// Whether the engine runs without root: user 0 of a container is then the caller on the host.
    fn rootless(&self) -> bool;

    /// Value for [`ContainerSpec::user`] with which files in bind mounts belong to the caller.
    ///
    /// `None` (the image's uid 0) where that is the caller already, else `uid:gid`.
    fn container_user(&self) -> Option<String>;

    /// Asks the engine for its version, which also tells that it is alive.
    fn version(&self) -> EngineFuture<'_, EngineVersion>;

    /// Looks a network up.
    fn network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<NetworkInfo>>;

    /// Makes a bridge network with name resolution, labelled [`OWNER_LABEL`].
    ///
    /// [`EngineError::Conflict`] when the name is taken.
    fn create_network<'a>(&'a self, spec: &'a NetworkSpec) -> EngineFuture<'a, ()>;

    /// Removes a network that is ours and has no containers; missing is fine.
    ///
    /// [`EngineError::Foreign`] without our label, [`EngineError::Conflict`] naming attached containers otherwise.
    fn remove_network<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()>;

    /// Loads a docker-archive ([`crate::image::ImageArchive`]) and gives the reference the engine stored it under.
    fn load_image(&self, archive: PathBuf) -> EngineFuture<'_, String>;

    /// Looks an image up by reference.
    fn image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, Option<ImageInfo>>;

    /// Removes an image that is ours and unused; missing is fine.
    ///
    /// [`EngineError::Foreign`] without our label, [`EngineError::Conflict`] when a container uses it.
    fn remove_image<'a>(&'a self, reference: &'a str) -> EngineFuture<'a, ()>;

    /// Makes a container, labelled [`OWNER_LABEL`], not started; gives its identifier.
    ///
    /// [`EngineError::Conflict`] when the name is taken, [`EngineError::NotFound`] when image or network is missing.
    /// Nothing is left behind on failure, unless the call timed out.
    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> EngineFuture<'a, String>;

    /// Starts a container; started already is fine.
    ///
    /// [`EngineError::PortInUse`] or [`EngineError::PortNotPermitted`] for a port that could not be published; the container
    /// then exists and is not running.
    fn start_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()>;

    /// Stops a container: SIGTERM, and SIGKILL after `grace`; stopped already is fine.
    ///
    /// A container stopped so stays down in spite of its restart policy.
    fn stop_container<'a>(&'a self, name: &'a str, grace: Duration) -> EngineFuture<'a, ()>;

    /// Stops (as [`Engine::stop_container`]) and starts a container.
    fn restart_container<'a>(&'a self, name: &'a str, grace: Duration) -> EngineFuture<'a, ()>;

    /// Kills and removes a container that is ours; missing is fine.
    fn remove_container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, ()>;

    /// Looks a container up.
    fn container<'a>(&'a self, name: &'a str) -> EngineFuture<'a, Option<ContainerInfo>>;

    /// All containers, running or not, that carry every one of `labels`; an empty list means all containers.
    fn containers<'a>(
        &'a self,
        labels: &'a [(&'a str, &'a str)],
    ) -> EngineFuture<'a, Vec<ContainerSummary>>;

    /// Last `tail` lines of both output streams of a container.
    fn container_logs<'a>(&'a self, name: &'a str, tail: usize) -> EngineFuture<'a, String>;
}
