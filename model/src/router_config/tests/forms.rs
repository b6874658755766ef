//! What is read, in which forms.

use std::{path::Path, time::Duration};

use super::*;

#[test]
fn the_initial_file_of_skupper_1() {
    let Parsed { config, warnings } = RouterConfig::parse(INITIAL).unwrap();
    assert_eq!(warnings, Vec::<String>::new());

    assert_eq!(
        (config.router.id.as_str(), config.router.mode),
        ("host1-alice", Mode::Interior)
    );
    assert_eq!(config.router.hello_max_age, Duration::from_secs(3));
    let metadata: serde_json::Value =
        serde_json::from_str(config.router.metadata.as_deref().unwrap()).unwrap();
    assert_eq!(metadata["platform"], "podman");

    let profile = &config.ssl_profiles["skupper-amqps"];
    assert_eq!(
        profile,
        &SslProfile::in_directory(
            "skupper-amqps",
            Path::new("/etc/skupper-router-certs/skupper-amqps")
        )
    );
    assert_eq!(
        config.ssl_profiles["skupper-service-client"].cert_file,
        None
    );

    let health = &config.listeners["@9090"];
    assert!(health.http && health.healthz && health.metrics);
    assert_eq!(config.listeners["amqp"].host, "localhost");
    assert!(!config.listeners["amqp"].tls_only());
    let interior = &config.listeners["interior-listener"];
    assert_eq!(
        (interior.role, interior.port, interior.cost),
        (Role::InterRouter, 55671, 1)
    );
    assert_eq!(
        (interior.max_frame_size, interior.max_session_frames),
        (16_384, Some(640))
    );
    assert_eq!(interior.sasl_mechanisms, ["EXTERNAL"]);
    assert!(interior.authenticate_peer && interior.tls_only());
    assert_eq!(config.listeners["edge-listener"].role, Role::Edge);
    assert_eq!(
        config.addresses,
        [AddressEntity::prefix("mc", Distribution::Multicast)]
    );
    assert_eq!((config.listeners.len(), config.ssl_profiles.len()), (5, 3));
}

#[test]
fn the_network_and_policies_that_ask_for_nothing() {
    let Parsed { config, warnings } = RouterConfig::parse(
        r#"[["router", {"id": "r", "mode": "interior", "vanId": "old"}],
            ["network", {"name": "n", "networkId": "net", "tenantId": "tenant"}],
            ["policy", {"name": "p", "maxConnections": 65535, "enableVhostPolicy": false, "maxMessageSize": 0,
                        "defaultVhost": "$default"}],
            ["vhost", {"hostname": "h", "groups": {"$default": {"users": "*"}}}]]"#,
    )
    .unwrap();
    assert_eq!(config.tenant(), Some("tenant"));
    assert_eq!(
        config.network,
        Some(NetworkEntity {
            network_id: Some("net".to_owned()),
            tenant_id: Some("tenant".to_owned()),
        })
    );
    assert_eq!(
        warnings,
        [
            "network \"n\": attribute \"networkId\" is only shown: networks are not linked with each other",
            "vhost: has no effect: policies are not enforced",
        ]
    );
    let limited = RouterConfig::parse(
        r#"[["router", {"id": "r", "mode": "interior", "vanId": "v"}], ["policy", {"maxConnections": 5}]]"#,
    )
    .unwrap();
    assert_eq!(limited.config.tenant(), Some("v"));
    assert_eq!(limited.warnings, [""; 0]);
    assert_eq!(limited.config.max_connections, Some(5));
    let again = RouterConfig::parse(&limited.config.to_json()).unwrap();
    assert_eq!(again.config, limited.config);
    let difference = RouterConfig::difference(&config, &limited.config);
    assert_eq!(difference.max_connections, Some((None, Some(5))));
}

