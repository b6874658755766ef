use bytes::BytesMut;

use super::{DeliveryState, Role, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};
use crate::types::Value;

/// Windows of a session and, with a handle, credit of a link (§2.7.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Absent until the peer's Begin was seen.
    pub next_incoming_id: Option<u32>,
    /// Transfer frames.
    pub incoming_window: u32,
    pub next_outgoing_id: u32,
    /// Transfer frames.
    pub outgoing_window: u32,
    pub handle: Option<u32>,
    pub delivery_count: Option<u32>,
    /// Deliveries.
    pub link_credit: Option<u32>,
    pub available: Option<u32>,
    pub drain: bool,
    /// The peer is asked to send its own state.
    pub echo: bool,
    pub properties: Vec<(Value, Value)>,
}

composite!(Flow, 0x13);

impl Flow {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let flow = Self {
            next_incoming_id: fields.u32()?,
            incoming_window: fields
                .u32()?
                .ok_or(DecodeError::MissingField("incoming-window"))?,
            next_outgoing_id: fields
                .u32()?
                .ok_or(DecodeError::MissingField("next-outgoing-id"))?,
            outgoing_window: fields
                .u32()?
                .ok_or(DecodeError::MissingField("outgoing-window"))?,
            handle: fields.u32()?,
            delivery_count: fields.u32()?,
            link_credit: fields.u32()?,
            available: fields.u32()?,
            drain: fields.bool()?.unwrap_or(false),
            echo: fields.bool()?.unwrap_or(false),
            properties: fields.map()?,
        };
        fields.finish();
        Ok(flow)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x13, out)
            .option_uint(self.next_incoming_id)
            .uint(self.incoming_window)
            .uint(self.next_outgoing_id)
            .uint(self.outgoing_window)
            .option_uint(self.handle)
            .option_uint(self.delivery_count)
            .option_uint(self.link_credit)
            .option_uint(self.available)
            .option(
                self.handle
                    .map(|_| self.drain)
                    .or(self.drain.then_some(true)),
                |fields, drain| {
                    fields.bool(drain);
                },
            )
            .flag(self.echo)
            .map(&self.properties)
            .finish();
    }
}

/// Tells the state of a range of deliveries (§2.7.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disposition {
    /// The role of the one who sends this frame.
    pub role: Role,
    pub first: u32,
    /// Absent: the same as `first`.
    pub last: Option<u32>,
    pub settled: bool,
    pub state: Option<DeliveryState>,
    pub batchable: bool,
}

composite!(Disposition, 0x15);

impl Disposition {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let disposition = Self {
            role: Role::from_wire(fields.bool()?.ok_or(DecodeError::MissingField("role"))?),
            first: fields.u32()?.ok_or(DecodeError::MissingField("first"))?,
            last: fields.u32()?,
            settled: fields.bool()?.unwrap_or(false),
            state: fields.nested(DeliveryState::read)?,
            batchable: fields.bool()?.unwrap_or(false),
        };
        fields.finish();
        Ok(disposition)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x15, out)
            .bool(self.role.to_wire())
            .uint(self.first)
            .option_uint(self.last)
            .flag(self.settled)
            .option(self.state.as_ref(), DeliveryState::write_field)
            .flag(self.batchable)
            .finish();
    }
}
