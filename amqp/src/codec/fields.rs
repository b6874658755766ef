use bytes::Bytes;

use super::read::Compound;
use super::{DecodeError, Reader};
use crate::types::{Symbol, Value};

/// The fields of a performative, section or other composite type (§1.4), read in order.
///
/// A field that is null or past the end of the list is absent. Fields beyond those asked for are skipped.
#[derive(Debug)]
pub(crate) struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    compound: Compound,
    left: u32,
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Enters the list at the reader's position.
    pub(crate) fn enter(reader: &'r mut Reader<'a>) -> Result<Self, DecodeError> {
        let code = reader.u8()?;
        if !matches!(code, 0x45 | 0xc0 | 0xd0) {
            return Err(DecodeError::UnexpectedType(code));
        }
        let compound = reader.enter(code)?;
        Ok(Self {
            reader,
            left: compound.count,
            compound,
        })
    }

    pub(crate) fn finish(self) {
        self.reader.leave(self.compound);
    }

    pub(crate) fn bool(&mut self) -> Result<Option<bool>, DecodeError> {
        self.field(|reader, code| match code {
            0x41 => Ok(true),
            0x42 => Ok(false),
            0x56 => match reader.u8()? {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(DecodeError::InvalidScalar),
            },
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn u8(&mut self) -> Result<Option<u8>, DecodeError> {
        self.field(|reader, code| match code {
            0x50 => reader.u8(),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn u16(&mut self) -> Result<Option<u16>, DecodeError> {
        self.field(|reader, code| match code {
            0x60 => reader.u16(),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn u32(&mut self) -> Result<Option<u32>, DecodeError> {
        self.field(|reader, code| match code {
            0x43 => Ok(0),
            0x52 => Ok(u32::from(reader.u8()?)),
            0x70 => reader.u32(),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn u64(&mut self) -> Result<Option<u64>, DecodeError> {
        self.field(|reader, code| match code {
            0x44 => Ok(0),
            0x53 => Ok(u64::from(reader.u8()?)),
            0x80 => reader.u64(),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn timestamp(&mut self) -> Result<Option<i64>, DecodeError> {
        self.field(|reader, code| match code {
            0x83 => Ok(i64::from_be_bytes(reader.array()?)),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn string(&mut self) -> Result<Option<String>, DecodeError> {
        self.field(|reader, code| match code {
            0xa1 | 0xb1 => Ok(reader.text(code)?.to_owned()),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    /// A string, or a symbol read as one: peers disagree about the type of some fields.
    pub(crate) fn text(&mut self) -> Result<Option<String>, DecodeError> {
        self.field(|reader, code| match code {
            0xa1 | 0xb1 | 0xa3 | 0xb3 => Ok(reader.text(code)?.to_owned()),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn symbol(&mut self) -> Result<Option<Symbol>, DecodeError> {
        self.field(|reader, code| match code {
            0xa3 | 0xb3 => reader.symbol(code),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    pub(crate) fn binary(&mut self) -> Result<Option<Bytes>, DecodeError> {
        self.field(|reader, code| match code {
            0xa0 | 0xb0 => reader.binary(code),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    /// Like [`binary`](Self::binary), without keeping the octets.
    pub(crate) fn octets(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        self.field(|reader, code| match code {
            0xa0 | 0xb0 => reader.variable(code),
            _ => Err(DecodeError::UnexpectedType(code)),
        })
    }

    /// A "multiple" symbol field: one symbol, an array or (from some stacks) a list of symbols.
    pub(crate) fn symbols(&mut self) -> Result<Vec<Symbol>, DecodeError> {
        let values = match self.value()? {
            Value::Null => return Ok(Vec::new()),
            Value::Symbol(symbol) => return Ok(vec![symbol]),
            Value::Array(values) | Value::List(values) => values,
            _ => return Err(DecodeError::InvalidField("symbols")),
        };
        values
            .into_iter()
            .map(|value| match value {
                Value::Symbol(symbol) => Ok(symbol),
                _ => Err(DecodeError::InvalidField("symbols")),
            })
            .collect()
    }

    /// A map; absent is empty.
    pub(crate) fn map(&mut self) -> Result<Vec<(Value, Value)>, DecodeError> {
        let map = self.field(|reader, code| match code {
            0xc1 | 0xd1 => reader.map(code),
            _ => Err(DecodeError::UnexpectedType(code)),
        })?;
        Ok(map.unwrap_or_default())
    }

    /// Any value; absent is null.
    pub(crate) fn value(&mut self) -> Result<Value, DecodeError> {
        if self.present()? {
            self.reader.value()
        } else {
            Ok(Value::Null)
        }
    }

    /// A composite field, read by `read` from its descriptor on.
    pub(crate) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.present()? {
            read(self.reader).map(Some)
        } else {
            Ok(None)
        }
    }

    fn field<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>, u8) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if !self.present()? {
            return Ok(None);
        }
        let code = self.reader.u8()?;
        read(self.reader, code).map(Some)
    }

    /// Whether the next field is there and not null; a null is consumed.
    fn present(&mut self) -> Result<bool, DecodeError> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        if self.reader.peek()? == 0x40 {
            self.reader.u8()?;
            return Ok(false);
        }
        Ok(true)
    }
}
