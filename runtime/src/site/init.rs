//! `skupper init`: a site from nothing.
//!
//! Everything is checked first. Then the plan runs under a journal whose last undo removes the site's
//! directory, so that a failure at any step leaves nothing.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use model::name::{Namespace, SiteName};
use model::paths::SitePaths;
use model::platform::Platform;
use model::site::{ContainerSettings, IngressKind, Site};
use model::{CLAIMS_PORT, EDGE_PORT, INTER_ROUTER_PORT};

use crate::engine::{Engine, EngineEnvironment, default_endpoint};
use crate::host;
use crate::image::ImageArchive;
use crate::native::HeldLock;

use super::apply::Scene;
use super::certificates::CertificatePlan;
use super::containers::Blueprint;
use super::context::Context;
use super::control;
use super::error::SiteError;
use super::journal::{self, Undo};
use super::lock::{self, InitTurn};
use super::naming;
use super::recover;
use super::request::InitRequest;
use super::router_config::{self, Layout};
use super::state::{SiteHandle, all_sites};
use super::step::{Plan, Step};
use super::supervisor::{self, Processes};

pub(crate) const OPERATION: &str = "skupper init";

/// How many ports after the usual one are tried for further sites.
const PORT_TRIES: u16 = 200;

/// Makes a site and waits until its router answers.
///
/// # Errors
/// [`SiteError::AlreadyInitialized`]; what is wrong with the request or the host, before anything is made;
/// [`SiteError::RolledBack`] afterwards.
pub async fn init(ctx: &Context, request: &InitRequest) -> Result<Site, SiteError> {
    if let Some(handle) = SiteHandle::open(ctx)? {
        return Err(SiteError::AlreadyInitialized {
            name: handle.site().name.clone(),
        });
    }
    let paths = ctx.site_paths();
    make_home(ctx)?;
    let made = {
        let _turn = InitTurn::wait(ctx, OPERATION).await?;
        let existed = paths.root().exists();
        let made = match lock_new(ctx, &paths).await {
            Ok(_lock) => make(ctx, request, &paths).await,
            Err(error) => Err(error),
        };
        // nobody else makes sites now, so a directory that was not there is ours
        let undone = matches!(journal::read(&paths.journal()), Ok(None));
        if made.is_err() && !existed && undone {
            // only the lock's directory was made, and perhaps the begin of a journal
            recover::remove_path(&paths.root())
                .map_err(SiteError::io("remove the site's directory"))?;
        }
        made
    };
    if made.is_err() {
        recover::remove_empty_home(&ctx.paths);
    }
    made
}

/// The directory of all sites. Its parent may be there already and belong to others too: left as it is.
fn make_home(ctx: &Context) -> Result<(), SiteError> {
    for directory in [ctx.paths.data_home.clone(), ctx.paths.sites_dir()] {
        if !directory.exists() {
            model::store::ensure_dir(&directory, 0o700)
                .map_err(|source| SiteError::state("directory of the sites", source))?;
        }
    }
    Ok(())
}

/// What [`init`] would do.
///
/// # Errors
/// As [`init`], for everything that is checked first.
pub async fn plan_init(ctx: &Context, request: &InitRequest) -> Result<Plan, SiteError> {
    if let Some(handle) = SiteHandle::open(ctx)? {
        return Err(SiteError::AlreadyInitialized {
            name: handle.site().name.clone(),
        });
    }
    let (site, engine) = check(ctx, request).await?;
    plan(ctx, &site, engine.as_deref()).await
}

async fn make(ctx: &Context, request: &InitRequest, paths: &SitePaths) -> Result<Site, SiteError> {
    // another `init` may have been faster
    if let Some(handle) = SiteHandle::read(ctx)? {
        return Err(SiteError::AlreadyInitialized {
            name: handle.site().name.clone(),
        });
    }
    refuse_leftovers(paths)?;
    let (site, engine) = check(ctx, request).await?;
    let plan = plan(ctx, &site, engine.as_deref()).await?;
    let everything = Undo::RemovePath { path: paths.root() };
    Scene::new(ctx, &site, engine)
        .apply(&plan, vec![everything])
        .await?;
    Ok(site)
}

/// Takes the lock of a site that may not exist yet. Undoing an interrupted `init` removes the directory with the
/// lock in it, hence the loop.
async fn lock_new(ctx: &Context, paths: &SitePaths) -> Result<HeldLock, SiteError> {
    loop {
        for directory in [paths.root(), paths.run_dir()] {
            model::store::ensure_dir(&directory, 0o700)
                .map_err(|source| SiteError::state("directory of the site", source))?;
        }
        let lock = match lock::acquire(ctx, OPERATION).await {
            Err(SiteError::NotEnabled { .. }) => continue,
            other => other?,
        };
        recover::finish_interrupted(ctx).await?;
        if lock.is_current() {
            return Ok(lock);
        }
    }
}

