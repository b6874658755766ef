//! Protocol headers and frame headers (part 2 §2.2, §2.3).

use bytes::{BufMut as _, BytesMut};

use crate::codec::DecodeError;

/// Octets of a frame header without extension.
pub const HEADER_LEN: usize = 8;

/// Every peer accepts frames of this many octets (§2.8.19).
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

/// Frame type of the transport layer.
pub const TYPE_AMQP: u8 = 0;

/// Frame type of the SASL layer.
pub const TYPE_SASL: u8 = 1;

/// An empty frame: only its arrival matters (§2.4.5).
pub const EMPTY: [u8; HEADER_LEN] = [0, 0, 0, 8, 2, TYPE_AMQP, 0, 0];

/// The octets with which each direction, and each layer, begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProtocolHeader {
    Amqp,
    Tls,
    Sasl,
}

impl ProtocolHeader {
    /// Octets of a protocol header.
    pub const LEN: usize = 8;

    /// `None` for what is not a known header of version 1.0.0.
    #[must_use]
    pub fn parse(octets: [u8; Self::LEN]) -> Option<Self> {
        [Self::Amqp, Self::Tls, Self::Sasl]
            .into_iter()
            .find(|header| header.octets() == octets)
    }

    #[must_use]
    pub const fn octets(self) -> [u8; Self::LEN] {
        let id = match self {
            Self::Amqp => 0,
            Self::Tls => 2,
            Self::Sasl => 3,
        };
        [b'A', b'M', b'Q', b'P', id, 1, 0, 0]
    }
}

/// What a frame header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameHeader {
    /// Octets of the whole frame.
    pub size: u32,
    /// Offset of the frame body: the header and its extension.
    pub body_at: usize,
    pub kind: u8,
    /// Of transport frames; meaningless in others.
    pub channel: u16,
}

impl FrameHeader {
    /// The header at the front of `input`.
    ///
    /// # Errors
    /// [`DecodeError::Incomplete`] below eight octets, [`DecodeError::InvalidFrame`] for impossible sizes and offsets.
    pub fn parse(input: &[u8]) -> Result<Self, DecodeError> {
        let Some(&[a, b, c, d, offset, kind, high, low]) = input.first_chunk::<HEADER_LEN>() else {
            return Err(DecodeError::Incomplete);
        };
        let size = u32::from_be_bytes([a, b, c, d]);
        let body_at = usize::from(offset) * 4;
        if body_at < HEADER_LEN || (size as usize) < body_at {
            return Err(DecodeError::InvalidFrame);
        }
        Ok(Self {
            size,
            body_at,
            kind,
            channel: u16::from_be_bytes([high, low]),
        })
    }
}

/// Writes a frame header whose size is fixed by [`finish`]; returns where it starts.
pub(crate) fn start(kind: u8, channel: u16, out: &mut BytesMut) -> usize {
    let at = out.len();
    out.put_slice(&[0, 0, 0, 0, 2, kind]);
    out.put_u16(channel);
    at
}

/// Fixes the size of the frame started at `at`, which `payload` more octets follow outside of `out`.
pub(crate) fn finish(at: usize, payload: usize, out: &mut BytesMut) {
    let size = crate::codec::wide(out.len() - at + payload);
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}
