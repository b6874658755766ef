use bytes::BytesMut;

use super::{Condition, Source, Target, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};
use crate::types::{Symbol, Value};

/// Which end of a link (§2.8.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Role {
    #[default]
    Sender,
    Receiver,
}

impl Role {
    /// The role of the other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }

    pub(crate) fn from_wire(receiver: bool) -> Self {
        if receiver {
            Self::Receiver
        } else {
            Self::Sender
        }
    }

    pub(crate) fn to_wire(self) -> bool {
        self == Self::Receiver
    }
}

/// How the sender settles (§2.8.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SndSettleMode {
    Unsettled = 0,
    Settled = 1,
    #[default]
    Mixed = 2,
}

impl SndSettleMode {
    fn from_wire(value: u8) -> Result<Self, DecodeError> {
        match value {
            0 => Ok(Self::Unsettled),
            1 => Ok(Self::Settled),
            2 => Ok(Self::Mixed),
            _ => Err(DecodeError::InvalidField("snd-settle-mode")),
        }
    }
}

/// When the receiver settles: first, or second, after the sender did (§2.8.3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RcvSettleMode {
    #[default]
    First = 0,
    Second = 1,
}

impl RcvSettleMode {
    pub(crate) fn from_wire(value: u8) -> Result<Self, DecodeError> {
        match value {
            0 => Ok(Self::First),
            1 => Ok(Self::Second),
            _ => Err(DecodeError::InvalidField("rcv-settle-mode")),
        }
    }
}

/// Attaches a link to a session (§2.7.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attach {
    pub name: String,
    pub handle: u32,
    /// The role of the one who sends this frame.
    pub role: Role,
    pub snd_settle_mode: SndSettleMode,
    pub rcv_settle_mode: RcvSettleMode,
    pub source: Option<Source>,
    pub target: Option<Target>,
    pub unsettled: Value,
    pub incomplete_unsettled: bool,
    pub initial_delivery_count: Option<u32>,
    /// Octets; 0 or absent: no limit.
    pub max_message_size: Option<u64>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

composite!(Attach, 0x12);

impl Attach {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let attach = Self {
            name: fields.string()?.ok_or(DecodeError::MissingField("name"))?,
            handle: fields.u32()?.ok_or(DecodeError::MissingField("handle"))?,
            role: Role::from_wire(fields.bool()?.ok_or(DecodeError::MissingField("role"))?),
            snd_settle_mode: fields
                .u8()?
                .map(SndSettleMode::from_wire)
                .transpose()?
                .unwrap_or_default(),
            rcv_settle_mode: fields
                .u8()?
                .map(RcvSettleMode::from_wire)
                .transpose()?
                .unwrap_or_default(),
            source: fields.nested(Source::read)?,
            target: fields.nested(Target::read)?,
            unsettled: fields.value()?,
            incomplete_unsettled: fields.bool()?.unwrap_or(false),
            initial_delivery_count: fields.u32()?,
            max_message_size: fields.u64()?,
            offered_capabilities: fields.symbols()?,
            desired_capabilities: fields.symbols()?,
            properties: fields.map()?,
        };
        fields.finish();
        Ok(attach)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x12, out)
            .string(&self.name)
            .uint(self.handle)
            .bool(self.role.to_wire())
            .ubyte(self.snd_settle_mode as u8)
            .ubyte(self.rcv_settle_mode as u8)
            .option(self.source.as_ref(), |fields, source| {
                fields.put(|out| source.encode(out));
            })
            .option(self.target.as_ref(), |fields, target| {
                fields.put(|out| target.encode(out));
            })
            .value(&self.unsettled)
            .flag(self.incomplete_unsettled)
            .option_uint(self.initial_delivery_count)
            .option(self.max_message_size, |fields, size| {
                fields.ulong(size);
            })
            .symbols(&self.offered_capabilities)
            .symbols(&self.desired_capabilities)
            .map(&self.properties)
            .finish();
    }
}

/// Detaches a link (§2.7.7).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detach {
    pub handle: u32,
    /// The link is closed for good, not suspended.
    pub closed: bool,
    pub error: Option<Condition>,
}

composite!(Detach, 0x16);

impl Detach {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let detach = Self {
            handle: fields.u32()?.ok_or(DecodeError::MissingField("handle"))?,
            closed: fields.bool()?.unwrap_or(false),
            error: fields.nested(Condition::read)?,
        };
        fields.finish();
        Ok(detach)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x16, out)
            .uint(self.handle)
            .flag(self.closed)
            .option(self.error.as_ref(), Condition::write_field)
            .finish();
    }
}
