//! Two engines under random calls, with octets moved in random pieces: whatever happens, neither fails, and every
//! delivery that is finished arrives whole and is settled once.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use amqp::engine::{
    ClientSasl, Connection, DeliveryKey, Event, LinkId, Load, Sent, ServerSasl, SessionId,
};
use amqp::{Bytes, BytesMut, DeliveryState};
use bytes::Buf as _;
use common::{config, sender};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Call {
    Begin,
    Attach {
        session: usize,
    },
    Start {
        link: usize,
        settled: bool,
    },
    Send {
        delivery: usize,
        len: usize,
        end: bool,
        budget: usize,
    },
    Abort {
        delivery: usize,
    },
    FinishSettled {
        delivery: usize,
    },
    /// The receiver states and perhaps settles one of the deliveries it holds.
    Settle {
        received: usize,
        settled: bool,
    },
    /// The sender settles one of its finished deliveries.
    SettleSent {
        sent: usize,
    },
    Detach {
        link: usize,
    },
    Drain {
        link: usize,
    },
    End {
        session: usize,
    },
    /// Octets travel from here to the other end.
    Move {
        len: usize,
    },
}

/// What is known of a delivery from its number, the first eight octets of its body.
#[derive(Default)]
struct Record {
    /// Which end sends it on which link.
    origin: Option<(usize, LinkId)>,
    sent: Vec<u8>,
    received: Vec<u8>,
    finished: bool,
    aborted: bool,
    arrived: bool,
    /// Its link or session was taken away.
    cut: bool,
    presettled: bool,
    /// How often the sender was told that it is settled.
    told_settled: u32,
    settled_by_sender: bool,
}

struct Outgoing {
    key: DeliveryKey,
    link: LinkId,
    number: u64,
    body: VecDeque<Bytes>,
    ending: bool,
}

/// One end and what its application keeps.
struct Peer {
    engine: Connection,
    input: BytesMut,
    wire: BytesMut,
    sessions: Vec<SessionId>,
    /// Own sending links.
    links: Vec<LinkId>,
    receiving: Vec<LinkId>,
    outgoing: Vec<Outgoing>,
    /// Finished but unsettled.
    sent: HashMap<DeliveryKey, (LinkId, u64)>,
    incoming: HashMap<DeliveryKey, (LinkId, u64)>,
    /// Received completely, not settled.
    held: Vec<DeliveryKey>,
    names: u32,
}

struct World {
    peers: [Peer; 2],
    records: HashMap<u64, Record>,
    now: Instant,
}

impl Peer {
    fn new(engine: Connection) -> Self {
        Self {
            engine,
            input: BytesMut::new(),
            wire: BytesMut::new(),
            sessions: Vec::new(),
            links: Vec::new(),
            receiving: Vec::new(),
            outgoing: Vec::new(),
            sent: HashMap::new(),
            incoming: HashMap::new(),
            held: Vec::new(),
            names: 0,
        }
    }

    fn forget(&mut self, at: usize, link: LinkId, records: &mut HashMap<u64, Record>) {
        self.links.retain(|other| *other != link);
        self.receiving.retain(|other| *other != link);
        let mut cut: Vec<u64> = Vec::new();
        self.outgoing.retain(|outgoing| {
            if outgoing.link == link {
                cut.push(outgoing.number);
            }
            outgoing.link != link
        });
        for deliveries in [&mut self.sent, &mut self.incoming] {
            deliveries.retain(|_, (other, number)| {
                if *other == link {
                    cut.push(*number);
                }
                *other != link
            });
        }
        let incoming = &self.incoming;
        self.held.retain(|key| incoming.contains_key(key));
        for number in cut {
            records.entry(number).or_default().cut = true;
        }
        // Settled ones may be on their way as well.
        for record in records
            .values_mut()
            .filter(|record| record.origin == Some((at, link)))
        {
            record.cut = true;
        }
    }
}

