//! Reading control messages: leniently in form, strictly in what is used.

use std::sync::Arc;

use amqp::Value;
use bytes::Bytes;

use super::message::{
    ADDRESSES, AMQP_VALUE, APPLICATION_PROPERTIES, Body, Change, DIGEST, Descriptor, Header, Hello,
    LinkStateUpdate, MessageError, OWN_MARK, PROPERTIES, RouterAdvertisement, UNTOLD,
};
use super::{RouterId, Treatment};

/// Costs a link may have.
const COSTS: std::ops::RangeInclusive<i64> = 1..=i32::MAX as i64;
/// Longest id that is believed to be one.
const MAX_ID: usize = 1024;

/// The sections of a message after its annotations, read as far as needed.
pub(super) struct Envelope {
    to: Option<String>,
    opcode: Option<String>,
    body: Option<Value>,
}

impl Envelope {
    /// Reads all sections of `rest`. Unknown sections are skipped.
    pub(super) fn decode(rest: &Bytes) -> Result<Self, MessageError> {
        let mut envelope = Self {
            to: None,
            opcode: None,
            body: None,
        };
        let mut rest = rest.clone();
        while !rest.is_empty() && envelope.body.is_none() {
            let Value::Described(section) = Value::decode(&mut rest)? else {
                return Err(MessageError::NoAddress);
            };
            match section.descriptor.as_u64() {
                Some(PROPERTIES) => {
                    let to = section.value.as_list().and_then(|fields| fields.get(2));
                    envelope.to = to.and_then(Value::as_str).map(str::to_owned);
                }
                Some(APPLICATION_PROPERTIES) => {
                    envelope.opcode = section
                        .value
                        .get("opcode")
                        .and_then(Value::as_str)
                        .map(str::to_owned);
                }
                Some(AMQP_VALUE) => envelope.body = Some(section.value),
                _ => {}
            }
        }
        Ok(envelope)
    }

    pub(super) fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// Sender, number and content if it is an absolute MAU.
    pub(super) fn all_addresses(&self) -> Option<(Header, i64, Change)> {
        if self.opcode.as_deref() != Some("MAU") {
            return None;
        }
        match self.control() {
            Ok((
                header,
                Body::Mau {
                    mobile_seq,
                    change: change @ Change::Absolute { .. },
                },
            )) => Some((header, mobile_seq, change)),
            _ => None,
        }
    }

    /// The message for this router.
    pub(super) fn control(&self) -> Result<(Header, Body), MessageError> {
        let opcode = self.opcode.as_deref().unwrap_or_default();
        let fields = |opcode| Fields {
            opcode,
            map: self.body.as_ref().unwrap_or(&Value::Null),
        };
        match opcode {
            "HELLO" => fields("HELLO").hello(),
            "RA" => fields("RA").ra(),
            "LSR" => fields("LSR").with(Body::Lsr),
            "LSU" => fields("LSU").lsu(),
            "MAR" => fields("MAR").mar(),
            "MAU" => fields("MAU").mau(),
            other => Err(MessageError::Opcode(other.chars().take(32).collect())),
        }
    }
}

/// The body's map.
struct Fields<'a> {
    opcode: &'static str,
    map: &'a Value,
}

impl<'a> Fields<'a> {
    fn bad<T>(&self, field: &'static str) -> Result<T, MessageError> {
        Err(MessageError::Field {
            opcode: self.opcode,
            field,
        })
    }

    fn with(&self, body: Body) -> Result<(Header, Body), MessageError> {
        let Some(id) = self.map.get("id").and_then(router_id) else {
            return self.bad("id");
        };
        let mark = self.map.get(OWN_MARK);
        Ok((
            Header {
                id,
                version: self.optional("pv")?,
                own: mark.is_some(),
                process: mark.and_then(unsigned).filter(|mark| *mark != UNTOLD),
            },
            body,
        ))
    }

    fn integer(&self, field: &'static str) -> Result<i64, MessageError> {
        match self.map.get(field).and_then(Value::as_i64) {
            Some(value) if value >= 0 => Ok(value),
            _ => self.bad(field),
        }
    }

