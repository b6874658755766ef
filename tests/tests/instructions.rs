//! Guards of speed that do not depend on the machine: instructions for one unit of work, counted by valgrind.
//!
//! Each piece of work runs in this very program under `valgrind --tool=callgrind`, once a few times and once more often;
//! the difference is what the repetitions cost, without start and end of the process. Counts are of unoptimised code, so
//! they show work that was added (an allocation, a copy, a pass over the octets), not how fast a release is.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../../amqp/tests/common/mod.rs"]
mod common;

use std::{collections::VecDeque, hint::black_box, process::Command};

use amqp::{
    Bytes, BytesMut,
    engine::{Event, LinkId},
    performative::{DeliveryTag, Performative, Transfer},
};
use bytes::{Buf as _, BufMut as _};
use common::{End, Pair, config, sender};
use e2e::did_not_run;

/// Says to the program under valgrind how often it is to do its work.
const REPEAT: &str = "SKUPPER_GUARD_REPEAT";
const FEW: u64 = 100;
const MANY: u64 = 600;
/// How much more than recorded is tolerated: the C library copies differently on different processors.
const SLACK_PERCENT: u64 = 10;

/// How often to do the work; none in the process that judges.
fn repetitions() -> Option<u64> {
    std::env::var(REPEAT).ok()?.parse().ok()
}

/// Compares what one repetition of the test called `name` costs with what it may.
fn judge(name: &str, recorded: u64) {
    if !cfg!(debug_assertions) {
        did_not_run("the recorded counts are of unoptimised code", true);
        return;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        did_not_run("no valgrind", false);
        return;
    }
    let cost = (counted(name, MANY) - counted(name, FEW)) / (MANY - FEW);
    let limit = recorded * (100 + SLACK_PERCENT) / 100;
    assert!(
        cost <= limit,
        "{name}: {cost} instructions, recorded are {recorded}; if that is worth it, record the new count"
    );
    assert!(
        cost >= recorded / 2,
        "{name}: only {cost} instructions, recorded are {recorded}; record the new count, lest it creeps up again"
    );
}

/// Instructions of this program when it runs nothing but one test.
fn counted(name: &str, repeat: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .env(REPEAT, repeat.to_string())
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let count = said
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .unwrap_or_else(|| panic!("no count in {said}"));
    count.1.trim().parse().unwrap()
}

#[test]
fn codec() {
    let Some(repeat) = repetitions() else {
        return judge("codec", 11_900);
    };
    let transfer = Performative::Transfer(Transfer {
        handle: 7,
        delivery_id: Some(4711),
        delivery_tag: DeliveryTag::new(b"12345678"),
        message_format: Some(0),
        settled: Some(false),
        more: true,
        ..Transfer::default()
    });
    for _ in 0..repeat {
        let mut octets = BytesMut::new();
        transfer.encode(&mut octets);
        let mut octets = octets.freeze();
        assert_eq!(Performative::decode(&mut octets).unwrap(), transfer);
        black_box(&octets);
    }
}

/// A link from client to server with credit for everything.
fn linked() -> (Pair, LinkId) {
    let mut pair = Pair::opened(config("client"), config("server"));
    let session = pair.client.engine.begin();
    let link = pair.client.engine.attach(session, sender("link")).unwrap();
    pair.pump();
    while let Some(event) = pair.server.events.pop_front() {
        if let Event::Attached { link, attach, .. } = event {
            pair.server.engine.accept(link, *attach);
            pair.server.engine.grant(link, 10_000);
        }
    }
    pair.pump();
    (pair, link)
}

#[test]
fn frames_of_a_stream() {
    let Some(repeat) = repetitions() else {
        return judge("frames_of_a_stream", 18_000);
    };
    let (mut pair, link) = linked();
    let delivery = pair
        .client
        .engine
        .start_delivery(link, b"1", false)
        .unwrap();
    let chunk = Bytes::from_static(&[7; 1024]);
    for _ in 0..repeat {
        let mut chunks = VecDeque::from([chunk.clone()]);
        pair.client
            .engine
            .send(delivery, &mut chunks, false, usize::MAX);
        let transmit = pair.client.engine.transmit();
        let length = transmit.remaining();
        pair.server.input.put(transmit.take(length));
        pair.client.engine.note_transmitted(pair.now);
        let End { engine, input, .. } = &mut pair.server;
        engine.receive(input, pair.now).unwrap();
        let event = engine.poll_event();
        assert!(matches!(event, Some(Event::Transfer { .. })), "{event:?}");
        assert_eq!(engine.poll_event(), None);
    }
}
