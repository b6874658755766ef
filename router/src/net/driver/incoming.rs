//! Messages that arrive: from the first frame to the choice of destinations, then slice by slice into deliveries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use amqp::{
    Value,
    engine::{DeliveryKey, FIRST_STATE_LIMIT, LinkId},
    message::{self, Properties, section},
    performative::{Condition, DeliveryState},
};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Driver,
    counts::Unsettled,
    links::{Kind, LONGEST_NAME, too_long},
    outcomes::Retained,
    room,
    waiting::{Count, Progress, WATCHED},
};
use crate::{
    adaptor::tcp::bridge,
    core::{
        access::{self, Access},
        address::strip,
        annotations::{Annotations, RESEND_RELEASED, STREAMING},
        connection::ConnectionRole,
        control_message::ControlMessage,
        delivery::{Delivery, Wake},
        forward::{self, Choice, Request, Sink},
    },
};

/// A message that is not marked as streaming is gathered up to this size, then it streams (the peers' "Q2" limit).
const GATHER_LIMIT: usize = 256 * 1024;
/// The same for what a router says to another one: room for all the addresses that one router may announce.
const CONTROL_LIMIT: usize = 16 * 1024 * 1024;

/// One transfer frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) first: bool,
    pub(super) payload: Bytes,
    pub(super) more: bool,
    pub(super) settled: bool,
    pub(super) aborted: bool,
    pub(super) state: Option<DeliveryState>,
}

/// A message being received, or received and not settled yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) link: LinkId,
    pub(super) presettled: bool,
    pub(super) state: State,
    /// The last that its sender said of its state, encoded.
    pub(super) told: Option<Bytes>,
    /// The message can be sent to another destination if this one releases it.
    pub(super) retained: Option<Box<Retained>>,
    /// When it began to arrive.
    pub(super) since: Instant,
    /// Until it is settled.
    pub(super) unsettled: Option<Unsettled>,
    /// How it moves, while much waits on the connection.
    pub(super) progress: Option<Box<Progress>>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Not enough received to choose a destination.
    Gathering(Gathered),
    /// On its way to one sink, or to several (multicast).
    Flowing(SmallVec<[Branch; 1]>),
    /// Octets of this message are dropped; it has been answered. `credited`: the link has its credit back.
    Refused { credited: bool },
}

/// The beginning of a message; its octets count among those that wait on the connection.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    octets: BytesMut,
    count: Option<Count>,
}

impl Gathered {
    fn new(octets: BytesMut, waiting: &Arc<AtomicUsize>) -> Self {
        Self {
            count: Some(Count::new(waiting, octets.len())),
            octets,
        }
    }

    /// How many octets have come.
    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    /// All that has come so far, with what comes now.
    fn with(&mut self, more: Bytes) -> Bytes {
        self.count = None;
        if self.octets.is_empty() {
            return more;
        }
        self.octets.extend_from_slice(&more);
        std::mem::take(&mut self.octets).freeze()
    }
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) delivery: Arc<Delivery>,
    pub(super) outcome: Option<DeliveryState>,
    pub(super) settled: bool,
}

impl Incoming {
    /// The connection is lost: what is not complete is broken off.
    pub(super) fn abort(self) {
        if let State::Flowing(branches) = self.state {
            for branch in branches {
                branch.delivery.abort();
            }
        }
    }

    /// Its sender says something of its state. False if that is too long to be passed on.
    pub(super) fn tell(&mut self, state: &DeliveryState) -> bool {
        let mut octets = BytesMut::new();
        state.encode(&mut octets);
        if octets.len() > FIRST_STATE_LIMIT {
            return false;
        }
        let octets = octets.freeze();
        // Proton repeats it with every frame.
        if self.told.as_ref() == Some(&octets) {
            return true;
        }
        for branch in self.branches() {
            branch.delivery.tell_state(octets.clone());
        }
        self.told = Some(octets);
        true
    }

    /// Its link, if it flows.
    pub(super) fn streams_on(&self) -> Option<LinkId> {
        matches!(self.state, State::Flowing(_)).then_some(self.link)
    }

    /// Octets of it wait.
    pub(super) fn waits(&self) -> bool {
        match &self.state {
            State::Gathering(gathered) => gathered.len() > 0,
            State::Flowing(branches) => branches
                .iter()
                .any(|branch| branch.delivery.backlog().waiting > 0),
            State::Refused { .. } => false,
        }
    }

    pub(super) fn branches(&mut self) -> &mut [Branch] {
        match &mut self.state {
            State::Flowing(branches) => branches,
            State::Gathering(_) | State::Refused { .. } => &mut [],
        }
    }
}

