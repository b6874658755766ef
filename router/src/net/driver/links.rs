//! Links of a connection: what they are for, and how they are found and forgotten.

use std::sync::{Arc, atomic::Ordering};

use amqp::{
    engine::{LinkId, SessionId},
    performative::Condition,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{Driver, describe, outgoing::Queue};
use crate::core::{connection::ConnectionRole, control_message::ControlMessage, links::LinkRecord};

/// Message priorities, hence data links per direction between two interiors.
pub(super) const PRIORITIES: usize = 10;
pub(super) const CAPABILITY_CONTROL: &str = "qd.router";
pub(super) const CAPABILITY_DATA: &str = "qd.router-data";
pub(super) const CAPABILITY_DOWNLINK: &str = "qd.router-edge-downlink";
pub(super) const ADDRESS_TRACKING: &str = "_$qd.edge_addr_tracking";
pub(super) const MESH_DISCOVERY: &str = "_$qd.mesh_discovery";
/// Credit an interior gives on the mesh discovery link.
pub(super) const MESH_CREDIT: u32 = 3;
/// Credit an edge gives on the address tracking link.
pub(super) const TRACKING_CREDIT: u32 = 32;

/// Octets of a link's name, of an address, of a container id. Ids of routers have no more, either.
pub(super) const LONGEST_NAME: usize = 1024;

/// Why something with a longer name is refused.
pub(super) fn too_long() -> Condition {
    Condition::new(
        "amqp:resource-limit-exceeded",
        format!("names and addresses have at most {LONGEST_NAME} octets"),
    )
}

/// Priority of messages that name none.
const DEFAULT_PRIORITY: u8 = 4;

/// What a link is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Routing control.
    Control,
    /// Messages of one priority between interiors.
    Data,
    /// One long message at a time.
    Stream,
    /// A client's link, or a proxy of an edge router seen from its interior.
    Endpoint,
    /// Edge address tracking.
    Tracking,
    /// Mesh discovery.
    Mesh,
    /// From an interior to an edge: everything addressed to the edge itself.
    Downlink,
    /// From an edge to its interior: everything without a proxy.
    Uplink,
    /// An edge router's link for one address.
    Proxy { consumer: bool },
}

/// An attached link, or one being attached by this side.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) kind: Kind,
    pub(super) session: SessionId,
    /// Address of a targeted incoming link, or of a proxy.
    pub(super) address: Option<Arc<str>>,
    /// Table key under which the control task knows the link.
    pub(super) registered: bool,
    /// Name in [`crate::core::local::LocalAddresses`].
    pub(super) dynamic: Option<String>,
    /// Outgoing messages; none on receiving links.
    pub(super) queue: Option<Queue>,
    /// Flags that messages of this incoming link get in their router annotations.
    pub(super) flags: u32,
    /// The peer asked for pre-settled messages.
    pub(super) settles: bool,
    /// Of the messages on it, as far as that is the same for all.
    pub(super) priority: u8,
    /// What management shows of it, from [`Driver::put_link`] on.
    pub(super) record: Option<Arc<LinkRecord>>,
}

impl Attached {
    fn new(
        kind: Kind,
        session: SessionId,
        address: Option<Arc<str>>,
        queue: Option<Queue>,
    ) -> Self {
        Self {
            kind,
            session,
            address,
            registered: false,
            dynamic: None,
            queue,
            flags: 0,
            settles: false,
            priority: DEFAULT_PRIORITY,
            record: None,
        }
    }

    pub(super) fn sender(kind: Kind, session: SessionId, address: Option<Arc<str>>) -> Self {
        Self::new(kind, session, address, Some(Queue::default()))
    }

    pub(super) fn receiver(kind: Kind, session: SessionId, address: Option<Arc<str>>) -> Self {
        Self::new(kind, session, address, None)
    }
}

/// Fixed links of an inter-router control connection.
#[derive(Debug, Default)]
pub(super) struct RouterLinks {
    pub(super) control_out: Option<LinkId>,
    pub(super) control_in: Option<LinkId>,
    /// By priority.
    pub(super) data_out: Vec<LinkId>,
    pub(super) data_in: usize,
    pub(super) announced: bool,
}

/// Fixed links and proxies of an edge router's active uplink.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    pub(super) session: Option<SessionId>,
    pub(super) anonymous: Option<LinkId>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn link(&self, link: LinkId) -> Option<&Attached> {
        self.links.get(link.0 as usize)?.as_ref()
    }

    pub(super) fn link_mut(&mut self, link: LinkId) -> Option<&mut Attached> {
        self.links.get_mut(link.0 as usize)?.as_mut()
    }

    pub(super) fn put_link(&mut self, link: LinkId, mut attached: Attached) {
        let record = self.record(link, &attached);
        if let Some(handle) = &self.handle {
            handle.links.insert(record.clone());
        }
        attached.record = Some(record);
        let slot = link.0 as usize;
        if slot >= self.links.len() {
            self.links.resize_with(slot + 1, || None);
        }
        self.links[slot] = Some(attached);
        self.note_credit(link);
        self.shared.counters.links.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn role(&self) -> ConnectionRole {
        self.handle
            .as_ref()
            .map_or(self.options.role, |handle| handle.role)
    }

    pub(super) fn remote_detach(&mut self, link: LinkId, closed: bool, error: Option<&Condition>) {
        if let Some(error) = error {
            debug!(target: "router::core", connection = self.id.0, error = %describe(error), "link detached by the peer");
        }
        // Answers in kind; does nothing if this side has detached already.
        self.engine.detach(link, closed, None);
        self.drop_link(link);
    }

    /// Forgets a link: messages get outcomes, the control task and the address registry are told.
    pub(super) fn drop_link(&mut self, link: LinkId) {
        let Some(attached) = self.links.get_mut(link.0 as usize).and_then(Option::take) else {
            return;
        };
        self.shared.counters.links.fetch_sub(1, Ordering::Relaxed);
        if let (Some(handle), Some(record)) = (&self.handle, &attached.record) {
            handle.links.remove(record.id);
        }
        if let Some(name) = &attached.dynamic {
            self.shared.local.remove(name);
        }
        if attached.registered {
            self.tell(if attached.queue.is_some() {
                ControlMessage::ConsumerDown {
                    connection: self.id,
                    link,
                }
            } else {
                ControlMessage::ProducerDown {
                    connection: self.id,
                    link,
                }
            });
        }
        if attached.kind == Kind::Control && self.router_links.announced {
            self.router_links.announced = false;
            self.tell(ControlMessage::ControlLinksDown(self.id));
        }
        if attached.kind == (Kind::Proxy { consumer: false }) && attached.queue.is_some() {
            self.tell(ControlMessage::ConsumerDown {
                connection: self.id,
                link,
            });
        }
        match attached.queue {
            Some(queue) => self.release_queue(link, queue),
            None => self.abort_incoming(link),
        }
    }
}
