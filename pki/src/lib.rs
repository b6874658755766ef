//! Certificate authorities, certificates, keys and link tokens; formats only, no server, no sockets.
//!
//! Certificates have the shape that all Skupper releases give them, so that peers of any release accept ours and we
//! accept theirs. Private keys live in [`Secret`], are stored with mode 0600 and never appear in errors or logs.
//!
//! ```text
//! Authority ──issue──▶ Certificate ──store──▶ <dir>/{tls.crt, tls.key, ca.crt}
//!                           │
//!                           ▼
//!                       LinkToken ──write_v1_link / write_v2_link──▶ text ──Token::parse──▶ Token
//! ```
#![forbid(unsafe_code)]

pub mod authority;
pub mod certificate;
mod error;
pub mod key;
mod pem;
pub mod secret;
pub mod token;

pub use self::{
    authority::{Authority, LeafRequest},
    certificate::{Certificate, CertificateFacts},
    error::PkiError,
    key::KeyKind,
    secret::Secret,
    token::{ClaimToken, LinkToken, Token, TokenError, TokenFormat, TokenKind, TokenOrigin},
};
