//! Types, their attributes, and how entities are found.

use super::*;

#[test]
fn entities_are_found_by_name_or_identity() {
    let by_identity = texts(&[
        ("operation", "DELETE"),
        ("type", "connector"),
        ("identity", "connector/rb.example:55671:up"),
    ]);
    let expected = named(EntityKind::Connector, "up");
    assert!(matches!(&change(&by_identity).action, Action::Delete(key) if *key == expected));
    let update = changing(
        "UPDATE",
        "log",
        Some("log/ROUTER_HELLO"),
        &[
            ("enable", "debug+".into()),
            ("name", "log/ROUTER_HELLO".into()),
        ],
    );
    let module = named(EntityKind::Log, "ROUTER_HELLO");
    match &change(&update).action {
        Action::Update(key, attributes) => {
            assert_eq!((key, attributes.len()), (&module, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_its_name_alone_needs_no_type() {
    let changing = |operation: &str, name: &str| texts(&[("operation", operation), ("name", name)]);
    for (operation, name, kind) in [
        ("DELETE", "up", EntityKind::Connector),
        ("DELETE", "tl1", EntityKind::TcpListener),
        ("UPDATE", "log/SERVER", EntityKind::Log),
    ] {
        match handle(&changing(operation, name), &ROUTER, Access::Full).unwrap() {
            Handled::Change(change) => match change.action {
                Action::Delete(key) | Action::Update(key, _) => assert_eq!(key.kind(), kind),
                Action::Create(_) => panic!("nothing is made"),
            },
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(answer(&changing(operation, name)).0, 403, "{name}");
    }
    let (status, description) = refused(&changing("DELETE", "mine"));
    assert_eq!(status, 400);
    assert!(
        description.contains("sslProfile") && description.contains("proxyProfile"),
        "{description}"
    );
    assert_eq!(refused(&changing("DELETE", "nobody")).0, 404);
    let nameless = texts(&[("operation", "DELETE")]);
    assert_eq!(refused(&nameless).0, 400);
    let made = changing("CREATE", "new");
    assert_eq!(refused(&made), (400, "No type".to_owned()));
}

#[test]
fn there_is_always_a_network_and_a_policy() {
    let row = |entity: &str, attributes: &[&str]| {
        let (_, mut rows) = results(&query(entity, attributes, 0, 0));
        assert_eq!(rows.len(), 1, "{entity}");
        rows.remove(0)
    };
    assert_eq!(
        row("network", &["name", "networkId", "tenantId"]),
        list(["network/0".into(), Value::Null, Value::Null])
    );
    assert_eq!(
        row(
            "policy",
            &["connectionsProcessed", "connectionsDenied", "totalDenials"]
        ),
        list([Value::Int(9), Value::Int(2), Value::Int(3)])
    );
    let proxy = results(&query("proxyProfile", &[], 0, 0));
    assert!(!format!("{proxy:?}").contains("secret"));
    assert!(format!("{proxy:?}").contains("proxy.example"));
}

#[test]
fn the_schema_names_all_types() {
    let schema = answer(&texts(&[("operation", "GET-SCHEMA")])).2;
    let types = schema.get("entityTypes").unwrap();
    assert_eq!(types.as_map().unwrap().len(), entity::TYPES.len());
    let listener = types.get("tcpListener").unwrap();
    assert!(listener.get("attributes").unwrap().get("address").is_some());
    let Value::String(json) = answer(&texts(&[("operation", "GET-JSON-SCHEMA")])).2 else {
        panic!("no text")
    };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["prefix"], "io.skupper.router");
    assert_eq!(
        json["entityTypes"]["router.link"]["operations"],
        serde_json::json!(["READ"])
    );
}

#[test]
fn long_and_short_names_and_any_case_are_understood() {
    for name in ["router.address", "io.skupper.router.router.address"] {
        assert_eq!(
            results(&query(name, &["key"], 0, 0)).1,
            [list(["Msvc:1".into()])]
        );
    }
    let lower = texts(&[("operation", "read"), ("type", "router"), ("identity", "1")]);
    assert_eq!(answer(&lower).2.get("id"), Some(&Value::from("ra")));
    let metrics = query(
        "org.apache.qpid.dispatch.routerMetrics",
        &["type", "addrCount"],
        0,
        0,
    );
    assert_eq!(
        results(&metrics).1,
        [list([
            "org.apache.qpid.dispatch.routerMetrics".into(),
            Value::Ulong(7)
        ])]
    );
}

#[test]
fn unknown_attributes_are_answered_as_the_agents_of_c_routers_do() {
    let (names, rows) = results(&query("connection", &["dir", "bogus"], 0, 1));
    assert_eq!(names, ["dir", "name"]);
    assert_eq!(
        rows,
        [list(["in".into(), "connection/127.0.0.1:30001".into()])]
    );
    let (names, rows) = results(&query("listener", &["name", "bogus"], 0, 1));
    assert_eq!(names, ["name", "bogus"]);
    assert_eq!(rows, [list(["ir".into(), Value::Null])]);
}

#[test]
fn every_type_answers_with_all_its_attributes() {
    for entity in entity::TYPES {
        let (names, rows) = results(&query(entity.name, &[], 0, 0));
        assert_eq!(names, entity.attributes, "{}", entity.name);
        assert_eq!(names[..3], ["name", "identity", "type"]);
        for (row, made) in rows.iter().zip(entity.rows(&ROUTER)) {
            let columns: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
            assert_eq!(columns, entity.attributes, "{}", entity.name);
            assert_eq!(row.as_list().unwrap().len(), names.len());
        }
    }
    // of all types at once
    let all = texts(&[("operation", "QUERY")]);
    let (_, rows) = results(&all);
    assert!(rows.len() > 10);
}

#[test]
fn attributes_have_the_types_of_c_routers() {
    let read = |entity: &str, name: &str| {
        answer(&texts(&[
            ("operation", "READ"),
            ("type", entity),
            ("name", name),
        ]))
        .2
    };
    let router = read("router", "ra");
    assert_eq!(router.get("addrCount"), Some(&Value::Ulong(7)));
    assert_eq!(router.get("linksBlocked"), Some(&Value::Uint(1)));
    assert_eq!(router.get("workerThreads"), Some(&Value::Int(4)));
    assert_eq!(router.get("vanId"), Some(&Value::Null));
    assert_eq!(
        router.get("connectionCounters").unwrap().get("tcp"),
        Some(&Value::Ulong(2))
    );
    let connection = read("connection", "connection/127.0.0.1:30002");
    assert_eq!(connection.get("identity"), Some(&Value::from("2")));
    assert_eq!(
        connection.get("properties").unwrap().get("qd.conn-id"),
        Some(&Value::Int(9))
    );
    let listener = read("tcpListener", "tl1");
    assert_eq!(
        listener.get("identity"),
        Some(&Value::from("tcpListener/127.0.0.1:21056:tl1"))
    );
    assert_eq!(listener.get("bytesIn"), Some(&Value::Int(5)));
    assert_eq!(listener.get("bytesOut"), Some(&Value::Long(1 << 40)));
}

#[test]
fn configured_entities_show_their_state_and_no_secret() {
    let (names, rows) = results(&query(
        "connector",
        &["name", "connectionStatus", "connectionMsg", "failoverUrls"],
        0,
        0,
    ));
    assert_eq!(names.len(), 4);
    assert_eq!(
        rows,
        [
            list(["next".into(), "INITIALIZING".into(), "".into(), "".into()]),
            list([
                "up".into(),
                "FAILED".into(),
                "connection refused".into(),
                "amqp://h:1, amqp://h:2".into()
            ]),
        ]
    );
    let all: Vec<Value> = entity::TYPES
        .iter()
        .flat_map(|entity| results(&query(entity.name, &[], 0, 0)).1)
        .collect();
    assert!(!format!("{all:?}").contains("very secret"));
    let one =
        |entity: &str, attribute: &str| results(&query(entity, &[attribute], 0, 1)).1[0].clone();
    let logs = results(&query("log", &["module", "enable"], 0, 0)).1;
    assert!(logs.contains(&list(["ROUTER_CORE".into(), "error+".into()])));
    assert!(logs.contains(&list(["DEFAULT".into(), "default".into()])));
    assert_eq!(one("router.config.address", "prefix"), list(["mc".into()]));
    assert_eq!(
        one("sslProfile", "protocols"),
        list(["TLSv1.2 TLSv1.3".into()])
    );
    assert_eq!(one("site", "platform"), list(["podman".into()]));
}

#[test]
fn the_types_describe_themselves() {
    let describe = |operation: &str, entity: &str| {
        answer(&texts(&[("operation", operation), ("entityType", entity)])).2
    };
    let attributes = describe("GET-ATTRIBUTES", "router.node");
    let names = attributes
        .get("io.skupper.router.router.node")
        .unwrap()
        .as_list()
        .unwrap();
    assert!(names.contains(&Value::from("nextHop")));
    let operations = describe("GET-OPERATIONS", "listener");
    assert_eq!(
        operations.get("io.skupper.router.listener"),
        Some(&list([
            "CREATE".into(),
            "READ".into(),
            "UPDATE".into(),
            "DELETE".into()
        ]))
    );
    let operations = describe("GET-OPERATIONS", "router.address");
    assert_eq!(
        operations.get("io.skupper.router.router.address"),
        Some(&list(["READ".into()]))
    );
    let types = answer(&texts(&[("operation", "GET-TYPES")])).2;
    assert_eq!(
        types.as_map().unwrap().len(),
        entity::TYPES.len() + entity::BASES.len()
    );
    assert_eq!(
        answer(&texts(&[("operation", "GET-ANNOTATIONS")])).2,
        Value::Map(Vec::new())
    );
}

#[test]
fn types_that_sum_up_others_show_what_is_common() {
    let count = |entity: &str| {
        let (names, rows) = results(&query(entity, &[], 0, 0));
        assert_eq!(names, ["name", "identity", "type"]);
        rows.len()
    };
    assert_eq!(
        count("entity"),
        count("configurationEntity") + count("operationalEntity")
    );
    assert!(count("configurationEntity") > 10);
    // They are no entities beside their members.
    let (_, all) = results(&texts(&[("operation", "QUERY")]));
    assert_eq!(all.len(), count("entity"));
}

#[test]
fn the_node_is_an_entity_too() {
    let node = Value::from("io.skupper.router.management");
    let own = |properties: &[(&str, &str)]| answer(&texts(properties)).2;
    for read in [
        own(&[("operation", "READ")]),
        own(&[("operation", "READ"), ("identity", "self")]),
        own(&[
            ("operation", "READ"),
            ("type", "org.amqp.management"),
            ("name", "self"),
        ]),
    ] {
        assert_eq!(read.get("type"), Some(&node), "{read:?}");
    }
    let rows = results(&query("org.amqp.management", &["identity"], 0, 0)).1;
    assert_eq!(rows, [list(["self".into()])]);
    let rows = results(&query("vhostUserGroupSettings", &[], 0, 0)).1;
    assert!(rows.is_empty());
}
