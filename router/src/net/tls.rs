//! TLS: `sslProfile` entities turned into ready configurations, and the one stream type that the rest of the router sees.
//!
//! Everything of rustls stays behind this module. Configurations are built on first use and cached; when certificate
//! files change, [`TlsProfiles::refresh`] loads them anew, and connections made from then on use them. A file that
//! cannot be used changes nothing: what was loaded before stays in force.

mod build;
mod cipher;
mod credentials;
mod identity;
mod names;
mod profiles;
mod read_ahead;
mod stream;
#[cfg(test)]
pub(in crate::net) mod tests;
mod verify;

use std::{io, path::PathBuf};

pub(in crate::net) use self::stream::explain_io;
pub use self::{
    identity::peer_identity,
    profiles::{AdaptorServerConfig, Issue, Refreshed, TlsProfiles},
    stream::{
        Stream, TlsFacts, accept_adaptor_tls, accept_sniffed, accept_tls, connect_tls,
        connect_tls_alpn,
    },
};

/// Why a profile cannot be used or a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The name is not configured.
    #[error("sslProfile '{profile}' does not exist")]
    UnknownProfile {
        /// Name asked for.
        profile: String,
    },
    /// The use needs an attribute that the profile does not have.
    #[error("sslProfile '{profile}' has no {attribute}, which {needed_for}")]
    MissingAttribute {
        /// Name of the profile.
        profile: String,
        /// Configuration attribute.
        attribute: &'static str,
        /// What cannot work without.
        needed_for: &'static str,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file has no usable content.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No usable TLS version is named.
    #[error("sslProfile '{profile}': protocols '{protocols}' names neither TLSv1.2 nor TLSv1.3")]
    Protocols {
        /// Name of the profile.
        profile: String,
        /// Attribute as written.
        protocols: String,
    },
    /// A cipher that this router does not implement.
    #[error("sslProfile '{profile}': cipher '{cipher}' is not supported; supported are {supported}", supported = cipher::supported())]
    Cipher {
        /// Name of the profile.
        profile: String,
        /// Element of the cipher list.
        cipher: String,
    },
    /// The cipher list leaves nothing for the TLS versions allowed.
    #[error("sslProfile '{profile}': no cipher of '{ciphers}' belongs to an allowed TLS version")]
    NoCipher {
        /// Name of the profile.
        profile: String,
        /// Attribute as written.
        ciphers: String,
    },
    /// The TLS library refused the combination.
    #[error("sslProfile '{profile}': {reason}")]
    Unusable {
        /// Name of the profile.
        profile: String,
        /// Reason in the words of the library.
        reason: String,
    },
    /// The host of a connector can stand in no certificate.
    #[error("'{host}' is neither a host name nor an IP address")]
    ServerName {
        /// Host as configured.
        host: String,
    },
    /// The handshake ended without a connection.
    #[error("TLS with {peer}: {reason}")]
    Handshake {
        /// Address of the peer.
        peer: String,
        /// What happened.
        reason: String,
        /// Cause.
        source: io::Error,
    },
}

impl TlsError {
    /// The reason without the peer's address: the same for all peers that fail alike.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Handshake { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// True if the peer only came and went, as those do that look whether a port is open.
    pub(crate) fn peer_left(&self) -> bool {
        matches!(self, Self::Handshake { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof)
    }
}
