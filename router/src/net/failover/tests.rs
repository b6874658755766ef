use super::*;

fn url(text: &str) -> AmqpUrl {
    text.parse().unwrap()
}

fn urls(texts: &[&str]) -> Vec<AmqpUrl> {
    texts.iter().map(|text| url(text)).collect()
}

fn key(text: &'static str) -> Value {
    Value::Symbol(Symbol::from_static(text))
}

fn open(properties: Vec<(Value, Value)>) -> Open {
    Open {
        properties,
        ..Open::default()
    }
}

fn told(value: Value) -> Told {
    let version = (key("version"), Value::from("1"));
    Told::read(&open(vec![version, (key(PROPERTY), value)]))
}

fn entry(host: Value, port: Value) -> Value {
    Value::Map(vec![(key(HOST), host), (key(PORT), port)])
}

fn list(servers: &Servers) -> String {
    AmqpUrl::list(&servers.list())
}

#[test]
fn what_a_listener_tells_is_what_a_connector_reads() {
    let list = urls(&["a:1", "amqps://b:2", "[2001:db8::1]:3"]);
    let found = Told::read(&open(vec![property(&list).unwrap()]));
    assert_eq!(
        found,
        Told {
            servers: Some(list),
            oddity: None
        }
    );
    assert_eq!(property(&[]), None);
    assert_eq!(Told::read(&open(Vec::new())), Told::default());
}

#[test]
fn ports_come_as_texts_numbers_and_not_at_all() {
    let host = || Value::from("h");
    let bare = Value::Map(vec![(key(HOST), host())]);
    let secure = Value::Map(vec![(key(SCHEME), "amqps".into()), (key(HOST), host())]);
    for (item, expected) in [
        (entry(host(), "7".into()), "amqp://h:7"),
        (entry(host(), Value::Int(7)), "amqp://h:7"),
        (entry(host(), Value::Ushort(7)), "amqp://h:7"),
        (entry(host(), "amqps".into()), "amqp://h:5671"),
        (entry(host(), Value::Null), "amqp://h:5672"),
        (bare, "amqp://h:5672"),
        (secure, "amqps://h:5671"),
    ] {
        let found = told(Value::List(vec![item]));
        assert_eq!(
            found,
            Told {
                servers: Some(urls(&[expected])),
                oddity: None
            }
        );
    }
}

#[test]
fn nonsense_is_named_and_leaves_what_is_known() {
    let host = || Value::from("h");
    for value in [
        Value::Null,
        "h:1".into(),
        Value::Map(vec![(key(HOST), host())]),
        Value::List(vec![Value::Null]),
        Value::List(vec![Value::Map(Vec::new())]),
        Value::List(vec![Value::Map(vec![("network-host".into(), host())])]),
        Value::List(vec![entry(Value::Null, "1".into())]),
        Value::List(vec![entry("".into(), "1".into())]),
        Value::List(vec![entry("a b".into(), "1".into())]),
        Value::List(vec![entry("h".repeat(5000).into(), "1".into())]),
        Value::List(vec![entry(host(), Value::Int(-1))]),
        Value::List(vec![entry(host(), Value::Int(0))]),
        Value::List(vec![entry(host(), Value::Ulong(65_536))]),
        Value::List(vec![entry(host(), "x".into())]),
        Value::List(vec![entry(host(), Value::List(Vec::new()))]),
        Value::List(vec![Value::Map(vec![
            (key(HOST), host()),
            (key(SCHEME), "http".into()),
        ])]),
    ] {
        let found = told(value.clone());
        assert_eq!(found.servers, None, "{value:?}");
        let reason = found.oddity.unwrap();
        assert!(reason.len() < 200, "{reason}");
    }
    // What is usable beside it is used.
    let found = told(Value::List(vec![Value::Null, entry(host(), "1".into())]));
    assert_eq!(found.servers, Some(urls(&["h:1"])));
    assert!(found.oddity.is_some());
    // A key that is no symbol ends what is read.
    let properties = vec![
        ("x".into(), Value::Null),
        property(&urls(&["h:1"])).unwrap(),
    ];
    assert_eq!(Told::read(&open(properties)), Told::default());
}

#[test]
fn only_so_many_servers_are_remembered() {
    let entries = (1..1000).map(|port| entry("h".into(), Value::Int(port)));
    let found = told(Value::List(entries.collect()));
    assert_eq!(found.servers.unwrap().len(), MAX_FAILOVER_URLS);
    assert!(found.oddity.unwrap().contains("32 servers"));
    let found = told(Value::List(vec![entry("h".into(), Value::Int(1)); 1000]));
    assert_eq!(
        found,
        Told {
            servers: Some(urls(&["h:1"])),
            oddity: None
        }
    );
}

#[test]
fn a_server_that_worked_gets_another_chance_then_the_others_have_their_turn() {
    let mut servers = Servers::new(url("own:1"));
    assert_eq!(servers.ended(false), Next::Again);
    assert!(servers.opened(urls(&["b:2", "OWN:1", "c:3"])));
    assert_eq!(list(&servers), "amqp://own:1, amqp://b:2, amqp://c:3");
    assert_eq!(servers.ended(true), Next::Again);
    assert_eq!(*servers.current(), url("own:1"));
    assert_eq!(servers.ended(false), Next::Another);
    assert_eq!(*servers.current(), url("b:2"));
    assert_eq!(servers.ended(false), Next::Another);
    assert_eq!(list(&servers), "amqp://c:3, amqp://own:1, amqp://b:2");
    // All were tried: time for a longer pause.
    assert_eq!(servers.ended(false), Next::Again);
    assert_eq!(*servers.current(), url("own:1"));
}

#[test]
fn a_new_list_replaces_the_old_one_but_for_the_own_server_and_the_one_in_use() {
    let mut servers = Servers::new(url("own:1"));
    servers.opened(urls(&["b:2", "c:3"]));
    servers.ended(false);
    assert!(servers.opened(urls(&["d:4", "b:2"])));
    assert_eq!(list(&servers), "amqp://b:2, amqp://d:4, amqp://own:1");
    assert!(!servers.opened(urls(&["d:4"])), "nothing new");
    assert!(servers.opened(Vec::new()));
    assert_eq!(list(&servers), "amqp://b:2, amqp://own:1");
}
