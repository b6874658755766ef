//! Wrong, truncated, expired, foreign: each has its own words, and nothing panics.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::token::check;

fn v1_text() -> String {
    Token::write_v1_link(&token())
}

#[test]
fn files_about_something_else() {
    for (text, expected) in [
        ("", "the token is empty"),
        (" \n\n", "the token is empty"),
        ("---\n# nothing\n", "the token is empty"),
        ("hello", "the token is not a YAML document"),
        ("a: [", "the token is not a YAML document"),
        ("\u{0}\u{1}", "the token is not a YAML document"),
        (
            "-----BEGIN CERTIFICATE-----\n",
            "the token is not a YAML document",
        ),
        ("- a\n- b\n", "the token is not a YAML document"),
        ("a: b\n", "it holds a document without kind"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nspec:\n  endpoints: 3\n",
            "it holds Deployment (apps/v1)",
        ),
        (
            "apiVersion: v1\nkind: Config\n---\nkind: Pod\n",
            "it holds Config (v1), Pod",
        ),
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            "it holds List (v1)",
        ),
        (
            "apiVersion: example.com/v1\nkind: Link\n",
            "it holds Link (example.com/v1)",
        ),
    ] {
        let error = refusal(text);
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn secrets_of_another_purpose() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  tls.crt: YQ==\n";
    assert_eq!(refusal(secret), "invalid Skupper token");
    let labelled = format!("{secret}  \n").replace("  name: a", "  name: a\n  labels:\n    app: x");
    assert_eq!(refusal(&labelled), "unable to determine token type");
    assert_eq!(
        refusal(&labelled.replace("app: x", "skupper.io/type: CertAuthority")),
        "Secret is not a valid skupper token"
    );
}

#[test]
fn missing_parts_have_the_words_of_skupper_1() {
    let text = v1_text();
    for field in ["tls.key", "tls.crt", "ca.crt"] {
        let expected = format!("Expected {field} field in secret data");
        assert_eq!(refusal(&without_line(&text, field)), expected);
        let start = text.find(&format!("{field}: ")).unwrap() + field.len() + 2;
        let end = start + text[start..].find('\n').unwrap();
        for empty in ["\"\"", "null", ""] {
            assert_eq!(
                refusal(&format!("{}{empty}{}", &text[..start], &text[end..])),
                expected,
                "{empty}"
            );
        }
    }
    assert_eq!(
        refusal(&without_line(&text, "skupper.io/generated-by")),
        "Can't find secret origin."
    );
    assert_eq!(
        refusal(&without_line(&text, "inter-router-port")),
        "Expected inter-router-port annotation"
    );
    let bare = [
        "annotations:",
        "edge-",
        "inter-router-",
        "skupper.io/generated",
        "skupper.io/site",
    ]
    .iter()
    .fold(text.clone(), |text, begin| without_line(&text, begin));
    assert_eq!(refusal(&bare), "The secret has not annotations");
    let nowhere = without_line(&without_line(&text, "edge-"), "inter-router-");
    assert_eq!(refusal(&nowhere), "Expected inter-router-host annotation");
}

#[test]
fn old_issuers() {
    let with = |version: &str| {
        Token::parse(&v1_text().replace("site-version: 1.9.6", &format!("site-version: {version}")))
    };
    for (version, shown) in [
        ("0.7.2", "0.7.2"),
        ("\"0.5\"", "0.5"),
        ("\"\"", "undefined"),
    ] {
        let error = with(version).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("minimum version required 0.8.0 - remote site version is {shown}")
        );
    }
    for version in [
        "0.8.0",
        "0.10.1",
        "v1.2.0",
        "2.1.0",
        "fb9a2ef-modified",
        "1.9.6-rc1",
    ] {
        with(version).unwrap();
    }
}