/// What has to be known of a message before it can be routed.
struct Head {
    annotations: Annotations,
    to: Option<String>,
    priority: u8,
    /// Octets of the annotations section.
    annotations_len: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn transfer(&mut self, link: LinkId, key: DeliveryKey, frame: Frame) {
        let Some(kind) = self.link(link).map(|attached| attached.kind.clone()) else {
            return;
        };
        self.reminders.arrived = true;
        let slot = key.0 as usize;
        if slot >= self.incoming.len() {
            self.incoming.resize_with(slot + 1, || None);
        }
        if frame.first {
            self.count_begun(link, frame.settled);
            let since = Instant::now();
            if !frame.settled {
                self.watch_stuck(since);
            }
            let record = self.link(link).and_then(|link| link.record.as_ref());
            let unsettled = record.filter(|_| !frame.settled).map(Unsettled::new);
            self.incoming[slot] = Some(Incoming {
                since,
                unsettled,
                link,
                presettled: frame.settled,
                state: State::Gathering(Gathered::default()),
                told: None,
                retained: None,
                progress: None,
            });
        }
        let Some(mut incoming) = self.incoming[slot].take() else {
            return;
        };
        incoming.presettled |= frame.settled;
        if frame.aborted {
            self.replenish(link);
            incoming.abort();
            return;
        }
        let more = frame.more;
        if let Some(state) = &frame.state
            && !incoming.tell(state)
            && matches!(incoming.state, State::Gathering(_))
        {
            self.refuse_message(&mut incoming, key, long_state());
        }
        match &mut incoming.state {
            State::Flowing(branches) => {
                if let Some(retained) = &mut incoming.retained {
                    retained.push(frame.payload.clone());
                }
                incoming
                    .retained
                    .take_if(|retained| retained.is_too_large());
                let mut full = false;
                for branch in branches.iter() {
                    branch.delivery.push(frame.payload.clone());
                    full |= !room::has_room(&branch.delivery);
                    if !more {
                        branch.delivery.finish(incoming.presettled);
                    }
                }
                if full && let Some(session) = self.link(link).map(|attached| attached.session) {
                    self.hold(key, session);
                }
            }
            State::Gathering(_) => {
                if let Err(state) = self.gather(&mut incoming, key, &kind, frame) {
                    self.refuse_message(&mut incoming, key, state);
                }
            }
            State::Refused { .. } => {}
        }
        if self.waiting.load(Ordering::Relaxed) > WATCHED {
            self.crowded(&mut incoming, key, more);
        }
        let (refused, credited) = match incoming.state {
            State::Refused { credited } => (true, credited),
            _ => (false, false),
        };
        let done = !more && (incoming.presettled || refused);
        if done && incoming.presettled && !credited {
            self.replenish(link);
        }
        if !done {
            self.incoming[slot] = Some(incoming);
        }
    }

    /// Adds octets to a message without destination and chooses one as soon as that is possible.
    fn gather(
        &mut self,
        incoming: &mut Incoming,
        key: DeliveryKey,
        kind: &Kind,
        frame: Frame,
    ) -> Result<(), DeliveryState> {
        let State::Gathering(gathered) = &mut incoming.state else {
            return Ok(());
        };
        let complete = !frame.more;
        let octets = gathered.with(frame.payload);
        match kind {
            Kind::Control => {
                if !complete {
                    if octets.len() > CONTROL_LIMIT {
                        self.complain_of_control_message(octets.len());
                        return Err(DeliveryState::Released);
                    }
                    incoming.state = self.gathers_on(octets);
                    return Ok(());
                }
                self.tell(ControlMessage::Routing {
                    connection: self.id,
                    message: octets,
                });
                return Err(DeliveryState::Accepted);
            }
            Kind::Tracking | Kind::Mesh => {
                if !complete {
                    incoming.state = self.gathers_on(octets);
                    return if self.gathered_too_much(incoming) {
                        Err(DeliveryState::Released)
                    } else {
                        Ok(())
                    };
                }
                self.edge_message(kind, &octets);
                return Err(DeliveryState::Accepted);
            }
            _ => {}
        }
        let address = self
            .link(incoming.link)
            .and_then(|attached| attached.address.clone());
        let head = match self.read_head(&octets, complete, address.is_some()) {
            Ok(Some(head)) => head,
            Ok(None) if octets.len() > GATHER_LIMIT => return Err(malformed()),
            Ok(None) => {
                incoming.state = self.gathers_on(octets);
                return Ok(());
            }
            Err(state) => return Err(state),
        };
        if !complete && !head.annotations.has(STREAMING) && octets.len() < GATHER_LIMIT {
            incoming.state = self.gathers_on(octets);
            return Ok(());
        }
        self.route(incoming, key, head, &octets, complete, address.as_deref())
    }

