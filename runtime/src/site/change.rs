//! A change of an existing site: lock, finish what was interrupted, read, plan, apply.

use std::sync::Arc;

use crate::engine::Engine;
use crate::native::HeldLock;

use super::apply::Scene;
use super::containers::Blueprint;
use super::context::Context;
use super::control;
use super::error::SiteError;
use super::lock;
use super::recover;
use super::state::SiteHandle;
use super::step::{Plan, Step};

/// A site that this process alone may change until dropped.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    ctx: &'a Context,
    handle: SiteHandle,
    _lock: HeldLock,
}

impl<'a> Change<'a> {
    /// # Errors
    /// [`SiteError::NotEnabled`], [`SiteError::Busy`].
    pub(crate) async fn begin(ctx: &'a Context, operation: &str) -> Result<Self, SiteError> {
        let none = || SiteError::NotEnabled {
            namespace: ctx.namespace.clone(),
        };
        if !ctx.site_paths().run_dir().is_dir() {
            return Err(none());
        }
        let lock = lock::acquire(ctx, operation).await?;
        recover::finish_interrupted(ctx).await?;
        if !lock.is_current() {
            return Err(none());
        }
        let handle = SiteHandle::read(ctx)?.ok_or_else(none)?;
        Ok(Self {
            ctx,
            handle,
            _lock: lock,
        })
    }

    pub(crate) fn handle(&self) -> &SiteHandle {
        &self.handle
    }

    /// Carries the plan out. A site whose controller does not run (the host was restarted) is started first.
    pub(crate) async fn apply(&self, mut plan: Plan) -> Result<(), SiteError> {
        let site = self.handle.site();
        if !control::is_running(self.handle.paths())? {
            self.ctx
                .progress
                .warn("the site is not running, it is started");
            let mut steps = vec![control::start_step(self.ctx, site)];
            if !site.platform.is_container() {
                steps.push(Step::AwaitRouter {
                    socket: self.handle.paths().router_socket(),
                    id: site.name.to_string(),
                    container: None,
                });
            }
            plan.steps.splice(0..0, steps);
        }
        let engine = engine_of(self.ctx, &self.handle).await?;
        Scene::new(self.ctx, site, engine)
            .apply(&plan, Vec::new())
            .await
    }
}

/// The engine that the site's containers run on; none for native sites.
///
/// # Errors
/// When it does not answer.
pub async fn engine_of(
    ctx: &Context,
    handle: &SiteHandle,
) -> Result<Option<Arc<dyn Engine>>, SiteError> {
    let site = handle.site();
    let endpoint = site
        .container
        .as_ref()
        .and_then(|container| container.engine_endpoint.as_deref());
    ctx.engine(site.platform, endpoint).await
}

/// The description of the site's containers; none for native sites.
pub(crate) fn blueprint_of<'a>(
    ctx: &Context,
    handle: &'a SiteHandle,
    engine: &dyn Engine,
) -> Option<Blueprint<'a>> {
    Some(Blueprint {
        site: handle.site(),
        settings: handle.site().container.as_ref()?,
        paths: handle.paths(),
        uid: ctx.paths.uid,
        user: engine.container_user(),
    })
}
