//! Tokens: files that let another site link to the one that issued them.
//!
//! Four formats exist, told apart by content alone:
//!
//! | content | token |
//! |---|---|
//! | `v1` Secret marked `connection-token` | credentials, Skupper 1 |
//! | `v1` Secret marked `token-claim` | something to redeem for credentials, Skupper 1 |
//! | `skupper.io/v2alpha1` Link and the Secret it names, in either order | credentials, Skupper 2 |
//! | `skupper.io/v2alpha1` AccessToken | something to redeem for credentials, Skupper 2 |

mod check;
mod claim;
mod document;
mod error;
mod parse;
mod v1;
mod v2;
mod write;
mod yaml_text;

use model::{COMPATIBILITY_VERSION, HostPort};

use crate::{Certificate, PkiError, Secret, certificate};

pub use self::error::TokenError;

/// A token, whatever its format
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Name of the document
    pub name: Option<String>,
    /// What it gives
    pub kind: TokenKind,
    /// How it was written
    pub format: TokenFormat,
}

/// What a token gives
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenKind {
    /// Everything that a link needs
    Link(LinkToken),
    /// The right to ask for it
    Claim(ClaimToken),
}

/// How a token is written
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TokenFormat {
    /// As by Skupper 1
    V1,
    /// As by Skupper 2
    V2,
}

/// Endpoints and credentials of a link
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkToken {
    /// Name of the document
    pub name: Option<String>,
    /// Where interior routers dial
    pub inter_router: Option<HostPort>,
    /// Where edge routers dial
    pub edge: Option<HostPort>,
    /// The issuing authority, PEM
    pub ca_pem: String,
    /// The client certificate, PEM
    pub cert_pem: String,
    /// Its key, PEM
    pub key: Secret,
    /// Who issued it
    pub origin: TokenOrigin,
    /// Cost that the issuer proposes, 1 or more
    pub cost: Option<u32>,
}

/// Who issued a token; Skupper 2 does not say
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenOrigin {
    /// Id of the site
    pub site_id: Option<String>,
    /// Version of the site
    pub version: Option<String>,
}

/// The right to ask for credentials once
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimToken {
    /// Where to ask, `https`
    pub url: String,
    /// The only authority to trust while asking, PEM; `None` in claims that rely on the system's authorities
    pub ca_pem: Option<String>,
    /// What to show
    pub password: Secret,
    /// Id of the issuing site
    pub generated_by: Option<String>,
    /// Version of the issuing site
    pub site_version: Option<String>,
    /// End of validity, RFC 3339
    pub expiration: Option<String>,
    /// Cost that the issuer proposes, 1 or more
    pub cost: Option<u32>,
}

impl Token {
    /// Reads and checks every token of a text
    ///
    /// Credentials are checked too: PEM, key and certificate a pair, issued by the authority, valid now.
    pub fn parse(text: &str) -> Result<Vec<Self>, TokenError> {
        parse::parse(text)
    }

    /// A token as Skupper 1 writes it
    pub fn write_v1_link(link: &LinkToken) -> String {
        write::v1_link(link)
    }

    /// A token as Skupper 2 writes it off Kubernetes: Secret first, then Link
    pub fn write_v2_link(link: &LinkToken) -> String {
        write::v2_link(link)
    }
}

impl LinkToken {
    /// A token from a certificate that the issuing site made
    pub fn issued(
        name: impl Into<String>,
        site_id: impl Into<String>,
        inter_router: HostPort,
        edge: HostPort,
        certificate: &Certificate,
    ) -> Self {
        Self {
            name: Some(name.into()),
            inter_router: Some(inter_router),
            edge: Some(edge),
            ca_pem: certificate.ca_pem.clone(),
            cert_pem: certificate.certificate_pem.clone(),
            key: certificate.private_key.clone(),
            origin: TokenOrigin {
                site_id: Some(site_id.into()),
                version: Some(COMPATIBILITY_VERSION.to_owned()),
            },
            cost: None,
        }
    }

    /// The credentials, to be stored
    pub fn certificate(&self) -> Certificate {
        Certificate {
            certificate_pem: self.cert_pem.clone(),
            private_key: self.key.clone(),
            ca_pem: self.ca_pem.clone(),
        }
    }

    /// SHA-256 of the issuing authority's certificate; tells sites apart where there is no site id
    pub fn ca_fingerprint(&self) -> Result<String, PkiError> {
        Ok(certificate::inspect(&self.ca_pem)?.fingerprint_sha256_hex)
    }
}

#[cfg(test)]
mod tests;
