//! Names of the things a site consists of. The default site has the names of v1; others have the namespace
//! in front, and the plain name as an alias on their own network.

use std::collections::BTreeMap;

use model::name::{Namespace, ServiceName, SiteName};
use model::service::Service;
use model::site::Site;

/// Name of the site router on its network, whatever its container is called.
pub(crate) const ROUTER: &str = "skupper-router";
/// The router's second name, by which clients inside the site know it (and its local certificate).
pub(crate) const ROUTER_LOCAL: &str = "skupper-router-local";

const CONTROLLER: &str = "skupper-controller";

pub(crate) const LABEL_COMPONENT: &str = "skupper.io/component";
pub(crate) const LABEL_ADDRESS: &str = "skupper.io/address";
/// Tells the containers of two sites on one engine apart; v1 has no such label.
pub(crate) const LABEL_SITE: &str = "skupper.io/site-id";
pub(crate) const LABEL_NAMESPACE: &str = "skupper.io/namespace";
/// User id of the site's owner: several users share one docker.
pub(crate) const LABEL_OWNER: &str = "skupper.io/owner";

/// Name of the site router's container.
pub(crate) fn router_container(namespace: &Namespace) -> String {
    prefixed(namespace, ROUTER)
}

/// Name of the unit of the site controller, without suffix; that of the router is [`router_container`].
pub(crate) fn controller_unit(namespace: &Namespace) -> String {
    prefixed(namespace, CONTROLLER)
}

/// Name of the container of a service.
pub(crate) fn service_container(namespace: &Namespace, service: &Service) -> String {
    prefixed(namespace, service.container_name())
}

/// Default name of the site's network.
pub(crate) fn network(namespace: &Namespace) -> String {
    if namespace.is_default() {
        "skupper".to_owned()
    } else {
        format!("skupper-{namespace}")
    }
}

/// Router id of a service's own router.
pub(crate) fn service_router_id(site: &Site, service: &ServiceName) -> String {
    format!("{}-{service}", site.name)
}

/// Default router id: `<host>-<user>[-<namespace>]`, without the characters that ids can't have.
pub(crate) fn site_name(host: &str, user: &str, namespace: &Namespace) -> Option<SiteName> {
    let host = host.split('.').next().unwrap_or(host);
    let mut name = format!("{host}-{}", user.to_lowercase());
    if !namespace.is_default() {
        name.push('-');
        name.push_str(namespace.as_str());
    }
    let clean: String = name
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '|' | '$' | '/'))
        .take(200)
        .collect();
    SiteName::parse(&clean).ok()
}

/// Labels of everything that belongs to the site.
pub(crate) fn labels(site: &Site, uid: u32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_SITE.to_owned(), site.id.to_string()),
        (LABEL_NAMESPACE.to_owned(), site.namespace.to_string()),
        (LABEL_OWNER.to_owned(), uid.to_string()),
    ])
}

fn prefixed(namespace: &Namespace, name: &str) -> String {
    if namespace.is_default() {
        name.to_owned()
    } else {
        format!("{namespace}-{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_site_has_the_names_of_v1() {
        let default = Namespace::default();
        assert_eq!(router_container(&default), "skupper-router");
        assert_eq!(network(&default), "skupper");
        let west = Namespace::parse("west").expect("a name");
        assert_eq!(router_container(&west), "west-skupper-router");
        assert_eq!(network(&west), "skupper-west");
    }

    #[test]
    fn site_names_are_valid_router_ids() {
        let west = Namespace::parse("west").expect("a name");
        let name = |host, user, namespace: &Namespace| {
            site_name(host, user, namespace).map(|name| name.to_string())
        };
        assert_eq!(
            name("host1", "Alice", &Namespace::default()).as_deref(),
            Some("host1-alice")
        );
        assert_eq!(
            name("host1.example.com", "DOM\\bob smith", &west).as_deref(),
            Some("host1-dom\\bobsmith-west")
        );
        assert!(name(&"x".repeat(400), "a|$/b", &west).is_some());
    }
}
