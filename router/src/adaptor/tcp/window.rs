//! Windows of flows: how far the reader of one socket may be ahead of the writer of the other.
//!
//! C routers have one fixed window for each framing, which caps a flow at about 20 MB/s where a round trip takes 50 ms.
//! Between routers of this implementation the writer grants the window: the section-number of its `received` states
//! is the window in units of [`UNIT`]. C routers leave it at zero, pass it on unchanged, and do not read it: they keep
//! to their own window, and so does this router towards them.
//!
//! The writer cannot know the round trip, so it finds the window by trial: it doubles the window and keeps that if the
//! flow became faster by it. A client that does not keep up has its window cut, since a small one is enough for it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::framing::Framing;

/// Octets for which the section-number counts one.
const UNIT: u64 = 64 * 1024;
/// Bounds of granted windows: 16 MiB fill 1 Gbit/s over 130 ms.
const LEAST: u64 = 256 * 1024;
const MOST: u64 = 16 * 1024 * 1024;
/// The first report comes early, so that the far side soon knows with whom it deals.
const FIRST_REPORT: u64 = 64 * 1024;
/// Octets written after which the writer reports; a quarter of the smaller fixed window suits C readers.
const REPORT_AFTER: u64 = 260_608;
/// What all flows together may be granted beyond the fixed windows.
const BUDGET: u64 = 256 * 1024 * 1024;
/// A window that is used up faster than this is not what limits a flow.
const QUICK: Duration = Duration::from_millis(8);
/// A client that takes more octets a second than this keeps up, even if octets always wait for it.
const SLOW: f64 = 32e6;
/// Windows between a growth and its judgement: the first one is still of the old size.
const TRIAL: u32 = 2;
/// Windows before the next trial after one that did not help.
const REST: u32 = 32;
/// How much faster a flow has to become for a larger window to be kept.
const WORTH: f64 = 1.2;

static GRANTED: Budget = Budget::new(BUDGET);

/// The window that a `received` state grants; none from peers with fixed windows.
pub(crate) fn granted(section_number: u32) -> Option<u64> {
    (section_number > 0).then(|| (u64::from(section_number) * UNIT).clamp(LEAST, MOST))
}

/// Octets of which no more than a limit are given away.
#[derive(Debug)]
struct Budget {
    left: AtomicU64,
}

impl Budget {
    const fn new(limit: u64) -> Self {
        Self {
            left: AtomicU64::new(limit),
        }
    }

    fn take(&self, octets: u64) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(octets)
            })
            .is_ok()
    }

    fn give_back(&self, octets: u64) {
        self.left.fetch_add(octets, Ordering::Relaxed);
    }
}

/// The writer's side of one flow's window.
#[derive(Debug)]
pub(super) struct Granter {
    budget: &'static Budget,
    /// The fixed window of the framing; what is above it is taken from the budget.
    base: u64,
    window: u64,
    /// The far side keeps to the fixed window whatever it is granted.
    fixed: bool,
    /// Octets written when the last report was sent.
    reported: u64,
    /// Octets written, and the time, when a window's worth was last complete.
    since: Option<(u64, Instant)>,
    /// Whenever a report was sent for the current window's worth, octets waited for the socket.
    backed_up: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The window stays for so many more windows.
    Rest(u32),
    /// It was enlarged; before, it had this size and the flow this rate.
    Trial { from: u64, before: f64, left: u32 },
}

impl Granter {
    pub(super) fn new(framing: Framing) -> Self {
        Self::with_budget(framing, &GRANTED)
    }

    fn with_budget(framing: Framing, budget: &'static Budget) -> Self {
        let base = framing.window();
        Self {
            budget,
            base,
            window: base,
            fixed: false,
            reported: 0,
            since: None,
            backed_up: true,
            phase: Phase::Rest(0),
        }
    }

    /// The far side is the adaptor of a C router, for which nothing is granted: it would take from the budget of others.
    pub(super) fn keep_fixed(&mut self) {
        self.fixed = true;
    }

    /// Whether it is time to report that `written` octets were written.
    pub(super) fn is_due(&self, written: u64) -> bool {
        let step = if self.reported == 0 {
            FIRST_REPORT
        } else {
            REPORT_AFTER.min(self.window / 4)
        };
        written - self.reported >= step
    }

    /// Section-number and offset of the report. `waiting` octets are still to be written.
    pub(super) fn report(&mut self, written: u64, waiting: usize, now: Instant) -> (u32, u64) {
        self.reported = written;
        if self.fixed {
            return (0, written);
        }
        self.backed_up &= waiting as u64 >= LEAST / 4;
        match self.since {
            None => self.begin(written, now),
            Some((offset, at)) if written - offset >= self.window => {
                let took = now.saturating_duration_since(at);
                #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
                let rate = (written - offset) as f64 / took.as_secs_f64().max(1e-6);
                self.adapt(rate, took);
                self.begin(written, now);
            }
            Some(_) => {}
        }
        (
            u32::try_from(self.window / UNIT).unwrap_or(u32::MAX),
            written,
        )
    }

    fn begin(&mut self, written: u64, now: Instant) {
        self.since = Some((written, now));
        self.backed_up = true;
    }

    /// A window's worth was written at this rate.
    fn adapt(&mut self, rate: f64, took: Duration) {
        if self.backed_up && rate < SLOW {
            self.resize((self.window / 2).max(LEAST));
            self.phase = Phase::Rest(REST);
            return;
        }
        if self.window < self.base {
            self.resize((self.window * 2).min(self.base));
            return;
        }
        self.phase = match self.phase {
            Phase::Rest(0) if took >= QUICK && self.window < MOST => {
                let from = self.window;
                if self.resize((self.window * 2).min(MOST)) {
                    Phase::Trial {
                        from,
                        before: rate,
                        left: TRIAL,
                    }
                } else {
                    Phase::Rest(REST)
                }
            }
            Phase::Rest(left) => Phase::Rest(left.saturating_sub(1)),
            Phase::Trial { from, before, left } if left > 1 => Phase::Trial {
                from,
                before,
                left: left - 1,
            },
            Phase::Trial { before, .. } if rate >= before * WORTH => Phase::Rest(0),
            Phase::Trial { from, .. } => {
                self.resize(from);
                Phase::Rest(REST)
            }
        };
    }

    /// False if the budget does not allow it.
    fn resize(&mut self, window: u64) -> bool {
        let (before, after) = (
            self.window.saturating_sub(self.base),
            window.saturating_sub(self.base),
        );
        if after > before && !self.budget.take(after - before) {
            return false;
        }
        self.budget.give_back(before.saturating_sub(after));
        self.window = window;
        true
    }
}

impl Drop for Granter {
    fn drop(&mut self) {
        self.budget.give_back(self.window.saturating_sub(self.base));
    }
}

#[cfg(test)]
mod tests;
