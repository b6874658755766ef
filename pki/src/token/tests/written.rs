//! What is written, octet by octet, and that it is read back.

use proptest::prelude::*;

use super::*;

#[test]
fn the_form_of_skupper_1() {
    let link = token();
    let expected = format!(
        "apiVersion: v1\n\
         data:\n  ca.crt: {}\n  tls.crt: {}\n  tls.key: {}\n\
         kind: Secret\n\
         metadata:\n  annotations:\n    edge-host: hub.example.com\n    edge-port: \"45671\"\n    \
         inter-router-host: hub.example.com\n    inter-router-port: \"55671\"\n    \
         skupper.io/generated-by: 5a0c2f0e-0b3e-4c53-9f0a-2f1b7f1d9a11\n    skupper.io/site-version: 1.9.6\n  \
         creationTimestamp: null\n  labels:\n    skupper.io/type: connection-token\n  name: skupper\n\
         type: kubernetes.io/tls\n",
        base64(&link.ca_pem),
        base64(&link.cert_pem),
        base64(link.key.expose()),
    );
    assert_eq!(Token::write_v1_link(&link), expected);
}

#[test]
fn the_form_of_skupper_2() {
    let link = LinkToken {
        name: Some("link-west".to_owned()),
        cost: Some(2),
        ..token()
    };
    let expected = format!(
        "---\napiVersion: v1\ndata:\n  ca.crt: {}\n  tls.crt: {}\n  tls.key: {}\nkind: Secret\nmetadata:\n  name: link-west\n\
         type: kubernetes.io/tls\n\
         ---\napiVersion: skupper.io/v2alpha1\nkind: Link\nmetadata:\n  name: link-west\nspec:\n  cost: 2\n  endpoints:\n  \
         - host: hub.example.com\n    name: inter-router\n    port: \"55671\"\n  \
         - host: hub.example.com\n    name: edge\n    port: \"45671\"\n  tlsCredentials: link-west\nstatus: {{}}\n",
        base64(&link.ca_pem),
        base64(&link.cert_pem),
        base64(link.key.expose()),
    );
    assert_eq!(Token::write_v2_link(&link), expected);
}

#[test]
fn rsa_credentials_come_back() {
    let authority = Authority::generate("skupper-site-ca", KeyKind::Rsa2048).unwrap();
    let request = LeafRequest::new("skupper", vec!["2001:db8::1".to_owned()], KeyKind::Rsa2048);
    let address = HostPort::new("2001:db8::1", 55671).unwrap();
    let token = LinkToken::issued(
        "skupper",
        SITE_ID,
        address.clone(),
        address,
        &authority.issue(&request).unwrap(),
    );
    assert!(
        token
            .key
            .expose()
            .starts_with("-----BEGIN RSA PRIVATE KEY-----")
    );
    assert_eq!(link(&Token::write_v1_link(&token)), token);
    token.certificate().verify().unwrap();
    assert_eq!(
        token.ca_fingerprint().unwrap(),
        certificate::inspect(authority.certificate_pem())
            .unwrap()
            .fingerprint_sha256_hex
    );
}

#[test]
fn texts_that_yaml_1_1_takes_for_something_else_are_quoted() {
    let mut token = token();
    token.name = Some("no".to_owned());
    token.inter_router = Some(HostPort::new("123", 1).unwrap());
    token.origin = TokenOrigin {
        site_id: Some("1e3".to_owned()),
        version: Some("1.9".to_owned()),
    };
    let text = Token::write_v1_link(&token);
    for line in [
        "name: \"no\"",
        "inter-router-host: \"123\"",
        "generated-by: \"1e3\"",
        "site-version: \"1.9\"",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(link(&text), token);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_link_comes_back_in_both_forms(
        name in "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?",
        hosts in (proptest::option::of("[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?"), "[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?|::1"),
        ports in (1_u16.., 1_u16..),
        site_id in "[0-9a-f]{8}-[0-9a-f]{4}|[0-9]{1,6}|no|true|~|null",
        version in "[1-9]\\.[0-9]{1,2}\\.[0-9]|2\\.0|v1\\.4",
        cost in proptest::option::of(1_u32..=i32::MAX as u32),
    ) {
        static ISSUED: std::sync::LazyLock<LinkToken> = std::sync::LazyLock::new(token);
        let original = LinkToken {
            name: Some(name),
            inter_router: hosts.0.map(|host| HostPort::new(&host, ports.0).unwrap()),
            edge: Some(HostPort::new(&hosts.1, ports.1).unwrap()),
            origin: TokenOrigin { site_id: Some(site_id), version: Some(version) },
            cost,
            ..ISSUED.clone()
        };
        prop_assert_eq!(&link(&Token::write_v1_link(&original)), &original);
        let v2 = LinkToken { origin: TokenOrigin::default(), cost: Some(original.cost.unwrap_or(1)), ..original.clone() };
        prop_assert_eq!(&link(&Token::write_v2_link(&original)), &v2);
        prop_assert_eq!(&link(&reversed(&Token::write_v2_link(&original))), &v2);
    }
}
