//! The sentence of `skupper status`, and its longer forms.

use std::collections::BTreeMap;

use serde::Serialize;

use super::columns;
use crate::wording::Wording;

/// The site as `skupper status` reports it
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SiteReport {
    pub(crate) enabled: bool,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) platform: String,
    pub(crate) mode: &'static str,
    pub(crate) ingress: IngressReport,
    pub(crate) router: RouterReport,
    pub(crate) sites: Option<SiteCounts>,
    pub(crate) services: usize,
    pub(crate) links: Vec<super::link::LinkReport>,
    pub(crate) network: Vec<RemoteSite>,
    pub(crate) warnings: Vec<String>,
}

/// Where other sites reach this one
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IngressReport {
    pub(crate) kind: &'static str,
    pub(crate) hosts: Vec<String>,
    pub(crate) port: u16,
    pub(crate) edge_port: u16,
}

/// The site's router
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RouterReport {
    pub(crate) running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// Other sites of the network; unknown while the router does not answer
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct SiteCounts {
    pub(crate) total: usize,
    pub(crate) direct: usize,
    pub(crate) indirect: usize,
}

/// Another site of the network
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RemoteSite {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<String>,
    pub(crate) direct: bool,
}

impl SiteReport {
    /// The one line of Skupper 1.4
    pub(crate) fn sentence(&self, wording: &Wording) -> String {
        format!(
            "{} in {} mode.{}{}",
            wording.enabled(&self.name),
            self.mode,
            connected(self.sites),
            exposed(self.services)
        )
    }

    /// One `key: value` per line
    pub(crate) fn details(&self) -> String {
        let mut rows = BTreeMap::new();
        let count = |of: fn(SiteCounts) -> usize| {
            self.sites
                .map_or_else(|| "unknown".to_owned(), |c| of(c).to_string())
        };
        let order = [
            "platform",
            "mode",
            "site name",
            "site id",
            "namespace",
            "router",
            "ingress",
            "policies",
            "total connections",
            "direct connections",
            "indirect connections",
            "exposed services",
        ];
        rows.insert("platform", self.platform.clone());
        rows.insert("mode", self.mode.to_owned());
        rows.insert("site name", self.name.clone());
        rows.insert("site id", self.id.clone());
        rows.insert("namespace", self.namespace.clone());
        rows.insert("router", self.router.text());
        rows.insert("ingress", self.ingress.text());
        rows.insert("policies", String::new());
        rows.insert("total connections", count(|counts| counts.total));
        rows.insert("direct connections", count(|counts| counts.direct));
        rows.insert("indirect connections", count(|counts| counts.indirect));
        rows.insert("exposed services", self.services.to_string());
        let mut rows: Vec<(String, String)> = order
            .into_iter()
            .map(|key| (key.to_owned(), rows.remove(key).unwrap_or_default()))
            .collect();
        rows.extend(
            self.links
                .iter()
                .map(|link| (format!("link {}", link.name), link.state_text())),
        );
        rows.extend(
            self.network
                .iter()
                .map(|site| (format!("site {}", site.name), site.text())),
        );
        columns::aligned(&rows)
    }
}

impl RouterReport {
    fn text(&self) -> String {
        let state = if self.running {
            "running"
        } else {
            "not running"
        };
        match (&self.version, &self.problem) {
            (_, Some(problem)) => problem.clone(),
            (Some(version), None) => format!("{state} ({version})"),
            (None, None) => state.to_owned(),
        }
    }
}

impl IngressReport {
    fn text(&self) -> String {
        if self.hosts.is_empty() {
            return self.kind.to_owned();
        }
        format!(
            "{} ({}; ports {} and {})",
            self.kind,
            self.hosts.join(" "),
            self.port,
            self.edge_port
        )
    }
}

impl RemoteSite {
    fn text(&self) -> String {
        let mut parts = vec![if self.direct { "direct" } else { "indirect" }.to_owned()];
        parts.extend(self.platform.clone());
        parts.extend(
            self.version
                .as_ref()
                .map(|version| format!("version {version}")),
        );
        parts.extend(self.id.as_ref().map(|id| format!("id {id}")));
        parts.join(", ")
    }
}

fn connected(counts: Option<SiteCounts>) -> String {
    match counts {
        None => " Status pending...".to_owned(),
        Some(SiteCounts { total: 0, .. }) => " It is not connected to any other sites.".to_owned(),
        Some(SiteCounts { total: 1, .. }) => " It is connected to 1 other site.".to_owned(),
        Some(SiteCounts {
            total, indirect: 0, ..
        }) => format!(" It is connected to {total} other sites."),
        Some(SiteCounts {
            total, indirect, ..
        }) => {
            format!(" It is connected to {total} other sites ({indirect} indirectly).")
        }
    }
}

fn exposed(services: usize) -> String {
    match services {
        0 => " It has no exposed services.".to_owned(),
        1 => " It has 1 exposed service.".to_owned(),
        n => format!(" It has {n} exposed services."),
    }
}

#[cfg(test)]
mod tests {
    use model::Namespace;

    use super::*;

    fn report(sites: Option<SiteCounts>, services: usize) -> SiteReport {
        SiteReport {
            enabled: true,
            namespace: "default".into(),
            name: "host1-alice".into(),
            id: "5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11".into(),
            platform: "podman".into(),
            mode: "interior",
            ingress: IngressReport {
                kind: "external",
                hosts: vec!["a".into(), "b".into()],
                port: 55671,
                edge_port: 45671,
            },
            router: RouterReport {
                running: true,
                version: None,
                problem: None,
            },
            sites,
            services,
            links: Vec::new(),
            network: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn counts(total: usize, indirect: usize) -> Option<SiteCounts> {
        Some(SiteCounts {
            total,
            direct: total - indirect,
            indirect,
        })
    }

    fn sentence(report: &SiteReport, user: &str, namespace: &str) -> String {
        report.sentence(&Wording::new(user, &Namespace::parse(namespace).unwrap()))
    }

    #[test]
    fn the_documented_sentence() {
        assert_eq!(
            sentence(&report(counts(0, 0), 0), "alice", "default"),
            "Skupper is enabled for \"alice\" with site name \"host1-alice\" in interior mode. \
             It is not connected to any other sites. It has no exposed services."
        );
    }

    #[test]
    fn numbers_of_sites_and_services() {
        let tail = |sites, services| {
            let text = sentence(&report(sites, services), "alice", "default");
            text.split_once(" mode.").unwrap().1.to_owned()
        };
        assert_eq!(
            tail(counts(1, 0), 1),
            " It is connected to 1 other site. It has 1 exposed service."
        );
        // one other site is never called indirect, as in Skupper 1.4
        assert_eq!(
            tail(counts(1, 1), 0),
            " It is connected to 1 other site. It has no exposed services."
        );
        assert_eq!(
            tail(counts(3, 0), 2),
            " It is connected to 3 other sites. It has 2 exposed services."
        );
        assert_eq!(
            tail(counts(3, 1), 2),
            " It is connected to 3 other sites (1 indirectly). It has 2 exposed services."
        );
        assert_eq!(
            tail(None, 2),
            " Status pending... It has 2 exposed services."
        );
    }

    #[test]
    fn a_site_named_as_its_owner_is_not_named_twice() {
        let mut site = report(counts(0, 0), 0);
        site.name = "west".into();
        assert!(
            sentence(&site, "alice", "west")
                .starts_with("Skupper is enabled for namespace \"west\" in interior mode.")
        );
        assert!(
            sentence(&site, "west", "default")
                .starts_with("Skupper is enabled for \"west\" in interior mode.")
        );
        assert!(sentence(&site, "alice", "east").starts_with(
            "Skupper is enabled for namespace \"east\" with site name \"west\" in interior mode."
        ));
    }

    #[test]
    fn white_space_in_the_login_name_is_dropped() {
        assert!(sentence(&report(None, 0), "al ice", "default").contains("for \"alice\""));
    }

    #[test]
    fn details_name_every_part() {
        let mut site = report(None, 2);
        site.router = RouterReport {
            running: false,
            version: None,
            problem: Some("the router is not running (no such socket)".into()),
        };
        let text = site.details();
        assert!(
            text.contains("\nrouter:               the router is not running (no such socket)\n"),
            "{text}"
        );
        assert!(text.contains("\ntotal connections:    unknown\n"), "{text}");
        assert!(
            text.contains("\ningress:              external (a b; ports 55671 and 45671)\n"),
            "{text}"
        );
    }
}
