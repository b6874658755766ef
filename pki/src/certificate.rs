//! Issued certificates, and what can be said about any certificate.

use std::{net::IpAddr, path::Path, sync::Arc};

use aws_lc_rs::digest;
use jiff::Timestamp;
use model::store;
use rustls::{
    CertificateError, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs as provider},
    pki_types::{CertificateDer, UnixTime},
    server::{ParsedCertificate, WebPkiClientVerifier},
};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate, x509::X509Name};

use crate::{PkiError, Secret, key, pem};

/// File of a certificate
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// File of its private key
pub const KEY_FILE: &str = "tls.key";
/// File of the authority's certificate
pub const CA_FILE: &str = "ca.crt";

/// A certificate with its key and the certificate of its authority, all PEM
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The certificate, perhaps followed by intermediate ones
    pub certificate_pem: String,
    /// PKCS#1 for RSA, else PKCS#8
    pub private_key: Secret,
    /// The authority
    pub ca_pem: String,
}

/// What a certificate says
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Common name of the subject; empty if it has none
    pub subject_cn: String,
    /// Common name of the issuer; empty if it has none
    pub issuer_cn: String,
    /// DNS names among the alternative names, empty ones left out
    pub dns_names: Vec<String>,
    /// IP addresses among the alternative names
    pub ip_addresses: Vec<IpAddr>,
    /// Begin of validity
    pub not_before: Timestamp,
    /// End of validity
    pub not_after: Timestamp,
    /// SHA-256 of the DER form, lower-case hexadecimal
    pub fingerprint_sha256_hex: String,
    /// Whether it may sign others
    pub is_ca: bool,
}

impl Certificate {
    /// Reads `tls.crt`, `tls.key`, `ca.crt`
    pub fn load(directory: &Path) -> Result<Self, PkiError> {
        Ok(Self {
            certificate_pem: store::read_text(&directory.join(CERTIFICATE_FILE))?,
            private_key: Secret::new(store::read_text(&directory.join(KEY_FILE))?),
            ca_pem: store::read_text(&directory.join(CA_FILE))?,
        })
    }

    /// Writes `tls.crt`, `tls.key`, `ca.crt`, all 0600, into a directory of mode 0700
    pub fn store(&self, directory: &Path) -> Result<(), PkiError> {
        store::ensure_dir(directory, 0o700)?;
        store::write_secret(&directory.join(CA_FILE), self.ca_pem.as_bytes())?;
        store::write_secret(
            &directory.join(KEY_FILE),
            self.private_key.expose().as_bytes(),
        )?;
        // Last, because readers that watch the directory take it as the sign that the set is complete.
        store::write_secret(
            &directory.join(CERTIFICATE_FILE),
            self.certificate_pem.as_bytes(),
        )?;
        Ok(())
    }

    /// What the certificate says
    pub fn facts(&self) -> Result<CertificateFacts, PkiError> {
        inspect(&self.certificate_pem)
    }

    /// Checks that the three parts belong together
    pub fn verify(&self) -> Result<(), PkiError> {
        matches_key(&self.certificate_pem, &self.private_key)?;
        verify_issued_by(&self.certificate_pem, &self.ca_pem)
    }
}

impl CertificateFacts {
    /// Whether a name or address is among the alternative names, as a TLS client would decide; no wildcards
    pub fn covers(&self, host: &str) -> bool {
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(address) => self.ip_addresses.contains(&address),
            Err(_) => self
                .dns_names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host)),
        }
    }
}

/// What the first certificate of a PEM text says
pub fn inspect(certificate_pem: &str) -> Result<CertificateFacts, PkiError> {
    let certificates = pem::certificates(WHAT, certificate_pem)?;
    facts(WHAT, &certificates[0])
}

/// Checks that key and certificate are a pair
pub fn matches_key(certificate_pem: &str, key_pem: &Secret) -> Result<(), PkiError> {
    let certificates = pem::certificates(WHAT, certificate_pem)?;
    let parsed = parse(WHAT, &certificates[0])?;
    if key::public_key(key_pem)?.as_ref() == parsed.tbs_certificate.subject_pki.raw {
        Ok(())
    } else {
        Err(PkiError::KeyMismatch {
            subject: common_name(parsed.subject()),
        })
    }
}