fn refuse_leftovers(paths: &SitePaths) -> Result<(), SiteError> {
    let run = paths.run_dir();
    let strange = fs::read_dir(paths.root())
        .map_err(SiteError::io("read the site's directory"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| *path != run);
    match strange {
        None => Ok(()),
        Some(path) => Err(SiteError::Invalid(format!(
            "there are remains of an earlier site ({}), remove them with: skupper delete",
            path.display()
        ))),
    }
}

/// Everything that can be known to fail is found here, before anything is made.
async fn check(
    ctx: &Context,
    request: &InitRequest,
) -> Result<(Site, Option<Arc<dyn Engine>>), SiteError> {
    if request.platform == Platform::Kubernetes {
        return Err(SiteError::Platform {
            platform: request.platform,
        });
    }
    let others: Vec<Site> = all_sites(&ctx.paths)
        .into_iter()
        .filter(|site| site.namespace != ctx.namespace)
        .collect();
    let name = choose_name(ctx, request, &others)?;
    router_config::log_entities(&request.router_logging)?;
    let mut site = Site::new(ctx.namespace.clone(), name, request.platform);
    site.router_logging.clone_from(&request.router_logging);
    site.service_sync = request.enable_service_sync;
    site.labels.clone_from(&request.labels);
    site.ingress.kind = request.ingress;
    site.ingress.bind_ips = request.bind_ips.iter().map(IpAddr::to_string).collect();
    if request.ingress == IngressKind::External {
        site.ingress.hosts = choose_hosts(request)?;
    }
    choose_ports(request, &mut site, &others)?;
    let engine = ctx
        .engine(request.platform, request.engine_endpoint.as_deref())
        .await?;
    if let Some(engine) = &engine {
        // podman may answer behind a docker socket
        site.platform = engine.platform();
        site.container = Some(container_settings(ctx, request, &**engine, &others).await?);
    }
    site.systemd = supervisor::choose(ctx, request.supervision, &site).await?;
    Ok((site, engine))
}

fn choose_name(
    ctx: &Context,
    request: &InitRequest,
    others: &[Site],
) -> Result<SiteName, SiteError> {
    let name = match &request.name {
        Some(name) => name.clone(),
        None => naming::site_name(&host::host_name(), &ctx.paths.user, &ctx.namespace).ok_or_else(
            || {
                SiteError::Invalid(
                    "this host has no usable name, choose one with --site-name".to_owned(),
                )
            },
        )?,
    };
    match others.iter().find(|site| site.name == name) {
        Some(other) => Err(SiteError::NameInUse {
            name,
            by: format!("the site in namespace {}", other.namespace),
        }),
        None => Ok(name),
    }
}

fn choose_hosts(request: &InitRequest) -> Result<Vec<String>, SiteError> {
    if request.ingress_hosts.is_empty() {
        return Ok(host::default_ingress_hosts());
    }
    let mut hosts: Vec<String> = Vec::new();
    for host in &request.ingress_hosts {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if !host::is_host(bare) {
            return Err(SiteError::Invalid(format!(
                "ingress host {host:?} is neither a host name nor an address"
            )));
        }
        if !hosts.iter().any(|known| known == bare) {
            hosts.push(bare.to_owned());
        }
    }
    Ok(hosts)
}

/// The default site has the usual ports, or says who has them; further sites get the first free ones.
fn choose_ports(request: &InitRequest, site: &mut Site, others: &[Site]) -> Result<(), SiteError> {
    let ips = &request.bind_ips;
    let reserved = |port: &u16| others.iter().any(|other| ports_of(other).contains(port));
    let mut taken: Vec<u16> = Vec::new();
    let mut choose = |given: Option<u16>, usual: u16, option: &'static str, fixed: bool| {
        let after = usual.saturating_add(1);
        let next = |taken: &[u16]| {
            let candidates = (after..after.saturating_add(PORT_TRIES))
                .filter(|port| !reserved(port) && !taken.contains(port));
            host::free_port(ips, candidates)
        };
        let wanted = given.unwrap_or(usual);
        let problem = if request.ingress == IngressKind::None {
            None
        } else {
            listen_error(ips, wanted)
        };
        let usable = problem.is_none() && !taken.contains(&wanted);
        let port = match (given.is_some() || fixed, usable) {
            (true, true) => wanted,
            (false, true) if !reserved(&wanted) => wanted,
            (true, false) => {
                let Some(port) = problem else {
                    return Err(SiteError::Invalid(format!(
                        "{option} {wanted} is used twice"
                    )));
                };
                return Err(SiteError::Port {
                    port,
                    option,
                    free: next(&taken),
                    site: others
                        .iter()
                        .find(|other| ports_of(other).contains(&wanted))
                        .map(|other| other.namespace.clone()),
                });
            }
            (false, _) => next(&taken).ok_or(SiteError::NoFreePort { first: usual })?,
        };
        taken.push(port);
        Ok(port)
    };
    let fixed = site.namespace.is_default();
    site.ingress.port = choose(request.bind_port, INTER_ROUTER_PORT, "--bind-port", fixed)?;
    site.ingress.edge_port = choose(request.bind_port_edge, EDGE_PORT, "--bind-port-edge", fixed)?;
    // only recorded for now: a taken one must not prevent a site
    site.ingress.claims_port = choose(None, CLAIMS_PORT, "--bind-port-claims", false)?;
    Ok(())
}