impl World {
    fn new(window: u32, frame: u32) -> Self {
        let now = Instant::now();
        let mut config = config("model");
        config.incoming_window = window;
        config.open.max_frame_size = frame;
        let client = Connection::client(
            config.clone(),
            ClientSasl::Anonymous { trace: "m".into() },
            now,
        );
        let mut server = Connection::server(config, ServerSasl::anonymous(), now);
        // Called early, it waits for the end of the SASL exchange.
        server.open(None);
        let peers = [Peer::new(client), Peer::new(server)];
        Self {
            peers,
            records: HashMap::new(),
            now,
        }
    }

    fn transport(&mut self, from: usize, len: usize) {
        let now = self.now;
        let sender = &mut self.peers[from];
        let transmit = sender.engine.transmit();
        let available = transmit.remaining();
        sender
            .wire
            .extend_from_slice(&transmit.copy_to_bytes(available));
        let len = len.min(sender.wire.len());
        let octets = sender.wire.split_to(len);
        let to = 1 - from;
        self.peers[to].input.extend_from_slice(&octets);
        loop {
            let peer = &mut self.peers[to];
            let before = peer.input.len();
            peer.engine
                .receive(&mut peer.input, now)
                .expect("neither end breaks the protocol");
            while let Some(event) = self.peers[to].engine.poll_event() {
                self.handle(to, event);
            }
            if self.peers[to].input.len() == before || self.peers[to].input.is_empty() {
                return;
            }
        }
    }

    fn handle(&mut self, at: usize, event: Event) {
        let peer = &mut self.peers[at];
        let records = &mut self.records;
        match event {
            Event::Attached {
                link,
                attach,
                remote_initiated: true,
            } => {
                peer.engine.accept(link, *attach);
                peer.engine.grant(link, 3);
                peer.receiving.push(link);
            }
            Event::Transfer {
                link,
                delivery,
                first,
                payload,
                more,
                settled,
                aborted,
                ..
            } => {
                if first {
                    peer.engine.add_credit(link, 1);
                }
                let mut payload = payload;
                if first && !aborted {
                    let number = payload.get_u64();
                    assert!(
                        peer.incoming.insert(delivery, (link, number)).is_none(),
                        "{delivery:?} is in use"
                    );
                }
                let (_, number) = peer.incoming[&delivery];
                let record = records.get_mut(&number).expect("a delivery that was sent");
                record.received.extend_from_slice(&payload);
                if aborted {
                    assert!(record.aborted);
                    peer.incoming.remove(&delivery);
                    peer.held.retain(|key| *key != delivery);
                } else if !more {
                    assert!(!record.arrived);
                    record.arrived = true;
                    if settled {
                        peer.incoming.remove(&delivery);
                    } else {
                        peer.held.push(delivery);
                    }
                }
            }
            Event::Disposition {
                delivery,
                settled: true,
                ..
            } => {
                if let Some((_, number)) = peer.sent.remove(&delivery) {
                    records.get_mut(&number).unwrap().told_settled += 1;
                } else if let Some((_, number)) = peer.incoming.remove(&delivery) {
                    assert!(records[&number].settled_by_sender);
                    peer.held.retain(|key| *key != delivery);
                } else {
                    panic!("{delivery:?} is not known");
                }
            }
            Event::Detached { link, .. } => {
                peer.forget(at, link, records);
                peer.engine.detach(link, true, None);
            }
            Event::SessionEnded { session, .. } => peer.sessions.retain(|other| *other != session),
            Event::Drain { link } => peer.engine.drained(link),
            Event::Closed { error } => panic!("closed with {error:?}"),
            _ => {}
        }
    }

