//! A network of routers in one thread with virtual time: delay, loss, partitions, restarts; the same seed gives the
//! same run.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::routing::{Config, ControlLink, Output, RouteView, RouterId, Routing, Treatment};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A random tree with up to `extra` links more, costs 1 to 3.
pub(crate) fn random_edges(seed: u64, count: usize, extra: usize) -> Vec<(usize, usize, u32)> {
    let mut random = Random(seed);
    let mut edges: Vec<(usize, usize, u32)> = (1..count)
        .map(|number| {
            (
                random.below(number as u64) as usize,
                number,
                1 + random.below(3) as u32,
            )
        })
        .collect();
    for _ in 0..extra {
        let (a, b) = (
            random.below(count as u64) as usize,
            random.below(count as u64) as usize,
        );
        if a != b
            && !edges
                .iter()
                .any(|(c, d, _)| (*c, *d) == (a, b) || (*c, *d) == (b, a))
        {
            edges.push((a, b, 1 + random.below(3) as u32));
        }
    }
    edges
}

struct Router {
    routing: Routing,
    instance: i64,
    /// Addresses announced again after a restart.
    keys: Vec<String>,
    events: Vec<String>,
    /// How far its clock is ahead.
    ahead: Duration,
    /// Until then it does nothing; what arrives waits.
    asleep: Instant,
}

struct Wire {
    ends: [usize; 2],
    cost: u32,
    /// Both ends know that the link is up.
    up: bool,
    /// Octets get lost without anyone knowing.
    silent: bool,
}

/// What all routers should find.
struct Truth<'a> {
    neighbours: Vec<BTreeMap<usize, u32>>,
    numbers: HashMap<&'a str, usize>,
    /// Of the neighbours of each router.
    names: Vec<Vec<&'a str>>,
}

