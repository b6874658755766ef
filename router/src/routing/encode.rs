//! The AMQP encodings of control messages, octet for octet as C routers write them.
//!
//! Integers, keys and lists have to be of the exact kinds that C parsers look for (an empty list is `list0` in one place
//! and `list32` in another), which is why this does not go through a generic value.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Code of the router annotations section, "SKPR--RA".
pub(super) const ROUTER_ANNOTATIONS: u64 = 0x534b_5052_2d2d_5241;

/// Kind of the keys of a map.
#[derive(Copy, Clone)]
pub(super) enum Keys {
    String,
    Symbol,
}

/// A compound whose size and count are not known yet.
pub(super) struct Open {
    size_at: usize,
    count: u32,
}

/// Writes sections and values one after the other.
#[derive(Default)]
pub(super) struct Writer {
    out: BytesMut,
}

impl Writer {
    pub(super) fn section(&mut self, code: u8) {
        self.out.put_slice(&[0x00, 0x53, code]);
    }

    pub(super) fn annotations_section(&mut self) {
        self.out.put_slice(&[0x00, 0x80]);
        self.out.put_u64(ROUTER_ANNOTATIONS);
    }

    pub(super) fn null(&mut self) {
        self.out.put_u8(0x40);
    }

    pub(super) fn boolean_false(&mut self) {
        self.out.put_u8(0x42);
    }

    pub(super) fn uint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.out.put_u8(0x43),
            Ok(small) => self.out.put_slice(&[0x52, small]),
            Err(_) => {
                self.out.put_u8(0x70);
                self.out.put_u32(value);
            }
        }
    }

    /// `int`, or `long` for what does not fit.
    pub(super) fn int(&mut self, value: i64) {
        match (i8::try_from(value), i32::try_from(value)) {
            (Ok(small), _) => {
                self.out.put_u8(0x54);
                self.out.put_i8(small);
            }
            (_, Ok(int)) => {
                self.out.put_u8(0x71);
                self.out.put_i32(int);
            }
            _ => self.long(value),
        }
    }

    pub(super) fn long(&mut self, value: i64) {
        if let Ok(small) = i8::try_from(value) {
            self.out.put_u8(0x55);
            self.out.put_i8(small);
        } else {
            self.out.put_u8(0x81);
            self.out.put_i64(value);
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        self.text(0xa1, text);
    }

    pub(super) fn key(&mut self, keys: Keys, text: &str) {
        self.text(
            if matches!(keys, Keys::String) {
                0xa1
            } else {
                0xa3
            },
            text,
        );
    }

    fn text(&mut self, short: u8, text: &str) {
        if let Ok(len) = u8::try_from(text.len()) {
            self.out.put_slice(&[short, len]);
        } else {
            // The long constructor is 0x10 above the short one, for strings and symbols alike.
            self.out.put_u8(short + 0x10);
            self.out.put_u32(text.len() as u32);
        }
        self.out.put_slice(text.as_bytes());
    }

    pub(super) fn list0(&mut self) {
        self.out.put_u8(0x45);
    }

    /// A `list32` of `count` elements, which the caller writes before [`Self::close`].
    pub(super) fn list(&mut self, count: usize) -> Open {
        self.open(0xd0, count)
    }

    /// A `map32` of `entries` keys with their values.
    pub(super) fn map(&mut self, entries: usize) -> Open {
        self.open(0xd1, 2 * entries)
    }

    fn open(&mut self, constructor: u8, count: usize) -> Open {
        self.out.put_u8(constructor);
        let size_at = self.out.len();
        self.out.put_u64(0);
        Open {
            size_at,
            count: count as u32,
        }
    }

    pub(super) fn close(&mut self, open: &Open) {
        let size = (self.out.len() - open.size_at - 4) as u32;
        self.out[open.size_at..open.size_at + 4].copy_from_slice(&size.to_be_bytes());
        self.out[open.size_at + 4..open.size_at + 8].copy_from_slice(&open.count.to_be_bytes());
    }

    pub(super) fn raw(&mut self, octets: &[u8]) {
        self.out.put_slice(octets);
    }

    pub(super) fn finish(self) -> Bytes {
        self.out.freeze()
    }
}
