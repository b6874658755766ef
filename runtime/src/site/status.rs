//! What a site is doing now: its router's answers beside its desired state.
//!
//! Nothing here changes a site or waits for its lock. A router that does not run is an answer, not an error.

mod network;

use std::time::Duration;

use model::link::Link;
use model::service::Service;
use model::site::Site;
use serde_json::Value;
use tokio::time::Instant;

use crate::engine::{ContainerState, Engine, OWNER_LABEL};

use super::access::{AccessError, Agent, RouterSession, Row};
use super::change::engine_of;
use super::context::Context;
use super::control;
use super::error::SiteError;
use super::naming::{self, LABEL_SITE};
use super::state::SiteHandle;

pub use self::network::{NetworkRouter, RouterKind, Totals};

/// The whole answer of `skupper status`.
#[derive(Clone, Debug)]
pub struct SiteStatus {
    pub site: Site,
    pub running: Running,
    /// Whether the site's controller lives: without it nothing that ends is started again.
    pub controller: bool,
    /// Every router of the network but those of services, this site's first.
    pub routers: Vec<NetworkRouter>,
    /// Other sites in the network.
    pub totals: Totals,
    /// Links made from this site.
    pub links: Vec<LinkStatus>,
    /// Links from other sites that are connected now.
    pub incoming: Vec<IncomingLink>,
    pub services: Vec<ServiceStatus>,
    /// What the user should know, as sentences.
    pub warnings: Vec<String>,
}

/// Whether the site's router answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Running {
    Yes,
    No { reason: String },
}

/// A link made from this site.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    pub link: Link,
    pub connected: bool,
    /// Router at the other end, while connected.
    pub remote: Option<String>,
    /// Why it is not connected.
    pub reason: Option<String>,
}

/// A connected link that another site made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IncomingLink {
    /// Id of the router, which is the site's name off Kubernetes.
    pub router: String,
    pub site_id: Option<String>,
    /// Address it comes from.
    pub host: String,
}

/// A service defined here.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    pub service: Service,
    pub container: ContainerHealth,
}

/// The container of a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ContainerHealth {
    /// The platform has none.
    NotUsed,
    Running,
    /// Somebody removed it; the controller makes it again.
    Missing,
    /// There and not running; the engine's word for its state.
    Down(String),
    /// The engine does not answer.
    Unknown(String),
}

/// Asks for everything.
///
/// # Errors
/// [`SiteError::NotEnabled`], or damaged files.
pub async fn status(ctx: &Context) -> Result<SiteStatus, SiteError> {
    let handle = SiteHandle::required(ctx)?;
    let controller = control::is_running(handle.paths())?;
    let mut warnings = Vec::new();
    if !controller {
        warnings.push(
            "the site controller is not running; any command that changes the site starts it"
                .to_owned(),
        );
    }
    let services = service_statuses(ctx, &handle).await;
    let mut status = SiteStatus {
        site: handle.site().clone(),
        running: Running::Yes,
        controller,
        routers: Vec::new(),
        totals: Totals::default(),
        links: Vec::new(),
        incoming: Vec::new(),
        services,
        warnings,
    };
    if let Err(error) = ask_router(ctx, &handle, &mut status).await {
        let reason = error.to_string();
        status.links = unconnected(&handle, &reason);
        status.running = Running::No { reason };
    }
    Ok(status)
}

/// The state of the links made from this site, by one question to the router.
///
/// # Errors
/// [`SiteError::NotEnabled`], or damaged files.
pub async fn link_statuses(ctx: &Context) -> Result<Vec<LinkStatus>, SiteError> {
    let handle = SiteHandle::required(ctx)?;
    let asked = async {
        let mut session = ctx.routers().open(&handle.paths().router_socket()).await?;
        ask_links(&mut *session, &handle).await
    };
    Ok(match asked.await {
        Ok((links, _)) => links,
        Err(error) => unconnected(&handle, &error.to_string()),
    })
}

/// Whether a new link leads into a network that has our router id already, if the router says so within two seconds.
/// A link that can't be connected for another reason is no conflict.
pub(crate) async fn is_id_conflict(ctx: &Context, handle: &SiteHandle, links: &[Link]) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    const STEP: Duration = Duration::from_millis(50);
    const WORDS: &str = "already in the network";
    let started = Instant::now();
    while started.elapsed() < PATIENCE && !ctx.cancel.is_cancelled() {
        let asked = async {
            let mut session = ctx.routers().open(&handle.paths().router_socket()).await?;
            connectors(&mut *session).await
        };
        let Ok(rows) = asked.await else {
            return false;
        };
        let states: Vec<(&str, &str)> = links
            .iter()
            .filter_map(|link| find(&rows, link))
            .map(|row| (text(row, "connectionStatus"), text(row, "connectionMsg")))
            .collect();
        if states.iter().any(|(_, message)| message.contains(WORDS)) {
            return true;
        }
        let decided = states
            .iter()
            .all(|(state, _)| matches!(*state, "SUCCESS" | "FAILED"));
        if decided && states.len() == links.len() {
            return false;
        }
        tokio::time::sleep(STEP).await;
    }
    false
}

async fn ask_router(
    ctx: &Context,
    handle: &SiteHandle,
    status: &mut SiteStatus,
) -> Result<(), AccessError> {
    let mut session = ctx.routers().open(&handle.paths().router_socket()).await?;
    let (links, connections) = ask_links(&mut *session, handle).await?;
    status.links = links;
    let found = network::survey(&mut *session, handle.site(), &connections).await?;
    status.incoming = incoming(&connections, &found.routers);
    status.routers = found.routers;
    status.totals = found.totals;
    status.warnings.extend(found.warnings);
    Ok(())
}

