use std::collections::BTreeMap;

use model::link::{Endpoints, Link};
use model::name::{HostPort, LinkCost, LinkName};
use serde_json::json;

use super::*;

fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row.into_iter().collect(),
        other => panic!("{other}"),
    }
}

fn link(endpoint: &str) -> Link {
    let endpoints = Endpoints {
        inter_router: Some(HostPort::parse(endpoint).expect("an address")),
        edge: None,
    };
    let name = LinkName::parse("link1").expect("a name");
    Link::new(name, LinkCost::default(), endpoints)
}

fn connector(status: &str, message: &str) -> Row {
    row(json!({"name": "link1", "connectionStatus": status, "connectionMsg": message}))
}

fn connection(host: &str, active: bool) -> Row {
    row(
        json!({"container": "west", "role": "inter-router", "dir": "out", "host": host, "active": active}),
    )
}

#[test]
fn a_link_is_connected_when_its_connection_is_open() {
    let connectors = [connector("SUCCESS", "")];
    let status = link_status(
        &link("h:55671"),
        &connectors,
        &[connection("other:1", true), connection("h:55671", true)],
    );
    assert!(status.connected);
    assert_eq!(
        (status.remote.as_deref(), status.reason),
        (Some("west"), None)
    );
}

#[test]
fn addresses_in_brackets_and_without_are_the_same() {
    let connectors = [connector("SUCCESS", "")];
    for host in ["[2001:db8::1]:55671", "2001:db8::1:55671"] {
        let status = link_status(
            &link("[2001:db8::1]:55671"),
            &connectors,
            &[connection(host, true)],
        );
        assert!(status.connected, "{host}");
    }
}

#[test]
fn a_link_that_is_down_says_why() {
    let reason = |connectors: &[Row], connections: &[Row]| {
        let status = link_status(&link("h:55671"), connectors, connections);
        assert!(!status.connected);
        assert_eq!(status.remote, None);
        status.reason.expect("a reason")
    };
    let refused = [connector("FAILED", "Connection refused")];
    assert_eq!(reason(&refused, &[]), "Connection refused");
    assert_eq!(reason(&[connector("CONNECTING", "")], &[]), "connecting");
    assert!(reason(&[], &[]).contains("not loaded"));
    // an open connection of the past, and one that only stands by
    assert_eq!(
        reason(&refused, &[connection("h:55671", true)]),
        "Connection refused"
    );
    let success = [connector("SUCCESS", "")];
    reason(&success, &[connection("h:55671", false)]);
}

#[test]
fn incoming_links_are_those_of_known_sites_once_each() {
    let known = NetworkRouter {
        id: "west".to_owned(),
        kind: RouterKind::Interior,
        local: false,
        site_id: Some("id-west".to_owned()),
        version: None,
        platform: None,
        connected_to: Vec::new(),
    };
    let incoming = incoming(
        &[
            row(
                json!({"container": "west", "role": "inter-router", "dir": "in", "host": "1.2.3.4:5"}),
            ),
            row(
                json!({"container": "west", "role": "inter-router", "dir": "in", "host": "1.2.3.4:6"}),
            ),
            row(
                json!({"container": "west", "role": "inter-router-data", "dir": "in", "host": "1.2.3.4:7"}),
            ),
            row(json!({"container": "me-db", "role": "edge", "dir": "in", "host": "10.0.0.1:8"})),
            row(json!({"container": "cli", "role": "normal", "dir": "in", "host": ""})),
        ],
        &[known],
    );
    assert_eq!(
        incoming,
        [IncomingLink {
            router: "west".to_owned(),
            site_id: Some("id-west".to_owned()),
            host: "1.2.3.4:5".to_owned(),
        }]
    );
}

/// Answers from a table.
struct Table(BTreeMap<(String, String), Vec<Row>>);

