//! Which token a text is, decided after a look at all of its documents.

use model::yaml;

use super::{
    Token, TokenError,
    document::{Document, Header},
    v1, v2,
};

pub(super) const SKUPPER_GROUP: &str = "skupper.io";

pub(super) fn parse(text: &str) -> Result<Vec<Token>, TokenError> {
    if text.trim().is_empty() {
        return Err(TokenError::Empty);
    }
    // Headers first, so that a file about something else is called that and not a malformed token.
    let headers: Vec<Header> =
        yaml::documents_from_str(text).map_err(|error| TokenError::Yaml(error.to_string()))?;
    if headers.is_empty() {
        return Err(TokenError::Empty);
    }
    let found = headers
        .iter()
        .map(Header::describe)
        .collect::<Vec<_>>()
        .join(", ");
    if !headers.iter().any(Header::is_of_interest) {
        return Err(TokenError::NotAToken { found });
    }
    let documents: Vec<Document> =
        yaml::documents_from_str(text).map_err(|error| TokenError::Yaml(error.to_string()))?;
    let documents: Vec<Document> = documents.into_iter().flat_map(flatten).collect();

    let mut tokens = v2::tokens(&documents)?;
    for secret in documents
        .iter()
        .filter(|document| document.is("v1", "Secret"))
    {
        tokens.extend(v1::token(secret)?);
    }
    if tokens.is_empty() {
        return Err(documents
            .iter()
            .find(|document| document.is("v1", "Secret"))
            .map_or(TokenError::NotAToken { found }, v1::why_not));
    }
    Ok(tokens)
}

/// `kubectl get -o yaml` prints lists
fn flatten(document: Document) -> Vec<Document> {
    if document.is("v1", "List") {
        document.items
    } else {
        vec![document]
    }
}
