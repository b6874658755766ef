//! The other routers of the network: who they are, which sites they belong to, how they are connected.
//!
//! Interior routers come from the local router's table. Edge routers are only known to the interior router they
//! are connected to, so each is asked for its connections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::site::Site;
use serde_json::Value;
use tokio::time::Instant;

use super::super::access::{AccessError, Agent, RouterSession, Row};
use super::text;

/// Questions to other routers end after this time altogether.
const PATIENCE: Duration = Duration::from_secs(10);

/// A router of the network that stands for a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworkRouter {
    pub id: String,
    pub kind: RouterKind,
    /// Whether it is this site's router.
    pub local: bool,
    /// From its metadata; none when it does not answer.
    pub site_id: Option<String>,
    /// Version of its site.
    pub version: Option<String>,
    pub platform: Option<String>,
    /// Routers it has a connection with.
    pub connected_to: Vec<String>,
}

/// Place of a router in the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouterKind {
    Interior,
    Edge,
}

/// Numbers of other sites.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    pub total: usize,
    /// Connected with this one.
    pub direct: usize,
    /// Reached through others.
    pub indirect: usize,
}

#[derive(Debug)]
pub(super) struct Survey {
    pub(super) routers: Vec<NetworkRouter>,
    pub(super) totals: Totals,
    pub(super) warnings: Vec<String>,
}

/// Site of a router, as its metadata says.
#[derive(Clone, Debug, Default)]
struct Identity {
    site_id: Option<String>,
    version: Option<String>,
    platform: Option<String>,
}

pub(super) async fn survey(
    session: &mut dyn RouterSession,
    site: &Site,
    local_connections: &[Row],
) -> Result<Survey, AccessError> {
    let deadline = Instant::now() + PATIENCE;
    let own_id = site.name.as_str();
    let nodes = session
        .query(Agent::Local, "router.node", &["id", "nextHop", "linkState"])
        .await?;
    let mut warnings = Vec::new();
    let mut routers = Vec::new();
    let mut edges: BTreeMap<String, String> = edges_of(local_connections)
        .into_iter()
        .map(|edge| (edge, own_id.to_owned()))
        .collect();
    for node in &nodes {
        let id = text(node, "id");
        let local = id == own_id;
        let agent = if local {
            Agent::Local
        } else {
            Agent::Interior(id)
        };
        let mut identity = Identity::default();
        match ask(session, agent, deadline).await {
            Ok((found, connections)) => {
                identity = found;
                for edge in edges_of(&connections).into_iter().filter(|_| !local) {
                    edges.entry(edge).or_insert_with(|| id.to_owned());
                }
            }
            Err(error) if local => return Err(error),
            Err(error) => warnings.push(error.to_string()),
        }
        routers.push(NetworkRouter {
            id: id.to_owned(),
            kind: RouterKind::Interior,
            local,
            connected_to: neighbours(node),
            site_id: identity.site_id,
            version: identity.version,
            platform: identity.platform,
        });
    }
    routers.sort_by(|a, b| b.local.cmp(&a.local).then_with(|| a.id.cmp(&b.id)));
    let sites = edge_sites(session, &routers, edges, deadline).await;
    routers.extend(sites);
    let totals = totals(own_id, &routers, &nodes);
    Ok(Survey {
        routers,
        totals,
        warnings,
    })
}

/// Who a router is and whom it is connected with.
async fn ask(
    session: &mut dyn RouterSession,
    agent: Agent<'_>,
    deadline: Instant,
) -> Result<(Identity, Vec<Row>), AccessError> {
    let questions = async {
        let rows = session.query(agent, "router", &["id", "metadata"]).await?;
        let connections = session
            .query(agent, "connection", &["container", "role", "dir"])
            .await?;
        Ok((rows.first().map(identity).unwrap_or_default(), connections))
    };
    tokio::time::timeout_at(deadline, questions)
        .await
        .unwrap_or_else(|_| {
            Err(AccessError::Unreachable {
                router: match agent {
                    Agent::Interior(id) | Agent::Edge(id) => id.to_owned(),
                    Agent::Local => "of this site".to_owned(),
                },
                reason: "no answer in time".to_owned(),
            })
        })
}

/// Edge routers that stand for sites of their own: not those of services.
async fn edge_sites(
    session: &mut dyn RouterSession,
    interior: &[NetworkRouter],
    edges: BTreeMap<String, String>,
    deadline: Instant,
) -> Vec<NetworkRouter> {
    let mut sites = Vec::new();
    for (id, uplink) in edges {
        // the name tells most of them without a question
        if interior
            .iter()
            .any(|router| id.starts_with(&format!("{}-", router.id)))
        {
            continue;
        }
        let Ok((identity, _)) = ask(session, Agent::Edge(&id), deadline).await else {
            // it went away, or it is a client that calls itself an edge
            continue;
        };
        let Some(site_id) = identity.site_id else {
            continue;
        };
        if belongs_to_interior(&site_id, interior) {
            continue;
        }
        sites.push(NetworkRouter {
            id,
            kind: RouterKind::Edge,
            local: false,
            site_id: Some(site_id),
            version: identity.version,
            platform: identity.platform,
            connected_to: vec![uplink],
        });
    }
    sites
}

/// Routers of services have their site's id, alone or with the address behind it.
fn belongs_to_interior(site_id: &str, interior: &[NetworkRouter]) -> bool {
    interior
        .iter()
        .filter_map(|router| router.site_id.as_deref())
        .any(|known| site_id == known || site_id.starts_with(&format!("{known}-")))
}

fn totals(own_id: &str, routers: &[NetworkRouter], nodes: &[Row]) -> Totals {
    let neighbours: BTreeSet<&str> = nodes
        .iter()
        .filter(|node| text(node, "nextHop").is_empty())
        .map(|node| text(node, "id"))
        .collect();
    let others = || routers.iter().filter(|router| !router.local);
    let total = others().count();
    let direct = others()
        .filter(|router| match router.kind {
            RouterKind::Interior => neighbours.contains(router.id.as_str()),
            RouterKind::Edge => router.connected_to.iter().any(|uplink| uplink == own_id),
        })
        .count();
    Totals {
        total,
        direct,
        indirect: total - direct,
    }
}

fn edges_of(connections: &[Row]) -> BTreeSet<String> {
    connections
        .iter()
        .filter(|row| text(row, "role") == "edge" && text(row, "dir") == "in")
        .map(|row| text(row, "container").to_owned())
        .filter(|id| !id.is_empty())
        .collect()
}

fn neighbours(node: &Row) -> Vec<String> {
    node.get("linkState")
        .and_then(Value::as_array)
        .map(|ids| {
            ids.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}

fn identity(row: &Row) -> Identity {
    let metadata: Value = serde_json::from_str(text(row, "metadata")).unwrap_or_default();
    let field = |name: &str| {
        metadata
            .get(name)
            .and_then(Value::as_str)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    Identity {
        site_id: field("id"),
        version: field("version"),
        platform: field("platform"),
    }
}