#[test]
fn endpoints_that_cannot_be_dialled() {
    let text = v1_text();
    for (from, to) in [
        ("inter-router-port: \"55671\"", "inter-router-port: \"0\""),
        (
            "inter-router-port: \"55671\"",
            "inter-router-port: \"70000\"",
        ),
        ("inter-router-port: \"55671\"", "inter-router-port: amqps"),
        (
            "inter-router-host: hub.example.com",
            "inter-router-host: a b",
        ),
        ("edge-host: hub.example.com", "edge-host: \"a/b\""),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert!(
            refusal(&changed).starts_with("Secret \"skupper\" has an invalid"),
            "{to}"
        );
    }
    let error = refusal(&text.replace(
        "site-version: 1.9.6",
        "site-version: 1.9.6\n    skupper.io/cost: cheap",
    ));
    assert!(error.contains("invalid skupper.io/cost"), "{error}");
    let error = refusal(&text.replace(
        "site-version: 1.9.6",
        "site-version: 1.9.6\n    skupper.io/token-template: x",
    ));
    assert_eq!(
        error,
        "token templates are not supported yet; ask for a token of type cert"
    );
}

#[test]
fn a_token_cut_anywhere_is_refused() {
    let token = token();
    for text in [
        Token::write_v1_link(&token),
        Token::write_v2_link(&token),
        reversed(&Token::write_v2_link(&token)),
    ] {
        // Whatever the cut leaves is either refused or, near the end, still the whole token.
        for cut in (0..text.len()).step_by(7) {
            match Token::parse(&text[..cut]) {
                Err(error) => assert!(!error.to_string().is_empty()),
                Ok(tokens) => {
                    let [
                        Token {
                            kind: TokenKind::Link(link),
                            ..
                        },
                    ] = &tokens[..]
                    else {
                        panic!("{tokens:?}")
                    };
                    assert_eq!(
                        (&link.key, &link.ca_pem),
                        (&token.key, &token.ca_pem),
                        "{}",
                        &text[..cut]
                    );
                }
            }
        }
    }
}

#[test]
fn cut_off_credentials_say_so() {
    let token = token();
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    for (broken, expected) in [
        (
            LinkToken {
                ca_pem: cut(&token.ca_pem),
                ..token.clone()
            },
            "the certificate is cut off: its END line is missing",
        ),
        (
            LinkToken {
                cert_pem: cut(&token.cert_pem),
                ..token.clone()
            },
            "the certificate is cut off: its END line is missing",
        ),
        (
            LinkToken {
                key: cut(token.key.expose()).into(),
                ..token.clone()
            },
            "the private key is cut off: its END line is missing",
        ),
        (
            LinkToken {
                key: "nonsense".to_owned().into(),
                ..token.clone()
            },
            "the private key is no PEM private key",
        ),
        (
            LinkToken {
                cert_pem: "nonsense".to_owned(),
                ..token.clone()
            },
            "the certificate holds no PEM certificate",
        ),
    ] {
        for text in [Token::write_v1_link(&broken), Token::write_v2_link(&broken)] {
            assert_eq!(
                refusal(&text),
                format!("the token's credentials cannot be used: {expected}")
            );
        }
    }
    let text = v1_text();
    let position = text.find("tls.key: ").unwrap() + 20;
    for octet in ["*", "\\u0041", "ä"] {
        let damaged = format!("{}{octet}{}", &text[..position], &text[position..]);
        assert_eq!(
            refusal(&damaged),
            "field tls.key of the token is damaged or cut off: it is not base64"
        );
    }
}

#[test]
fn credentials_that_do_not_belong_together() {
    let (ours, theirs) = (token(), token());
    let foreign_key = LinkToken {
        key: theirs.key.clone(),
        ..ours.clone()
    };
    assert!(
        refusal(&Token::write_v1_link(&foreign_key))
            .contains("the private key does not belong to the certificate of \"skupper\"")
    );
    let foreign_authority = LinkToken {
        ca_pem: theirs.ca_pem.clone(),
        ..ours.clone()
    };
    for text in [
        Token::write_v1_link(&foreign_authority),
        Token::write_v2_link(&foreign_authority),
    ] {
        let error = refusal(&text);
        assert!(
            error.contains("was not issued by \"skupper-site-ca\": another authority signed it")
                || error.contains("signature"),
            "{error}"
        );
    }
}

