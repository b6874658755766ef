//! What the end-to-end tests are made of: real router processes of this project and of others, networks of them, and
//! TCP clients and servers that check every octet.
//!
//! Everything waits for conditions, with a deadline; nothing here sleeps and hopes.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod environment;
pub mod http;
pub mod mesh;
pub mod peer;
pub mod process;
pub mod relay;
pub mod rows;
pub mod tcp;
pub mod tls;
pub mod wait;

pub use self::{
    environment::{Family, did_not_run, free_port, scratch},
    mesh::{Certificates, Plan},
    process::TestRouter,
    relay::Relay,
    tcp::{Backend, Pattern},
    wait::{SOON, eventually, within},
};
