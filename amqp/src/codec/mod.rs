//! Reading and writing of the AMQP type encodings (part 1 "types", §1.6).

mod error;
mod fields;
mod read;
mod write;

pub use error::DecodeError;
pub(crate) use fields::Fields;
pub(crate) use read::Reader;
pub(crate) use write::{
    FieldWriter, compound32, wide, write_binary, write_map, write_string, write_symbol,
    write_symbols, write_uint, write_ulong,
};

/// Deepest nesting of compounds and described values that is decoded.
pub const MAX_DEPTH: u8 = 16;

/// Most array elements of zero width (null, true, `list0`, …) in one decoded value: they cost the sender nothing.
pub const MAX_ZERO_WIDTH: u32 = 1024;
