//! What is refused, and in which words.

use super::*;

#[test]
fn text_that_is_no_configuration() {
    for (text, expected) in [
        ("", "not valid JSON at line 1 column 0"),
        ("# x\n[[\"router\", {\n]", "not valid JSON at line 3"),
        ("{}", "not valid JSON"),
        ("[1]", "entry 1 is not a pair"),
        (
            "[[\"router\", {}], [\"listener\"]]",
            "entry 2 is not a pair",
        ),
        ("[[\"router\", {}, {}]]", "entry 1 is not a pair"),
        ("[[1, {}]]", "entry 1 is not a pair"),
    ] {
        let error = RouterConfig::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn unknown_and_unsupported_entities() {
    assert_eq!(
        refusal(r#"["teapot", {}]"#),
        "unknown entity type \"teapot\""
    );
    for kind in ["httpListener", "httpConnector", "autoLink"] {
        assert_eq!(
            refusal(&format!(r#"["{kind}", {{"name": "x"}}]"#)),
            format!("{kind} \"x\" is not supported yet")
        );
    }
    assert_eq!(
        refusal(r#"["router.config.autoLink", {}]"#),
        "autoLink is not supported yet"
    );
    assert_eq!(
        refusal(r#"["http-listener", {}]"#),
        "httpListener is not supported yet"
    );
    for role in ["inter-edge", "route-container", "inter-network"] {
        let error = refusal(&format!(
            r#"["listener", {{"name": "l", "port": 1, "role": "{role}"}}]"#
        ));
        assert_eq!(
            error,
            format!("role {role:?} of listener \"l\" is not supported yet")
        );
    }
}

#[test]
fn policies_that_ask_for_something() {
    for (attribute, value) in [("enableVhostPolicy", "true"), ("maxMessageSize", "1")] {
        let error = refusal(&format!(r#"["policy", {{"{attribute}": "{value}"}}]"#));
        assert_eq!(error, format!("{attribute} of policy is not supported yet"));
    }
    assert_eq!(
        refusal(r#"["policy", {}], ["policy", {}]"#),
        "policy is defined twice"
    );
}

#[test]
fn listeners_whose_passwords_nobody_can_check() {
    for mechanisms in ["PLAIN", "SCRAM-SHA-1 PLAIN"] {
        let error = refusal(&format!(
            r#"["listener", {{"name": "l", "port": 1, "saslMechanisms": "{mechanisms}"}}]"#
        ));
        assert_eq!(
            error,
            format!(
                "listener \"l\" has an invalid saslMechanisms: {mechanisms} cannot be offered, \
                 since there is nothing to check passwords by; use EXTERNAL or ANONYMOUS"
            )
        );
    }
}

#[test]
fn listeners_with_several_addresses_and_those_with_one() {
    let several =
        r#"["tcpListener", {"name": "t", "port": 1, "multiAddressStrategy": "priority"}]"#;
    let one = r#"["tcpListener", {"name": "t", "port": 1, "address": "a"}]"#;
    for (entities, expected) in [
        (
            format!(
                r#"{several}, ["listenerAddress", {{"name": "x", "address": "a", "value": 1}}]"#
            ),
            "listenerAddress \"x\" has no listener",
        ),
        (
            format!(
                r#"{several}, ["listenerAddress", {{"name": "x", "address": "a", "listener": "t"}}]"#
            ),
            "listenerAddress \"x\" has no value",
        ),
        (
            format!(
                r#"{several}, ["listenerAddress", {{"name": "x", "address": "a", "value": 1, "listener": "u"}}]"#
            ),
            "listenerAddress \"x\" is for the tcpListener \"u\", which is not defined",
        ),
        (
            format!(
                r#"{one}, ["listenerAddress", {{"name": "x", "address": "a", "value": 1, "listener": "t"}}]"#
            ),
            "listenerAddress \"x\" has an invalid listener: tcpListener \"t\" has one address only; give it a multiAddressStrategy",
        ),
        (
            r#"["tcpListener", {"name": "t", "port": 1, "multiAddressStrategy": "none"}]"#
                .to_owned(),
            "tcpListener \"t\" has no address",
        ),
        (
            r#"["tcpListener", {"name": "t", "port": 1, "multiAddressStrategy": "random"}]"#
                .to_owned(),
            "tcpListener \"t\" has an invalid multiAddressStrategy: \"random\" is not one of none, priority, weighted",
        ),
    ] {
        assert_eq!(refusal(&entities), expected);
    }
}

#[test]
fn values_that_attributes_cannot_have() {
    for (entity, expected) in [
        (
            r#"["listener", {"name": "l", "port": 65536}]"#,
            "listener \"l\" has an invalid port: \"65536\" is not a port number",
        ),
        (r#"["listener", {"name": "l", "port": -1}]"#, "invalid port"),
        (
            r#"["listener", {"name": "l", "port": "http"}]"#,
            "invalid port",
        ),
        (
            r#"["listener", {"name": "l", "port": [1]}]"#,
            "must be a single value",
        ),
        (r#"["connector", {"name": "c", "port": 0}]"#, "invalid port"),
        (
            r#"["tcpConnector", {"name": "c", "address": "a", "port": "0"}]"#,
            "invalid port",
        ),
        (
            r#"["listener", {"name": "l", "role": "boss"}]"#,
            "\"boss\" is not one of normal, inter-router, edge",
        ),
        (
            r#"["listener", {"name": "l", "cost": 0}]"#,
            "\"0\" is not a number from 1 to 2147483647",
        ),
        (
            r#"["listener", {"name": "l", "maxFrameSize": 511}]"#,
            "invalid maxFrameSize",
        ),
        (
            r#"["listener", {"name": "l", "maxFrameSize": 1.5}]"#,
            "invalid maxFrameSize",
        ),
        (
            r#"["listener", {"name": "l", "authenticatePeer": "maybe"}]"#,
            "\"maybe\" is neither true nor false",
        ),
        (
            r#"["listener", {"name": "l", "idleTimeoutSeconds": "99999999999"}]"#,
            "invalid idleTimeoutSeconds",
        ),
        (
            r#"["address", {"prefix": "a", "distribution": "fair"}]"#,
            "is not one of balanced, closest, multicast, unavailable",
        ),
        (
            r#"["address", {"prefix": "a", "pattern": "b"}]"#,
            "exclude each other",
        ),
        (r#"["address", {}]"#, "address has no prefix or pattern"),
        (
            r#"["tcpListener", {"name": "t", "address": "a"}]"#,
            "tcpListener \"t\" has no port",
        ),
        (
            r#"["tcpListener", {"name": "t", "port": 1}]"#,
            "tcpListener \"t\" has no address",
        ),
        (
            r#"["tcpListener", {"name": "t", "port": 1, "address": "a", "encapsulation": "x"}]"#,
            "is not one of auto, legacy, lite",
        ),
        (r#"["sslProfile", {}]"#, "sslProfile has no name"),
        (r#"["log", {"enable": "info"}]"#, "log has no module"),
        (
            r#"["log", {"module": "SERVER", "enable": "loud+"}]"#,
            "\"loud+\" is not one of trace,",
        ),
        (
            r#"["listener", {"name": "l", "max-frame-size": 600, "maxFrameSize": 700}]"#,
            "maxFrameSize of listener is defined twice",
        ),
    ] {
        let error = refusal(entity);
        assert!(error.contains(expected), "{entity}: {error}");
    }
}

#[test]
fn router_attributes() {
    for (attributes, expected) in [
        (r#""mode": "interior""#, "router has no id"),
        (r#""mode": "interior", "id": "a|b""#, "invalid id"),
        (r#""mode": "interior", "id": "a$b""#, "invalid id"),
        (r#""mode": "interior", "id": "a/b""#, "invalid id"),
        (r#""mode": "interior", "id": "a b""#, "invalid id"),
        (
            r#""mode": "boss", "id": "a""#,
            "is not one of standalone, interior, edge",
        ),
        (
            r#""id": "a", "helloMaxAgeSeconds": "1", "helloIntervalSeconds": "2""#,
            "invalid helloMaxAgeSeconds",
        ),
        (r#""id": "a", "workerThreads": 0"#, "invalid workerThreads"),
    ] {
        let error = RouterConfig::parse(&format!(r#"[["router", {{{attributes}}}]]"#))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{attributes}: {error}");
    }
}

#[test]
fn duplicates() {
    for (entity, label) in [
        (r#"["router", {"id": "r"}]"#, "router"),
        (r#"["sslProfile", {"name": "p"}]"#, "sslProfile \"p\""),
        (r#"["connector", {"name": "c"}]"#, "connector \"c\""),
        (
            r#"["listener", {"name": "l", "port": 0}]"#,
            "listener \"l\"",
        ),
        (
            r#"["tcpListener", {"name": "t", "port": 0, "address": "a"}]"#,
            "tcpListener \"t\"",
        ),
        (
            r#"["tcpConnector", {"name": "t", "port": 1, "address": "a"}]"#,
            "tcpConnector \"t\"",
        ),
        (r#"["address", {"prefix": "a"}]"#, "address"),
        (r#"["log", {"module": "SERVER"}]"#, "log"),
        (r#"["site", {"name": "s"}]"#, "site \"s\""),
    ] {
        assert_eq!(
            refusal(&format!("{entity}, {entity}")),
            format!("{label} is defined twice")
        );
    }
    // The same name in another kind is another thing.
    parse(r#"["listener", {"name": "x", "port": 0}], ["connector", {"name": "x"}]"#).unwrap();
}

#[test]
fn tls_profiles_must_exist_and_suffice() {
    for kind in ["listener", "connector", "tcpListener", "tcpConnector"] {
        let error = refusal(&format!(
            r#"["{kind}", {{"name": "x", "port": 1, "address": "a", "sslProfile": "p"}}]"#
        ));
        assert_eq!(
            error,
            format!("{kind} \"x\" uses the sslProfile \"p\", which is not defined")
        );
    }
    let listener =
        r#"["listener", {"name": "x", "port": 1, "sslProfile": "p", "authenticatePeer": true}]"#;
    let with = |files: &str| {
        refusal(&format!(
            r#"["sslProfile", {{"name": "p"{files}}}], {listener}"#
        ))
    };
    assert_eq!(
        with(r#", "caCertFile": "/ca""#),
        "listener \"x\" uses the sslProfile \"p\", which has no certFile"
    );
    assert_eq!(
        with(r#", "certFile": "/c", "privateKeyFile": "/k""#),
        "listener \"x\" uses the sslProfile \"p\", which has no caCertFile"
    );
    assert_eq!(
        with(r#", "certFile": "/c""#),
        "sslProfile \"p\" has no privateKeyFile"
    );
    assert_eq!(
        with(r#", "privateKeyFile": "/k""#),
        "sslProfile \"p\" has no certFile"
    );
    parse(r#"["sslProfile", {"name": "p", "caCertFile": "/ca"}], ["tcpConnector", {"port": 1, "address": "a", "sslProfile": "p"}]"#)
        .unwrap();
}

#[test]
fn roles_depend_on_the_mode() {
    let result = |mode: &str, kind: &str, role: &str| {
        RouterConfig::parse(&format!(
            r#"[["router", {{"id": "r", "mode": "{mode}"}}], ["{kind}", {{"name": "x", "port": 1, "role": "{role}"}}]]"#
        ))
    };
    for (mode, kind, role, allowed) in [
        ("standalone", "listener", "normal", true),
        ("standalone", "listener", "inter-router", false),
        ("standalone", "listener", "edge", false),
        ("standalone", "connector", "edge", false),
        ("standalone", "connector", "inter-router", false),
        ("interior", "listener", "edge", true),
        ("interior", "connector", "inter-router", true),
        ("interior", "connector", "edge", false),
        ("edge", "connector", "edge", true),
        ("edge", "connector", "inter-router", false),
        ("edge", "listener", "edge", false),
        ("edge", "listener", "inter-router", false),
        ("edge", "listener", "normal", true),
    ] {
        let result = result(mode, kind, role);
        assert_eq!(result.is_ok(), allowed, "{mode} {kind} {role}");
        if let Err(error) = result {
            assert!(
                error
                    .to_string()
                    .contains(&format!("a router of mode {mode} cannot have")),
                "{error}"
            );
        }
    }
    let error = refusal(r#"["listener", {"name": "x", "port": 1, "role": "edge", "http": true}]"#);
    assert_eq!(
        error,
        "listener \"x\" has an invalid http: a listener of role edge cannot have it"
    );
    refusal(r#"["listener", {"name": "x", "role": "edge", "unixSocket": "/s"}]"#);
}

#[test]
fn one_socket_for_one_listener() {
    let error = refusal(
        r#"["listener", {"name": "a", "port": 80}], ["tcpListener", {"name": "b", "port": "80", "address": "x"}]"#,
    );
    assert_eq!(
        error,
        "listener \"a\" and tcpListener \"b\" listen on the same address :80"
    );
    refusal(
        r#"["listener", {"name": "a", "host": "::1", "port": 80}], ["listener", {"name": "b", "host": "[::1]", "port": 80}]"#,
    );
    refusal(
        r#"["listener", {"name": "a", "unixSocket": "/s"}], ["listener", {"name": "b", "unixSocket": "/s", "port": 1}]"#,
    );
    parse(r#"["listener", {"name": "a", "port": 0}], ["listener", {"name": "b", "port": 0}]"#)
        .unwrap();
    parse(r#"["listener", {"name": "a", "host": "127.0.0.1", "port": 80}], ["listener", {"name": "b", "host": "::1", "port": 80}]"#)
        .unwrap();
}

#[test]
fn proxies_that_are_not_whole() {
    for (entity, expected) in [
        (
            r#"["connector", {"name": "c", "proxyProfile": "p"}]"#,
            "connector \"c\" uses the proxyProfile \"p\", which is not defined",
        ),
        (
            r#"["proxyProfile", {"name": "p", "host": "h"}]"#,
            "proxyProfile \"p\" has no port",
        ),
        (
            r#"["proxyProfile", {"name": "p", "port": 3128}]"#,
            "proxyProfile \"p\" has no host",
        ),
        (
            r#"["proxyProfile", {"name": "p", "host": "h", "port": 1, "password": "secret"}]"#,
            "proxyProfile \"p\" has no username",
        ),
    ] {
        assert_eq!(refusal(entity), expected);
    }
}

#[test]
fn formats_of_user_ids_and_lists_of_servers() {
    assert_eq!(
        refusal(r#"["sslProfile", {"name": "p", "uidFormat": "ox"}]"#),
        "sslProfile \"p\" has an invalid uidFormat: 'x' is not one of the letters c, s, l, o, u, n, 1, 2, 5"
    );
    let listener = |urls: &str| {
        refusal(&format!(
            r#"["listener", {{"name": "l", "port": 1, "failoverUrls": "{urls}"}}]"#
        ))
    };
    assert_eq!(
        listener("http://h:1"),
        "listener \"l\" has an invalid failoverUrls: the scheme of \"http://h:1\" is not one of amqp, amqps"
    );
    assert!(listener("h:1, :2").contains("the host is missing"));
    assert!(listener(&"h:1,".repeat(40)).contains("more than 32 servers"));
}
