use bytes::{BufMut as _, Bytes, BytesMut};

use crate::codec::{
    DecodeError, Fields, Reader, compound32, write_binary, write_string, write_uint,
};
use crate::types::Value;

/// The immutable properties of a message (§3.2.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// ulong, uuid, binary or string; null when absent.
    pub message_id: Value,
    pub user_id: Option<Bytes>,
    pub to: Option<String>,
    pub subject: Option<String>,
    pub reply_to: Option<String>,
    /// As `message_id`.
    pub correlation_id: Value,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub absolute_expiry_time: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub creation_time: Option<i64>,
    pub group_id: Option<String>,
    pub group_sequence: Option<u32>,
    pub reply_to_group_id: Option<String>,
}

impl Properties {
    /// The properties in `value_octets`, the section's value without its descriptor.
    ///
    /// Addresses, content type and encoding are accepted as string and as symbol.
    ///
    /// # Errors
    /// What is not a list of these fields.
    pub fn decode(value_octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value_octets);
        let mut fields = Fields::enter(&mut reader)?;
        let properties = Self {
            message_id: fields.value()?,
            user_id: fields.binary()?,
            to: fields.text()?,
            subject: fields.string()?,
            reply_to: fields.text()?,
            correlation_id: fields.value()?,
            content_type: fields.text()?,
            content_encoding: fields.text()?,
            absolute_expiry_time: fields.timestamp()?,
            creation_time: fields.timestamp()?,
            group_id: fields.string()?,
            group_sequence: fields.u32()?,
            reply_to_group_id: fields.string()?,
        };
        fields.finish();
        Ok(properties)
    }

    /// Appends the section, descriptor included: a `list32` without trailing absent fields, but with at least
    /// `min_fields` of the thirteen. Content type and encoding are written as strings, as C routers write and read them.
    pub fn encode(&self, out: &mut BytesMut, min_fields: usize) {
        out.put_slice(&[0x00, 0x53, 0x73]);
        let count = self.used_fields().max(min_fields.min(13));
        compound32(0xd0, count, out, |out| {
            for index in 0..count {
                self.encode_field(index, out);
            }
        });
    }

    /// One more than the index of the last field that is present.
    fn used_fields(&self) -> usize {
        let present = [
            !self.message_id.is_null(),
            self.user_id.is_some(),
            self.to.is_some(),
            self.subject.is_some(),
            self.reply_to.is_some(),
            !self.correlation_id.is_null(),
            self.content_type.is_some(),
            self.content_encoding.is_some(),
            self.absolute_expiry_time.is_some(),
            self.creation_time.is_some(),
            self.group_id.is_some(),
            self.group_sequence.is_some(),
            self.reply_to_group_id.is_some(),
        ];
        present
            .iter()
            .rposition(|present| *present)
            .map_or(0, |index| index + 1)
    }

    fn encode_field(&self, index: usize, out: &mut BytesMut) {
        match index {
            0 => self.message_id.encode(out),
            1 => optional(self.user_id.as_deref(), write_binary, out),
            2 => optional(self.to.as_deref(), write_string, out),
            3 => optional(self.subject.as_deref(), write_string, out),
            4 => optional(self.reply_to.as_deref(), write_string, out),
            5 => self.correlation_id.encode(out),
            6 => optional(self.content_type.as_deref(), write_string, out),
            7 => optional(self.content_encoding.as_deref(), write_string, out),
            8 => optional(self.absolute_expiry_time, write_timestamp, out),
            9 => optional(self.creation_time, write_timestamp, out),
            10 => optional(self.group_id.as_deref(), write_string, out),
            11 => optional(self.group_sequence, write_uint, out),
            _ => optional(self.reply_to_group_id.as_deref(), write_string, out),
        }
    }
}

fn optional<T>(value: Option<T>, write: impl FnOnce(T, &mut BytesMut), out: &mut BytesMut) {
    match value {
        Some(value) => write(value, out),
        None => out.put_u8(0x40),
    }
}

fn write_timestamp(milliseconds: i64, out: &mut BytesMut) {
    out.put_u8(0x83);
    out.put_i64(milliseconds);
}
