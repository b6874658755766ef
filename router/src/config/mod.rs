//! Configuration: reading the file, applying it, and following its changes while the router runs.

mod apply;
mod live;
mod load;
pub mod watch;

pub use self::{
    apply::Applied,
    live::Live,
    load::{LoadError, load},
};
