//! Tokens of Skupper 2: Links with their Secrets, and AccessTokens.

use model::HostPort;

use super::{
    ClaimToken, LinkToken, Token, TokenError, TokenFormat, TokenKind, TokenOrigin, check, claim,
    document::{Document, EndpointDocument},
    parse::SKUPPER_GROUP,
};

/// All tokens of a stream, in its order
pub(super) fn tokens(documents: &[Document]) -> Result<Vec<Token>, TokenError> {
    let mut tokens = Vec::new();
    for document in documents {
        let kind = if document.is(SKUPPER_GROUP, "Link") {
            TokenKind::Link(link(document, documents)?)
        } else if document.is(SKUPPER_GROUP, "AccessToken") {
            TokenKind::Claim(access_token(document)?)
        } else {
            continue;
        };
        tokens.push(Token {
            name: document.name().map(str::to_owned),
            kind,
            format: TokenFormat::V2,
        });
    }
    Ok(tokens)
}

fn link(document: &Document, documents: &[Document]) -> Result<LinkToken, TokenError> {
    let missing = |field| TokenError::Missing {
        document: document.describe(),
        field,
    };
    let spec = document.spec.as_ref().ok_or_else(|| missing("spec"))?;
    let endpoints = spec
        .endpoints
        .as_deref()
        .filter(|list| !list.is_empty())
        .ok_or_else(|| missing("spec.endpoints"))?;
    let inter_router = endpoint(document, endpoints, "inter-router")?;
    let edge = endpoint(document, endpoints, "edge")?;
    if inter_router.is_none() && edge.is_none() {
        return Err(missing("endpoint named inter-router or edge"));
    }
    let name = spec
        .tls_credentials
        .as_deref()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| missing("spec.tlsCredentials"))?;
    let secret = documents
        .iter()
        .find(|other| other.is("v1", "Secret") && other.name() == Some(name))
        .ok_or_else(|| TokenError::MissingSecret {
            link: document.name().unwrap_or_default().to_owned(),
            secret: name.to_owned(),
        })?;
    let field = |name| secret.field(name)?.ok_or(TokenError::MissingField(name));
    let link = LinkToken {
        name: document.name().map(str::to_owned),
        inter_router,
        edge,
        key: field("tls.key")?,
        cert_pem: field("tls.crt")?.expose().to_owned(),
        ca_pem: field("ca.crt")?.expose().to_owned(),
        origin: TokenOrigin::default(),
        cost: spec
            .cost
            .map(|cost| at_least_one(document, "spec.cost", cost))
            .transpose()?,
    };
    check::credentials(&link)?;
    Ok(link)
}

fn access_token(document: &Document) -> Result<ClaimToken, TokenError> {
    let missing = |field| TokenError::Missing {
        document: document.describe(),
        field,
    };
    let spec = document.spec.as_ref().ok_or_else(|| missing("spec"))?;
    let text = |value: &Option<String>, field| {
        value
            .clone()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| missing(field))
    };
    let claim = ClaimToken {
        url: text(&spec.url, "spec.url")?,
        ca_pem: Some(text(&spec.ca, "spec.ca")?),
        password: text(&spec.code, "spec.code")?.into(),
        generated_by: None,
        site_version: None,
        expiration: None,
        cost: spec
            .link_cost
            .filter(|cost| *cost > 0)
            .map(|cost| at_least_one(document, "spec.linkCost", cost))
            .transpose()?,
    };
    claim::check(&document.describe(), "spec.url", &claim)?;
    Ok(claim)
}

/// The first endpoint of a role; groups have no meaning for dialling
fn endpoint(
    document: &Document,
    endpoints: &[EndpointDocument],
    role: &str,
) -> Result<Option<HostPort>, TokenError> {
    let Some(endpoint) = endpoints
        .iter()
        .find(|endpoint| endpoint.name.as_deref() == Some(role))
    else {
        return Ok(None);
    };
    let missing = |field| TokenError::Missing {
        document: document.describe(),
        field,
    };
    let host = endpoint
        .host
        .as_deref()
        .ok_or_else(|| missing("spec.endpoints[].host"))?;
    let port = endpoint
        .port
        .as_deref()
        .ok_or_else(|| missing("spec.endpoints[].port"))?;
    check::endpoint(&document.describe(), "spec.endpoints", host, port).map(Some)
}

/// Less than 1 means 1
fn at_least_one(document: &Document, field: &'static str, cost: i64) -> Result<u32, TokenError> {
    u32::try_from(cost.max(1))
        .ok()
        .and_then(|cost| model::LinkCost::new(cost).ok())
        .map(model::LinkCost::get)
        .ok_or_else(|| TokenError::Invalid {
            document: document.describe(),
            field,
            reason: format!("{cost} is too large"),
        })
}
