//! The rules of the protocol one by one: a single router, and messages as its peers would send them.

mod addresses;
mod forwarding;
mod limits;
mod link_states;
mod links;
mod twins;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::message::{
    self, Body, Change, Descriptor, Hello, LinkStateUpdate, RouterAdvertisement,
};
use super::super::{Config, ControlLink, Output, RouteView, RouterId, Routing, Treatment};
use super::{decode, encode, encode_marked, id};
use crate::core::annotations::Annotations;

const ME: &str = "m";
const FIRST: ControlLink = ControlLink(1);
const SECOND: ControlLink = ControlLink(2);
const THIRD: ControlLink = ControlLink(3);
const HELLO: &str = "amqp:/_local/qdhello";
const FLOOD: &str = "amqp:/_topo/0/all/qdrouter";
const MULTICAST: &str = "_topo/0/all/qdrouter.ma";
const MINE: &str = "amqp:/_topo/0/m/qdrouter";
const MINE_MOBILE: &str = "amqp:/_topo/0/m/qdrouter.ma";

/// A message that was sent: link, address, trace, body.
type Sent = (ControlLink, String, Vec<String>, Body);

struct Bench {
    routing: Routing,
    /// Outputs in turn, by kind: a message for a link, or a new view.
    order: Vec<&'static str>,
    now: Instant,
    /// Everything but messages, shown.
    events: Vec<String>,
    /// Of the last HELLO that was sent; those that `drain` returns have none.
    digest: Option<u32>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(id(ME), 100);
        change(&mut config);
        let now = Instant::now();
        Self {
            routing: Routing::new(config, now),
            order: Vec::new(),
            now,
            events: Vec::new(),
            digest: None,
        }
    }

    fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.order.clear();
        while let Some(output) = self.routing.poll() {
            match &output {
                Output::Send { .. } => self.order.push("message"),
                Output::ViewChanged => self.order.push("view"),
                _ => {}
            }
            match output {
                Output::Send { link, message } => {
                    let (annotations, to, _, mut body) = decode(&message);
                    if let Body::Hello(hello) = &mut body {
                        self.digest = hello.digest.take();
                    }
                    sent.push((link, to, annotations.trace.into_vec(), body));
                }
                Output::ViewChanged => {}
                Output::Log(event) => self.events.push(event.to_string()),
                other => self.events.push(format!("{other:?}")),
            }
        }
        sent
    }

    fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    /// One second and one tick.
    fn tick(&mut self) -> Vec<Sent> {
        self.now += Duration::from_secs(1);
        self.routing.tick(self.now);
        self.drain()
    }

    fn receive(&mut self, link: ControlLink, sender: &str, to: &str, body: &Body) -> Vec<Sent> {
        let octets = encode(sender, to, body);
        self.receive_octets(link, &octets)
    }

    fn receive_from_c(&mut self, link: ControlLink, sender: &str, to: &str, body: &Body) {
        let octets = encode_marked(sender, to, body, None);
        self.receive_octets(link, &octets);
    }

    fn receive_octets(&mut self, link: ControlLink, octets: &Bytes) -> Vec<Sent> {
        self.routing.receive(link, octets, self.now);
        self.drain()
    }

    fn link_up(&mut self, link: ControlLink, cost: u32) -> Vec<Sent> {
        self.routing.link_up(link, cost, self.now);
        self.drain()
    }

    fn hello(&mut self, link: ControlLink, sender: &str) -> Vec<Sent> {
        self.receive(link, sender, HELLO, &hello(7, &[ME]))
    }

    /// A neighbour with its link state, one tick after.
    fn neighbour(&mut self, link: ControlLink, cost: u32, name: &str, others: &[(&str, u32)]) {
        self.link_up(link, cost);
        self.hello(link, name);
        let peers: Vec<_> = others.iter().copied().chain([(ME, cost)]).collect();
        self.receive(link, name, MINE, &lsu(1, &peers));
        self.tick();
    }

    fn view(&mut self) -> std::sync::Arc<RouteView> {
        self.drain();
        self.routing.view()
    }

    fn announcers(&mut self, key: &str) -> Vec<String> {
        let view = self.view();
        view.addresses
            .get(key)
            .map(|found| found.routers.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }
}

fn hello(instance: i64, seen: &[&str]) -> Body {
    Body::Hello(Hello {
        instance,
        seen: seen.iter().map(|text| id(text)).collect(),
        digest: None,
    })
}

fn ra(instance: i64, ls_seq: i64, mobile_seq: i64) -> Body {
    Body::Ra(RouterAdvertisement {
        instance,
        ls_seq,
        mobile_seq,
    })
}

fn lsu(ls_seq: i64, peers: &[(&str, u32)]) -> Body {
    lsu_of(7, ls_seq, peers)
}

fn lsu_of(instance: i64, ls_seq: i64, peers: &[(&str, u32)]) -> Body {
    let peers = peers.iter().map(|(peer, cost)| (id(peer), *cost)).collect();
    Body::Lsu(LinkStateUpdate {
        instance: Some(instance),
        ls_seq,
        mobile_seq: None,
        addresses: None,
        peers,
    })
}

/// The link state of the router under test, which has announced no addresses.
fn my_lsu(ls_seq: i64, peers: &[(&str, u32)]) -> Body {
    Body::Lsu(LinkStateUpdate {
        instance: Some(100),
        ls_seq,
        mobile_seq: Some(0),
        addresses: None,
        peers: peers.iter().map(|(peer, cost)| (id(peer), *cost)).collect(),
    })
}

fn descriptor(key: &str, treatment: Option<Treatment>, mesh: Option<&str>) -> Descriptor {
    Descriptor {
        key: key.into(),
        treatment,
        producers: 0,
        mesh: mesh.map(Into::into),
    }
}

fn exist(mobile_seq: i64, keys: &[&str]) -> Body {
    let exist = keys
        .iter()
        .map(|key| descriptor(key, Some(Treatment::Balanced), None))
        .collect();
    Body::Mau {
        mobile_seq,
        change: Change::Absolute { exist },
    }
}

fn differential(mobile_seq: i64, add: &[&str], del: &[&str]) -> Body {
    let add = add
        .iter()
        .map(|key| descriptor(key, Some(Treatment::Closest), None))
        .collect();
    Body::Mau {
        mobile_seq,
        change: Change::Differential {
            add,
            del: del.iter().map(|key| (*key).into()).collect(),
        },
    }
}

fn bodies(sent: &[Sent]) -> Vec<Body> {
    sent.iter().map(|(_, _, _, body)| body.clone()).collect()
}

/// A message of `origin` with annotations as given, in its second or later hop.
fn travelled(origin: &str, trace: &[&str], to: &str, body: &Body) -> Bytes {
    let octets = encode(origin, to, body);
    let (annotations, rest) = Annotations::split(&octets).unwrap();
    let annotations = Annotations {
        trace: trace[..trace.len() - 1]
            .iter()
            .map(|entry| format!("0/{entry}"))
            .collect(),
        ingress: Some(format!("0/{origin}")),
        ..annotations.unwrap()
    };
    let mut writer = super::super::encode::Writer::default();
    annotations.write_next(&format!("0/{}", trace[trace.len() - 1]), &mut writer);
    writer.raw(&rest);
    writer.finish()
}