    fn call(&mut self, at: usize, call: Call) {
        let peer = &mut self.peers[at];
        let pick = |index: usize, len: usize| (len > 0).then(|| index % len);
        match call {
            Call::Begin if peer.sessions.len() < 4 => {
                let session = peer.engine.begin();
                peer.sessions.push(session);
            }
            Call::Attach { session } => {
                let Some(session) = pick(session, peer.sessions.len()) else {
                    return;
                };
                peer.names += 1;
                let attach = sender(&format!("{at}-{}", peer.names));
                if let Ok(link) = peer.engine.attach(peer.sessions[session], attach) {
                    peer.links.push(link);
                }
            }
            Call::Start { link, settled } => {
                let Some(link) = pick(link, peer.links.len()) else {
                    return;
                };
                let link = peer.links[link];
                let Ok(key) = peer.engine.start_delivery(link, b"tag", settled) else {
                    return;
                };
                let number = self.records.len() as u64;
                self.records.insert(
                    number,
                    Record {
                        origin: Some((at, link)),
                        presettled: settled,
                        ..Record::default()
                    },
                );
                let body = VecDeque::from([Bytes::copy_from_slice(&number.to_be_bytes())]);
                peer.outgoing.push(Outgoing {
                    key,
                    link,
                    number,
                    body,
                    ending: false,
                });
            }
            Call::Send {
                delivery,
                len,
                end,
                budget,
            } => {
                let Some(index) = pick(delivery, peer.outgoing.len()) else {
                    return;
                };
                let outgoing = &mut peer.outgoing[index];
                let record = self.records.get_mut(&outgoing.number).unwrap();
                if !outgoing.ending {
                    let part: Vec<u8> = (0..len)
                        .map(|offset| (record.sent.len() + offset).to_be_bytes()[7])
                        .collect();
                    record.sent.extend_from_slice(&part);
                    outgoing.body.push_back(Bytes::from(part));
                    outgoing.ending = end;
                }
                let sent =
                    peer.engine
                        .send(outgoing.key, &mut outgoing.body, outgoing.ending, budget);
                if sent == Sent::All && outgoing.ending {
                    record.finished = true;
                    let outgoing = peer.outgoing.remove(index);
                    if !record.presettled {
                        peer.sent
                            .insert(outgoing.key, (outgoing.link, outgoing.number));
                    }
                }
            }
            Call::Abort { delivery } => {
                let Some(index) = pick(delivery, peer.outgoing.len()) else {
                    return;
                };
                let outgoing = peer.outgoing.remove(index);
                self.records.get_mut(&outgoing.number).unwrap().aborted = true;
                peer.engine.abort(outgoing.key);
            }
            Call::FinishSettled { delivery } => {
                let Some(index) = pick(delivery, peer.outgoing.len()) else {
                    return;
                };
                // What is not framed yet is not sent with it.
                if peer.outgoing[index]
                    .body
                    .iter()
                    .any(|part| !part.is_empty())
                {
                    return;
                }
                let outgoing = peer.outgoing.remove(index);
                let record = self.records.get_mut(&outgoing.number).unwrap();
                record.finished = true;
                record.presettled = true;
                peer.engine.finish_settled(outgoing.key);
            }
            Call::Settle { received, settled } => {
                let Some(index) = pick(received, peer.held.len()) else {
                    return;
                };
                let key = peer.held[index];
                peer.engine
                    .disposition(key, Some(DeliveryState::Accepted), settled);
                if settled {
                    peer.held.remove(index);
                    peer.incoming.remove(&key);
                }
            }
            Call::SettleSent { sent } => {
                let mut keys: Vec<_> = peer.sent.keys().copied().collect();
                keys.sort();
                let Some(index) = pick(sent, keys.len()) else {
                    return;
                };
                let (_, number) = peer.sent.remove(&keys[index]).unwrap();
                self.records.get_mut(&number).unwrap().settled_by_sender = true;
                peer.engine.disposition(keys[index], None, true);
            }
            Call::Detach { link } => {
                let all: Vec<_> = peer.links.iter().chain(&peer.receiving).copied().collect();
                let Some(index) = pick(link, all.len()) else {
                    return;
                };
                peer.forget(at, all[index], &mut self.records);
                peer.engine.detach(all[index], true, None);
            }
            Call::Drain { link } => {
                let Some(index) = pick(link, peer.receiving.len()) else {
                    return;
                };
                peer.engine.drain(peer.receiving[index]);
            }
            Call::End { session } => {
                let Some(index) = pick(session, peer.sessions.len()) else {
                    return;
                };
                let session = peer.sessions.remove(index);
                let links: HashSet<_> = peer.links.iter().chain(&peer.receiving).copied().collect();
                for link in links {
                    if peer.engine.link_session(link) == session {
                        peer.forget(at, link, &mut self.records);
                    }
                }
                peer.engine.end(session, None);
            }
            Call::Move { len } => self.transport(at, len),
            Call::Begin => {}
        }
    }

