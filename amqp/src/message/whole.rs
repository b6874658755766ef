use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Header, Properties, next_section, section, write_data_header, write_section};
use crate::codec::{DecodeError, wide, write_map, write_string};
use crate::types::Value;

/// A whole message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The value of the routers' private section.
    pub router_annotations: Option<Value>,
    pub header: Option<Header>,
    pub delivery_annotations: Option<Value>,
    pub message_annotations: Option<Value>,
    pub properties: Properties,
    pub application_properties: Vec<(Value, Value)>,
    pub body: Body,
    pub footer: Option<Value>,
}

/// The body sections of a message (§3.2.6–8).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    #[default]
    Empty,
    Value(Value),
    /// The contents of the data sections.
    Data(Vec<Bytes>),
    /// The elements of all sequence sections.
    Sequence(Vec<Value>),
}

impl Message {
    /// The message that is all of `octets`. Binaries and symbols share its memory.
    ///
    /// # Errors
    /// What is not a series of known sections; [`DecodeError::Incomplete`] when the last one is cut off.
    pub fn decode(octets: &Bytes) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        let mut rest = octets.clone();
        while !rest.is_empty() {
            let section = next_section(&rest)?.ok_or(DecodeError::Incomplete)?;
            let mut value = rest.split_to(section.len).slice(section.value_at..);
            match section.code {
                section::ROUTER_ANNOTATIONS => {
                    message.router_annotations = Some(Value::decode(&mut value)?);
                }
                section::HEADER => message.header = Some(Header::decode(&value)?),
                section::DELIVERY_ANNOTATIONS => {
                    message.delivery_annotations = Some(Value::decode(&mut value)?);
                }
                section::MESSAGE_ANNOTATIONS => {
                    message.message_annotations = Some(Value::decode(&mut value)?);
                }
                section::PROPERTIES => message.properties = Properties::decode(&value)?,
                section::APPLICATION_PROPERTIES => {
                    message.application_properties = match Value::decode(&mut value)? {
                        Value::Map(entries) => entries,
                        _ => return Err(DecodeError::InvalidField("application-properties")),
                    };
                }
                section::DATA | section::SEQUENCE | section::VALUE => {
                    message
                        .body
                        .push(section.code, Value::decode(&mut value)?)?;
                }
                section::FOOTER => message.footer = Some(Value::decode(&mut value)?),
                _ => return Err(DecodeError::UnexpectedDescriptor),
            }
        }
        Ok(message)
    }

    /// Appends all sections; properties and application properties only if there are any.
    pub fn encode(&self, out: &mut BytesMut) {
        let annotations = |code, value: &Option<Value>, out: &mut BytesMut| {
            if let Some(value) = value {
                write_section(code, value, out);
            }
        };
        annotations(section::ROUTER_ANNOTATIONS, &self.router_annotations, out);
        if let Some(header) = &self.header {
            header.encode(out);
        }
        annotations(
            section::DELIVERY_ANNOTATIONS,
            &self.delivery_annotations,
            out,
        );
        annotations(section::MESSAGE_ANNOTATIONS, &self.message_annotations, out);
        if self.properties != Properties::default() {
            self.properties.encode(out, 0);
        }
        if !self.application_properties.is_empty() {
            out.put_slice(&[0x00, 0x53, 0x74]);
            write_map(&self.application_properties, out);
        }
        self.body.encode(out);
        annotations(section::FOOTER, &self.footer, out);
    }

    /// Appends all sections up to the items of a long list, which then are to follow and end the message: its body is a
    /// map with `entries` and, last, `key` with a list of `items` values that take `octets` octets. The message itself
    /// has neither body nor footer.
    pub fn encode_before_list(
        &self,
        entries: &[(Value, Value)],
        key: &str,
        items: usize,
        octets: usize,
        out: &mut BytesMut,
    ) {
        self.encode(out);
        let mut front = BytesMut::new();
        for (key, value) in entries {
            key.encode(&mut front);
            value.encode(&mut front);
        }
        write_string(key, &mut front);
        // code and the fields for size and count
        let list = 1 + 4 + 4 + octets;
        out.put_slice(&[0x00, 0x53, 0x77, 0xd1]);
        out.put_u32(wide(4 + front.len() + list));
        out.put_u32(wide(2 * (entries.len() + 1)));
        out.put_slice(&front);
        out.put_u8(0xd0);
        out.put_u32(wide(4 + octets));
        out.put_u32(wide(items));
    }
}

impl Body {
    fn push(&mut self, code: u64, value: Value) -> Result<(), DecodeError> {
        match (code, value) {
            (section::VALUE, value) => *self = Self::Value(value),
            (section::DATA, Value::Binary(octets)) => match self {
                Self::Data(data) => data.push(octets),
                _ => *self = Self::Data(vec![octets]),
            },
            (section::SEQUENCE, Value::List(mut values)) => match self {
                Self::Sequence(sequence) => sequence.append(&mut values),
                _ => *self = Self::Sequence(values),
            },
            _ => return Err(DecodeError::InvalidField("body")),
        }
        Ok(())
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Empty => {}
            Self::Value(value) => write_section(section::VALUE, value, out),
            Self::Data(data) => {
                for octets in data {
                    write_data_header(octets.len(), out);
                    out.put_slice(octets);
                }
            }
            Self::Sequence(values) => {
                out.put_slice(&[0x00, 0x53, 0x76]);
                Value::encode_list(values, out);
            }
        }
    }
}
