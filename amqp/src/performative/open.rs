use bytes::BytesMut;

use super::{Condition, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};
use crate::types::{Symbol, Value};

/// Starts a connection (§2.7.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub container_id: String,
    pub hostname: Option<String>,
    /// Octets; the largest frame its sender accepts.
    pub max_frame_size: u32,
    /// The highest channel number its sender accepts.
    pub channel_max: u16,
    /// Milliseconds.
    pub idle_time_out: Option<u32>,
    pub outgoing_locales: Vec<Symbol>,
    pub incoming_locales: Vec<Symbol>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

composite!(Open, 0x10);

impl Open {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let default = Self::default();
        let open = Self {
            container_id: fields
                .string()?
                .ok_or(DecodeError::MissingField("container-id"))?,
            hostname: fields.string()?,
            max_frame_size: fields.u32()?.unwrap_or(default.max_frame_size),
            channel_max: fields.u16()?.unwrap_or(default.channel_max),
            idle_time_out: fields.u32()?,
            outgoing_locales: fields.symbols()?,
            incoming_locales: fields.symbols()?,
            offered_capabilities: fields.symbols()?,
            desired_capabilities: fields.symbols()?,
            properties: fields.map()?,
        };
        fields.finish();
        Ok(open)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        let default = Self::default();
        FieldWriter::new(0x10, out)
            .string(&self.container_id)
            .option_string(self.hostname.as_deref())
            .option_uint(Some(self.max_frame_size).filter(|size| *size != default.max_frame_size))
            .option(
                Some(self.channel_max).filter(|max| *max != default.channel_max),
                |fields, max| {
                    fields.ushort(max);
                },
            )
            .option_uint(self.idle_time_out)
            .symbols(&self.outgoing_locales)
            .symbols(&self.incoming_locales)
            .symbols(&self.offered_capabilities)
            .symbols(&self.desired_capabilities)
            .map(&self.properties)
            .finish();
    }
}

impl Default for Open {
    fn default() -> Self {
        Self {
            container_id: String::new(),
            hostname: None,
            max_frame_size: u32::MAX,
            channel_max: u16::MAX,
            idle_time_out: None,
            outgoing_locales: Vec::new(),
            incoming_locales: Vec::new(),
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Vec::new(),
        }
    }
}

/// Ends a connection (§2.7.9).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Close {
    pub error: Option<Condition>,
}

composite!(Close, 0x18);

impl Close {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let close = Self {
            error: fields.nested(Condition::read)?,
        };
        fields.finish();
        Ok(close)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x18, out)
            .option(self.error.as_ref(), Condition::write_field)
            .finish();
    }
}
