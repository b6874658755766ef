//! From the peer's Open to a connection that the router knows.

use std::{sync::Arc, time::Instant};

use amqp::performative::Condition;
use arc_swap::ArcSwapOption;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Driver, Ended, describe, links,
    open::{LARGE_FRAME_SIZE, LocalOpen, PeerFacts},
    options::local_open,
};
use crate::{
    core::{
        connection::{ConnectionHandle, ConnectionRole},
        control_message::ControlMessage,
        links::Links,
    },
    worker,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Both sides have opened: the role is final and the connection becomes known to the router.
    pub(super) fn opened(&mut self) -> Result<(), Ended> {
        let facts = self
            .engine
            .remote_open()
            .map(PeerFacts::read)
            .unwrap_or_default();
        let mut role = self.options.role;
        if role == ConnectionRole::InterRouter && !self.options.outgoing && facts.data {
            role = ConnectionRole::InterRouterData;
        }
        let own_edge_data = facts.edge_data && facts.own_frame_size.is_some();
        if role == ConnectionRole::Edge && !self.options.outgoing && own_edge_data {
            role = ConnectionRole::EdgeData;
        }
        let own_id = &self.shared.space.id;
        let refused = if facts.container.len() > links::LONGEST_NAME {
            let condition = links::too_long();
            Some((Ended::Protocol(describe(&condition)), condition))
        } else if role != ConnectionRole::Normal && facts.container == *own_id {
            let ended = Ended::DuplicateId(own_id.clone());
            let condition = Condition::new("amqp:not-allowed", ended.to_string());
            Some((ended, condition))
        } else {
            None
        };
        if let Some((ended, condition)) = refused {
            if !self.options.outgoing {
                let open = self.local_open(role).performative();
                self.engine.open(Some(open));
            }
            self.engine.close(Some(condition));
            return Err(ended);
        }
        if !self.options.outgoing {
            let open = self.local_open(role).performative();
            self.engine.open(Some(open));
        }
        if role != ConnectionRole::Normal {
            // Our Open says 16 KiB for the sake of C routers, and more to peers that know the property.
            let own = self.options.max_frame_size;
            self.engine
                .set_receive_frame_limit(own.max(LARGE_FRAME_SIZE));
        }
        if let (Some(size), true) = (facts.own_frame_size, role != ConnectionRole::Normal) {
            self.engine.set_transmit_frame_size(size);
        }
        let mut management = self.options.facts.clone();
        management.cost = self.options.cost.max(facts.cost.unwrap_or(1));
        management.properties = facts.properties;
        management.sasl = self
            .engine
            .sasl_mechanism()
            .map(|mechanism| mechanism.as_str().to_owned())
            .unwrap_or_default();
        let proven = management
            .user
            .take()
            .filter(|_| management.sasl == "EXTERNAL");
        management.user = proven.or_else(|| self.engine.authenticated_as().map(str::to_owned));
        let group = self.options.group.as_ref();
        management.group = group
            .map(|group| group.correlator.to_string())
            .or(facts.group);
        management.group_ordinal = group.map_or(facts.ordinal, |group| group.ordinal);
        management.opened = Some(Instant::now());
        let handle = Arc::new(ConnectionHandle {
            id: self.id,
            inbox: self.inbox.clone(),
            worker: worker::current().unwrap_or_default(),
            role,
            outgoing: self.options.outgoing,
            streaming: facts.streaming,
            trunking: facts.trunking,
            own_peer: facts.own_frame_size.is_some(),
            container: facts.container,
            facts: management,
            mesh: ArcSwapOption::empty(),
            octets_in: 0.into(),
            octets_out: 0.into(),
            last_delivery: 0.into(),
            links: Links::default(),
            answers: Arc::default(),
            leaving: CancellationToken::new(),
        });
        self.handle = Some(handle.clone());
        self.shared.counters.connection_opened(role);
        debug!(target: "router::server", connection = self.id.0, role = role.as_str(), peer = %handle.container, "connection opened");
        self.tell(ControlMessage::ConnectionUp(handle));
        if role == ConnectionRole::InterRouter && self.options.outgoing {
            self.attach_router_links();
            self.invite_data();
        }
        Ok(())
    }

    /// From now on data connections may be made beside this one.
    pub(super) fn invite_data(&self) {
        if let (Some(beside), Some(group)) = (&self.options.beside, &self.options.group) {
            beside.send_replace(Some(group.clone()));
        }
    }

    fn local_open(&self, role: ConnectionRole) -> LocalOpen<'_> {
        local_open(&self.shared, self.id, &self.options, role)
    }
}
