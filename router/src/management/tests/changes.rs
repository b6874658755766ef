//! Requests that want something changed.

use super::*;

#[test]
fn recorded_changes_are_understood_and_answered_as_recorded() {
    let request = recorded("create");
    let created = change(&request);
    let Action::Create(entity) = &created.action else {
        panic!("{created:?}")
    };
    assert_eq!(entity.key(), named(EntityKind::TcpListener, "tl1"));
    let key = entity.key();
    let (status, description, body) =
        over_the_wire(&request, &created.finished(Ok(key.clone())).answer(&ROUTER));
    assert_eq!((status, description.as_str()), (201, "Created"));
    for (attribute, value) in [
        ("name", "tl1"),
        ("type", "io.skupper.router.tcpListener"),
        ("identity", "tcpListener/127.0.0.1:21056:tl1"),
        ("port", "21056"),
    ] {
        assert_eq!(body.get(attribute), Some(&value.into()), "{attribute}");
    }

    let request = recorded("delete");
    let deleted = change(&request);
    assert!(matches!(&deleted.action, Action::Delete(deleted) if *deleted == key));
    assert_eq!(
        over_the_wire(&request, &deleted.finished(Ok(key)).answer(&ROUTER)),
        (204, "No Content".to_owned(), Value::Map(Vec::new()))
    );
}