pub(super) struct Network {
    now: Instant,
    start: Instant,
    names: Vec<String>,
    routers: Vec<Router>,
    wires: Vec<Wire>,
    /// Next tick of each router.
    ticks: BTreeSet<(Instant, usize)>,
    /// Arrival time and order of sending → wire, receiving end, epoch of the wire, message.
    flying: BTreeMap<(Instant, u64), (usize, usize, u64, Bytes)>,
    /// Counts ups and downs of each wire: what flew before a cut does not arrive after it.
    epochs: Vec<u64>,
    sent: u64,
    hellos: u64,
    /// Lives of routers so far; each is a process of its own.
    lives: u32,
    /// The router whose view was found to be wrong last.
    suspect: Cell<usize>,
    random: Random,
    pub(super) delay: Duration,
    /// Links differ in delay by up to this: what travels over one overtakes what travels over another.
    pub(super) spread: Duration,
    pub(super) loss_percent: u64,
    pub(super) limit: usize,
    /// Routers added or restarted later advertise when something changes only, and remember for as long.
    pub(super) no_periodic_advertisements: bool,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            names: Vec::new(),
            routers: Vec::new(),
            wires: Vec::new(),
            ticks: BTreeSet::new(),
            flying: BTreeMap::new(),
            epochs: Vec::new(),
            sent: 0,
            hellos: 0,
            lives: 0,
            suspect: Cell::new(0),
            random: Random(seed),
            delay: Duration::from_millis(2),
            spread: Duration::ZERO,
            loss_percent: 0,
            limit: 1000,
            no_periodic_advertisements: false,
        }
    }

    /// Routers `names` linked as `edges` (positions and cost) say.
    pub(super) fn of(seed: u64, count: usize, edges: &[(usize, usize, u32)]) -> Self {
        let mut network = Self::new(seed);
        network.build(count, edges);
        network
    }

    /// Adds `count` routers and links among them.
    pub(super) fn build(&mut self, count: usize, edges: &[(usize, usize, u32)]) {
        for number in 0..count {
            self.add(&format!("r{number:03}"));
        }
        for (a, b, cost) in edges {
            self.connect(*a, *b, *cost);
        }
    }

    pub(super) fn ring(seed: u64, count: usize) -> Self {
        let edges: Vec<_> = (0..count)
            .map(|number| (number, (number + 1) % count, 1))
            .collect();
        Self::of(seed, count, &edges)
    }

    pub(super) fn chain(seed: u64, count: usize) -> Self {
        let edges: Vec<_> = (1..count).map(|number| (number - 1, number, 1)).collect();
        Self::of(seed, count, &edges)
    }

    pub(super) fn add(&mut self, name: &str) -> usize {
        let instance = 1_700_000_000 + self.routers.len() as i64;
        let phase = Duration::from_millis(self.random.below(1000));
        let routing = self.life(name, instance, self.now);
        self.ticks.insert((self.now + phase, self.routers.len()));
        self.routers.push(Router {
            routing,
            instance,
            keys: Vec::new(),
            events: Vec::new(),
            ahead: Duration::ZERO,
            asleep: self.now,
        });
        self.names.push(name.to_owned());
        self.routers.len() - 1
    }

    fn life(&mut self, name: &str, instance: i64, now: Instant) -> Routing {
        self.lives += 1;
        let mut config = Config::new(RouterId::from(name), instance);
        config.process = Some(1 + self.lives);
        config.max_routers = self.limit;
        if self.no_periodic_advertisements {
            config.ra_interval = Duration::from_secs(1 << 20);
            config.remote_ls_max_age = Duration::from_secs(1 << 21);
        }
        Routing::new(config, now)
    }

    /// A router that is not connected yet starts anew, in the second in which another one did.
    pub(super) fn start_together(&mut self, with: usize, number: usize) {
        let (name, instance) = (self.names[number].clone(), self.routers[with].instance);
        let routing = self.life(&name, instance, self.now);
        let router = &mut self.routers[number];
        (router.instance, router.routing) = (instance, routing);
    }

    pub(super) fn connect(&mut self, a: usize, b: usize, cost: u32) -> usize {
        self.wires.push(Wire {
            ends: [a, b],
            cost,
            up: false,
            silent: false,
        });
        self.epochs.push(0);
        self.raise(self.wires.len() - 1);
        self.wires.len() - 1
    }

    pub(super) fn wire_between(&self, a: usize, b: usize) -> usize {
        self.wires
            .iter()
            .position(|wire| wire.ends == [a, b] || wire.ends == [b, a])
            .expect("these are linked")
    }

    /// The link comes up at both ends.
    pub(super) fn raise(&mut self, wire: usize) {
        self.epochs[wire] += 1;
        self.wires[wire].up = true;
        self.wires[wire].silent = false;
        for end in self.wires[wire].ends {
            let link = ControlLink(wire as u64);
            let now = self.clock(end);
            self.routers[end]
                .routing
                .link_up(link, self.wires[wire].cost, now);
            self.drain(end);
        }
    }

    /// The link goes down and both ends notice.
    pub(super) fn cut(&mut self, wire: usize) {
        self.epochs[wire] += 1;
        self.wires[wire].up = false;
        for end in self.wires[wire].ends {
            let now = self.clock(end);
            self.routers[end]
                .routing
                .link_down(ControlLink(wire as u64), now);
            self.drain(end);
        }
    }

    /// The link swallows everything from now on.
    pub(super) fn silence(&mut self, wire: usize, silent: bool) {
        self.wires[wire].silent = silent;
    }

    /// The process ends and a new one starts at once; neighbours see connections close and open.
    pub(super) fn restart(&mut self, number: usize) {
        let wires: Vec<_> = (0..self.wires.len())
            .filter(|wire| self.wires[*wire].up && self.wires[*wire].ends.contains(&number))
            .collect();
        for wire in &wires {
            self.cut(*wire);
        }
        let now = self.clock(number);
        let instance = self.routers[number].instance + 1000;
        let name = self.names[number].clone();
        let routing = self.life(&name, instance, now);
        let router = &mut self.routers[number];
        (router.instance, router.routing) = (instance, routing);
        for key in router.keys.clone() {
            self.announce(number, &key);
        }
        for wire in wires {
            self.raise(wire);
        }
    }

    /// As [`Self::restart`], with another id.
    pub(super) fn restart_as(&mut self, number: usize, name: &str) {
        self.names[number] = name.to_owned();
        self.restart(number);
    }

    /// The clock of a router jumps ahead, as after the sleep of its machine.
    pub(super) fn jump(&mut self, number: usize, time: Duration) {
        self.routers[number].ahead += time;
    }

    /// A router does nothing for a while; its connections stay.
    pub(super) fn stall(&mut self, number: usize, time: Duration) {
        self.routers[number].asleep = self.now + time;
    }

    fn clock(&self, number: usize) -> Instant {
        self.now + self.routers[number].ahead
    }

    pub(super) fn announce(&mut self, number: usize, key: &str) {
        let router = &mut self.routers[number];
        router.routing.announce(key, Treatment::Multicast, 0);
        if !router.keys.iter().any(|known| known == key) {
            router.keys.push(key.to_owned());
        }
    }

    pub(super) fn withdraw(&mut self, number: usize, key: &str) {
        self.routers[number].routing.withdraw(key);
        self.routers[number].keys.retain(|known| known != key);
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.routers[number].routing.poll() {
            match output {
                Output::Send { link, message } => self.send(number, link.0 as usize, message),
                Output::ViewChanged => {}
                Output::Log(event) => self.routers[number].events.push(event.to_string()),
                other => self.routers[number].events.push(format!("{other:?}")),
            }
        }
    }

    fn send(&mut self, from: usize, wire: usize, message: Bytes) {
        self.sent += 1;
        let start = &message[..message.len().min(200)];
        self.hellos += u64::from(start.windows(7).any(|word| word == b"qdhello"));
        let Wire {
            ends, up, silent, ..
        } = &self.wires[wire];
        if !up || *silent || self.random.below(100) < self.loss_percent {
            return;
        }
        let to = if ends[0] == from { ends[1] } else { ends[0] };
        let delay = self.delay + self.spread * (wire as u32 * 5 % 8) / 7;
        self.flying.insert(
            (self.now + delay, self.sent),
            (wire, to, self.epochs[wire], message),
        );
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let Some((tick, number)) = self.ticks.first().copied() else {
                return;
            };
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let next = arrival.map_or(tick, |at| at.min(tick));
            if next > end {
                break;
            }
            self.now = next;
            if arrival.is_some_and(|at| at <= tick) {
                let Some(((_, order), (wire, to, epoch, message))) = self.flying.pop_first() else {
                    break;
                };
                let asleep = self.routers[to].asleep;
                if asleep > self.now {
                    self.flying
                        .insert((asleep, order), (wire, to, epoch, message));
                    continue;
                }
                let now = self.clock(to);
                if self.epochs[wire] == epoch && !self.wires[wire].silent {
                    self.routers[to]
                        .routing
                        .receive(ControlLink(wire as u64), &message, now);
                    self.drain(to);
                }
            } else {
                self.ticks.pop_first();
                let asleep = self.routers[number].asleep;
                if asleep > self.now {
                    self.ticks.insert((asleep, number));
                    continue;
                }
                let now = self.clock(number);
                self.ticks.insert((tick + Duration::from_secs(1), number));
                self.routers[number].routing.tick(now);
                self.drain(number);
            }
        }
        self.now = end;
    }

    /// Runs until the condition holds; returns how long that took. Fails after `limit`.
    pub(super) fn run_until(
        &mut self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Duration {
        let start = self.now;
        while !condition(self) {
            assert!(
                self.now - start < limit,
                "no agreement after {limit:?}: {}",
                self.complaints().join("; ")
            );
            self.run(Duration::from_millis(50));
        }
        self.now - start
    }

    pub(super) fn view(&self, number: usize) -> std::sync::Arc<RouteView> {
        self.routers[number].routing.view()
    }

    pub(super) fn routing(&self, number: usize) -> &Routing {
        &self.routers[number].routing
    }

    pub(super) fn take_events(&mut self, number: usize) -> Vec<String> {
        std::mem::take(&mut self.routers[number].events)
    }

    pub(super) fn messages_sent(&self) -> u64 {
        self.sent
    }

    /// Messages sent, HELLO left out.
    pub(super) fn news_sent(&self) -> u64 {
        self.sent - self.hellos
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn count(&self) -> usize {
        self.routers.len()
    }

    pub(super) fn wires(&self) -> usize {
        self.wires.len()
    }

    /// A link without which all are still connected.
    pub(super) fn redundant_wire(&mut self) -> usize {
        let redundant = (0..self.wires.len()).find(|wire| {
            self.wires[*wire].up = false;
            let reached = Self::true_costs(&self.true_neighbours(), 0).len();
            let connected = reached + 1 == self.routers.len();
            self.wires[*wire].up = true;
            connected
        });
        redundant.expect("there is a ring")
    }

    /// Links between that half of the routers that is nearest to the first one and the others.
    pub(super) fn border(&self) -> Vec<usize> {
        let neighbours = self.true_neighbours();
        let mut half = BTreeSet::new();
        let mut queue = std::collections::VecDeque::from([0]);
        while let Some(at) = queue.pop_front() {
            if half.len() < self.routers.len() / 2 && half.insert(at) {
                queue.extend(neighbours[at].keys());
            }
        }
        let crosses = |wire: &usize| {
            let [a, b] = self.wires[*wire].ends;
            half.contains(&a) != half.contains(&b)
        };
        (0..self.wires.len()).filter(crosses).collect()
    }

    pub(super) fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// Neighbours of each router over links that are up, with the cost.
    fn true_neighbours(&self) -> Vec<BTreeMap<usize, u32>> {
        let mut neighbours = vec![BTreeMap::new(); self.routers.len()];
        for wire in self.wires.iter().filter(|wire| wire.up && !wire.silent) {
            let [a, b] = wire.ends;
            neighbours[a].insert(b, wire.cost);
            neighbours[b].insert(a, wire.cost);
        }
        neighbours
    }

    /// Costs of the cheapest paths from `root`, itself left out.
    fn true_costs(neighbours: &[BTreeMap<usize, u32>], root: usize) -> BTreeMap<usize, u32> {
        let mut costs = BTreeMap::new();
        let mut queue = BinaryHeap::from([Reverse((0, root))]);
        while let Some(Reverse((cost, at))) = queue.pop() {
            if costs.contains_key(&at) {
                continue;
            }
            costs.insert(at, cost);
            queue.extend(
                neighbours[at]
                    .iter()
                    .map(|(to, more)| Reverse((cost + more, *to))),
            );
        }
        costs.remove(&root);
        costs
    }

    /// What still differs between the routers' views and the truth.
    pub(super) fn complaints(&self) -> Vec<String> {
        let truth = self.truth();
        let all = (0..self.routers.len()).map(|number| self.complaints_of(number, &truth));
        all.flatten().collect()
    }

    /// Every view is the truth.
    pub(super) fn agrees(&self) -> bool {
        let truth = self.truth();
        let count = self.routers.len();
        let first = self.suspect.get();
        let wrong = (0..count)
            .map(|number| (first + number) % count)
            .find(|number| !self.complaints_of(*number, &truth).is_empty());
        self.suspect.set(wrong.unwrap_or(first));
        wrong.is_none()
    }

    fn truth(&self) -> Truth<'_> {
        let neighbours = self.true_neighbours();
        let numbers = (0..self.names.len())
            .map(|number| (self.name(number), number))
            .collect();
        let names = neighbours
            .iter()
            .map(|neighbours| {
                let mut names: Vec<_> = neighbours.keys().map(|to| self.name(*to)).collect();
                names.sort_unstable();
                names
            })
            .collect();
        Truth {
            neighbours,
            numbers,
            names,
        }
    }

    fn complaints_of(&self, number: usize, truth: &Truth<'_>) -> Vec<String> {
        let mut complaints = Vec::new();
        let name = self.name(number);
        let view = self.view(number);
        let true_costs = Self::true_costs(&truth.neighbours, number);
        let costs: BTreeMap<&str, u32> = true_costs
            .iter()
            .map(|(to, cost)| (self.name(*to), *cost))
            .collect();
        let found: BTreeMap<&str, u32> = view
            .routers
            .iter()
            .map(|(id, route)| (id.as_str(), route.cost))
            .collect();
        if costs != found {
            complaints.push(format!("{name} routes {found:?} instead of {costs:?}"));
        }
        for (to, route) in view.routers.iter() {
            let stated = truth
                .numbers
                .get(to.as_str())
                .map(|number| &truth.names[*number][..])
                .unwrap_or_default();
            let found = route.neighbours.iter().map(RouterId::as_str);
            if !found.clone().eq(stated.iter().copied()) {
                let found: Vec<_> = found.collect();
                complaints.push(format!("{name} links {to} to {found:?}, not {stated:?}"));
            }
        }
        let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for to in true_costs.keys() {
            for key in &self.routers[*to].keys {
                expected.entry(key).or_default().push(self.name(*to));
            }
        }
        expected
            .values_mut()
            .for_each(|names| names.sort_unstable());
        let mut addresses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, address) in &view.addresses {
            let mut routers: Vec<_> = address.routers.iter().map(RouterId::as_str).collect();
            routers.sort_unstable();
            addresses.insert(key, routers);
        }
        if expected != addresses {
            complaints.push(format!(
                "{name} has addresses {addresses:?}, not {expected:?}"
            ));
        }
        complaints
    }

    /// Sends a multicast from a router the way the data path does; returns the copies each announcing router got.
    pub(super) fn multicast(&self, origin: usize, key: &str) -> BTreeMap<usize, usize> {
        let mut copies = BTreeMap::new();
        let mut pending = vec![(origin, Vec::<String>::new())];
        let ingress = format!("0/{}", self.name(origin));
        while let Some((at, mut trace)) = pending.pop() {
            if self.routers[at].keys.iter().any(|known| known == key) {
                *copies.entry(at).or_default() += 1;
            }
            let view = self.view(at);
            assert!(
                trace.len() <= view.radius as usize + 1,
                "{trace:?} is longer than the radius of {}",
                self.name(at)
            );
            let entries: Vec<&str> = trace.iter().map(String::as_str).collect();
            let links =
                view.multicast_links(key, (at != origin).then_some(ingress.as_str()), &entries);
            trace.push(view.own_trace_entry.to_string());
            for link in links {
                let ends = self.wires[link.0 as usize].ends;
                let next = if ends[0] == at { ends[1] } else { ends[0] };
                pending.push((next, trace.clone()));
            }
        }
        copies
    }
}
