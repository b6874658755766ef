//! What callers ask for, and what they get back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use model::link::Link;
use model::name::{HostPort, LinkCost, LinkName, SiteId, SiteName};
use model::platform::Platform;
use model::site::IngressKind;
use pki::{LinkToken, TokenFormat};

/// `skupper init`.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// Router id; default `<host>-<user>[-<namespace>]`.
    pub name: Option<SiteName>,
    pub platform: Platform,
    pub ingress: IngressKind,
    /// Names and addresses under which other sites reach this host; empty: [`crate::host::default_ingress_hosts`].
    pub ingress_hosts: Vec<String>,
    /// Addresses that published ports bind to; empty: all.
    pub bind_ips: Vec<IpAddr>,
    /// Port for interior links; default 55671 (other namespaces: the first free one after it).
    pub bind_port: Option<u16>,
    /// Port for edge links; default 45671 (likewise).
    pub bind_port_edge: Option<u16>,
    /// Network to use or create; default `skupper` or `skupper-<namespace>`.
    pub container_network: Option<String>,
    pub enable_ipv6: bool,
    pub engine_endpoint: Option<String>,
    /// Items `level` or `MODULE:level`, checked by the caller.
    pub router_logging: Vec<String>,
    pub enable_service_sync: bool,
    pub labels: BTreeMap<String, String>,
    pub supervision: Supervision,
}

/// Who is to keep the site's processes on this host running.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Supervision {
    /// The service manager where it takes the site, else the site itself.
    #[default]
    Best,
    /// The site itself: its controller and a guard, which end with the host.
    Detached,
    /// The service manager, or nothing is made.
    Systemd,
}

impl InitRequest {
    /// A request with every option at its default.
    pub fn new(platform: Platform) -> Self {
        Self {
            name: None,
            platform,
            ingress: IngressKind::External,
            ingress_hosts: Vec::new(),
            bind_ips: Vec::new(),
            bind_port: None,
            bind_port_edge: None,
            container_network: None,
            enable_ipv6: false,
            engine_endpoint: None,
            router_logging: Vec::new(),
            enable_service_sync: false,
            labels: BTreeMap::new(),
            supervision: Supervision::default(),
        }
    }
}

/// What [`super::delete`] found and did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeleteReport {
    /// There was nothing of a site in this namespace.
    NotFound,
    /// Everything of the site is gone.
    Removed {
        /// Name of the site, when it was readable.
        name: Option<SiteName>,
        /// The network, if it had to stay because containers of others are attached to it (only with force).
        kept_network: Option<KeptNetwork>,
    },
}

/// A network that was left alone because it is in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptNetwork {
    pub name: String,
    pub attached: Vec<String>,
}

/// `skupper token create`.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Common name of the client certificate and name of the Secret; v1's default is `skupper`.
    pub subject_name: String,
    /// Which of the site's hosts goes into the token; default the first.
    pub ingress_host: Option<String>,
    pub file: PathBuf,
    pub format: TokenFormat,
    /// Replace an existing file.
    pub force: bool,
}

/// A token was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenIssued {
    pub file: PathBuf,
    pub inter_router: HostPort,
    pub edge: HostPort,
    pub site_id: SiteId,
}

/// `skupper link create`.
#[derive(Debug)]
pub struct LinkRequest {
    /// What the token file held: one, or several `Link` resources of a v2 site with several routers.
    pub tokens: Vec<LinkToken>,
    /// Default: the next free `link<N>`. Further tokens get a number behind it.
    pub name: Option<LinkName>,
    /// Default: the token's own cost, else 1.
    pub cost: Option<LinkCost>,
}

/// Links were made.
#[derive(Clone, Debug)]
pub struct LinksCreated {
    pub links: Vec<Link>,
}
