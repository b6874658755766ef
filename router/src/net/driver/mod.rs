//! Driver of one AMQP connection: socket ↔ protocol engine ↔ deliveries.
//!
//! One task on one worker. Each turn takes what other tasks sent, lets outgoing links send, writes what the engine has
//! to say in one vectored write, reads, and handles the engine's events. It sleeps when nothing moves, so everything
//! that became ready together is written together.

mod accept;
mod attach;
mod closing;
mod counts;
mod incoming;
mod links;
mod open;
mod opened;
mod options;
mod outcomes;
mod outgoing;
mod reminder;
mod room;
mod socket;
mod waiting;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use amqp::{
    engine::{Connection, Event, SessionId},
    performative::{Condition, Open},
};
use bytes::BytesMut;
use model::router_config::AmqpUrl;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::sync::CancellationToken;

use self::{
    incoming::Incoming,
    links::{Attached, Uplink},
    outgoing::Streams,
    reminder::Reminders,
    room::HeldFrames,
    waiting::Crowd,
};
pub use self::{
    open::{FRAME_SIZE, LARGE_FRAME_SIZE, LocalOpen, PeerFacts},
    options::{Ended, Options, local_open},
};
use crate::core::{
    connection::{ConnectionHandle, ConnectionId},
    connection_message::{CONNECTION_INBOX, Command, ConnectionMessage},
    control_message::ControlMessage,
    idle::IdleWatch,
    inbox::Inbox,
    shared::Shared,
};

/// Octets that may wait for the socket before outgoing links are held back.
const TRANSMIT_HIGH: usize = 256 * 1024;
/// A connection that another one has taken the place of may be given messages for so long: until the peer sees it, too.
pub const HANDED_OVER: Duration = Duration::from_secs(5);
/// What the control task may have been told and not have handled before reading pauses, by weight
/// ([`ControlMessage::weight`]).
const TOLD_LIMIT: u32 = 1024;
/// Turns in one poll before other tasks get their turn.
const TURNS: usize = 16;

/// A main connection and the data connections beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Group correlator.
    pub correlator: Arc<str>,
    /// Number of the certificates, if the peer is to be told.
    pub ordinal: Option<u64>,
    /// Where all of them lead.
    pub server: Arc<AmqpUrl>,
}

/// Runs a connection until it ends. `opened` is told once both Opens were exchanged, with the peer's.
pub async fn run<S>(
    shared: Arc<Shared>,
    id: ConnectionId,
    stream: S,
    engine: Connection,
    options: Options,
    cancel: CancellationToken,
    opened: impl FnOnce(&ConnectionHandle, &Open) + Send,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut driver = Driver::new(shared, id, stream, engine, options);
    let mut opened = Some(opened);
    let mut cancelled = Box::pin(cancel.cancelled());
    let ended = std::future::poll_fn(|cx| {
        if cancelled.as_mut().poll(cx).is_ready() && driver.leaving.is_none() {
            driver.leave();
        }
        let poll = driver.poll(cx);
        if let (Some(handle), Some(open)) = (&driver.handle, driver.engine.remote_open())
            && let Some(opened) = opened.take()
        {
            opened(handle, open);
        }
        poll
    })
    .await;
    driver.end();
    driver.complain(&ended);
    ended
}

