//! What the fuzz targets run. The test `corpus` of the crate runs it as well, over the corpus and random input.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each target uses one of the entry points"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amqp::engine::{
    ClientSasl, Connection, ConnectionConfig, DeliveryKey, Event, LinkId, ServerSasl, SessionId,
};
use amqp::frame::{self, FrameHeader};
use amqp::message::{self, Header, Message, Properties};
use amqp::performative::{
    Attach, Begin, Close, DeliveryTag, Detach, Disposition, End, Flow, Open, Performative, Source,
    Target, Transfer,
};
use amqp::sasl::SaslFrame;
use amqp::{Bytes, BytesMut, Condition, DeliveryState, Role, Value};
use bytes::Buf as _;

/// Decodes `data` as everything that can be decoded; what decodes is encoded and decoded again.
pub fn frames(data: &[u8]) {
    let shared = Bytes::copy_from_slice(data);
    if let Ok((value, len)) = Value::decode_slice(data) {
        assert!(len <= data.len());
        let mut encoded = BytesMut::new();
        value.encode(&mut encoded);
        let again = Value::decode(&mut encoded.freeze()).expect("encoded values decode");
        // Compared as text: floats that are no numbers are not equal.
        assert_eq!(format!("{again:?}"), format!("{value:?}"));
    }
    if let Ok((performative, len)) = Performative::decode_slice(data) {
        assert!(len <= data.len());
        let mut encoded = BytesMut::new();
        performative.encode(&mut encoded);
        let (again, _) =
            Performative::decode_slice(&encoded).expect("encoded performatives decode");
        assert_eq!(format!("{again:?}"), format!("{performative:?}"));
    }
    if let Ok(frame) = SaslFrame::decode(data) {
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(SaslFrame::decode(&encoded), Ok(frame));
    }
    if let Ok(message) = Message::decode(&shared) {
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        let again = Message::decode(&encoded.freeze()).expect("encoded messages decode");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
    let _ = Properties::decode(data);
    let _ = Header::decode(data);
    let _ = FrameHeader::parse(data);
    let section = message::next_section(data);
    if let (Ok(Some(section)), Ok(Some(start))) = (section, message::section_start(data)) {
        assert_eq!(section.len, start.header_len + start.body_len);
        assert!(section.len <= data.len() && section.value_at < section.len);
    }
}

/// Runs an engine. The first octet chooses: `data` is what a peer sends, to a server or a client, or it is a script of
/// frames from the peer and calls of the application.
pub fn engine(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let now = Instant::now();
    let mut driver = match mode % 3 {
        0 => Driver::new(Connection::server(config(), sasl(mode / 3), now), now),
        1 => Driver::new(
            Connection::client(config(), client_sasl(mode / 3), now),
            now,
        ),
        _ => return script(data),
    };
    // In pieces, so that partial frames wait in the input.
    let piece = usize::from(mode / 3).max(1) * 7;
    for octets in data.chunks(piece) {
        driver.feed(octets);
    }
    driver.check();
}

fn script(data: &[u8]) {
    let now = Instant::now();
    let optional = ServerSasl {
        required: false,
        ..ServerSasl::anonymous()
    };
    let mut driver = Driver::new(Connection::server(config(), optional, now), now);
    driver.feed(&frame::ProtocolHeader::Amqp.octets());
    let open = Open {
        container_id: "peer".into(),
        max_frame_size: 1024,
        ..Open::default()
    };
    driver.feed(&encode_frame(0, &Performative::Open(Box::new(open)), &[]));
    let mut script = Script {
        data,
        channels: Default::default(),
    };
    while !script.data.is_empty() && !driver.engine.is_closed() {
        if script.number(2) == 0 {
            let (channel, performative, payload) = script.frame();
            driver.feed(&encode_frame(channel, &performative, payload));
        } else {
            script.call(&mut driver);
        }
    }
    driver.check();
}

const MAX_LINKS: u32 = 20;
const MAX_SESSIONS: u16 = 4;
const MAX_UNSETTLED: u32 = 8;

fn config() -> ConnectionConfig {
    ConnectionConfig {
        open: Open {
            container_id: "fuzzed".into(),
            max_frame_size: 2048,
            channel_max: 10,
            ..Open::default()
        },
        idle_timeout: Some(Duration::from_secs(10)),
        incoming_window: 8,
        max_links: MAX_LINKS,
        max_sessions: MAX_SESSIONS,
        max_unsettled: MAX_UNSETTLED,
        ..ConnectionConfig::default()
    }
}

fn sasl(variant: u8) -> ServerSasl {
    ServerSasl {
        mechanisms: vec![
            amqp::sasl::ANONYMOUS,
            amqp::sasl::PLAIN,
            amqp::sasl::EXTERNAL,
        ],
        required: variant.is_multiple_of(2),
        external_identity: variant.is_multiple_of(3).then(|| "peer".to_owned()),
        plain: Some(Box::new(|user, password| user == password)),
    }
}

fn client_sasl(variant: u8) -> ClientSasl {
    match variant % 4 {
        0 => ClientSasl::None,
        1 => ClientSasl::External,
        2 => ClientSasl::Plain {
            user: "user".into(),
            password: "password".into(),
        },
        _ => ClientSasl::Auto {
            external_available: true,
            plain: None,
        },
    }
}

/// An engine and an application that takes what comes.
struct Driver {
    engine: Connection,
    now: Instant,
    input: BytesMut,
    /// What the engine sent, without protocol headers and SASL frames.
    sent: Vec<u8>,
    links: Vec<LinkId>,
    deliveries: Vec<DeliveryKey>,
}

impl Driver {
    fn new(engine: Connection, now: Instant) -> Self {
        Self {
            engine,
            now,
            input: BytesMut::new(),
            sent: Vec::new(),
            links: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        loop {
            let before = self.input.len();
            if self.engine.receive(&mut self.input, self.now).is_err() {
                assert!(self.engine.is_closed() && self.input.is_empty());
            }
            while let Some(event) = self.engine.poll_event() {
                self.handle(event);
            }
            self.drain();
            if self.input.len() == before || self.input.is_empty() {
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Opened => self.engine.open(None),
            Event::Attached {
                link,
                attach,
                remote_initiated,
            } => {
                if remote_initiated && attach.name.ends_with('7') {
                    self.engine
                        .refuse(link, Some(Condition::new("amqp:not-found", "no")));
                } else if remote_initiated {
                    self.engine.accept(link, *attach);
                    self.engine.grant(link, 3);
                    self.links.push(link);
                }
            }
            Event::Detached { link, .. } => self.engine.detach(link, true, None),
            Event::Transfer {
                link,
                delivery,
                first: true,
                ..
            } => {
                self.engine.add_credit(link, 1);
                self.deliveries.push(delivery);
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        let transmit = self.engine.transmit();
        let octets = transmit.copy_to_bytes(transmit.remaining());
        self.engine.note_transmitted(self.now);
        self.sent.extend_from_slice(&octets);
    }

    /// Everything that was sent is well-formed, and no more is kept than allowed.
    fn check(mut self) {
        self.drain();
        let mut rest = &self.sent[..];
        while !rest.is_empty() {
            if rest.starts_with(b"AMQP") {
                rest = &rest[8..];
                continue;
            }
            let header = FrameHeader::parse(rest).expect("a frame header was sent");
            let (frame, tail) = rest.split_at(header.size as usize);
            rest = tail;
            let body = &frame[header.body_at..];
            if header.kind == frame::TYPE_SASL {
                SaslFrame::decode(body).expect("a SASL frame was sent");
            } else if !body.is_empty() {
                Performative::decode_slice(body).expect("a performative was sent");
            }
        }
        let load = self.engine.load();
        assert!(load.links <= MAX_LINKS as usize, "{load:?}");
        assert!(load.sessions <= usize::from(MAX_SESSIONS) + 1, "{load:?}");
        // Unsettled ones of each session and direction, one incomplete per link.
        let most = usize::from(MAX_SESSIONS) * 2 * MAX_UNSETTLED as usize + MAX_LINKS as usize;
        assert!(load.deliveries <= most, "{load:?}");
    }
}

/// Octets read as choices, and what the peer they play should know to mostly keep to the protocol.
struct Script<'a> {
    data: &'a [u8],
    channels: [Channel; 2],
}

#[derive(Clone, Copy, Default)]
struct Channel {
    begun: bool,
    next_delivery_id: u32,
    handles: [Handle; 3],
}

#[derive(Clone, Copy, Default)]
struct Handle {
    attached: bool,
    /// The peer sends on it.
    sends: bool,
    current: Option<u32>,
}

impl Script<'_> {
    fn octet(&mut self) -> u8 {
        match self.data.split_first() {
            Some((octet, rest)) => {
                self.data = rest;
                *octet
            }
            None => 0,
        }
    }

    fn number(&mut self, bound: u32) -> u32 {
        u32::from(self.octet()) % bound
    }

    fn chance(&mut self) -> bool {
        self.octet() & 1 == 1
    }

    fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance().then(|| value(self))
    }

    /// Some octets of a body. What they are does not matter to the engine, so they use none of the script up.
    fn octets(&mut self, most: usize) -> &'static [u8] {
        static BODY: [u8; 1024] = [0x42; 1024];
        &BODY[..(usize::from(self.octet()) * 4).min(most)]
    }

    /// Rarely, to break the protocol.
    fn wild(&mut self) -> bool {
        self.octet() >= 0xfc
    }

    /// A small number mostly, sometimes one at the other end.
    fn id(&mut self) -> u32 {
        match self.octet() {
            0xff => u32::MAX,
            0xfe => 0x7fff_ffff,
            octet => u32::from(octet % 16),
        }
    }

    /// A frame of the peer: its channel, performative and payload.
    fn frame(&mut self) -> (u16, Performative, &'static [u8]) {
        if self.wild() {
            let channel = u16::from(self.octet() % 5);
            let kind = self.octet();
            return (channel, self.wild_performative(kind), self.octets(600));
        }
        let number = self.number(2) as usize;
        let channel = u16::try_from(number).expect("one of two");
        if !self.channels[number].begun {
            self.channels[number] = Channel {
                begun: true,
                ..Channel::default()
            };
            let begin = Begin {
                incoming_window: self.id(),
                handle_max: 7,
                ..Begin::default()
            };
            return (channel, Performative::Begin(Box::new(begin)), &[]);
        }
        let handle = self.number(3);
        let state = self.channels[number].handles[handle as usize];
        if !state.attached {
            let attach = Attach {
                handle,
                ..self.attach()
            };
            let sends = attach.role == Role::Sender;
            self.channels[number].handles[handle as usize] = Handle {
                attached: true,
                sends,
                current: None,
            };
            return (channel, Performative::Attach(Box::new(attach)), &[]);
        }
        match self.octet() {
            0 => {
                self.channels[number].begun = false;
                (channel, Performative::End(End::default()), &[])
            }
            1..=6 => {
                self.channels[number].handles[handle as usize].attached = false;
                let detach = Detach {
                    handle,
                    closed: self.chance(),
                    error: None,
                };
                (channel, Performative::Detach(detach), &[])
            }
            7..=90 => (channel, self.flow(handle), &[]),
            91..=150 => (channel, self.disposition(), &[]),
            _ if state.sends => {
                let transfer = self.transfer(number, handle);
                (channel, Performative::Transfer(transfer), self.octets(600))
            }
            _ => (channel, self.flow(handle), &[]),
        }
    }

    fn transfer(&mut self, channel: usize, handle: u32) -> Transfer {
        let more = self.chance();
        let aborted = self.octet() >= 0xe8;
        let state = &mut self.channels[channel];
        let id = state.handles[handle as usize].current.unwrap_or_else(|| {
            state.next_delivery_id += 1;
            state.next_delivery_id - 1
        });
        state.handles[handle as usize].current = (more && !aborted).then_some(id);
        Transfer {
            handle,
            delivery_id: Some(id),
            delivery_tag: DeliveryTag::new(b"t"),
            settled: self.option(Self::chance),
            more,
            aborted,
            ..Transfer::default()
        }
    }

    fn flow(&mut self, handle: u32) -> Performative {
        Performative::Flow(Box::new(Flow {
            next_incoming_id: self.option(Self::id),
            incoming_window: self.id(),
            next_outgoing_id: self.id(),
            handle: self.option(|_| handle),
            delivery_count: self.option(Self::id),
            link_credit: self.option(Self::id),
            drain: self.chance(),
            echo: self.chance(),
            ..Flow::default()
        }))
    }

    fn disposition(&mut self) -> Performative {
        Performative::Disposition(Disposition {
            role: if self.chance() {
                Role::Receiver
            } else {
                Role::Sender
            },
            first: self.id(),
            last: self.option(Self::id),
            settled: self.chance(),
            state: self.option(Self::state),
            batchable: false,
        })
    }

    fn wild_performative(&mut self, kind: u8) -> Performative {
        let handle = self.number(5);
        match kind % 9 {
            0 => Performative::Open(Box::new(Open {
                container_id: "again".into(),
                ..Open::default()
            })),
            1 => Performative::Begin(Box::new(Begin {
                remote_channel: self.option(|script| u16::from(script.octet() % 5)),
                next_outgoing_id: self.id(),
                incoming_window: self.id(),
                handle_max: self.id(),
                ..Begin::default()
            })),
            2 => Performative::Attach(Box::new(self.attach())),
            3 => self.flow(handle),
            4 => Performative::Transfer(Transfer {
                handle,
                delivery_id: self.option(Self::id),
                more: self.chance(),
                aborted: self.chance(),
                ..Transfer::default()
            }),
            5 => self.disposition(),
            6 => Performative::Detach(Detach {
                handle,
                closed: self.chance(),
                error: None,
            }),
            7 => Performative::End(End::default()),
            _ => Performative::Close(Close::default()),
        }
    }

    fn attach(&mut self) -> Attach {
        Attach {
            name: format!("n{}", self.octet()),
            handle: self.number(4),
            role: if self.chance() {
                Role::Receiver
            } else {
                Role::Sender
            },
            source: self.option(|_| Source::default()),
            target: self.option(|_| Target::default()),
            initial_delivery_count: self.option(Self::id),
            ..Attach::default()
        }
    }

    fn state(&mut self) -> DeliveryState {
        match self.octet() % 5 {
            0 => DeliveryState::Received {
                section_number: self.id(),
                section_offset: 0,
            },
            1 => DeliveryState::Rejected(None),
            2 => DeliveryState::Released,
            3 => DeliveryState::Modified {
                delivery_failed: true,
                undeliverable_here: self.chance(),
                annotations: Vec::new(),
            },
            _ => DeliveryState::Accepted,
        }
    }

    fn call(&mut self, driver: &mut Driver) {
        let session = SessionId(self.number(5));
        // One that exists, or none.
        let link = match driver.links.len() {
            0 => LinkId(self.number(6)),
            len => driver.links[self.octet() as usize % len],
        };
        let delivery = match driver.deliveries.len() {
            0 => DeliveryKey(self.number(6)),
            len => driver.deliveries[len - 1 - self.octet() as usize % len.min(6)],
        };
        let engine = &mut driver.engine;
        match self.octet() % 20 {
            0 if self.wild() => {
                engine.begin();
            }
            1 if self.wild() => engine.end(session, None),
            2 => {
                let attach = self.attach();
                driver.links.extend(engine.attach(session, attach));
            }
            3 if self.wild() => engine.detach(link, self.chance(), None),
            4 if self.wild() => engine.refuse(link, None),
            5 => engine.grant(link, self.id()),
            6 => engine.add_credit(link, self.id()),
            7 => engine.drain(link),
            8 => engine.drained(link),
            9 | 10 => driver
                .deliveries
                .extend(engine.start_delivery(link, b"tag", self.chance())),
            11..=13 => {
                let parts = self.number(3);
                let mut body: VecDeque<Bytes> = (0..parts)
                    .map(|_| Bytes::copy_from_slice(self.octets(900)))
                    .collect();
                let (end, budget) = (self.chance(), usize::from(self.octet()) * 20);
                engine.send(delivery, &mut body, end, budget);
            }
            14 => engine.abort(delivery),
            15 => engine.finish_settled(delivery),
            18 => {
                driver.now += Duration::from_millis(u64::from(self.octet()) * 8);
                let _ = engine.handle_timeout(driver.now);
            }
            19 => engine.release_window(session, self.id()),
            _ => {
                let state = self.option(Self::state);
                engine.disposition(delivery, state, self.chance());
            }
        }
        driver.drain();
        driver.feed(&[]);
    }
}

fn encode_frame(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    let mut body = BytesMut::new();
    performative.encode(&mut body);
    body.extend_from_slice(payload);
    let size = u32::try_from(frame::HEADER_LEN + body.len()).expect("small frames");
    let mut octets = size.to_be_bytes().to_vec();
    octets.extend_from_slice(&[2, frame::TYPE_AMQP]);
    octets.extend_from_slice(&channel.to_be_bytes());
    octets.extend_from_slice(&body);
    octets
}