    fn complain_of_control_message(&self, octets: usize) {
        let text = "a routing message is too large, it is dropped";
        let refused = &self.shared.counters.routing_refused;
        refused.fetch_add(1, Ordering::Relaxed);
        if let Some(handle) = &self.handle
            && let Some(silent) = self
                .shared
                .complaints
                .due(&format!("{text} {}", handle.container))
        {
            tracing::warn!(target: "router::core", peer = %handle.container, silent, octets, "{text}");
        }
    }

    fn gathered_too_much(&self, incoming: &Incoming) -> bool {
        matches!(&incoming.state, State::Gathering(octets) if octets.len() > GATHER_LIMIT)
    }

    fn route(
        &mut self,
        incoming: &mut Incoming,
        key: DeliveryKey,
        mut head: Head,
        octets: &Bytes,
        complete: bool,
        link_address: Option<&str>,
    ) -> Result<(), DeliveryState> {
        if let Some(address) = link_address {
            head.annotations.to_override = Some(address.to_owned());
        }
        head.annotations.flags |= self
            .link(incoming.link)
            .map_or(0, |attached| attached.flags);
        let address = head.annotations.to_override.clone().or(head.to);
        if address
            .as_ref()
            .is_some_and(|address| address.len() > LONGEST_NAME)
        {
            return Err(DeliveryState::Rejected(Some(too_long())));
        }
        let Some(address) = address else {
            let text = "Routing failure: no address present";
            return Err(DeliveryState::Rejected(Some(Condition::new(
                "amqp:precondition-failed",
                text,
            ))));
        };
        let arrived_on = self.handle.clone();
        let request = Request {
            address: &address,
            annotations: &head.annotations,
            arrived_on: arrived_on.as_deref(),
            complete,
            preferred: None,
        };
        if let Some(connection) = arrived_on.as_deref()
            && connection.role == ConnectionRole::Normal
            && access::is_management(&address)
            && Access::of(connection) == Access::None
        {
            access::complain(
                &self.shared,
                &connection.facts.host,
                "a message from a client without proven identity",
            );
            return Err(access::refused());
        }
        let choice = {
            let table = self.shared.table.load();
            if let Some(priority) = table.configured.priority(strip(&address)) {
                head.priority = priority;
            }
            let choice = forward::choose(&self.shared, &table, request);
            let message = &octets[head.annotations_len..];
            bridge::adapt(&self.shared, &table, request, choice, message)
        };
        let Some(choice) = choice else {
            // The head of a stream, not complete.
            incoming.state = self.gathers_on(octets.clone());
            return Ok(());
        };
        self.count_arrival(incoming.presettled);
        let sinks: SmallVec<[Sink; 1]> = match choice {
            Choice::One(Sink::Management(_)) if !complete => {
                incoming.state = self.gathers_on(octets.clone());
                return if octets.len() >= GATHER_LIMIT {
                    Err(malformed())
                } else {
                    Ok(())
                };
            }
            Choice::One(sink) => SmallVec::from_iter([sink]),
            Choice::Many(sinks) => sinks.into_iter().collect(),
            Choice::Nowhere => return Err(DeliveryState::Released),
            Choice::Unavailable => {
                let text = "Deliveries cannot be sent to an unavailable address";
                return Err(DeliveryState::Rejected(Some(Condition::new(
                    "amqp:not-found",
                    text,
                ))));
            }
        };
        let body = octets.slice(head.annotations_len..);
        if let ([sink], true, false) = (
            sinks.as_slice(),
            head.annotations.has(RESEND_RELEASED),
            incoming.presettled,
        ) && let Some(counter) = sink.counter()
        {
            incoming.retained = Some(Box::new(Retained::new(
                address,
                body.clone(),
                counter,
                &self.waiting,
            )));
        }
        let mut branches = SmallVec::new();
        for sink in sinks {
            let delivery = Delivery::new(
                head.annotations.clone(),
                Some(self.id),
                incoming.presettled,
                head.priority,
            );
            let delivery = Arc::new(delivery.counted_in(&self.waiting));
            if let Some(state) = &incoming.told {
                delivery.tell_state(state.clone());
            }
            delivery.push(body.clone());
            if complete {
                delivery.finish(incoming.presettled);
            }
            delivery.set_source(Wake::Incoming(self.inbox.clone(), key));
            branches.push(Branch {
                delivery: delivery.clone(),
                outcome: None,
                settled: false,
            });
            forward::dispatch(&self.shared, sink, delivery);
        }
        incoming.state = State::Flowing(branches);
        if !complete {
            self.watch_incoming();
        }
        Ok(())
    }

