use bytes::{BufMut as _, BytesMut};

use crate::types::{Symbol, Value};

pub(crate) fn write_uint(value: u32, out: &mut BytesMut) {
    match value {
        0 => out.put_u8(0x43),
        1..=0xff => out.put_slice(&[0x52, value.to_be_bytes()[3]]),
        _ => {
            out.put_u8(0x70);
            out.put_u32(value);
        }
    }
}

pub(crate) fn write_ulong(value: u64, out: &mut BytesMut) {
    match value {
        0 => out.put_u8(0x44),
        1..=0xff => out.put_slice(&[0x53, value.to_be_bytes()[7]]),
        _ => {
            out.put_u8(0x80);
            out.put_u64(value);
        }
    }
}

pub(crate) fn write_string(value: &str, out: &mut BytesMut) {
    write_variable(0xa1, value.as_bytes(), out);
}

pub(crate) fn write_symbol(value: &Symbol, out: &mut BytesMut) {
    write_variable(0xa3, value.as_bytes(), out);
}

pub(crate) fn write_binary(value: &[u8], out: &mut BytesMut) {
    write_variable(0xa0, value, out);
}

/// One symbol bare, several as `array32` of `sym32`, as proton writes "multiple" fields.
pub(crate) fn write_symbols(symbols: &[Symbol], out: &mut BytesMut) {
    match symbols {
        [symbol] => write_symbol(symbol, out),
        _ => {
            let len: usize = symbols
                .iter()
                .map(|symbol| 4 + symbol.as_bytes().len())
                .sum();
            out.put_u8(0xf0);
            out.put_u32(wide(4 + 1 + len));
            out.put_u32(wide(symbols.len()));
            out.put_u8(0xb3);
            for symbol in symbols {
                out.put_u32(wide(symbol.as_bytes().len()));
                out.put_slice(symbol.as_bytes());
            }
        }
    }
}

/// `map32`.
pub(crate) fn write_map(entries: &[(Value, Value)], out: &mut BytesMut) {
    compound32(0xd1, entries.len() * 2, out, |out| {
        for (key, value) in entries {
            key.encode(out);
            value.encode(out);
        }
    });
}

/// A compound with four-octet size and count, around what `content` writes.
pub(crate) fn compound32(
    code: u8,
    count: usize,
    out: &mut BytesMut,
    content: impl FnOnce(&mut BytesMut),
) {
    out.put_u8(code);
    let size_at = out.len();
    out.put_u32(0);
    out.put_u32(wide(count));
    content(out);
    let size = wide(out.len() - size_at - 4);
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
}

/// Lengths in memory fit the 32-bit fields: nothing larger than a frame or a configured message is ever encoded.
pub(crate) fn wide(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn write_variable(short_code: u8, octets: &[u8], out: &mut BytesMut) {
    if let Ok(len) = u8::try_from(octets.len()) {
        out.put_slice(&[short_code, len]);
    } else {
        out.put_u8(short_code | 0x10);
        out.put_u32(wide(octets.len()));
    }
    out.put_slice(octets);
}

/// Writes a composite type: descriptor, then its fields as the smallest list, trailing absent fields left out.
#[derive(Debug)]
pub(crate) struct FieldWriter<'a> {
    out: &'a mut BytesMut,
    list_at: usize,
    count: u8,
    kept: u8,
    kept_len: usize,
}

impl<'a> FieldWriter<'a> {
    /// Octets before the first field of a `list8`: constructor, size, count.
    const SHORT: usize = 3;
    /// The same of a `list32`.
    const LONG: usize = 9;

    pub(crate) fn new(code: u8, out: &'a mut BytesMut) -> Self {
        out.put_slice(&[0x00, 0x53, code]);
        let list_at = out.len();
        out.put_slice(&[0xc0, 0, 0]);
        Self {
            list_at,
            count: 0,
            kept: 0,
            kept_len: out.len(),
            out,
        }
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.count += 1;
        self.out.put_u8(0x40);
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.put(|out| out.put_u8(if value { 0x41 } else { 0x42 }))
    }

    /// True, or absent.
    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        if value { self.bool(true) } else { self.null() }
    }

    pub(crate) fn ubyte(&mut self, value: u8) -> &mut Self {
        self.put(|out| out.put_slice(&[0x50, value]))
    }

    pub(crate) fn ushort(&mut self, value: u16) -> &mut Self {
        self.put(|out| {
            out.put_u8(0x60);
            out.put_u16(value);
        })
    }

    pub(crate) fn uint(&mut self, value: u32) -> &mut Self {
        self.put(|out| write_uint(value, out))
    }

    pub(crate) fn ulong(&mut self, value: u64) -> &mut Self {
        self.put(|out| write_ulong(value, out))
    }

    pub(crate) fn string(&mut self, value: &str) -> &mut Self {
        self.put(|out| write_string(value, out))
    }

    pub(crate) fn binary(&mut self, value: &[u8]) -> &mut Self {
        self.put(|out| write_binary(value, out))
    }

    pub(crate) fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        match value {
            Some(value) => write(self, value),
            None => {
                self.null();
            }
        }
        self
    }

    pub(crate) fn option_string(&mut self, value: Option<&str>) -> &mut Self {
        self.option(value, |fields, value| {
            fields.string(value);
        })
    }

    pub(crate) fn option_uint(&mut self, value: Option<u32>) -> &mut Self {
        self.option(value, |fields, value| {
            fields.uint(value);
        })
    }

    pub(crate) fn option_symbol(&mut self, value: Option<&Symbol>) -> &mut Self {
        self.option(value, |fields, value| {
            fields.put(|out| write_symbol(value, out));
        })
    }

    /// Absent when empty.
    pub(crate) fn symbols(&mut self, symbols: &[Symbol]) -> &mut Self {
        if symbols.is_empty() {
            self.null()
        } else {
            self.put(|out| write_symbols(symbols, out))
        }
    }

    /// Absent when empty.
    pub(crate) fn map(&mut self, entries: &[(Value, Value)]) -> &mut Self {
        if entries.is_empty() {
            self.null()
        } else {
            self.put(|out| write_map(entries, out))
        }
    }

    pub(crate) fn value(&mut self, value: &Value) -> &mut Self {
        if value.is_null() {
            self.null()
        } else {
            self.put(|out| value.encode(out))
        }
    }

    /// A field that `write` encodes, never as null.
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut BytesMut)) -> &mut Self {
        write(self.out);
        self.count += 1;
        self.kept = self.count;
        self.kept_len = self.out.len();
        self
    }

    /// Fixes the list's constructor, size and count.
    pub(crate) fn finish(&mut self) {
        let Self {
            out,
            list_at,
            kept,
            kept_len,
            ..
        } = self;
        let list_at = *list_at;
        out.truncate(*kept_len);
        if *kept == 0 {
            out.truncate(list_at);
            out.put_u8(0x45);
            return;
        }
        let content = *kept_len - list_at - Self::SHORT;
        if let Ok(size) = u8::try_from(content + 1) {
            out[list_at + 1] = size;
            out[list_at + 2] = *kept;
            return;
        }
        out.put_bytes(0, Self::LONG - Self::SHORT);
        out.copy_within(list_at + Self::SHORT..*kept_len, list_at + Self::LONG);
        out[list_at] = 0xd0;
        out[list_at + 1..list_at + 5].copy_from_slice(&wide(content + 4).to_be_bytes());
        out[list_at + 5..list_at + 9].copy_from_slice(&u32::from(*kept).to_be_bytes());
    }
}
