//! PEM (RFC 7468) in and out.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use zeroize::Zeroizing;

use crate::{PkiError, Secret};

/// All certificates of a text, at least one
pub(crate) fn certificates(
    what: &'static str,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| damage(what, &error, "holds no PEM certificate"))?;
    if found.is_empty() {
        return Err(PkiError::Pem {
            what,
            reason: "holds no PEM certificate",
        });
    }
    Ok(found)
}

/// The first private key of a text: PKCS#1, PKCS#8 or SEC1
pub(crate) fn private_key(text: &Secret) -> Result<PrivateKeyDer<'static>, PkiError> {
    const WHAT: &str = "the private key";
    if text
        .expose()
        .contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.expose().contains("Proc-Type: 4,ENCRYPTED")
    {
        return Err(PkiError::Pem {
            what: WHAT,
            reason: "is protected by a password, which is not supported",
        });
    }
    PrivateKeyDer::from_pem_slice(text.expose().as_bytes())
        .map_err(|error| damage(WHAT, &error, "is no PEM private key"))
}

/// A PEM text of one section, lines of 64 characters
pub(crate) fn encode(label: &str, der: &[u8]) -> Secret {
    let body = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    Secret::new(text)
}

/// The library's own texts quote the input, which may be a key
fn damage(what: &'static str, error: &pem::Error, none: &'static str) -> PkiError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "is cut off: its END line is missing",
        pem::Error::IllegalSectionStart { .. } => "has a damaged BEGIN line",
        pem::Error::Base64Decode(_) => "holds damaged base64 between BEGIN and END",
        pem::Error::NoItemsFound => none,
        _ => "cannot be read",
    };
    PkiError::Pem { what, reason }
}
