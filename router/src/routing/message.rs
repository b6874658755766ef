//! Control messages: addresses, opcodes and bodies.
//!
//! HELLO, RA, LSR and LSU have string keys and `int` numbers, MAR and MAU symbol keys and `long` numbers; other
//! implementations are written so too, but any integer and either kind of key is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use amqp::DecodeError;
use bytes::Bytes;

use super::encode::{Keys, Open, Writer};
use super::{RouterId, Treatment};
use crate::core::annotations::Annotations;

/// Every neighbour, one hop.
pub(super) const HELLO_ADDRESS: &str = "amqp:/_local/qdhello";
/// Every router, over every link.
pub(super) const FLOOD_ADDRESS: &str = "amqp:/_topo/0/all/qdrouter";
/// Every router, one copy each; written without the scheme.
pub(super) const MULTICAST_ADDRESS: &str = "_topo/0/all/qdrouter.ma";

/// Version of HELLO, RA, LSR and LSU.
pub(super) const LINK_STATE_VERSION: i64 = 1;
/// Version of MAR and MAU.
pub(super) const MOBILE_VERSION: i64 = 2;

/// Entry of HELLO with the digest of what the sender knows, a positive integer of 32 bits.
pub(super) const DIGEST: &str = "digest";

/// Entry of HELLO, RA and LSU by which routers of this implementation know each other across the network; its value is
/// [`UNTOLD`] or the [`Config::process`](super::Config::process) of the router. C routers read the entries that they know.
pub(super) const OWN_MARK: &str = "skupper";
/// Entry of LSU with all addresses of its router, as the `exist` of a MAU.
pub(super) const ADDRESSES: &str = "addresses";
/// Value of [`OWN_MARK`] that tells no process.
pub(super) const UNTOLD: u32 = 1;

const HEADER: u64 = 0x70;
pub(super) const PROPERTIES: u64 = 0x73;
pub(super) const APPLICATION_PROPERTIES: u64 = 0x74;
pub(super) const AMQP_VALUE: u64 = 0x77;

/// Why a control message was ignored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// Not AMQP.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The section of router annotations has an unusable field.
    #[error("router annotations: unusable {0}")]
    Annotations(&'static str),
    /// Neither a to-override annotation nor a `to` property.
    #[error("no address")]
    NoAddress,
    /// An address that no control message has.
    #[error("unexpected address \"{0}\"")]
    Address(String),
    /// No `opcode`, or one without meaning.
    #[error("unexpected opcode \"{0}\"")]
    Opcode(String),
    /// A field of the body is absent or unusable.
    #[error("{opcode}: missing or unusable {field}")]
    Field {
        /// Kind of message.
        opcode: &'static str,
        /// Key in the body.
        field: &'static str,
    },
}

/// Where a control message goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination<'a> {
    /// `_local/qdhello`
    Hello,
    /// `_local/qdrouter` and `_local/qdrouter.ma`
    Here,
    /// `_topo/0/all/qdrouter`
    Flood,
    /// `_topo/0/all/qdrouter.ma`
    Multicast,
    /// `_topo/0/<id>/…`
    Router(&'a str),
}

impl<'a> Destination<'a> {
    pub(super) fn parse(address: &'a str) -> Option<Self> {
        let path = without_scheme(address);
        if let Some(name) = path.strip_prefix("_local/") {
            return match name {
                "qdhello" => Some(Self::Hello),
                "qdrouter" | "qdrouter.ma" => Some(Self::Here),
                _ => None,
            };
        }
        let rest = path.strip_prefix("_topo/")?;
        let rest = rest.strip_prefix("0/").unwrap_or(rest);
        let (id, name) = rest.rsplit_once('/')?;
        match (id, name) {
            ("all", "qdrouter") => Some(Self::Flood),
            ("all", "qdrouter.ma") => Some(Self::Multicast),
            (id, "qdrouter" | "qdrouter.ma") => Some(Self::Router(id)),
            _ => None,
        }
    }
}

/// `amqp:/x`, `amqp://host/x` and `/x` are `x`.
fn without_scheme(address: &str) -> &str {
    let path = match address.strip_prefix("amqp:") {
        Some(rest) => match rest.strip_prefix("//") {
            Some(authority) => authority.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        },
        None => address,
    };
    path.strip_prefix('/').unwrap_or(path)
}

/// Address of HELLO's companions at one router.
pub(super) fn router_address(id: &RouterId) -> String {
    format!("amqp:/_topo/0/{id}/qdrouter")
}

/// Address of MAR and MAU at one router.
pub(super) fn mobile_address(id: &RouterId) -> String {
    format!("amqp:/_topo/0/{id}/qdrouter.ma")
}

