//! Both directions of one established TCP flow, as one future.
//!
//! Outbound octets are read from the socket into the worker's arena and pushed as slices into the outbound delivery;
//! inbound slices are written to the socket in vectored writes. Reading pauses while the far side has not acknowledged
//! a window's worth, or while the next hop is not taking octets.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use amqp::performative::DeliveryState;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tracing::debug;

use super::{
    ReplySlot,
    framing::{DATA_HEADER, DATA_LIMIT, Decoder, Framing, StreamHead, fill_data_header},
    half_close::{Activity, HeldEnd},
    socket::Socket,
    window::{self, Granter},
};
use crate::core::{
    delivery::{Delivery, End, Wake},
    flows::{Flow, Progress},
};

/// Octets that may wait between this flow and the next hop, and those of one read: while few wait of all flows, while
/// many do, and while more do than should.
const READ_AHEAD: [(usize, usize); 3] = [
    (256 * 1024, usize::MAX),
    (32 * 1024, 32 * 1024),
    (0, 8 * 1024),
];
/// Many, of all flows of the router; twice as much is more than should.
const READ_AHEAD_OF_ALL: usize = 64 * 1024 * 1024;
/// Decoded octets held for the socket.
const WRITE_AHEAD: usize = 256 * 1024;
/// A stream's head must fit into this.
const HEAD_LIMIT: usize = 64 * 1024;
/// Allocation from which reads of all flows of a worker are sliced.
const ARENA: usize = 512 * 1024;
/// Slices below this size are copied, so that a slow consumer does not keep a whole arena alive.
const COPY_BELOW: usize = 2048;
/// Read sizes: a flow begins small and grows while it fills its reads.
const READ_SIZES: [usize; 3] = [8 * 1024, 32 * 1024, 128 * 1024];
/// Turns in one poll before other flows get theirs.
const TURNS: usize = 8;

