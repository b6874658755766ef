//! Opening a stream towards a consumer: what a listener does for its client, and a bridge for the stream it translates.

use std::{sync::Arc, task::Poll};

use amqp::performative::DeliveryState;
use bytes::Bytes;

use super::{
    ReplySlot,
    connector::read_head,
    framing::{ForwardOpener, Framing, StreamHead},
};
use crate::core::{
    annotations::Annotations,
    delivery::{Delivery, Feedback, Wake},
    forward::{self, Sink},
    local::LocalTarget,
    shared::Shared,
};

/// An opened stream: its forward message and the reply address, which is given up with it.
#[derive(Debug)]
pub(super) struct Opening {
    shared: Arc<Shared>,
    name: String,
    /// Where the reverse message arrives.
    pub(super) slot: Arc<ReplySlot>,
    /// The message to the consumer; its head is sent.
    pub(super) forward: Arc<Delivery>,
    framing: Framing,
}

/// Ways in which an opener is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The counter-stream in the same framing, its head, and octets behind it.
    Stream(Arc<Delivery>, Box<StreamHead>, Bytes),
    /// The consumer does not know this framing.
    OtherFraming,
    /// The server refused, or the way there is lost.
    Refused(DeliveryState),
}

impl Opening {
    /// Sends an opener to `sink`. `opener.reply_to` is filled in here. `origin`: the stream that is translated by it.
    pub(super) fn send(
        shared: &Arc<Shared>,
        sink: Sink,
        framing: Framing,
        opener: ForwardOpener<'_>,
        annotations: Annotations,
        origin: Option<&Delivery>,
    ) -> Self {
        let slot = Arc::new(ReplySlot::default());
        let name = shared.local.register(LocalTarget::Reply(slot.clone()));
        let opener = ForwardOpener {
            reply_to: &shared.space.dynamic(&name),
            ..opener
        };
        let forward = Arc::new(Delivery::begun_by_router(
            annotations,
            origin,
            &shared.read_ahead,
        ));
        forward.push(opener.encode(framing));
        forward::dispatch(shared, sink, forward.clone());
        Self {
            shared: shared.clone(),
            name,
            slot,
            forward,
            framing,
        }
    }

    /// Waits for the head of the reverse message, or for the refusal of the forward one.
    pub(super) async fn answer(&self) -> Answer {
        let mut registered = false;
        let arrived = std::future::poll_fn(|cx| {
            if !registered {
                registered = true;
                self.forward.set_source(Wake::Task(cx.waker().clone()));
            }
            if let Poll::Ready(reverse) = self.slot.poll_take(cx) {
                return Poll::Ready(Ok(reverse));
            }
            let Feedback {
                outcome, settled, ..
            } = self.forward.take_feedback();
            match outcome {
                Some(outcome) if outcome.is_terminal() => Poll::Ready(Err(outcome)),
                _ if settled => Poll::Ready(Err(DeliveryState::Accepted)),
                _ => Poll::Pending,
            }
        })
        .await;
        let reverse = match arrived {
            Ok(reverse) => reverse,
            // A legacy connector also releases when its server refuses; a lite one does not.
            Err(DeliveryState::Released) if self.framing == Framing::Lite => {
                return Answer::OtherFraming;
            }
            Err(state) => return Answer::Refused(state),
        };
        match read_head(&reverse).await {
            Ok((head, rest)) if head.framing == self.framing => {
                Answer::Stream(reverse, Box::new(head), rest)
            }
            Ok(_) => {
                // A 2.4 connector: it takes any opener and answers in legacy.
                reverse.report(Some(DeliveryState::Released), true);
                Answer::OtherFraming
            }
            Err(state) => {
                reverse.report(Some(state.clone()), true);
                Answer::Refused(state)
            }
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.shared.local.remove(&self.name);
        self.slot.close();
        // Has no effect on a message that has ended.
        self.forward.finish(false);
    }
}
