//! Bounded queue from any thread to one task.
//!
//! The consumer sleeps on its own task waker; a producer wakes it only when the queue was empty, so a burst costs one
//! wake. The lock is held for a push or a swap only, never across an await.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Bounded queue whose only consumer is one task.
pub struct Inbox<T> {
    state: Mutex<State<T>>,
    limit: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    waker: Option<Waker>,
    closed: bool,
}

impl<T> Inbox<T> {
    /// Queue that refuses more than `limit` waiting items.
    pub fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                waker: None,
                closed: false,
            }),
            limit,
        }
    }

    /// Appends one item; gives it back when the queue is full or its consumer is gone.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.push_within(item, self.limit)
    }

    /// Appends one item, even if the queue is full: for what must not be lost and is limited by its source. Gives it back
    /// when the consumer is gone.
    pub fn push_always(&self, item: T) -> Result<(), T> {
        self.push_within(item, usize::MAX)
    }

    fn push_within(&self, item: T, limit: usize) -> Result<(), T> {
        let waker = {
            let mut state = self.lock();
            if state.closed || state.queue.len() >= limit {
                return Err(item);
            }
            state.queue.push_back(item);
            if state.queue.len() == 1 {
                state.waker.take()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Moves everything that waits to `into`; `Pending` (with the waker registered) when nothing waits.
    pub fn poll_drain(&self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<()> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            match &state.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => state.waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        if into.is_empty() {
            std::mem::swap(into, &mut state.queue);
        } else {
            into.append(&mut state.queue);
        }
        Poll::Ready(())
    }

    /// Waits for items and moves all of them to `into`.
    pub async fn drain(&self, into: &mut VecDeque<T>) {
        std::future::poll_fn(|cx| self.poll_drain(cx, into)).await;
    }

    /// Gives back room for more than `keep` items.
    pub fn trim(&self, keep: usize) {
        let mut state = self.lock();
        if state.queue.capacity() > keep {
            state.queue.shrink_to(keep);
        }
    }

    /// Refuses further items and returns those that still wait.
    pub fn close(&self) -> VecDeque<T> {
        let mut state = self.lock();
        state.closed = true;
        state.waker = None;
        std::mem::take(&mut state.queue)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic while the lock was held leaves a consistent queue: every critical section is a single operation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("waiting", &self.lock().queue.len())
            .field("limit", &self.limit)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_closed_queues_give_the_item_back() {
        let inbox = Inbox::new(2);
        assert_eq!(inbox.push(1), Ok(()));
        assert_eq!(inbox.push(2), Ok(()));
        assert_eq!(inbox.push(3), Err(3));
        assert_eq!(inbox.push_always(4), Ok(()));
        assert_eq!(inbox.push(5), Err(5));
        assert_eq!(inbox.close(), VecDeque::from([1, 2, 4]));
        assert_eq!(inbox.push(6), Err(6));
        assert_eq!(inbox.push_always(7), Err(7));
    }

    #[tokio::test]
    async fn a_sleeping_consumer_is_woken_by_the_first_item() {
        let inbox = std::sync::Arc::new(Inbox::new(16));
        let producer = inbox.clone();
        let handle = std::thread::spawn(move || {
            for n in 0..10 {
                assert_eq!(producer.push(n), Ok(()));
            }
        });
        let mut seen = VecDeque::new();
        while seen.len() < 10 {
            inbox.drain(&mut seen).await;
        }
        handle.join().expect("producer ends");
        assert_eq!(seen, (0..10).collect::<VecDeque<_>>());
    }
}
