//! Odd properties of an Open.

use super::*;

/// Values of `failover-server-list` that no router sends.
fn oddities() -> Vec<Value> {
    let key = |text: &'static str| Value::Symbol(Symbol::from_static(text));
    let server = |host: Value| {
        Value::Map(vec![
            (key("network-host"), host),
            (key("port"), Value::Int(-1)),
        ])
    };
    vec![
        Value::Null,
        Value::from("10.0.0.1:5671"),
        Value::Int(7),
        Value::List(Vec::new()),
        Value::List(vec![Value::Int(1), Value::Null, Value::from("x")]),
        Value::List(vec![
            server(Value::from("")),
            server(Value::Null),
            server(Value::List(Vec::new())),
        ]),
        Value::List(vec![Value::Map(Vec::new()); 200]),
        Value::Map(vec![(Value::Null, Value::Null)]),
        Value::List(vec![server(Value::from("h".repeat(8_000)))]),
        Value::List(places(300)),
    ]
}

/// Proper places, far more than anybody needs, at which nobody listens.
fn places(count: u16) -> Vec<Value> {
    let key = |text: &'static str| Value::Symbol(Symbol::from_static(text));
    let place = |number| {
        Value::Map(vec![
            (key("network-host"), Value::from("127.0.0.1")),
            (key("port"), Value::Ushort(number)),
        ])
    };
    (1..=count).map(place).collect()
}

fn odd_open(value: Value) -> Vec<u8> {
    let key = Value::Symbol(Symbol::from_static("failover-server-list"));
    let open = Open {
        properties: vec![(key, value)],
        ..open("hostile")
    };
    frame(0, &Performative::Open(Box::new(open)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_properties_of_an_open_hurt_neither_listeners_nor_connectors() {
    let mut target = Attacked::new().await;
    for (len, refused) in [(1024, false), (1025, true)] {
        let mut peer = connect(target.clients).await;
        let open = Performative::Open(Box::new(open(&"x".repeat(len))));
        let octets = [AMQP, &frame(0, &open), &frame(0, &begin())].concat();
        peer.write_all(&octets).await.unwrap();
        let condition = b"amqp:resource-limit-exceeded";
        let mut answer = Vec::new();
        // A session that begins, or the end of the connection with its reason.
        within("an answer", SOON, async {
            let is_begin = |octets: &[u8]| octets == [0x00, 0x53, 0x11];
            while !answer.windows(3).any(is_begin) {
                if peer.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        })
        .await;
        let named = answer
            .windows(condition.len())
            .any(|octets| octets == condition);
        assert_eq!(named, refused, "{len} octets");
        if refused {
            over(&mut peer).await;
        }
    }
    for value in oddities() {
        for (port, before) in [
            (target.clients, AMQP.to_vec()),
            (target.routers, [SASL, ANONYMOUS, AMQP].concat()),
        ] {
            let mut peer = connect(port).await;
            let octets = [before, odd_open(value.clone())].concat();
            peer.write_all(&octets).await.unwrap();
            // It is answered by an Open of its own, whatever it thinks of this one.
            let mut answer = Vec::new();
            within("an answer", SOON, async {
                while !answer.windows(2).any(|octets: &[u8]| octets == b"r1") {
                    if peer.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
            })
            .await;
            assert!(answer.windows(2).any(|octets| octets == b"r1"), "{value:?}");
        }
    }
    // As a server that the router dials.
    let server = Backend::new();
    target.mesh.routers[1].reconfigure(|config| {
        config.put_connector(connector("hostile", server.port, Role::InterRouter));
    });
    for value in oddities() {
        let mut peer = server.accept().await;
        let mechanisms =
            b"\x00\x00\x00\x19\x02\x01\x00\x00\x00\x53\x40\xc0\x0c\x01\xa3\x09ANONYMOUS";
        peer.write_all(&[SASL, mechanisms].concat()).await.unwrap();
        let mut said = Vec::new();
        within("sasl-init", SOON, async {
            while !said.windows(9).any(|octets: &[u8]| octets == b"ANONYMOUS") {
                assert!(peer.read_buf(&mut said).await.unwrap() > 0);
            }
        })
        .await;
        let outcome = b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x00";
        let _ = peer
            .write_all(&[outcome, AMQP, &odd_open(value)].concat())
            .await;
        let _ = peer.write_all(&frame(0, &begin())).await;
        drop(peer);
    }
    let log = target.attacked().log();
    let lines = log
        .lines()
        .filter(|line| line.contains("failover-server-list is odd"))
        .count();
    // One a minute.
    assert!((1..oddities().len() / 2).contains(&lines), "{lines}");
    target
        .attacked()
        .until_connector("hostile", "FAILED", "")
        .await;
    target.unharmed().await;
}
