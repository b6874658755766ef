//! What is written is read back the same.

use std::{path::PathBuf, time::Duration};

use proptest::{collection, option, prelude::*, sample::select};
use serde_json::Value;

use super::*;

#[test]
fn the_initial_file_comes_back() {
    let first = RouterConfig::parse(INITIAL).unwrap().config;
    let text = first.to_json();
    let second = RouterConfig::parse(&text).unwrap();
    assert_eq!(
        (second.config, second.warnings),
        (first.clone(), Vec::new())
    );
    // And a second writing changes nothing, so that a file watcher stays quiet.
    assert_eq!(RouterConfig::parse(&text).unwrap().config.to_json(), text);
    assert!(
        text.starts_with("[\n    [\n        \"router\",\n        {\n            \""),
        "{text}"
    );
    assert!(!text.ends_with('\n'));
}

#[test]
fn values_have_the_json_types_that_skupper_1_reads() {
    let mut config = RouterConfig::new(RouterEntity::new("r", Mode::Interior));
    config.put_listener(Listener::new("l", 5671));
    config.put_connector(Connector::new("c", "h", 55671));
    config.put_tcp_listener(TcpListener::new("t", "a", 80));
    let mut connector = TcpConnector::new("t", "a", "h", 80);
    connector.verify_hostname = false;
    config.put_tcp_connector(connector);
    config
        .logs
        .push(LogEntity::at_least("DEFAULT", LogLevel::Trace));

    let entities: Vec<(String, Value)> = serde_json::from_str(&config.to_json()).unwrap();
    let kinds: Vec<&str> = entities.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "router",
            "connector",
            "listener",
            "tcpConnector",
            "tcpListener",
            "log"
        ]
    );
    assert_eq!(
        entities[0].1,
        serde_json::json!({"id": "r", "mode": "interior", "helloMaxAgeSeconds": "3"})
    );
    assert_eq!(
        entities[1].1,
        serde_json::json!({"name": "c", "host": "h", "port": "55671"})
    );
    assert_eq!(
        entities[2].1,
        serde_json::json!({"name": "l", "port": 5671})
    );
    assert_eq!(
        entities[3].1,
        serde_json::json!({"name": "t", "host": "h", "port": "80", "address": "a", "verifyHostname": false})
    );
    assert_eq!(
        entities[4].1,
        serde_json::json!({"name": "t", "port": "80", "address": "a"})
    );
    assert_eq!(
        entities[5].1,
        serde_json::json!({"module": "DEFAULT", "enable": "trace+"})
    );
}

fn text() -> impl Strategy<Value = String> {
    // Whatever JSON can carry and the reader does not take for an absence.
    "[a-zA-Z0-9 \"\\\\:@\\.\\-_é\n]{1,12}"
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9:@\\.\\-]{1,12}"
}

fn seconds(lowest: u64) -> impl Strategy<Value = Duration> {
    (lowest..4_000_000).prop_map(Duration::from_secs)
}

prop_compose! {
    fn router()(
        (id, mode) in (word(), select(Mode::ALL)),
        hello in 1_u64..100, age in 100_u64..1000,
        timers in (seconds(1), seconds(1), seconds(1), seconds(0)),
        threads in option::of(1_u32..=1024), connections in option::of(0_u32..=1024),
        distribution in select(Distribution::ALL),
        (metadata, van_id, drop) in (option::of(text()), option::of(text()), option::of(any::<bool>())),
    ) -> RouterEntity {
        RouterEntity {
            id, mode,
            hello_interval: Duration::from_secs(hello), hello_max_age: Duration::from_secs(age),
            ra_interval: timers.0, ra_interval_flux: timers.1, remote_ls_max_age: timers.2, unreachable_holdoff: timers.3,
            worker_threads: threads, data_connection_count: connections, default_distribution: distribution,
            metadata, van_id, drop_tcp_connections: drop,
        }
    }
}

