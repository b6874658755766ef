//! Pauses between restarts of something that keeps ending.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// What ran this long is taken as healthy: its next restart is quick again.
const HEALTHY: Duration = Duration::from_secs(10);

/// Doubles from 0.2 s to 10 s, and starts over after a healthy run.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    started: Instant,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            next: FIRST,
            started: Instant::now(),
        }
    }

    /// Something was started.
    pub(crate) fn started(&mut self) {
        self.started = Instant::now();
    }

    /// It ended: how long to wait before it is started again.
    pub(crate) fn ended(&mut self) -> Duration {
        if self.started.elapsed() >= HEALTHY {
            self.next = FIRST;
        }
        let pause = self.next;
        self.next = (self.next * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn doubles_up_to_ten_seconds_and_forgets_after_a_healthy_run() {
        let mut backoff = Backoff::new();
        backoff.started();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.ended().as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        backoff.started();
        tokio::time::advance(HEALTHY).await;
        assert_eq!(backoff.ended(), FIRST);
    }
}
