//! What must hold for a claim before anybody is asked to redeem it.

use super::{ClaimToken, TokenError};
use crate::certificate;

pub(super) fn check(
    document: &str,
    field: &'static str,
    claim: &ClaimToken,
) -> Result<(), TokenError> {
    let invalid = |reason: &str| TokenError::Invalid {
        document: document.to_owned(),
        field,
        reason: reason.to_owned(),
    };
    // The password travels in the request.
    let Some(rest) = claim.url.strip_prefix("https://") else {
        return Err(invalid("it does not begin with https://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty()
        || authority.contains('@')
        || rest.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        return Err(invalid("it is not a URL of a host"));
    }
    if let Some(ca) = &claim.ca_pem {
        certificate::inspect(ca).map_err(TokenError::Credentials)?;
    }
    Ok(())
}
