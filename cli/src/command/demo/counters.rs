//! What a site's links have carried, as its router counts it.

use model::{Namespace, Paths};
use runtime::site::access::{AccessError, Agent, AmqpAccess, RouterAccess as _, Row};

use crate::error::CommandError;

/// Octets by name of what carried them
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Carried {
    /// Both directions of all links with other sites
    pub(super) link_octets: u64,
    /// Links that are up
    pub(super) links: usize,
}

/// Asks the site's router
pub(super) async fn read(paths: &Paths, site: &str) -> Result<Carried, CommandError> {
    let namespace = Namespace::parse(site).map_err(CommandError::failed)?;
    let socket = paths.site(&namespace).router_socket();
    let failed = |error: AccessError| {
        CommandError::failed(format!(
            "could not read the counters of \"{site}\": {error}"
        ))
    };
    let mut session = AmqpAccess.open(&socket).await.map_err(failed)?;
    let rows = session
        .query(
            Agent::Local,
            "connection",
            &["role", "active", "octetsIn", "octetsOut"],
        )
        .await
        .map_err(failed)?;
    Ok(carried(&rows))
}

fn carried(rows: &[Row]) -> Carried {
    let mut carried = Carried::default();
    for row in rows {
        let role = row
            .get("role")
            .and_then(|role| role.as_str())
            .unwrap_or_default();
        if !role.starts_with("inter-router") {
            continue;
        }
        carried.links += 1;
        for name in ["octetsIn", "octetsOut"] {
            carried.link_octets += row
                .get(name)
                .and_then(serde_json::Value::as_u64)
                .unwrap_or(0);
        }
    }
    carried
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_links_between_sites_count() {
        let row = |role: &str| -> Row {
            [
                ("role".to_owned(), json!(role)),
                ("octetsIn".to_owned(), json!(3)),
                ("octetsOut".to_owned(), json!(4)),
            ]
            .into()
        };
        let rows = [
            row("inter-router"),
            row("inter-router-data"),
            row("edge"),
            row("normal"),
        ];
        assert_eq!(
            carried(&rows),
            Carried {
                link_octets: 14,
                links: 2
            }
        );
    }
}