/// What every control message says of its originator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: RouterId,
    pub(super) version: i64,
    /// Of this implementation: HELLO, RA and LSU say so.
    pub(super) own: bool,
    /// Tells apart what runs with the same id and instance.
    pub(super) process: Option<u32>,
}

/// One life of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) instance: i64,
    pub(super) process: Option<u32>,
}

impl Run {
    /// Whether it is surely another one.
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.instance != other.instance
            || matches!((self.process, other.process), (Some(one), Some(two)) if one != two)
    }
}

/// HELLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) instance: i64,
    pub(super) seen: Vec<RouterId>,
    /// Digest of all the sender knows of the network; this implementation only.
    pub(super) digest: Option<u32>,
}

/// RA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RouterAdvertisement {
    pub(super) instance: i64,
    pub(super) ls_seq: i64,
    pub(super) mobile_seq: i64,
}

/// LSU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkStateUpdate {
    pub(super) instance: Option<i64>,
    pub(super) ls_seq: i64,
    /// Number of the addresses, as in RA; this implementation only.
    pub(super) mobile_seq: Option<i64>,
    /// All addresses, as of `mobile_seq`; this implementation only.
    pub(super) addresses: Option<Vec<Descriptor>>,
    pub(super) peers: BTreeMap<RouterId, u32>,
}

/// One address of a MAU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) key: Arc<str>,
    /// `None`: the receiver's default.
    pub(super) treatment: Option<Treatment>,
    pub(super) producers: u32,
    pub(super) mesh: Option<Arc<str>>,
}

/// What a MAU does to the addresses of its originator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Differential {
        add: Vec<Descriptor>,
        del: Vec<Arc<str>>,
    },
    Absolute {
        exist: Vec<Descriptor>,
    },
}

/// A control message without its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Hello(Hello),
    Ra(RouterAdvertisement),
    Lsr,
    Lsu(LinkStateUpdate),
    Mar { have_seq: i64 },
    Mau { mobile_seq: i64, change: Change },
}

impl Body {
    fn opcode(&self) -> &'static str {
        match self {
            Self::Hello(_) => "HELLO",
            Self::Ra(_) => "RA",
            Self::Lsr => "LSR",
            Self::Lsu(_) => "LSU",
            Self::Mar { .. } => "MAR",
            Self::Mau { .. } => "MAU",
        }
    }

    /// Newest version of this message that is understood.
    pub(super) fn newest_version(&self) -> i64 {
        match self {
            Self::Mar { .. } | Self::Mau { .. } => MOBILE_VERSION,
            _ => LINK_STATE_VERSION,
        }
    }
}

/// A message of the router `id`, complete with annotations, that enters the network at `ingress` (`0/<id>`).
///
/// `mark` as [`OWN_MARK`] tells it; octet for octet what C routers write without one.
pub(super) fn encode(
    ingress: &str,
    id: &RouterId,
    to: &str,
    body: &Body,
    mark: Option<u32>,
) -> Bytes {
    encode_annotated(Some(ingress), id, to, body, mark)
}

/// As [`encode`]; without an ingress router the next one takes the message for its own.
pub(super) fn encode_annotated(
    ingress: Option<&str>,
    id: &RouterId,
    to: &str,
    body: &Body,
    mark: Option<u32>,
) -> Bytes {
    let mut writer = Writer::default();
    if let Some(ingress) = ingress {
        Annotations::default().write_next(ingress, &mut writer);
    }
    writer.section(HEADER as u8);
    let header = writer.list(1);
    writer.boolean_false();
    writer.close(&header);
    let mobile = body.newest_version() == MOBILE_VERSION;
    let keys = if mobile { Keys::Symbol } else { Keys::String };
    writer.section(PROPERTIES as u8);
    let properties = writer.list(if mobile { 3 } else { 6 });
    writer.null();
    writer.null();
    writer.string(to);
    if !mobile {
        (0..3).for_each(|_| writer.null());
    }
    writer.close(&properties);
    writer.section(APPLICATION_PROPERTIES as u8);
    let application_properties = writer.map(1);
    writer.key(keys, "opcode");
    writer.string(body.opcode());
    writer.close(&application_properties);
    writer.section(AMQP_VALUE as u8);
    encode_body(id, body, mark, keys, &mut writer);
    writer.finish()
}

