//! Container engines and the life cycle of a site on a host.
//!
//! ```text
//! cli, controller ─▶ site (plan, apply, roll back) ─▶ engine ─▶ podman (own libpod client)
//!                                                          └──▶ docker (bollard)
//! ```
//!
//! [`engine`] is what a site needs of Podman and Docker, [`image`] makes the container image from the
//! running binary. [`host`] knows this host's names and ports, [`native`] its locks and processes. Nothing here prints or
//! exits.
#![forbid(unsafe_code)]

mod docker;
pub mod engine;
pub mod host;
pub mod image;
pub mod native;
mod podman;
pub mod site;
