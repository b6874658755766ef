//! The desired state of a site as it lies on disk.

use std::fs;
use std::io;
use std::path::Path;

use model::link::Link;
use model::name::{LinkName, Namespace, ServiceName};
use model::paths::{Paths, SitePaths};
use model::service::Service;
use model::site::Site;
use model::store::StoreError;

use super::context::Context;
use super::error::SiteError;
use super::journal;
use super::naming;

/// A site that was made completely, as its files say. Reading takes no lock: every file is replaced at once.
#[derive(Clone, Debug)]
pub struct SiteHandle {
    site: Site,
    paths: SitePaths,
    links: Vec<Link>,
    services: Vec<Service>,
}

impl SiteHandle {
    /// Reads the site of the context's namespace; `None` when there is none, or when its making or removing was
    /// interrupted (the next command that changes the site finishes that, see [`interrupted`]).
    ///
    /// # Errors
    /// Names the file that is damaged, or that a newer version wrote.
    pub fn open(ctx: &Context) -> Result<Option<Self>, SiteError> {
        if interrupted(ctx).is_some_and(|operation| operation.hides_site()) {
            return Ok(None);
        }
        Self::read(ctx)
    }

    /// As [`Self::open`], for the command that holds the lock: its own journal hides nothing.
    pub(crate) fn read(ctx: &Context) -> Result<Option<Self>, SiteError> {
        let paths = ctx.site_paths();
        let Some(site) = read_site(ctx)? else {
            return Ok(None);
        };
        let mut links: Vec<Link> = read_all(&paths.links_dir(), Link::read)?;
        let mut services: Vec<Service> = read_all(&paths.services_dir(), Service::read)?;
        links.sort_by(|a, b| a.name.cmp(&b.name));
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(Self {
            site,
            paths,
            links,
            services,
        }))
    }

    /// # Errors
    /// [`SiteError::NotEnabled`] when there is no site.
    pub fn required(ctx: &Context) -> Result<Self, SiteError> {
        Self::open(ctx)?.ok_or_else(|| SiteError::NotEnabled {
            namespace: ctx.namespace.clone(),
        })
    }

    pub fn site(&self) -> &Site {
        &self.site
    }

    pub fn paths(&self) -> &SitePaths {
        &self.paths
    }

    /// Links made from this site, by name.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    pub fn link(&self, name: &LinkName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// Services defined here, by name.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| service.name == *name)
    }

    /// # Errors
    /// [`SiteError::NoSuchService`].
    pub(crate) fn required_service(&self, name: &ServiceName) -> Result<&Service, SiteError> {
        self.service(name)
            .ok_or_else(|| SiteError::NoSuchService { name: name.clone() })
    }

    /// The same site with other services, to compute the configuration that follows.
    pub(crate) fn with_services(&self, services: Vec<Service>) -> Self {
        Self {
            services,
            ..self.clone()
        }
    }

    pub(crate) fn with_links(&self, links: Vec<Link>) -> Self {
        Self {
            links,
            ..self.clone()
        }
    }
}

/// The description of the site alone, also while it is being made.
///
/// # Errors
/// When the file is damaged.
pub fn read_site(ctx: &Context) -> Result<Option<Site>, SiteError> {
    match Site::read(&ctx.site_paths().site_file()) {
        Ok(site) => Ok(Some(site)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(damaged(error)),
    }
}

/// Names of the containers that the site must have; none on platforms without an engine.
pub fn container_names(handle: &SiteHandle) -> Vec<String> {
    if handle.site.container.is_none() {
        return Vec::new();
    }
    let namespace = &handle.site.namespace;
    let mut names = vec![naming::router_container(namespace)];
    names.extend(
        handle
            .services
            .iter()
            .map(|service| naming::service_container(namespace, service)),
    );
    names
}

/// An operation that ended without finishing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interrupted {
    /// The command, e.g. `skupper init`.
    pub operation: String,
}

impl Interrupted {
    fn hides_site(&self) -> bool {
        self.operation == super::init::OPERATION || self.operation == super::delete::OPERATION
    }
}

/// The operation that is running now, or that was interrupted and will be finished by the next command.
pub fn interrupted(ctx: &Context) -> Option<Interrupted> {
    let left = journal::read(&ctx.site_paths().journal()).ok()??;
    Some(Interrupted {
        operation: left.header.operation,
    })
}

/// All sites of this user, by namespace. Damaged ones are skipped: this serves to avoid their ports and names.
pub fn all_sites(paths: &Paths) -> Vec<Site> {
    let mut sites: Vec<Site> = fs::read_dir(paths.sites_dir())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Namespace::parse(entry.file_name().to_str()?).ok())
        .filter_map(|namespace| Site::read(&paths.site(&namespace).site_file()).ok())
        .collect();
    sites.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    sites
}

fn read_all<T>(
    directory: &Path,
    read: impl Fn(&Path) -> Result<T, StoreError>,
) -> Result<Vec<T>, SiteError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(SiteError::Io {
                what: format!("read {}", directory.display()),
                source,
            });
        }
    };
    let mut all = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        match read(&path) {
            Ok(value) => all.push(value),
            // removed since the directory was listed
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(damaged(error)),
        }
    }
    Ok(all)
}

fn damaged(error: StoreError) -> SiteError {
    SiteError::state("state of the site", error)
}