/// The links and all connections of the router.
async fn ask_links(
    session: &mut dyn RouterSession,
    handle: &SiteHandle,
) -> Result<(Vec<LinkStatus>, Vec<Row>), AccessError> {
    let connectors = connectors(session).await?;
    let connections = session
        .query(
            Agent::Local,
            "connection",
            &["container", "role", "dir", "host", "active", "opened"],
        )
        .await?;
    let links = handle
        .links()
        .iter()
        .map(|link| link_status(link, &connectors, &connections))
        .collect();
    Ok((links, connections))
}

async fn connectors(session: &mut dyn RouterSession) -> Result<Vec<Row>, AccessError> {
    session
        .query(
            Agent::Local,
            "connector",
            &["name", "host", "port", "connectionStatus", "connectionMsg"],
        )
        .await
}

fn link_status(link: &Link, connectors: &[Row], connections: &[Row]) -> LinkStatus {
    let Some(connector) = find(connectors, link) else {
        return LinkStatus {
            link: link.clone(),
            connected: false,
            remote: None,
            reason: Some("the router has not loaded it".to_owned()),
        };
    };
    let connection = connections.iter().find(|row| {
        is_link(row)
            && text(row, "dir") == "out"
            && link_hosts(link).contains(&text(row, "host").to_owned())
    });
    let state = text(connector, "connectionStatus");
    let connected = connection.is_some_and(|row| row.get("active") != Some(&Value::Bool(false)))
        && matches!(state, "" | "SUCCESS");
    let message = text(connector, "connectionMsg");
    let reason = match (connected, message) {
        (true, _) => None,
        (false, "") => Some("connecting".to_owned()),
        (false, message) => Some(message.to_owned()),
    };
    LinkStatus {
        link: link.clone(),
        connected,
        remote: connection
            .filter(|_| connected)
            .map(|row| text(row, "container").to_owned()),
        reason,
    }
}

/// A link's `host:port`, as routers write it: literals with and without brackets.
fn link_hosts(link: &Link) -> Vec<String> {
    link.endpoints
        .inter_router
        .iter()
        .chain(&link.endpoints.edge)
        .flat_map(|endpoint| {
            [
                endpoint.to_string(),
                format!("{}:{}", endpoint.host, endpoint.port),
            ]
        })
        .collect()
}

fn unconnected(handle: &SiteHandle, reason: &str) -> Vec<LinkStatus> {
    handle
        .links()
        .iter()
        .map(|link| LinkStatus {
            link: link.clone(),
            connected: false,
            remote: None,
            reason: Some(reason.to_owned()),
        })
        .collect()
}

/// Connections that other sites opened; routers of services are not sites.
fn incoming(connections: &[Row], routers: &[NetworkRouter]) -> Vec<IncomingLink> {
    let mut links: Vec<IncomingLink> = connections
        .iter()
        .filter(|row| is_link(row) && text(row, "dir") == "in")
        .filter_map(|row| {
            let id = text(row, "container");
            let router = routers.iter().find(|router| router.id == id)?;
            Some(IncomingLink {
                router: id.to_owned(),
                site_id: router.site_id.clone(),
                host: text(row, "host").to_owned(),
            })
        })
        .collect();
    links.sort_by(|a, b| a.router.cmp(&b.router));
    links.dedup_by(|a, b| a.router == b.router);
    links
}

async fn service_statuses(ctx: &Context, handle: &SiteHandle) -> Vec<ServiceStatus> {
    let with = |health: &dyn Fn(&Service) -> ContainerHealth| {
        handle
            .services()
            .iter()
            .map(|service| ServiceStatus {
                service: service.clone(),
                container: health(service),
            })
            .collect()
    };
    let engine = match engine_of(ctx, handle).await {
        Ok(Some(engine)) => engine,
        Ok(None) => return with(&|_| ContainerHealth::NotUsed),
        Err(error) => return with(&|_| ContainerHealth::Unknown(error.to_string())),
    };
    match container_states(&*engine, handle.site()).await {
        Ok(states) => with(&|service| {
            let name = naming::service_container(&handle.site().namespace, service);
            match states.iter().find(|(known, _)| *known == name) {
                None => ContainerHealth::Missing,
                Some((_, ContainerState::Running)) => ContainerHealth::Running,
                Some((_, other)) => ContainerHealth::Down(other.to_string()),
            }
        }),
        Err(error) => with(&|_| ContainerHealth::Unknown(error.to_string())),
    }
}

async fn container_states(
    engine: &dyn Engine,
    site: &Site,
) -> Result<Vec<(String, ContainerState)>, SiteError> {
    let found = engine
        .containers(&[OWNER_LABEL, (LABEL_SITE, site.id.as_str())])
        .await?;
    Ok(found
        .into_iter()
        .map(|container| (container.name, container.state))
        .collect())
}

fn find<'a>(rows: &'a [Row], link: &Link) -> Option<&'a Row> {
    rows.iter()
        .find(|row| text(row, "name") == link.name.as_str())
}

fn is_link(row: &Row) -> bool {
    matches!(text(row, "role"), "inter-router" | "edge")
}

/// A text attribute; empty when it has no value.
fn text<'a>(row: &'a Row, attribute: &str) -> &'a str {
    row.get(attribute).and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests;