#[test]
fn expired_and_future_credentials_give_the_date() {
    let authority = authority();
    let mut request = LeafRequest::new("skupper", Vec::new(), KeyKind::P256);
    request.validity = Duration::from_secs(3600);
    let address = HostPort::new("h", 1).unwrap();
    let issued = LinkToken::issued(
        "skupper",
        SITE_ID,
        address.clone(),
        address,
        &authority.issue(&request).unwrap(),
    );
    let facts = issued.certificate().facts().unwrap();
    let minutes = SignedDuration::from_mins;
    check::credentials_at(&issued, facts.not_after - minutes(1)).unwrap();
    let error = check::credentials_at(&issued, facts.not_after)
        .unwrap_err()
        .to_string();
    let expected = format!(
        "the token has expired: the certificate of \"skupper\" was valid until {}; ask for a new token",
        facts.not_after
    );
    assert_eq!(error, expected);
    // Clocks may differ a little, not much.
    check::credentials_at(&issued, facts.not_before - minutes(4)).unwrap();
    let error = check::credentials_at(&issued, facts.not_before - minutes(6))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "the token is not valid yet: the certificate of \"skupper\" is valid from 2"
        ),
        "{error}"
    );

    request.validity = Duration::ZERO;
    let expired = authority.issue(&request).unwrap();
    let expired = LinkToken {
        cert_pem: expired.certificate_pem,
        key: expired.private_key,
        ..issued
    };
    assert!(expired.certificate().facts().unwrap().not_after <= Timestamp::now());
    for text in [
        Token::write_v1_link(&expired),
        Token::write_v2_link(&expired),
    ] {
        assert!(
            refusal(&text).starts_with("the token has expired"),
            "{}",
            refusal(&text)
        );
    }
}

#[test]
fn links_of_skupper_2_without_what_they_need() {
    let text = Token::write_v2_link(&LinkToken {
        name: Some("west".to_owned()),
        ..token()
    });
    let secretless = text.rsplit("---\n").next().unwrap();
    assert_eq!(
        refusal(secretless),
        "the Link \"west\" needs the Secret \"west\", which is not in the file"
    );
    for (begin, expected) in [
        ("tlsCredentials", "Link \"west\" has no spec.tlsCredentials"),
        ("port:", "Link \"west\" has no spec.endpoints[].port"),
        ("ca.crt", "Expected ca.crt field in secret data"),
    ] {
        assert_eq!(refusal(&without_line(&text, begin)), expected);
    }
    let no_endpoints = "apiVersion: skupper.io/v2alpha1\nkind: Link\nmetadata:\n  name: a\nspec:\n  endpoints: []\n";
    assert_eq!(refusal(no_endpoints), "Link \"a\" has no spec.endpoints");
    assert_eq!(
        refusal("apiVersion: skupper.io/v2alpha1\nkind: Link\n"),
        "Link \"\" has no spec"
    );
    // The Secret alone is no token.
    assert_eq!(
        refusal(text.split("---\n").nth(1).unwrap()),
        "invalid Skupper token"
    );
}

#[test]
fn errors_never_show_key_material() {
    let token = token();
    let text = Token::write_v1_link(&token);
    let encoded = base64(token.key.expose());
    let sample = &encoded[60..100];
    assert!(text.contains(sample));
    for damaged in [
        text.replace("tls.key: ", "tls.key: ["),
        text.replace("tls.key: ", "tls.key:: - "),
        text.replace("data:", "data: - "),
        text.replace("  tls.key: ", "tls.key: "),
        text.replace(&encoded[..10], "*"),
        text.replace("annotations:", "annotations: ["),
    ] {
        let error = Token::parse(&damaged).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(sample), "{error:?}");
    }
    assert!(
        !format!("{token:?}").contains(sample)
            && !format!("{token:?}").contains(&token.key.expose()[60..100])
    );
}

#[test]
fn a_bomb_of_aliases_ends_early() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = level - 1;
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{previous}"); 10].join(", ")
        ));
    }
    let begin = std::time::Instant::now();
    assert!(refusal(&text).contains("not a YAML document"));
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
}
