//! Where the reverse stream of a listener flow arrives.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use amqp::performative::DeliveryState;

use crate::core::delivery::Delivery;

/// Slot for the one reverse stream of a flow. Further deliveries to the same address are released.
#[derive(Debug, Default)]
pub struct ReplySlot(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    offered: Option<Arc<Delivery>>,
    waker: Option<Waker>,
    taken: bool,
}

impl ReplySlot {
    /// Called by the forwarder when a message for the reply address has arrived.
    pub fn offer(&self, delivery: Arc<Delivery>) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.taken || state.offered.is_some() {
                drop(state);
                delivery.report(Some(DeliveryState::Released), true);
                return;
            }
            state.offered = Some(delivery);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the reverse stream once it is there.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Arc<Delivery>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(delivery) = state.offered.take() {
            state.taken = true;
            return Poll::Ready(delivery);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The flow is over: what arrives now, or waits, is released.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.taken = true;
            state.offered.take()
        };
        if let Some(delivery) = waiting {
            delivery.report(Some(DeliveryState::Released), true);
        }
    }
}