    /// State of a message of which more has to come.
    fn gathers_on(&self, octets: Bytes) -> State {
        let octets = octets
            .try_into_mut()
            .unwrap_or_else(|octets| BytesMut::from(&octets[..]));
        State::Gathering(Gathered::new(octets, &self.waiting))
    }

    fn count_arrival(&self, presettled: bool) {
        let counters = &self.shared.counters;
        if !self.role().is_between_interiors() {
            counters.ingress.fetch_add(1, Ordering::Relaxed);
        }
        if presettled {
            counters.presettled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads sections until the destination is known. `Ok(None)`: more octets are needed.
    fn read_head(
        &self,
        octets: &[u8],
        complete: bool,
        targeted: bool,
    ) -> Result<Option<Head>, DeliveryState> {
        let mut head = Head {
            annotations: Annotations::default(),
            to: None,
            priority: 4,
            annotations_len: 0,
        };
        let mut at = 0;
        while at < octets.len() {
            let rest = &octets[at..];
            match message::section_start(rest) {
                Err(_) => return Err(malformed()),
                Ok(None) if complete => return Err(malformed()),
                Ok(None) => return Ok(None),
                Ok(Some(start))
                    if start.code >= section::APPLICATION_PROPERTIES
                        && start.code != section::ROUTER_ANNOTATIONS =>
                {
                    return Ok(Some(head));
                }
                Ok(Some(_)) => {}
            }
            let next = match message::next_section(rest) {
                Err(_) => return Err(malformed()),
                Ok(None) if complete => return Err(malformed()),
                Ok(None) => return Ok(None),
                Ok(Some(next)) => next,
            };
            let value = &rest[next.value_at..next.len];
            match next.code {
                section::ROUTER_ANNOTATIONS if at == 0 => {
                    head.annotations_len = next.len;
                    // Annotations of a client are not believed; the section is dropped.
                    if self.options.role != ConnectionRole::Normal {
                        let (value, _) = Value::decode_slice(value).map_err(|_| malformed())?;
                        head.annotations = Annotations::from_value(&value).map_err(|error| {
                            DeliveryState::Rejected(Some(Condition::new(
                                "amqp:invalid-field",
                                error.to_string(),
                            )))
                        })?;
                    }
                    if targeted {
                        return Ok(Some(head));
                    }
                }
                section::HEADER => {
                    if let Ok(header) = message::Header::decode(value) {
                        head.priority = header.priority.unwrap_or(4).min(9);
                    }
                }
                section::PROPERTIES => {
                    head.to = Properties::decode(value).map_err(|_| malformed())?.to;
                    return Ok(Some(head));
                }
                _ => {}
            }
            at += next.len;
        }
        Ok((complete || targeted && at > 0).then_some(head))
    }

    /// Gives up the messages being received on a link that is gone.
    pub(super) fn abort_incoming(&mut self, link: LinkId) {
        for slot in &mut self.incoming {
            if slot.as_ref().is_some_and(|incoming| incoming.link == link)
                && let Some(incoming) = slot.take()
            {
                incoming.abort();
            }
        }
    }
}

fn long_state() -> DeliveryState {
    let text = format!("the state of a message may take {FIRST_STATE_LIMIT} octets");
    DeliveryState::Rejected(Some(Condition::new("amqp:frame-size-too-small", text)))
}

fn malformed() -> DeliveryState {
    DeliveryState::Rejected(Some(Condition::new(
        "amqp:decode-error",
        "invalid message format",
    )))
}

#[cfg(test)]
mod tests {
    use amqp::{Described, Symbol};

    use super::*;

    fn custom(octets: usize) -> DeliveryState {
        DeliveryState::Other(Value::Described(Box::new(Described {
            descriptor: Value::Symbol(Symbol::from_static("x")),
            value: Value::Binary(vec![0; octets].into()),
        })))
    }

    #[test]
    fn a_state_is_passed_on_once_and_not_if_it_has_no_place_in_a_frame() {
        let delivery = Arc::new(Delivery::new(Annotations::default(), None, false, 4));
        let branch = Branch {
            delivery: delivery.clone(),
            outcome: None,
            settled: false,
        };
        let mut incoming = Incoming {
            link: LinkId(0),
            presettled: false,
            state: State::Flowing(SmallVec::from_iter([branch])),
            told: None,
            retained: None,
            since: Instant::now(),
            unsettled: None,
            progress: None,
        };
        assert!(!incoming.tell(&custom(FIRST_STATE_LIMIT)));
        assert!(incoming.tell(&custom(300)));
        assert!(delivery.take_state().is_some());
        assert!(incoming.tell(&custom(300)));
        assert_eq!(delivery.take_state(), None);
        assert!(incoming.tell(&DeliveryState::Accepted));
        assert!(delivery.take_state().is_some());
    }
}
