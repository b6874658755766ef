//! The router annotations section: where a message entered the network and which routers it passed.

use amqp::Value;
use bytes::Bytes;

use super::encode::{ROUTER_ANNOTATIONS, Writer};
use super::message::MessageError;

/// Content of the section (absent: the default value).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Bit set; unknown bits are passed on.
    pub flags: u32,
    /// Address that routes instead of the `to` property.
    pub to_override: Option<String>,
    /// `0/<id>` of the first interior router; `None`: the one that reads this.
    pub ingress: Option<String>,
    /// `0/<id>` of the routers passed so far.
    pub trace: Vec<String>,
    /// Edge mesh in which the message originated.
    pub ingress_mesh: Option<String>,
}

impl Annotations {
    /// Splits a message into its annotations and the rest.
    ///
    /// # Errors
    /// When the message does not begin with an AMQP value, or its annotations are not the list of four or five elements
    /// that the section requires.
    pub fn split(message: &Bytes) -> Result<(Option<Self>, Bytes), MessageError> {
        let mut rest = message.clone();
        let section = Value::decode(&mut rest)?;
        match section {
            Value::Described(described)
                if described.descriptor.as_u64() == Some(ROUTER_ANNOTATIONS) =>
            {
                Ok((Some(Self::parse(&described.value)?), rest))
            }
            _ => Ok((None, message.clone())),
        }
    }

    fn parse(value: &Value) -> Result<Self, MessageError> {
        let fields = value
            .as_list()
            .ok_or(MessageError::Annotations("section"))?;
        let [flags, to_override, ingress, trace, more @ ..] = fields else {
            return Err(MessageError::Annotations("number of elements"));
        };
        let flags = match flags {
            Value::Ubyte(_) | Value::Ushort(_) | Value::Uint(_) | Value::Ulong(_) => {
                flags.as_u64().and_then(|flags| u32::try_from(flags).ok())
            }
            _ => None,
        };
        Ok(Self {
            flags: flags.ok_or(MessageError::Annotations("flags"))?,
            to_override: optional_string(to_override, "to-override")?,
            ingress: optional_string(ingress, "ingress")?,
            trace: trace
                .as_list()
                .ok_or(MessageError::Annotations("trace"))?
                .iter()
                .map(|entry| string(entry, "trace"))
                .collect::<Result<_, _>>()?,
            ingress_mesh: more
                .first()
                .map(|mesh| string(mesh, "ingress mesh"))
                .transpose()?,
        })
    }

    /// Whether the message has passed the router.
    pub fn traced(&self, id: &str) -> bool {
        self.trace
            .iter()
            .any(|entry| entry.strip_prefix("0/") == Some(id))
    }

    /// The section as this router, `own_entry` = `0/<id>`, sends it to another interior router or to an edge.
    pub(super) fn write_next(&self, own_entry: &str, writer: &mut Writer) {
        writer.annotations_section();
        let fields = writer.list(4 + usize::from(self.ingress_mesh.is_some()));
        writer.uint(self.flags);
        match &self.to_override {
            Some(address) => writer.string(address),
            None => writer.null(),
        }
        writer.string(self.ingress.as_deref().unwrap_or(own_entry));
        let trace = writer.list(self.trace.len() + 1);
        for entry in &self.trace {
            writer.string(entry);
        }
        writer.string(own_entry);
        writer.close(&trace);
        if let Some(mesh) = &self.ingress_mesh {
            writer.string(mesh);
        }
        writer.close(&fields);
    }
}

fn string(value: &Value, field: &'static str) -> Result<String, MessageError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(MessageError::Annotations(field)),
    }
}

fn optional_string(value: &Value, field: &'static str) -> Result<Option<String>, MessageError> {
    match value {
        Value::Null => Ok(None),
        value => string(value, field).map(Some),
    }
}
