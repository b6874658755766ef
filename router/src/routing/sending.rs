//! Messages to other routers: own ones, and those of others that are passed on.

use bytes::Bytes;

use super::{
    ControlLink, Output, RouterId, Routing,
    encode::Writer,
    message::{self, Body, Run},
    view,
};
use crate::core::annotations::Annotations;

impl Routing {
    /// The control link on the way to a router. A neighbour is reached directly before paths know of it.
    pub(super) fn link_to(&self, id: &str) -> Option<ControlLink> {
        match self.routes.get(id) {
            Some(route) => Some(route.link),
            None => self.nodes.get(id)?.link,
        }
    }

    pub(super) fn run(&self) -> Run {
        Run {
            instance: self.config.instance,
            process: self.config.process,
        }
    }

    /// An own message.
    pub(super) fn encode(&self, to: &str, body: &Body) -> Bytes {
        let mark = self.config.process.unwrap_or(message::UNTOLD);
        message::encode(&self.own_entry, &self.config.id, to, body, Some(mark))
    }

    /// Sends an own message to a router, over `fallback` if it has no route.
    pub(super) fn send_to(
        &mut self,
        id: &RouterId,
        address: &str,
        body: &Body,
        fallback: Option<ControlLink>,
    ) {
        self.refresh_routes();
        if let Some(link) = self.link_to(id.as_str()).or(fallback) {
            let message = self.encode(address, body);
            self.output.push_back(Output::Send { link, message });
        }
    }

    pub(super) fn forward_multicast(
        &mut self,
        from: ControlLink,
        annotations: &Annotations,
        rest: &[u8],
    ) {
        let ingress = annotations.ingress.as_deref();
        let links = view::multicast(&self.topology, self.routes.values(), ingress, |id| {
            annotations.traced(id)
        });
        let targets: Vec<_> = links.into_iter().filter(|link| *link != from).collect();
        let updates = self.passed_on(&targets, annotations, rest);
        self.updates.extend(updates);
    }

    /// Sends someone else's message on.
    pub(super) fn forward(
        &mut self,
        targets: &[ControlLink],
        annotations: &Annotations,
        rest: &[u8],
    ) {
        let outputs = self.passed_on(targets, annotations, rest);
        self.output.extend(outputs);
    }

    /// Someone else's message, with this router added to its trace.
    pub(super) fn passed_on(
        &self,
        targets: &[ControlLink],
        annotations: &Annotations,
        rest: &[u8],
    ) -> Vec<Output> {
        if targets.is_empty() {
            return Vec::new();
        }
        let mut writer = Writer::default();
        annotations.write_next(&self.own_entry, &mut writer);
        writer.raw(rest);
        let message = writer.finish();
        let send = |link: &ControlLink| Output::Send {
            link: *link,
            message: message.clone(),
        };
        targets.iter().map(send).collect()
    }
}
