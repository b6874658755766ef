//! How a client certificate becomes the name of a user.

use std::{fmt, str::FromStr};

/// Most parts of a format, as in C routers
const MAX_PARTS: usize = 7;

/// A part of a client certificate that belongs to a user id
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum UidPart {
    /// `c`, country of the subject
    Country,
    /// `s`, state or province of the subject
    State,
    /// `l`, locality of the subject
    Locality,
    /// `o`, organization of the subject
    Organization,
    /// `u`, organizational unit of the subject
    Unit,
    /// `n`, common name of the subject
    CommonName,
    /// `1`, SHA-1 of the certificate
    Sha1,
    /// `2`, SHA-256 of the certificate
    Sha256,
    /// `5`, SHA-512 of the certificate
    Sha512,
}

impl UidPart {
    /// All parts with their letters
    const LETTERS: [(char, Self); 9] = [
        ('c', Self::Country),
        ('s', Self::State),
        ('l', Self::Locality),
        ('o', Self::Organization),
        ('u', Self::Unit),
        ('n', Self::CommonName),
        ('1', Self::Sha1),
        ('2', Self::Sha256),
        ('5', Self::Sha512),
    ];

    /// Whether it is a digest of the whole certificate
    pub fn is_fingerprint(self) -> bool {
        matches!(self, Self::Sha1 | Self::Sha256 | Self::Sha512)
    }

    fn letter(self) -> char {
        let found = Self::LETTERS.iter().find(|(_, part)| *part == self);
        found.map_or('?', |(letter, _)| *letter)
    }
}

/// Parts of a user id in their order (`uidFormat`), such as `ou2`: at most seven, and one fingerprint
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UidFormat(Vec<UidPart>);

impl UidFormat {
    /// The parts in their order, at least one
    pub fn parts(&self) -> &[UidPart] {
        &self.0
    }
}

impl fmt::Display for UidFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: String = self.0.iter().map(|part| part.letter()).collect();
        f.write_str(&letters)
    }
}

impl FromStr for UidFormat {
    type Err = String;

    /// The error is a reason, in words
    fn from_str(text: &str) -> Result<Self, String> {
        let part = |letter: char| {
            let found = UidPart::LETTERS.iter().find(|(known, _)| *known == letter);
            found.map(|(_, part)| *part).ok_or_else(|| {
                format!("{letter:?} is not one of the letters c, s, l, o, u, n, 1, 2, 5")
            })
        };
        let parts: Vec<UidPart> = text.chars().map(part).collect::<Result<_, _>>()?;
        if parts.is_empty() || parts.len() > MAX_PARTS {
            return Err(format!(
                "it has {} letters, not 1 to {MAX_PARTS}",
                parts.len()
            ));
        }
        if parts.iter().filter(|part| part.is_fingerprint()).count() > 1 {
            return Err("more than one of the fingerprints 1, 2, 5".to_owned());
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_keep_their_order_and_refuse_what_c_routers_refuse() {
        for text in ["n", "csloun5", "2oun", "1", "nn"] {
            assert_eq!(text.parse::<UidFormat>().unwrap().to_string(), text);
        }
        for (text, reason) in [
            ("", "0 letters"),
            ("cslounnn", "8 letters"),
            ("o12", "fingerprints"),
            ("ox", "'x'"),
            ("O", "'O'"),
            ("c,n", "','"),
        ] {
            let error = text.parse::<UidFormat>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