#[test]
fn every_configured_kind_can_be_made() {
    let mc = [
        ("prefix", Value::from("x")),
        ("distribution", Value::from("closest")),
    ];
    let connector = [
        ("host", Value::from("rd.example")),
        ("port", Value::from("55671")),
        ("role", Value::from("inter-router")),
        ("cost", Value::Long(2)),
        ("verifyHostname", Value::Bool(false)),
    ];
    let tcp = [
        ("host", Value::from("h")),
        ("port", Value::Int(80)),
        ("address", Value::from("a")),
    ];
    let listener = [("port", Value::from("7000")), ("http", Value::Bool(true))];
    let profile = [("caCertFile", Value::from("/c/ca.crt"))];
    for (entity, attributes, key) in [
        (
            "router.config.address",
            &mc[..],
            EntityKey::Address(AddressMatch::Prefix("x".to_owned())),
        ),
        (
            "io.skupper.router.connector",
            &connector,
            named(EntityKind::Connector, "n"),
        ),
        ("tcpConnector", &tcp, named(EntityKind::TcpConnector, "n")),
        ("tcpListener", &tcp, named(EntityKind::TcpListener, "n")),
        ("listener", &listener, named(EntityKind::Listener, "n")),
        ("sslProfile", &profile, named(EntityKind::SslProfile, "n")),
    ] {
        let request = changing("CREATE", entity, Some("n"), attributes);
        match &change(&request).action {
            Action::Create(entity) => assert_eq!(entity.key(), key),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let create = |attributes: &[(&str, Value)]| {
        refused(&changing("CREATE", "tcpListener", Some("x"), attributes))
    };
    let whole = [("port", Value::Int(1)), ("address", Value::from("a"))];
    let with = |name: &'static str, value: Value| {
        let mut attributes = whole.to_vec();
        attributes.push((name, value));
        attributes
    };
    assert_eq!(
        create(&with("bogus", Value::Long(1))),
        (
            400,
            "Unknown attribute 'bogus' for 'io.skupper.router.tcpListener'".to_owned()
        )
    );
    for (attributes, says) in [
        (whole[..1].to_vec(), "has no address"),
        (whole[1..].to_vec(), "has no port"),
        (with("host", list([Value::Null])), "'host' is not usable"),
        (with("authenticatePeer", "maybe".into()), "maybe"),
        (with("port", Value::Int(1)), "'port' is there twice"),
        (with("name", "y".into()), "Conflicting values for name"),
        (
            with("type", "listener".into()),
            "Conflicting values for type",
        ),
    ] {
        let (status, description) = create(&attributes);
        assert!(status == 400 && description.contains(says), "{description}");
    }
    let text = Message {
        body: Body::Value(Value::from("x")),
        ..changing("CREATE", "tcpListener", Some("x"), &[])
    };
    assert_eq!(refused(&text).0, 400);
    assert_eq!(
        refused(&changing("CREATE", "toaster", None, &[])),
        (400, "No such entity type 'toaster'".to_owned())
    );
    assert_eq!(
        refused(&changing("CREATE", "router.node", Some("x"), &[])),
        (
            501,
            "Operation 'CREATE' not implemented for 'io.skupper.router.router.node' ['READ']"
                .to_owned()
        )
    );
    assert_eq!(refused(&texts(&[("operation", "DELETE")])).0, 400);
    assert_eq!(
        refused(&changing("DELETE", "connector", Some("none"), &[])),
        (404, "No entity with name=none".to_owned())
    );
    let renamed = changing(
        "UPDATE",
        "connector",
        Some("up"),
        &[("name", "down".into())],
    );
    assert_eq!(refused(&renamed).0, 400);
}

#[test]
fn outcomes_of_changes_become_answers() {
    let request = recorded("create");
    let outcome = |error: ChangeError| {
        let answer = change(&request).finished(Err(error)).answer(&ROUTER);
        let (status, description, body) = over_the_wire(&request, &answer);
        assert_eq!(body, Value::Map(Vec::new()));
        (status, description)
    };
    let key = || named(EntityKind::TcpListener, "tl1");
    let (status, description) = outcome(ChangeError::Duplicate(key(), "in the configuration file"));
    assert_eq!(status, 400);
    assert!(
        description.contains("duplicate value") && description.contains("configuration file"),
        "{description}"
    );
    assert_eq!(outcome(ChangeError::Unknown(key())).0, 404);
    assert_eq!(
        outcome(ChangeError::Refused("no".to_owned())),
        (400, "no".to_owned())
    );
    let busy = over_the_wire(&request, &change(&request).busy());
    assert_eq!(busy.0, 503);
}

#[test]
fn who_may_only_read_changes_nothing() {
    for request in [
        recorded("create"),
        recorded("delete"),
        changing("DELETE", "connector", Some("up"), &[]),
        changing("UPDATE", "connection", Some("x"), &[]),
    ] {
        let (status, description, _) = answer(&request);
        assert_eq!(status, 403);
        assert!(description.starts_with("Forbidden"), "{description}");
    }
}

#[test]
fn a_connection_is_closed_by_its_admin_status() {
    let update = |attributes: &[(&str, Value)]| {
        let mut request = changing("UPDATE", "connection", None, attributes);
        request
            .application_properties
            .push(("identity".into(), "2".into()));
        request
    };
    let request = update(&[("adminStatus", "deleted".into())]);
    match handle(&request, &ROUTER, Access::Full).unwrap() {
        Handled::Close { connection, answer } => {
            assert_eq!(connection, "2");
            let (status, _, body) = over_the_wire(&request, &answer);
            assert_eq!(
                (status, body.get("operStatus")),
                (200, Some(&"closing".into()))
            );
        }
        other => panic!("{other:?}"),
    }
    let kept = update(&[("adminStatus", "enabled".into())]);
    assert!(matches!(
        handle(&kept, &ROUTER, Access::Full),
        Some(Handled::Answer(_))
    ));
    assert_eq!(refused(&update(&[("role", "edge".into())])).0, 400);
    let unknown = changing(
        "UPDATE",
        "connection",
        Some("none"),
        &[("adminStatus", "deleted".into())],
    );
    assert_eq!(refused(&unknown), (404, "Not Found".to_owned()));
    // TCP flows are connections like others.
    let mut flow = update(&[("adminStatus", "deleted".into())]);
    flow.application_properties.pop();
    flow.application_properties
        .push(("identity".into(), "3".into()));
    assert!(matches!(
        handle(&flow, &ROUTER, Access::Full),
        Some(Handled::Close { connection, .. }) if connection == "3"
    ));
}

#[test]
fn what_cannot_be_done_is_looked_for_first() {
    let request = |operation: &str, entity: &str, identity: &str| {
        texts(&[
            ("operation", operation),
            ("type", entity),
            ("identity", identity),
        ])
    };
    // Entities of the core are never to be changed, others do not offer it.
    for (operation, entity, identity, status) in [
        ("DELETE", "connection", "1", 403),
        ("DELETE", "connection", "77", 404),
        ("UPDATE", "router.link", "3", 403),
        ("UPDATE", "router.link", "77", 404),
        ("DELETE", "router.node", "router.node/ra", 501),
        ("DELETE", "router.node", "router.node/zz", 404),
        ("DELETE", "log", "log/DEFAULT", 501),
        ("CREATE", "router.link", "77", 501),
        ("CREATE", "log", "log/DEFAULT", 501),
    ] {
        let refusal = refused(&request(operation, entity, identity));
        assert_eq!(refusal.0, status, "{operation} {entity}: {}", refusal.1);
    }
    let both = texts(&[
        ("operation", "READ"),
        ("type", "listener"),
        ("name", "ir"),
        ("identity", "other"),
    ]);
    assert_eq!(
        refused(&both),
        (400, "Conflicting name=ir identity=other".to_owned())
    );
}
