use bytes::Bytes;

use super::{DecodeError, MAX_DEPTH, MAX_ZERO_WIDTH};
use crate::types::{Described, Symbol, Value};

/// A cursor over encoded octets that never reads past the innermost open compound.
///
/// With a shared source, binaries and symbols are slices of it; otherwise they are copied.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    shared: Option<&'a Bytes>,
    at: usize,
    end: usize,
    compounds: u8,
    depth: u8,
    zero_width: u32,
}

/// An open list, map or array: what must be restored when it is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compound {
    pub(crate) count: u32,
    end: usize,
    outer_end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            shared: None,
            at: 0,
            end: input.len(),
            compounds: 0,
            depth: 0,
            zero_width: MAX_ZERO_WIDTH,
        }
    }

    pub(crate) fn shared(input: &'a Bytes) -> Self {
        Self {
            shared: Some(input),
            ..Self::new(input)
        }
    }

    /// Octets consumed so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn seek(&mut self, position: usize) {
        debug_assert!(position <= self.end);
        self.at = position;
    }

    pub(crate) fn remaining(&self) -> usize {
        self.end - self.at
    }

    pub(crate) fn peek(&self) -> Result<u8, DecodeError> {
        if self.at < self.end {
            Ok(self.input[self.at])
        } else {
            Err(self.short())
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let octet = self.peek()?;
        self.at += 1;
        Ok(octet)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let octets = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(octets);
        Ok(array)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if len > self.remaining() {
            return Err(self.short());
        }
        let octets = &self.input[self.at..self.at + len];
        self.at += len;
        Ok(octets)
    }

    /// The content of a variable-width value with constructor `code` (§1.6.19–21): its length, then its octets.
    pub(crate) fn variable(&mut self, code: u8) -> Result<&'a [u8], DecodeError> {
        let len = self.size_field(code)?;
        self.take(len)
    }

    pub(crate) fn text(&mut self, code: u8) -> Result<&'a str, DecodeError> {
        str::from_utf8(self.variable(code)?).map_err(|_| DecodeError::InvalidUtf8)
    }

    pub(crate) fn symbol(&mut self, code: u8) -> Result<Symbol, DecodeError> {
        let octets = self.variable(code)?;
        if !octets.is_ascii() {
            return Err(DecodeError::InvalidSymbol);
        }
        Ok(Symbol::from_ascii(self.retain(octets)))
    }

    pub(crate) fn binary(&mut self, code: u8) -> Result<Bytes, DecodeError> {
        let octets = self.variable(code)?;
        Ok(self.retain(octets))
    }

    /// A descriptor of the performatives and sections: the numeric code, or the symbol `known` translates.
    pub(crate) fn descriptor(
        &mut self,
        known: impl Fn(&[u8]) -> Option<u64>,
    ) -> Result<u64, DecodeError> {
        if self.u8()? != 0 {
            return Err(DecodeError::UnexpectedDescriptor);
        }
        match self.u8()? {
            0x53 => Ok(u64::from(self.u8()?)),
            0x80 => self.u64(),
            0x44 => Ok(0),
            code @ (0xa3 | 0xb3) => {
                known(self.variable(code)?).ok_or(DecodeError::UnexpectedDescriptor)
            }
            _ => Err(DecodeError::UnexpectedDescriptor),
        }
    }

    /// Enters the list, map or array whose constructor `code` was just read.
    pub(crate) fn enter(&mut self, code: u8) -> Result<Compound, DecodeError> {
        let outer_end = self.end;
        if code == 0x45 {
            self.descend()?;
            self.compounds += 1;
            self.end = self.at;
            return Ok(Compound {
                count: 0,
                end: self.at,
                outer_end,
            });
        }
        let size = self.size_field(code)?;
        if size > self.remaining() {
            return Err(self.short());
        }
        self.descend()?;
        self.compounds += 1;
        self.end = self.at + size;
        let count = if code & 0x10 == 0 {
            u32::from(self.u8()?)
        } else {
            self.u32()?
        };
        Ok(Compound {
            count,
            end: self.end,
            outer_end,
        })
    }

    /// Leaves a compound, skipping what is left of it.
    pub(crate) fn leave(&mut self, compound: Compound) {
        self.at = compound.end;
        self.end = compound.outer_end;
        self.compounds -= 1;
        self.depth -= 1;
    }

    /// Any value.
    pub(crate) fn value(&mut self) -> Result<Value, DecodeError> {
        match self.u8()? {
            0 => {
                self.descend()?;
                let descriptor = self.value()?;
                let value = self.value()?;
                self.depth -= 1;
                Ok(Value::Described(Box::new(Described { descriptor, value })))
            }
            code => self.value_of(code),
        }
    }

    /// Passes over one value without building it.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        let code = self.u8()?;
        if code == 0 {
            self.descend()?;
            self.skip()?;
            self.skip()?;
            self.depth -= 1;
            return Ok(());
        }
        let len = self.body_len(code)?;
        self.take(len).map(|_| ())
    }

    /// Octets that follow the constructor (and the size field, which is consumed) of a value.
    pub(crate) fn body_len(&mut self, code: u8) -> Result<usize, DecodeError> {
        match code >> 4 {
            0x4 => Ok(0),
            0x5 => Ok(1),
            0x6 => Ok(2),
            0x7 => Ok(4),
            0x8 => Ok(8),
            0x9 => Ok(16),
            0xa..=0xf => self.size_field(code),
            _ => Err(DecodeError::UnknownConstructor(code)),
        }
    }

    fn size_field(&mut self, code: u8) -> Result<usize, DecodeError> {
        // Odd categories have wide size fields: b, d, f against a, c, e.
        if code & 0x10 == 0 {
            Ok(usize::from(self.u8()?))
        } else {
            Ok(self.u32()? as usize)
        }
    }

    fn value_of(&mut self, code: u8) -> Result<Value, DecodeError> {
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x43 => Value::Uint(0),
            0x44 => Value::Ulong(0),
            0x50 => Value::Ubyte(self.u8()?),
            0x51 => Value::Byte(i8::from_be_bytes(self.array()?)),
            0x52 => Value::Uint(u32::from(self.u8()?)),
            0x53 => Value::Ulong(u64::from(self.u8()?)),
            0x54 => Value::Int(i32::from(i8::from_be_bytes(self.array()?))),
            0x55 => Value::Long(i64::from(i8::from_be_bytes(self.array()?))),
            0x56 => match self.u8()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(DecodeError::InvalidScalar),
            },
            0x60 => Value::Ushort(self.u16()?),
            0x61 => Value::Short(i16::from_be_bytes(self.array()?)),
            0x70 => Value::Uint(self.u32()?),
            0x71 => Value::Int(i32::from_be_bytes(self.array()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.array()?)),
            0x73 => Value::Char(char::from_u32(self.u32()?).ok_or(DecodeError::InvalidScalar)?),
            0x74 => Value::Decimal32(self.array()?),
            0x80 => Value::Ulong(self.u64()?),
            0x81 => Value::Long(i64::from_be_bytes(self.array()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.array()?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(self.array()?)),
            0x84 => Value::Decimal64(self.array()?),
            0x94 => Value::Decimal128(self.array()?),
            0x98 => Value::Uuid(self.array()?),
            0xa0 | 0xb0 => Value::Binary(self.binary(code)?),
            0xa1 | 0xb1 => Value::String(self.text(code)?.to_owned()),
            0xa3 | 0xb3 => Value::Symbol(self.symbol(code)?),
            0x45 | 0xc0 | 0xd0 => Value::List(self.list(code)?),
            0xc1 | 0xd1 => Value::Map(self.map(code)?),
            0xe0 | 0xf0 => Value::Array(self.elements(code)?),
            _ => return Err(DecodeError::UnknownConstructor(code)),
        })
    }

    fn list(&mut self, code: u8) -> Result<Vec<Value>, DecodeError> {
        let compound = self.enter(code)?;
        let count = self.bounded(compound.count)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.value()?);
        }
        self.leave_exactly(compound)?;
        Ok(values)
    }

    pub(crate) fn map(&mut self, code: u8) -> Result<Vec<(Value, Value)>, DecodeError> {
        let compound = self.enter(code)?;
        let count = self.bounded(compound.count)?;
        if count % 2 != 0 {
            return Err(DecodeError::InvalidCount);
        }
        let mut entries = Vec::with_capacity(count / 2);
        for _ in 0..count / 2 {
            entries.push((self.value()?, self.value()?));
        }
        self.leave_exactly(compound)?;
        Ok(entries)
    }

    fn elements(&mut self, code: u8) -> Result<Vec<Value>, DecodeError> {
        let compound = self.enter(code)?;
        let mut code = self.u8()?;
        let descriptor = if code == 0 {
            let descriptor = self.value()?;
            // Repeated for every element below, so it must be cheap to copy.
            if !matches!(descriptor, Value::Ulong(_) | Value::Symbol(_)) {
                return Err(DecodeError::UnexpectedDescriptor);
            }
            code = self.u8()?;
            Some(descriptor)
        } else {
            None
        };
        if code >> 4 == 0x4 {
            self.zero_width = self
                .zero_width
                .checked_sub(compound.count)
                .ok_or(DecodeError::InvalidCount)?;
        } else {
            self.bounded(compound.count)?;
        }
        let mut values = Vec::with_capacity(compound.count as usize);
        for _ in 0..compound.count {
            let value = self.value_of(code)?;
            values.push(match &descriptor {
                Some(descriptor) => Value::Described(Box::new(Described {
                    descriptor: descriptor.clone(),
                    value,
                })),
                None => value,
            });
        }
        self.leave_exactly(compound)?;
        Ok(values)
    }

    /// An element takes at least one octet, so more elements than octets are a lie.
    fn bounded(&self, count: u32) -> Result<usize, DecodeError> {
        let count = count as usize;
        if count > self.remaining() {
            Err(DecodeError::InvalidCount)
        } else {
            Ok(count)
        }
    }

    fn leave_exactly(&mut self, compound: Compound) -> Result<(), DecodeError> {
        if self.at != compound.end {
            return Err(DecodeError::Overrun);
        }
        self.leave(compound);
        Ok(())
    }

    fn descend(&mut self) -> Result<(), DecodeError> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        self.depth += 1;
        Ok(())
    }

    fn retain(&self, octets: &'a [u8]) -> Bytes {
        match self.shared {
            Some(shared) => shared.slice_ref(octets),
            None => Bytes::copy_from_slice(octets),
        }
    }

    /// Inside a compound, whose octets are all present, more input cannot help.
    fn short(&self) -> DecodeError {
        if self.compounds == 0 {
            DecodeError::Incomplete
        } else {
            DecodeError::Overrun
        }
    }
}
