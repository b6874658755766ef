//! Streams over real drivers, real forwarding and the real routing protocol, in one thread and without a clock.
//!
//! ```text
//!  Stream::pour ─► choose ─► Delivery ─► driver ═ Wire ═ driver ─► choose ─► … ─► ReplySlot ─► Stream::read
//! ```
//!
//! A seed decides which task is polled next, how many octets arrive where, when readers read, when connections are lost,
//! and which end hears of it first. So octets come in pieces of any size, links overtake each other, and each step of one
//! router falls between any two steps of another. The same seed gives the same run.

mod executor;
mod router;
mod stream;
mod wire;

use std::time::{Duration, Instant};

use amqp::engine::{ClientSasl, Connection, ServerSasl};
use amqp::performative::DeliveryState;
use tokio_util::sync::CancellationToken;

use self::{
    executor::Executor,
    router::Router,
    stream::{CHUNK, Plan, READ_AHEAD, Seen, Stream, Told},
    wire::{Break, Wire},
};
use super::{
    driver::{self, FRAME_SIZE, Options},
    listener::{MAX_SESSIONS, engine_config, with_large_frames},
};
use crate::{
    adaptor::tcp::{ReplySlot, framing::Framing},
    core::{
        connection::{ConnectionFacts, ConnectionRole},
        local::LocalTarget,
        shared::LINK_CAPACITY,
    },
    routing::tests::network::{Random, random_edges},
};

/// Seeds to run: `20` is that many, `7..9` is the seventh and the eighth.
const SEEDS: &str = "SKUPPER_STREAM_SEEDS";
/// Steps in a second of the routing protocol.
const STEPS_A_SECOND: u64 = 8000;
/// Seconds in which nothing happens before streams that have not ended count as stuck.
const PATIENCE: u64 = 15;
/// Window of sessions in frames.
const SESSION_FRAMES: u32 = 32;
/// What a router may hold of a stream whose source takes no notice of windows: what may wait for a sink, a session's
/// window of the largest frames, and the buffers of connections.
const MOST_HELD: u64 = 6 << 20;

/// A link between two routers; it has a connection most of the time.
struct Line {
    ends: [usize; 2],
    wire: Wire,
    /// It is lost, and the ends are still to be told.
    untold: [Option<Break>; 2],
    lost: bool,
}

struct Simulation {
    random: Random,
    executor: Executor,
    routers: Vec<Router>,
    lines: Vec<Line>,
    streams: Vec<Stream>,
    now: Instant,
    steps: u64,
    /// Tells runs apart.
    course: u64,
}

/// Names the seed of a simulation that fails.
struct Named(u64);

impl Drop for Named {
    #[allow(clippy::print_stderr, reason = "shown with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to run it again: {SEEDS}={}..{}", self.0, self.0 + 1);
        }
    }
}

impl Simulation {
    /// Routers linked as `edges` say, once each knows the way to all others.
    fn new(seed: u64, count: usize, edges: &[(usize, usize, u32)]) -> Self {
        let now = Instant::now();
        let mut simulation = Self {
            random: Random(seed),
            executor: Executor::new(),
            routers: (0..count).map(|number| Router::new(number, now)).collect(),
            lines: Vec::new(),
            streams: Vec::new(),
            now,
            steps: 0,
            course: 0,
        };
        for (a, b, _) in edges {
            let wire = simulation.dial([*a, *b]);
            simulation.lines.push(Line {
                ends: [*a, *b],
                wire,
                untold: [None; 2],
                lost: false,
            });
        }
        simulation.settle();
        simulation
    }

    /// Connects two routers; the first one dials.
    fn dial(&mut self, ends: [usize; 2]) -> Wire {
        let wire = Wire::default();
        for (number, end) in wire.ends().into_iter().enumerate() {
            let shared = self.routers[ends[number]].shared.clone();
            let id = shared.connection_id();
            let options = Options {
                role: ConnectionRole::InterRouter,
                outgoing: number == 0,
                cost: 1,
                group: None,
                beside: None,
                failover: Vec::new(),
                max_frame_size: FRAME_SIZE,
                idle_timeout: Duration::ZERO,
                max_sessions: MAX_SESSIONS,
                link_capacity: LINK_CAPACITY,
                facts: ConnectionFacts::default(),
            };
            let config = engine_config(&shared, id, &options, Some(SESSION_FRAMES));
            let engine = if options.outgoing {
                let trace = "simulation".to_owned();
                Connection::client(config, ClientSasl::Anonymous { trace }, self.now)
            } else {
                let sasl = ServerSasl {
                    required: true,
                    ..ServerSasl::anonymous()
                };
                Connection::server(config, sasl, self.now)
            };
            let engine = with_large_frames(engine, &options);
            let never = CancellationToken::new();
            self.executor.spawn(async move {
                driver::run(shared, id, end, engine, options, never, |_, _| ()).await;
            });
        }
        wire
    }

