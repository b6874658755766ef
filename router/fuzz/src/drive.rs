//! What the fuzz targets run. The test `corpus` of the crate runs it as well, over the corpus and random input.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each target uses one of the entry points"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amqp::message::{Body, Header, Message, Properties};
use amqp::{Bytes, BytesMut, Value};
use router::adaptor::tcp::framing::{Decoder, ForwardOpener, Framing, ReverseOpener, StreamHead};
use router::routing::{Config, ControlLink, Output, RouterId, Routing, Treatment};

/// Links of the router under test.
const LINKS: u64 = 4;
/// Routers that it may know.
const ROUTERS: usize = 16;
/// Names that peers use; the first is the router's own.
const NAMES: [&str; 6] = ["r", "a", "b", "c", "d", ""];
const ADDRESSES: [&str; 5] = ["Mq", "Mmc", "Hedge", "", "Ltemp"];
/// Outputs of one call: copies to all links of a few messages, and what is logged of them.
const MOST_OUTPUTS: usize = 4096;

/// Runs the routing protocol: a script of messages from peers, well formed or not, of links that come and go, and of
/// time that passes.
pub fn control(data: &[u8]) {
    let mut script = Script(data);
    let mut now = Instant::now();
    let mut config = Config::new(RouterId::from(NAMES[0]), 1000);
    config.max_routers = ROUTERS;
    let mut routing = Routing::new(config, now);
    for link in 0..LINKS {
        routing.link_up(ControlLink(link), 1 + link as u32, now);
    }
    while !script.0.is_empty() {
        match script.below(10) {
            0 => {
                let message = script.octets();
                routing.receive(script.link(), &message, now);
            }
            1 => routing.link_up(script.link(), script.number() as u32, now),
            2 => routing.link_down(script.link(), now),
            3 => {
                let treatment = Treatment::from_hint(i64::from(script.octet() % 5));
                let address = script.pick(&ADDRESSES);
                routing.announce(address, treatment.unwrap_or(Treatment::Closest), 1);
            }
            4 => routing.withdraw(script.pick(&ADDRESSES)),
            5 | 6 => {
                now += Duration::from_millis(100 * u64::from(script.octet()));
                routing.tick(now);
            }
            _ => {
                let message = script.message();
                routing.receive(script.link(), &message, now);
            }
        }
        let mut outputs = 0;
        while let Some(output) = routing.poll() {
            outputs += 1;
            assert!(outputs < MOST_OUTPUTS, "one call causes no flood");
            if let Output::Send { message, .. } = output {
                Message::decode(&message).expect("what is sent is a message");
            }
        }
        let view = routing.view();
        assert!(view.routers.len() < ROUTERS, "routers are bounded");
        assert!(!view.routers.contains_key(NAMES[0]), "no route to oneself");
        for address in view.addresses.values() {
            assert!(
                address
                    .routers
                    .iter()
                    .all(|id| view.routers.contains_key(id))
            );
        }
    }
}

/// Reads a stream as a connector or listener does, whole and in pieces: both must come to the same.
pub fn streams(data: &[u8]) {
    let mut script = Script(data);
    let mut octets = match script.below(4) {
        0 => BytesMut::new(),
        1 => opener(&mut script, Framing::Legacy),
        2 => opener(&mut script, Framing::Lite),
        _ => answer(&mut script),
    };
    let piece = usize::from(script.octet()).max(1);
    octets.extend_from_slice(script.0);
    let octets = octets.freeze();
    let head = StreamHead::parse(&octets, true);
    for end in (0..octets.len()).step_by(piece) {
        // A part is never understood otherwise than the whole is.
        match (StreamHead::parse(&octets[..end], false), &head) {
            (Ok(Some(early)), Ok(Some(head))) => assert_eq!(&early, head),
            (Ok(Some(_)), _) | (Err(_), Ok(_)) => panic!("the rest of the stream changes its head"),
            _ => {}
        }
    }
    let Ok(Some(head)) = head else {
        return;
    };
    assert!(head.len <= octets.len());
    let body = octets.slice(head.len..);
    let mut whole = VecDeque::new();
    let mut pieces = VecDeque::new();
    let understood = Decoder::new(head.framing).decode(body.clone(), &mut whole);
    let mut decoder = Decoder::new(head.framing);
    let in_pieces = body
        .chunks(piece)
        .try_for_each(|chunk| decoder.decode(body.slice_ref(chunk), &mut pieces));
    assert_eq!(understood, in_pieces);
    let joined = |parts: &VecDeque<Bytes>| parts.iter().flatten().copied().collect::<Vec<u8>>();
    assert_eq!(joined(&whole), joined(&pieces));
    assert!(joined(&whole).len() <= body.len());
}

