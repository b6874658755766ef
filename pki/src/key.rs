//! Private keys.
//!
//! RSA keys are written as PKCS#1 (`RSA PRIVATE KEY`, RFC 8017 §A.1.2), because Skupper 1 and 2 read nothing else for
//! authorities; other keys as PKCS#8 (RFC 5958). All three forms are read.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer},
};

use crate::{PkiError, Secret, pem};

/// Kind of a key to generate
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyKind {
    /// RSA with 2048 bits, for whatever peers of other releases read; takes some 100 ms
    Rsa2048,
    /// ECDSA on the curve P-256, for use among ourselves
    P256,
}

/// A new key; may run in many threads at once
pub(crate) fn generate(kind: KeyKind) -> Result<KeyPair, PkiError> {
    let algorithm = match kind {
        KeyKind::Rsa2048 => &PKCS_RSA_SHA256,
        KeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
    };
    KeyPair::generate_for(algorithm).map_err(PkiError::crypto("generate a key"))
}

/// A key to sign certificates with
pub(crate) fn load(text: &Secret) -> Result<KeyPair, PkiError> {
    KeyPair::try_from(&pem::private_key(text)?).map_err(|_| PkiError::UnsupportedKey)
}

/// The PEM text of a key that [`generate`] made or that was read as PKCS#8
pub(crate) fn to_pem(key: &KeyPair) -> Result<Secret, PkiError> {
    let der = key.serialized_der();
    if key.algorithm() == &PKCS_RSA_SHA256 {
        let inner = pkcs8_inner_key(der).ok_or_else(|| PkiError::Crypto {
            action: "write an RSA key",
            reason: "the generated key is not PKCS#8".to_owned(),
        })?;
        return Ok(pem::encode("RSA PRIVATE KEY", inner));
    }
    Ok(pem::encode("PRIVATE KEY", der))
}

/// A key's PEM text in the form in which we write it, whatever form it has
pub(crate) fn normalize(text: &Secret) -> Result<Secret, PkiError> {
    Ok(match pem::private_key(text)? {
        PrivateKeyDer::Pkcs1(der) => pem::encode("RSA PRIVATE KEY", der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => pem::encode("EC PRIVATE KEY", der.secret_sec1_der()),
        _ => to_pem(&load(text)?)?,
    })
}

/// Public key of a private one, as it stands in certificates
pub(crate) fn public_key(text: &Secret) -> Result<SubjectPublicKeyInfoDer<'static>, PkiError> {
    let key = any_supported_type(&pem::private_key(text)?).map_err(|_| PkiError::UnsupportedKey)?;
    let public = key.public_key().ok_or(PkiError::UnsupportedKey)?;
    Ok(SubjectPublicKeyInfoDer::from(public.as_ref().to_vec()))
}

/// `privateKey` of `PrivateKeyInfo` (RFC 5958 §2): SEQUENCE { version INTEGER, algorithm SEQUENCE, key OCTET STRING, … }
fn pkcs8_inner_key(der: &[u8]) -> Option<&[u8]> {
    const INTEGER: u8 = 0x02;
    const OCTET_STRING: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;
    let (fields, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(fields, INTEGER)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (key, _) = element(rest, OCTET_STRING)?;
    Some(key)
}

/// Content of the first DER element and what follows it, if it has the tag (X.690 §8.1)
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[first, length], rest) = der.split_first_chunk()?;
    if first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (
                octets
                    .iter()
                    .fold(0, |length, octet| (length << 8) | usize::from(*octet)),
                rest,
            )
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_keys_are_pkcs1_of_2048_bits() {
        let key = generate(KeyKind::Rsa2048).unwrap();
        let text = to_pem(&key).unwrap();
        assert!(
            text.expose()
                .starts_with("-----BEGIN RSA PRIVATE KEY-----\n")
        );
        assert!(text.expose().ends_with("-----END RSA PRIVATE KEY-----\n"));
        assert!(text.expose().lines().all(|line| line.len() <= 64));
        let PrivateKeyDer::Pkcs1(der) = pem::private_key(&text).unwrap() else {
            panic!("not PKCS#1")
        };
        // RSAPrivateKey ::= SEQUENCE { version 0, modulus, publicExponent, … }
        let (fields, rest) = element(der.secret_pkcs1_der(), 0x30).unwrap();
        assert!(rest.is_empty());
        let (version, fields) = element(fields, 0x02).unwrap();
        assert_eq!(version, [0]);
        let (modulus, fields) = element(fields, 0x02).unwrap();
        assert_eq!(modulus.len(), 257, "a sign octet and 2048 bits");
        assert_eq!(element(fields, 0x02).unwrap().0, [1, 0, 1]);
        assert_eq!(load(&text).unwrap().public_key_raw(), key.public_key_raw());
    }

    #[test]
    fn p256_keys_are_pkcs8_and_load_again() {
        let key = generate(KeyKind::P256).unwrap();
        let text = to_pem(&key).unwrap();
        assert!(text.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(load(&text).unwrap().public_key_raw(), key.public_key_raw());
    }

    #[test]
    fn pkcs8_rsa_keys_are_read_and_written_as_pkcs1() {
        let key = generate(KeyKind::Rsa2048).unwrap();
        let pkcs8 = pem::encode("PRIVATE KEY", key.serialized_der());
        assert_eq!(
            public_key(&pkcs8).unwrap(),
            public_key(&to_pem(&key).unwrap()).unwrap()
        );
        assert_eq!(
            to_pem(&load(&pkcs8).unwrap()).unwrap(),
            to_pem(&key).unwrap()
        );
    }

    #[test]
    fn damaged_der_is_no_key() {
        let der = generate(KeyKind::P256).unwrap().serialized_der().to_vec();
        for length in 0..der.len() {
            assert_eq!(pkcs8_inner_key(&der[..length]), None, "{length}");
        }
        assert_eq!(element(&[0x30, 0x84, 0, 0, 0, 0], 0x30), None);
        assert_eq!(element(&[0x30, 0x82, 0xff, 0xff, 1], 0x30), None);
    }

    #[test]
    fn errors_are_distinct_and_hold_no_key() {
        let key = to_pem(&generate(KeyKind::P256).unwrap()).unwrap();
        let text = key.expose();
        for (damaged, expected) in [
            (String::new(), "is no PEM private key"),
            (text[..100].to_owned(), "is cut off"),
            (text.replacen("\nM", "\n!", 1), "damaged base64"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned(), "password"),
            ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n".to_owned(), "damaged or of a kind"),
        ] {
            let error = public_key(&Secret::new(damaged)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(&text[40..60]), "{error}");
        }
    }
}