impl RouterSession for Table {
    fn query<'a>(
        &'a mut self,
        agent: Agent<'a>,
        entity: &'a str,
        _: &'a [&'a str],
    ) -> super::super::access::BoxFuture<'a, Result<Vec<Row>, AccessError>> {
        Box::pin(async move {
            let agent = match agent {
                Agent::Local => "me".to_owned(),
                Agent::Interior(id) => id.to_owned(),
                Agent::Edge(id) => format!("edge {id}"),
            };
            self.0
                .get(&(agent.clone(), entity.to_owned()))
                .cloned()
                .ok_or(AccessError::Unreachable {
                    router: agent,
                    reason: "no answer".to_owned(),
                })
        })
    }
}

fn table(entries: &[(&str, &str, Value)]) -> Table {
    let rows = |value: &Value| {
        value
            .as_array()
            .expect("rows")
            .iter()
            .cloned()
            .map(row)
            .collect()
    };
    Table(
        entries
            .iter()
            .map(|(agent, entity, value)| {
                (((*agent).to_owned(), (*entity).to_owned()), rows(value))
            })
            .collect(),
    )
}

fn metadata(id: &str) -> String {
    json!({"id": id, "version": "1.4.3", "platform": "podman"}).to_string()
}

#[tokio::test]
async fn a_network_of_interior_and_edge_sites_is_counted_as_sites() {
    let site = Site::new(
        model::name::Namespace::default(),
        model::name::SiteName::parse("me").expect("a name"),
        model::platform::Platform::Linux,
    );
    let own = json!([
        {"container": "west", "role": "inter-router", "dir": "out"},
        {"container": "me-db", "role": "edge", "dir": "in"},
        {"container": "phone", "role": "edge", "dir": "in"},
    ]);
    let mut table = table(&[
        (
            "me",
            "router",
            json!([{"id": "me", "metadata": metadata("id-me")}]),
        ),
        ("me", "connection", own.clone()),
        (
            "me",
            "router.node",
            json!([
                {"id": "me", "nextHop": "(self)", "linkState": ["west"]},
                {"id": "west", "nextHop": null, "linkState": ["me", "far"]},
                {"id": "far", "nextHop": "west", "linkState": ["west"]},
                {"id": "silent", "nextHop": "west", "linkState": []},
            ]),
        ),
        (
            "west",
            "router",
            json!([{"id": "west", "metadata": metadata("id-west")}]),
        ),
        (
            "west",
            "connection",
            json!([{"container": "odd-name", "role": "edge", "dir": "in"}]),
        ),
        (
            "far",
            "router",
            json!([{"id": "far", "metadata": "no json"}]),
        ),
        ("far", "connection", json!([])),
        (
            "edge phone",
            "router",
            json!([{"id": "phone", "metadata": metadata("id-phone")}]),
        ),
        ("edge phone", "connection", json!([])),
        // the router of a service of west, by its site id
        (
            "edge odd-name",
            "router",
            json!([{"id": "odd-name", "metadata": metadata("id-west-db")}]),
        ),
        ("edge odd-name", "connection", json!([])),
    ]);
    let connections: Vec<Row> = own
        .as_array()
        .expect("rows")
        .iter()
        .cloned()
        .map(row)
        .collect();
    let found = network::survey(&mut table, &site, &connections)
        .await
        .expect("an answer");
    let ids: Vec<&str> = found
        .routers
        .iter()
        .map(|router| router.id.as_str())
        .collect();
    assert_eq!(ids, ["me", "far", "silent", "west", "phone"]);
    assert!(found.routers[0].local);
    assert_eq!(found.routers[1].site_id, None);
    assert_eq!(found.routers[3].version.as_deref(), Some("1.4.3"));
    assert_eq!(found.routers[4].connected_to, ["me"]);
    assert_eq!(
        found.totals,
        Totals {
            total: 4,
            direct: 2,
            indirect: 2
        }
    );
    assert_eq!(found.warnings.len(), 1);
    assert!(found.warnings[0].contains("silent"));
}