    /// Begins a stream between two routers.
    fn begin(&mut self, from: usize, to: usize, plan: Plan) {
        let stream = Stream::new(plan);
        let slot = std::sync::Arc::<ReplySlot>::default();
        let reader = &self.routers[to].shared;
        let name = reader.local.register(LocalTarget::Reply(slot.clone()));
        let address = reader.space.dynamic(&name);
        let (one, two) = (self.random.next(), self.random.next());
        self.executor.spawn(stream.clone().read(slot, one));
        let source = self.routers[from].shared.clone();
        self.executor
            .spawn(stream.clone().send(source, address, two));
        self.streams.push(stream);
    }

    /// The connection is lost; its ends learn of it sooner or later.
    fn cut(&mut self, line: usize) {
        let seen = [(); 2].map(|()| match self.random.below(2) {
            0 => Break::Eof,
            _ => Break::Reset,
        });
        let line = &mut self.lines[line];
        line.wire.cut();
        line.untold = seen.map(Some);
        line.lost = true;
    }

    /// One thing happens, or nothing.
    fn step(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_A_SECOND) {
            self.tick();
        }
        let happened = match self.random.below(16) {
            0..7 => self.executor.step(&mut self.random).map(|task| task as u64),
            7..13 => self.deliver(),
            13 => {
                let number = self.random.below(self.routers.len() as u64);
                self.routers[number as usize]
                    .control(self.now)
                    .then_some(number)
            }
            14 if !self.streams.is_empty() => {
                let number = self.random.below(self.streams.len() as u64) as usize;
                let stream = &self.streams[number];
                (self.random.below(stream.plan.slowness) == 0).then(|| {
                    stream.let_read();
                    number as u64
                })
            }
            _ => {
                let line = self.random.below(self.lines.len() as u64) as usize;
                self.look_after(line).then_some(line as u64)
            }
        };
        self.course = Random(self.course ^ happened.unwrap_or(u64::MAX)).next();
    }

    fn deliver(&mut self) -> Option<u64> {
        let number = self.random.below(2 * self.lines.len() as u64);
        let wire = &self.lines[number as usize / 2].wire;
        wire.deliver(number as usize % 2, &mut self.random)
            .then_some(number)
    }

    /// Tells an end of a lost connection, or dials anew when both know. False if there was nothing to do.
    fn look_after(&mut self, number: usize) -> bool {
        let line = &mut self.lines[number];
        if !line.lost {
            return false;
        }
        let end = self.random.below(2) as usize;
        if let Some(seen) = line.untold[end].take() {
            line.wire.tell(end, seen);
            return true;
        }
        if line.untold != [None; 2] || !(line.wire.is_closed(0) && line.wire.is_closed(1)) {
            return false;
        }
        line.lost = false;
        let ends = line.ends;
        self.lines[number].wire = self.dial(ends);
        true
    }

    fn tick(&mut self) {
        self.now += Duration::from_secs(1);
        for router in &mut self.routers {
            router.tick(self.now);
        }
    }

    /// Whether only the next second can bring something new.
    fn is_idle(&mut self) -> bool {
        let now = self.now;
        self.executor.is_idle()
            && self.lines.iter().all(|line| {
                !line.lost && (0..2).all(|end| !line.wire.is_busy(end))
            })
            // Taken in now if there is something.
            && !self.routers.iter_mut().any(|router| router.control(now))
    }

    /// Runs until nothing happens any more, each router knows all others, and all streams have ended at both ends.
    fn settle(&mut self) {
        let mut seconds = 0;
        loop {
            for _ in 0..64 {
                self.step();
            }
            if !self.is_idle() {
                continue;
            }
            self.streams.iter().for_each(Stream::let_read);
            while self.executor.step(&mut self.random).is_some() {}
            if !self.is_idle() {
                seconds = 0;
                continue;
            }
            let others = self.routers.len() - 1;
            if self.streams.iter().all(has_ended)
                && self.routers.iter().all(|router| router.reaches(others))
            {
                return;
            }
            seconds += 1;
            assert!(seconds < PATIENCE, "stuck: {}", self.unfinished());
            self.tick();
        }
    }

    fn unfinished(&self) -> String {
        let streams = self.streams.iter().filter(|stream| !has_ended(stream));
        let shown: Vec<_> = streams
            .map(|stream| format!("{:?} {:?}", stream.plan, stream.record.borrow()))
            .collect();
        shown.join("; ")
    }

    /// Both ends of each stream have learned what became of it, and nobody holds anything of it.
    fn assert_ended(&self, undisturbed: bool) {
        let routers = self.routers.len() as u64;
        for stream in &self.streams {
            let (plan, record) = (stream.plan, stream.record.borrow());
            let shown = format!("{plan:?} {record:?}");
            let planned_whole = plan.abort_at.is_none() && plan.leave_at.is_none();
            let accepted = record.told == Some(Told::Outcome(DeliveryState::Accepted));
            if accepted {
                assert_eq!(record.seen, Some(Seen::Complete), "{shown}");
            }
            if record.seen == Some(Seen::Complete) {
                assert!(plan.abort_at.is_none(), "{shown}");
                assert_eq!(record.received, plan.length, "{shown}");
            }
            if undisturbed {
                assert_eq!(accepted, planned_whole, "{shown}");
                assert!(record.begun || plan.abort_at.is_some(), "{shown}");
            }
            let limit = if plan.greedy {
                READ_AHEAD as u64 + CHUNK + (routers + 1) * MOST_HELD
            } else {
                Framing::Lite.window() + CHUNK
            };
            assert!(record.most_between <= limit, "{limit} at most: {shown}");
            let held = record.delivery.as_ref().and_then(std::sync::Weak::upgrade);
            assert!(held.is_none(), "it is still held: {shown}");
        }
    }
}