#[test]
fn what_has_no_effect_is_said() {
    let Parsed { config, warnings } = RouterConfig::parse(
        r#"[["router", {"id": "r", "mode": "interior"}],
            ["listener", {"name": "l", "port": 1, "websockets": true, "httpRootDir": "/srv", "saslMechanisms": "PLAIN ANONYMOUS"}],
            ["listener", {"name": "m", "port": 2, "stripAnnotations": "in", "httpRootDir": "disabled", "websockets": false}],
            ["connector", {"name": "c", "port": 3, "stripAnnotations": "no", "saslMechanisms": "PLAIN"}]]"#,
    )
    .unwrap();
    assert_eq!(
        warnings,
        [
            "listener \"l\": attribute \"websockets\" has no effect: WebSockets are not served",
            "listener \"l\": attribute \"httpRootDir\" has no effect: files are not served",
            "listener \"l\": of \"saslMechanisms\", only EXTERNAL and ANONYMOUS are offered",
            "listener \"m\": attribute \"stripAnnotations\" has no effect: they are always stripped",
            "connector \"c\": attribute \"stripAnnotations\" has no effect: they are always stripped",
        ]
    );
    let offered: Vec<&str> = config.listeners["l"].offered_mechanisms().collect();
    assert_eq!(offered, ["ANONYMOUS"]);
}

#[test]
fn listeners_with_several_addresses() {
    let config = parsed(
        r#"["listenerAddress", {"name": "x", "address": "a", "value": "7", "listener": "t"}],
           ["listenerAddress", {"address": "b", "value": -1, "listener": "t"}],
           ["tcpListener", {"name": "t", "port": 80, "multiAddressStrategy": "weighted"}]"#,
    );
    assert_eq!(
        config.tcp_listeners["t"],
        TcpListener {
            strategy: MultiAddressStrategy::Weighted,
            ..TcpListener::new("t", "", 80)
        }
    );
    let shown = |name: &str| {
        let one = &config.listener_addresses[name];
        (one.address.as_str(), one.value, one.listener.as_str())
    };
    assert_eq!(shown("x"), ("a", 7, "t"));
    assert_eq!(shown("listenerAddress/t:b"), ("b", -1, "t"));
    let again = RouterConfig::parse(&config.to_json()).unwrap();
    assert_eq!((again.config, again.warnings), (config, Vec::new()));
}

#[test]
fn what_skupper_adds_for_a_link() {
    let config = parsed(
        r#"["sslProfile", {"name": "link1-profile", "certFile": "/c/tls.crt", "privateKeyFile": "/c/tls.key", "caCertFile": "/c/ca.crt"}],
           ["connector", {"name": "link1", "role": "inter-router", "host": "hub.example.com", "port": "55671",
                          "cost": 1, "verifyHostname": true, "sslProfile": "link1-profile"}]"#,
    );
    let mut expected = Connector::new("link1", "hub.example.com", 55671);
    expected.role = Role::InterRouter;
    expected.ssl_profile = Some("link1-profile".to_owned());
    assert_eq!(config.connectors["link1"], expected);
}

#[test]
fn the_file_of_a_service_router() {
    let text = r#"[
        ["router", {"id": "host1-alice-backend", "mode": "edge", "helloMaxAgeSeconds": "3"}],
        ["sslProfile", {"name": "skupper-internal", "certFile": "/t.crt", "privateKeyFile": "/t.key", "caCertFile": "/ca.crt"}],
        ["connector", {"name": "uplink", "role": "edge", "host": "skupper-router", "port": "45671", "sslProfile": "skupper-internal"}],
        ["listener", {"name": "amqp", "host": "127.0.0.1", "port": 5672}],
        ["tcpConnector", {"name": "backend@hello:8080:8080", "host": "hello", "port": "8080", "address": "backend:8080",
            "siteId": "id-backend", "verifyHostname": false}],
        ["tcpListener", {"name": "backend:8080", "port": "8080", "address": "backend:8080", "siteId": "id-backend"}]
    ]"#;
    let Parsed { config, warnings } = RouterConfig::parse(text).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.connectors["uplink"].role, Role::Edge);
    let connector = &config.tcp_connectors["backend@hello:8080:8080"];
    assert_eq!(
        (
            connector.host.as_str(),
            connector.port,
            connector.verify_hostname
        ),
        ("hello", 8080, false)
    );
    let listener = &config.tcp_listeners["backend:8080"];
    assert_eq!(
        (
            listener.host.as_str(),
            listener.port,
            listener.address.as_str()
        ),
        ("", 8080, "backend:8080")
    );
    assert_eq!(listener.encapsulation, Encapsulation::Auto);
}