fn encode_body(id: &RouterId, body: &Body, mark: Option<u32>, keys: Keys, writer: &mut Writer) {
    match body {
        Body::Hello(hello) => {
            let extra = usize::from(mark.is_some()) + usize::from(hello.digest.is_some());
            let map = begin_body(id, LINK_STATE_VERSION, keys, 5 + extra, writer);
            write_mark(mark, keys, writer);
            if let Some(digest) = hello.digest {
                writer.key(keys, DIGEST);
                writer.int(i64::from(digest));
            }
            writer.key(keys, "instance");
            writer.int(hello.instance);
            writer.key(keys, "seen");
            if hello.seen.is_empty() {
                writer.list0();
            } else {
                let seen = writer.list(hello.seen.len());
                hello.seen.iter().for_each(|id| writer.string(id.as_str()));
                writer.close(&seen);
            }
            writer.close(&map);
        }
        Body::Ra(ra) => {
            let entries = 6 + usize::from(mark.is_some());
            let map = begin_body(id, LINK_STATE_VERSION, keys, entries, writer);
            write_mark(mark, keys, writer);
            for (key, value) in [
                ("instance", ra.instance),
                ("ls_seq", ra.ls_seq),
                ("mobile_seq", ra.mobile_seq),
            ] {
                writer.key(keys, key);
                writer.int(value);
            }
            writer.close(&map);
        }
        Body::Lsr => {
            let map = begin_body(id, LINK_STATE_VERSION, keys, 3, writer);
            writer.close(&map);
        }
        Body::Lsu(update) => {
            let told = [
                mark.is_some(),
                update.mobile_seq.is_some(),
                update.addresses.is_some(),
            ];
            let extra = told.into_iter().filter(|told| *told).count();
            let map = begin_body(id, LINK_STATE_VERSION, keys, 6 + extra, writer);
            write_mark(mark, keys, writer);
            if let Some(mobile_seq) = update.mobile_seq {
                writer.key(keys, "mobile_seq");
                writer.int(mobile_seq);
            }
            if let Some(addresses) = &update.addresses {
                encode_descriptors(ADDRESSES, addresses, keys, writer);
            }
            writer.key(keys, "instance");
            writer.int(update.instance.unwrap_or_default());
            writer.key(keys, "ls_seq");
            writer.int(update.ls_seq);
            writer.key(keys, "ls");
            let ls = writer.map(4);
            writer.key(keys, "id");
            writer.string(id.as_str());
            writer.key(keys, "area");
            writer.string("0");
            writer.key(keys, "ls_seq");
            writer.int(update.ls_seq);
            writer.key(keys, "peers");
            let peers = writer.map(update.peers.len());
            for (peer, cost) in &update.peers {
                writer.string(peer.as_str());
                writer.int(i64::from(*cost));
            }
            writer.close(&peers);
            writer.close(&ls);
            writer.close(&map);
        }
        Body::Mar { have_seq } => {
            let map = begin_body(id, MOBILE_VERSION, keys, 4, writer);
            writer.key(keys, "have_seq");
            writer.long(*have_seq);
            writer.close(&map);
        }
        Body::Mau { mobile_seq, change } => {
            let entries = if matches!(change, Change::Absolute { .. }) {
                5
            } else {
                6
            };
            let map = begin_body(id, MOBILE_VERSION, keys, entries, writer);
            writer.key(keys, "mobile_seq");
            writer.long(*mobile_seq);
            match change {
                Change::Absolute { exist } => encode_descriptors("exist", exist, keys, writer),
                Change::Differential { add, del } => {
                    encode_descriptors("add", add, keys, writer);
                    writer.key(keys, "del");
                    let list = writer.list(del.len());
                    for key in del {
                        let descriptor = writer.list(1);
                        writer.string(key);
                        writer.close(&descriptor);
                    }
                    writer.close(&list);
                }
            }
            writer.close(&map);
        }
    }
}

fn write_mark(mark: Option<u32>, keys: Keys, writer: &mut Writer) {
    if let Some(mark) = mark {
        writer.key(keys, OWN_MARK);
        writer.int(i64::from(mark));
    }
}

fn begin_body(
    id: &RouterId,
    version: i64,
    keys: Keys,
    entries: usize,
    writer: &mut Writer,
) -> Open {
    let map = writer.map(entries);
    writer.key(keys, "id");
    writer.string(id.as_str());
    writer.key(keys, "pv");
    match keys {
        Keys::String => writer.int(version),
        Keys::Symbol => writer.long(version),
    }
    writer.key(keys, "area");
    writer.string("0");
    map
}

fn encode_descriptors(name: &str, descriptors: &[Descriptor], keys: Keys, writer: &mut Writer) {
    writer.key(keys, name);
    let list = writer.list(descriptors.len());
    for descriptor in descriptors {
        let fields = writer.list(if descriptor.mesh.is_some() { 5 } else { 3 });
        writer.string(&descriptor.key);
        writer.int(
            descriptor
                .treatment
                .map_or(-1, |treatment| i64::from(treatment.hint())),
        );
        writer.int(i64::from(descriptor.producers));
        if let Some(mesh) = &descriptor.mesh {
            writer.null();
            writer.string(mesh);
        }
        writer.close(&fields);
    }
    writer.close(&list);
}
