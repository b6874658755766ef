use bytes::BytesMut;

use super::{Condition, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};
use crate::types::{Symbol, Value};

/// Starts a session on a channel (§2.7.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Begin {
    /// The channel of the peer's Begin that this one answers.
    pub remote_channel: Option<u16>,
    pub next_outgoing_id: u32,
    /// Transfer frames.
    pub incoming_window: u32,
    /// Transfer frames.
    pub outgoing_window: u32,
    pub handle_max: u32,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

composite!(Begin, 0x11);

impl Begin {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let begin = Self {
            remote_channel: fields.u16()?,
            next_outgoing_id: fields
                .u32()?
                .ok_or(DecodeError::MissingField("next-outgoing-id"))?,
            incoming_window: fields
                .u32()?
                .ok_or(DecodeError::MissingField("incoming-window"))?,
            outgoing_window: fields
                .u32()?
                .ok_or(DecodeError::MissingField("outgoing-window"))?,
            handle_max: fields.u32()?.unwrap_or(u32::MAX),
            offered_capabilities: fields.symbols()?,
            desired_capabilities: fields.symbols()?,
            properties: fields.map()?,
        };
        fields.finish();
        Ok(begin)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x11, out)
            .option(self.remote_channel, |fields, channel| {
                fields.ushort(channel);
            })
            .uint(self.next_outgoing_id)
            .uint(self.incoming_window)
            .uint(self.outgoing_window)
            .option_uint(Some(self.handle_max).filter(|max| *max != u32::MAX))
            .symbols(&self.offered_capabilities)
            .symbols(&self.desired_capabilities)
            .map(&self.properties)
            .finish();
    }
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 0,
            outgoing_window: 0,
            handle_max: u32::MAX,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Vec::new(),
        }
    }
}

/// Ends a session (§2.7.8).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    pub error: Option<Condition>,
}

composite!(End, 0x17);

impl End {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let end = Self {
            error: fields.nested(Condition::read)?,
        };
        fields.finish();
        Ok(end)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x17, out)
            .option(self.error.as_ref(), Condition::write_field)
            .finish();
    }
}
