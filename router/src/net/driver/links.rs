//! Links of a connection: who may attach what, the fixed links between routers, and the proxies of an edge router.

use std::sync::{Arc, atomic::Ordering};

use amqp::{
    Symbol, Value,
    engine::{LinkId, SessionId},
    message::{self, section},
    performative::{Attach, Condition, RcvSettleMode, Role, SndSettleMode},
};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{
    Driver, describe,
    outgoing::{Queue, router_attach, sender_attach},
};
use crate::core::{
    address::{AddressKey, strip},
    annotations::Annotations,
    delivery::Delivery,
    local::LocalTarget,
    shared::{ConnectionRole, ControlMessage, Via},
};

/// Message priorities, hence data links per direction between two interiors.
const PRIORITIES: usize = 10;
const CAPABILITY_CONTROL: &str = "qd.router";
const CAPABILITY_DATA: &str = "qd.router-data";
const CAPABILITY_DOWNLINK: &str = "qd.router-edge-downlink";
const ADDRESS_TRACKING: &str = "_$qd.edge_addr_tracking";
const MESH_DISCOVERY: &str = "_$qd.mesh_discovery";
/// Credit an interior gives on the mesh discovery link.
const MESH_CREDIT: u32 = 3;
/// Credit an edge gives on the address tracking link.
const TRACKING_CREDIT: u32 = 32;

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
    registered: bool,
    /// Name in [`crate::core::local::LocalAddresses`].
    dynamic: Option<String>,
    /// Outgoing messages; none on receiving links.
    pub(super) queue: Option<Queue>,
    /// The peer asked for pre-settled messages.
    pub(super) settles: bool,
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
            settles: false,
        }
    }

    pub(super) fn sender(kind: Kind, session: SessionId, address: Option<Arc<str>>) -> Self {
        Self::new(kind, session, address, Some(Queue::default()))
    }

    fn receiver(kind: Kind, session: SessionId, address: Option<Arc<str>>) -> Self {
        Self::new(kind, session, address, None)
    }
}

/// Fixed links of an inter-router control connection.
#[derive(Debug, Default)]
pub(super) struct RouterLinks {
    pub(super) control_out: Option<LinkId>,
    control_in: Option<LinkId>,
    /// By priority.
    pub(super) data_out: Vec<LinkId>,
    data_in: usize,
    announced: bool,
}

/// Fixed links and proxies of an edge router's active uplink.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    session: Option<SessionId>,
    pub(super) anonymous: Option<LinkId>,
}