fn listen_error(ips: &[IpAddr], port: u16) -> Option<host::PortError> {
    if ips.is_empty() {
        return host::check_port(None, port).err();
    }
    ips.iter()
        .find_map(|ip| host::check_port(Some(*ip), port).err())
}

fn ports_of(site: &Site) -> Vec<u16> {
    let ingress = &site.ingress;
    match ingress.kind {
        IngressKind::None => Vec::new(),
        IngressKind::External => vec![ingress.port, ingress.edge_port, ingress.claims_port],
    }
}

async fn container_settings(
    ctx: &Context,
    request: &InitRequest,
    engine: &dyn Engine,
    others: &[Site],
) -> Result<ContainerSettings, SiteError> {
    let network = request
        .container_network
        .clone()
        .unwrap_or_else(|| naming::network(&ctx.namespace));
    let user: Option<Namespace> = others
        .iter()
        .find(|site| {
            site.platform == request.platform
                && site
                    .container
                    .as_ref()
                    .is_some_and(|container| container.network == network)
        })
        .map(|site| site.namespace.clone());
    if let Some(namespace) = user {
        return Err(SiteError::NetworkInUse { network, namespace });
    }
    let found = engine.network(&network).await?;
    if found.as_ref().is_some_and(|found| !found.dns_enabled) {
        return Err(SiteError::NetworkWithoutNames { network });
    }
    let name = naming::router_container(&ctx.namespace);
    if let Some(existing) = engine.container(&name).await? {
        return Err(SiteError::ContainerExists {
            skupper_v1: existing.is_owned() && !existing.labels.contains_key(naming::LABEL_SITE),
            name,
        });
    }
    let executable = ctx.executable.clone();
    let image = tokio::task::spawn_blocking(move || ImageArchive::reference(&executable))
        .await
        .map_err(|source| SiteError::state("image", source))?
        .map_err(|source| SiteError::state("image", source))?;
    Ok(ContainerSettings {
        engine_endpoint: endpoint_to_record(ctx, request, engine),
        network,
        network_created: found.is_none(),
        ipv6: request.enable_ipv6,
        image: image.to_string(),
    })
}

/// The endpoint, unless every later command finds it by itself, whatever its environment is.
fn endpoint_to_record(ctx: &Context, request: &InitRequest, engine: &dyn Engine) -> Option<String> {
    let plain = EngineEnvironment {
        xdg_runtime_dir: ctx.engine_environment.xdg_runtime_dir.clone(),
        uid: ctx.engine_environment.uid,
        gid: ctx.engine_environment.gid,
        ..EngineEnvironment::default()
    };
    let found_anyway = request.engine_endpoint.is_none()
        && engine.endpoint() == default_endpoint(engine.platform(), &plain);
    (!found_anyway).then(|| engine.endpoint().to_owned())
}

async fn plan(ctx: &Context, site: &Site, engine: Option<&dyn Engine>) -> Result<Plan, SiteError> {
    let paths = ctx.site_paths();
    let mut plan = Plan::new(OPERATION);
    for directory in [
        paths.issuers_dir(),
        paths.certs_dir(),
        paths.links_dir(),
        paths.services_dir(),
        paths.router_dir(),
        paths.socket_dir(),
    ] {
        plan.make_directory(directory);
    }
    let text =
        model::yaml::to_string(site).map_err(|source| SiteError::state("site.yaml", source))?;
    plan.write(paths.site_file(), text, "the site's description");
    plan.push(Step::Certificates(CertificatePlan::new(
        &paths,
        &site.ingress.hosts,
    )));
    let config = router_config::site_router(site, &[], &[], &Layout::of(site, &paths), &paths);
    plan.write(
        paths.router_config(),
        config.to_json(),
        "the router's configuration",
    );
    let mut container = None;
    if let (Some(engine), Some(settings)) = (engine, &site.container) {
        let blueprint = Blueprint {
            site,
            settings,
            paths: &paths,
            uid: ctx.paths.uid,
            user: engine.container_user(),
        };
        if settings.network_created {
            plan.push(Step::CreateNetwork(blueprint.network()));
        }
        if engine.image(&settings.image).await?.is_none() {
            plan.push(Step::LoadImage {
                reference: settings.image.clone(),
            });
        }
        let router = blueprint.router();
        container = Some(router.name.clone());
        plan.push(Step::CreateContainer(Box::new(router)));
    }
    if let Some(systemd) = &site.systemd {
        plan.push(Step::InstallUnits {
            directory: systemd.unit_directory.clone(),
            processes: Processes::of(ctx, Some(site)),
        });
    }
    plan.push(control::start_step(ctx, site));
    plan.push(Step::AwaitRouter {
        socket: paths.router_socket(),
        id: site.name.to_string(),
        container,
    });
    Ok(plan)
}
