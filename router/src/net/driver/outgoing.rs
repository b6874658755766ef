//! Messages that leave: queues of outgoing links, the pool of streaming links, dispositions from the peer.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use amqp::{
    Symbol,
    engine::{DeliveryKey, LinkId, Sent as Progress, SessionId},
    performative::{Attach, DeliveryState, RcvSettleMode, Role, SndSettleMode, Source, Target},
};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Driver, TRANSMIT_HIGH,
    links::{Attached, Kind},
    reminder::Reminder,
};
use crate::core::{
    annotations::STREAMING,
    connection::ConnectionRole,
    connection_message::Via,
    delivery::{Delivery, End, Wake},
};

/// Octets one link may send before the next one has its turn.
const QUANTUM: usize = 64 * 1024;
/// Idle streaming links kept per connection.
const POOL_LIMIT: usize = 128;
/// Messages that may wait on one outgoing link for credit.
const LINK_QUEUE: usize = 4096;

/// Outgoing side of a link.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Arc<Delivery>>,
    current: Option<Current>,
    /// In `Driver::ready`.
    pub(super) marked: bool,
    /// Messages sent (or being sent) on this link that the peer has not settled.
    unsettled: usize,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty() && self.unsettled == 0
    }
}

#[derive(Debug)]
struct Current {
    key: DeliveryKey,
    delivery: Arc<Delivery>,
    /// Annotations of this hop, until they are sent.
    prefix: Option<Bytes>,
    /// The peer may have got octets of it.
    begun: bool,
}

impl Current {
    /// The link is gone before the message was sent completely. The peer forgets what it has of it, but what it did with
    /// the beginning of a stream cannot be undone: that one must not be sent again.
    fn lost(self) {
        let streaming = self.delivery.annotations.has(STREAMING) || !self.delivery.is_complete();
        let outcome = if self.begun && streaming {
            modified()
        } else {
            DeliveryState::Released
        };
        self.delivery.report(Some(outcome), true);
    }
}

/// A message handed to the engine and not yet settled.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) link: LinkId,
    pub(super) delivery: Arc<Delivery>,
    /// Once the last octet is sent, to peers that need it.
    pub(super) reminder: Option<Reminder>,
    /// When it was begun; none for streams, which are never late.
    pub(super) since: Option<Instant>,
    /// Its outcome is counted.
    counted: bool,
}

impl Sent {
    /// The connection is lost: whatever the peer got of the message, its outcome is unknown.
    pub(super) fn lost(self) {
        self.delivery.report(Some(modified()), true);
    }
}

/// The pool of streaming links of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    session: Option<SessionId>,
    idle: Vec<LinkId>,
}

impl Streams {
    pub(super) fn session_ended(&mut self, session: SessionId) {
        if self.session == Some(session) {
            self.session = None;
        }
    }

    pub(super) fn release_all(&mut self) {
        self.idle.clear();
    }
}

/// What the source of a message has said of its state since the last look.
fn told(delivery: &Delivery) -> Option<DeliveryState> {
    let octets = delivery.take_state()?;
    let state = DeliveryState::decode_slice(&octets);
    state.ok().map(|(state, _)| state)
}

