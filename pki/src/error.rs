//! What can go wrong with keys and certificates.

use jiff::Timestamp;
use model::store::StoreError;

/// A key or certificate that cannot be made, read or used; texts never hold key material
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A text that should be PEM
    #[error("{what} {reason}")]
    Pem {
        /// Which text: `the certificate`, `the private key`, …
        what: &'static str,
        /// What is wrong with it
        reason: &'static str,
    },
    /// PEM around something else
    #[error("{what} is not a valid X.509 certificate: {reason}")]
    NotACertificate {
        /// Which text
        what: &'static str,
        /// What is wrong with it
        reason: String,
    },
    /// A key of an algorithm or size that TLS here does not offer, or no key
    #[error("the private key is damaged or of a kind that is not supported")]
    UnsupportedKey,
    /// Key and certificate are not a pair
    #[error("the private key does not belong to the certificate of {subject:?}")]
    KeyMismatch {
        /// Common name in the certificate
        subject: String,
    },
    /// A certificate that was not signed by the authority
    #[error(
        "the certificate of {subject:?} (issuer {issuer:?}) was not issued by {authority:?}: {reason}"
    )]
    NotIssuedBy {
        /// Common name in the certificate
        subject: String,
        /// Issuer's common name in the certificate
        issuer: String,
        /// Common name of the authority
        authority: String,
        /// What the check says
        reason: String,
    },
    /// A certificate that may not sign others
    #[error("the certificate of {subject:?} is not that of an authority")]
    NotAnAuthority {
        /// Common name in the certificate
        subject: String,
    },
    /// An authority at the end of its life
    #[error("the authority {name:?} expired at {not_after}")]
    AuthorityExpired {
        /// Common name
        name: String,
        /// End of validity
        not_after: Timestamp,
    },
    /// A host that cannot stand in a certificate
    #[error("the host {host:?} cannot stand in a certificate: {reason}")]
    Host {
        /// The host
        host: String,
        /// Why
        reason: &'static str,
    },
    /// The cryptographic library refused
    #[error("cannot {action}: {reason}")]
    Crypto {
        /// What was being done
        action: &'static str,
        /// What the library says
        reason: String,
    },
    /// A file
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PkiError {
    pub(crate) fn crypto(action: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |error| Self::Crypto {
            action,
            reason: error.to_string(),
        }
    }
}