thread_local! {
    static READ_ARENA: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FlowEnd {
    /// Both directions ended in order.
    Clean,
    /// The socket failed or was reset by its peer.
    SocketLost,
    /// The far side gave up; the socket is to be reset.
    FarLost,
}

/// Octets from the socket to the network.
#[derive(Debug)]
struct Outbound {
    delivery: Arc<Delivery>,
    framing: Framing,
    read: u64,
    acknowledged: u64,
    /// Octets that may be ahead of `acknowledged`.
    window: u64,
    /// The far side has given a terminal outcome: the window is off for good.
    windowless: bool,
    ended: bool,
    size: usize,
    registered: Option<Waker>,
}

/// Octets from the network to the socket.
#[derive(Debug)]
struct Inbound {
    delivery: Arc<Delivery>,
    /// None until the head has been read.
    decoder: Option<Decoder>,
    head: BytesMut,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// What the delivery knows of `queued`.
    told: usize,
    written: u64,
    granter: Granter,
    end: End,
    shut: bool,
    /// Watched where the end of the outbound stream may have to wait for it.
    activity: Option<Activity>,
    registered: Option<Waker>,
}

/// One flow.
#[derive(Debug)]
pub(super) struct Pump {
    socket: Socket,
    outbound: Outbound,
    inbound: Option<Inbound>,
    /// Where the inbound stream will be offered, while there is none.
    slot: Option<Arc<ReplySlot>>,
    /// The socket was read to its end, which the network does not know yet.
    held: Option<HeldEnd>,
    flow: Arc<Flow>,
}

impl Pump {
    /// Flow whose outbound delivery has its head already.
    pub(super) fn new(
        socket: Socket,
        delivery: Arc<Delivery>,
        framing: Framing,
        flow: Arc<Flow>,
    ) -> Self {
        flow.has(Progress::Sending);
        Self {
            socket,
            outbound: Outbound {
                delivery,
                framing,
                read: 0,
                acknowledged: 0,
                window: framing.window(),
                windowless: false,
                ended: false,
                size: 0,
                registered: None,
            },
            inbound: None,
            slot: None,
            held: None,
            flow,
        }
    }

    /// The inbound stream will arrive here (legacy listener: octets flow before it does).
    pub(super) fn await_inbound(&mut self, slot: Arc<ReplySlot>) {
        self.slot = Some(slot);
    }

    /// The inbound stream; `head` is true while its head is still to be read.
    pub(super) fn set_inbound(&mut self, delivery: Arc<Delivery>, head: bool) {
        let framing = self.outbound.framing;
        self.flow.has(Progress::Receiving);
        self.inbound = Some(Inbound {
            delivery,
            decoder: (!head).then(|| Decoder::new(framing)),
            head: BytesMut::new(),
            queue: VecDeque::new(),
            queued: 0,
            told: 0,
            written: 0,
            granter: Granter::new(framing),
            end: End::Open,
            shut: false,
            activity: None,
            registered: None,
        });
    }

    /// The far side is the adaptor of a C router: it needs the care of [`super::half_close`], and has a fixed window.
    pub(super) fn spare_far_side(&mut self) {
        if let Some(inbound) = &mut self.inbound {
            inbound.activity = Some(Activity::new());
            inbound.granter.keep_fixed();
        }
    }

    /// Runs the flow to its end, or until it is ended from outside, and gives both messages their endings.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn would hold the flow twice"
    )]
    pub(super) fn run(mut self) -> impl Future<Output = FlowEnd> + Send {
        async move {
            let flow = self.flow.clone();
            let mut cancelled = std::pin::pin!(flow.cancel.cancelled());
            let end = std::future::poll_fn(|cx| {
                let end = self.poll(cx);
                if end.is_pending() && cancelled.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(FlowEnd::FarLost);
                }
                end
            })
            .await;
            self.finish(end);
            end
        }
    }

    fn finish(&self, end: FlowEnd) {
        let lost = DeliveryState::Modified {
            delivery_failed: true,
            undeliverable_here: false,
            annotations: Vec::new(),
        };
        if end != FlowEnd::Clean {
            // The client must see a reset, not an end of data that looks complete.
            self.socket.reset_on_drop();
        }
        // Completed rather than aborted: peers treat an abort of a stream as trouble of the router.
        self.outbound
            .delivery
            .finish(end != FlowEnd::Clean && self.outbound.framing == Framing::Lite);
        if let Some(inbound) = &self.inbound {
            let whole = inbound.end == End::Complete && inbound.queue.is_empty();
            inbound.delivery.report(
                Some(if whole { DeliveryState::Accepted } else { lost }),
                true,
            );
        }
        if let Some(slot) = &self.slot {
            slot.close();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FlowEnd> {
        for _ in 0..TURNS {
            let mut moved = false;
            if let Some(end) = self.poll_feedback(cx) {
                return Poll::Ready(end);
            }
            moved |= self.poll_slot(cx);
            match self.poll_outbound(cx) {
                Ok(more) => moved |= more,
                Err(error) => return Poll::Ready(socket_lost(&error)),
            }
            match self.poll_inbound(cx) {
                Ok(more) => moved |= more,
                Err(Failure::Socket(error)) => return Poll::Ready(socket_lost(&error)),
                Err(Failure::Far) => return Poll::Ready(FlowEnd::FarLost),
            }
            moved |= self.poll_held_end(cx);
            if self.outbound.ended && self.inbound.as_ref().is_some_and(|inbound| inbound.shut) {
                return Poll::Ready(FlowEnd::Clean);
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Acknowledgements and outcomes of the outbound message.
    fn poll_feedback(&mut self, cx: &Context<'_>) -> Option<FlowEnd> {
        let outbound = &mut self.outbound;
        if register(&mut outbound.registered, cx) {
            outbound.delivery.set_source(Wake::Task(cx.waker().clone()));
        }
        let feedback = outbound.delivery.take_feedback();
        if let Some((section_number, offset)) = feedback.received {
            outbound.acknowledged = outbound.acknowledged.max(offset);
            if let Some(window) = window::granted(section_number) {
                outbound.window = window;
            }
        }
        match feedback.outcome {
            Some(DeliveryState::Accepted) => outbound.windowless = true,
            Some(outcome) if outcome.is_terminal() => {
                debug!(target: "router::tcp", ?outcome, "the far side gave up");
                return Some(FlowEnd::FarLost);
            }
            _ => {}
        }
        outbound.windowless |= feedback.settled;
        None
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(slot) = &self.slot else { return false };
        if self.inbound.is_some() {
            return false;
        }
        let Poll::Ready(delivery) = slot.poll_take(cx) else {
            return false;
        };
        self.set_inbound(delivery, true);
        true
    }

    /// Reads from the socket while window and next hop allow.
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let outbound = &mut self.outbound;
        if outbound.ended || self.held.is_some() {
            return Ok(false);
        }
        let ahead = outbound.read.saturating_sub(outbound.acknowledged);
        if !outbound.windowless && ahead >= outbound.window {
            return Ok(false);
        }
        let (ahead, most) = read_ahead(outbound.delivery.counted());
        if !outbound.delivery.has_room(ahead) {
            return Ok(false);
        }
        if self.socket.poll_read_ready(cx)?.is_pending() {
            return Ok(false);
        }
        let limit = READ_SIZES[outbound.size]
            .min(most)
            .min(match outbound.framing {
                Framing::Legacy => DATA_LIMIT,
                Framing::Lite => usize::MAX,
            });
        let Poll::Ready(read) = poll_read(&mut self.socket, cx, outbound.framing, limit) else {
            return Ok(false);
        };
        match read? {
            (0, _) => {
                self.held = self
                    .inbound
                    .as_ref()
                    .filter(|inbound| inbound.end == End::Open)
                    .and_then(|inbound| HeldEnd::hold(inbound.activity.as_ref()?, Instant::now()));
                if self.held.is_none() {
                    self.end_outbound();
                }
                Ok(true)
            }
            (count, chunk) => {
                if count == limit {
                    outbound.size = (outbound.size + 1).min(READ_SIZES.len() - 1);
                } else if count < READ_SIZES[0] / 2 {
                    outbound.size = outbound.size.saturating_sub(1);
                }
                outbound.read += count as u64;
                self.flow.read(count as u64);
                outbound.delivery.push(chunk);
                Ok(true)
            }
        }
    }

    fn end_outbound(&mut self) {
        self.held = None;
        self.outbound.ended = true;
        self.outbound.delivery.finish(false);
    }

    /// Passes a held end on when it is time. True if it was.
    fn poll_held_end(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(held), Some(inbound)) = (&mut self.held, &mut self.inbound) else {
            return false;
        };
        let now = Instant::now();
        let over = match &mut inbound.activity {
            Some(activity) if inbound.end == End::Open => {
                if !inbound.queue.is_empty() {
                    // The far side may be held up by this side.
                    activity.note(0, now);
                }
                held.poll(activity, now, cx).is_ready()
            }
            _ => true,
        };
        if over {
            self.end_outbound();
        }
        over
    }

    /// Takes octets from the inbound message and writes them.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        let Some(inbound) = &mut self.inbound else {
            return Ok(false);
        };
        if inbound.shut {
            return Ok(false);
        }
        if register(&mut inbound.registered, cx) {
            inbound.delivery.set_sink(Wake::Task(cx.waker().clone()));
        }
        let mut moved = inbound.take(self.outbound.framing)?;
        while !inbound.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 64];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(&inbound.queue) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            let Poll::Ready(written) = self.socket.poll_write(cx, &slices[..count]) else {
                break;
            };
            let written = written.map_err(Failure::Socket)?;
            inbound.written(written);
            self.flow.written(written as u64);
            moved = true;
        }
        if inbound.told != inbound.queued {
            inbound.told = inbound.queued;
            inbound.delivery.hold(inbound.queued);
        }
        let flushed = self.socket.poll_flush(cx).map_err(Failure::Socket)?;
        if inbound.granter.is_due(inbound.written) {
            let waiting = inbound.queued + inbound.delivery.queued();
            let (section_number, offset) =
                inbound
                    .granter
                    .report(inbound.written, waiting, Instant::now());
            inbound.delivery.report_received(section_number, offset);
        }
        if inbound.queue.is_empty() && inbound.end != End::Open && inbound.drained() {
            if flushed.is_pending() {
                return Ok(moved);
            }
            let Poll::Ready(ended) = self.socket.poll_end(cx) else {
                return Ok(moved);
            };
            ended.map_err(Failure::Socket)?;
            inbound.shut = true;
            self.flow.has(Progress::Received);
            if self.outbound.framing == Framing::Lite {
                // Lite settles each direction at its end; legacy when the connection is gone.
                inbound.delivery.report(Some(DeliveryState::Accepted), true);
            }
            moved = true;
        }
        Ok(moved)
    }
}