    /// Everything that can be brought to its end is, and then checked.
    fn finish(mut self) {
        for _ in 0..200 {
            for at in [0, 1] {
                for delivery in (0..self.peers[at].outgoing.len()).rev() {
                    self.call(
                        at,
                        Call::Send {
                            delivery,
                            len: 0,
                            end: true,
                            budget: usize::MAX,
                        },
                    );
                }
                while !self.peers[at].held.is_empty() {
                    self.call(
                        at,
                        Call::Settle {
                            received: 0,
                            settled: true,
                        },
                    );
                }
                self.transport(at, usize::MAX);
            }
        }
        let lost: HashSet<u64> = self
            .peers
            .iter()
            .flat_map(|peer| peer.sent.values().chain(peer.incoming.values()))
            .map(|(_, number)| *number)
            .collect();
        for (number, record) in &self.records {
            if record.cut || record.aborted {
                continue;
            }
            assert!(
                record.finished && record.arrived,
                "delivery {number} is stuck"
            );
            assert!(
                record.sent == record.received,
                "delivery {number} is damaged"
            );
            assert!(!lost.contains(number), "delivery {number} is not settled");
            let settled_once =
                record.presettled || record.settled_by_sender || record.told_settled == 1;
            assert!(
                settled_once,
                "delivery {number} was settled {} times",
                record.told_settled
            );
        }
        // Nothing is left behind.
        for at in [0, 1] {
            let sessions: Vec<_> = self.peers[at].sessions.clone();
            for session in sessions {
                self.peers[at].engine.end(session, None);
            }
        }
        for _ in 0..4 {
            self.transport(0, usize::MAX);
            self.transport(1, usize::MAX);
        }
        for peer in &mut self.peers {
            assert_eq!(peer.engine.poll_event(), None);
            assert_eq!(peer.engine.load(), Load::default());
        }
    }
}

fn call() -> impl Strategy<Value = (usize, Call)> {
    let index = 0..16usize;
    let call = prop_oneof![
        2 => Just(Call::Begin),
        6 => index.clone().prop_map(|session| Call::Attach { session }),
        12 => (index.clone(), any::<bool>()).prop_map(|(link, settled)| Call::Start { link, settled }),
        24 => (index.clone(), 0..5000usize, any::<bool>(), prop_oneof![Just(1usize << 20), 0..4000usize])
            .prop_map(|(delivery, len, end, budget)| Call::Send { delivery, len, end, budget }),
        2 => index.clone().prop_map(|delivery| Call::Abort { delivery }),
        2 => index.clone().prop_map(|delivery| Call::FinishSettled { delivery }),
        8 => (index.clone(), any::<bool>()).prop_map(|(received, settled)| Call::Settle { received, settled }),
        1 => index.clone().prop_map(|sent| Call::SettleSent { sent }),
        1 => index.clone().prop_map(|link| Call::Detach { link }),
        1 => index.clone().prop_map(|link| Call::Drain { link }),
        1 => index.prop_map(|session| Call::End { session }),
        40 => prop_oneof![1..50usize, 1..20_000usize].prop_map(|len| Call::Move { len }),
    ];
    (0..2usize, call)
}

proptest! {

    #[test]
    fn deliveries_survive_everything(
        calls in vec(call(), 0..400),
        window in prop_oneof![1..6u32, Just(8192)],
        frame in prop_oneof![Just(512u32), Just(4096), Just(16_384)],
    ) {
        let mut world = World::new(window, frame);
        for _ in 0..4 {
            world.transport(0, usize::MAX);
            world.transport(1, usize::MAX);
        }
        for (at, call) in calls {
            world.call(at, call);
        }
        world.finish();
    }
}
