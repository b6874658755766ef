//! `skupper service create|delete|bind|unbind`, `expose` and `unexpose`.
//!
//! On container platforms a service is an edge router in a container of its own; on `linux` it is a listener and
//! connectors in the site router. Either way its definition lies in `services/<name>.yaml`.

use std::sync::Arc;

use model::name::{Protocol, ServiceName};
use model::service::{Service, Target};

use crate::engine::{Engine, EngineError};
use crate::host;

use super::change::{Change, blueprint_of, engine_of};
use super::context::Context;
use super::error::SiteError;
use super::naming;
use super::router_config::{self, Layout};
use super::state::SiteHandle;
use super::step::{Plan, Step};

const CREATE: &str = "skupper service create";
const DELETE: &str = "skupper service delete";
const BIND: &str = "skupper service bind";
const UNBIND: &str = "skupper service unbind";
const EXPOSE: &str = "skupper expose";
const UNEXPOSE: &str = "skupper unexpose";

/// Defines a service.
///
/// # Errors
/// [`SiteError::ServiceExists`], what is wrong with the definition, taken ports and container names.
pub async fn service_create(ctx: &Context, service: &Service) -> Result<(), SiteError> {
    create(ctx, service, CREATE).await
}

/// Defines a service with its target.
///
/// # Errors
/// As [`service_create`]: an existing service is not changed.
pub async fn expose(ctx: &Context, service: &Service) -> Result<(), SiteError> {
    create(ctx, service, EXPOSE).await
}

/// Removes a service with everything that belongs to it. A container that was removed by hand is no obstacle.
///
/// # Errors
/// [`SiteError::NoSuchService`]; [`SiteError::ForeignContainer`].
pub async fn service_delete(ctx: &Context, name: &ServiceName) -> Result<(), SiteError> {
    let change = Change::begin(ctx, DELETE).await?;
    let plan = plan_delete(change.handle(), name, DELETE)?;
    change.apply(plan).await
}

/// Adds a target to a service.
///
/// # Errors
/// [`SiteError::NoSuchService`], [`SiteError::TargetExists`], a wrong mapping.
pub async fn service_bind(
    ctx: &Context,
    name: &ServiceName,
    target: &Target,
) -> Result<(), SiteError> {
    let change = Change::begin(ctx, BIND).await?;
    let plan = plan_bind(ctx, change.handle(), name, target)?;
    change.apply(plan).await
}

/// Removes a target from a service, which stays.
///
/// # Errors
/// [`SiteError::NoSuchService`], [`SiteError::NoSuchTarget`].
pub async fn service_unbind(
    ctx: &Context,
    name: &ServiceName,
    host: &str,
) -> Result<(), SiteError> {
    let change = Change::begin(ctx, UNBIND).await?;
    let plan = plan_unbind(change.handle(), name, host, UNBIND)?;
    change.apply(plan).await
}

/// Removes a target; with the last target the service goes too.
///
/// # Errors
/// As [`service_unbind`].
pub async fn unexpose(ctx: &Context, name: &ServiceName, host: &str) -> Result<(), SiteError> {
    let change = Change::begin(ctx, UNEXPOSE).await?;
    let plan = plan_removal(change.handle(), name, host)?;
    change.apply(plan).await
}

/// What [`service_create`] would do.
///
/// # Errors
/// As [`service_create`].
pub async fn plan_service_create(ctx: &Context, service: &Service) -> Result<Plan, SiteError> {
    plan_create(ctx, &SiteHandle::required(ctx)?, service, CREATE).await
}

/// What [`expose`] would do.
///
/// # Errors
/// As [`expose`].
pub async fn plan_expose(ctx: &Context, service: &Service) -> Result<Plan, SiteError> {
    plan_create(ctx, &SiteHandle::required(ctx)?, service, EXPOSE).await
}

/// What [`service_delete`] would do.
///
/// # Errors
/// As [`service_delete`].
pub fn plan_service_delete(ctx: &Context, name: &ServiceName) -> Result<Plan, SiteError> {
    plan_delete(&SiteHandle::required(ctx)?, name, DELETE)
}

/// What [`service_bind`] would do.
///
/// # Errors
/// As [`service_bind`].
pub fn plan_service_bind(
    ctx: &Context,
    name: &ServiceName,
    target: &Target,
) -> Result<Plan, SiteError> {
    plan_bind(ctx, &SiteHandle::required(ctx)?, name, target)
}

/// What [`service_unbind`] would do.
///
/// # Errors
/// As [`service_unbind`].
pub fn plan_service_unbind(
    ctx: &Context,
    name: &ServiceName,
    host: &str,
) -> Result<Plan, SiteError> {
    plan_unbind(&SiteHandle::required(ctx)?, name, host, UNBIND)
}

/// What [`unexpose`] would do.
///
/// # Errors
/// As [`unexpose`].
pub fn plan_unexpose(ctx: &Context, name: &ServiceName, host: &str) -> Result<Plan, SiteError> {
    plan_removal(&SiteHandle::required(ctx)?, name, host)
}

