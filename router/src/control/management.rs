//! Requests to management: what is answered, passed on as a change, or made in turns.

use std::sync::{Arc, atomic::Ordering};

use amqp::message::Message;
use bytes::{Bytes, BytesMut};
use tracing::info;

use super::Control;
use crate::{
    core::{
        Offence,
        access::{self, Access},
        annotations::Annotations,
        connection::{ConnectionHandle, ConnectionId},
        connection_message::Command,
        delivery::Delivery,
        forward::{self, Choice},
        requests::{ANSWERS, Request},
    },
    management::{self, Answer, Changed, Handled, Query},
};

/// Rows of a table that are made before anything else is looked after.
const ROWS: usize = 256;
/// Octets of the rows of one answer.
const LARGEST_ANSWER: usize = 128 << 20;

impl Control {
    /// Answers a management request, or passes on what it wants changed.
    pub(super) fn manage(&mut self, request: Request) {
        let Some(peer) = self.connections.get(request.connection) else {
            // That it is up has been told, and not been handled yet. Those of connections that are gone are forgotten.
            if let Err(request) = self.shared.requests.add(request) {
                request.refuse(&self.shared, "too many requests of this connection wait");
            }
            return;
        };
        if peer.answers.load(Ordering::Relaxed) > ANSWERS {
            // Whoever asks and does not read does not get more to read.
            request.refuse(
                &self.shared,
                "answers to earlier requests of this connection have not been read",
            );
            return;
        }
        self.in_process.asked(&self.shared.table.load().routes);
        match self.answer(&request.message(), request.access, peer) {
            Some(query) => self.query = Some((*query, request)),
            None => request.accept(),
        }
    }

    /// Makes some rows of the answer that is being made.
    pub(super) fn go_on(&mut self) {
        let Some((mut query, request)) = self.query.take() else {
            return;
        };
        let Some(peer) = self.connections.get(request.connection) else {
            // Nobody waits for it any more.
            return;
        };
        if query.turn(self, ROWS, LARGEST_ANSWER) {
            let Answer { to, message } = query.answer();
            self.send(&to, message, Some(peer));
            request.accept();
        } else {
            self.query = Some((query, request));
        }
    }

    /// Answers a request, unless that takes several turns.
    fn answer(
        &self,
        request: &Bytes,
        access: Access,
        peer: &ConnectionHandle,
    ) -> Option<Box<Query>> {
        let request = match Message::decode(request) {
            Ok(request) => request,
            Err(error) => {
                let what = format!("malformed management request ignored: {error}");
                let host = &peer.facts.host;
                self.shared
                    .offended(Offence::Protocol, host, "management request", &what);
                return None;
            }
        };
        match management::handle(&request, self, access) {
            None => {}
            Some(Handled::Query(query)) => return Some(query),
            Some(Handled::Answer(answer)) => {
                if access != Access::Full && status_of(&answer) == Some(403) {
                    let host = &peer.facts.host;
                    access::complain(&self.shared, host, "a change over a router connection");
                }
                self.reply(&answer, Some(peer));
            }
            Some(Handled::Close { connection, answer }) => {
                // First, so that the answer is under way if this is the connection that it goes to.
                self.reply(&answer, Some(peer));
                if let Ok(id) = connection.parse() {
                    self.close(id);
                }
            }
            Some(Handled::Change(change)) => {
                if let Err(error) = self.changes.try_send(change) {
                    self.reply(&error.into_inner().busy(), Some(peer));
                }
            }
        }
        None
    }

    /// Ends a connection or a flow. Whoever is at the far end of a flow sees a reset: it must not look whole.
    fn close(&self, id: u64) {
        if let Some(connection) = self.connections.get(ConnectionId(id)) {
            info!(target: "router::agent", connection = id, peer = %connection.facts.host,
                "connection closed by management");
            connection.command(Command::Close(None));
        } else if let Some(flow) = self.shared.flows.find(id) {
            info!(target: "router::agent", connection = id, address = %flow.address(),
                "flow closed by management");
            flow.cancel.cancel();
        }
    }

    /// Answers a change that was made or refused.
    pub(super) fn changed(&self, changed: Changed) {
        self.reply(&changed.answer(self), None);
    }

    fn reply(&self, reply: &Message, asker: Option<&ConnectionHandle>) {
        let Some(address) = &reply.properties.to else {
            return;
        };
        let mut octets = BytesMut::new();
        reply.encode(&mut octets);
        self.send(address, [octets.freeze()], asker);
    }

    /// Sends an answer; it counts among those of the connection that asked until it is read.
    fn send(
        &self,
        address: &str,
        message: impl IntoIterator<Item = Bytes>,
        asker: Option<&ConnectionHandle>,
    ) {
        let mut delivery = Delivery::new(Annotations::default(), None, true, 4);
        if let Some(asker) = asker {
            delivery = delivery.counted_in(&asker.answers);
        }
        for part in message {
            delivery.push(part);
        }
        delivery.finish(true);
        let routed = forward::Request {
            address,
            annotations: &delivery.annotations,
            arrived_on: None,
            complete: true,
            preferred: None,
        };
        let choice = {
            let table = self.shared.table.load();
            forward::choose(&self.shared, &table, routed)
        };
        if let Choice::One(sink) = choice {
            forward::dispatch(&self.shared, sink, Arc::new(delivery));
        }
    }
}

fn status_of(answer: &Message) -> Option<i64> {
    let status = answer.application_properties.first()?;
    status.1.as_i64()
}

#[cfg(test)]
mod tests;
