//! Why a token is refused.

use jiff::Timestamp;

use crate::PkiError;

/// A text that is no usable token; texts in the words of Skupper 1 are those that its scripts look for
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No document at all
    #[error("the token is empty")]
    Empty,
    /// Not YAML, perhaps cut off
    #[error("the token is not a YAML document: {0}")]
    Yaml(String),
    /// YAML about something else
    #[error(
        "the file is not a token: it holds {found}; a token is a Secret of type connection-token or token-claim, a Link with its Secret, or an AccessToken"
    )]
    NotAToken {
        /// Kinds found
        found: String,
    },
    /// A Secret without labels and without the fields of a token
    #[error("invalid Skupper token")]
    NoLabels,
    /// A Secret with labels, but not the one that matters
    #[error("unable to determine token type")]
    NoTypeLabel,
    /// A Secret with another type label
    #[error("Secret is not a valid skupper token")]
    OtherType {
        /// The label's value
        label: String,
    },
    /// A part of the credentials or of the claim
    #[error("Expected {0} field in secret data")]
    MissingField(&'static str),
    /// An annotation that the type of token needs
    #[error("Expected {0} annotation")]
    MissingAnnotation(&'static str),
    /// A Secret without annotations
    #[error("The secret has not annotations")]
    NoAnnotations,
    /// A Secret that does not say who issued it
    #[error("Can't find secret origin.")]
    NoOrigin,
    /// Issued by a release that speaks another protocol
    #[error("minimum version required {minimum} - remote site version is {}", .version.as_deref().unwrap_or("undefined"))]
    TooOld {
        /// What we need
        minimum: &'static str,
        /// What the token says
        version: Option<String>,
    },
    /// A kind of token that is known and not built yet
    #[error("{0} are not supported yet; ask for a token of type cert")]
    NotSupported(&'static str),
    /// A Link whose Secret is not in the text
    #[error("the Link {link:?} needs the Secret {secret:?}, which is not in the file")]
    MissingSecret {
        /// Name of the Link
        link: String,
        /// Name of the Secret
        secret: String,
    },
    /// A Link, AccessToken or Secret without something that it must have
    #[error("{document} has no {field}")]
    Missing {
        /// Kind and name
        document: String,
        /// Path of the field
        field: &'static str,
    },
    /// A field with a value that it cannot have
    #[error("{document} has an invalid {field}: {reason}")]
    Invalid {
        /// Kind and name
        document: String,
        /// Path of the field
        field: &'static str,
        /// What is wrong
        reason: String,
    },
    /// A field that should be base64
    #[error("field {0} of the token is damaged or cut off: it is not base64")]
    Base64(&'static str),
    /// Credentials that are damaged or do not belong together
    #[error("the token's credentials cannot be used: {0}")]
    Credentials(#[source] PkiError),
    /// A certificate past its end
    #[error(
        "the token has expired: {what} of {subject:?} was valid until {not_after}; ask for a new token"
    )]
    Expired {
        /// Which certificate
        what: &'static str,
        /// Its common name
        subject: String,
        /// Its end
        not_after: Timestamp,
    },
    /// A certificate before its begin
    #[error(
        "the token is not valid yet: {what} of {subject:?} is valid from {not_before}; compare this host's clock with the issuer's"
    )]
    NotYetValid {
        /// Which certificate
        what: &'static str,
        /// Its common name
        subject: String,
        /// Its begin
        not_before: Timestamp,
    },
}