    /// Absent is 0.
    fn optional(&self, field: &'static str) -> Result<i64, MessageError> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value.as_i64().map_or_else(|| self.bad(field), Ok),
        }
    }

    fn list(&self, field: &'static str) -> Result<Option<&'a [Value]>, MessageError> {
        match self.map.get(field) {
            None => Ok(None),
            Some(value) => value
                .as_list()
                .map_or_else(|| self.bad(field), |list| Ok(Some(list))),
        }
    }

    fn hello(&self) -> Result<(Header, Body), MessageError> {
        let Some(list) = self.list("seen")? else {
            return self.bad("seen");
        };
        let Some(seen) = list.iter().map(router_id).collect() else {
            return self.bad("seen");
        };
        self.with(Body::Hello(Hello {
            instance: self.optional("instance")?,
            seen,
            digest: self.map.get(DIGEST).and_then(unsigned),
        }))
    }

    fn ra(&self) -> Result<(Header, Body), MessageError> {
        self.with(Body::Ra(RouterAdvertisement {
            instance: self.optional("instance")?,
            ls_seq: self.integer("ls_seq")?,
            mobile_seq: self.integer("mobile_seq")?,
        }))
    }

    fn lsu(&self) -> Result<(Header, Body), MessageError> {
        let state = Fields {
            opcode: self.opcode,
            map: self.map.get("ls").unwrap_or(&Value::Null),
        };
        let Some(map) = state.map.get("peers").and_then(Value::as_map) else {
            return self.bad("peers");
        };
        let peers = map.iter().map(|(peer, cost)| {
            let cost = cost.as_i64().filter(|cost| COSTS.contains(cost))?;
            Some((router_id(peer)?, u32::try_from(cost).ok()?))
        });
        let Some(peers) = peers.collect() else {
            return self.bad("peers");
        };
        let addresses = self
            .list(ADDRESSES)?
            .map(|list| self.descriptors(list, ADDRESSES));
        self.with(Body::Lsu(LinkStateUpdate {
            instance: self.map.get("instance").and_then(Value::as_i64),
            ls_seq: state.integer("ls_seq")?,
            mobile_seq: self
                .map
                .get("mobile_seq")
                .and_then(Value::as_i64)
                .filter(|seq| *seq >= 0),
            addresses: addresses.transpose()?,
            peers,
        }))
    }

    fn mar(&self) -> Result<(Header, Body), MessageError> {
        self.with(Body::Mar {
            have_seq: self.integer("have_seq")?,
        })
    }

    fn mau(&self) -> Result<(Header, Body), MessageError> {
        let mobile_seq = self.integer("mobile_seq")?;
        let change = match (self.list("exist")?, self.list("add")?, self.list("del")?) {
            (Some(exist), None, None) => Change::Absolute {
                exist: self.descriptors(exist, "exist")?,
            },
            (None, Some(add), Some(del)) => Change::Differential {
                add: self.descriptors(add, "add")?,
                del: self
                    .descriptors(del, "del")?
                    .into_iter()
                    .map(|descriptor| descriptor.key)
                    .collect(),
            },
            (Some(_), _, _) => return self.bad("exist"),
            (None, None, _) => return self.bad("add"),
            (None, _, None) => return self.bad("del"),
        };
        self.with(Body::Mau { mobile_seq, change })
    }

    fn descriptors(
        &self,
        list: &[Value],
        field: &'static str,
    ) -> Result<Vec<Descriptor>, MessageError> {
        let descriptors: Option<Vec<_>> = list.iter().map(descriptor).collect();
        descriptors.map_or_else(|| self.bad(field), Ok)
    }
}

fn unsigned(value: &Value) -> Option<u32> {
    value.as_i64().and_then(|number| u32::try_from(number).ok())
}

fn router_id(value: &Value) -> Option<RouterId> {
    value
        .as_str()
        .filter(|id| !id.is_empty() && id.len() <= MAX_ID)
        .map(RouterId::from)
}

fn descriptor(value: &Value) -> Option<Descriptor> {
    let fields = value.as_list()?;
    let key = fields.first()?.as_str().filter(|key| !key.is_empty())?;
    let number = |index: usize| fields.get(index).and_then(Value::as_i64);
    Some(Descriptor {
        key: key.into(),
        treatment: number(1).and_then(Treatment::from_hint),
        producers: number(2)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        mesh: fields.get(4).and_then(Value::as_str).map(Arc::from),
    })
}