/// Makes the container of a defined service if it is missing, and starts it if it does not run.
///
/// # Errors
/// Those of the engine.
pub async fn ensure_container(
    ctx: &Context,
    handle: &SiteHandle,
    engine: &Arc<dyn Engine>,
    name: &ServiceName,
) -> Result<(), SiteError> {
    let Some(service) = handle.service(name) else {
        return Ok(());
    };
    let Some(blueprint) = blueprint_of(ctx, handle, &**engine) else {
        return Ok(());
    };
    ensure(&**engine, &blueprint.service(service)).await
}

/// The same for those containers of the site, its router's among them, that have one of these names.
///
/// # Errors
/// The first of the engine; one that can't be started does not keep the others from coming back.
pub async fn ensure_containers(
    ctx: &Context,
    handle: &SiteHandle,
    engine: &Arc<dyn Engine>,
    names: &[String],
) -> Result<(), SiteError> {
    let Some(blueprint) = blueprint_of(ctx, handle, &**engine) else {
        return Ok(());
    };
    let services = handle.services().iter();
    let specs = std::iter::once(blueprint.router())
        .chain(services.map(|service| blueprint.service(service)));
    let mut outcome = Ok(());
    for spec in specs.filter(|spec| names.contains(&spec.name)) {
        outcome = outcome.and(ensure(&**engine, &spec).await);
    }
    outcome
}

