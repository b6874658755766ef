//! Counting what is open at a destination.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Counts a delivery as open at a destination for as long as it lives; balancing reads the counter.
#[derive(Debug)]
pub struct Outstanding(Arc<AtomicU32>);

impl Outstanding {
    /// Adds one to `counter` until dropped.
    pub fn new(counter: &Arc<AtomicU32>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter.clone())
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