/// Checks that a certificate was signed by one of the authorities, directly or through the intermediate
/// certificates that follow it
///
/// This is the check that a TLS peer makes (RFC 5280 §6), for the time of the certificate's own validity: whether it
/// has expired is another question, see [`CertificateFacts`].
pub fn verify_issued_by(certificate_pem: &str, ca_pem: &str) -> Result<(), PkiError> {
    let certificates = pem::certificates(WHAT, certificate_pem)?;
    let authorities = pem::certificates(WHAT_CA, ca_pem)?;
    let leaf = facts(WHAT, &certificates[0])?;
    let authority = facts(WHAT_CA, &authorities[0])?;
    let not_issued = |reason: String| PkiError::NotIssuedBy {
        subject: leaf.subject_cn.clone(),
        issuer: leaf.issuer_cn.clone(),
        authority: authority.subject_cn.clone(),
        reason,
    };

    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots
            .add(certificate)
            .map_err(|error| PkiError::NotACertificate {
                what: WHAT_CA,
                reason: error.to_string(),
            })?;
    }
    let time = Timestamp::now().clamp(leaf.not_before, leaf.not_after.max(leaf.not_before));
    let seconds = u64::try_from(time.as_second()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let (leaf_der, intermediates) = certificates
        .split_first()
        .expect("at least one certificate was found");
    chain_is_good(leaf_der, intermediates, roots, time).map_err(|error| not_issued(reason(&error)))
}

/// As client, or else as server: an authority may issue for either use
fn chain_is_good(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: RootCertStore,
    time: UnixTime,
) -> Result<(), rustls::Error> {
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&roots),
        Arc::new(provider::default_provider()),
    )
    .build()
    .map_err(|error| rustls::Error::General(error.to_string()))?;
    match verifier.verify_client_cert(leaf, intermediates, time) {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        )) => {
            let WebPkiSupportedAlgorithms { all, .. } =
                provider::default_provider().signature_verification_algorithms;
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(leaf)?,
                &roots,
                intermediates,
                time,
                all,
            )
        }
        other => other.map(|_| ()),
    }
}

fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "another authority signed it".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            "its signature is wrong".to_owned()
        }
        other => other.to_string(),
    }
}

fn facts(what: &'static str, der: &CertificateDer<'_>) -> Result<CertificateFacts, PkiError> {
    let parsed = parse(what, der)?;
    let not_valid = |reason: String| PkiError::NotACertificate { what, reason };
    let time =
        |seconds| Timestamp::from_second(seconds).map_err(|error| not_valid(error.to_string()));
    let mut dns_names = Vec::new();
    let mut ip_addresses = Vec::new();
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| not_valid(error.to_string()))?;
    for name in names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            // Skupper before 2.1.2 writes an empty name where there is no host.
            GeneralName::DNSName(name) if !name.is_empty() => dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => ip_addresses.extend(ip_address(octets)),
            _ => {}
        }
    }
    Ok(CertificateFacts {
        subject_cn: common_name(parsed.subject()),
        issuer_cn: common_name(parsed.issuer()),
        dns_names,
        ip_addresses,
        not_before: time(parsed.validity().not_before.timestamp())?,
        not_after: time(parsed.validity().not_after.timestamp())?,
        fingerprint_sha256_hex: fingerprint(der),
        is_ca: parsed.is_ca(),
    })
}

fn parse<'a>(
    what: &'static str,
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, PkiError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(PkiError::NotACertificate {
            what,
            reason: "octets follow it".to_owned(),
        }),
        Err(error) => Err(PkiError::NotACertificate {
            what,
            reason: error.to_string(),
        }),
    }
}

fn common_name(name: &X509Name<'_>) -> String {
    name.iter_common_name()
        .next()
        .and_then(|attribute| attribute.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn fingerprint(der: &[u8]) -> String {
    digest::digest(&digest::SHA256, der)
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

const WHAT: &str = "the certificate";
const WHAT_CA: &str = "the authority's certificate";

#[cfg(test)]
mod tests;
