//! The router annotations of control messages: split from the message, and written with the protocol's own encoder.

use amqp::Value;
use bytes::Bytes;

use super::encode::{ROUTER_ANNOTATIONS, Writer};
use super::message::MessageError;
use crate::core::annotations::Annotations;

impl Annotations {
    /// Splits a message into its annotations and the rest.
    ///
    /// # Errors
    /// When the message does not begin with an AMQP value, or its annotations are not the list of four or five elements
    /// that the section requires.
    pub(super) fn split(message: &Bytes) -> Result<(Option<Self>, Bytes), MessageError> {
        let mut rest = message.clone();
        let section = Value::decode(&mut rest)?;
        match section {
            Value::Described(described)
                if described.descriptor.as_u64() == Some(ROUTER_ANNOTATIONS) =>
            {
                let annotations = Self::from_value(&described.value)
                    .map_err(|error| MessageError::Annotations(error.0))?;
                Ok((Some(annotations), rest))
            }
            _ => Ok((None, message.clone())),
        }
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
        let fields = writer.list(4 + usize::from(self.mesh.is_some()));
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
        if let Some(mesh) = &self.mesh {
            writer.string(mesh);
        }
        writer.close(&fields);
    }
}
