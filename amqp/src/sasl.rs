//! Frames of the SASL layer (part 5 §5.3.3).

use bytes::{Bytes, BytesMut};

use crate::codec::{DecodeError, FieldWriter, Fields, Reader, write_symbol, write_symbols};
use crate::performative::code_of;
use crate::types::Symbol;

/// Identity by other means, here the TLS client certificate.
pub const EXTERNAL: Symbol = Symbol::from_static("EXTERNAL");

/// No identity (RFC 4505).
pub const ANONYMOUS: Symbol = Symbol::from_static("ANONYMOUS");

/// User and password (RFC 4616).
pub const PLAIN: Symbol = Symbol::from_static("PLAIN");

/// How a SASL exchange ended (§5.3.3.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutcomeCode {
    Ok,
    /// The credentials are wrong.
    Auth,
    Sys,
    SysPerm,
    SysTemp,
}

impl OutcomeCode {
    fn from_wire(code: u8) -> Result<Self, DecodeError> {
        [
            Self::Ok,
            Self::Auth,
            Self::Sys,
            Self::SysPerm,
            Self::SysTemp,
        ]
        .get(usize::from(code))
        .copied()
        .ok_or(DecodeError::InvalidField("code"))
    }
}

/// A SASL frame body.
#[derive(Clone, Eq, PartialEq)]
pub enum SaslFrame {
    Mechanisms(Vec<Symbol>),
    Init {
        mechanism: Symbol,
        initial_response: Option<Bytes>,
        hostname: Option<String>,
    },
    Challenge(Bytes),
    Response(Bytes),
    Outcome {
        code: OutcomeCode,
        additional_data: Option<Bytes>,
    },
}

impl std::fmt::Debug for SaslFrame {
    /// Without responses and challenges, which hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mechanisms(mechanisms) => f.debug_tuple("Mechanisms").field(mechanisms).finish(),
            Self::Init { mechanism, .. } => f
                .debug_struct("Init")
                .field("mechanism", mechanism)
                .finish_non_exhaustive(),
            Self::Challenge(_) => f.write_str("Challenge"),
            Self::Response(_) => f.write_str("Response"),
            Self::Outcome { code, .. } => f
                .debug_struct("Outcome")
                .field("code", code)
                .finish_non_exhaustive(),
        }
    }
}

impl SaslFrame {
    /// The frame body `body`.
    ///
    /// # Errors
    /// What is not one of the five.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let code = reader.descriptor(code_of)?;
        let mut fields = Fields::enter(&mut reader)?;
        let frame = match code {
            0x40 => Self::Mechanisms(fields.symbols()?),
            0x41 => Self::Init {
                mechanism: fields
                    .symbol()?
                    .ok_or(DecodeError::MissingField("mechanism"))?,
                initial_response: fields.binary()?,
                hostname: fields.string()?,
            },
            0x42 => Self::Challenge(
                fields
                    .binary()?
                    .ok_or(DecodeError::MissingField("challenge"))?,
            ),
            0x43 => Self::Response(
                fields
                    .binary()?
                    .ok_or(DecodeError::MissingField("response"))?,
            ),
            0x44 => Self::Outcome {
                code: OutcomeCode::from_wire(
                    fields.u8()?.ok_or(DecodeError::MissingField("code"))?,
                )?,
                additional_data: fields.binary()?,
            },
            _ => return Err(DecodeError::UnexpectedDescriptor),
        };
        fields.finish();
        Ok(frame)
    }

    /// Appends the frame body.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Mechanisms(mechanisms) => {
                FieldWriter::new(0x40, out)
                    .put(|out| write_symbols(mechanisms, out))
                    .finish();
            }
            Self::Init {
                mechanism,
                initial_response,
                hostname,
            } => FieldWriter::new(0x41, out)
                .put(|out| write_symbol(mechanism, out))
                .option(initial_response.as_ref(), |fields, response| {
                    fields.binary(response);
                })
                .option_string(hostname.as_deref())
                .finish(),
            Self::Challenge(octets) => FieldWriter::new(0x42, out).binary(octets).finish(),
            Self::Response(octets) => FieldWriter::new(0x43, out).binary(octets).finish(),
            Self::Outcome {
                code,
                additional_data,
            } => FieldWriter::new(0x44, out)
                .ubyte(*code as u8)
                .option(additional_data.as_ref(), |fields, data| {
                    fields.binary(data);
                })
                .finish(),
        }
    }
}
