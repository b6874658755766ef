//! Waiting until no message is under way on any connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// Held by each connection with messages under way; whoever gave it out is told when nobody holds it any more.
#[derive(Clone, Debug)]
pub struct IdleWatch {
    _held: TaskTrackerToken,
    busy: Arc<AtomicBool>,
}

impl IdleWatch {
    /// A watch, and what waits until nobody holds it.
    pub(super) fn new() -> (Self, Idle) {
        let holders = TaskTracker::new();
        let busy = Arc::new(AtomicBool::new(false));
        let watch = Self {
            _held: holders.token(),
            busy: busy.clone(),
        };
        (watch, Idle { holders, busy })
    }

    /// Somebody who holds it was not idle at once.
    pub fn note_busy(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }
}

/// Waits for those who hold an [`IdleWatch`].
#[derive(Debug)]
pub(super) struct Idle {
    holders: TaskTracker,
    busy: Arc<AtomicBool>,
}

impl Idle {
    /// Returns when nobody holds the watch any more; true if all of them were idle at once.
    pub(super) async fn wait(self) -> bool {
        self.holders.close();
        self.holders.wait().await;
        !self.busy.load(Ordering::Relaxed)
    }
}