/// Why an attach is refused.
enum Refusal {
    NoRoute,
    Forbidden,
    ConnectionRole(&'static str),
    NotImplemented,
    Silent,
}

impl Refusal {
    fn condition(&self) -> Option<Condition> {
        let (condition, text) = match self {
            Self::NoRoute => ("qd:no-route-to-dest", "No route to the destination node"),
            Self::Forbidden => ("qd:forbidden", "Connectivity to the node is forbidden"),
            Self::ConnectionRole(text) => ("qd:connection-role", *text),
            Self::NotImplemented => ("amqp:not-implemented", "Incoming messages not allowed"),
            Self::Silent => return None,
        };
        Some(Condition::new(condition, text))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn link(&self, link: LinkId) -> Option<&Attached> {
        self.links.get(link.0 as usize)?.as_ref()
    }

    pub(super) fn link_mut(&mut self, link: LinkId) -> Option<&mut Attached> {
        self.links.get_mut(link.0 as usize)?.as_mut()
    }

    pub(super) fn put_link(&mut self, link: LinkId, attached: Attached) {
        let slot = link.0 as usize;
        if slot >= self.links.len() {
            self.links.resize_with(slot + 1, || None);
        }
        self.links[slot] = Some(attached);
        self.shared.counters.links.fetch_add(1, Ordering::Relaxed);
    }

    fn role(&self) -> ConnectionRole {
        self.handle
            .as_ref()
            .map_or(self.options.role, |handle| handle.role)
    }

    // ----- links that the peer attaches -----

    pub(super) fn remote_attach(&mut self, link: LinkId, attach: &Attach) {
        let outcome = match attach.role {
            Role::Sender => self.accept_receiver(link, attach),
            Role::Receiver => self.accept_sender(link, attach),
        };
        if let Err(refusal) = outcome {
            debug!(target: "router::core", connection = self.id.0, link = %attach.name, "attach refused");
            self.engine.refuse(link, refusal.condition());
        }
    }

    /// The peer sends on this link.
    fn accept_receiver(&mut self, link: LinkId, attach: &Attach) -> Result<(), Refusal> {
        let session = self.engine.link_session(link);
        let target = attach
            .target
            .as_ref()
            .filter(|target| !target.coordinator)
            .ok_or(Refusal::NoRoute)?;
        let has = |name: &str| {
            target
                .capabilities
                .iter()
                .any(|symbol| symbol.as_str() == name)
        };
        let mut reply = reply_to(attach);
        let capacity = self.options.link_capacity;
        if has(CAPABILITY_CONTROL) || has(CAPABILITY_DATA) {
            if self.role() != ConnectionRole::InterRouter {
                return Err(Refusal::Forbidden);
            }
            let kind = if has(CAPABILITY_CONTROL) {
                self.router_links.control_in = Some(link);
                Kind::Control
            } else if self.router_links.data_in < PRIORITIES {
                self.router_links.data_in += 1;
                Kind::Data
            } else {
                Kind::Stream
            };
            self.accept_and_grant(
                link,
                reply,
                Attached::receiver(kind, session, None),
                capacity,
            );
            self.check_control_links();
            return Ok(());
        }
        self.check_endpoint_allowed()?;
        let Some(address) = target.address.clone().filter(|address| !address.is_empty()) else {
            if target.dynamic {
                return Err(Refusal::NoRoute);
            }
            let kind = if self.role() == ConnectionRole::Normal {
                Kind::Endpoint
            } else {
                Kind::Stream
            };
            self.accept_and_grant(
                link,
                reply,
                Attached::receiver(kind, session, None),
                capacity,
            );
            return Ok(());
        };
        match address.as_str() {
            MESH_DISCOVERY => {
                if self.role() != ConnectionRole::Edge {
                    return Err(Refusal::Silent);
                }
                // C edges expect the termini of the answer swapped.
                let (source, target) = (reply.source.take(), reply.target.take());
                reply.source = target.map(|target| amqp::performative::Source {
                    address: target.address,
                    expiry_policy: target.expiry_policy,
                    ..Default::default()
                });
                reply.target = source.map(|source| amqp::performative::Target {
                    address: source.address,
                    expiry_policy: source.expiry_policy,
                    ..Default::default()
                });
                self.accept_and_grant(
                    link,
                    reply,
                    Attached::receiver(Kind::Mesh, session, None),
                    MESH_CREDIT,
                );
                return Ok(());
            }
            ADDRESS_TRACKING => return Err(Refusal::NotImplemented),
            _ => {}
        }
        let space = self.shared.space.clone();
        let text: Arc<str> = strip(&address).into();
        let mut attached =
            Attached::receiver(Kind::Endpoint, session, Some(address.as_str().into()));
        match space.classify(&address) {
            AddressKey::Local(_) | AddressKey::Router(_) => {
                self.accept_and_grant(link, reply, attached, capacity);
            }
            AddressKey::Edge(_) | AddressKey::Mobile(_) => {
                // Credit comes from the control task, once the address has a destination.
                let key: Arc<str> = space.classify(&text).to_string().into();
                attached.registered = true;
                self.engine.accept(link, reply);
                self.put_link(link, attached);
                if let Some(connection) = self.handle.clone() {
                    self.shared.tell(ControlMessage::ProducerUp {
                        connection,
                        link,
                        key,
                    });
                }
            }
            AddressKey::AllRouters(_) | AddressKey::Foreign(_) => return Err(Refusal::NoRoute),
        }
        Ok(())
    }

    /// The peer receives on this link.
    fn accept_sender(&mut self, link: LinkId, attach: &Attach) -> Result<(), Refusal> {
        let session = self.engine.link_session(link);
        let source = attach.source.as_ref().ok_or(Refusal::NoRoute)?;
        let has = |name: &str| {
            source
                .capabilities
                .iter()
                .any(|symbol| symbol.as_str() == name)
        };
        let mut reply = reply_to(attach);
        if has(CAPABILITY_CONTROL) || has(CAPABILITY_DATA) {
            if self.role() != ConnectionRole::InterRouter {
                return Err(Refusal::Forbidden);
            }
            let kind = if has(CAPABILITY_CONTROL) {
                Kind::Control
            } else {
                Kind::Data
            };
            self.engine.accept(link, reply);
            self.put_link(link, Attached::sender(kind.clone(), session, None));
            if kind == Kind::Control {
                self.router_links.control_out = Some(link);
            } else if self.router_links.data_out.len() < PRIORITIES {
                self.router_links.data_out.push(link);
            }
            self.check_control_links();
            return Ok(());
        }
        self.check_endpoint_allowed()?;
        let Some(connection) = self.handle.clone() else {
            return Err(Refusal::Forbidden);
        };
        let mut attached = Attached::sender(Kind::Endpoint, session, None);
        attached.settles = attach.snd_settle_mode == SndSettleMode::Settled;
        if source.dynamic {
            let name = self
                .shared
                .local
                .register(LocalTarget::Link(connection, link));
            if let Some(source) = &mut reply.source {
                source.address = Some(self.shared.space.dynamic(&name));
            }
            attached.dynamic = Some(name);
            self.engine.accept(link, reply);
            self.put_link(link, attached);
            return Ok(());
        }
        let address = source
            .address
            .clone()
            .filter(|address| !address.is_empty())
            .ok_or(Refusal::NoRoute)?;
        if has(CAPABILITY_DOWNLINK) {
            if self.role() != ConnectionRole::Edge || self.shared.space.edge {
                return Err(Refusal::Forbidden);
            }
            attached.kind = Kind::Downlink;
            attached.registered = true;
            self.engine.accept(link, reply);
            self.put_link(link, attached);
            let key: Arc<str> = format!("H{address}").into();
            self.shared.tell(ControlMessage::ConsumerUp {
                connection,
                link,
                key,
            });
            return Ok(());
        }
        match address.as_str() {
            ADDRESS_TRACKING => {
                if self.role() != ConnectionRole::Edge {
                    return Err(Refusal::ConnectionRole(
                        "Connection does not support address tracking",
                    ));
                }
                attached.kind = Kind::Tracking;
                self.engine.accept(link, reply);
                self.put_link(link, attached);
                self.shared
                    .tell(ControlMessage::TrackingUp { connection, link });
                return Ok(());
            }
            MESH_DISCOVERY => return Err(Refusal::Silent),
            _ => {}
        }
        let AddressKey::Mobile(text) = self.shared.space.classify(&address) else {
            return Err(Refusal::NoRoute);
        };
        let key: Arc<str> = format!("M{text}").into();
        attached.registered = true;
        attached.address = Some(text.into());
        self.engine.accept(link, reply);
        self.put_link(link, attached);
        self.shared.tell(ControlMessage::ConsumerUp {
            connection,
            link,
            key,
        });
        Ok(())
    }

    fn accept_and_grant(&mut self, link: LinkId, reply: Attach, attached: Attached, credit: u32) {
        self.engine.accept(link, reply);
        self.put_link(link, attached);
        self.engine.grant(link, credit);
    }

    /// Endpoint links on an inter-router connection are only for routers, which attach control links first.
    fn check_endpoint_allowed(&self) -> Result<(), Refusal> {
        if self.role() == ConnectionRole::InterRouter && self.router_links.control_in.is_none() {
            return Err(Refusal::ConnectionRole(
                "Link attach forbidden on inter-router connection",
            ));
        }
        Ok(())
    }

    fn check_control_links(&mut self) {
        let links = &mut self.router_links;
        if !links.announced && links.control_in.is_some() && links.control_out.is_some() {
            links.announced = true;
            self.shared.tell(ControlMessage::ControlLinksUp(self.id));
        }
    }

    // ----- links that this side attaches -----

    /// Connector side of an inter-router connection: control and data links, one session each.
    pub(super) fn attach_router_links(&mut self) {
        let sessions: Vec<SessionId> = (0..=PRIORITIES).map(|_| self.engine.begin()).collect();
        for (index, session) in sessions.into_iter().enumerate() {
            let (kind, capability) = if index == 0 {
                (Kind::Control, CAPABILITY_CONTROL)
            } else {
                (Kind::Data, CAPABILITY_DATA)
            };
            let capabilities = vec![Symbol::from_static(capability)];
            let receiver = router_attach(Role::Receiver, None, None, capabilities.clone());
            if let Ok(link) = self.engine.attach(session, receiver) {
                self.put_link(link, Attached::receiver(kind.clone(), session, None));
            }
            if let Ok(link) = self
                .engine
                .attach(session, sender_attach(None, capabilities))
            {
                self.put_link(link, Attached::sender(kind.clone(), session, None));
                if kind == Kind::Data {
                    self.router_links.data_out.push(link);
                }
            }
        }
    }

    /// Edge router: the links every uplink has.
    pub(super) fn activate_uplink(&mut self) {
        let internal = self.engine.begin();
        let session = self.engine.begin();
        self.uplink.session = Some(session);
        let mesh = sender_attach(Some(MESH_DISCOVERY), Vec::new());
        if let Ok(link) = self.engine.attach(internal, mesh) {
            self.put_link(link, Attached::sender(Kind::Mesh, internal, None));
        }
        if let Ok(link) = self.engine.attach(session, sender_attach(None, Vec::new())) {
            self.put_link(link, Attached::sender(Kind::Uplink, session, None));
            self.uplink.anonymous = Some(link);
        }
        let downlink = vec![Symbol::from_static(CAPABILITY_DOWNLINK)];
        let id = self.shared.space.id.clone();
        if let Ok(link) = self.engine.attach(
            session,
            router_attach(Role::Receiver, Some(&id), None, downlink),
        ) {
            self.put_link(link, Attached::receiver(Kind::Downlink, session, None));
        }
        let tracking = router_attach(Role::Receiver, Some(ADDRESS_TRACKING), None, Vec::new());
        if let Ok(link) = self.engine.attach(internal, tracking) {
            self.put_link(link, Attached::receiver(Kind::Tracking, internal, None));
        }
    }

    /// Edge router: a link for one address towards the interior.
    pub(super) fn attach_proxy(&mut self, address: Arc<str>, consumer: bool) {
        let Some(session) = self.uplink.session else {
            return;
        };
        let attach = if consumer {
            router_attach(Role::Receiver, Some(&address), None, Vec::new())
        } else {
            sender_attach(Some(&address), Vec::new())
        };
        if let Ok(link) = self.engine.attach(session, attach) {
            let kind = Kind::Proxy { consumer };
            self.put_link(
                link,
                if consumer {
                    Attached::receiver(kind, session, Some(address))
                } else {
                    Attached::sender(kind, session, Some(address))
                },
            );
        }
    }

    pub(super) fn detach_proxy(&mut self, address: &str, consumer: bool) {
        let found = self.links.iter().position(|attached| {
            attached.as_ref().is_some_and(|attached| {
                attached.kind == Kind::Proxy { consumer }
                    && attached.address.as_deref() == Some(address)
            })
        });
        if let Some(index) = found {
            let link = LinkId(u32::try_from(index).unwrap_or(u32::MAX));
            self.engine.detach(link, true, None);
            self.drop_link(link);
        }
    }

    /// The peer answered an attach of this side.
    pub(super) fn attach_answered(&mut self, link: LinkId, attach: &Attach) {
        let capacity = self.options.link_capacity;
        let Some(attached) = self.link(link) else {
            return;
        };
        let kind = attached.kind.clone();
        let receives = attached.queue.is_none();
        // A null terminus of the peer means refusal; the Detach with the reason follows. Mesh discovery swaps termini.
        let refused = if receives {
            attach.source.is_none()
        } else {
            attach.target.is_none()
        };
        if refused && kind != Kind::Mesh {
            return;
        }
        match (&kind, receives) {
            (Kind::Control, true) => self.router_links.control_in = Some(link),
            (Kind::Control, false) => self.router_links.control_out = Some(link),
            (Kind::Mesh, false) => self.send_mesh_id(link),
            (Kind::Proxy { consumer: false }, false) => {
                if let Some(address) = attached.address.clone() {
                    self.shared.tell(ControlMessage::ProxyUp {
                        connection: self.id,
                        link,
                        address,
                        consumer: false,
                    });
                }
            }
            _ => {}
        }
        if receives {
            self.engine.grant(
                link,
                if kind == Kind::Tracking {
                    TRACKING_CREDIT
                } else {
                    capacity
                },
            );
        }
        self.check_control_links();
        self.mark_ready(link);
    }

    fn send_mesh_id(&mut self, link: LinkId) {
        let mut octets = BytesMut::new();
        let properties = Value::Map(vec![(
            Value::Symbol(Symbol::from_static("meshid")),
            Value::String(self.shared.mesh.clone()),
        )]);
        message::write_section(section::APPLICATION_PROPERTIES, &properties, &mut octets);
        let delivery = Delivery::new(Annotations::default(), None, true, 4);
        delivery.push(octets.freeze());
        delivery.finish(true);
        self.enqueue(Via::Link(link), Arc::new(delivery));
    }

    /// A message on one of the links by which edges and interiors talk about addresses.
    pub(super) fn edge_message(&mut self, kind: &Kind, octets: &Bytes) {
        let Ok(message) = message::Message::decode(octets) else {
            debug!(target: "router::core", connection = self.id.0, "malformed edge message ignored");
            return;
        };
        match kind {
            Kind::Mesh => {
                let mesh = message
                    .application_properties
                    .iter()
                    .find(|(key, _)| key.as_str() == Some("meshid"));
                if let Some(mesh) = mesh.and_then(|(_, value)| value.as_str()) {
                    self.shared.tell(ControlMessage::Mesh {
                        connection: self.id,
                        mesh: mesh.to_owned(),
                    });
                }
            }
            Kind::Tracking => {
                let message::Body::Value(Value::List(list)) = &message.body else {
                    return;
                };
                if let [key, reachable, ..] = list.as_slice()
                    && let (Some(key), Some(reachable)) = (key.as_str(), reachable.as_bool())
                {
                    let key = key.to_owned();
                    self.shared.tell(ControlMessage::Reachable {
                        connection: self.id,
                        key,
                        reachable,
                    });
                }
            }
            _ => {}
        }
    }

    // ----- the end of links -----

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
        if let Some(name) = &attached.dynamic {
            self.shared.local.remove(name);
        }
        if attached.registered {
            self.shared.tell(if attached.queue.is_some() {
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
            self.shared.tell(ControlMessage::ControlLinksDown(self.id));
        }
        if attached.kind == (Kind::Proxy { consumer: false }) && attached.queue.is_some() {
            self.shared.tell(ControlMessage::ConsumerDown {
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

/// Answer to an attach: termini repeated with the expiry policy that C routers write out.
fn reply_to(attach: &Attach) -> Attach {
    let expiry = || Some(Symbol::from_static("session-end"));
    let mut reply = Attach {
        snd_settle_mode: SndSettleMode::Mixed,
        rcv_settle_mode: RcvSettleMode::First,
        source: attach.source.clone(),
        target: attach.target.clone(),
        initial_delivery_count: Some(0),
        max_message_size: Some(0),
        properties: attach.properties.clone(),
        ..Attach::default()
    };
    if let Some(source) = &mut reply.source {
        source.expiry_policy = expiry();
    }
    if let Some(target) = &mut reply.target {
        target.expiry_policy = expiry();
    }
    reply
}