/// State of one driven connection.
pub(crate) struct Driver<S> {
    shared: Arc<Shared>,
    id: ConnectionId,
    stream: S,
    engine: Connection,
    options: Options,
    inbox: Arc<Inbox<ConnectionMessage>>,
    /// Set once both Opens were exchanged.
    handle: Option<Arc<ConnectionHandle>>,
    input: BytesMut,
    messages: VecDeque<ConnectionMessage>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Instant>,
    /// Attached links, by link id.
    links: Vec<Option<Attached>>,
    /// Messages being received, by delivery key.
    incoming: Vec<Option<Incoming>>,
    /// Unsettled or unfinished messages being sent, by delivery key.
    outgoing: Vec<Option<outgoing::Sent>>,
    streams: Streams,
    uplink: Uplink,
    /// Sender links that may have something to send.
    ready: VecDeque<amqp::engine::LinkId>,
    /// Control, data-in and data-out links attached so far (inter-router role).
    router_links: links::RouterLinks,
    /// Incoming messages whose sinks are full.
    held: HeldFrames,
    /// Octets of all incoming messages that wait for their sinks.
    waiting: Arc<AtomicUsize>,
    crowd: Crowd,
    /// What the control task has been told and has not handled, by weight.
    told: u32,
    /// Cancelled: closes when everything queued is sent, at the latest then.
    leaving: Option<Instant>,
    /// To be left when no message is under way.
    retiring: bool,
    /// When that begins.
    retire_at: Option<Instant>,
    /// To be let go of when no message is under way.
    idle_watch: Option<IdleWatch>,
    closing: bool,
    close_deadline: Option<Instant>,
    reminders: Reminders,
    /// When to look for messages that wait for their outcome for long.
    stuck_at: Option<Instant>,
    written_unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    fn new(
        shared: Arc<Shared>,
        id: ConnectionId,
        stream: S,
        engine: Connection,
        options: Options,
    ) -> Self {
        Self {
            shared,
            id,
            stream,
            engine,
            options,
            inbox: Arc::new(Inbox::new(CONNECTION_INBOX)),
            handle: None,
            input: BytesMut::new(),
            messages: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            links: Vec::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            streams: Streams::default(),
            uplink: Uplink::default(),
            ready: VecDeque::new(),
            router_links: links::RouterLinks::default(),
            held: HeldFrames::default(),
            waiting: Arc::default(),
            crowd: Crowd::default(),
            told: 0,
            leaving: None,
            retiring: false,
            retire_at: None,
            idle_watch: None,
            closing: false,
            close_deadline: None,
            reminders: Reminders::default(),
            stuck_at: None,
            written_unflushed: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..TURNS {
            let mut moved = self.poll_messages(cx);
            self.release_held();
            self.send_ready();
            let wrote = match self.poll_write(cx) {
                Ok(wrote) => wrote,
                Err(error) => return Poll::Ready(error.into()),
            };
            moved |= wrote || self.close_when_sent();
            if let Some(ended) = self.finished() {
                return Poll::Ready(ended);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(ended)) => {
                    // What the engine has to say about it (a Close, a refused SASL outcome) still goes out.
                    let _ = self.poll_write(cx);
                    return Poll::Ready(ended);
                }
                Poll::Pending => {}
            }
            match self.poll_timer(cx) {
                Ok(true) => moved = true,
                Ok(false) => {}
                Err(ended) => {
                    let _ = self.poll_write(cx);
                    return Poll::Ready(ended);
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what other tasks sent.
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> bool {
        if self.inbox.poll_drain(cx, &mut self.messages).is_pending() {
            return false;
        }
        while let Some(message) = self.messages.pop_front() {
            match message {
                ConnectionMessage::Deliver { via, delivery } => self.enqueue(via, delivery),
                ConnectionMessage::Ready(link) => self.mark_ready(link),
                ConnectionMessage::Feedback(key) => self.feedback(key),
                ConnectionMessage::SourceSettled(key) => self.source_settled(key),
                ConnectionMessage::Command(command) => self.command(command),
            }
        }
        true
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Credit(link) => {
                if self.link(link).is_some() {
                    self.engine.grant(link, self.options.link_capacity);
                    self.note_credit(link);
                }
            }
            Command::ActivateUplink => self.activate_uplink(),
            Command::AttachConsumer(address) => self.attach_proxy(address, true),
            Command::AttachProducer(address) => self.attach_proxy(address, false),
            Command::DetachProxy { address, consumer } => self.detach_proxy(&address, consumer),
            Command::Handled(weight) => self.told = self.told.saturating_sub(weight),
            Command::Retire => self.retiring = true,
            Command::HandOver => self.hand_over(),
            Command::WhenIdle(watch) => {
                if !self.is_idle() {
                    watch.note_busy();
                    self.idle_watch = Some(watch);
                }
            }
            Command::Close(Some(condition)) => self.close(Some(condition)),
            Command::Close(None) => {
                self.closing = true;
                self.close_deadline = Some(Instant::now());
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Authenticated | Event::SessionBegun { .. } => {}
            // What waits is sent first; then the credit is given back.
            Event::Drain { link } => self.mark_ready(link),
            Event::Opened => self.opened()?,
            Event::SessionEnded { session, .. } => self.streams.session_ended(session),
            Event::Attached {
                link,
                attach,
                remote_initiated,
            } => {
                if remote_initiated {
                    self.remote_attach(link, &attach);
                } else {
                    self.attach_answered(link, &attach);
                }
            }
            Event::Credit { link } => {
                self.note_credit(link);
                self.mark_ready(link);
            }
            Event::Transfer {
                link,
                delivery,
                first,
                payload,
                more,
                settled,
                aborted,
                state,
            } => {
                self.transfer(
                    link,
                    delivery,
                    incoming::Frame {
                        first,
                        payload,
                        more,
                        settled,
                        aborted,
                        state,
                    },
                );
            }
            Event::Disposition {
                delivery,
                state,
                settled,
                ..
            } => self.disposition(delivery, state, settled),
            Event::WindowOpened { session } => self.window_opened(session),
            Event::Detached {
                link,
                closed,
                error,
            } => self.remote_detach(link, closed, error.as_ref()),
            Event::Closed { error } => {
                if let Some(error) = error {
                    return Err(Ended::ByPeer(describe(&error)));
                }
            }
        }
        Ok(())
    }

    /// Tells the control task something of this connection.
    fn tell(&mut self, message: ControlMessage) {
        self.told = self.told.saturating_add(message.weight());
        self.shared.tell(message);
    }

    fn window_opened(&mut self, session: SessionId) {
        let links: Vec<_> = self.sending_links(session).collect();
        for link in links {
            self.mark_ready(link);
        }
    }
}

/// Condition and description in one line.
pub(crate) fn describe(condition: &Condition) -> String {
    match &condition.description {
        Some(description) => format!("{}: {description}", condition.condition.as_str()),
        None => condition.condition.as_str().to_owned(),
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("id", &self.id)
            .field("role", &self.options.role)
            .finish_non_exhaustive()
    }
}
