//! Bridging: a TCP stream whose two ends use different framings is translated by a router on its way.
//!
//! ```text
//!  client ─ v1 router ══ legacy ══►                          ══ lite ══► v2 router ─ server
//!           (listener) ◄═ legacy ══  this router: a relay    ◄═ lite ══  (connector)
//!                      connector to the origin   listener to the consumer
//! ```
//!
//! No router of v1 or v2 does this: there, a connector that is asked in the other framing releases the opener, and the
//! client's connection ends.
//!
//! # When
//!
//! An opener is looked at when this router has chosen where it goes next, and that is a connection to a router which
//! does not translate itself (see [`findings`](super::findings) for what is expected of the consumer there), or a
//! tcpConnector of its own with a fixed `encapsulation`. Between two routers of this implementation it is the one nearer
//! to the consumer that translates; the others pass the opener on untouched.
//!
//! | opener | consumer expected to speak | what happens |
//! |---|---|---|
//! | either | any, or the same, or probably the same | passed on; nothing is translated |
//! | lite | only legacy (before 2.5, or found) | translated to legacy |
//! | lite | probably legacy, or open | probed with lite, then legacy |
//! | legacy | only or probably lite, or open | probed with lite; if that fails the opener itself is passed on |
//!
//! - A probe is always lite. C listeners send no octets of their client before a lite counter-stream has arrived, and
//!   C connectors before 3.0 judge a lite opener at once, while one of 3.x (or 2.7 set to lite) looks at a legacy opener
//!   only once octets came with it: behind a silent client it would wait for ever.
//! - A probe has failed when it is released, or answered in legacy: a 2.4 connector does not look at the mark; it
//!   calls its server and answers. Its second stream calls the server again; so 2.4 is not probed where it is known.
//! - A legacy opener's octets wait during the probe in the message, which its sender's window bounds.
//! - `modified` is final: the server refused. It becomes `released` for a legacy client, whose router expects that, and
//!   the other way round.
//! - Messages of the HTTP adaptors of 2.x have no content-type either; they are told by their properties and passed on.
//!
//! # What is translated
//!
//! Properties: `to` and `subject`, `:flowid` and `correlation-id`, each where its framing has it, `alpn`; the reply
//! address is one of this router. Body: [`Relay`]. Window: `received` states count octets of the TCP stream in both framings, so
//! they pass as they are, and the end-to-end window holds the sender; what waits here is bounded by it, and counted among
//! what waits of the connection that it came on. Settlement: outcomes pass when they come. Lite settles each direction at
//! its end, legacy both when the connection is gone; each kind of sender accepts either. Ends pass when the far router can
//! bear it, as at an end of this router's own. Router annotations: those of the opener, so that the guards against loops
//! hold.

mod relay;

use std::{
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use amqp::performative::DeliveryState;
use bytes::Bytes;
use tracing::debug;

use self::relay::Relay;
use super::{
    Doubt,
    connector::{lost, open_reverse, read_opener, refused},
    findings::{Counterpart, Expectation},
    framing::{ForwardOpener, Framing, ReverseOpener, StreamHead},
    opening::{Answer, Opening},
};
use crate::core::{
    address::AddressKey,
    annotations::{Annotations, DISABLE_Q2, STREAMING},
    connection::ConnectionRole,
    delivery::{Delivery, End, Wake},
    forward::{Choice, Request, Sink, dispatch},
    shared::Shared,
    table::Table,
};

/// Octets of an opener that are waited for before it is passed on unseen.
const OPENER_LIMIT: usize = 16 * 1024;

/// A stream to be translated, or probed, on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Bridge {
    sink: Sink,
    counterpart: Option<Counterpart>,
    /// Framing in which the consumer is asked first.
    first: Framing,
}

