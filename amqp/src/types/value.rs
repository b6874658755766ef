use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::Symbol;
use crate::codec::{
    DecodeError, Reader, compound32, wide, write_binary, write_map, write_string, write_symbol,
    write_uint, write_ulong,
};

/// Any AMQP value (§1.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal32([u8; 4]),
    Decimal64([u8; 8]),
    Decimal128([u8; 16]),
    Char(char),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(Bytes),
    String(String),
    Symbol(Symbol),
    List(Vec<Self>),
    /// In order of the encoding; duplicate keys are kept.
    Map(Vec<(Self, Self)>),
    /// Elements of one type; see [`Value::encode`] for what happens to others.
    Array(Vec<Self>),
    Described(Box<Described>),
}

/// A value with a descriptor that gives its meaning (§1.1.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub descriptor: Value,
    pub value: Value,
}

impl Value {
    /// Takes one value off the front of `input`; binaries and symbols share its memory.
    ///
    /// # Errors
    /// [`DecodeError::Incomplete`] when `input` ends early, others when it can never become a value. `input` is
    /// unchanged then.
    pub fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::shared(input);
        let value = reader.value()?;
        let consumed = reader.position();
        input.advance(consumed);
        Ok(value)
    }

    /// One value from the front of `input`, and the octets it takes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_slice(input: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(input);
        let value = reader.value()?;
        Ok((value, reader.position()))
    }

    /// Appends the encoding: the shortest form of scalars, strings and symbols, `list32`/`map32`/`array32` for
    /// compounds, `list0` for an empty list, as C routers write messages.
    ///
    /// An array whose elements do not have one type (and one numeric or symbolic descriptor) is written as a list.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Null => out.put_u8(0x40),
            Self::Bool(true) => out.put_u8(0x41),
            Self::Bool(false) => out.put_u8(0x42),
            Self::Ubyte(value) => out.put_slice(&[0x50, *value]),
            Self::Uint(value) => write_uint(*value, out),
            Self::Ulong(value) => write_ulong(*value, out),
            Self::Int(value) => match i8::try_from(*value) {
                Ok(value) => out.put_slice(&[0x54, value.to_be_bytes()[0]]),
                Err(_) => self.encode_wide(out),
            },
            Self::Long(value) => match i8::try_from(*value) {
                Ok(value) => out.put_slice(&[0x55, value.to_be_bytes()[0]]),
                Err(_) => self.encode_wide(out),
            },
            Self::Binary(value) => write_binary(value, out),
            Self::String(value) => write_string(value, out),
            Self::Symbol(value) => write_symbol(value, out),
            Self::List(values) => Self::encode_list(values, out),
            Self::Map(entries) => write_map(entries, out),
            Self::Array(values) => encode_array(values, out),
            Self::Described(described) => {
                out.put_u8(0);
                described.descriptor.encode(out);
                described.value.encode(out);
            }
            _ => self.encode_wide(out),
        }
    }

    pub(crate) fn encode_list(values: &[Self], out: &mut BytesMut) {
        if values.is_empty() {
            out.put_u8(0x45);
        } else {
            encode_list(values, out);
        }
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text of a string or symbol.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }

    /// The number of any integer type, if it fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        Some(match self {
            Self::Ubyte(value) => i64::from(*value),
            Self::Ushort(value) => i64::from(*value),
            Self::Uint(value) => i64::from(*value),
            Self::Ulong(value) => i64::try_from(*value).ok()?,
            Self::Byte(value) => i64::from(*value),
            Self::Short(value) => i64::from(*value),
            Self::Int(value) => i64::from(*value),
            Self::Long(value) => *value,
            _ => return None,
        })
    }

    /// The number of any integer type, if it is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Ulong(value) => Some(*value),
            _ => u64::try_from(self.as_i64()?).ok(),
        }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of the first map entry whose key is the string or symbol `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let entries = self.as_map()?;
        entries
            .iter()
            .find(|(candidate, _)| candidate.as_str() == Some(key))
            .map(|(_, value)| value)
    }

    /// Constructor and body in the widest form of the type, which is also the form of array elements.
    fn encode_wide(&self, out: &mut BytesMut) {
        match self.wide_code() {
            Some(code) => out.put_u8(code),
            None => return self.encode(out),
        }
        self.encode_body(out);
    }

    fn wide_code(&self) -> Option<u8> {
        Some(match self {
            Self::Null => 0x40,
            Self::Bool(_) => 0x56,
            Self::Ubyte(_) => 0x50,
            Self::Byte(_) => 0x51,
            Self::Ushort(_) => 0x60,
            Self::Short(_) => 0x61,
            Self::Uint(_) => 0x70,
            Self::Int(_) => 0x71,
            Self::Float(_) => 0x72,
            Self::Char(_) => 0x73,
            Self::Decimal32(_) => 0x74,
            Self::Ulong(_) => 0x80,
            Self::Long(_) => 0x81,
            Self::Double(_) => 0x82,
            Self::Timestamp(_) => 0x83,
            Self::Decimal64(_) => 0x84,
            Self::Decimal128(_) => 0x94,
            Self::Uuid(_) => 0x98,
            Self::Binary(_) => 0xb0,
            Self::String(_) => 0xb1,
            Self::Symbol(_) => 0xb3,
            Self::List(_) => 0xd0,
            Self::Map(_) => 0xd1,
            Self::Array(values) if ElementType::of(values).is_some() => 0xf0,
            // Written as a list, see `encode`.
            Self::Array(_) => 0xd0,
            Self::Described(_) => return None,
        })
    }

    /// What follows the constructor of [`wide_code`](Self::wide_code).
    fn encode_body(&self, out: &mut BytesMut) {
        match self {
            Self::Null | Self::Described(_) => {}
            Self::Bool(value) => out.put_u8(u8::from(*value)),
            Self::Ubyte(value) => out.put_u8(*value),
            Self::Byte(value) => out.put_i8(*value),
            Self::Ushort(value) => out.put_u16(*value),
            Self::Short(value) => out.put_i16(*value),
            Self::Uint(value) => out.put_u32(*value),
            Self::Int(value) => out.put_i32(*value),
            Self::Float(value) => out.put_f32(*value),
            Self::Char(value) => out.put_u32(u32::from(*value)),
            Self::Ulong(value) => out.put_u64(*value),
            Self::Long(value) | Self::Timestamp(value) => out.put_i64(*value),
            Self::Double(value) => out.put_f64(*value),
            Self::Decimal32(octets) => out.put_slice(octets),
            Self::Decimal64(octets) => out.put_slice(octets),
            Self::Decimal128(octets) | Self::Uuid(octets) => out.put_slice(octets),
            Self::Binary(octets) => put_counted(octets, out),
            Self::String(text) => put_counted(text.as_bytes(), out),
            Self::Symbol(symbol) => put_counted(symbol.as_bytes(), out),
            Self::List(_) | Self::Map(_) | Self::Array(_) => self.encode_compound_body(out),
        }
    }

    fn encode_compound_body(&self, out: &mut BytesMut) {
        // Encoded with its constructor, which is then taken out again: the body alone is needed only for arrays of
        // compounds, which no performative has.
        let at = out.len();
        match self {
            Self::List(values) => encode_list(values, out),
            Self::Map(entries) => write_map(entries, out),
            Self::Array(values) => encode_array(values, out),
            _ => return,
        }
        out.copy_within(at + 1.., at);
        out.truncate(out.len() - 1);
    }
}

fn encode_list(values: &[Value], out: &mut BytesMut) {
    compound32(0xd0, values.len(), out, |out| {
        for value in values {
            value.encode(out);
        }
    });
}

fn put_counted(octets: &[u8], out: &mut BytesMut) {
    out.put_u32(wide(octets.len()));
    out.put_slice(octets);
}

/// What all elements of an array have in common.
#[derive(PartialEq)]
struct ElementType<'a> {
    descriptor: Option<&'a Value>,
    code: u8,
}

impl<'a> ElementType<'a> {
    /// `None` when the values differ in it.
    fn of(values: &'a [Value]) -> Option<Self> {
        let Some((first, rest)) = values.split_first() else {
            return Some(Self {
                descriptor: None,
                code: 0x40,
            });
        };
        let common = Self::of_element(first)?;
        rest.iter()
            .all(|value| Self::of_element(value).as_ref() == Some(&common))
            .then_some(common)
    }

    fn of_element(value: &'a Value) -> Option<Self> {
        match value {
            Value::Described(described) => {
                let numeric_or_symbolic =
                    matches!(described.descriptor, Value::Ulong(_) | Value::Symbol(_));
                let code = described.value.wide_code()?;
                numeric_or_symbolic.then_some(Self {
                    descriptor: Some(&described.descriptor),
                    code,
                })
            }
            _ => Some(Self {
                descriptor: None,
                code: value.wide_code()?,
            }),
        }
    }
}

fn encode_array(values: &[Value], out: &mut BytesMut) {
    let Some(element) = ElementType::of(values) else {
        return encode_list(values, out);
    };
    compound32(0xf0, values.len(), out, |out| {
        if let Some(descriptor) = element.descriptor {
            out.put_u8(0);
            descriptor.encode(out);
        }
        out.put_u8(element.code);
        for value in values {
            match value {
                Value::Described(described) => described.value.encode_body(out),
                _ => value.encode_body(out),
            }
        }
    });
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {
        $(impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool, u8 => Ubyte, u16 => Ushort, u32 => Uint, u64 => Ulong, i8 => Byte, i16 => Short, i32 => Int,
    i64 => Long, f32 => Float, f64 => Double, char => Char, &str => String, String => String, Symbol => Symbol,
    Bytes => Binary,
}
