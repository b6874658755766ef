//! The nouns of a service network: sites, links, services, names, paths on disk, router configuration.
//!
//! This crate decides what these things *are* and how they are written down. It opens no socket, starts no
//! process and touches the disk only in [`paths::Paths::from_env`] and [`store`]. Strings become types at this
//! edge, so that code behind it cannot hold a wrong name, port or cost.
//!
//! ```text
//! site.yaml ── Site       links/<name>.yaml ── Link       services/<name>.yaml ── Service
//!                  \               |                        /
//!                   └────── RouterConfig (skrouterd.json) ─┘
//! ```
#![forbid(unsafe_code)]

pub mod link;
pub mod name;
pub mod paths;
pub mod platform;
pub mod router_config;
pub mod service;
pub mod site;
pub mod store;
pub mod yaml;

pub use self::{
    link::{Endpoints, Link, Origin},
    name::{
        HostPort, LinkCost, LinkName, NameError, Namespace, Protocol, ServiceName, ServicePort,
        SiteId, SiteName,
    },
    paths::{Paths, SitePaths},
    platform::{Platform, PlatformChoice},
    router_config::RouterConfig,
    service::{Service, Target},
    site::{ContainerSettings, Ingress, IngressKind, Site, SystemdSettings},
};

/// Version that peers of the Skupper 1 line are told: in tokens, redemptions and router metadata
pub const COMPATIBILITY_VERSION: &str = "1.9.6";

/// Version of this product
pub const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Format of the files that hold a site's desired state; a file with a larger number is left alone
pub const FORMAT: u32 = 1;

/// Port of links between interior routers
pub const INTER_ROUTER_PORT: u16 = 55671;

/// Port of links from edge routers
pub const EDGE_PORT: u16 = 45671;

/// Port on which claims are redeemed
pub const CLAIMS_PORT: u16 = 8081;
