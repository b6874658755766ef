//! The far end of an AMQP connection in the hands of a test: it sends what the test says, when the test says so.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use amqp::{
    Described, Symbol, Value,
    engine::{
        ClientSasl, Connection, ConnectionConfig, DeliveryKey, Event, LinkId, Sent, SessionId,
    },
    message::{Body, Message, Properties},
    performative::{Attach, Condition, DeliveryState, Open, Role, Source, Target},
};
use bytes::{Buf as _, Bytes, BytesMut};
use router::core::annotations::Annotations;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::wait::{SOON, within};

/// A message of so many octets, with these flags in its router annotations.
pub fn message(address: &str, flags: u32, len: usize) -> Bytes {
    let mut octets = BytesMut::new();
    Annotations {
        flags,
        ..Annotations::default()
    }
    .encode(&mut octets);
    Message {
        properties: Properties {
            to: Some(address.to_owned()),
            ..Properties::default()
        },
        body: Body::Data(vec![Bytes::from(vec![7; len])]),
        ..Message::default()
    }
    .encode(&mut octets);
    octets.freeze()
}

/// A connection without any mark of this implementation: the router takes it for one to an edge router of another.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    engine: Connection,
    input: BytesMut,
    session: SessionId,
    links: u32,
    received: usize,
}