fn opener(script: &mut Script<'_>, framing: Framing) -> BytesMut {
    let [to, reply_to, global_id, flow_id] = [(); 4].map(|()| script.text());
    let opener = ForwardOpener {
        to: &to,
        reply_to: &reply_to,
        global_id: &global_id,
        flow_id: &flow_id,
        // Any text will do; one more would change what the kept inputs mean.
        alpn: Some(&global_id),
        own: true,
    };
    let octets = opener.encode(framing);
    let head = StreamHead::parse(&octets, false)
        .expect("an opener is well formed")
        .expect("an opener is complete");
    assert_eq!((head.framing, head.len), (framing, octets.len()));
    assert_eq!(head.flow_id.as_deref(), Some(&*flow_id));
    let usable = (1..=255).contains(&global_id.len());
    assert_eq!(head.alpn, usable.then_some(global_id));
    assert_eq!(head.properties.reply_to, Some(reply_to));
    BytesMut::from(&octets[..])
}

fn answer(script: &mut Script<'_>) -> BytesMut {
    let [to, subject, flow_id] = [(); 3].map(|()| script.text());
    let framing = match script.below(2) {
        0 => Framing::Legacy,
        _ => Framing::Lite,
    };
    let answer = ReverseOpener {
        to: &to,
        subject: Some(&subject),
        flow_id: &flow_id,
        own: true,
    };
    BytesMut::from(&answer.encode(framing)[..])
}