fn modified() -> DeliveryState {
    DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here: false,
        annotations: Vec::new(),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Queues a message on the link that `via` means.
    pub(super) fn enqueue(&mut self, via: Via, delivery: Arc<Delivery>) {
        let link = match via {
            Via::Control => self.router_links.control_out,
            Via::Data => self.data_link(delivery.priority),
            Via::Stream => self.stream_link(),
            Via::Link(link) => Some(link),
            Via::Uplink => self.uplink.anonymous,
        };
        let shared = self.shared.clone();
        // Clients that are slow get the newest of what is sent to them pre-settled, as much as their link would carry.
        let capacity = match link.and_then(|link| self.link(link)) {
            Some(attached) if attached.kind == Kind::Endpoint && delivery.presettled => {
                LINK_QUEUE.min(self.options.link_capacity as usize).max(1)
            }
            _ => LINK_QUEUE,
        };
        let queue = link.and_then(|link| Some((link, self.link_mut(link)?.queue.as_mut()?)));
        match queue {
            Some((link, queue)) if queue.waiting.len() < capacity => {
                queue.waiting.push_back(delivery);
                self.mark_ready(link);
                self.note_queue(link);
            }
            Some((link, queue)) if delivery.presettled => {
                shared
                    .counters
                    .dropped_presettled
                    .fetch_add(1, Ordering::Relaxed);
                // Newer pre-settled messages are worth more than older ones.
                if let Some(oldest) = queue.waiting.iter().position(|waiting| waiting.presettled) {
                    if let Some(dropped) = queue.waiting.remove(oldest) {
                        dropped.report(None, true);
                    }
                    queue.waiting.push_back(delivery);
                } else {
                    delivery.report(None, true);
                }
                if let Some(counts) = self.counts(link) {
                    counts.dropped_presettled.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => delivery.report(Some(DeliveryState::Released), true),
        }
    }

    /// Data link for a priority, or the next lower one that exists.
    fn data_link(&self, priority: u8) -> Option<LinkId> {
        let links = &self.router_links.data_out;
        let index = usize::from(priority).min(links.len().checked_sub(1)?);
        links.get(index).copied()
    }

    /// An idle streaming link, or a new one.
    fn stream_link(&mut self) -> Option<LinkId> {
        while let Some(link) = self.streams.idle.pop() {
            if self.link(link).is_some() {
                return Some(link);
            }
        }
        let session = match self.streams.session {
            Some(session) => session,
            None => {
                let session = self.engine.begin();
                self.streams.session = Some(session);
                session
            }
        };
        let role = self
            .handle
            .as_ref()
            .map_or(self.options.role, |handle| handle.role);
        // On the control connection streaming links carry the data capability; on data and edge connections none.
        let capabilities = if role == ConnectionRole::InterRouter {
            vec![Symbol::from_static("qd.router-data")]
        } else {
            Vec::new()
        };
        let attach = sender_attach(None, capabilities);
        let link = self.engine.attach(session, attach).ok()?;
        self.put_link(link, Attached::sender(Kind::Stream, session, None));
        Some(link)
    }

    pub(super) fn mark_ready(&mut self, link: LinkId) {
        if let Some(queue) = self
            .link_mut(link)
            .and_then(|attached| attached.queue.as_mut())
            && !queue.marked
        {
            queue.marked = true;
            self.ready.push_back(link);
        }
    }

    /// Lets every link with something to send have turns until the transmit queue is full.
    pub(super) fn send_ready(&mut self) {
        let mut left = self.ready.len().saturating_mul(4);
        while self.engine.transmit().remaining() < TRANSMIT_HIGH && left > 0 {
            left -= 1;
            let Some(link) = self.ready.pop_front() else {
                return;
            };
            if let Some(queue) = self
                .link_mut(link)
                .and_then(|attached| attached.queue.as_mut())
            {
                queue.marked = false;
            }
            if self.send_on(link) {
                self.mark_ready(link);
            }
        }
    }

    /// Sends a quantum of the link's current message and begins the next one. True if it has more to send now.
    fn send_on(&mut self, link: LinkId) -> bool {
        let budget = QUANTUM;
        let waits = self
            .link(link)
            .and_then(|attached| attached.queue.as_ref())
            .is_some_and(|queue| queue.current.is_none());
        if waits && !self.begin(link) {
            return false;
        }
        let Some(queue) = self
            .links
            .get_mut(link.0 as usize)
            .and_then(Option::as_mut)
            .and_then(|attached| attached.queue.as_mut())
        else {
            return false;
        };
        let Some(current) = &mut queue.current else {
            return false;
        };
        let engine = &mut self.engine;
        if let Some(state) = told(&current.delivery) {
            engine.disposition(current.key, Some(state), false);
        }
        let (progress, end, source_settled) =
            current.delivery.take(|chunks, end, source_settled| {
                if end == End::Aborted {
                    engine.abort(current.key);
                    return (Progress::All, end, source_settled);
                }
                if let Some(prefix) = current.prefix.take() {
                    chunks.push_front(prefix);
                }
                if chunks.is_empty() && end == End::Open {
                    return (Progress::All, end, source_settled);
                }
                current.begun = true;
                (
                    engine.send(current.key, chunks, end == End::Complete, budget),
                    end,
                    source_settled,
                )
            });
        match (progress, end) {
            (Progress::All, End::Open) | (Progress::WindowClosed, _) => false,
            (Progress::Budget, _) => true,
            (Progress::All, End::Complete | End::Aborted) => {
                let Some(current) = queue.current.take() else {
                    return false;
                };
                self.sent(link, &current, end, source_settled);
                true
            }
        }
    }

    /// Begins the next message of a link. False if none waits, or there is no credit for it.
    fn begin(&mut self, link: LinkId) -> bool {
        let role = self.role();
        let Some(attached) = self.links.get_mut(link.0 as usize).and_then(Option::as_mut) else {
            return false;
        };
        let Some(queue) = &mut attached.queue else {
            return false;
        };
        if queue.waiting.is_empty() {
            // Only if the peer asked for its credit back.
            self.engine.drained(link);
            return false;
        }
        if self.engine.credit(link) == 0 {
            return false;
        }
        let Some(delivery) = queue.waiting.pop_front() else {
            return false;
        };
        let settles_itself = attached.settles;
        let settled = delivery.presettled || settles_itself;
        let Ok(key) = self
            .engine
            .start_delivery(link, &self.shared.tag(), settled)
        else {
            queue.waiting.push_front(delivery);
            return false;
        };
        let prefix = (!delivery.raw && role != ConnectionRole::Normal).then(|| {
            let mut out = BytesMut::new();
            let next = if self.shared.space.edge {
                delivery.annotations.at_edge(&self.shared.mesh)
            } else {
                delivery.annotations.at_interior(&self.shared.trace_entry)
            };
            next.encode(&mut out);
            out.freeze()
        });
        let slot = key.0 as usize;
        if slot >= self.outgoing.len() {
            self.outgoing.resize_with(slot + 1, || None);
        }
        if !settled {
            self.outgoing[slot] = Some(Sent {
                link,
                delivery: delivery.clone(),
                reminder: None,
                since: (!delivery.annotations.has(STREAMING)).then(Instant::now),
                counted: false,
            });
            queue.unsettled += 1;
        }
        if let Some(state) = told(&delivery) {
            self.engine.disposition(key, Some(state), false);
        }
        delivery.set_sink(Wake::Outgoing(self.inbox.clone(), link));
        queue.current = Some(Current {
            key,
            delivery,
            prefix,
            begun: false,
        });
        if !settled {
            self.watch_stuck(Instant::now());
        }
        self.count_begun(link, settled);
        self.note_credit(link);
        self.note_queue(link);
        true
    }

    /// The last octet of a message is with the engine.
    fn sent(&mut self, link: LinkId, current: &Current, end: End, source_settled: bool) {
        let slot = current.key.0 as usize;
        let unsettled = self.outgoing.get(slot).is_some_and(Option::is_some);
        if end == End::Aborted {
            self.forget_sent(current.key);
        } else if unsettled && source_settled && !current.delivery.presettled {
            // The source does not wait for an outcome any more: settle as the sender.
            self.engine
                .disposition(current.key, told(&current.delivery), true);
            self.forget_sent(current.key);
        } else if unsettled {
            let settled = Wake::Settled(self.inbox.clone(), current.key);
            current.delivery.set_sink(settled);
            self.remind_later(current.key);
        } else {
            current.delivery.report(
                if current.delivery.presettled {
                    None
                } else {
                    Some(DeliveryState::Accepted)
                },
                true,
            );
        }
        self.stream_done(link);
    }

    /// Returns a streaming link to the pool once its message is sent and settled.
    fn stream_done(&mut self, link: LinkId) {
        let free = self.link(link).is_some_and(|attached| {
            attached.kind == Kind::Stream && attached.queue.as_ref().is_some_and(Queue::is_idle)
        });
        if !free || self.streams.idle.contains(&link) {
            return;
        }
        if self.streams.idle.len() < POOL_LIMIT {
            self.streams.idle.push(link);
        } else {
            self.engine.detach(link, true, None);
            self.drop_link(link);
        }
    }

    /// The peer (or this side's earlier disposition) changed the state of a message.
    pub(super) fn disposition(
        &mut self,
        key: DeliveryKey,
        state: Option<DeliveryState>,
        settled: bool,
    ) {
        let slot = key.0 as usize;
        let Some(sent) = self.outgoing.get(slot).and_then(Option::as_ref) else {
            if let Some(state) = &state {
                self.sender_told(key, state);
            }
            if settled {
                self.sender_settled(key);
            }
            return;
        };
        let (link, since) = (sent.link, sent.since);
        let counted = !sent.counted
            && state
                .as_ref()
                .is_some_and(|state| self.count_sent_outcome(link, since, state));
        match &state {
            Some(DeliveryState::Received {
                section_number,
                section_offset,
            }) if !settled => {
                sent.delivery
                    .report_received(*section_number, *section_offset);
            }
            _ => sent.delivery.report(state, settled),
        }
        if counted && let Some(sent) = self.outgoing.get_mut(slot).and_then(Option::as_mut) {
            sent.counted = true;
        }
        if settled {
            self.forget_sent(key);
            self.stream_done(link);
            // A message settled before its end still has to be ended on the wire.
            self.mark_ready(link);
        }
    }

    /// The source of a message settled it after it was sent, or said something of its state: so does this side, as its
    /// sender.
    pub(super) fn source_settled(&mut self, key: DeliveryKey) {
        let Some(sent) = self.outgoing.get(key.0 as usize).and_then(Option::as_ref) else {
            return;
        };
        let link = sent.link;
        let queue = self.link(link).and_then(|attached| attached.queue.as_ref());
        let being_sent = queue
            .and_then(|queue| queue.current.as_ref())
            .is_some_and(|current| current.key == key);
        if being_sent {
            return;
        }
        let state = told(&sent.delivery);
        if !sent.delivery.is_source_settled() {
            if state.is_some() {
                self.engine.disposition(key, state, false);
            }
            return;
        }
        self.engine.disposition(key, state, true);
        self.forget_sent(key);
        self.stream_done(link);
    }

    /// Notes how many messages wait on a link, and for how many the peer has no outcome yet.
    fn note_queue(&self, link: LinkId) {
        let Some((queue, counts)) = self.link(link).and_then(|attached| {
            Some((attached.queue.as_ref()?, &attached.record.as_ref()?.counts))
        }) else {
            return;
        };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        counts
            .undelivered
            .store(number(queue.waiting.len()), Ordering::Relaxed);
        counts
            .unsettled
            .store(number(queue.unsettled), Ordering::Relaxed);
    }

    fn forget_sent(&mut self, key: DeliveryKey) {
        if let Some(sent) = self.outgoing.get_mut(key.0 as usize).and_then(Option::take)
            && let Some(queue) = self
                .link_mut(sent.link)
                .and_then(|attached| attached.queue.as_mut())
        {
            queue.unsettled = queue.unsettled.saturating_sub(1);
            self.note_queue(sent.link);
        }
    }

    pub(super) fn sending_links(&self, session: SessionId) -> impl Iterator<Item = LinkId> + '_ {
        self.links
            .iter()
            .enumerate()
            .filter_map(move |(index, attached)| {
                let attached = attached.as_ref()?;
                (attached.session == session && attached.queue.as_ref()?.current.is_some())
                    .then(|| LinkId(u32::try_from(index).unwrap_or(u32::MAX)))
            })
    }

    /// Gives outcomes to everything that was to be sent on a link that is gone.
    pub(super) fn release_queue(&mut self, link: LinkId, queue: Queue) {
        for waiting in queue.waiting {
            waiting.report(Some(DeliveryState::Released), true);
        }
        self.streams.idle.retain(|idle| *idle != link);
        if let Some(current) = queue.current {
            if let Some(slot) = self.outgoing.get_mut(current.key.0 as usize) {
                *slot = None;
            }
            current.lost();
        }
        for slot in &mut self.outgoing {
            if slot.as_ref().is_some_and(|sent| sent.link == link)
                && let Some(sent) = slot.take()
            {
                sent.lost();
            }
        }
    }
}

/// Attach of a link on which this router sends; no address on either terminus unless a target address is given.
pub(super) fn sender_attach(target: Option<&str>, capabilities: Vec<Symbol>) -> Attach {
    router_attach(Role::Sender, None, target, capabilities)
}

/// Attach of a router link in either direction, as C routers fill it.
pub(super) fn router_attach(
    role: Role,
    source: Option<&str>,
    target: Option<&str>,
    capabilities: Vec<Symbol>,
) -> Attach {
    let expiry_policy = Some(Symbol::from_static("link-detach"));
    Attach {
        name: format!("qdlink.{}", crate::core::local::random_name(15)),
        role,
        snd_settle_mode: SndSettleMode::Mixed,
        rcv_settle_mode: RcvSettleMode::First,
        source: Some(Source {
            address: source.map(str::to_owned),
            expiry_policy: expiry_policy.clone(),
            capabilities: capabilities.clone(),
            ..Source::default()
        }),
        target: Some(Target {
            address: target.map(str::to_owned),
            expiry_policy,
            capabilities,
            ..Target::default()
        }),
        initial_delivery_count: Some(0),
        max_message_size: Some(0),
        ..Attach::default()
    }
}
