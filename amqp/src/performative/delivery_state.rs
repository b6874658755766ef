use std::fmt;

use bytes::BytesMut;

use super::{code_of, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};
use crate::types::{Symbol, Value};

/// An error as it is told to the peer (§2.8.14).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    pub condition: Symbol,
    pub description: Option<String>,
    pub info: Vec<(Value, Value)>,
}

composite!(Condition, 0x1d);

impl Condition {
    /// A condition with a description and no further information.
    #[must_use]
    pub fn new(condition: impl Into<Symbol>, description: impl Into<String>) -> Self {
        Self {
            condition: condition.into(),
            description: Some(description.into()),
            info: Vec::new(),
        }
    }

    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let condition = Self {
            condition: fields
                .symbol()?
                .ok_or(DecodeError::MissingField("condition"))?,
            description: fields.string()?,
            info: fields.map()?,
        };
        fields.finish();
        Ok(condition)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x1d, out)
            .option_symbol(Some(&self.condition))
            .option_string(self.description.as_deref())
            .map(&self.info)
            .finish();
    }

    pub(crate) fn write_field(fields: &mut FieldWriter<'_>, condition: &Self) {
        fields.put(|out| condition.encode(out));
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.description {
            Some(description) => write!(f, "{}: {description}", self.condition),
            None => write!(f, "{}", self.condition),
        }
    }
}

/// What became of a delivery (part 3 §3.4).
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryState {
    /// Progress of an unfinished delivery; not terminal.
    Received {
        section_number: u32,
        section_offset: u64,
    },
    Accepted,
    Rejected(Option<Condition>),
    Released,
    Modified {
        delivery_failed: bool,
        undeliverable_here: bool,
        annotations: Vec<(Value, Value)>,
    },
    /// A state of another specification (transactions), carried as it came.
    Other(Value),
}

impl DeliveryState {
    /// Whether the delivery has come to its end: an outcome of §3.4.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Received { .. } | Self::Other(_))
    }

    /// One from the front of `input`, and the octets it takes.
    ///
    /// # Errors
    /// What does not decode.
    pub fn decode_slice(input: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(input);
        let state = Self::read(&mut reader)?;
        Ok((state, reader.position()))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.position();
        let code = reader.descriptor(code_of).unwrap_or(0);
        if !(0x23..=0x27).contains(&code) {
            reader.seek(start);
            return reader.value().map(Self::Other);
        }
        let mut fields = Fields::enter(reader)?;
        let state = match code {
            0x23 => Self::Received {
                section_number: fields
                    .u32()?
                    .ok_or(DecodeError::MissingField("section-number"))?,
                section_offset: fields
                    .u64()?
                    .ok_or(DecodeError::MissingField("section-offset"))?,
            },
            0x24 => Self::Accepted,
            0x25 => Self::Rejected(fields.nested(Condition::read)?),
            0x26 => Self::Released,
            _ => Self::Modified {
                delivery_failed: fields.bool()?.unwrap_or(false),
                undeliverable_here: fields.bool()?.unwrap_or(false),
                annotations: fields.map()?,
            },
        };
        fields.finish();
        Ok(state)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Received {
                section_number,
                section_offset,
            } => {
                FieldWriter::new(0x23, out)
                    .uint(*section_number)
                    .ulong(*section_offset)
                    .finish();
            }
            Self::Accepted => FieldWriter::new(0x24, out).finish(),
            Self::Rejected(error) => {
                FieldWriter::new(0x25, out)
                    .option(error.as_ref(), Condition::write_field)
                    .finish();
            }
            Self::Released => FieldWriter::new(0x26, out).finish(),
            Self::Modified {
                delivery_failed,
                undeliverable_here,
                annotations,
            } => {
                FieldWriter::new(0x27, out)
                    .bool(*delivery_failed)
                    .bool(*undeliverable_here)
                    .map(annotations)
                    .finish();
            }
            Self::Other(value) => value.encode(out),
        }
    }

    pub(crate) fn write_field(fields: &mut FieldWriter<'_>, state: &Self) {
        fields.put(|out| state.encode(out));
    }
}
