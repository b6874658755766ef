use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use slab::Slab;

use super::config::{ClientSasl, ConnectionConfig, ServerSasl};
use super::delivery::Delivery;
use super::error::ConnectionError;
use super::event::{DeliveryKey, Event, LinkId, SessionId};
use super::handshake::{Phase, Sasl};
use super::link::Link;
use super::session::Session;
use super::table::NumberMap;
use super::timer::Timer;
use super::transmit::Transmit;
use crate::frame::{self, MIN_MAX_FRAME_SIZE};
use crate::performative::{Close, Condition, Open, Role};
use crate::types::Symbol;

/// How much a connection keeps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    pub sessions: usize,
    pub links: usize,
    /// Incomplete or unsettled, both directions.
    pub deliveries: usize,
}

/// One end of an AMQP connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) config: ConnectionConfig,
    pub(super) phase: Phase,
    pub(super) sasl: Sasl,
    pub(super) mechanism: Option<Symbol>,
    pub(super) identity: Option<String>,

    pub(super) header_sent: bool,
    /// The application called for the Open while the SASL exchange was still on.
    pub(super) open_wanted: bool,
    pub(super) open_sent: bool,
    pub(super) close_sent: bool,
    pub(super) close_received: bool,
    pub(super) remote_open: Option<Box<Open>>,
    /// Octets of the largest frame accepted, and of the largest one sent.
    pub(super) receive_limit: u32,
    pub(super) transmit_limit: u32,

    pub(super) sessions: Slab<Session>,
    /// Session keys by the peer's channel.
    pub(super) channels: NumberMap,
    pub(super) links: Slab<Link>,
    /// Link keys by name, senders and receivers (as seen from here).
    pub(super) senders: HashMap<String, u32>,
    pub(super) receivers: HashMap<String, u32>,
    pub(super) deliveries: Slab<Delivery>,

    pub(super) events: VecDeque<Event>,
    /// Keys that are free once no event names them any more.
    graves: Vec<Grave>,
    /// Keys of what waits for the next transmit poll; see [`flush`](Self::flush).
    pub(super) dirty_sessions: Vec<u32>,
    pub(super) dirty_links: Vec<u32>,
    pub(super) transmit: Transmit,
    /// Frames written before the local Open.
    deferred: BytesMut,
    pub(super) timer: Timer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Grave {
    Session(u32),
    Link(u32),
    Delivery(u32),
}

impl Connection {
    /// With so many events waiting, [`receive`](Self::receive) leaves the rest of the input.
    pub const EVENT_LIMIT: usize = 1024;

    const DEFAULT_TRANSMIT_LIMIT: u32 = 1 << 20;

    /// The end that opened the transport. Its first octets are queued at once.
    #[must_use]
    pub fn client(config: ConnectionConfig, sasl: ClientSasl, now: Instant) -> Self {
        let mut connection = Self::new(config, Phase::SaslHeader, Sasl::Client(sasl), now);
        connection.start_client();
        connection
    }

    /// The end that accepted the transport. After [`Event::Opened`] it answers with [`open`](Self::open).
    #[must_use]
    pub fn server(config: ConnectionConfig, sasl: ServerSasl, now: Instant) -> Self {
        Self::new(config, Phase::FirstHeader, Sasl::Server(sasl), now)
    }

    fn new(mut config: ConnectionConfig, phase: Phase, sasl: Sasl, now: Instant) -> Self {
        config.incoming_window = config.incoming_window.max(1);
        let transmit_limit = config
            .transmit_frame_limit
            .unwrap_or(Self::DEFAULT_TRANSMIT_LIMIT);
        Self {
            phase,
            sasl,
            mechanism: None,
            identity: None,
            header_sent: false,
            open_wanted: false,
            open_sent: false,
            close_sent: false,
            close_received: false,
            remote_open: None,
            receive_limit: config.open.max_frame_size.max(MIN_MAX_FRAME_SIZE),
            transmit_limit: transmit_limit.max(MIN_MAX_FRAME_SIZE),
            sessions: Slab::new(),
            channels: NumberMap::default(),
            links: Slab::new(),
            senders: HashMap::new(),
            receivers: HashMap::new(),
            deliveries: Slab::new(),
            events: VecDeque::new(),
            graves: Vec::new(),
            dirty_sessions: Vec::new(),
            dirty_links: Vec::new(),
            transmit: Transmit::default(),
            deferred: BytesMut::new(),
            timer: Timer::new(config.idle_timeout, now),
            config,
        }
    }

    /// Sends the AMQP header and Open: `open`, or the configured one. A client does so by itself.
    ///
    /// What was begun and attached before goes out right after it.
    pub fn open(&mut self, open: Option<Open>) {
        if self.open_sent || self.phase == Phase::Dead {
            return;
        }
        if let Some(open) = open {
            self.receive_limit = open.max_frame_size.max(MIN_MAX_FRAME_SIZE);
            self.config.open = open;
        }
        if self.phase.is_before_amqp() {
            self.open_wanted = true;
            return;
        }
        if self.config.open.idle_time_out.is_none() {
            self.config.open.idle_time_out = self.config.idle_timeout.map(half_in_milliseconds);
        }
        self.write_amqp_header();
        let out = self.transmit.tail();
        let at = frame::start(frame::TYPE_AMQP, 0, out);
        self.config.open.encode(out);
        frame::finish(at, 0, out);
        out.put_slice(&std::mem::take(&mut self.deferred));
        self.open_sent = true;
    }

