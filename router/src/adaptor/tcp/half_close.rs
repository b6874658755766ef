//! When the end of one direction is passed on.
//!
//! A C router (3.5.1, 2.7.6) loses the last octets that it read from its client or server if its buffer for that stream
//! is full while the connection is over in both directions. It cannot happen while the direction towards that client or
//! server is open. So towards such a router, the end of one direction waits while the other one is busy: until that one
//! ends or pauses, and not for long.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

/// Nothing arrived for so long: the far buffers are empty.
const PAUSE: Duration = Duration::from_millis(300);
/// Less than this since the last pause fills no buffer.
const BURST: usize = 16 * 1024;
/// The end waits no longer.
const LONGEST: Duration = Duration::from_secs(3);

/// Activity of the stream that comes from the far side.
#[derive(Debug)]
pub(super) struct Activity {
    last: Instant,
    /// Octets since the last pause.
    burst: usize,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            last: Instant::now(),
            burst: 0,
        }
    }

    /// Octets arrived, or still wait here.
    pub(super) fn note(&mut self, octets: usize, now: Instant) {
        if now.duration_since(self.last) >= PAUSE {
            self.burst = 0;
        }
        self.last = now;
        self.burst = self.burst.saturating_add(octets);
    }

    /// When the stream will have paused; none if it carries too little to matter.
    fn pauses_at(&self) -> Option<Instant> {
        (self.burst >= BURST).then(|| self.last + PAUSE)
    }
}

/// An end that is not passed on yet.
#[derive(Debug)]
pub(super) struct HeldEnd {
    latest: Instant,
    timer: Pin<Box<Sleep>>,
}

impl HeldEnd {
    /// Held if `activity` is such that passing it on now could cost octets.
    pub(super) fn hold(activity: &Activity, now: Instant) -> Option<Self> {
        let due = activity.pauses_at().filter(|due| *due > now)?;
        Some(Self {
            latest: now + LONGEST,
            timer: Box::pin(tokio::time::sleep_until(due.into())),
        })
    }

    /// Ready when the end may be passed on.
    pub(super) fn poll(
        &mut self,
        activity: &Activity,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let due = activity.pauses_at().unwrap_or(now).min(self.latest);
        if due <= now {
            return Poll::Ready(());
        }
        self.timer.as_mut().reset(due.into());
        self.timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until_passed_on(held: &mut HeldEnd, activity: &Activity) -> Duration {
        let started = tokio::time::Instant::now();
        std::future::poll_fn(|cx| held.poll(activity, tokio::time::Instant::now().into(), cx))
            .await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_a_pause_of_the_other_direction() {
        let now = || Instant::from(tokio::time::Instant::now());
        let mut activity = Activity::new();
        activity.note(BURST, now());
        let mut held = HeldEnd::hold(&activity, now()).expect("busy");
        tokio::time::advance(PAUSE / 2).await;
        activity.note(1, now());
        assert_eq!(until_passed_on(&mut held, &activity).await, PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_does_not_wait_for_ever() {
        let now = || Instant::from(tokio::time::Instant::now());
        let mut activity = Activity::new();
        activity.note(BURST, now());
        let mut held = HeldEnd::hold(&activity, now()).expect("busy");
        let mut passed = Duration::ZERO;
        let step = PAUSE / 2;
        while passed < 2 * LONGEST {
            activity.note(BURST, now());
            let polled = std::future::poll_fn(|cx| Poll::Ready(held.poll(&activity, now(), cx)));
            if polled.await.is_ready() {
                break;
            }
            tokio::time::advance(step).await;
            passed += step;
        }
        assert_eq!(passed, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_does_not_wait_for_little_or_for_what_is_over() {
        let now = || Instant::from(tokio::time::Instant::now());
        let mut activity = Activity::new();
        assert!(HeldEnd::hold(&activity, now()).is_none());
        activity.note(BURST - 1, now());
        assert!(HeldEnd::hold(&activity, now()).is_none());
        activity.note(1, now());
        assert!(HeldEnd::hold(&activity, now()).is_some());
        tokio::time::advance(PAUSE).await;
        assert!(HeldEnd::hold(&activity, now()).is_none());
        // A pause begins a new count.
        activity.note(BURST - 1, now());
        assert!(HeldEnd::hold(&activity, now()).is_none());
    }
}
