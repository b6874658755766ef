//! Driver of one AMQP connection: socket ↔ protocol engine ↔ deliveries.
//!
//! One task on one worker. Each turn takes what other tasks sent, lets outgoing links send, writes what the engine has
//! to say in one vectored write, reads, and handles the engine's events. It sleeps when nothing moves, so everything
//! that became ready together is written together.

mod accept;
mod attach;
mod counts;
mod incoming;
mod links;
mod open;
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
    performative::{Condition, DeliveryState, Open},
};
use bytes::{Buf as _, BytesMut};
use model::router_config::AmqpUrl;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::{
    incoming::Incoming,
    links::{Attached, Uplink},
    outgoing::Streams,
    reminder::Reminders,
    waiting::Crowd,
};
pub use self::{
    open::{FRAME_SIZE, LARGE_FRAME_SIZE, LocalOpen, PeerFacts},
    options::{Ended, Options, local_open},
};
use crate::core::{
    Offence,
    connection::{ConnectionHandle, ConnectionId, ConnectionRole},
    connection_message::{CONNECTION_INBOX, Command, ConnectionMessage},
    control_message::ControlMessage,
    idle::IdleWatch,
    inbox::Inbox,
    links::Links,
    shared::Shared,
};

/// Octets that may wait for the socket before outgoing links are held back.
const TRANSMIT_HIGH: usize = 256 * 1024;
/// Time for what is queued when a connection is to be closed.
const LEAVE: Duration = Duration::from_secs(1);
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
    held: Vec<room::Held>,
    /// Octets of all incoming messages that wait for their sinks.
    waiting: Arc<AtomicUsize>,
    crowd: Crowd,
    /// What the control task has been told and has not handled, by weight.
    told: u32,
    /// Cancelled: closes when everything queued is sent, at the latest then.
    leaving: Option<Instant>,
    /// To be left when no message is under way.
    retiring: bool,
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
            held: Vec::new(),
            waiting: Arc::default(),
            crowd: Crowd::default(),
            told: 0,
            leaving: None,
            retiring: false,
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

    fn finished(&self) -> Option<Ended> {
        if self.engine.is_closed() {
            return Some(if self.closing {
                Ended::Cancelled
            } else {
                Ended::Closed
            });
        }
        self.close_deadline
            .filter(|deadline| *deadline <= Instant::now())
            .map(|_| Ended::Cancelled)
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

    /// Close in order: the last octets of flows that have just ended may still be in the queues.
    fn leave(&mut self) {
        let latest = Instant::now() + LEAVE;
        self.leaving = Some(latest);
        self.close_deadline.get_or_insert(latest + LEAVE);
    }

    /// Closes if this connection is to be left and nothing is in the way any more. True if it was closed now.
    fn close_when_sent(&mut self) -> bool {
        if self.idle_watch.is_some() && self.is_idle() {
            self.idle_watch = None;
        }
        if self.retiring && self.leaving.is_none() && self.is_idle() {
            self.leave();
        }
        let Some(latest) = self.leaving.filter(|_| !self.closing) else {
            return false;
        };
        let sent = self.ready.is_empty() && !self.engine.transmit().has_remaining();
        if sent || latest <= Instant::now() {
            self.close(None);
            return true;
        }
        false
    }

    fn is_idle(&self) -> bool {
        self.incoming.iter().all(Option::is_none) && self.outgoing.iter().all(Option::is_none)
    }

    fn close(&mut self, condition: Option<Condition>) {
        if !self.closing {
            self.closing = true;
            self.close_deadline = Some(Instant::now() + Duration::from_secs(2));
            self.engine.close(condition);
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

    /// Both sides have opened: the role is final and the connection becomes known to the router.
    fn opened(&mut self) -> Result<(), Ended> {
        let facts = self
            .engine
            .remote_open()
            .map(PeerFacts::read)
            .unwrap_or_default();
        let mut role = self.options.role;
        if role == ConnectionRole::InterRouter && !self.options.outgoing && facts.data {
            role = ConnectionRole::InterRouterData;
        }
        let own_edge_data = facts.edge_data && facts.own_frame_size.is_some();
        if role == ConnectionRole::Edge && !self.options.outgoing && own_edge_data {
            role = ConnectionRole::EdgeData;
        }
        let own_id = &self.shared.space.id;
        let refused = if facts.container.len() > links::LONGEST_NAME {
            let condition = links::too_long();
            Some((Ended::Protocol(describe(&condition)), condition))
        } else if role != ConnectionRole::Normal && facts.container == *own_id {
            let ended = Ended::DuplicateId(own_id.clone());
            let condition = Condition::new("amqp:not-allowed", ended.to_string());
            Some((ended, condition))
        } else {
            None
        };
        if let Some((ended, condition)) = refused {
            if !self.options.outgoing {
                let open = self.local_open(role).performative();
                self.engine.open(Some(open));
            }
            self.engine.close(Some(condition));
            return Err(ended);
        }
        if !self.options.outgoing {
            let open = self.local_open(role).performative();
            self.engine.open(Some(open));
        }
        if role != ConnectionRole::Normal {
            // Our Open says 16 KiB for the sake of C routers, and more to peers that know the property.
            let own = self.options.max_frame_size;
            self.engine
                .set_receive_frame_limit(own.max(LARGE_FRAME_SIZE));
        }
        if let (Some(size), true) = (facts.own_frame_size, role != ConnectionRole::Normal) {
            self.engine.set_transmit_frame_size(size);
        }
        let mut management = self.options.facts.clone();
        management.cost = self.options.cost.max(facts.cost.unwrap_or(1));
        management.properties = facts.properties;
        management.sasl = self
            .engine
            .sasl_mechanism()
            .map(|mechanism| mechanism.as_str().to_owned())
            .unwrap_or_default();
        let proven = management
            .user
            .take()
            .filter(|_| management.sasl == "EXTERNAL");
        management.user = proven.or_else(|| self.engine.authenticated_as().map(str::to_owned));
        let group = self.options.group.as_ref();
        management.group = group
            .map(|group| group.correlator.to_string())
            .or(facts.group);
        management.group_ordinal = group.map_or(facts.ordinal, |group| group.ordinal);
        management.opened = Some(Instant::now());
        let handle = Arc::new(ConnectionHandle {
            id: self.id,
            inbox: self.inbox.clone(),
            worker: crate::worker::current().unwrap_or_default(),
            role,
            outgoing: self.options.outgoing,
            streaming: facts.streaming,
            trunking: facts.trunking,
            own_peer: facts.own_frame_size.is_some(),
            container: facts.container,
            facts: management,
            mesh: arc_swap::ArcSwapOption::empty(),
            octets_in: 0.into(),
            octets_out: 0.into(),
            last_delivery: 0.into(),
            links: Links::default(),
            answers: Arc::default(),
        });
        self.handle = Some(handle.clone());
        self.shared.counters.connection_opened(role);
        debug!(target: "router::server", connection = self.id.0, role = role.as_str(), peer = %handle.container, "connection opened");
        self.tell(ControlMessage::ConnectionUp(handle));
        if role == ConnectionRole::InterRouter && self.options.outgoing {
            self.attach_router_links();
            self.invite_data();
        }
        Ok(())
    }

    /// From now on data connections may be made beside this one.
    fn invite_data(&self) {
        if let (Some(beside), Some(group)) = (&self.options.beside, &self.options.group) {
            beside.send_replace(Some(group.clone()));
        }
    }

    fn local_open(&self, role: ConnectionRole) -> LocalOpen<'_> {
        local_open(&self.shared, self.id, &self.options, role)
    }

    /// The connection is gone: every message in it gets its outcome, and the control task is told.
    fn end(&mut self) {
        for message in self
            .inbox
            .close()
            .into_iter()
            .chain(self.messages.drain(..))
        {
            if let ConnectionMessage::Deliver { delivery, .. } = message {
                delivery.report(Some(DeliveryState::Released), true);
            }
        }
        for link in 0..self.links.len() {
            self.drop_link(amqp::engine::LinkId(
                u32::try_from(link).unwrap_or(u32::MAX),
            ));
        }
        self.streams.release_all();
        for sent in self.outgoing.drain(..).flatten() {
            sent.lost();
        }
        for incoming in self.incoming.drain(..).flatten() {
            incoming.abort();
        }
        if let Some(role) = self.handle.as_ref().map(|handle| handle.role) {
            self.shared.counters.connection_ended(role);
            self.tell(ControlMessage::ConnectionDown(self.id));
        }
    }

    /// Counts and logs the end of an open connection if the peer is to blame.
    fn complain(&self, ended: &Ended) {
        if let (Some(handle), Ended::Protocol(reason)) = (&self.handle, ended) {
            // The condition: what follows may be any number of things.
            let kind = reason.split(": ").next().unwrap_or_default();
            self.shared
                .offended(Offence::Protocol, &handle.facts.host, kind, reason);
        }
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
