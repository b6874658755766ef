//! Connections of a listener that are not established yet: how many there may be, and for how long.
//!
//! Peers that connect and then say nothing, or one octet a second, hold a place each. When all places are taken, the
//! listener accepts nobody until one is free or the oldest has had its grace; then the oldest one has to go. Peers that
//! do their part are through long before.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// Connections of one listener that may be on their way at a time.
const PLACES: usize = 256;
/// TLS, SASL and Open have to be over by then, unless the configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A peer keeps its place for so long whoever else wants it.
const GRACE: Duration = Duration::from_secs(2);

/// Why a connection was not established.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unfinished {
    /// It took too long.
    #[error("the peer did not finish its handshake within {} s", .0.as_secs())]
    Slow(Duration),
    /// It was the oldest of too many.
    #[error("the peer did not finish its handshake while more than {PLACES} others waited")]
    Displaced,
}

/// Places of one listener.
#[derive(Debug)]
pub(crate) struct Handshakes {
    places: usize,
    timeout: Duration,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Oldest first.
    taken: VecDeque<Taken>,
}

#[derive(Debug)]
struct Taken {
    id: u64,
    since: Instant,
    displaced: CancellationToken,
}

/// The place of one connection, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    id: u64,
    timeout: Duration,
    deadline: Instant,
    displaced: CancellationToken,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new(PLACES, TIMEOUT)
    }
}

impl Handshakes {
    /// Places of a listener that gives its peers so much time; none: as much as usual.
    pub(crate) fn with_timeout(timeout: Option<Duration>) -> Self {
        Self::new(PLACES, timeout.unwrap_or(TIMEOUT))
    }

    fn new(places: usize, timeout: Duration) -> Self {
        Self {
            places,
            timeout,
            state: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// A place, once there is one.
    pub(crate) async fn enter(self: &Arc<Self>) -> Place {
        loop {
            match self.try_enter(Instant::now()) {
                Ok(place) => return place,
                Err(wait) => {
                    tokio::select! {
                        () = self.freed.notified() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// A place, or how long the oldest one is still safe.
    fn try_enter(self: &Arc<Self>, now: Instant) -> Result<Place, Duration> {
        let mut state = self.lock();
        if state.taken.len() >= self.places
            && let Some(oldest) = state.taken.front()
        {
            let age = now.duration_since(oldest.since);
            if age < GRACE {
                return Err(GRACE - age);
            }
            oldest.displaced.cancel();
            state.taken.pop_front();
        }
        let id = state.next;
        state.next += 1;
        let displaced = CancellationToken::new();
        state.taken.push_back(Taken {
            id,
            since: now,
            displaced: displaced.clone(),
        });
        Ok(Place {
            handshakes: self.clone(),
            id,
            timeout: self.timeout,
            deadline: now + self.timeout,
            displaced,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Result of a handshake that is over in time.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn within<T>(
        &self,
        handshake: impl Future<Output = T>,
    ) -> Result<T, Unfinished> {
        tokio::select! {
            biased;
            done = handshake => Ok(done),
            unfinished = self.over() => Err(unfinished),
        }
    }

    /// Waits until the time is over or the place is lost.
    pub(crate) async fn over(&self) -> Unfinished {
        tokio::select! {
            () = self.displaced.cancelled() => Unfinished::Displaced,
            () = tokio::time::sleep_until(self.deadline) => Unfinished::Slow(self.timeout),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.handshakes.lock();
        if let Ok(at) = state.taken.binary_search_by_key(&self.id, |taken| taken.id) {
            state.taken.remove(at);
        }
        drop(state);
        self.handshakes.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_has_to_go_after_its_grace() {
        let handshakes = Arc::new(Handshakes::new(2, TIMEOUT));
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let oldest = handshakes.try_enter(start).unwrap();
        let other = handshakes.try_enter(start + second).unwrap();
        let wait = handshakes.try_enter(start + second).unwrap_err();
        assert_eq!(wait, GRACE - second);
        let newest = handshakes.try_enter(start + GRACE).unwrap();
        assert_eq!(oldest.over().await, Unfinished::Displaced);
        assert_eq!(
            oldest.within(std::future::pending::<()>()).await,
            Err(Unfinished::Displaced)
        );
        // Who has lost its place gives none back.
        drop(oldest);
        assert!(handshakes.try_enter(start + GRACE).is_err());
        drop(other);
        let _last = handshakes.try_enter(start + GRACE).unwrap();
        drop(newest);
    }

    #[tokio::test]
    async fn a_free_place_is_taken_at_once() {
        let handshakes = Arc::new(Handshakes::new(1, TIMEOUT));
        let place = handshakes.enter().await;
        assert_eq!(place.within(async { 7 }).await, Ok(7));
        let waiting = handshakes.clone();
        let waiting = tokio::spawn(async move { waiting.enter().await });
        tokio::task::yield_now().await;
        let before = Instant::now();
        drop(place);
        let _place = waiting.await.unwrap();
        assert!(before.elapsed() < GRACE / 2);
    }

    #[tokio::test]
    async fn a_slow_peer_is_told_apart() {
        let handshakes = Arc::new(Handshakes::new(1, TIMEOUT));
        let place = handshakes.try_enter(Instant::now() - TIMEOUT).unwrap();
        assert_eq!(place.over().await, Unfinished::Slow(TIMEOUT));
        let minute = Duration::from_secs(60);
        let patient = Arc::new(Handshakes::with_timeout(Some(minute)));
        let place = patient.try_enter(Instant::now() - TIMEOUT).unwrap();
        assert_eq!(place.within(async { 7 }).await, Ok(7));
        let place = patient.try_enter(Instant::now() - minute).unwrap();
        let late = place.over().await;
        assert_eq!(
            late.to_string(),
            "the peer did not finish its handshake within 60 s"
        );
    }
}
