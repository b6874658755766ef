//! The life of a site on this host: made, linked, given services, looked at, removed.
//!
//! ```text
//! request ─▶ check (nothing is made yet) ─▶ Plan (pure list of steps) ─▶ apply ─▶ done
//!                                                                          └─ failure, Ctrl-C ─▶ roll back
//! desired state: site.yaml, links/*.yaml, services/*.yaml ─▶ router_config ─▶ skrouterd.json (routers reload it)
//! ```
//!
//! One command at a time changes a site ([`SiteError::Busy`] otherwise). A command that crashed leaves a journal; the
//! next one that changes the site undoes or finishes it first. What listens and forwards is started by the site's
//! controller ([`control`]), by a service manager ([`Supervisor`]) or by the container engine, never by the command
//! itself.

pub mod access;
mod apply;
mod certificates;
mod change;
mod containers;
mod context;
pub mod control;
mod delete;
mod error;
mod init;
mod journal;
mod link;
mod lock;
mod naming;
mod progress;
mod readiness;
mod recover;
mod request;
mod router_config;
mod service;
mod state;
mod status;
mod step;
mod supervisor;
mod token;

pub use self::certificates::CertificatePlan;
pub use self::change::engine_of;
pub use self::context::Context;
pub use self::delete::{delete, plan_delete};
pub use self::error::{Cause, SiteError};
pub use self::init::{init, plan_init};
pub use self::link::{link_create, link_delete, plan_link_create, plan_link_delete};
pub use self::progress::{Progress, Silent};
pub use self::request::{
    DeleteReport, InitRequest, KeptNetwork, LinkRequest, LinksCreated, Supervision, TokenIssued,
    TokenRequest,
};
pub use self::service::{
    ensure_container, ensure_containers, expose, plan_expose, plan_service_bind,
    plan_service_create, plan_service_delete, plan_service_unbind, plan_unexpose, service_bind,
    service_create, service_delete, service_unbind, unexpose,
};
pub use self::state::{
    Interrupted, SiteHandle, all_sites, container_names, interrupted, read_site,
};
pub use self::status::{
    ContainerHealth, IncomingLink, LinkStatus, NetworkRouter, RouterKind, Running, ServiceStatus,
    SiteStatus, Totals, link_statuses, status,
};
pub use self::step::{Content, Entities, Plan, Step};
pub use self::supervisor::{Process, Processes, Supervisor, SupervisorError};
pub use self::token::token_create;
pub use pki::TokenFormat;
