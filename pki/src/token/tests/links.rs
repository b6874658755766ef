//! Links in the forms in which other releases write them.

use super::*;

/// As by Skupper 1.4 on Kubernetes or podman, with fields that a cluster adds
fn v1_text(token: &LinkToken) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: east-token\n  namespace: elsewhere\n  uid: 1234\n  \
         resourceVersion: \"17\"\n  creationTimestamp: null\n  ownerReferences:\n  - kind: Site\n    controller: true\n  \
         labels:\n    skupper.io/type: connection-token\n  annotations:\n    inter-router-host: 192.0.2.10\n    \
         inter-router-port: \"443\"\n    edge-host: 192.0.2.10\n    edge-port: 443\n    skupper.io/generated-by: {SITE_ID}\n    \
         skupper.io/site-version: 1.4.3\n    skupper.io/cost: \"7\"\ntype: kubernetes.io/tls\ndata:\n  ca.crt: {}\n  \
         tls.crt: {}\n  tls.key: {}\n",
        base64(&token.ca_pem),
        base64(&token.cert_pem),
        base64(token.key.expose())
    )
}

#[test]
fn a_certificate_token_of_skupper_1() {
    let issued = token();
    let [
        Token {
            name,
            kind: TokenKind::Link(link),
            format,
        },
    ] = &Token::parse(&v1_text(&issued)).unwrap()[..]
    else {
        panic!()
    };
    assert_eq!(
        (name.as_deref(), *format),
        (Some("east-token"), TokenFormat::V1)
    );
    assert_eq!(
        link.inter_router,
        Some(HostPort::new("192.0.2.10", 443).unwrap())
    );
    assert_eq!(link.edge, link.inter_router);
    assert_eq!(
        link.origin,
        TokenOrigin {
            site_id: Some(SITE_ID.to_owned()),
            version: Some("1.4.3".to_owned())
        }
    );
    assert_eq!((link.cost, &link.key), (Some(7), &issued.key));
}

#[test]
fn the_marks_may_be_missing_if_the_fields_are_there() {
    let text = without_line(
        &without_line(&v1_text(&token()), "skupper.io/type"),
        "labels:",
    );
    assert_eq!(link(&text).name.as_deref(), Some("east-token"));
}

#[test]
fn json_lists_comments_and_folded_lines_are_yaml_too() {
    let issued = token();
    let text = v1_text(&issued);
    assert_eq!(
        link(&format!("# a token\n---\n{text}\n---\n# nothing more\n")),
        link(&text)
    );

    let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
    assert_eq!(
        link(&format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}",
            indented.trim_start()
        )),
        link(&text)
    );

    let json = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {{\"name\": \"a\", \"labels\": {{\"skupper.io/type\": \
         \"connection-token\"}}, \"annotations\": {{\"inter-router-host\": \"h\", \"inter-router-port\": \"1\", \
         \"skupper.io/generated-by\": \"x\", \"skupper.io/site-version\": \"1.8.0\"}}}}, \"data\": {{\"ca.crt\": \"{}\", \
         \"tls.crt\": \"{}\", \"tls.key\": \"{}\"}}}}",
        base64(&issued.ca_pem),
        base64(&issued.cert_pem),
        base64(issued.key.expose())
    );
    assert_eq!(link(&json).edge, None);

    let encoded = base64(&issued.ca_pem);
    let (head, tail) = encoded.split_at(76);
    let folded = v1_text(&issued).replace(
        &format!("ca.crt: {encoded}"),
        &format!("ca.crt: |\n    {head}\n    {tail}"),
    );
    assert_eq!(link(&folded), link(&text));
}

