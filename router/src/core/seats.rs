//! How many connections all listeners together may hold at a time.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Places for connections, of which there may be more or fewer from one moment to the next.
#[derive(Debug)]
pub struct Seats {
    taken: AtomicU32,
    limit: AtomicU32,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Seats>);

impl Default for Seats {
    fn default() -> Self {
        Self {
            taken: AtomicU32::new(0),
            limit: AtomicU32::new(u32::MAX),
        }
    }
}

impl Seats {
    /// From now on there are so many; none: as many as anybody wants. Those who have one keep it.
    pub fn limit(&self, limit: Option<u32>) {
        self.limit
            .store(limit.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// A place; the error is how many there are, if all are taken.
    ///
    /// # Errors
    /// See above.
    pub fn take(self: &Arc<Self>) -> Result<Seat, u32> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |taken: u32| (taken < limit).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map(|_| Seat(self.clone()))
            .map_err(|_| limit)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_seat_keeps_it_when_there_are_fewer() {
        let seats = Arc::new(Seats::default());
        let mut taken: Vec<Seat> = (0..3).map(|_| seats.take().unwrap()).collect();
        seats.limit(Some(2));
        assert_eq!(seats.take().unwrap_err(), 2);
        taken.pop();
        assert_eq!(seats.take().unwrap_err(), 2);
        taken.pop();
        taken.push(seats.take().unwrap());
        assert!(seats.take().is_err());
        seats.limit(None);
        assert!(seats.take().is_ok());
    }
}