prop_compose! {
    fn ssl_profile()(
        name in text(), pair in option::of((text(), text())), ca in option::of(text()), password in option::of(text()),
        ciphers in option::of(text()), protocols in collection::vec(word(), 0..3),
        ordinals in (option::of(any::<u64>()), option::of(any::<u64>())),
        uid in option::of(("[csloun]{1,6}[125]?", option::of(text()))),
    ) -> SslProfile {
        let (cert_file, private_key_file) = pair.unzip();
        let (uid_format, names) = uid.unzip();
        SslProfile {
            uid_format: uid_format.map(|format| format.parse().unwrap()),
            uid_name_mapping_file: names.flatten().map(PathBuf::from),
            name, cert_file: cert_file.map(PathBuf::from), private_key_file: private_key_file.map(PathBuf::from),
            ca_cert_file: ca.map(PathBuf::from), password: password.map(Sensitive::new), ciphers, protocols,
            ordinal: ordinals.0, oldest_valid_ordinal: ordinals.1,
        }
    }
}

prop_compose! {
    fn listener()(
        (name, host, port) in (text(), option::of(word()), any::<u16>()),
        socket in option::of(text()),
        flags in any::<[bool; 8]>(),
        cost in 1_u32..=i32::MAX as u32,
        mechanisms in collection::vec(select(vec!["EXTERNAL", "ANONYMOUS"]).prop_map(str::to_owned), 0..3),
        (frame, sessions, frames, credit) in (512_u32.., 1_u32..=65_536, option::of(1_u32..), 1_u32..=i32::MAX as u32),
        (idle, handshake, connections) in (seconds(0), seconds(0), 1_u32..=i32::MAX as u32),
        strip in select(StripAnnotations::ALL), family in option::of(select(AddressFamily::ALL)),
        root in option::of(text()),
        failover in collection::vec("(amqps?://)?[a-z0-9.]{1,9}(:[1-9][0-9]{0,3})?", 0..3),
    ) -> Listener {
        Listener {
            name, host: host.unwrap_or_default(), port, socket: socket.map(PathBuf::from), role: Role::Normal, cost,
            ssl_profile: None, sasl_mechanisms: mechanisms, authenticate_peer: flags[0], require_encryption: flags[1],
            require_ssl: flags[2], max_frame_size: frame, max_connections: connections, max_sessions: sessions, max_session_frames: frames,
            idle_timeout: idle, initial_handshake_timeout: handshake, link_capacity: credit, strip_annotations: strip,
            socket_address_family: family, failover_urls: failover.iter().map(|url| url.parse().unwrap()).collect(), http: flags[3] || root.is_some(), http_root_dir: root,
            websockets: flags[4], healthz: flags[5], metrics: flags[6],
        }
    }
}

prop_compose! {
    fn connector()(
        (name, host, port) in (text(), word(), 1_u16..),
        verify_hostname in any::<bool>(),
        cost in 1_u32..=i32::MAX as u32,
        mechanisms in collection::vec(word(), 0..3),
        user in option::of((text(), text())),
        (frame, sessions, frames, credit) in (512_u32.., 1_u32..=65_536, option::of(1_u32..), 1_u32..=i32::MAX as u32),
        idle in seconds(0),
        strip in select(StripAnnotations::ALL), family in option::of(select(AddressFamily::ALL)),
    ) -> Connector {
        let (sasl_username, sasl_password) = user.unzip();
        Connector {
            name, host, port, role: Role::Normal, cost, ssl_profile: None, verify_hostname,
            proxy_profile: None, sasl_mechanisms: mechanisms,
            sasl_username, sasl_password: sasl_password.map(Sensitive::new), max_frame_size: frame,
            max_sessions: sessions, max_session_frames: frames, idle_timeout: idle, link_capacity: credit,
            strip_annotations: strip, socket_address_family: family,
        }
    }
}

