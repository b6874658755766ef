use super::*;

#[test]
fn namespaces_are_labels() {
    for good in ["default", "a", "0", "west-2", &"a".repeat(63)] {
        assert_eq!(Namespace::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "West",
        "-a",
        "a-",
        "a.b",
        "a/b",
        "..",
        "a b",
        "ä",
        &"a".repeat(64),
    ] {
        assert!(Namespace::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Namespace::default().is_default());
}

#[test]
fn site_names_are_router_ids() {
    for good in ["west", "Host1-alice", "a.b_c", &"x".repeat(200)] {
        SiteName::parse(good).unwrap();
    }
    for bad in ["", "a|b", "a$b", "a/b", "a\u{7}", &"x".repeat(201)] {
        assert!(SiteName::parse(bad).is_err(), "{bad:?}");
    }
    assert!(
        SiteName::parse("my site")
            .unwrap_err()
            .to_string()
            .ends_with("value contains spaces")
    );
}

#[test]
fn service_name_errors_are_those_of_skupper_1() {
    const RULE: &str = r#""a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')""#;
    for bad in ["", "Backend", "1a", "a-", "a.b", "a_b"] {
        assert_eq!(
            ServiceName::parse(bad).unwrap_err().to_string(),
            format!("Invalid service name: [{RULE}]")
        );
    }
    let long = "a".repeat(64);
    assert_eq!(
        ServiceName::parse(&long).unwrap_err().to_string(),
        r#"Invalid service name: ["must be no more than 63 characters"]"#
    );
    let both = "A".repeat(64);
    assert_eq!(
        ServiceName::parse(&both).unwrap_err().to_string(),
        format!(r#"Invalid service name: ["must be no more than 63 characters" {RULE}]"#)
    );
    ServiceName::parse(&"a".repeat(63)).unwrap();
    ServiceName::parse("a-1").unwrap();
}

#[test]
fn link_names_are_file_names_too() {
    for good in ["link1", "a", "link-west.example", "0"] {
        LinkName::parse(good).unwrap();
    }
    for bad in [
        "",
        ".",
        "..",
        "a.",
        "-a",
        "a/b",
        "A",
        "a b",
        &"a".repeat(254),
    ] {
        assert!(LinkName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn site_ids_are_uuids() {
    let id = SiteId::random();
    assert_eq!(SiteId::parse(id.as_str()).unwrap(), id);
    assert_ne!(SiteId::random(), id);
    for bad in [
        "",
        "x",
        "5A0C2F0E-0B3E-4C53-9F0A-2F1B7F1D9A11",
        "5a0c2f0e0b3e4c539f0a2f1b7f1d9a11",
    ] {
        assert!(SiteId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn costs_and_ports_have_ranges() {
    assert_eq!(LinkCost::default().get(), 1);
    assert_eq!(LinkCost::parse("7").unwrap().get(), 7);
    for bad in ["", "0", "-1", "+1", "1.5", "2147483648", "99999999999"] {
        assert!(LinkCost::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(ServicePort::parse("65535").unwrap().get(), 65535);
    for bad in ["", "0", "65536", "-1", "+1", "8080 ", "http"] {
        assert!(ServicePort::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn addresses_keep_brackets_around_ipv6() {
    for (text, host, port) in [
        ("hub.example.com:55671", "hub.example.com", 55671),
        ("192.0.2.10:1", "192.0.2.10", 1),
        ("[2001:db8::1]:45671", "2001:db8::1", 45671),
        ("[::1]:65535", "::1", 65535),
    ] {
        let address = HostPort::parse(text).unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert_eq!(address.to_string(), text);
    }
    assert_eq!(
        HostPort::new("::1", 1).unwrap(),
        HostPort::new("[::1]", 1).unwrap()
    );
}

#[test]
fn bad_addresses_are_refused() {
    for bad in [
        "",
        "host",
        ":55671",
        "host:",
        "host:0",
        "host:65536",
        "host:x",
        "::1:55671",
        "[::1]",
        "[]:1",
        "[host]:1",
        "a b:1",
        "a/b:1",
        "user@host:1",
        "[::1:1",
        "https://h:1",
    ] {
        assert!(HostPort::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_travel_through_yaml_as_texts() {
    let address = HostPort::new("2001:db8::1", 55671).unwrap();
    let text = crate::yaml::to_string(&address).unwrap();
    assert_eq!(crate::yaml::from_str::<HostPort>(&text).unwrap(), address);
    // All digits and YAML 1.1 words stay strings.
    for word in ["no", "y", "010", "1e3", "123"] {
        let name = LinkName::parse(word).unwrap();
        let text = crate::yaml::to_string(&name).unwrap();
        assert_eq!(text.trim_end(), format!("\"{word}\""));
        assert_eq!(crate::yaml::from_str::<LinkName>(&text).unwrap(), name);
    }
    assert!(crate::yaml::from_str::<Namespace>("\"a/b\"").is_err());
    assert!(crate::yaml::from_str::<LinkCost>("0").is_err());
}

#[test]
fn long_garbage_is_cut_in_messages() {
    let error = HostPort::parse(&"x".repeat(10_000)).unwrap_err();
    assert!(error.to_string().len() < 200, "{error}");
}
