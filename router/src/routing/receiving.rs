//! Messages from control links: for whom they are, and who handles them here.

use std::time::Instant;

use bytes::Bytes;

use super::{
    ControlLink, LogEvent, MessageError, Output, Routing,
    decode::Envelope,
    message::{Body, Destination, Header, Run},
};
use crate::core::annotations::Annotations;

impl Routing {
    /// A message from the control link; `message` is the whole of its octets.
    ///
    /// Whatever is wrong with it is logged, nothing of it has an effect then. Messages on links that are not up are
    /// ignored.
    pub fn receive(&mut self, link: ControlLink, message: &Bytes, now: Instant) {
        self.now = now;
        if !self.links.contains_key(&link) {
            return;
        }
        if let Err(error) = self.dispatch(link, message, now) {
            self.refused += 1;
            self.output
                .push_back(Output::Log(LogEvent::Malformed { link, error }));
        }
    }

    /// Messages refused as a whole or in part since the last call: malformed, of a newer protocol, from unknown routers,
    /// or beyond a limit.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    fn dispatch(
        &mut self,
        link: ControlLink,
        message: &Bytes,
        now: Instant,
    ) -> Result<(), MessageError> {
        let (annotations, rest) = Annotations::split(message)?;
        let annotations = annotations.unwrap_or_default();
        let envelope = Envelope::decode(&rest)?;
        let Some(address) = annotations.to_override.as_deref().or(envelope.to()) else {
            return Err(MessageError::NoAddress);
        };
        let Some(destination) = Destination::parse(address) else {
            return Err(MessageError::Address(address.chars().take(128).collect()));
        };
        self.refresh_routes();
        // A message that has been here before, be it one of our own, has nothing new.
        let looped = annotations.traced(self.config.id.as_str());
        match destination {
            Destination::Router(id) if id != self.config.id.as_str() => {
                if let Some(next) = self.link_to(id).filter(|next| !looped && *next != link) {
                    self.overhear(&envelope, now);
                    self.forward(&[next], &annotations, &rest);
                }
                return Ok(());
            }
            Destination::Multicast if !looped => self.forward_multicast(link, &annotations, &rest),
            _ => {}
        }
        let (header, body) = envelope.control()?;
        if header.id == self.config.id {
            // A link state may be an old one of ours that someone still holds.
            let instance = match &body {
                Body::Hello(hello) => hello.instance,
                Body::Ra(ra) => ra.instance,
                _ => return Ok(()),
            };
            let process = header.process;
            if (Run { instance, process }).differs(&self.run()) {
                self.report_duplicate(now);
            }
            return Ok(());
        }
        let flood = matches!(destination, Destination::Flood) && !looped;
        if flood
            && let Body::Ra(ra) = &body
            && self.learn(&header.id)
        {
            self.flood_ra(link, &header, ra, &annotations, &rest);
        }
        if !self.understands(&header, &body) {
            return Ok(());
        }
        if matches!(body, Body::Ra(_) | Body::Lsu(_) | Body::Mau { .. }) {
            self.digest = None;
        }
        if let Body::Lsu(update) = body {
            let process = header.process;
            let run = update.instance.map(|instance| Run { instance, process });
            let with_addresses = update.addresses.is_some();
            if self.handle_lsu(&header, update, now) && flood {
                self.pass_on_link_state(link, &header, run, with_addresses, &annotations, &rest);
            }
            return Ok(());
        }
        self.handle(link, &destination, &header, body, now)
    }

    fn handle(
        &mut self,
        link: ControlLink,
        destination: &Destination<'_>,
        header: &Header,
        body: Body,
        now: Instant,
    ) -> Result<(), MessageError> {
        match (destination, body) {
            (Destination::Hello, Body::Hello(hello)) => {
                self.handle_hello(link, header, &hello, now);
            }
            // A HELLO that was forwarded says nothing about this link.
            (Destination::Hello, _) | (_, Body::Hello(_)) => {
                return Err(MessageError::Opcode("HELLO".to_owned()));
            }
            (_, Body::Ra(ra)) => self.handle_ra(header, &ra, now),
            (_, Body::Lsr) => self.handle_lsr(link, header),
            (_, Body::Lsu(update)) => {
                self.handle_lsu(header, update, now);
            }
            (_, Body::Mar { have_seq }) => self.handle_mar(link, header, have_seq),
            (_, Body::Mau { mobile_seq, change }) => {
                self.handle_mau(header, mobile_seq, change, now);
            }
        }
        Ok(())
    }

    fn understands(&mut self, header: &Header, body: &Body) -> bool {
        let understood = header.version <= body.newest_version();
        self.refused += u64::from(!understood);
        if !understood
            && self.warned_version.len() < self.config.max_routers
            && self.warned_version.insert(header.id.clone())
        {
            let event = LogEvent::UnsupportedVersion {
                id: header.id.clone(),
                version: header.version,
            };
            self.output.push_back(Output::Log(event));
        }
        understood
    }
}
