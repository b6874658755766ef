//! A router that floods and lies.

use super::*;

/// A neighbour that keeps the protocol up to its HELLO, and says what it likes besides.
struct HostileRouter {
    socket: TcpStream,
    routing: Routing,
    input: BytesMut,
    /// Messages that the peer still takes, by its credit.
    credit: u32,
    sent: u32,
}

const LINK: ControlLink = ControlLink(1);

impl HostileRouter {
    async fn new(port: u16) -> Self {
        let mut socket = connect(port).await;
        let control = || vec![Symbol::from_static("qd.router")];
        let sender = Attach {
            name: "control-out".to_owned(),
            handle: 0,
            role: LinkRole::Sender,
            source: Some(Source {
                capabilities: control(),
                ..Source::default()
            }),
            target: Some(Target {
                capabilities: control(),
                ..Target::default()
            }),
            initial_delivery_count: Some(0),
            ..Attach::default()
        };
        let receiver = Attach {
            name: "control-in".to_owned(),
            handle: 1,
            role: LinkRole::Receiver,
            initial_delivery_count: None,
            ..sender.clone()
        };
        let credit = Flow {
            next_incoming_id: Some(0),
            incoming_window: 100_000,
            outgoing_window: 100_000,
            handle: Some(1),
            delivery_count: Some(0),
            link_credit: Some(100_000),
            ..Flow::default()
        };
        let begin = Begin {
            incoming_window: 100_000,
            outgoing_window: 100_000,
            ..Begin::default()
        };
        let hello = [
            Performative::Open(Box::new(open("evil"))),
            Performative::Begin(Box::new(begin)),
            Performative::Attach(Box::new(sender)),
            Performative::Attach(Box::new(receiver)),
            Performative::Flow(Box::new(credit)),
        ]
        .map(|performative| frame(0, &performative))
        .concat();
        let octets = [SASL, ANONYMOUS, AMQP, &hello].concat();
        socket.write_all(&octets).await.unwrap();
        let now = Instant::now();
        let mut routing = Routing::new(Config::new(RouterId::from("evil"), 1), now);
        routing.link_up(LINK, 1, now);
        Self {
            socket,
            routing,
            input: BytesMut::new(),
            credit: 0,
            sent: 0,
        }
    }

    /// Takes part in the protocol for a while.
    async fn take_part(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while let Ok(read) = tokio::time::timeout_at(end, self.turn()).await {
            read.unwrap();
        }
    }

