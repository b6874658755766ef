use bytes::BytesMut;

use super::{code_of, composite};
use crate::codec::{DecodeError, FieldWriter, Fields, Reader};
use crate::types::{Symbol, Value};

/// Where the messages of a link come from (part 3 §3.5.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    pub address: Option<String>,
    pub durable: u32,
    pub expiry_policy: Option<Symbol>,
    /// Seconds.
    pub timeout: u32,
    pub dynamic: bool,
    pub dynamic_node_properties: Value,
    pub distribution_mode: Option<Symbol>,
    pub filter: Value,
    pub default_outcome: Value,
    pub outcomes: Vec<Symbol>,
    pub capabilities: Vec<Symbol>,
}

composite!(Source, 0x28);

impl Source {
    pub(crate) fn read_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut fields = Fields::enter(reader)?;
        let source = Self {
            address: address(&mut fields)?,
            durable: fields.u32()?.unwrap_or(0),
            expiry_policy: fields.symbol()?,
            timeout: fields.u32()?.unwrap_or(0),
            dynamic: fields.bool()?.unwrap_or(false),
            dynamic_node_properties: fields.value()?,
            distribution_mode: fields.symbol()?,
            filter: fields.value()?,
            default_outcome: fields.value()?,
            outcomes: fields.symbols()?,
            capabilities: fields.symbols()?,
        };
        fields.finish();
        Ok(source)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        FieldWriter::new(0x28, out)
            .option_string(self.address.as_deref())
            .uint(self.durable)
            .option_symbol(self.expiry_policy.as_ref())
            .uint(self.timeout)
            .bool(self.dynamic)
            .value(&self.dynamic_node_properties)
            .option_symbol(self.distribution_mode.as_ref())
            .value(&self.filter)
            .value(&self.default_outcome)
            .symbols(&self.outcomes)
            .symbols(&self.capabilities)
            .finish();
    }
}

/// Where the messages of a link go to (part 3 §3.5.4), or a transaction coordinator (part 4 §4.5.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    pub address: Option<String>,
    pub durable: u32,
    pub expiry_policy: Option<Symbol>,
    /// Seconds.
    pub timeout: u32,
    pub dynamic: bool,
    pub dynamic_node_properties: Value,
    pub capabilities: Vec<Symbol>,
    /// Not a target but a transaction coordinator, which has only capabilities.
    pub coordinator: bool,
}

impl Target {
    const CODE: u64 = 0x29;
    const COORDINATOR: u64 = 0x30;

    /// One from the front of `input`, and the octets it takes.
    ///
    /// # Errors
    /// What does not decode.
    pub fn decode_slice(input: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(input);
        let target = Self::read(&mut reader)?;
        Ok((target, reader.position()))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.descriptor(code_of)?;
        let mut fields = Fields::enter(reader)?;
        let target = match code {
            Self::CODE => Self {
                address: address(&mut fields)?,
                durable: fields.u32()?.unwrap_or(0),
                expiry_policy: fields.symbol()?,
                timeout: fields.u32()?.unwrap_or(0),
                dynamic: fields.bool()?.unwrap_or(false),
                dynamic_node_properties: fields.value()?,
                capabilities: fields.symbols()?,
                coordinator: false,
            },
            Self::COORDINATOR => Self {
                capabilities: fields.symbols()?,
                coordinator: true,
                ..Self::default()
            },
            _ => return Err(DecodeError::UnexpectedDescriptor),
        };
        fields.finish();
        Ok(target)
    }

    pub fn encode(&self, out: &mut BytesMut) {
        if self.coordinator {
            FieldWriter::new(0x30, out)
                .symbols(&self.capabilities)
                .finish();
            return;
        }
        FieldWriter::new(0x29, out)
            .option_string(self.address.as_deref())
            .uint(self.durable)
            .option_symbol(self.expiry_policy.as_ref())
            .uint(self.timeout)
            .bool(self.dynamic)
            .value(&self.dynamic_node_properties)
            .symbols(&self.capabilities)
            .finish();
    }
}

/// The standard allows any type here (§3.5.3); addresses of routers are text.
fn address(fields: &mut Fields<'_, '_>) -> Result<Option<String>, DecodeError> {
    fields.text()
}
