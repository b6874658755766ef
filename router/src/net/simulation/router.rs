//! A router without sockets and clocks: what drivers share, the routing protocol, and the table that comes of it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use crate::{
    core::{
        address::AddressSpace,
        connection::{ConnectionHandle, ConnectionId},
        connection_message::Via,
        control_message::ControlMessage,
        delivery::Delivery,
        shared::Shared,
        table::{Neighbour, Table},
    },
    routing::{Config, ControlLink, Output, RouterId, Routing},
};

/// One router.
pub(super) struct Router {
    pub(super) shared: Arc<Shared>,
    routing: Routing,
    connections: BTreeMap<ConnectionId, Arc<ConnectionHandle>>,
    messages: VecDeque<ControlMessage>,
}

impl Router {
    pub(super) fn new(number: usize, now: Instant) -> Self {
        let id = format!("r{number}");
        let mut config = Config::new(RouterId::from(id.as_str()), 1000 + number as i64);
        config.process = Some(number as u32 + 2);
        Self {
            shared: Arc::new(Shared::new(AddressSpace { id, edge: false }, Vec::new())),
            routing: Routing::new(config, now),
            connections: BTreeMap::new(),
            messages: VecDeque::new(),
        }
    }

    /// A second has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        self.routing.tick(now);
        self.take_output();
    }

    /// Does what the control task does with what drivers tell it. False if there was nothing.
    pub(super) fn control(&mut self, now: Instant) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let inbox = &self.shared.control;
        if inbox.poll_drain(&mut cx, &mut self.messages).is_pending() {
            return false;
        }
        let mut dirty = false;
        while let Some(message) = self.messages.pop_front() {
            match message {
                ControlMessage::ConnectionUp(connection) => {
                    self.connections.insert(connection.id, connection);
                    dirty = true;
                }
                ControlMessage::ConnectionDown(id) => {
                    self.connections.remove(&id);
                    self.routing.link_down(ControlLink(id.0), now);
                    dirty = true;
                }
                ControlMessage::ControlLinksUp(id) => {
                    self.routing.link_up(ControlLink(id.0), 1, now);
                }
                ControlMessage::ControlLinksDown(id) => {
                    self.routing.link_down(ControlLink(id.0), now);
                }
                ControlMessage::Routing {
                    connection,
                    message,
                } => self
                    .routing
                    .receive(ControlLink(connection.0), &message, now),
                other => panic!("nobody asked for this: {other:?}"),
            }
        }
        self.take_output();
        if dirty {
            self.publish();
        }
        true
    }

    /// Whether this router knows the way to `count` others.
    pub(super) fn reaches(&self, count: usize) -> bool {
        self.shared.table.load().routes.routers.len() == count
    }

    fn take_output(&mut self) {
        while let Some(output) = self.routing.poll() {
            match output {
                Output::Send { link, message } => {
                    if let Some(connection) = self.connections.get(&ConnectionId(link.0)) {
                        connection.deliver(Via::Control, Arc::new(Delivery::raw(message)));
                    }
                }
                Output::ViewChanged => self.publish(),
                _ => {}
            }
        }
    }

    fn publish(&self) {
        let mut table = Table::new(self.routing.view());
        table.neighbours = self
            .connections
            .values()
            .map(|control| {
                let neighbour = Neighbour {
                    control: control.clone(),
                    data: Vec::new(),
                    turn: 0.into(),
                };
                (control.id.0, Arc::new(neighbour))
            })
            .collect::<HashMap<_, _>>();
        self.shared.table.store(Arc::new(table));
    }
}
