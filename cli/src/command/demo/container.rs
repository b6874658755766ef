//! The demo's server as a container of the site's own image, on the site's network.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Namespace, Platform};
use runtime::engine::{ContainerSpec, Engine, NetworkAttachment, OWNER_LABEL, RestartPolicy};
use runtime::site::SiteHandle;

use crate::error::CommandError;
use crate::session::Session;

/// Port inside the container
pub(super) const PORT: u16 = 8080;

/// A container that is about to be made, or is there
#[derive(Debug)]
pub(super) struct BackendContainer {
    engine: Arc<dyn Engine>,
    platform: Platform,
    spec: ContainerSpec,
}

impl BackendContainer {
    /// Reads network and image of the site
    pub(super) async fn plan(session: &Session, site: &str) -> Result<Self, CommandError> {
        let mut context = session.context()?;
        context.namespace = Namespace::parse(site).map_err(CommandError::failed)?;
        let handle = SiteHandle::required(&context)?;
        let platform = handle.site().platform;
        let Some(container) = handle.site().container.clone() else {
            return Err(CommandError::failed(format!(
                "the site \"{site}\" has no containers"
            )));
        };
        let Some(engine) = context
            .engine(platform, container.engine_endpoint.as_deref())
            .await?
        else {
            return Err(CommandError::failed(format!(
                "the platform {platform} has no engine"
            )));
        };
        let spec = ContainerSpec {
            name: format!("{site}-demo-backend"),
            image: container.image,
            command: vec![
                "demo-backend".to_owned(),
                "--place".to_owned(),
                site.to_owned(),
            ],
            labels: site_labels(&*engine, &handle).await?,
            networks: vec![NetworkAttachment {
                network: container.network,
                aliases: Vec::new(),
            }],
            restart: RestartPolicy::No,
            ..ContainerSpec::default()
        };
        Ok(Self {
            engine,
            platform,
            spec,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// What a user would type to make it
    pub(super) fn command_line(&self) -> String {
        let network = self
            .spec
            .networks
            .first()
            .map(|network| network.network.as_str())
            .unwrap_or_default();
        format!(
            "{} run -d --network {network} --name {} {} {}",
            self.platform,
            self.spec.name,
            self.spec.image,
            self.spec.command.join(" ")
        )
    }

    /// What a user would type to remove it
    pub(super) fn removal_line(&self) -> String {
        format!("{} rm -f {}", self.platform, self.spec.name)
    }

    pub(super) async fn start(&self) -> Result<(), CommandError> {
        self.engine
            .create_container(&self.spec)
            .await
            .map_err(CommandError::failed)?;
        self.engine
            .start_container(&self.spec.name)
            .await
            .map_err(CommandError::failed)
    }

    pub(super) async fn remove(&self) -> Result<(), CommandError> {
        self.engine
            .remove_container(&self.spec.name)
            .await
            .map_err(CommandError::failed)
    }
}

/// The labels by which `skupper delete` finds what belongs to the site, should the demo itself be killed
async fn site_labels(
    engine: &dyn Engine,
    handle: &SiteHandle,
) -> Result<BTreeMap<String, String>, CommandError> {
    let id = handle.site().id.to_string();
    let containers = engine
        .containers(&[OWNER_LABEL])
        .await
        .map_err(CommandError::failed)?;
    let labels = containers
        .into_iter()
        .flat_map(|container| container.labels);
    Ok(labels.filter(|(_, value)| *value == id).collect())
}
