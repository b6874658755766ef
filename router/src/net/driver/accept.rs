//! Links that the peer attaches: what is accepted, and with which credit.

use std::sync::Arc;

use amqp::{
    Symbol,
    engine::LinkId,
    performative::{Attach, Condition, RcvSettleMode, Role, SndSettleMode},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{
    Driver,
    links::{
        ADDRESS_TRACKING, Attached, CAPABILITY_CONTROL, CAPABILITY_DATA, CAPABILITY_DOWNLINK, Kind,
        LONGEST_NAME, MESH_CREDIT, MESH_DISCOVERY, PRIORITIES, too_long,
    },
};
use crate::{
    core::{
        Offence,
        access::{self, Access},
        address::{AddressKey, strip},
        annotations::{RESEND_RELEASED, STREAMING},
        connection::ConnectionRole,
        control_message::ControlMessage,
        local::{LocalTarget, random_name},
    },
    routing::Treatment,
};

/// Capabilities by which a producer asks for [`STREAMING`] and [`RESEND_RELEASED`].
const CAPABILITY_STREAMING: &str = "qd.streaming-deliveries";
const CAPABILITY_RESEND: &str = "qd.resend-released";
/// Local addresses that clients do not name: of the management agent, of reply links, of services inside routers.
const MANAGEMENT: &str = "$management";
const DYNAMIC: &str = "temp.";
const INTERNAL: &str = "_$qd.";

/// Why an attach is refused.
enum Refusal {
    NoRoute,
    Forbidden,
    /// An edge wants what is sent to another one.
    NotItsAddress,
    TooLong,
    ConnectionRole(&'static str),
    NotImplemented,
    Unavailable,
    Unauthorized,
    Silent,
}

impl Refusal {
    fn condition(&self) -> Option<Condition> {
        let (condition, text) = match self {
            Self::NoRoute => ("qd:no-route-to-dest", "No route to the destination node"),
            Self::Forbidden => ("qd:forbidden", "Connectivity to the node is forbidden"),
            Self::NotItsAddress => (
                "qd:forbidden",
                "An edge router has no address but that of its own id",
            ),
            Self::ConnectionRole(text) => ("qd:connection-role", *text),
            Self::NotImplemented => ("amqp:not-implemented", "Incoming messages not allowed"),
            Self::Unavailable => ("amqp:not-found", "Node not found"),
            Self::Unauthorized => return Some(access::unauthorized()),
            Self::TooLong => return Some(too_long()),
            Self::Silent => return None,
        };
        Some(Condition::new(condition, text))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn remote_attach(&mut self, link: LinkId, attach: &Attach) {
        let outcome = match attach.role {
            _ if has_long_name(attach) => Err(Refusal::TooLong),
            Role::Sender => self.accept_receiver(link, attach),
            Role::Receiver => self.accept_sender(link, attach),
        };
        if let Err(refusal) = outcome {
            self.complain_of_link(attach, &refusal);
            self.engine.refuse(link, refusal.condition());
        }
    }

    fn complain_of_link(&self, attach: &Attach, refusal: &Refusal) {
        let condition = refusal.condition();
        debug!(target: "router::core", connection = self.id.0, link = %attach.name, ?condition, "attach refused");
        let (Some(handle), Some(condition)) = (&self.handle, condition) else {
            return;
        };
        // What concerns management has been counted and logged as such.
        if !matches!(refusal, Refusal::Unauthorized) {
            let kind = condition.to_string();
            self.shared
                .offended(Offence::Link, &handle.facts.host, &kind, &condition);
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
        let flag = |name, flag: u32| {
            if named(&target.capabilities, name) {
                flag
            } else {
                0
            }
        };
        let flags =
            flag(CAPABILITY_STREAMING, STREAMING) | flag(CAPABILITY_RESEND, RESEND_RELEASED);
        let mut reply = reply_to(attach);
        let capacity = self.options.link_capacity;
        if let Some(mut kind) = self.router_link(&target.capabilities)? {
            let data = self.router_links.data_in;
            if kind == Kind::Control {
                self.router_links.control_in = Some(link);
            } else if data < PRIORITIES {
                self.router_links.data_in += 1;
            } else {
                kind = Kind::Stream;
            }
            let mut attached = Attached::receiver(kind.clone(), session, None);
            if kind == Kind::Data {
                attached.priority = u8::try_from(data).unwrap_or_default();
            }
            self.accept_and_grant(link, reply, attached, capacity);
            self.check_control_links();
            return Ok(());
        }
        self.check_endpoint_allowed()?;
        let mut address = target.address.clone().filter(|address| !address.is_empty());
        if address.is_none() && target.dynamic {
            // Any receiver of the network can be told of it: unlike dynamic sources, these are mobile.
            address = Some(format!("amqp:/_$temp.{}", random_name(15)));
            if let Some(target) = &mut reply.target {
                target.address.clone_from(&address);
            }
        }
        let Some(address) = address else {
            let kind = if self.role() == ConnectionRole::Normal {
                Kind::Endpoint
            } else {
                Kind::Stream
            };
            let mut attached = Attached::receiver(kind, session, None);
            attached.flags = flags;
            self.accept_and_grant(link, reply, attached, capacity);
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
        self.check_management(&address)?;
        let space = self.shared.space.clone();
        let text: Arc<str> = strip(&address).into();
        let mut attached =
            Attached::receiver(Kind::Endpoint, session, Some(address.as_str().into()));
        attached.flags = flags;
        match space.classify(&address) {
            AddressKey::Local(name) if name.starts_with(INTERNAL) => {
                // A service of other releases, such as the heartbeat of 2.4 edges: never credited, as nobody is there.
                self.engine.accept(link, reply);
                self.put_link(link, attached);
            }
            AddressKey::Local(name) if name == MANAGEMENT || name.starts_with(DYNAMIC) => {
                self.accept_and_grant(link, reply, attached, capacity);
            }
            AddressKey::Router(_) => {
                self.accept_and_grant(link, reply, attached, capacity);
            }
            // Only the interior knows whether there is such an edge.
            AddressKey::Edge(_) if space.edge => {
                self.accept_and_grant(link, reply, attached, capacity);
            }
            AddressKey::Local(_) | AddressKey::Edge(_) | AddressKey::Mobile(_) => {
                self.check_available(&text)?;
                // Credit comes from the control task, once the address has a destination.
                let key: Arc<str> = space.classify(&text).to_string().into();
                attached.registered = true;
                self.engine.accept(link, reply);
                self.put_link(link, attached);
                if let Some(connection) = self.handle.clone() {
                    self.tell(ControlMessage::ProducerUp {
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
        let mut reply = reply_to(attach);
        if let Some(kind) = self.router_link(&source.capabilities)? {
            self.engine.accept(link, reply);
            let mut attached = Attached::sender(kind.clone(), session, None);
            if kind == Kind::Data {
                let data = self.router_links.data_out.len();
                attached.priority = u8::try_from(data).unwrap_or(u8::MAX);
            }
            self.put_link(link, attached);
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
        if named(&source.capabilities, CAPABILITY_DOWNLINK) {
            if self.role() != ConnectionRole::Edge || self.shared.space.edge {
                return Err(Refusal::Forbidden);
            }
            // C edges, too, have their id in both places.
            if address != connection.container {
                return Err(Refusal::NotItsAddress);
            }
            attached.kind = Kind::Downlink;
            attached.registered = true;
            self.engine.accept(link, reply);
            self.put_link(link, attached);
            let key: Arc<str> = format!("H{address}").into();
            self.tell(ControlMessage::ConsumerUp {
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
                self.tell(ControlMessage::TrackingUp { connection, link });
                return Ok(());
            }
            MESH_DISCOVERY => return Err(Refusal::Silent),
            _ => {}
        }
        self.check_management(&address)?;
        let (key, text): (Arc<str>, Arc<str>) = match self.shared.space.classify(&address) {
            AddressKey::Mobile(text) => (format!("M{text}").into(), text.into()),
            // Between clients of this router.
            AddressKey::Local(name)
                if name != MANAGEMENT
                    && !name.starts_with(DYNAMIC)
                    && !name.starts_with(INTERNAL) =>
            {
                (format!("L{name}").into(), name.into())
            }
            _ => return Err(Refusal::NoRoute),
        };
        self.check_available(strip(&address))?;
        attached.registered = true;
        attached.address = Some(text);
        self.engine.accept(link, reply);
        self.put_link(link, attached);
        self.tell(ControlMessage::ConsumerUp {
            connection,
            link,
            key,
        });
        Ok(())
    }

    /// What a link between routers is for, by its capabilities; none if it is not one.
    fn router_link(&self, capabilities: &[Symbol]) -> Result<Option<Kind>, Refusal> {
        let kind = if named(capabilities, CAPABILITY_CONTROL) {
            Kind::Control
        } else if named(capabilities, CAPABILITY_DATA) {
            Kind::Data
        } else {
            return Ok(None);
        };
        if self.role() == ConnectionRole::InterRouter {
            Ok(Some(kind))
        } else {
            Err(Refusal::Forbidden)
        }
    }

    fn accept_and_grant(&mut self, link: LinkId, reply: Attach, attached: Attached, credit: u32) {
        self.engine.accept(link, reply);
        self.put_link(link, attached);
        self.engine.grant(link, credit);
        self.note_credit(link);
    }

    fn check_available(&self, address: &str) -> Result<(), Refusal> {
        let key = self.shared.space.classify(address).to_string();
        let table = self.shared.table.load();
        if table.configured.treatment(&key) == Treatment::Unavailable {
            return Err(Refusal::Unavailable);
        }
        Ok(())
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

    /// Clients need access for any management node. Routers ask over addresses that lead through the network; the short
    /// ones are those of clients.
    fn check_management(&self, address: &str) -> Result<(), Refusal> {
        if !access::is_management(address) {
            return Ok(());
        }
        let Some(connection) = self.handle.as_deref() else {
            return Err(Refusal::Unauthorized);
        };
        let allowed = match Access::of(connection) {
            Access::Full => true,
            Access::Read => {
                strip(address).starts_with("_topo/") || strip(address).starts_with("_edge/")
            }
            Access::None => false,
        };
        if allowed {
            return Ok(());
        }
        access::complain(
            &self.shared,
            &connection.facts.host,
            "a link from a peer without access",
        );
        Err(Refusal::Unauthorized)
    }

    pub(super) fn check_control_links(&mut self) {
        let links = &mut self.router_links;
        if !links.announced && links.control_in.is_some() && links.control_out.is_some() {
            links.announced = true;
            self.tell(ControlMessage::ControlLinksUp(self.id));
        }
    }
}

/// What is refused by its name is kept nowhere.
fn has_long_name(attach: &Attach) -> bool {
    let source = attach.source.as_ref();
    let target = attach.target.as_ref();
    [
        Some(&attach.name),
        source.and_then(|source| source.address.as_ref()),
        target.and_then(|target| target.address.as_ref()),
    ]
    .into_iter()
    .flatten()
    .any(|name| name.len() > LONGEST_NAME)
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

fn named(capabilities: &[Symbol], name: &str) -> bool {
    capabilities.iter().any(|symbol| symbol.as_str() == name)
}
