//! Certificate authorities: self-signed roots, no intermediates.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use model::store;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroize as _;

use crate::{
    Certificate, KeyKind, PkiError, Secret,
    certificate::{self, CERTIFICATE_FILE, KEY_FILE},
    key, pem,
};

/// Validity of what is issued: five years of 365 days
pub const VALIDITY: Duration = Duration::from_secs(5 * 365 * 24 * 60 * 60);

/// Certificates begin this much in the past, because peers' clocks differ
pub const BACKDATING: Duration = Duration::from_secs(5 * 60);

/// A certificate authority with its key
#[derive(Debug)]
pub struct Authority {
    name: String,
    certificate_pem: String,
    key_pem: Secret,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate should say
#[derive(Clone, Debug)]
pub struct LeafRequest {
    /// Common name of the subject
    pub common_name: String,
    /// Names and addresses that the holder is reached by; empty for pure clients
    pub hosts: Vec<String>,
    /// Kind of the new key
    pub key: KeyKind,
    /// From now; cut at the authority's own end
    pub validity: Duration,
}

impl LeafRequest {
    /// A request for [`VALIDITY`]
    pub fn new(common_name: impl Into<String>, hosts: Vec<String>, key: KeyKind) -> Self {
        Self {
            common_name: common_name.into(),
            hosts,
            key,
            validity: VALIDITY,
        }
    }
}

impl Authority {
    /// A new authority; making the key may take some 100 ms and can be done in several threads at once
    pub fn generate(name: &str, kind: KeyKind) -> Result<Self, PkiError> {
        let key_pair = key::generate(kind)?;
        let now = SystemTime::now();
        let mut params = params(name, now, now + VALIDITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let certificate = params
            .self_signed(&key_pair)
            .map_err(PkiError::crypto("sign an authority's certificate"))?;
        let key_pem = key::to_pem(&key_pair)?;
        Self::assemble(certificate.pem(), key_pem, key_pair)
    }

    /// Reads `tls.crt` and `tls.key`
    pub fn load(directory: &Path) -> Result<Self, PkiError> {
        let certificate_pem = store::read_text(&directory.join(CERTIFICATE_FILE))?;
        let key_pem = Secret::new(store::read_text(&directory.join(KEY_FILE))?);
        Self::from_pem(certificate_pem, &key_pem)
    }

    /// An authority from its PEM texts
    pub fn from_pem(certificate_pem: String, key_pem: &Secret) -> Result<Self, PkiError> {
        certificate::matches_key(&certificate_pem, key_pem)?;
        Self::assemble(
            certificate_pem,
            key::normalize(key_pem)?,
            key::load(key_pem)?,
        )
    }

    /// Writes `tls.crt` and `tls.key`, both 0600, into a directory of mode 0700
    pub fn store(&self, directory: &Path) -> Result<(), PkiError> {
        store::ensure_dir(directory, 0o700)?;
        store::write_secret(&directory.join(KEY_FILE), self.key_pem.expose().as_bytes())?;
        store::write_secret(
            &directory.join(CERTIFICATE_FILE),
            self.certificate_pem.as_bytes(),
        )?;
        Ok(())
    }

    /// Common name
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The authority's own certificate, which goes into `ca.crt` of what it issues
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// End of the authority's validity
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A new key and a certificate for it, good for TLS servers and clients
    pub fn issue(&self, request: &LeafRequest) -> Result<Certificate, PkiError> {
        let now = SystemTime::now();
        let end = SystemTime::from(self.not_after);
        if end <= now {
            return Err(PkiError::AuthorityExpired {
                name: self.name.clone(),
                not_after: self.not_after,
            });
        }
        let mut params = params(&request.common_name, now, end.min(now + request.validity))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = alternative_names(&request.hosts)?;

        let mut key_pair = key::generate(request.key)?;
        let signed = params
            .signed_by(&key_pair, &self.issuer)
            .map_err(PkiError::crypto("sign a certificate"));
        let private_key = key::to_pem(&key_pair);
        key_pair.zeroize();
        Ok(Certificate {
            certificate_pem: signed?.pem(),
            private_key: private_key?,
            ca_pem: self.certificate_pem.clone(),
        })
    }

    fn assemble(
        certificate_pem: String,
        key_pem: Secret,
        key_pair: KeyPair,
    ) -> Result<Self, PkiError> {
        let facts = certificate::inspect(&certificate_pem)?;
        if !facts.is_ca {
            return Err(PkiError::NotAnAuthority {
                subject: facts.subject_cn,
            });
        }
        let der: CertificateDer<'static> =
            pem::certificates("the authority's certificate", &certificate_pem)?.swap_remove(0);
        let issuer = Issuer::from_ca_cert_der(&der, key_pair)
            .map_err(PkiError::crypto("use an authority's certificate"))?;
        Ok(Self {
            name: facts.subject_cn,
            certificate_pem,
            key_pem,
            not_after: facts.not_after,
            issuer,
        })
    }
}

/// What authorities and leaves have in common
fn params(
    common_name: &str,
    now: SystemTime,
    end: SystemTime,
) -> Result<CertificateParams, PkiError> {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name;
    params.not_before = OffsetDateTime::from(now - BACKDATING);
    params.not_after = OffsetDateTime::from(end);
    params.serial_number = Some(serial_number()?);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

/// 128 random bits, positive and of fixed length as DER wants integers (RFC 5280 §4.1.2.2)
fn serial_number() -> Result<SerialNumber, PkiError> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| PkiError::Crypto {
        action: "make a serial number",
        reason: "no random numbers".to_owned(),
    })?;
    octets[0] = (octets[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

/// Every host as DNS name, IP literals as IP address as well: peers of Skupper look for both
fn alternative_names(hosts: &[String]) -> Result<Vec<SanType>, PkiError> {
    let mut names: Vec<SanType> = Vec::new();
    for host in hosts {
        let text = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let unusable = |reason| PkiError::Host {
            host: host.clone(),
            reason,
        };
        if text.is_empty() {
            return Err(unusable("it is empty"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(unusable("it contains white space"));
        }
        let name = text
            .try_into()
            .map_err(|_| unusable("it is not ASCII; use the form that begins with xn--"))?;
        let mut add = |name: SanType| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        add(SanType::DnsName(name));
        if let Ok(address) = text.parse::<IpAddr>() {
            add(SanType::IpAddress(address));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
