use std::fmt;

use bytes::BytesMut;

use super::{DeliveryState, RcvSettleMode, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};

/// The sender's name of a delivery (§2.8.7): at most 32 octets, kept inline.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct DeliveryTag {
    len: u8,
    octets: [u8; Self::MAX],
}

impl DeliveryTag {
    /// Octets in the longest tag.
    pub const MAX: usize = 32;

    /// `None` when `octets` are too many.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut tag = Self {
            len: u8::try_from(octets.len()).ok()?,
            octets: [0; Self::MAX],
        };
        tag.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(tag)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl fmt::Debug for DeliveryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice()
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// One frame of a delivery (§2.7.5); the payload follows it in the frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    pub handle: u32,
    /// Required in the first frame of a delivery only, as are tag and format.
    pub delivery_id: Option<u32>,
    pub delivery_tag: Option<DeliveryTag>,
    pub message_format: Option<u32>,
    pub settled: Option<bool>,
    pub more: bool,
    pub rcv_settle_mode: Option<RcvSettleMode>,
    pub state: Option<DeliveryState>,
    pub resume: bool,
    pub aborted: bool,
    pub batchable: bool,
}

composite!(Transfer, 0x14);

impl Transfer {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let transfer = Self {
            handle: fields.u32()?.ok_or(DecodeError::MissingField("handle"))?,
            delivery_id: fields.u32()?,
            delivery_tag: match fields.octets()? {
                Some(octets) => Some(
                    DeliveryTag::new(octets).ok_or(DecodeError::InvalidField("delivery-tag"))?,
                ),
                None => None,
            },
            message_format: fields.u32()?,
            settled: fields.bool()?,
            more: fields.bool()?.unwrap_or(false),
            rcv_settle_mode: fields.u8()?.map(RcvSettleMode::from_wire).transpose()?,
            state: fields.nested(DeliveryState::read)?,
            resume: fields.bool()?.unwrap_or(false),
            aborted: fields.bool()?.unwrap_or(false),
            batchable: fields.bool()?.unwrap_or(false),
        };
        fields.finish();
        Ok(transfer)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x14, out)
            .uint(self.handle)
            .option_uint(self.delivery_id)
            .option(self.delivery_tag, |fields, tag| {
                fields.binary(tag.as_slice());
            })
            .option_uint(self.message_format)
            .option(self.settled, |fields, settled| {
                fields.bool(settled);
            })
            .flag(self.more)
            .option(self.rcv_settle_mode, |fields, mode| {
                fields.ubyte(mode as u8);
            })
            .option(self.state.as_ref(), DeliveryState::write_field)
            .flag(self.resume)
            .flag(self.aborted)
            .flag(self.batchable)
            .finish();
    }
}
