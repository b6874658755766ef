//! A site: one place of the network, with its router.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    CLAIMS_PORT, EDGE_PORT, FORMAT, INTER_ROUTER_PORT, PRODUCT_VERSION,
    name::{Namespace, SiteId, SiteName},
    platform::Platform,
    store::{self, StoreError},
};

/// Content of `site.yaml`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// [`FORMAT`] of the file
    pub format: u32,
    /// Release that wrote the file
    pub version: String,
    /// Name among this user's sites
    pub namespace: Namespace,
    /// Name in the network, also the router's id
    pub name: SiteName,
    /// Identity that survives a change of name
    pub id: SiteId,
    /// Fixed for the site's life
    pub platform: Platform,
    /// When `init` ran, RFC 3339
    pub created: String,
    /// How other sites reach this one
    #[serde(default)]
    pub ingress: Ingress,
    /// Only on container platforms
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerSettings>,
    /// Where systemd runs the site's processes on the host; absent: the site looks after them itself
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<SystemdSettings>,
    /// Items of `--router-logging`: `level` or `MODULE:level`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub router_logging: Vec<String>,
    /// Whether services are exchanged with other sites
    #[serde(default)]
    pub service_sync: bool,
    /// Free labels of the user
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How other sites reach a site
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ingress {
    /// Whether they can at all
    pub kind: IngressKind,
    /// Names and addresses of this host, best first; they are in the site server's certificate
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Local addresses that the ports are bound to; empty for all
    #[serde(default)]
    pub bind_ips: Vec<String>,
    /// Host port of links from interior routers
    #[serde(default = "default_port")]
    pub port: u16,
    /// Host port of links from edge routers
    #[serde(default = "default_edge_port")]
    pub edge_port: u16,
    /// Host port on which claims are redeemed
    #[serde(default = "default_claims_port")]
    pub claims_port: u16,
}

/// Kind of entry into a site
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IngressKind {
    /// Ports of this host
    #[default]
    External,
    /// None: the site only dials
    None,
}

/// What `init` chose on a container platform
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSettings {
    /// Endpoint of the engine; absent for the default one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_endpoint: Option<String>,
    /// Network of the site's containers
    pub network: String,
    /// Whether `init` made that network, so that `delete` removes it
    #[serde(default)]
    pub network_created: bool,
    /// IPv6 on a network that `init` makes
    #[serde(default)]
    pub ipv6: bool,
    /// Reference of the image that all containers of the site run
    pub image: String,
}

/// What `init` chose where systemd runs the site's processes
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SystemdSettings {
    /// Directory of the unit files
    pub unit_directory: PathBuf,
}

impl Site {
    /// A new site with a random id, made now, with default ingress
    pub fn new(namespace: Namespace, name: SiteName, platform: Platform) -> Self {
        Self {
            format: FORMAT,
            version: PRODUCT_VERSION.to_owned(),
            namespace,
            name,
            id: SiteId::random(),
            platform,
            created: now(),
            ingress: Ingress::default(),
            container: None,
            systemd: None,
            router_logging: Vec::new(),
            service_sync: false,
            labels: BTreeMap::new(),
        }
    }

    /// Reads `site.yaml`
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        store::read_yaml(path)
    }

    /// Writes `site.yaml`
    pub fn write(&self, path: &Path) -> Result<(), StoreError> {
        store::write_yaml(path, self)
    }
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            kind: IngressKind::External,
            hosts: Vec::new(),
            bind_ips: Vec::new(),
            port: INTER_ROUTER_PORT,
            edge_port: EDGE_PORT,
            claims_port: CLAIMS_PORT,
        }
    }
}

impl IngressKind {
    /// Word used in flags and files
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::None => "none",
        }
    }
}

impl std::fmt::Display for IngressKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for IngressKind {
    type Err = UnknownIngress;

    fn from_str(word: &str) -> Result<Self, UnknownIngress> {
        match word {
            "external" => Ok(Self::External),
            "none" => Ok(Self::None),
            _ => Err(UnknownIngress(word.to_owned())),
        }
    }
}

/// A word that names no ingress; the text is that of Skupper 1
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Invalid value for ingress: {0}")]
pub struct UnknownIngress(pub String);

/// Now, RFC 3339 in UTC, whole seconds
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

fn default_port() -> u16 {
    INTER_ROUTER_PORT
}

fn default_edge_port() -> u16 {
    EDGE_PORT
}

fn default_claims_port() -> u16 {
    CLAIMS_PORT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let mut site = Site::new(
            Namespace::default(),
            SiteName::parse("host1-alice").unwrap(),
            Platform::Podman,
        );
        site.ingress.hosts = vec!["192.0.2.10".to_owned(), "no".to_owned(), "::1".to_owned()];
        site.container = Some(ContainerSettings {
            engine_endpoint: None,
            network: "skupper".to_owned(),
            network_created: true,
            ipv6: false,
            image: "localhost/skupper:0.1.0-0123456789ab".to_owned(),
        });
        site.systemd = Some(SystemdSettings {
            unit_directory: "/home/alice/.config/systemd/user".into(),
        });
        site.labels.insert("on".to_owned(), "123".to_owned());
        site
    }

    #[test]
    fn round_trips_through_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("site.yaml");
        let site = site();
        site.write(&path).unwrap();
        assert_eq!(Site::read(&path).unwrap(), site);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("format: 1\nversion: "), "{text}");
        assert!(text.contains("\"no\""), "{text}");
    }

    #[test]
    fn creation_time_is_rfc_3339_in_whole_seconds() {
        let created = site().created;
        assert!(
            created.ends_with('Z') && !created.contains('.'),
            "{created}"
        );
        created.parse::<jiff::Timestamp>().unwrap();
    }

    #[test]
    fn unknown_fields_and_bad_values_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("site.yaml");
        let good = crate::yaml::to_string(&site()).unwrap();
        for (bad, expected) in [
            (format!("{good}colour: red\n"), "colour"),
            (good.replace("platform: podman", "platform: amiga"), "amiga"),
            (
                good.replace("name: host1-alice", "name: host1/alice"),
                "must not contain",
            ),
            (good.replace("  port: 55671", "  port: 99999"), "line"),
        ] {
            assert_ne!(bad, good);
            std::fs::write(&path, bad).unwrap();
            let error = Site::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn defaults_fill_what_an_older_file_lacks() {
        let text = "format: 1\nversion: 0.1.0\nnamespace: default\nname: a\nid: 5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11\n\
            platform: linux\ncreated: 2026-01-01T00:00:00Z\n";
        let site: Site = crate::yaml::from_str(text).unwrap();
        assert_eq!(
            (
                site.ingress.port,
                site.ingress.edge_port,
                site.ingress.claims_port
            ),
            (55671, 45671, 8081)
        );
        assert!(!site.service_sync);
        assert_eq!(site.systemd, None);
    }
}
