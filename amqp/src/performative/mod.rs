//! The performatives of the transport layer (part 2 §2.7) and the composite types they carry.
//!
//! Decoding accepts every list constructor and both numeric and symbolic descriptors; absent trailing fields have
//! their defaults, fields beyond the standard's are skipped. Encoding is proton's: shortest forms, trailing absent
//! fields left out.

mod attach;
mod delivery_state;
mod flow;
mod open;
mod session;
mod terminus;
mod transfer;

pub use attach::{Attach, Detach, RcvSettleMode, Role, SndSettleMode};
pub use delivery_state::{Condition, DeliveryState};
pub use flow::{Disposition, Flow};
pub use open::{Close, Open};
pub use session::{Begin, End};
pub use terminus::{Source, Target};
pub use transfer::{DeliveryTag, Transfer};

use bytes::{Buf as _, Bytes, BytesMut};

use crate::codec::{DecodeError, Reader};

/// Any performative.
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    Open(Box<Open>),
    Begin(Box<Begin>),
    Attach(Box<Attach>),
    Flow(Box<Flow>),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(End),
    Close(Close),
}

impl Performative {
    /// Takes a performative off the front of a frame body, leaving the payload.
    ///
    /// # Errors
    /// What does not decode as one of the nine; `body` is unchanged then.
    pub fn decode(body: &mut Bytes) -> Result<Self, DecodeError> {
        let (performative, consumed) = Self::decode_slice(body)?;
        body.advance(consumed);
        Ok(performative)
    }

    /// The performative at the front of a frame body, and the octets it takes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_slice(body: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(body);
        let performative = match reader.descriptor(code_of)? {
            Open::CODE => Self::Open(Box::new(Open::read_fields(&mut reader)?)),
            Begin::CODE => Self::Begin(Box::new(Begin::read_fields(&mut reader)?)),
            Attach::CODE => Self::Attach(Box::new(Attach::read_fields(&mut reader)?)),
            Flow::CODE => Self::Flow(Box::new(Flow::read_fields(&mut reader)?)),
            Transfer::CODE => Self::Transfer(Transfer::read_fields(&mut reader)?),
            Disposition::CODE => Self::Disposition(Disposition::read_fields(&mut reader)?),
            Detach::CODE => Self::Detach(Detach::read_fields(&mut reader)?),
            End::CODE => Self::End(End::read_fields(&mut reader)?),
            Close::CODE => Self::Close(Close::read_fields(&mut reader)?),
            _ => return Err(DecodeError::UnexpectedDescriptor),
        };
        Ok((performative, reader.position()))
    }

    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Open(performative) => performative.encode(out),
            Self::Begin(performative) => performative.encode(out),
            Self::Attach(performative) => performative.encode(out),
            Self::Flow(performative) => performative.encode(out),
            Self::Transfer(performative) => performative.encode(out),
            Self::Disposition(performative) => performative.encode(out),
            Self::Detach(performative) => performative.encode(out),
            Self::End(performative) => performative.encode(out),
            Self::Close(performative) => performative.encode(out),
        }
    }
}

/// The numeric descriptor of a symbolic one, for every composite type of parts 2, 3 and 5.
pub(crate) fn code_of(symbol: &[u8]) -> Option<u64> {
    Some(match symbol {
        b"amqp:open:list" => 0x10,
        b"amqp:begin:list" => 0x11,
        b"amqp:attach:list" => 0x12,
        b"amqp:flow:list" => 0x13,
        b"amqp:transfer:list" => 0x14,
        b"amqp:disposition:list" => 0x15,
        b"amqp:detach:list" => 0x16,
        b"amqp:end:list" => 0x17,
        b"amqp:close:list" => 0x18,
        b"amqp:error:list" => 0x1d,
        b"amqp:received:list" => 0x23,
        b"amqp:accepted:list" => 0x24,
        b"amqp:rejected:list" => 0x25,
        b"amqp:released:list" => 0x26,
        b"amqp:modified:list" => 0x27,
        b"amqp:source:list" => 0x28,
        b"amqp:target:list" => 0x29,
        b"amqp:coordinator:list" => 0x30,
        b"amqp:sasl-mechanisms:list" => 0x40,
        b"amqp:sasl-init:list" => 0x41,
        b"amqp:sasl-challenge:list" => 0x42,
        b"amqp:sasl-response:list" => 0x43,
        b"amqp:sasl-outcome:list" => 0x44,
        _ => return None,
    })
}

/// Public `decode`, `decode_slice` and crate-internal `read` of a composite type that has `CODE` and `read_fields`.
macro_rules! composite {
    ($type:ty, $code:literal) => {
        impl $type {
            pub(crate) const CODE: u64 = $code;

            /// Takes one off the front of `input`, descriptor included.
            ///
            /// # Errors
            /// What does not decode; `input` is unchanged then.
            pub fn decode(input: &mut bytes::Bytes) -> Result<Self, $crate::codec::DecodeError> {
                let (value, consumed) = Self::decode_slice(input)?;
                bytes::Buf::advance(input, consumed);
                Ok(value)
            }

            /// One from the front of `input`, and the octets it takes.
            ///
            /// # Errors
            /// What does not decode.
            pub fn decode_slice(input: &[u8]) -> Result<(Self, usize), $crate::codec::DecodeError> {
                let mut reader = $crate::codec::Reader::new(input);
                let value = Self::read(&mut reader)?;
                Ok((value, reader.position()))
            }

            pub(crate) fn read(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                if reader.descriptor($crate::performative::code_of)? != Self::CODE {
                    return Err($crate::codec::DecodeError::UnexpectedDescriptor);
                }
                Self::read_fields(reader)
            }
        }
    };
}
pub(crate) use composite;