prop_compose! {
    fn address()(
        name in option::of(text()), prefix in any::<bool>(), text in text(),
        distribution in select(Distribution::ALL), priority in option::of(0_u8..=9),
    ) -> AddressEntity {
        let matches = if prefix { AddressMatch::Prefix(text) } else { AddressMatch::Pattern(text) };
        AddressEntity { name, matches, distribution, priority }
    }
}

prop_compose! {
    fn tcp_listener()(
        (name, address, host, port) in (text(), text(), option::of(word()), any::<u16>()),
        site_id in option::of(text()), backlog in option::of(1_u32..=i32::MAX as u32),
        authenticate_peer in any::<bool>(), encapsulation in select(Encapsulation::ALL),
    ) -> TcpListener {
        TcpListener {
            name, address, strategy: MultiAddressStrategy::None, host: host.unwrap_or_default(), port, site_id, backlog, ssl_profile: None, authenticate_peer, encapsulation,
        }
    }
}

prop_compose! {
    fn tcp_connector()(
        (name, address, host, port) in (text(), text(), word(), 1_u16..),
        site_id in option::of(text()), process_id in option::of(text()),
        verify_hostname in any::<bool>(), encapsulation in select(Encapsulation::ALL),
    ) -> TcpConnector {
        TcpConnector { name, address, host, port, site_id, ssl_profile: None, verify_hostname, encapsulation, process_id }
    }
}

prop_compose! {
    fn log()(
        module in select(&["DEFAULT", "ROUTER_CORE", "TCP_ADAPTOR"][..]),
        enable in collection::vec((select(LogLevel::ALL), any::<bool>()), 0..3),
        flags in (option::of(any::<bool>()), option::of(any::<bool>())), output_file in option::of(text()),
    ) -> LogEntity {
        LogEntity {
            module: module.to_owned(),
            enable: enable.into_iter().map(|(level, and_above)| LogSelector { level, and_above }).collect(),
            include_timestamp: flags.0, include_source: flags.1, output_file,
        }
    }
}

prop_compose! {
    fn config()(
        router in router(),
        profiles in collection::vec(ssl_profile(), 0..3),
        listeners in collection::vec(listener(), 0..3),
        connectors in collection::vec(connector(), 0..3),
        addresses in collection::btree_map(text(), address(), 0..3),
        tcp in (collection::vec(tcp_listener(), 0..3), collection::vec(tcp_connector(), 0..3)),
        logs in option::of(log()),
        site in option::of((option::of(text()), option::of(text()))),
    ) -> RouterConfig {
        let mut config = RouterConfig::new(router);
        profiles.into_iter().for_each(|entity| config.put_ssl_profile(entity));
        listeners.into_iter().for_each(|entity| config.put_listener(entity));
        connectors.into_iter().for_each(|entity| config.put_connector(entity));
        tcp.0.into_iter().for_each(|entity| config.put_tcp_listener(entity));
        tcp.1.into_iter().for_each(|entity| config.put_tcp_connector(entity));
        // The key keeps the matches unique.
        config.addresses = addresses.into_iter().map(|(key, entity)| AddressEntity { matches: AddressMatch::Prefix(key), ..entity }).collect();
        config.logs = logs.into_iter().collect();
        config.site = site.map(|(name, location)| SiteEntity { name, location, ..SiteEntity::default() });
        config
    }
}

proptest! {
    #[test]
    fn any_configuration_comes_back(config in config()) {
        prop_assume!(config.check().is_ok());
        let Parsed { config: again, warnings } = RouterConfig::parse(&config.to_json()).unwrap();
        prop_assert_eq!(&again, &config);
        prop_assert!(
            warnings.iter().all(|warning| warning.contains("has no effect")),
            "{warnings:?}"
        );
        prop_assert!(RouterConfig::difference(&config, &again).is_empty());
    }

    #[test]
    fn garbage_is_refused_without_panic(text in "[\\[\\]{}\",:a-z0-9# \n]{0,60}") {
        let _ = RouterConfig::parse(&text);
    }
}