impl Peer {
    /// Connects to a listener of the role `edge`.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(port: u16) -> Self {
        Self::named(port, "peer").await
    }

    /// As [`Self::connect`], with a name: what an edge router sends does not come back to it.
    ///
    /// # Panics
    /// When that fails.
    pub async fn named(port: u16, container: &str) -> Self {
        Self::with(port, container, ConnectionConfig::default()).await
    }

    /// As [`Self::named`]; the router may send it so many frames at a time, see [`Self::release`].
    ///
    /// # Panics
    /// When that fails.
    pub async fn slow(port: u16, container: &str, frames: u32) -> Self {
        let config = ConnectionConfig {
            incoming_window: frames,
            auto_window: false,
            ..ConnectionConfig::default()
        };
        Self::with(port, container, config).await
    }

    /// As [`Self::named`], as the main connection of a group to a listener of the role `inter-router`.
    ///
    /// # Panics
    /// As [`Self::named`].
    pub async fn main_of(port: u16, container: &str, group: &str, ordinal: u64) -> Self {
        let symbol = |name: &'static str| Value::Symbol(Symbol::from_static(name));
        let properties = vec![
            (symbol("qd.group-correlator"), Value::from(group)),
            (symbol("qd.group-ordinal"), Value::Ulong(ordinal)),
        ];
        let open = Open {
            properties,
            ..Open::default()
        };
        let config = ConnectionConfig {
            open,
            ..ConnectionConfig::default()
        };
        Self::with(port, container, config).await
    }

    async fn with(port: u16, container: &str, config: ConnectionConfig) -> Self {
        let config = ConnectionConfig {
            open: Open {
                container_id: container.to_owned(),
                max_frame_size: 16_384,
                channel_max: 100,
                ..config.open
            },
            ..config
        };
        let sasl = ClientSasl::Anonymous {
            trace: String::new(),
        };
        let mut peer = Self {
            stream: crate::tcp::connect(port).await,
            engine: Connection::client(config, sasl, Instant::now()),
            input: BytesMut::new(),
            session: SessionId(0),
            links: 0,
            received: 0,
        };
        peer.until(|event| matches!(event, Event::Opened)).await;
        peer.session = peer.engine.begin();
        peer
    }

    /// Becomes a consumer of an address.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn consume(&mut self, address: &str) -> LinkId {
        let source = Source {
            address: Some(address.to_owned()),
            ..Source::default()
        };
        let link = self.attach(Role::Receiver, source).await;
        self.engine.grant(link, 100);
        self.flush().await;
        link
    }

    /// A link to send on, to whatever address the messages name.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn produce(&mut self) -> LinkId {
        let link = self.attach(Role::Sender, Source::default()).await;
        while self.engine.credit(link) == 0 {
            self.event().await;
        }
        link
    }

    /// A link to send to one address on.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn attach_to(&mut self, address: &str) -> LinkId {
        self.links += 1;
        let attach = Attach {
            name: format!("link-{}", self.links),
            role: Role::Sender,
            source: Some(Source::default()),
            target: Some(Target {
                address: Some(address.to_owned()),
                ..Target::default()
            }),
            initial_delivery_count: Some(0),
            ..Attach::default()
        };
        let link = self
            .engine
            .attach(self.session, attach)
            .expect("the session is open");
        while self.engine.credit(link) == 0 {
            self.event().await;
        }
        link
    }

    /// The next state that the router tells of a message, and whether it settles it.
    ///
    /// # Panics
    /// As [`Self::event`].
    pub async fn disposition(&mut self) -> (Option<DeliveryState>, bool) {
        loop {
            if let Event::Disposition { state, settled, .. } = self.event().await {
                return (state, settled);
            }
        }
    }

    /// Becomes a consumer of many addresses, which gives no credit.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn want(&mut self, addresses: impl Iterator<Item = String>) {
        let mut asked = 0_usize;
        for address in addresses {
            let source = Source {
                address: Some(address),
                ..Source::default()
            };
            self.begin_attach(Role::Receiver, source);
            asked += 1;
            self.flush().await;
        }
        while asked > 0 {
            if let Event::Attached { .. } = self.event().await {
                asked -= 1;
            }
        }
    }

    /// Links that are attached from now on have another session.
    pub fn begin(&mut self) {
        self.session = self.engine.begin();
    }

    /// Asks for a link on which the router sends from this source.
    ///
    /// # Errors
    /// The reason of a refusal.
    ///
    /// # Panics
    /// When it is not answered.
    pub async fn receive_from(&mut self, source: Source) -> Result<LinkId, Condition> {
        let link = self.begin_attach(Role::Receiver, source);
        loop {
            match self.event().await {
                Event::Attached {
                    link: other,
                    attach,
                    ..
                } if other == link && attach.source.is_some() => return Ok(link),
                Event::Detached {
                    link: other, error, ..
                } if other == link => {
                    self.engine.detach(link, true, None);
                    return Err(error.expect("a refusal has a reason"));
                }
                _ => {}
            }
        }
    }

    async fn attach(&mut self, role: Role, source: Source) -> LinkId {
        let link = self.begin_attach(role, source);
        self.until(|event| matches!(event, Event::Attached { link: other, .. } if *other == link))
            .await;
        link
    }

    fn begin_attach(&mut self, role: Role, source: Source) -> LinkId {
        self.links += 1;
        let attach = Attach {
            name: format!("link-{}", self.links),
            role,
            source: Some(source),
            target: Some(Target::default()),
            initial_delivery_count: Some(0),
            ..Attach::default()
        };
        self.engine
            .attach(self.session, attach)
            .expect("the session is open")
    }

    /// Begins a message; what is sent of it is on its way at once.
    ///
    /// # Panics
    /// When nothing can be sent on the link.
    pub fn start(&mut self, link: LinkId) -> DeliveryKey {
        self.links += 1;
        self.engine
            .start_delivery(link, &self.links.to_be_bytes(), false)
            .expect("there is credit")
    }

    /// Sends the next octets of a message, and its end if `end`.
    ///
    /// # Panics
    /// When the router does not take them.
    pub async fn send(&mut self, delivery: DeliveryKey, octets: Bytes, end: bool) {
        let mut body = VecDeque::from([octets]);
        loop {
            let sent = self.engine.send(delivery, &mut body, end, usize::MAX);
            self.flush().await;
            if sent == Sent::All {
                return;
            }
            self.event().await;
        }
    }

    /// Sends of a message what the window of its session allows, until that stays closed for a second; whether that was
    /// all.
    ///
    /// # Panics
    /// When the connection breaks.
    pub async fn try_send(&mut self, delivery: DeliveryKey, octets: Bytes) -> bool {
        let mut body = VecDeque::from([octets]);
        loop {
            let sent = self.engine.send(delivery, &mut body, false, usize::MAX);
            self.flush().await;
            if sent == Sent::All {
                return true;
            }
            let opened = self.until(|event| matches!(event, Event::WindowOpened { .. }));
            if tokio::time::timeout(Duration::from_secs(1), opened)
                .await
                .is_err()
            {
                return false;
            }
        }
    }

    /// The next thing that the router does.
    ///
    /// # Panics
    /// When it does nothing in time, or breaks off.
    pub async fn event(&mut self) -> Event {
        within("the router does something", SOON, self.next()).await
    }

    /// What the router does within some time.
    pub async fn events_within(&mut self, time: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let _ = tokio::time::timeout(time, async {
            loop {
                events.push(self.next().await);
            }
        })
        .await;
        events
    }

    /// The first event that is wanted; others before it are passed over.
    ///
    /// # Panics
    /// As [`Self::event`].
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.event().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Lets the router send so many more frames, up to what was said first.
    pub fn release(&mut self, frames: u32) {
        self.engine.release_window(self.session, frames);
    }

    /// Octets that came from the router so far.
    pub fn received(&self) -> usize {
        self.received
    }

    /// The engine, for what has no method here. What it is told is sent with the next call of this.
    pub fn engine(&mut self) -> &mut Connection {
        &mut self.engine
    }

    async fn next(&mut self) -> Event {
        loop {
            self.flush().await;
            if let Some(event) = self.engine.poll_event() {
                return event;
            }
            let count = self
                .stream
                .read_buf(&mut self.input)
                .await
                .expect("the connection works");
            assert!(count > 0, "the router closed the connection");
            self.received += count;
            self.engine
                .receive(&mut self.input, Instant::now())
                .expect("the router keeps to the protocol");
        }
    }

    async fn flush(&mut self) {
        loop {
            let transmit = self.engine.transmit();
            let chunk = transmit.chunk();
            if chunk.is_empty() {
                return;
            }
            let written = self.stream.write(chunk).await.expect("the router reads");
            self.engine.transmit().advance(written);
        }
    }
}

