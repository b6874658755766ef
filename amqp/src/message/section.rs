use bytes::{BufMut as _, BytesMut};

use crate::codec::{DecodeError, Reader, wide, write_ulong};
use crate::types::Value;

pub const HEADER: u64 = 0x70;
pub const DELIVERY_ANNOTATIONS: u64 = 0x71;
pub const MESSAGE_ANNOTATIONS: u64 = 0x72;
pub const PROPERTIES: u64 = 0x73;
pub const APPLICATION_PROPERTIES: u64 = 0x74;
pub const DATA: u64 = 0x75;
pub const SEQUENCE: u64 = 0x76;
pub const VALUE: u64 = 0x77;
pub const FOOTER: u64 = 0x78;

/// The private section that routers put before all others ("SKPR--RA").
pub const ROUTER_ANNOTATIONS: u64 = 0x534b_5052_2d2d_5241;

/// A whole section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Section {
    /// The numeric descriptor.
    pub code: u64,
    /// Offset of the value's constructor.
    pub value_at: usize,
    /// Octets of the section, descriptor included.
    pub len: usize,
}

/// What the first octets of a section tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SectionStart {
    /// The numeric descriptor.
    pub code: u64,
    /// Octets before the body: descriptor, constructor and size field.
    pub header_len: usize,
    /// Octets after that: the content of a binary or string; count and elements of a compound.
    pub body_len: usize,
}

/// The section at the front of `input`; `None` when more octets are needed to have all of it.
///
/// # Errors
/// What is not a section: symbolic descriptors are not understood, as by C routers.
pub fn next_section(input: &[u8]) -> Result<Option<Section>, DecodeError> {
    let mut reader = Reader::new(input);
    let section = (|| {
        let code = reader.descriptor(|_| None)?;
        let value_at = reader.position();
        reader.skip()?;
        Ok(Section {
            code,
            value_at,
            len: reader.position(),
        })
    })();
    when_complete(section)
}

/// The start of the section at the front of `input`, whose body need not be there yet; `None` when more octets are
/// needed.
///
/// # Errors
/// As [`next_section`]; also a described value as the section's value.
pub fn section_start(input: &[u8]) -> Result<Option<SectionStart>, DecodeError> {
    let mut reader = Reader::new(input);
    let start = (|| {
        let code = reader.descriptor(|_| None)?;
        let constructor = reader.u8()?;
        let body_len = reader.body_len(constructor)?;
        Ok(SectionStart {
            code,
            header_len: reader.position(),
            body_len,
        })
    })();
    when_complete(start)
}

/// Appends a section.
pub fn write_section(code: u64, value: &Value, out: &mut BytesMut) {
    write_descriptor(code, out);
    value.encode(out);
}

/// Appends descriptor, constructor and size of a data section; its `len` octets of content are to follow.
pub fn write_data_header(len: usize, out: &mut BytesMut) {
    write_descriptor(DATA, out);
    if let Ok(short) = u8::try_from(len) {
        out.put_slice(&[0xa0, short]);
    } else {
        out.put_u8(0xb0);
        out.put_u32(wide(len));
    }
}

fn write_descriptor(code: u64, out: &mut BytesMut) {
    out.put_u8(0);
    write_ulong(code, out);
}

fn when_complete<T>(result: Result<T, DecodeError>) -> Result<Option<T>, DecodeError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(DecodeError::Incomplete) => Ok(None),
        Err(error) => Err(error),
    }
}
