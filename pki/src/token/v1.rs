//! Tokens of Skupper 1: Secrets with a type label.

use model::HostPort;

use super::{
    ClaimToken, LinkToken, Token, TokenError, TokenFormat, TokenKind, TokenOrigin, check, claim,
    document::Document,
};

pub(super) const TYPE_LABEL: &str = "skupper.io/type";
pub(super) const CONNECTION_TOKEN: &str = "connection-token";
const TOKEN_CLAIM: &str = "token-claim";

pub(super) const INTER_ROUTER_HOST: &str = "inter-router-host";
pub(super) const INTER_ROUTER_PORT: &str = "inter-router-port";
pub(super) const EDGE_HOST: &str = "edge-host";
pub(super) const EDGE_PORT: &str = "edge-port";
pub(super) const GENERATED_BY: &str = "skupper.io/generated-by";
pub(super) const SITE_VERSION: &str = "skupper.io/site-version";
pub(super) const COST: &str = "skupper.io/cost";
const CLAIM_EXPIRATION: &str = "skupper.io/claim-expiration";
const TOKEN_TEMPLATE: &str = "skupper.io/token-template";
const URL: &str = "skupper.io/url";

/// Oldest release that links are made with
const MINIMUM_VERSION: &str = "0.8.0";

/// The token in a Secret; `None` if it is a Secret of another purpose
pub(super) fn token(secret: &Document) -> Result<Option<Token>, TokenError> {
    let kind = match type_label(secret) {
        Some(CONNECTION_TOKEN) => TokenKind::Link(link(secret)?),
        Some(TOKEN_CLAIM) => TokenKind::Claim(claim_token(secret)?),
        None if has_link_annotations(secret) && secret.has_field("tls.crt") => {
            TokenKind::Link(link(secret)?)
        }
        None if secret.annotation(URL).is_some() && secret.has_field("password") => {
            TokenKind::Claim(claim_token(secret)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(Token {
        name: secret.name().map(str::to_owned),
        kind,
        format: TokenFormat::V1,
    }))
}

/// Why a Secret is no token
pub(super) fn why_not(secret: &Document) -> TokenError {
    match (secret.labels(), type_label(secret)) {
        (None, _) => TokenError::NoLabels,
        (Some(_), None) => TokenError::NoTypeLabel,
        (Some(_), Some(label)) => TokenError::OtherType {
            label: label.to_owned(),
        },
    }
}

fn type_label(secret: &Document) -> Option<&str> {
    secret.labels()?.get(TYPE_LABEL)?.as_deref()
}

fn has_link_annotations(secret: &Document) -> bool {
    [INTER_ROUTER_HOST, INTER_ROUTER_PORT, EDGE_HOST, EDGE_PORT]
        .iter()
        .all(|key| secret.annotation(key).is_some())
}

fn link(secret: &Document) -> Result<LinkToken, TokenError> {
    if secret.annotation(TOKEN_TEMPLATE).is_some() {
        return Err(TokenError::NotSupported("token templates"));
    }
    let field = |name| secret.field(name)?.ok_or(TokenError::MissingField(name));
    let key = field("tls.key")?;
    let certificate = field("tls.crt")?;
    let authority = field("ca.crt")?;
    let origin = origin(secret)?;
    let inter_router = endpoint(secret, INTER_ROUTER_HOST, INTER_ROUTER_PORT)?;
    let edge = endpoint(secret, EDGE_HOST, EDGE_PORT)?;
    if inter_router.is_none() && edge.is_none() {
        return Err(TokenError::MissingAnnotation(INTER_ROUTER_HOST));
    }
    let link = LinkToken {
        name: secret.name().map(str::to_owned),
        inter_router,
        edge,
        ca_pem: authority.expose().to_owned(),
        cert_pem: certificate.expose().to_owned(),
        key,
        origin,
        cost: cost(secret)?,
    };
    check::credentials(&link)?;
    Ok(link)
}

fn claim_token(secret: &Document) -> Result<ClaimToken, TokenError> {
    let password = secret
        .field("password")?
        .ok_or(TokenError::MissingField("password"))?;
    let url = secret
        .annotation(URL)
        .ok_or(TokenError::MissingAnnotation(URL))?
        .to_owned();
    let origin = origin(secret)?;
    let claim = ClaimToken {
        url,
        ca_pem: secret
            .field("ca.crt")?
            .map(|authority| authority.expose().to_owned()),
        password,
        generated_by: origin.site_id,
        site_version: origin.version,
        expiration: secret.annotation(CLAIM_EXPIRATION).map(str::to_owned),
        cost: cost(secret)?,
    };
    claim::check(&secret.describe(), URL, &claim)?;
    Ok(claim)
}

fn origin(secret: &Document) -> Result<TokenOrigin, TokenError> {
    if secret.annotations().is_none() {
        return Err(TokenError::NoAnnotations);
    }
    let site_id = secret
        .annotation(GENERATED_BY)
        .ok_or(TokenError::NoOrigin)?;
    let version = secret.annotation(SITE_VERSION);
    if !is_recent(version) {
        return Err(TokenError::TooOld {
            minimum: MINIMUM_VERSION,
            version: version.map(str::to_owned),
        });
    }
    Ok(TokenOrigin {
        site_id: Some(site_id.to_owned()),
        version: version.map(str::to_owned),
    })
}

fn endpoint(
    secret: &Document,
    host: &'static str,
    port: &'static str,
) -> Result<Option<HostPort>, TokenError> {
    let (host_text, port_text) = match (secret.annotation(host), secret.annotation(port)) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(TokenError::MissingAnnotation(port)),
        (None, Some(_)) => return Err(TokenError::MissingAnnotation(host)),
        (Some(host), Some(port)) => (host, port),
    };
    check::endpoint(&secret.describe(), host, host_text, port_text).map(Some)
}

fn cost(secret: &Document) -> Result<Option<u32>, TokenError> {
    let Some(text) = secret.annotation(COST) else {
        return Ok(None);
    };
    let invalid = |error: model::NameError| TokenError::Invalid {
        document: secret.describe(),
        field: COST,
        reason: error.to_string(),
    };
    Ok(Some(model::LinkCost::parse(text).map_err(invalid)?.get()))
}

/// Not older than [`MINIMUM_VERSION`]; a version of another form, as development builds have, counts as recent
fn is_recent(version: Option<&str>) -> bool {
    let Some(version) = version else { return false };
    let mut numbers = version
        .trim_start_matches('v')
        .split(['.', '-', '+'])
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (0, 8),
        _ => true,
    }
}