/// How many octets of a flow may wait for the next hop and how many may be read at once, where so many of all flows wait.
fn read_ahead(waiting: usize) -> (usize, usize) {
    READ_AHEAD[(waiting / READ_AHEAD_OF_ALL).min(READ_AHEAD.len() - 1)]
}

enum Failure {
    Socket(io::Error),
    Far,
}

impl Inbound {
    /// Moves octets from the delivery to the write queue, reading the head first.
    fn take(&mut self, expected: Framing) -> Result<bool, Failure> {
        if self.queued >= WRITE_AHEAD {
            // A socket that takes nothing must not keep this flow alive.
            return if self.delivery.is_aborted() {
                Err(Failure::Far)
            } else {
                Ok(false)
            };
        }
        let Self {
            delivery,
            decoder,
            head,
            queue,
            queued,
            end,
            activity,
            ..
        } = self;
        let before = queue.len();
        let queued_before = *queued;
        delivery.take(|chunks, end_now, _| {
            while *queued < WRITE_AHEAD {
                let Some(mut chunk) = chunks.pop_front() else {
                    break;
                };
                let decoder = match decoder {
                    Some(decoder) => decoder,
                    None => {
                        head.extend_from_slice(&chunk);
                        let complete = end_now == End::Complete && chunks.is_empty();
                        let parsed = match StreamHead::parse(head, complete) {
                            Ok(Some(parsed)) if parsed.framing == expected => parsed,
                            Ok(None) if head.len() <= HEAD_LIMIT => continue,
                            // A reply in the other framing, a malformed or an endless head.
                            _ => return Err(Failure::Far),
                        };
                        chunk = std::mem::take(head).freeze().slice(parsed.len..);
                        decoder.insert(Decoder::new(parsed.framing))
                    }
                };
                let first = queue.len();
                decoder.decode(chunk, queue).map_err(|_| Failure::Far)?;
                *queued += queue.iter().skip(first).map(Bytes::len).sum::<usize>();
            }
            if chunks.is_empty() {
                *end = end_now;
            }
            Ok(())
        })?;
        if *end == End::Aborted {
            return Err(Failure::Far);
        }
        if let Some(activity) = activity
            && *queued > queued_before
        {
            activity.note(*queued - queued_before, Instant::now());
        }
        Ok(queue.len() > before)
    }

