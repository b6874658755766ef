//! Certificate, key and trust anchors of one profile, and the marks by which changed files are noticed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::TlsError;
use crate::file_mark::FileMark;

/// Paths that a profile names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct CredentialFiles {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) authority: Option<PathBuf>,
}

/// What the files held when they were read.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) own: Option<Arc<CertifiedKey>>,
    pub(super) roots: Option<Arc<RootCertStore>>,
    pub(super) marks: Marks,
}

/// Of each file; a replaced, rewritten or newly readable one differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Marks(Vec<Option<FileMark>>);

impl CredentialFiles {
    /// Each path, once.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let key = self
            .key
            .as_ref()
            .filter(|key| self.certificate.as_ref() != Some(*key));
        [self.certificate.as_ref(), key, self.authority.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// Marks as the files are now.
    pub(super) fn marks(&self) -> Marks {
        Marks(self.paths().map(FileMark::of).collect())
    }
}

impl Credentials {
    /// Reads all files; certificate and key must belong together.
    pub(super) fn load(
        files: &CredentialFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        // taken before reading: a change in between is noticed by the next refresh
        let marks = files.marks();
        let own = match &files.certificate {
            None => None,
            Some(certificate) => {
                let key_file = files.key.as_ref().unwrap_or(certificate);
                let chain = certificates(certificate)?;
                let key = private_key(key_file)?;
                let pair =
                    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                        rustls::Error::InconsistentKeys(_) => TlsError::File {
                            path: key_file.clone(),
                            reason: format!(
                                "the key does not belong to the certificate in {}",
                                certificate.display()
                            ),
                        },
                        other => TlsError::File {
                            path: key_file.clone(),
                            reason: format!("unusable key: {other}"),
                        },
                    })?;
                Some(Arc::new(pair))
            }
        };
        let roots = match &files.authority {
            None => None,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let (_, ignored) = roots.add_parsable_certificates(certificates(path)?);
                if roots.is_empty() {
                    return Err(TlsError::File {
                        path: path.clone(),
                        reason: "no certificate in it is usable".to_owned(),
                    });
                }
                if ignored > 0 {
                    tracing::warn!(target: "router::tls", path = %path.display(), ignored, "certificates not understood");
                }
                Some(Arc::new(roots))
            }
        };
        Ok(Self { own, roots, marks })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn bad_pem(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "not a PEM file".to_owned(),
        other => format!("malformed PEM: {other}"),
    };
    TlsError::File {
        path: path.to_owned(),
        reason,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| bad_pem(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::File {
            path: path.to_owned(),
            reason: "no certificate in it".to_owned(),
        });
    }
    for certificate in &certificates {
        if x509_parser::parse_x509_certificate(certificate).is_err() {
            return Err(TlsError::File {
                path: path.to_owned(),
                reason: "malformed certificate".to_owned(),
            });
        }
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    let holds = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::File {
            path: path.to_owned(),
            reason:
                "the key is protected with a password, which is not supported; store it without one"
                    .to_owned(),
        });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::File {
            path: path.to_owned(),
            reason: "no private key in it".to_owned(),
        },
        other => bad_pem(path, &other),
    })
}
