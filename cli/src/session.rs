//! What a command works with: the user's words, directories, the site, the way out.

use std::path::PathBuf;
use std::sync::Arc;

use model::{Namespace, Paths, Platform, Site};
use runtime::engine::{self, EngineEnvironment};
use runtime::site::{Context, Progress, SiteHandle};
use tokio_util::sync::CancellationToken;

use crate::args::Global;
use crate::error::{CommandError, ErrorKind};
use crate::platform::{self, Selection};
use crate::supervisor::Systemd;
use crate::ui::Ui;
use crate::wording::Wording;

/// Surroundings of one command
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) ui: Ui,
    pub(crate) paths: Paths,
    pub(crate) namespace: Namespace,
    pub(crate) wording: Wording,
    /// Cancelled by the first Ctrl-C
    pub(crate) cancel: CancellationToken,
    selection: Option<Selection>,
}

impl Session {
    pub(crate) fn new(
        ui: Ui,
        global: &Global,
        cancel: CancellationToken,
    ) -> Result<Self, CommandError> {
        let paths = Paths::from_env().map_err(CommandError::failed)?;
        let namespace = match &global.namespace {
            Some(name) => Namespace::parse(name).map_err(CommandError::failed)?,
            None => Namespace::default(),
        };
        let environment = std::env::var(platform::VARIABLE).ok();
        let selection =
            Selection::find(global.platform.as_deref(), environment.as_deref(), &paths)?;
        let wording = Wording::new(&paths.user, &namespace);
        Ok(Self {
            ui,
            paths,
            namespace,
            wording,
            cancel,
            selection,
        })
    }

    /// The platform that flag, environment or `switch` name
    pub(crate) fn selection(&self) -> Option<Selection> {
        self.selection
    }

    /// For operations of `runtime::site`
    pub(crate) fn context(&self) -> Result<Context, CommandError> {
        let context = Context::new(
            self.paths.clone(),
            self.namespace.clone(),
            EngineEnvironment::from_env(),
            executable()?,
            Arc::new(UiProgress(self.ui.clone())),
            self.cancel.clone(),
        );
        Ok(context.with_supervisor(Arc::new(Systemd::new(&self.paths))))
    }

    /// The site, if there is one
    pub(crate) fn find_site(&self) -> Result<Option<SiteHandle>, CommandError> {
        if let Some(selection) = self.selection {
            selection.managed()?;
        }
        let site = SiteHandle::open(&self.context()?)?;
        if let (Some(selection), Some(handle)) = (self.selection, &site) {
            selection.fits(handle.site().platform, handle.site().name.as_str())?;
        }
        Ok(site)
    }

    /// The site; a missing one ends the command with the sentence that scripts know
    pub(crate) fn site(&self) -> Result<SiteHandle, CommandError> {
        self.find_site()?
            .ok_or_else(|| CommandError::new(ErrorKind::NotEnabled, self.wording.not_enabled()))
    }
}

impl Session {
    /// The platform of a site to be made: what was asked for, else the first that answers
    pub(crate) async fn new_site_platform(&self) -> Platform {
        match self.selection {
            Some(selection) => selection.platform,
            None => engine::detect(&EngineEnvironment::from_env()).await,
        }
    }

    /// The platform that the next command would work with
    pub(crate) async fn effective_platform(&self) -> Result<Platform, CommandError> {
        if let Some(selection) = self.selection {
            return Ok(selection.platform);
        }
        match SiteHandle::open(&self.context()?)? {
            Some(handle) => Ok(handle.site().platform),
            None => Ok(self.new_site_platform().await),
        }
    }

    /// What carries the site's traffic: the image that its containers run, or this program
    pub(crate) async fn transport(&self, site: &Site) -> Result<String, CommandError> {
        let Some(container) = &site.container else {
            return Ok(format!(
                "skupper-router {} (native)",
                model::PRODUCT_VERSION
            ));
        };
        let engine = self
            .context()?
            .engine(site.platform, container.engine_endpoint.as_deref())
            .await?;
        let Some(engine) = engine else {
            return Ok(container.image.clone());
        };
        let failed = |cause: String| {
            CommandError::failed(format!(
                "error retrieving image info for {} - {cause}",
                container.image
            ))
        };
        let image = engine
            .image(&container.image)
            .await
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed("the image is gone".to_owned()))?;
        let digest = image
            .digest
            .unwrap_or_else(|| format!("sha256:{}", image.id));
        Ok(format!(
            "{} ({})",
            container.image,
            digest.chars().take(DIGEST_LENGTH).collect::<String>()
        ))
    }
}

/// `sha256:` and twelve hexadecimal digits
const DIGEST_LENGTH: usize = 19;

/// This program's file
///
/// # Errors
/// When it was removed while running.
pub(crate) fn executable() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(|error| {
        CommandError::failed(format!("could not find this program's file: {error}"))
    })
}

/// Steps of an operation on their way to the user
#[derive(Debug)]
struct UiProgress(Ui);

impl Progress for UiProgress {
    fn step(&self, text: &str) {
        self.0.step(text);
    }

    fn warn(&self, text: &str) {
        self.0.warn(text);
    }
}