    /// Replaces the frame size of the peer's Open: peers that know each other may agree on larger frames.
    pub fn set_transmit_frame_size(&mut self, octets: u32) {
        self.transmit_limit = octets.max(MIN_MAX_FRAME_SIZE);
    }

    /// Replaces the frame size of the local Open as the limit for received frames.
    pub fn set_receive_frame_limit(&mut self, octets: u32) {
        self.receive_limit = octets.max(MIN_MAX_FRAME_SIZE);
    }

    /// Sends Close, after Open if that was not sent. Nothing else is sent afterwards. During the SASL exchange the
    /// connection just ends.
    pub fn close(&mut self, error: Option<Condition>) {
        if self.close_sent || self.phase == Phase::Dead {
            return;
        }
        if self.phase.is_before_amqp() {
            // There is no way to say why.
            self.phase = Phase::Dead;
            return;
        }
        self.open(None);
        self.flush();
        self.write_frame(0, |out| Close { error }.encode(out));
        self.close_sent = true;
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.reap();
        }
        event
    }

    /// The octets to send; first completes them with the flows and dispositions that were collected.
    pub fn transmit(&mut self) -> &mut Transmit {
        self.flush();
        &mut self.transmit
    }

    #[must_use]
    pub fn remote_open(&self) -> Option<&Open> {
        self.remote_open.as_deref()
    }

    /// The identity that SASL established.
    #[must_use]
    pub fn authenticated_as(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    #[must_use]
    pub fn sasl_mechanism(&self) -> Option<&Symbol> {
        self.mechanism.as_ref()
    }

    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            sessions: self.sessions.len(),
            links: self.links.len(),
            deliveries: self.deliveries.len(),
        }
    }

    /// Octets of the largest frame that is sent.
    #[must_use]
    pub fn transmit_frame_size(&self) -> u32 {
        self.transmit_limit
    }

    /// Whether nothing more will come or go: both Closes are exchanged, or the connection failed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Dead || self.close_sent && self.close_received
    }

    #[must_use]
    pub fn link_session(&self, link: LinkId) -> SessionId {
        SessionId(
            self.links
                .get(link.0 as usize)
                .map_or(u32::MAX, |link| link.session),
        )
    }

    /// The role of the local end.
    #[must_use]
    pub fn link_role(&self, link: LinkId) -> Role {
        self.links
            .get(link.0 as usize)
            .map_or(Role::Sender, |link| link.role)
    }

    #[must_use]
    pub fn link_name(&self, link: LinkId) -> &str {
        self.links
            .get(link.0 as usize)
            .map_or("", |link| &link.name)
    }

    /// Whether the last frame of the delivery was sent or received; also true of deliveries that are gone.
    #[must_use]
    pub fn is_complete(&self, delivery: DeliveryKey) -> bool {
        self.deliveries
            .get(delivery.0 as usize)
            .is_none_or(|delivery| delivery.complete)
    }

    /// The delivery's link, while the delivery exists.
    #[must_use]
    pub fn delivery_link(&self, delivery: DeliveryKey) -> Option<LinkId> {
        self.deliveries
            .get(delivery.0 as usize)
            .map(|delivery| LinkId(delivery.link))
    }

    /// Ends the connection for `error`, telling the peer what it can understand.
    pub(super) fn fail(&mut self, error: &ConnectionError) {
        if let ConnectionError::Protocol(condition) = error
            && matches!(self.phase, Phase::AmqpHeader | Phase::Frames)
        {
            self.close(Some(condition.clone()));
        }
        self.phase = Phase::Dead;
    }

    /// Writes a frame without payload, or keeps it until the local Open is sent.
    pub(super) fn write_frame(&mut self, channel: u16, encode: impl FnOnce(&mut BytesMut)) {
        if self.close_sent {
            return;
        }
        let out = if self.open_sent {
            self.transmit.tail()
        } else {
            &mut self.deferred
        };
        let at = frame::start(frame::TYPE_AMQP, channel, out);
        encode(out);
        frame::finish(at, 0, out);
    }

    /// Octets that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        bytes::Buf::remaining(&self.transmit) + self.deferred.len()
    }

    /// Marks a key free, now or when no event can name it any more.
    pub(super) fn bury(&mut self, grave: Grave) {
        if self.events.is_empty() {
            self.remove(grave);
        } else {
            self.graves.push(grave);
        }
    }

    /// As [`bury`](Self::bury), also when the event that names the key is still to be queued.
    pub(super) fn bury_later(&mut self, grave: Grave) {
        self.graves.push(grave);
    }

    /// Frees buried keys; no event is queued.
    pub(super) fn reap(&mut self) {
        debug_assert!(self.events.is_empty());
        while let Some(grave) = self.graves.pop() {
            self.remove(grave);
        }
    }

    fn remove(&mut self, grave: Grave) {
        match grave {
            Grave::Session(key) => drop(self.sessions.try_remove(key as usize)),
            Grave::Link(key) => drop(self.links.try_remove(key as usize)),
            Grave::Delivery(key) => drop(self.deliveries.try_remove(key as usize)),
        }
    }
}

fn half_in_milliseconds(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_millis() / 2).unwrap_or(u32::MAX)
}

/// Slab indices as the 32-bit keys of the public identifiers: limits keep every slab far smaller.
pub(super) fn key(index: usize) -> u32 {
    u32::try_from(index).expect("slabs hold fewer than 2^32 entries")
}