/// Takes decisions out of fuzz input.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl Script<'_> {
    pub(crate) fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn below(&mut self, limit: u8) -> u8 {
        self.octet() % limit
    }

    /// Mostly small, now and then anything.
    pub(crate) fn number(&mut self) -> i64 {
        match self.octet() {
            255 => i64::MAX,
            254 => i64::MIN,
            253 => -1,
            252 => i64::from(u32::MAX),
            small => i64::from(small % 16),
        }
    }

    pub(crate) fn octets(&mut self) -> Bytes {
        let len = usize::from(self.octet()).min(self.0.len());
        let (octets, rest) = self.0.split_at(len);
        self.0 = rest;
        Bytes::copy_from_slice(octets)
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.octets()).into_owned()
    }

    pub(crate) fn pick(&mut self, of: &'static [&'static str]) -> &'static str {
        of[usize::from(self.octet()) % of.len()]
    }

    fn link(&mut self) -> ControlLink {
        // One more than there are.
        ControlLink(u64::from(self.octet()) % (LINKS + 1))
    }

    /// A router by name; one of many now and then.
    fn router(&mut self) -> String {
        match self.octet() {
            many @ 200.. => format!("x{many}"),
            few => NAMES[usize::from(few) % NAMES.len()].to_owned(),
        }
    }

    /// A control message as peers send them; its fields may be anything of their type, or miss.
    fn message(&mut self) -> Bytes {
        let opcode = self.pick(&["HELLO", "RA", "LSR", "LSU", "MAR", "MAU", "OTHER"]);
        let to = match self.below(6) {
            0 => "amqp:/_local/qdhello".to_owned(),
            1 => "amqp:/_topo/0/all/qdrouter".to_owned(),
            2 => "_topo/0/all/qdrouter.ma".to_owned(),
            3 => format!("amqp:/_topo/0/{}/qdrouter", self.router()),
            4 => format!("amqp:/_topo/0/{}/qdrouter.ma", self.router()),
            _ => self.text(),
        };
        let id = self.router();
        let mut body = vec![
            (Value::from("id"), Value::from(id.as_str())),
            (Value::from("pv"), Value::Long(self.version(opcode))),
            (Value::from("area"), Value::from("0")),
        ];
        self.fields(opcode, &id, &mut body);
        if self.octet() == 255 && !body.is_empty() {
            let lost = usize::from(self.octet()) % body.len();
            body.remove(lost);
        }
        let message = Message {
            router_annotations: Some(self.annotations()),
            header: Some(Header::default()),
            properties: Properties {
                to: Some(to),
                ..Properties::default()
            },
            application_properties: vec![(Value::from("opcode"), Value::from(opcode))],
            body: Body::Value(Value::Map(body)),
            ..Message::default()
        };
        let mut octets = BytesMut::new();
        message.encode(&mut octets);
        octets.freeze()
    }

    fn version(&mut self, opcode: &str) -> i64 {
        match self.octet() {
            250.. => self.number(),
            _ if opcode.starts_with("MA") => 2,
            _ => 1,
        }
    }

    fn annotations(&mut self) -> Value {
        let entry = |script: &mut Self| Value::from(format!("0/{}", script.router()).as_str());
        let ingress = match self.below(3) {
            0 => Value::Null,
            _ => entry(self),
        };
        let trace = (0..self.below(4)).map(|_| entry(self)).collect();
        let to_override = match self.octet() {
            250.. => Value::from(self.text().as_str()),
            _ => Value::Null,
        };
        Value::List(vec![
            Value::Uint(0),
            to_override,
            ingress,
            Value::List(trace),
        ])
    }

    fn fields(&mut self, opcode: &str, id: &str, body: &mut Vec<(Value, Value)>) {
        let mut number = |script: &mut Self, name: &str| {
            body.push((Value::from(name), Value::Long(script.number())));
        };
        match opcode {
            "HELLO" => {
                number(self, "instance");
                let seen = (0..self.below(4)).map(|_| Value::from(self.router().as_str()));
                let seen = Value::List(seen.collect());
                body.push((Value::from("seen"), seen));
            }
            "RA" => ["instance", "ls_seq", "mobile_seq"]
                .into_iter()
                .for_each(|name| number(self, name)),
            "LSU" => {
                number(self, "instance");
                number(self, "ls_seq");
                let peers = (0..self.below(5)).map(|_| {
                    let peer = Value::from(self.router().as_str());
                    (peer, Value::Long(self.number()))
                });
                let ls = vec![
                    (Value::from("id"), Value::from(id)),
                    (Value::from("area"), Value::from("0")),
                    (Value::from("peers"), Value::Map(peers.collect())),
                    (Value::from("ls_seq"), Value::Long(self.number())),
                ];
                body.push((Value::from("ls"), Value::Map(ls)));
            }
            "MAR" => number(self, "have_seq"),
            "MAU" => {
                number(self, "mobile_seq");
                let lists: &[&str] = match self.below(3) {
                    0 => &["exist"],
                    1 => &["add", "del"],
                    _ => &["exist", "add"],
                };
                for list in lists {
                    let descriptors = (0..self.below(4)).map(|_| self.descriptor()).collect();
                    body.push((Value::from(*list), Value::List(descriptors)));
                }
            }
            _ => {}
        }
    }

    fn descriptor(&mut self) -> Value {
        let key = Value::from(self.pick(&ADDRESSES));
        let mut fields = vec![key];
        for _ in 0..self.below(5) {
            fields.push(Value::Long(self.number()));
        }
        Value::List(fields)
    }
}