async fn ensure(engine: &dyn Engine, spec: &crate::engine::ContainerSpec) -> Result<(), SiteError> {
    let site = spec.labels.get(naming::LABEL_SITE);
    match engine.container(&spec.name).await? {
        Some(found) if found.labels.get(naming::LABEL_SITE) != site => {
            return Err(SiteError::ForeignContainer {
                name: spec.name.clone(),
            });
        }
        Some(found) if found.state.is_running() => return Ok(()),
        Some(_) => {}
        None => match engine.create_container(spec).await {
            // somebody else, the controller or a command, was faster
            Ok(_) | Err(EngineError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(engine.start_container(&spec.name).await?)
}

async fn create(ctx: &Context, service: &Service, operation: &str) -> Result<(), SiteError> {
    let change = Change::begin(ctx, operation).await?;
    let plan = plan_create(ctx, change.handle(), service, operation).await?;
    change.apply(plan).await
}

async fn plan_create(
    ctx: &Context,
    handle: &SiteHandle,
    service: &Service,
    operation: &str,
) -> Result<Plan, SiteError> {
    if handle.service(&service.name).is_some() {
        return Err(SiteError::ServiceExists {
            name: service.name.clone(),
        });
    }
    check_definition(service)?;
    for target in &service.targets {
        warn_unreachable(ctx, handle, target);
    }
    let mut plan = Plan::new(operation);
    plan_definition(&mut plan, handle, service)?;
    let engine = engine_of(ctx, handle).await?;
    match engine.as_deref() {
        None => {
            check_native_ports(handle, service)?;
            plan_services(&mut plan, handle, |services| services.push(service.clone()));
        }
        Some(engine) => plan_container(&mut plan, ctx, handle, engine, service).await?,
    }
    Ok(plan)
}

async fn plan_container(
    plan: &mut Plan,
    ctx: &Context,
    handle: &SiteHandle,
    engine: &dyn Engine,
    service: &Service,
) -> Result<(), SiteError> {
    let Some(blueprint) = blueprint_of(ctx, handle, engine) else {
        return Ok(());
    };
    let name = service.container_name();
    if [naming::ROUTER, naming::ROUTER_LOCAL].contains(&name) {
        return Err(SiteError::Invalid(format!(
            "{name} is the name of the site router on the site's network"
        )));
    }
    let spec = blueprint.service(service);
    if let Some(found) = engine.container(&spec.name).await? {
        return Err(SiteError::ContainerExists {
            skupper_v1: found.is_owned() && !found.labels.contains_key(naming::LABEL_SITE),
            name: spec.name,
        });
    }
    for published in &spec.ports {
        let ip = published.host_ip.as_deref().and_then(|ip| ip.parse().ok());
        host::check_port(ip, published.host_port).map_err(|source| SiteError::HostPort {
            port: published.host_port,
            source,
        })?;
    }
    let paths = handle.paths();
    let layout = Layout::of(handle.site(), paths);
    let config = router_config::service_router(handle.site(), service, &layout, paths);
    plan.make_directory(paths.service_router_dir(&service.name));
    plan.write(
        paths.service_router_config(&service.name),
        config.to_json(),
        "the router's configuration",
    );
    let container = spec.name.clone();
    plan.push(Step::CreateContainer(Box::new(spec)));
    plan.push(Step::AwaitRouter {
        socket: paths.service_router_socket(&service.name),
        id: naming::service_router_id(handle.site(), &service.name),
        container: Some(container),
    });
    Ok(())
}

fn plan_delete(
    handle: &SiteHandle,
    name: &ServiceName,
    operation: &str,
) -> Result<Plan, SiteError> {
    let service = handle.required_service(name)?;
    let paths = handle.paths();
    let mut plan = Plan::new(operation);
    if handle.site().platform.is_container() {
        plan.push(Step::RemoveContainer {
            name: naming::service_container(&handle.site().namespace, service),
            service: name.clone(),
        });
        plan.remove(paths.service_router_dir(name), "the router's configuration");
        plan.remove(paths.service_router_socket(name), "the router's socket");
    } else {
        plan_services(&mut plan, handle, |services| {
            services.retain(|other| other.name != *name);
        });
    }
    plan.remove(paths.service_file(name), format!("service {name}"));
    Ok(plan)
}

fn plan_bind(
    ctx: &Context,
    handle: &SiteHandle,
    name: &ServiceName,
    target: &Target,
) -> Result<Plan, SiteError> {
    let service = handle.required_service(name)?;
    if service.target(&target.host).is_some() {
        return Err(SiteError::TargetExists {
            service: name.clone(),
            host: target.host.clone(),
        });
    }
    let mut changed = service.clone();
    changed.targets.push(target.clone());
    check_definition(&changed)?;
    warn_unreachable(ctx, handle, target);
    plan_change(handle, service, changed, BIND)
}

fn plan_unbind(
    handle: &SiteHandle,
    name: &ServiceName,
    host: &str,
    operation: &str,
) -> Result<Plan, SiteError> {
    let service = required_target(handle, name, host)?;
    let mut changed = service.clone();
    changed.targets.retain(|target| target.host != host);
    plan_change(handle, service, changed, operation)
}

fn plan_removal(handle: &SiteHandle, name: &ServiceName, host: &str) -> Result<Plan, SiteError> {
    if required_target(handle, name, host)?.targets.len() == 1 {
        return plan_delete(handle, name, UNEXPOSE);
    }
    plan_unbind(handle, name, host, UNEXPOSE)
}

fn plan_change(
    handle: &SiteHandle,
    old: &Service,
    new: Service,
    operation: &str,
) -> Result<Plan, SiteError> {
    let mut plan = Plan::new(operation);
    plan_definition(&mut plan, handle, &new)?;
    if handle.site().platform.is_container() {
        router_config::plan_service_router(&mut plan, handle, old, &new);
    } else {
        plan_services(&mut plan, handle, |services| {
            services.retain(|other| other.name != new.name);
            services.push(new);
        });
    }
    Ok(plan)
}

/// Writes the definition.
fn plan_definition(
    plan: &mut Plan,
    handle: &SiteHandle,
    service: &Service,
) -> Result<(), SiteError> {
    let what = format!("service {}", service.name);
    let text = model::yaml::to_string(service)
        .map_err(|source| SiteError::state(what.as_str(), source))?;
    plan.write(handle.paths().service_file(&service.name), text, what);
    Ok(())
}

/// Brings the site router of a native site to a changed list of services.
fn plan_services(plan: &mut Plan, handle: &SiteHandle, change: impl FnOnce(&mut Vec<Service>)) {
    let mut services = handle.services().to_vec();
    change(&mut services);
    router_config::plan_site_router(plan, handle, &handle.with_services(services));
}

fn required_target<'a>(
    handle: &'a SiteHandle,
    name: &ServiceName,
    host: &str,
) -> Result<&'a Service, SiteError> {
    let service = handle.required_service(name)?;
    if service.target(host).is_none() {
        return Err(SiteError::NoSuchTarget {
            service: name.clone(),
            host: host.to_owned(),
        });
    }
    Ok(service)
}

fn check_definition(service: &Service) -> Result<(), SiteError> {
    if service.protocol != Protocol::Tcp {
        return Err(SiteError::Unsupported {
            what: format!("protocol {}", service.protocol),
            instead: "use tcp, which carries it unchanged".to_owned(),
        });
    }
    service
        .validate()
        .map_err(|source| SiteError::state(format!("service {}", service.name), source))?;
    if let Some(ip) = &service.host_ip
        && ip.parse::<std::net::IpAddr>().is_err()
    {
        return Err(SiteError::Invalid(format!("host ip {ip:?} is no address")));
    }
    Ok(())
}

/// A taken port is refused, whether it is taken now or by a service whose router does not run.
fn check_native_ports(handle: &SiteHandle, service: &Service) -> Result<(), SiteError> {
    for (ip, port) in router_config::native_listeners(service) {
        let sibling = handle
            .services()
            .iter()
            .find(|other| router_config::native_listeners(other).contains(&(ip, port)));
        if let Some(other) = sibling {
            return Err(SiteError::Invalid(format!(
                "ingress port {port} is already in use by service {}",
                other.name
            )));
        }
        host::check_port(ip, port).map_err(|source| SiteError::HostPort { port, source })?;
    }
    Ok(())
}

/// Inside a container, loopback is the container itself.
fn warn_unreachable(ctx: &Context, handle: &SiteHandle, target: &Target) {
    if handle.site().platform.is_container() && host::is_loopback(&target.host) {
        ctx.progress.warn(&format!(
            "target {} is the service's own container; a process of this host is host.containers.internal",
            target.host
        ));
    }
}
