//! Router annotations: the private section that leads every message between routers.
//!
//! `00 80 "SKPR--RA"` and a list `[flags, to-override, ingress, trace, mesh?]`. It is rebuilt at each hop; everything
//! behind it passes unchanged.

use amqp::{
    Value,
    message::{self, section},
};
use bytes::BytesMut;
use smallvec::SmallVec;

/// Forward before the message is complete.
pub const STREAMING: u32 = 0x01;
/// On `released`, the router before the refusing one tries another destination.
pub const RESEND_RELEASED: u32 = 0x02;
/// Routers on the way do not apply their own buffer limit: end-to-end windows bound the data.
pub const DISABLE_Q2: u32 = 0x04;

/// Content of the router annotations section.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Annotations {
    /// [`STREAMING`], [`RESEND_RELEASED`], [`DISABLE_Q2`] and bits this router does not know, which pass unchanged.
    pub flags: u32,
    /// Address that wins over the message's `to`.
    pub to_override: Option<String>,
    /// `0/<id>` of the interior router where the message entered.
    pub ingress: Option<String>,
    /// `0/<id>` of each interior router passed, in order.
    pub trace: SmallVec<[String; 4]>,
    /// Mesh id of the edge where the message entered.
    pub mesh: Option<String>,
}

/// A section that is there but not well formed; the delivery is rejected with `amqp:invalid-field`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid router annotations: {0}")]
pub struct InvalidAnnotations(pub &'static str);

impl Annotations {
    /// Reads the section's value (a list of at least four elements).
    pub fn from_value(value: &Value) -> Result<Self, InvalidAnnotations> {
        let list = value.as_list().ok_or(InvalidAnnotations("section"))?;
        let [flags, to_override, ingress, trace, rest @ ..] = list else {
            return Err(InvalidAnnotations("number of elements"));
        };
        let text = |value: &Value, field| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(InvalidAnnotations(field)),
        };
        let flags = match flags {
            Value::Ubyte(_) | Value::Ushort(_) | Value::Uint(_) | Value::Ulong(_) => flags.as_u64(),
            _ => None,
        };
        let flags = flags
            .and_then(|flags| u32::try_from(flags).ok())
            .ok_or(InvalidAnnotations("flags"))?;
        let trace = trace
            .as_list()
            .ok_or(InvalidAnnotations("trace"))?
            .iter()
            .map(|entry| match entry {
                Value::String(text) => Ok(text.clone()),
                _ => Err(InvalidAnnotations("trace")),
            })
            .collect::<Result<_, _>>()?;
        let mesh = match rest.first() {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => return Err(InvalidAnnotations("ingress mesh")),
        };
        Ok(Self {
            flags,
            to_override: text(to_override, "to-override")?,
            ingress: text(ingress, "ingress")?,
            trace,
            mesh,
        })
    }

    /// Writes the whole section.
    pub fn encode(&self, out: &mut BytesMut) {
        let text = |text: &Option<String>| {
            text.as_ref()
                .map_or(Value::Null, |text| Value::String(text.clone()))
        };
        let mut list = vec![
            Value::Uint(self.flags),
            text(&self.to_override),
            text(&self.ingress),
            Value::List(
                self.trace
                    .iter()
                    .map(|entry| Value::String(entry.clone()))
                    .collect(),
            ),
        ];
        if let Some(mesh) = &self.mesh {
            list.push(Value::String(mesh.clone()));
        }
        message::write_section(section::ROUTER_ANNOTATIONS, &Value::List(list), out);
    }

    /// What an interior router `own` (`0/<id>`) sends to the next hop: itself appended to the trace, and as ingress
    /// where nobody was.
    pub fn at_interior(&self, own: &str) -> Self {
        let mut next = self.clone();
        if next.ingress.is_none() {
            next.ingress = Some(own.to_owned());
        }
        next.trace.push(own.to_owned());
        next
    }

    /// What an edge router sends: no ingress, no trace, its mesh id.
    pub fn at_edge(&self, mesh: &str) -> Self {
        Self {
            flags: self.flags,
            to_override: self.to_override.clone(),
            ingress: None,
            trace: SmallVec::new(),
            mesh: Some(mesh.to_owned()),
        }
    }

    /// True if all bits of `flag` are set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(octets: &[u8]) -> Annotations {
        let section = message::next_section(octets)
            .expect("valid")
            .expect("complete");
        assert_eq!(section.code, section::ROUTER_ANNOTATIONS);
        assert_eq!(section.len, octets.len());
        let (value, _) = Value::decode_slice(&octets[section.value_at..]).expect("valid");
        Annotations::from_value(&value).expect("valid")
    }

    #[test]
    fn a_recorded_section_is_read_and_written_back_octet_for_octet() {
        // First hop of a TCP stream from router RA, as C routers write it.
        let octets: Vec<u8> = [
            &[0x00, 0x80][..],
            b"SKPR--RA",
            &[0xd0, 0, 0, 0, 0x1c, 0, 0, 0, 4, 0x52, 5, 0x40, 0xa1, 4],
            b"0/RA",
            &[0xd0, 0, 0, 0, 0x0a, 0, 0, 0, 1, 0xa1, 4],
            b"0/RA",
        ]
        .concat();
        let annotations = decode(&octets);
        assert_eq!(
            annotations,
            Annotations {
                flags: STREAMING | DISABLE_Q2,
                ..Annotations::default()
            }
            .at_interior("0/RA")
        );
        let mut out = BytesMut::new();
        annotations.encode(&mut out);
        assert_eq!(&out[..], &octets[..]);
    }

    #[test]
    fn edges_send_no_ingress_and_an_empty_trace() {
        let mut out = BytesMut::new();
        Annotations::default()
            .at_interior("0/x")
            .at_edge("mesh")
            .encode(&mut out);
        let read = decode(&out);
        assert_eq!(
            (read.ingress, read.trace.len(), read.mesh.as_deref()),
            (None, 0, Some("mesh"))
        );
    }

    #[test]
    fn malformed_lists_are_refused_with_the_field() {
        let list = |elements: Vec<Value>| {
            Annotations::from_value(&Value::List(elements)).map_err(|error| error.0)
        };
        let empty = Value::List(Vec::new());
        assert_eq!(
            list(vec![Value::Uint(0), Value::Null, Value::Null]),
            Err("number of elements")
        );
        assert_eq!(
            list(vec![
                Value::Uint(0),
                Value::Null,
                Value::Null,
                empty.clone(),
                Value::Null
            ]),
            Err("ingress mesh")
        );
        assert_eq!(
            list(vec![Value::Null, Value::Null, Value::Null, empty]),
            Err("flags")
        );
    }
}
