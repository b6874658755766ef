/// Why octets are not the value they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the value does; more octets may complete it.
    #[error("input ends inside a value")]
    Incomplete,
    /// An element reaches past the end of the compound that holds it, or the compound holds unused octets.
    #[error("compound size does not match its elements")]
    Overrun,
    #[error("unknown constructor 0x{0:02x}")]
    UnknownConstructor(u8),
    #[error("unexpected type with constructor 0x{0:02x}")]
    UnexpectedType(u8),
    #[error("element count does not fit the octets")]
    InvalidCount,
    #[error("values nested deeper than {}", super::MAX_DEPTH)]
    TooDeep,
    #[error("string is not UTF-8")]
    InvalidUtf8,
    #[error("symbol is not ASCII")]
    InvalidSymbol,
    #[error("character or boolean out of range")]
    InvalidScalar,
    #[error("unexpected descriptor")]
    UnexpectedDescriptor,
    #[error("mandatory field \"{0}\" is missing")]
    MissingField(&'static str),
    #[error("field \"{0}\" has an invalid value")]
    InvalidField(&'static str),
    #[error("malformed frame header")]
    InvalidFrame,
}