/// Puts a bridge in front of the chosen consumer if the message is the opener of a TCP stream that the consumer may
/// not understand. `octets`: what has arrived of the message, without router annotations. `None`: more of it is needed.
pub(crate) fn adapt(
    shared: &Shared,
    table: &Table,
    request: Request<'_>,
    choice: Choice,
    octets: &[u8],
) -> Option<Choice> {
    let from_router = request
        .arrived_on
        .is_some_and(|connection| connection.role != ConnectionRole::Normal);
    let Choice::One(sink) = choice else {
        return Some(choice);
    };
    if !from_router
        || !request.annotations.has(STREAMING)
        || !matches!(
            shared.space.classify(request.address),
            AddressKey::Mobile(_)
        )
    {
        return Some(Choice::One(sink));
    }
    let (expected, counterpart) = shared.framings.expect(table, request.address, &sink);
    if expected == Expectation::Any {
        return Some(Choice::One(sink));
    }
    let head = match StreamHead::parse(octets, request.complete) {
        Ok(Some(head)) if head.tcp && head.properties.reply_to.is_some() => head,
        Ok(None) if octets.len() < OPENER_LIMIT => return None,
        _ => return Some(Choice::One(sink)),
    };
    Some(Choice::One(match ask_first(head.framing, expected) {
        Some(first) => Sink::Bridge(Box::new(Bridge {
            sink,
            counterpart,
            first,
        })),
        None => watched(sink, shared, counterpart, head.framing),
    }))
}

/// Framing in which the consumer is asked for an opener in `opener`; none: the opener is passed on.
fn ask_first(opener: Framing, expected: Expectation) -> Option<Framing> {
    match (opener, expected) {
        (_, Expectation::Any) => None,
        (opener, Expectation::Only(framing) | Expectation::Probably(framing))
            if framing == opener =>
        {
            None
        }
        (Framing::Lite, Expectation::Only(Framing::Legacy)) => Some(Framing::Legacy),
        _ => Some(Framing::Lite),
    }
}

/// The sink of an opener whose release would put in doubt what is believed of the consumer.
fn watched(
    sink: Sink,
    shared: &Shared,
    counterpart: Option<Counterpart>,
    framing: Framing,
) -> Sink {
    match counterpart {
        Some(counterpart) => sink.doubting(Doubt::new(&shared.framings, counterpart, framing)),
        None => sink,
    }
}

/// What the consumer's side came to.
enum Far {
    Stream {
        opening: Opening,
        framing: Framing,
        reverse: Arc<Delivery>,
        head: Box<StreamHead>,
        rest: Bytes,
    },
    /// The opener fits as it is.
    AsItIs,
    Refused(DeliveryState),
}

impl Bridge {
    /// The consumer behind it.
    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Takes an opener and runs its stream on the current worker.
    pub(crate) fn start(self, shared: &Arc<Shared>, origin: Arc<Delivery>) {
        let index = crate::worker::current().unwrap_or_else(|| shared.next_worker());
        let Some(worker) = shared.workers.get(index) else {
            return origin.report(Some(DeliveryState::Released), true);
        };
        let flow = self.run(shared.clone(), origin);
        worker.spawn(shared.tasks.track_future(flow));
    }