    /// Reads something, or lets a little time pass.
    async fn turn(&mut self) -> std::io::Result<()> {
        let reading = self.socket.read_buf(&mut self.input);
        if let Ok(count) = tokio::time::timeout(Duration::from_millis(200), reading).await
            && count? == 0
        {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.frames();
        self.routing.tick(Instant::now());
        let mut said = Vec::new();
        while let Some(output) = self.routing.poll() {
            if let Output::Send { message, .. } = output {
                said.push(message);
            }
        }
        for message in said {
            self.say(&message).await?;
        }
        Ok(())
    }

    fn frames(&mut self) {
        while self.input.len() >= 8 {
            if self.input.starts_with(b"AMQP") {
                let _ = self.input.split_to(8);
                continue;
            }
            let header = FrameHeader::parse(&self.input).unwrap();
            if self.input.len() < header.size as usize {
                return;
            }
            let mut body = self
                .input
                .split_to(header.size as usize)
                .freeze()
                .slice(header.body_at..);
            if header.kind != 0 || body.is_empty() {
                continue;
            }
            match Performative::decode(&mut body).unwrap() {
                Performative::Flow(flow) if flow.link_credit.is_some() && flow.handle.is_some() => {
                    let limit = flow.delivery_count.unwrap_or(0) + flow.link_credit.unwrap_or(0);
                    self.credit = limit.saturating_sub(self.sent);
                }
                Performative::Transfer(_) => self.routing.receive(LINK, &body, Instant::now()),
                _ => {}
            }
        }
    }

    async fn say(&mut self, message: &[u8]) -> std::io::Result<()> {
        if self.credit == 0 {
            // A flood is thrown away here rather than there.
            return Ok(());
        }
        self.credit -= 1;
        let transfer = Transfer {
            handle: 0,
            delivery_id: Some(self.sent),
            delivery_tag: DeliveryTag::new(&self.sent.to_be_bytes()),
            message_format: Some(0),
            settled: Some(true),
            ..Transfer::default()
        };
        self.sent += 1;
        let mut octets = frame(0, &Performative::Transfer(transfer));
        octets.extend_from_slice(message);
        let size = u32::try_from(octets.len()).unwrap();
        octets[..4].copy_from_slice(&size.to_be_bytes());
        self.socket.write_all(&octets).await
    }

    /// Says something of its own, once the peer takes it.
    async fn force(&mut self, message: &Bytes) {
        let waiting = async {
            while self.credit == 0 {
                self.turn().await.unwrap();
            }
        };
        within("credit for the flood", SOON, waiting).await;
        self.say(message).await.unwrap();
    }
}

/// A control message with any content.
fn control(to: &str, opcode: &str, body: &[(&str, Value)]) -> Bytes {
    let entries = body
        .iter()
        .map(|(key, value)| (Value::from(*key), value.clone()));
    let message = Message {
        properties: Properties {
            to: Some(to.to_owned()),
            ..Properties::default()
        },
        application_properties: vec![(Value::from("opcode"), Value::from(opcode))],
        body: Body::Value(Value::Map(entries.collect())),
        ..Message::default()
    };
    let mut octets = BytesMut::new();
    message.encode(&mut octets);
    octets.freeze()
}

const FLOOD: &str = "amqp:/_topo/0/all/qdrouter";

const MOBILE: &str = "_topo/0/all/qdrouter.ma";

/// A link state of a router, linked to another one at cost 1.
fn link_state(id: &str, instance: i64, sequence: i64, peer: &str) -> Bytes {
    let state = vec![
        (Value::from("id"), Value::from(id)),
        (Value::from("area"), Value::from("0")),
        (Value::from("ls_seq"), Value::Long(sequence)),
        (
            Value::from("peers"),
            Value::Map(vec![(Value::from(peer), Value::Int(1))]),
        ),
    ];
    control(
        FLOOD,
        "LSU",
        &[
            ("id", Value::from(id)),
            ("pv", Value::Int(1)),
            ("area", Value::from("0")),
            ("instance", Value::Long(instance)),
            ("ls_seq", Value::Long(sequence)),
            ("ls", Value::Map(state)),
        ],
    )
}

fn addresses(id: &str, sequence: i64, keys: impl Iterator<Item = String>) -> Bytes {
    let list = keys.map(|key| Value::List(vec![Value::from(key), Value::Int(3), Value::Int(0)]));
    control(
        MOBILE,
        "MAU",
        &[
            ("id", Value::from(id)),
            ("pv", Value::Int(2)),
            ("area", Value::from("0")),
            ("mobile_seq", Value::Long(sequence)),
            ("exist", Value::List(list.collect())),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_that_floods_and_lies_is_survived() {
    let mut target = Attacked::new().await;
    let memory = target.attacked().resident_memory();
    let mut evil = HostileRouter::new(target.routers).await;
    evil.take_part(Duration::from_secs(3)).await;
    target.attacked().until_nodes(&["r0", "evil"]).await;

    // Routers that do not exist, more than there may be, some with names that are no names.
    for number in 0..3000 {
        let id = match number % 10 {
            0 => format!("{}-{number}", "x".repeat(900)),
            _ => format!("nobody-{number}"),
        };
        evil.force(&link_state(&id, 1, 1, "evil")).await;
    }
    // Addresses by the thousand, of classes that are not announced, of nothing at all, in the name of others.
    for sequence in 1..=10 {
        let keys = (0..300).map(|number| format!("Mflood-{sequence}-{number}"));
        evil.force(&addresses("evil", sequence, keys)).await;
    }
    let odd = ["", "M", "Rr0", "Lnobody", "T0/r0/x", "\u{1F980}", "Hx"];
    evil.force(&addresses("evil", 11, odd.into_iter().map(str::to_owned)))
        .await;
    evil.force(&addresses("r0", 1 << 40, ["Mother".to_owned()].into_iter()))
        .await;
    evil.force(&addresses("r1", 1 << 40, ["Mother".to_owned()].into_iter()))
        .await;
    // Others' link states, with sequence numbers that they will not reach.
    for (id, peer) in [("r0", "evil"), ("r1", "evil"), ("evil", "evil")] {
        evil.force(&link_state(id, i64::MAX, i64::MAX, peer)).await;
        evil.force(&link_state(id, 1, -1, peer)).await;
    }
    for opcode in ["LSU", "MAU", "RA", "HELLO", "MAR", "LSR", "", "X"] {
        evil.force(&control(FLOOD, opcode, &[])).await;
        evil.force(&control(
            "amqp:/_topo/0/r0/qdrouter",
            opcode,
            &[("id", Value::from("evil"))],
        ))
        .await;
    }
    evil.force(&Bytes::from_static(b"\xff\x00\x53")).await;
    evil.take_part(Duration::from_secs(1)).await;
    // No message of routers beyond the limit had an effect, and none of the malformed ones.
    let refused = "skupper_routing_messages_refused_total";
    eventually("what was refused is counted", async || {
        match target.metric(refused).await {
            2000.. => Ok(()),
            few => Err(few.to_string()),
        }
    })
    .await;
    for reason in ["malformed control message", "routers already"] {
        let warnings = target.warnings(reason);
        assert!((1..=2).contains(&warnings), "{warnings} of {reason}");
    }
    // Both still answer, and the flow between them has not noticed.
    for router in &target.mesh.routers {
        router.rows("router").await.unwrap();
    }
    goes_on(&mut target.flow).await;
    let grown = target.attacked().resident_memory().saturating_sub(memory);
    assert!(grown < 100_000_000, "{grown} octets more");
    // Once it is gone, so is what it said.
    drop(evil);
    target.unharmed().await;
    for router in &target.mesh.routers {
        router
            .until("the flood is forgotten", "router.address", |found| {
                !found
                    .iter()
                    .any(|row| rows::text(row, "name").contains("flood-"))
            })
            .await;
    }
}
