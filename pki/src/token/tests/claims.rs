//! Things to redeem: recognised now, redeemed elsewhere.

use super::*;

fn v1_text() -> String {
    format!(
        "apiVersion: v1\ndata:\n  ca.crt: {}\n  password: {}\nkind: Secret\nmetadata:\n  annotations:\n    \
         skupper.io/claim-expiration: \"2030-01-01T00:00:00Z\"\n    skupper.io/generated-by: {SITE_ID}\n    skupper.io/site-version: 1.4.3\n    \
         skupper.io/url: https://skupper.west.example.com:8081/72143f72-be97-11ed-8ed9-acde48001122\n  creationTimestamp: null\n  \
         labels:\n    skupper.io/type: token-claim\n  name: 72143f72-be97-11ed-8ed9-acde48001122\n",
        base64(authority().certificate_pem()),
        base64("hunter2")
    )
}

fn v2_text() -> String {
    let ca: String = authority()
        .certificate_pem()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!(
        "apiVersion: skupper.io/v2alpha1\nkind: AccessToken\nmetadata:\n  name: east-9f6c2b1e\nspec:\n  ca: |\n{ca}  \
         code: L1qCl2mZ7D81gbXp3ax4YT0K\n  linkCost: 2\n  url: https://192.0.2.10:9090/86b80f6b-2b02-47ac-bab4-d285bb4f7b9d\n"
    )
}

#[test]
fn a_claim_of_skupper_1() {
    let [
        Token {
            name,
            kind: TokenKind::Claim(claim),
            format,
        },
    ] = &Token::parse(&v1_text()).unwrap()[..]
    else {
        panic!()
    };
    assert_eq!(
        (name.as_deref(), *format),
        (
            Some("72143f72-be97-11ed-8ed9-acde48001122"),
            TokenFormat::V1
        )
    );
    assert_eq!(claim.password.expose(), "hunter2");
    assert!(
        claim
            .url
            .starts_with("https://skupper.west.example.com:8081/")
    );
    assert_eq!(
        (claim.generated_by.as_deref(), claim.site_version.as_deref()),
        (Some(SITE_ID), Some("1.4.3"))
    );
    assert_eq!(claim.expiration.as_deref(), Some("2030-01-01T00:00:00Z"));
    assert!(
        claim
            .ca_pem
            .as_ref()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert!(!format!("{claim:?}").contains("hunter2"));
}

#[test]
fn a_claim_without_marks_or_authority() {
    let bare = without_line(&without_line(&v1_text(), "skupper.io/type"), "labels:");
    assert_eq!(claim(&bare).password.expose(), "hunter2");
    assert_eq!(claim(&without_line(&v1_text(), "ca.crt")).ca_pem, None);
}

#[test]
fn an_access_token_of_skupper_2() {
    let [
        Token {
            name,
            kind: TokenKind::Claim(claim),
            format,
        },
    ] = &Token::parse(&v2_text()).unwrap()[..]
    else {
        panic!()
    };
    assert_eq!(
        (name.as_deref(), *format, claim.cost),
        (Some("east-9f6c2b1e"), TokenFormat::V2, Some(2))
    );
    assert_eq!(claim.password.expose(), "L1qCl2mZ7D81gbXp3ax4YT0K");
    assert_eq!(claim.generated_by, None);
    certificate::inspect(claim.ca_pem.as_ref().unwrap()).unwrap();
}

#[test]
fn incomplete_claims() {
    for (text, expected) in [
        (
            without_line(&v1_text(), "password"),
            "Expected password field in secret data",
        ),
        (
            without_line(&v1_text(), "skupper.io/url"),
            "Expected skupper.io/url annotation",
        ),
        (
            without_line(&v1_text(), "skupper.io/generated-by"),
            "Can't find secret origin.",
        ),
        (
            v1_text().replace("password: ", "password: ä"),
            "field password of the token is damaged or cut off",
        ),
        (
            v1_text().replace("https://", "http://"),
            "has an invalid skupper.io/url: it does not begin with https://",
        ),
        (
            v1_text().replace("https://", "https:///"),
            "it is not a URL of a host",
        ),
        (
            v1_text().replace("https://", "https://user@"),
            "it is not a URL of a host",
        ),
        (
            without_line(&v2_text(), "url"),
            "AccessToken \"east-9f6c2b1e\" has no spec.url",
        ),
        (
            without_line(&v2_text(), "code"),
            "AccessToken \"east-9f6c2b1e\" has no spec.code",
        ),
        (
            v2_text().replace("https://", "ftp://"),
            "has an invalid spec.url",
        ),
        (
            v2_text().replace("-----END", "-----"),
            "the certificate is cut off",
        ),
    ] {
        let error = refusal(&text);
        assert!(error.contains(expected), "{expected} | {error}");
    }
}