    async fn run(self, shared: Arc<Shared>, origin: Arc<Delivery>) {
        let (head, mut octets) = match read_opener(&origin).await {
            Ok(read) => read,
            Err(state) => return origin.report(Some(state), true),
        };
        // They wait where they are counted.
        put_back(&origin, octets.split_off(head.len));
        let far = tokio::select! {
            far = self.ask(&shared, &origin, &head) => far,
            () = broken_off(&origin) => Far::Refused(lost()),
        };
        let (opening, framing, reverse, far_head, rest) = match far {
            Far::Stream {
                opening,
                framing,
                reverse,
                head,
                rest,
            } => (opening, framing, reverse, head, rest),
            Far::AsItIs => {
                origin.put_back(octets);
                let sink = watched(self.sink, &shared, self.counterpart, head.framing);
                return dispatch(&shared, sink, origin);
            }
            Far::Refused(state) => {
                let state = match state {
                    DeliveryState::Rejected(_) => state,
                    _ => refused(head.framing),
                };
                return origin.report(Some(state), true);
            }
        };
        let own_flow;
        let opener = ReverseOpener {
            to: head.properties.reply_to.as_deref().unwrap_or_default(),
            subject: head.properties.subject.as_deref(),
            flow_id: match &far_head.flow_id {
                Some(flow_id) => flow_id,
                None => {
                    own_flow = shared.flow_id();
                    &own_flow
                }
            },
            own: far_head.own,
        };
        let annotations = Annotations {
            flags: reverse.annotations.flags | STREAMING | DISABLE_Q2,
            to_override: None,
            ..reverse.annotations.clone()
        };
        let back = open_reverse(
            &shared,
            &origin,
            head.framing,
            opener,
            annotations,
            Some(&reverse),
        );
        let Some(back) = back else {
            // The client's router is gone from the network.
            reverse.report(Some(lost()), true);
            opening.forward.finish(framing == Framing::Lite);
            return origin.report(Some(lost()), true);
        };
        debug!(target: "router::tcp", address = head.properties.to, from = ?head.framing, to = ?framing, "stream bridged");
        shared
            .counters
            .streams_translated
            .fetch_add(1, Ordering::Relaxed);
        put_back(&reverse, rest);
        let relay = Relay::new(
            (origin, head.framing, opening.forward.clone()),
            (reverse, framing, back),
        )
        .spare(!head.own, !far_head.own);
        let end = relay.run().await;
        debug!(target: "router::tcp", address = head.properties.to, ?end, "bridged stream ended");
    }

    /// Opens the second stream, in one framing or the other.
    async fn ask(&self, shared: &Arc<Shared>, origin: &Delivery, head: &StreamHead) -> Far {
        let counterpart = self.counterpart.as_ref();
        let flow_id = match &head.flow_id {
            Some(flow_id) => flow_id.clone(),
            None => shared.flow_id(),
        };
        let properties = &head.properties;
        let override_address = origin.annotations.to_override.as_deref();
        let opener = ForwardOpener {
            to: properties
                .to
                .as_deref()
                .or(override_address)
                .unwrap_or_default(),
            reply_to: "",
            global_id: properties.subject.as_deref().unwrap_or(&flow_id),
            flow_id: &flow_id,
            alpn: head.alpn.as_deref(),
            own: head.own,
        };
        let annotations = Annotations {
            flags: origin.annotations.flags | STREAMING | DISABLE_Q2,
            ..origin.annotations.clone()
        };
        let mut framing = self.first;
        loop {
            let opening = Opening::send(
                shared,
                self.sink.clone(),
                framing,
                opener,
                annotations.clone(),
                Some(origin),
            );
            match opening.answer().await {
                Answer::Stream(reverse, head, rest) => {
                    shared.framings.found(counterpart, framing);
                    return Far::Stream {
                        opening,
                        framing,
                        reverse,
                        head,
                        rest,
                    };
                }
                Answer::OtherFraming if framing == Framing::Lite => {
                    shared.framings.found(counterpart, Framing::Legacy);
                    if head.framing == Framing::Legacy {
                        return Far::AsItIs;
                    }
                    framing = Framing::Legacy;
                }
                Answer::OtherFraming => {
                    shared.framings.released(counterpart, framing);
                    return Far::Refused(lost());
                }
                Answer::Refused(state) => {
                    if state == DeliveryState::Released {
                        shared.framings.released(counterpart, framing);
                    }
                    return Far::Refused(state);
                }
            }
        }
    }
}

fn put_back(delivery: &Delivery, octets: Bytes) {
    if !octets.is_empty() {
        delivery.put_back(octets);
    }
}

/// Waits until the source of a message breaks off; for ever if it does not.
async fn broken_off(delivery: &Delivery) {
    let mut registered = false;
    std::future::poll_fn(|cx| {
        if !registered {
            registered = true;
            delivery.set_sink(Wake::Task(cx.waker().clone()));
        }
        match delivery.take(|_, end, settled| (end, settled)) {
            (End::Aborted, _) | (End::Complete, true) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

#[cfg(test)]
mod tests;
