use std::time::{Duration, Instant};

use super::Connection;
use super::error::{ConnectionError, LIMIT_EXCEEDED};
use super::handshake::Phase;
use crate::frame::EMPTY;
use bytes::BufMut as _;

/// Idle time-outs of both directions (part 2 §2.4.5).
#[derive(Debug)]
pub(super) struct Timer {
    /// The local limit.
    idle: Option<Duration>,
    /// Half of what the peer tolerates.
    keep_alive: Option<Duration>,
    last_received: Instant,
    last_sent: Instant,
    /// Octets of a partial frame that the last call left in the input.
    left_over: usize,
}

impl Timer {
    /// Keep-alives are not sent more often, whatever the peer asks.
    const SHORTEST: Duration = Duration::from_millis(10);

    pub(super) fn new(idle: Option<Duration>, now: Instant) -> Self {
        Self {
            idle,
            keep_alive: None,
            last_received: now,
            last_sent: now,
            left_over: 0,
        }
    }

    /// The peer's Open demands frames within `idle_time_out` milliseconds.
    pub(super) fn set_keep_alive(&mut self, idle_time_out: Option<u32>) {
        self.keep_alive =
            idle_time_out
                .filter(|milliseconds| *milliseconds > 0)
                .map(|milliseconds| {
                    (Duration::from_millis(milliseconds.into()) / 2).max(Self::SHORTEST)
                });
    }

    pub(super) fn received(&mut self, input_len: usize, now: Instant) {
        if input_len != self.left_over {
            self.last_received = now;
        }
    }

    pub(super) fn left_over(&mut self, input_len: usize) {
        self.left_over = input_len;
    }
}

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) should be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let idle = self.timer.idle.map(|idle| self.timer.last_received + idle);
        let keep_alive = self.keep_alive_due();
        match (idle, keep_alive) {
            (Some(idle), Some(keep_alive)) => Some(idle.min(keep_alive)),
            (idle, keep_alive) => idle.or(keep_alive),
        }
    }

    /// Queues a keep-alive if one is due.
    ///
    /// # Errors
    /// Nothing arrived for the configured time; a Close that says so is queued.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if self.is_closed() {
            return Ok(());
        }
        if self
            .timer
            .idle
            .is_some_and(|idle| now >= self.timer.last_received + idle)
        {
            let error = ConnectionError::protocol(LIMIT_EXCEEDED, "local-idle-timeout expired");
            self.fail(&error);
            return Err(error);
        }
        if self.keep_alive_due().is_some_and(|due| now >= due) {
            // What waits to be sent serves as well.
            if self.transmit().is_empty() {
                self.transmit.tail().put_slice(&EMPTY);
            }
            self.timer.last_sent = now;
        }
        Ok(())
    }

    /// The caller does not read for reasons of its own: that nothing arrives is not the peer's silence.
    pub fn note_reading_paused(&mut self, now: Instant) {
        self.timer.last_received = now;
    }

    /// The caller has sent octets.
    pub fn note_transmitted(&mut self, now: Instant) {
        self.timer.last_sent = now;
    }

    fn keep_alive_due(&self) -> Option<Instant> {
        let active = self.phase == Phase::Frames && self.open_sent && !self.close_sent;
        self.timer
            .keep_alive
            .filter(|_| active)
            .map(|interval| self.timer.last_sent + interval)
    }
}
