//! What every operation on a site needs to know about its caller.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::name::Namespace;
use model::paths::{Paths, SitePaths};
use model::platform::Platform;
use tokio_util::sync::CancellationToken;

use crate::engine::{self, Engine, EngineEnvironment};

use super::access::{AmqpAccess, RouterAccess};
use super::error::SiteError;
use super::progress::Progress;
use super::supervisor::Supervisor;

/// The caller's surroundings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    pub paths: Paths,
    pub namespace: Namespace,
    pub engine_environment: EngineEnvironment,
    /// This binary: it becomes the image, and the controller's program.
    pub executable: PathBuf,
    pub progress: Arc<dyn Progress>,
    /// Cancelled by Ctrl-C: the operation stops before its next step and rolls back.
    pub cancel: CancellationToken,
    seams: Seams,
    /// Engines that answered: one command asks several times, and the first answer of podman takes a while.
    connected: Arc<Mutex<Vec<Connected>>>,
}

#[derive(Clone, Debug)]
struct Connected {
    platform: Platform,
    endpoint: Option<String>,
    engine: Arc<dyn Engine>,
}

/// The outside world: replacements for tests, and what other crates bring.
#[derive(Clone, Debug)]
struct Seams {
    engine: Option<Arc<dyn Engine>>,
    routers: Arc<dyn RouterAccess>,
    controller: Option<PathBuf>,
    supervisor: Option<Arc<dyn Supervisor>>,
}

impl Context {
    pub fn new(
        paths: Paths,
        namespace: Namespace,
        engine_environment: EngineEnvironment,
        executable: PathBuf,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            paths,
            namespace,
            engine_environment,
            executable,
            progress,
            cancel,
            seams: Seams {
                engine: None,
                routers: Arc::new(AmqpAccess),
                controller: None,
                supervisor: None,
            },
            connected: Arc::default(),
        }
    }

    /// Uses this engine for every container platform instead of connecting to one.
    #[must_use]
    pub fn with_engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.seams.engine = Some(engine);
        self
    }

    /// Asks routers through this instead of AMQP management over their sockets.
    #[must_use]
    pub fn with_router_access(mut self, routers: Arc<dyn RouterAccess>) -> Self {
        self.seams.routers = routers;
        self
    }

    /// Starts this program as the site's controller instead of [`Self::executable`].
    #[must_use]
    pub fn with_controller_program(mut self, program: PathBuf) -> Self {
        self.seams.controller = Some(program);
        self
    }

    /// Lets this service manager keep the processes of sites running.
    #[must_use]
    pub fn with_supervisor(mut self, supervisor: Arc<dyn Supervisor>) -> Self {
        self.seams.supervisor = Some(supervisor);
        self
    }

    /// The directories and files of the site in this namespace.
    pub fn site_paths(&self) -> SitePaths {
        self.paths.site(&self.namespace)
    }

    /// The engine of a platform; `None` for platforms without one.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn engine(
        &self,
        platform: Platform,
        endpoint: Option<&str>,
    ) -> Result<Option<Arc<dyn Engine>>, SiteError> {
        if !platform.is_container() {
            return Ok(None);
        }
        if let Some(engine) = &self.seams.engine {
            return Ok(Some(Arc::clone(engine)));
        }
        let known = self
            .connections()
            .iter()
            .find(|known| known.platform == platform && known.endpoint.as_deref() == endpoint)
            .map(|known| Arc::clone(&known.engine));
        if known.is_some() {
            return Ok(known);
        }
        let engine = engine::connect(platform, endpoint, &self.engine_environment).await?;
        self.connections().push(Connected {
            platform,
            endpoint: endpoint.map(str::to_owned),
            engine: Arc::clone(&engine),
        });
        Ok(Some(engine))
    }

    /// Forgets engines: the next question connects anew.
    pub fn disconnect(&self) {
        self.connections().clear();
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connected>> {
        // a panic elsewhere leaves the list whole
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn controller_program(&self) -> &Path {
        self.seams.controller.as_deref().unwrap_or(&self.executable)
    }

    pub(crate) fn supervisor(&self) -> Option<&dyn Supervisor> {
        self.seams.supervisor.as_deref()
    }

    pub(crate) fn routers(&self) -> &dyn RouterAccess {
        &*self.seams.routers
    }

    /// # Errors
    /// [`SiteError::Cancelled`] once the caller has asked to stop.
    pub(crate) fn check_cancelled(&self) -> Result<(), SiteError> {
        if self.cancel.is_cancelled() {
            return Err(SiteError::Cancelled);
        }
        Ok(())
    }
}