/// The source has learned of the end, and so has the reader if the stream has reached it.
fn has_ended(stream: &Stream) -> bool {
    let record = stream.record.borrow();
    record.told.is_some() && (record.seen.is_some() || !record.begun)
}

/// A stream of any kind.
fn plan(number: u64, random: &mut Random) -> Plan {
    let length = match random.below(4) {
        0 => random.below(100),
        1 => random.below(20_000),
        _ => random.below(900_000),
    };
    let early = |random: &mut Random| Some(random.below(length + 1));
    Plan {
        number,
        length,
        abort_at: (random.below(6) == 0).then(|| early(random)).flatten(),
        leave_at: (random.below(6) == 0).then(|| early(random)).flatten(),
        greedy: random.below(5) == 0,
        slowness: 1 + random.below(12),
    }
}

/// How a run went.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Tells runs apart.
    course: u64,
    /// Streams that ended because a connection was lost.
    lost: usize,
}

/// A network of its own for each seed, with streams all over it.
fn run(seed: u64, disturbed: bool) -> Outcome {
    let _named = Named(seed);
    let mut random = Random(seed);
    let count = 2 + random.below(4) as usize;
    let extra = random.below(4) as usize;
    let mut simulation = Simulation::new(random.next(), count, &random_edges(seed, count, extra));
    let streams = 4 + random.below(12);
    for number in 0..streams {
        let from = random.below(count as u64) as usize;
        let to = (from + 1 + random.below(count as u64 - 1) as usize) % count;
        let plan = plan(seed ^ (number << 32), &mut random);
        simulation.begin(from, to, plan);
        let pause = random.below(400);
        (0..pause).for_each(|_| simulation.step());
        if disturbed && random.below(4) == 0 {
            let line = random.below(simulation.lines.len() as u64) as usize;
            if !simulation.lines[line].lost {
                simulation.cut(line);
            }
        }
    }
    simulation.settle();
    simulation.assert_ended(!disturbed);
    let lost = |stream: &&Stream| {
        let record = stream.record.borrow();
        let planned = record.told == Some(Told::Nothing) || record.seen == Some(Seen::Left);
        !planned && record.told != Some(Told::Outcome(DeliveryState::Accepted))
    };
    Outcome {
        course: simulation.course,
        lost: simulation.streams.iter().filter(lost).count(),
    }
}

/// The seeds that are asked for, or so many.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let Ok(asked) = std::env::var(SEEDS) else {
        return 0..count;
    };
    let number = |text: &str| text.parse().expect("SKUPPER_STREAM_SEEDS is 20 or 7..9");
    match asked.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&asked),
    }
}

#[test]
fn streams_arrive_whole_and_in_order() {
    for seed in seeds(12) {
        run(seed, false);
    }
}

#[test]
fn streams_end_at_both_ends_when_connections_are_lost() {
    let lost: usize = seeds(40).map(|seed| run(seed, true).lost).sum();
    assert!(lost > 0, "there are seeds that lose connections");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(3, true), run(3, true));
    assert_ne!(run(3, true), run(4, true));
}

#[test]
fn a_source_that_takes_no_notice_of_windows_is_held_back() {
    let _named = Named(1);
    let mut simulation = Simulation::new(1, 3, &[(0, 1, 1), (1, 2, 1)]);
    let greedy = |number, slowness| Plan {
        number,
        length: 40 << 20,
        abort_at: None,
        leave_at: None,
        greedy: true,
        slowness,
    };
    simulation.begin(0, 2, greedy(1, 2000));
    simulation.settle();
    simulation.assert_ended(true);
    let most = simulation.streams[0].record.borrow().most_between;
    assert!(most > Framing::Lite.window(), "{most} tests nothing");
}
