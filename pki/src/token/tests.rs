mod broken;
mod claims;
mod links;
mod written;

use std::time::Duration;

use super::*;
use crate::{Authority, KeyKind, LeafRequest};

const SITE_ID: &str = "5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11";

fn authority() -> Authority {
    Authority::generate("skupper-site-ca", KeyKind::P256).unwrap()
}

fn token() -> LinkToken {
    token_of(&authority())
}

fn token_of(authority: &Authority) -> LinkToken {
    let request = LeafRequest::new("skupper", vec!["hub.example.com".to_owned()], KeyKind::P256);
    let address = |port| HostPort::new("hub.example.com", port).unwrap();
    LinkToken::issued(
        "skupper",
        SITE_ID,
        address(55671),
        address(45671),
        &authority.issue(&request).unwrap(),
    )
}

/// The only token of a text, which is a link
fn link(text: &str) -> LinkToken {
    let [
        Token {
            kind: TokenKind::Link(link),
            ..
        },
    ] = &Token::parse(text).unwrap()[..]
    else {
        panic!("{text}")
    };
    link.clone()
}

fn claim(text: &str) -> ClaimToken {
    let [
        Token {
            kind: TokenKind::Claim(claim),
            ..
        },
    ] = &Token::parse(text).unwrap()[..]
    else {
        panic!("{text}")
    };
    claim.clone()
}

fn refusal(text: &str) -> String {
    Token::parse(text).unwrap_err().to_string()
}

/// The text with one line left out
fn without_line(text: &str, begin: &str) -> String {
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(begin))
        .collect();
    assert_ne!(kept.len(), text.lines().count(), "{begin}");
    kept.join("\n")
}

/// The documents of a stream, in the opposite order
fn reversed(stream: &str) -> String {
    let mut documents: Vec<&str> = stream
        .split("---\n")
        .filter(|document| !document.is_empty())
        .collect();
    documents.reverse();
    documents
        .iter()
        .map(|document| format!("---\n{document}"))
        .collect()
}

fn base64(text: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(text)
}
