use std::fmt;

use bytes::Bytes;

/// A name of a constrained domain (§1.6.21): ASCII, cheap to clone.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Symbol(Bytes);

impl Symbol {
    /// A symbol from program text; `text` must be ASCII.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.is_ascii(), "symbols are ASCII");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The caller has checked that `octets` are ASCII.
    pub(crate) fn from_ascii(octets: Bytes) -> Self {
        debug_assert!(octets.is_ascii());
        Self(octets)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("symbols are ASCII by construction")
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Symbol {
    /// Characters outside ASCII become `?`: a symbol cannot hold them.
    fn from(text: &str) -> Self {
        if text.is_ascii() {
            return Self(Bytes::copy_from_slice(text.as_bytes()));
        }
        let ascii: String = text
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect();
        Self(Bytes::from(ascii))
    }
}

impl From<String> for Symbol {
    fn from(text: String) -> Self {
        if text.is_ascii() {
            Self(Bytes::from(text))
        } else {
            Self::from(text.as_str())
        }
    }
}

impl AsRef<str> for Symbol {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Symbol {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Symbol {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}", self.as_str())
    }
}