/// What a sender says of a message's state arrives at its receiver, with the message and later: from a client of one
/// router to one of another.
///
/// # Panics
/// When it does not.
pub async fn states_pass(from: u16, to: u16, address: &str) {
    // Those of transactions would do, but 3.5.1 forgets on its way what is in them.
    let numbered = |number: u32| {
        DeliveryState::Other(Value::Described(Box::new(Described {
            descriptor: Value::Ulong(0x468c_0000_0001),
            value: Value::List(vec![Value::Uint(number)]),
        })))
    };
    let mut receiver = Peer::named(to, "receiver").await;
    receiver.consume(address).await;
    let mut sender = Peer::named(from, "sender").await;
    let link = sender.attach_to(address).await;
    let octets = message(address, 0, 60_000);
    for settled in [false, true] {
        let delivery = sender
            .engine
            .start_delivery(link, b"12345678", settled)
            .expect("there is credit");
        let begun = numbered(1);
        sender
            .engine
            .disposition(delivery, Some(begun.clone()), false);
        sender.send(delivery, octets.clone(), true).await;
        // Some repeat it with every frame.
        let mut state = None;
        let arrived = loop {
            if let Event::Transfer {
                delivery,
                state: new,
                more,
                settled: told,
                ..
            } = receiver.event().await
            {
                assert_eq!(told, settled);
                state = new.or(state);
                if !more {
                    break delivery;
                }
            }
        };
        assert_eq!(state, Some(begun), "settled: {settled}");
        if settled {
            continue;
        }
        let outcome = Some(numbered(2));
        receiver.engine.disposition(arrived, outcome.clone(), false);
        receiver.flush().await;
        assert_eq!(sender.disposition().await, (outcome, false));
        let later = Some(numbered(3));
        sender.engine.disposition(delivery, later.clone(), false);
        sender.flush().await;
        assert_eq!(receiver.disposition().await, (later, false));
        sender.engine.disposition(delivery, None, true);
        sender.flush().await;
        assert!(receiver.disposition().await.1, "it is settled");
    }
}
