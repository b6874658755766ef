//! What the tests share: recorded frames, and two engines joined by octet pipes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amqp::engine::{ClientSasl, Connection, ConnectionConfig, ConnectionError, Event, ServerSasl};
use amqp::performative::{Attach, Open, Role, Source, Target};
use amqp::{Bytes, BytesMut};
use bytes::Buf as _;

/// A recorded frame or protocol header.
pub struct Recorded {
    pub sender: String,
    /// The end of the payload is missing.
    pub cut: bool,
    pub octets: Vec<u8>,
}

pub fn fixtures() -> Vec<(String, Vec<Recorded>)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (
                name,
                text.lines()
                    .filter(|line| !line.starts_with('#'))
                    .map(recorded)
                    .collect(),
            )
        })
        .collect()
}

pub fn fixture(name: &str) -> Vec<Recorded> {
    fixtures()
        .into_iter()
        .find(|(fixture, _)| fixture == name)
        .unwrap()
        .1
}

fn recorded(line: &str) -> Recorded {
    let fields: Vec<&str> = line.split(' ').collect();
    let [sender, completeness, hex] = fields[..] else {
        panic!("malformed fixture line {line}")
    };
    Recorded {
        sender: sender.to_owned(),
        cut: completeness == "cut",
        octets: unhex(hex),
    }
}

pub fn unhex(hex: &str) -> Vec<u8> {
    let hex: Vec<u8> = hex
        .bytes()
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    assert!(hex.len().is_multiple_of(2));
    hex.chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Deterministic numbers for fragmentation.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// One engine and the octets that travel to it.
pub struct End {
    pub engine: Connection,
    pub input: BytesMut,
    pub events: VecDeque<Event>,
    pub error: Option<ConnectionError>,
    /// Everything it ever sent.
    pub sent: Vec<u8>,
    /// How many octets are moved from it at a time; `None`: all.
    pub chunk: Option<usize>,
    on_the_way: VecDeque<u8>,
}

impl End {
    pub fn new(engine: Connection) -> Self {
        Self {
            engine,
            input: BytesMut::new(),
            events: VecDeque::new(),
            error: None,
            sent: Vec::new(),
            chunk: None,
            on_the_way: VecDeque::new(),
        }
    }

    /// Takes what the engine has to send.
    pub fn drain(&mut self, now: Instant) -> Vec<u8> {
        let transmit = self.engine.transmit();
        let octets = transmit.copy_to_bytes(transmit.remaining()).to_vec();
        if !octets.is_empty() {
            self.engine.note_transmitted(now);
            self.sent.extend_from_slice(&octets);
        }
        octets
    }

    pub fn feed(&mut self, octets: &[u8], now: Instant) {
        self.input.extend_from_slice(octets);
        loop {
            let before = self.input.len();
            if let Err(error) = self.engine.receive(&mut self.input, now) {
                assert!(self.error.is_none(), "a failed engine fails once");
                self.error = Some(error);
            }
            while let Some(event) = self.engine.poll_event() {
                self.events.push_back(event);
            }
            if self.input.len() == before || self.input.is_empty() {
                break;
            }
        }
    }

    pub fn event(&mut self) -> Event {
        self.events.pop_front().expect("an event")
    }

    pub fn no_events(&self) {
        assert!(self.events.is_empty(), "unexpected {:?}", self.events);
    }
}

pub struct Pair {
    pub client: End,
    pub server: End,
    pub now: Instant,
    lcg: Lcg,
    /// Octets are moved in random pieces up to this size; 0: all at once.
    pub fragment: usize,
}

pub fn config(name: &str) -> ConnectionConfig {
    let mut config = ConnectionConfig::default();
    config.open.container_id = name.to_owned();
    config
}

impl Pair {
    pub fn new(client: ConnectionConfig, server: ConnectionConfig) -> Self {
        Self::with_sasl(
            client,
            server,
            ClientSasl::Anonymous {
                trace: "test".into(),
            },
            ServerSasl::anonymous(),
        )
    }

    pub fn with_sasl(
        client: ConnectionConfig,
        server: ConnectionConfig,
        client_sasl: ClientSasl,
        server_sasl: ServerSasl,
    ) -> Self {
        let now = Instant::now();
        Self {
            client: End::new(Connection::client(client, client_sasl, now)),
            server: End::new(Connection::server(server, server_sasl, now)),
            now,
            lcg: Lcg(1),
            fragment: 0,
        }
    }

    /// Two connections with both Opens exchanged, and their events taken.
    pub fn opened(client: ConnectionConfig, server: ConnectionConfig) -> Self {
        let mut pair = Self::new(client, server);
        pair.establish();
        pair
    }

    pub fn establish(&mut self) {
        self.pump();
        assert!(
            self.server.events.contains(&Event::Opened),
            "{:?} {:?}",
            self.server.error,
            self.client.error
        );
        self.server.engine.open(None);
        self.pump();
        assert!(
            self.client.events.contains(&Event::Opened),
            "{:?}",
            self.client.error
        );
        self.client.events.clear();
        self.server.events.clear();
    }

    /// Moves octets both ways until none are left.
    pub fn pump(&mut self) {
        loop {
            let now = self.now;
            let from_client = self.client.drain(now);
            let from_server = self.server.drain(now);
            self.client.on_the_way.extend(from_client);
            self.server.on_the_way.extend(from_server);
            if self.client.on_the_way.is_empty() && self.server.on_the_way.is_empty() {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let limit = self.fragment;
        let mut piece = |way: &mut VecDeque<u8>| -> Vec<u8> {
            let len = if limit == 0 {
                way.len()
            } else {
                (1 + self.lcg.below(limit)).min(way.len())
            };
            way.drain(..len).collect()
        };
        let to_server = piece(&mut self.client.on_the_way);
        let to_client = piece(&mut self.server.on_the_way);
        if !to_server.is_empty() {
            self.server.feed(&to_server, now);
        }
        if !to_client.is_empty() {
            self.client.feed(&to_client, now);
        }
    }

    /// Lets time pass up to `duration`, firing the timers of both ends when due.
    pub fn sleep(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let next = [&self.client, &self.server]
                .into_iter()
                .filter_map(|end| end.engine.next_timeout())
                .min()
                .filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            for end in [&mut self.client, &mut self.server] {
                if end.engine.next_timeout().is_some_and(|due| due <= self.now)
                    && let Err(error) = end.engine.handle_timeout(self.now)
                {
                    end.error = Some(error);
                }
            }
            self.pump();
        }
        self.now = until;
    }
}

pub fn sender(name: &str) -> Attach {
    Attach {
        name: name.to_owned(),
        role: Role::Sender,
        source: Some(Source::default()),
        target: Some(Target {
            address: Some("queue".to_owned()),
            ..Target::default()
        }),
        ..Attach::default()
    }
}

pub fn receiver(name: &str) -> Attach {
    Attach {
        name: name.to_owned(),
        role: Role::Receiver,
        source: Some(Source {
            address: Some("queue".to_owned()),
            ..Source::default()
        }),
        target: Some(Target::default()),
        ..Attach::default()
    }
}

pub fn body(parts: &[&[u8]]) -> VecDeque<Bytes> {
    parts
        .iter()
        .map(|part| Bytes::copy_from_slice(part))
        .collect()
}

pub fn open(name: &str) -> Open {
    Open {
        container_id: name.to_owned(),
        ..Open::default()
    }
}