/// As by Skupper 2 before 2.2.2 off Kubernetes: no type, a fourth key
fn v2_text(issued: &LinkToken) -> (String, String) {
    let secret = format!(
        "apiVersion: v1\ndata:\n  ca.crt: {}\n  connect.json: e30=\n  tls.crt: {}\n  tls.key: {}\nkind: Secret\nmetadata:\n  \
         creationTimestamp: null\n  name: link-west\n",
        base64(&issued.ca_pem),
        base64(&issued.cert_pem),
        base64(issued.key.expose())
    );
    let link = "apiVersion: skupper.io/v2alpha1\nkind: Link\nmetadata:\n  creationTimestamp: null\n  name: link-west\n  \
                namespace: x\nspec:\n  cost: 3\n  endpoints:\n  - group: skupper-router\n    host: 192.0.2.10\n    name: inter-router\n    \
                port: \"55671\"\n  - host: 192.0.2.10\n    name: edge\n    port: \"45671\"\n  noClientAuth: false\n  settings:\n    \
                proxy-configuration: p\n  tlsCredentials: link-west\nstatus:\n  conditions:\n  - type: Ready\n"
        .to_owned();
    (secret, link)
}

#[test]
fn a_link_of_skupper_2_in_both_orders() {
    let issued = token();
    let (secret, document) = v2_text(&issued);
    for text in [
        format!("---\n{secret}---\n{document}"),
        format!("{document}---\n{secret}"),
    ] {
        let [
            Token {
                name,
                kind: TokenKind::Link(link),
                format,
            },
        ] = &Token::parse(&text).unwrap()[..]
        else {
            panic!()
        };
        assert_eq!(
            (name.as_deref(), *format, link.cost),
            (Some("link-west"), TokenFormat::V2, Some(3))
        );
        assert_eq!(
            link.inter_router,
            Some(HostPort::new("192.0.2.10", 55671).unwrap())
        );
        assert_eq!(link.edge, Some(HostPort::new("192.0.2.10", 45671).unwrap()));
        assert_eq!(link.origin, TokenOrigin::default());
        assert_eq!(link.certificate().private_key, issued.key);
    }
}

#[test]
fn several_links_may_share_one_secret() {
    let (secret, document) = v2_text(&token());
    let second = document
        .replace(
            "name: link-west\n  namespace",
            "name: link-west-1\n  namespace",
        )
        .replace("192.0.2.10", "192.0.2.11");
    let tokens = Token::parse(&format!("{document}---\n{second}---\n{secret}")).unwrap();
    let names: Vec<_> = tokens
        .iter()
        .map(|token| token.name.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["link-west", "link-west-1"]);
}

#[test]
fn costs_below_one_mean_one() {
    let (secret, document) = v2_text(&token());
    for (cost, expected) in [
        ("cost: 0", Some(1)),
        ("cost: -5", Some(1)),
        ("cost: 2147483647", Some(i32::MAX as u32)),
    ] {
        assert_eq!(
            link(&format!(
                "{secret}---\n{}",
                document.replace("cost: 3", cost)
            ))
            .cost,
            expected
        );
    }
    assert_eq!(
        link(&format!(
            "{secret}---\n{}",
            without_line(&document, "cost:")
        ))
        .cost,
        None
    );
    let error = refusal(&format!(
        "{secret}---\n{}",
        document.replace("cost: 3", "cost: 2147483648")
    ));
    assert_eq!(
        error,
        "Link \"link-west\" has an invalid spec.cost: 2147483648 is too large"
    );
}

#[test]
fn endpoints_of_other_roles_are_passed_over() {
    let (secret, document) = v2_text(&token());
    let only_edge = document.replace("name: inter-router", "name: something-else");
    let link = link(&format!("{secret}---\n{only_edge}"));
    assert_eq!(
        (link.inter_router.is_none(), link.edge.is_some()),
        (true, true)
    );
    let none = only_edge.replace("name: edge", "name: other");
    assert_eq!(
        refusal(&format!("{secret}---\n{none}")),
        "Link \"link-west\" has no endpoint named inter-router or edge"
    );
}

#[test]
fn string_data_is_plain() {
    let issued = token();
    let block = |text: &str| {
        text.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let (_, document) = v2_text(&issued);
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: link-west\nstringData:\n  ca.crt: |\n{}  tls.crt: |\n{}  tls.key: |\n{}",
        block(&issued.ca_pem),
        block(&issued.cert_pem),
        block(issued.key.expose())
    );
    assert_eq!(link(&format!("{secret}---\n{document}")).key, issued.key);
}
