//! Links that this side attaches: the fixed links between interiors, and an edge router's uplink with its proxies.

use std::sync::Arc;

use amqp::{
    Symbol, Value,
    engine::{LinkId, SessionId},
    message::{self, section},
    performative::{Attach, Role},
};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Driver,
    links::{
        ADDRESS_TRACKING, Attached, CAPABILITY_CONTROL, CAPABILITY_DATA, CAPABILITY_DOWNLINK, Kind,
        MESH_DISCOVERY, PRIORITIES, TRACKING_CREDIT,
    },
    outgoing::{router_attach, sender_attach},
};
use crate::core::{
    Offence, annotations::Annotations, connection_message::Via, control_message::ControlMessage,
    delivery::Delivery,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
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
            let priority = u8::try_from(index.saturating_sub(1)).unwrap_or_default();
            let receiver = router_attach(Role::Receiver, None, None, capabilities.clone());
            if let Ok(link) = self.engine.attach(session, receiver) {
                let mut attached = Attached::receiver(kind.clone(), session, None);
                attached.priority = priority;
                self.put_link(link, attached);
            }
            if let Ok(link) = self
                .engine
                .attach(session, sender_attach(None, capabilities))
            {
                let mut attached = Attached::sender(kind.clone(), session, None);
                attached.priority = priority;
                self.put_link(link, attached);
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
        if self.handle.as_ref().is_some_and(|handle| handle.own_peer) {
            self.invite_data();
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
                    self.tell(ControlMessage::ProxyUp {
                        connection: self.id,
                        link,
                        address,
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
            self.note_credit(link);
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
            if let Some(handle) = &self.handle {
                let what = "malformed message about addresses or meshes ignored";
                self.shared
                    .offended(Offence::Protocol, &handle.facts.host, what, &what);
            }
            return;
        };
        match kind {
            Kind::Mesh => {
                let mesh = message
                    .application_properties
                    .iter()
                    .find(|(key, _)| key.as_str() == Some("meshid"));
                if let Some(mesh) = mesh.and_then(|(_, value)| value.as_str()) {
                    if let Some(handle) = &self.handle {
                        handle.mesh.store(Some(Arc::new(mesh.to_owned())));
                    }
                    self.tell(ControlMessage::MeshChanged(self.id));
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
                    self.tell(ControlMessage::Reachable {
                        connection: self.id,
                        key,
                        reachable,
                    });
                }
            }
            _ => {}
        }
    }
}