    fn written(&mut self, mut count: usize) {
        self.written += count as u64;
        self.queued = self.queued.saturating_sub(count);
        while count > 0 {
            let Some(chunk) = self.queue.front_mut() else {
                return;
            };
            let step = count.min(chunk.len());
            chunk.advance(step);
            count -= step;
            if chunk.is_empty() {
                self.queue.pop_front();
            }
        }
    }

    fn drained(&self) -> bool {
        self.delivery.queued() == 0
    }
}

/// True if the waker has to be handed over again.
fn register(registered: &mut Option<Waker>, cx: &Context<'_>) -> bool {
    if registered
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        return false;
    }
    *registered = Some(cx.waker().clone());
    true
}

fn socket_lost(error: &io::Error) -> FlowEnd {
    debug!(target: "router::tcp", %error, "connection lost");
    FlowEnd::SocketLost
}

/// One read of at most `limit` octets; for legacy framing the slice begins with a DATA header.
fn poll_read(
    socket: &mut Socket,
    cx: &mut Context<'_>,
    framing: Framing,
    limit: usize,
) -> Poll<io::Result<(usize, Bytes)>> {
    READ_ARENA.with_borrow_mut(|arena| {
        let header = if framing == Framing::Legacy {
            DATA_HEADER
        } else {
            0
        };
        if arena.capacity() < limit + header {
            *arena = BytesMut::with_capacity(ARENA);
        }
        arena.clear();
        arena.put_bytes(0, header);
        let count = match socket.poll_read(cx, &mut (&mut *arena).limit(limit)) {
            Poll::Ready(Ok(count)) if count > 0 => count,
            other => {
                arena.clear();
                return other.map_ok(|count| (count, Bytes::new()));
            }
        };
        if header > 0 {
            fill_data_header(arena, count);
        }
        let chunk = if arena.len() < COPY_BELOW {
            let copy = Bytes::copy_from_slice(arena);
            arena.clear();
            copy
        } else {
            arena.split().freeze()
        };
        Poll::Ready(Ok((count, chunk)))
    })
}

#[cfg(test)]
mod tests;
