use bytes::BytesMut;

use crate::codec::{DecodeError, FieldWriter, Fields, Reader};

/// Transport details of a message (§3.2.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Header {
    pub durable: bool,
    /// Absent means 4.
    pub priority: Option<u8>,
    /// Milliseconds.
    pub ttl: Option<u32>,
    pub first_acquirer: bool,
    pub delivery_count: u32,
}

impl Header {
    /// The header in `value_octets`, the section's value without its descriptor.
    ///
    /// # Errors
    /// What is not a list of these fields.
    pub fn decode(value_octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value_octets);
        let mut fields = Fields::enter(&mut reader)?;
        let header = Self {
            durable: fields.bool()?.unwrap_or(false),
            priority: fields.u8()?,
            ttl: fields.u32()?,
            first_acquirer: fields.bool()?.unwrap_or(false),
            delivery_count: fields.u32()?.unwrap_or(0),
        };
        fields.finish();
        Ok(header)
    }

    /// Appends the section, descriptor included.
    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x70, out)
            .flag(self.durable)
            .option(self.priority, |fields, priority| {
                fields.ubyte(priority);
            })
            .option_uint(self.ttl)
            .flag(self.first_acquirer)
            .option_uint(Some(self.delivery_count).filter(|count| *count != 0))
            .finish();
    }
}