#[test]
fn comment_lines_are_dropped_wherever_they_begin() {
    let text = "# head\n[\n   # \"not\": json\n[\"router\", {\"id\": \"r#1\", \"mode\": \"interior\"}]\n#]\n]\n";
    assert_eq!(RouterConfig::parse(text).unwrap().config.router.id, "r#1");
}

#[test]
fn names_with_dashes_become_camel_case() {
    let config = parsed(
        r#"["ssl-profile", {"name": "p", "cert-file": "/c", "private-key-file": "/k"}],
           ["listener", {"name": "l", "ssl-profile": "p", "idle-timeout-seconds": 7, "max-frame-size": "65536", "port": 1}],
           ["router.config.address", {"prefix": "a"}]"#,
    );
    assert_eq!(config.listeners["l"].idle_timeout, Duration::from_secs(7));
    assert_eq!(config.listeners["l"].max_frame_size, 65_536);
    assert_eq!(config.addresses[0].distribution, Distribution::Balanced);
}

#[test]
fn numbers_booleans_and_ports_come_in_several_forms() {
    for (text, expected) in [
        ("true", true),
        ("\"yes\"", true),
        ("\"True\"", true),
        ("false", false),
        ("\"no\"", false),
    ] {
        let config = parsed(&format!(
            r#"["listener", {{"name": "l", "requireSsl": {text}, "port": 1}}]"#
        ));
        assert_eq!(config.listeners["l"].require_ssl, expected, "{text}");
    }
    for (text, expected) in [
        ("5", 5),
        ("\"5\"", 5),
        ("\"amqp\"", 5672),
        ("\"amqps\"", 5671),
        ("0", 0),
    ] {
        let config = parsed(&format!(r#"["listener", {{"name": "l", "port": {text}}}]"#));
        assert_eq!(config.listeners["l"].port, expected, "{text}");
    }
    assert_eq!(
        parsed(r#"["connector", {"name": "c"}]"#).connectors["c"].port,
        5672
    );
    assert_eq!(
        parsed(r#"["connector", {"name": "c"}]"#).connectors["c"].host,
        "127.0.0.1"
    );
    for (text, expected) in [
        ("\"auto\"", None),
        ("0", Some(0)),
        ("\"4\"", Some(4)),
        ("null", None),
    ] {
        let config = RouterConfig::parse(&format!(
            r#"[["router", {{"id": "r", "mode": "edge", "dataConnectionCount": {text}}}]]"#
        ));
        assert_eq!(
            config.unwrap().config.router.data_connection_count,
            expected,
            "{text}"
        );
    }
}

#[test]
fn missing_names_come_from_host_and_port() {
    let config = parsed(
        r#"["listener", {"host": "::1", "port": 1}], ["connector", {"port": 2}],
           ["tcpListener", {"port": 3, "address": "a"}], ["tcpConnector", {"port": 4, "address": "a"}]"#,
    );
    assert!(config.listeners.contains_key("listener/::1:1"));
    assert!(config.connectors.contains_key("connector/127.0.0.1:2"));
    assert!(config.tcp_listeners.contains_key("tcpListener/:3"));
    assert!(
        config
            .tcp_connectors
            .contains_key("tcpConnector/127.0.0.1:4")
    );
}

#[test]
fn a_file_without_router_is_a_standalone_one() {
    let config = RouterConfig::parse("[]").unwrap().config;
    assert_eq!(
        (config.router.mode, config.router.id.as_str()),
        (Mode::Standalone, "Standalone")
    );
}

#[test]
fn unknown_attributes_warn_with_entity_and_attribute() {
    let Parsed { config, warnings } = parse(
        r#"["listener", {"name": "l", "port": 1, "colour": "red", "policyVhost": "x"}],
           ["log", {"module": "NEW_ONE", "enable": "info+"}]"#,
    )
    .unwrap();
    assert!(config.listeners.contains_key("l"));
    assert_eq!(
        warnings,
        [
            "listener \"l\": attribute \"policyVhost\" has no effect",
            "listener \"l\": unknown attribute \"colour\" is ignored",
            "log: unknown module \"NEW_ONE\"",
        ]
    );
}

#[test]
fn log_levels() {
    let config = parsed(
        r#"["log", {"module": "DEFAULT", "enable": "notice+"}], ["log", {"module": "ROUTER", "enable": "debug, error+"}],
           ["log", {"module": "SERVER", "enable": "none", "outputFile": "/tmp/x"}], ["log", {"module": "AGENT"}]"#,
    );
    let [default, router, server, agent] = &config.logs[..] else {
        panic!("{:?}", config.logs)
    };
    assert!(
        default.enables(LogLevel::Critical)
            && default.enables(LogLevel::Notice)
            && !default.enables(LogLevel::Info)
    );
    assert!(
        router.enables(LogLevel::Debug)
            && !router.enables(LogLevel::Info)
            && router.enables(LogLevel::Critical)
    );
    assert_eq!(
        (router.minimum(), server.minimum(), agent.minimum()),
        (Some(LogLevel::Debug), None, Some(LogLevel::Info))
    );
    assert_eq!(server.output_file.as_deref(), Some("/tmp/x"));
    assert_eq!(
        (router.enable_text(), server.enable_text()),
        ("debug,error+".to_owned(), "none".to_owned())
    );
}

#[test]
fn variables_in_certificate_paths() {
    let text = r#"[["router", {"id": "r", "mode": "interior"}],
        ["sslProfile", {"name": "p", "caCertFile": "${SSL_PROFILE_BASE_PATH}/certs/${NAME}/ca.crt"}]]"#;
    let variables: BTreeMap<String, String> =
        [(SSL_PROFILE_BASE_PATH, "/etc/skupper"), ("NAME", "p")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let path = |parsed: Parsed| {
        parsed.config.ssl_profiles["p"]
            .ca_cert_file
            .clone()
            .unwrap()
    };
    assert_eq!(
        path(RouterConfig::parse_with(text, &variables).unwrap()),
        Path::new("/etc/skupper/certs/p/ca.crt")
    );
    assert_eq!(
        path(RouterConfig::parse(text).unwrap()),
        Path::new("${SSL_PROFILE_BASE_PATH}/certs/${NAME}/ca.crt")
    );
    let error = RouterConfig::parse_with(text, &BTreeMap::new())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "sslProfile \"p\" uses the variable \"SSL_PROFILE_BASE_PATH\" in caCertFile, which is not set"
    );
}

#[test]
fn a_listener_on_a_unix_socket() {
    let config = parsed(
        r#"["listener", {"name": "management", "unixSocket": "/run/skupper/router.sock", "port": 0}]"#,
    );
    assert_eq!(
        config.listeners["management"],
        Listener::on_socket("management", "/run/skupper/router.sock".into())
    );
}

#[test]
fn passwords_are_not_shown() {
    let config =
        parsed(r#"["connector", {"name": "c", "saslUsername": "u", "saslPassword": "hunter2"}]"#);
    assert_eq!(
        config.connectors["c"]
            .sasl_password
            .as_ref()
            .unwrap()
            .expose(),
        "hunter2"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}
