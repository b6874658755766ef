//! Configuration: reading the file, applying it, and following its changes while the router runs.

mod apply;
mod load;
pub mod watch;

pub use self::{
    apply::Applied,
    load::{LoadError, load},
};
