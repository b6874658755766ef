//! What must hold for credentials before anything is changed for them.

use jiff::{SignedDuration, Timestamp};
use model::HostPort;

use super::{LinkToken, TokenError};
use crate::certificate::{self, CertificateFacts};

/// Clocks of two sites may differ by this much; other releases do not date their certificates back
const CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn credentials(link: &LinkToken) -> Result<(), TokenError> {
    credentials_at(link, Timestamp::now())
}

pub(super) fn credentials_at(link: &LinkToken, now: Timestamp) -> Result<(), TokenError> {
    let facts = certificate::inspect(&link.cert_pem).map_err(TokenError::Credentials)?;
    let authority = certificate::inspect(&link.ca_pem).map_err(TokenError::Credentials)?;
    certificate::matches_key(&link.cert_pem, &link.key).map_err(TokenError::Credentials)?;
    certificate::verify_issued_by(&link.cert_pem, &link.ca_pem).map_err(TokenError::Credentials)?;
    valid_at("the certificate", &facts, now)?;
    valid_at("the authority's certificate", &authority, now)
}

pub(super) fn endpoint(
    document: &str,
    field: &'static str,
    host: &str,
    port: &str,
) -> Result<HostPort, TokenError> {
    let invalid = |reason: String| TokenError::Invalid {
        document: document.to_owned(),
        field,
        reason,
    };
    let port = model::ServicePort::parse(port).map_err(|error| invalid(error.to_string()))?;
    HostPort::new(host, port.get()).map_err(|error| invalid(error.to_string()))
}

fn valid_at(
    what: &'static str,
    facts: &CertificateFacts,
    now: Timestamp,
) -> Result<(), TokenError> {
    let subject = || facts.subject_cn.clone();
    if facts.not_after <= now {
        return Err(TokenError::Expired {
            what,
            subject: subject(),
            not_after: facts.not_after,
        });
    }
    let latest = now.checked_add(CLOCK_DIFFERENCE).unwrap_or(Timestamp::MAX);
    if facts.not_before > latest {
        return Err(TokenError::NotYetValid {
            what,
            subject: subject(),
            not_before: facts.not_before,
        });
    }
    Ok(())
}
