//! Management requests that wait for the control task: by connection, and in turns.
//!
//! A request can take long, so each connection may have a few waiting, whoever asks much waits behind its own requests
//! only, and the control task takes one at a time. A request is settled, and its sender gets credit again, when it has
//! been handled.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use amqp::performative::{Condition, DeliveryState};
use bytes::{Bytes, BytesMut};
use tracing::warn;

use super::{access::Access, connection::ConnectionId, delivery::Delivery, shared::Shared};

/// Requests of one connection that may wait.
const WAITING: usize = 32;
/// Their octets; a single request may have more.
const OCTETS: usize = 1024 * 1024;
/// Octets of answers to one connection's requests that may wait for whoever reads them before it gets another one.
pub const ANSWERS: usize = 16 * 1024 * 1024;

/// A complete request, and what its sender may do.
#[derive(Debug)]
pub struct Request {
    /// Connection on which it arrived.
    pub connection: ConnectionId,
    /// What it may do.
    pub access: Access,
    delivery: Arc<Delivery>,
    octets: usize,
}

impl Request {
    /// A request that has arrived on `connection`.
    pub fn new(connection: ConnectionId, access: Access, delivery: Arc<Delivery>) -> Self {
        Self {
            connection,
            access,
            octets: delivery.queued(),
            delivery,
        }
    }

    /// Takes its octets: an AMQP message.
    pub fn message(&self) -> Bytes {
        self.delivery.take(|chunks, _, _| {
            if chunks.len() == 1
                && let Some(only) = chunks.pop_front()
            {
                return only;
            }
            let mut octets = BytesMut::new();
            for chunk in chunks.drain(..) {
                octets.extend_from_slice(&chunk);
            }
            octets.freeze()
        })
    }

    /// It has been handled, whatever came of it.
    pub fn accept(self) {
        self.delivery.report(Some(DeliveryState::Accepted), true);
    }

    /// It is not handled, for this reason: counted, and logged once in a while.
    pub fn refuse(self, shared: &Shared, reason: &'static str) {
        let refused = &shared.counters.requests_refused;
        refused.fetch_add(1, Ordering::Relaxed);
        if let Some(silent) = shared.complaints.due(reason) {
            warn!(target: "router::agent", connection = self.connection.0, silent,
                "management request refused: {reason}");
        }
        let condition = Condition::new("amqp:resource-limit-exceeded", reason);
        self.delivery
            .report(Some(DeliveryState::Rejected(Some(condition))), true);
    }
}

/// Requests that wait.
#[derive(Default)]
pub struct Requests(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: HashMap<ConnectionId, Asker>,
    /// Whose turn it is; each that has requests once.
    turns: VecDeque<ConnectionId>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Asker {
    requests: VecDeque<Request>,
    octets: usize,
}

impl Requests {
    /// Adds a request; gives it back if too much of its connection waits.
    pub fn add(&self, request: Request) -> Result<(), Request> {
        let waker = {
            let mut state = self.lock();
            let id = request.connection;
            let asker = state.waiting.entry(id).or_default();
            let first = asker.requests.is_empty();
            if asker.requests.len() >= WAITING
                || (!first && asker.octets.saturating_add(request.octets) > OCTETS)
            {
                return Err(request);
            }
            asker.octets += request.octets;
            asker.requests.push_back(request);
            if first {
                state.turns.push_back(id);
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The next request, if one waits.
    pub fn next(&self) -> Option<Request> {
        let mut state = self.lock();
        let id = state.turns.pop_front()?;
        let asker = state.waiting.get_mut(&id)?;
        let request = asker.requests.pop_front()?;
        asker.octets -= request.octets;
        if asker.requests.is_empty() {
            state.waiting.remove(&id);
        } else {
            state.turns.push_back(id);
        }
        Some(request)
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.lock().turns.is_empty()
    }

    /// Drops the requests of a connection that is gone.
    pub fn forget(&self, connection: ConnectionId) {
        let gone = {
            let mut state = self.lock();
            state.turns.retain(|id| *id != connection);
            state.waiting.remove(&connection)
        };
        drop(gone);
    }

    /// Waits until a request waits.
    pub async fn wait(&self) {
        std::future::poll_fn(|cx| self.poll_wait(cx)).await;
    }

    fn poll_wait(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.turns.is_empty() {
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("askers", &self.lock().waiting.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::annotations::Annotations;

    fn request(connection: u64, octets: usize) -> (Request, Arc<Delivery>) {
        let connection = ConnectionId(connection);
        let delivery = Delivery::new(Annotations::default(), Some(connection), false, 4);
        delivery.push(Bytes::from(vec![0; octets]));
        delivery.finish(false);
        let delivery = Arc::new(delivery);
        let request = Request::new(connection, Access::Read, delivery.clone());
        (request, delivery)
    }

    fn next(requests: &Requests) -> Option<u64> {
        requests.next().map(|request| request.connection.0)
    }

    #[test]
    fn whoever_asks_much_waits_behind_its_own_requests() {
        let requests = Requests::default();
        let refused = (0..2 * WAITING)
            .filter(|_| requests.add(request(1, 100).0).is_err())
            .count();
        assert_eq!(refused, WAITING);
        for connection in [2, 3, 2] {
            requests.add(request(connection, 100).0).unwrap();
        }
        let order: Vec<_> = (0..6).filter_map(|_| next(&requests)).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 1]);
        // What has been taken makes room.
        requests.add(request(1, 100).0).unwrap();
        requests.forget(ConnectionId(1));
        assert_eq!(next(&requests), None);
    }

    #[test]
    fn octets_that_wait_are_limited_and_one_request_may_have_more() {
        let requests = Requests::default();
        requests.add(request(1, 2 * OCTETS).0).unwrap();
        assert!(requests.add(request(1, 1).0).is_err());
        assert_eq!(next(&requests), Some(1));
        for _ in 0..4 {
            requests.add(request(1, OCTETS / 4).0).unwrap();
        }
        assert!(requests.add(request(1, 1).0).is_err());
        requests.add(request(2, OCTETS).0).unwrap();
    }

    #[test]
    fn a_request_is_settled_once_it_has_been_handled() {
        let (request, delivery) = request(1, 10);
        assert_eq!(request.message().len(), 10);
        assert!(!delivery.take_feedback().settled);
        request.accept();
        let feedback = delivery.take_feedback();
        assert!(feedback.settled);
        assert_eq!(feedback.outcome, Some(DeliveryState::Accepted));
    }

    #[tokio::test]
    async fn who_waits_for_a_request_is_woken() {
        let requests = Arc::new(Requests::default());
        let waiting = requests.clone();
        let waiting = tokio::spawn(async move { waiting.wait().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        requests.add(request(1, 1).0).unwrap();
        waiting.await.unwrap();
        assert_eq!(next(&requests), Some(1));
    }
}
