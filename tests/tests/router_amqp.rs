//! AMQP clients of independent implementations (proton, in Python; fe2o3-amqp, in Rust) on two linked routers.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{path::Path, time::Duration};

use amqp::{
    engine::Event,
    performative::{Attach, Role as LinkRole, Source, Target},
};
use e2e::{
    Plan, SOON, TestRouter, did_not_run, environment,
    mesh::listener,
    peer::{Peer, states_pass},
    rows, within,
};
use fe2o3_amqp::{Connection, Receiver, Sender, Session, types::messaging::Outcome};
use model::router_config::{AddressEntity, Distribution, Role};
use tokio::process::Command;

const CASES: [&str; 12] = [
    "second_settlement",
    "outcomes",
    "presettled",
    "multicast",
    "large",
    "request",
    "management",
    "refusals",
    "resend",
    "unavailable",
    "stranded",
    "large_multicast",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_another_implementation_are_served() {
    let Some(python) = environment::python() else {
        did_not_run("no python3 with proton (SKUPPER_TEST_PYTHON)", false);
        return;
    };
    let mut plan = Plan::routers(2).secured().chain();
    let mut urls = Vec::new();
    for config in &mut plan.configs {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        config
            .addresses
            .push(AddressEntity::prefix("multicast", Distribution::Multicast));
        config
            .addresses
            .push(AddressEntity::prefix("closed", Distribution::Unavailable));
        urls.push(format!("amqp://127.0.0.1:{port}"));
    }
    let mesh = plan.start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/clients.py");
    for case in CASES {
        let mut command = Command::new(&python);
        command
            .arg(&script)
            .arg(case)
            .args(&urls)
            .kill_on_drop(true);
        let output = within(case, Duration::from_secs(60), command.output())
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{case}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    mesh.converged().await;
}

/// Octets that need many frames.
const LARGE: usize = 3_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_in_rust_get_messages_in_order_and_outcomes_back() {
    let mut plan = Plan::routers(2).secured().chain();
    let mut urls = Vec::new();
    for config in &mut plan.configs {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        urls.push(format!("amqp://127.0.0.1:{port}"));
    }
    let _mesh = plan.start().await;
    let mut far = Connection::open("far", urls[1].as_str()).await.unwrap();
    let mut far_session = Session::begin(&mut far).await.unwrap();
    let mut receiver = Receiver::attach(&mut far_session, "in", "orders")
        .await
        .unwrap();
    let mut near = Connection::open("near", urls[0].as_str()).await.unwrap();
    let mut near_session = Session::begin(&mut near).await.unwrap();
    let mut sender = Sender::attach(&mut near_session, "out", "orders")
        .await
        .unwrap();

    let receiving = tokio::spawn(async move {
        for index in 0..200 {
            let delivery = receiver.recv::<String>().await.unwrap();
            assert_eq!(*delivery.body(), format!("order {index}"));
            if index % 10 == 9 {
                receiver.reject(&delivery, None).await.unwrap();
            } else {
                receiver.accept(&delivery).await.unwrap();
            }
        }
        let delivery = receiver.recv::<String>().await.unwrap();
        assert_eq!(delivery.body().len(), LARGE);
        assert!(delivery.body().bytes().all(|octet| octet == b'x'));
        receiver.release(&delivery).await.unwrap();
        receiver
    });
    for index in 0..200 {
        let outcome = within("an outcome", SOON, sender.send(format!("order {index}")))
            .await
            .unwrap();
        let rejected = matches!(outcome, Outcome::Rejected(_));
        assert_eq!(rejected, index % 10 == 9, "{index}: {outcome:?}");
        assert!(
            rejected || matches!(outcome, Outcome::Accepted(_)),
            "{outcome:?}"
        );
    }
    let outcome = within("the large one", SOON, sender.send("x".repeat(LARGE)))
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Released(_)), "{outcome:?}");
    let receiver = within("the receiver is done", SOON, receiving)
        .await
        .unwrap();
    receiver.close().await.unwrap();
    sender.close().await.unwrap();
    far_session.end().await.unwrap();
    far.close().await.unwrap();
    near.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_may_ask_for_an_address_that_everybody_can_receive_from() {
    let mut plan = Plan::routers(2).chain();
    let mut ports = Vec::new();
    for config in &mut plan.configs {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        ports.push(port);
    }
    let _mesh = plan.start().await;
    let mut sender = Peer::connect(ports[0]).await;
    let session = sender.engine().begin();
    let attach = Attach {
        name: "to-wherever".to_owned(),
        role: LinkRole::Sender,
        source: Some(Source::default()),
        target: Some(Target {
            dynamic: true,
            ..Target::default()
        }),
        initial_delivery_count: Some(0),
        ..Attach::default()
    };
    let link = sender.engine().attach(session, attach).unwrap();
    let attached = sender
        .until(|event| matches!(event, Event::Attached { .. }))
        .await;
    let Event::Attached { attach, .. } = attached else {
        unreachable!("it was waited for");
    };
    let target = attach.target.unwrap();
    let address = target.address.unwrap();
    assert!(
        address.starts_with("amqp:/_$temp.") && target.dynamic,
        "{address}"
    );
    let mut receiver = Peer::connect(ports[1]).await;
    receiver.consume(&address).await;
    while sender.engine().credit(link) == 0 {
        sender.event().await;
    }
    let delivery = sender.start(link);
    sender
        .send(delivery, bytes::Bytes::from_static(b"\x00Sw@"), true)
        .await;
    let arrived = receiver
        .until(|event| matches!(event, Event::Transfer { .. }))
        .await;
    let Event::Transfer { payload, .. } = arrived else {
        unreachable!("it was waited for");
    };
    assert!(payload.ends_with(b"\x00Sw@"), "{payload:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_told_how_many_sessions_they_may_have() {
    let mut plan = Plan::routers(1);
    let mut ports = Vec::new();
    for (name, sessions) in [("few", 3), ("many", 32_768)] {
        let (mut clients, port) = listener(name, Role::Normal);
        clients.max_sessions = sessions;
        plan.configs[0].put_listener(clients);
        ports.push(port);
    }
    let _mesh = plan.start().await;
    for (port, highest) in ports.into_iter().zip([2, 1023]) {
        let mut peer = Peer::connect(port).await;
        let open = peer.engine().remote_open().unwrap();
        assert_eq!(open.channel_max, highest);
        // All that it names can be had: the peer's own session is the first.
        for _ in 0..highest.min(100) {
            peer.engine().begin();
            let begun = peer
                .until(|event| {
                    matches!(
                        event,
                        Event::SessionBegun { .. } | Event::SessionEnded { .. }
                    )
                })
                .await;
            assert!(matches!(begun, Event::SessionBegun { .. }), "{begun:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_distribution_of_an_address_is_told_to_other_routers() {
    let mut plan = Plan::routers(2).chain();
    let (clients, port) = listener("clients", Role::Normal);
    plan.configs[1].put_listener(clients);
    let mut mesh = plan.start().await;
    let mut consumer = Peer::connect(port).await;
    consumer.consume("news").await;
    let told = async {
        let mut shown = "balanced";
        for distribution in [Distribution::Multicast, Distribution::Closest] {
            until_distribution(&mesh.routers[0], "Mnews", shown).await;
            mesh.routers[1].reconfigure(|config| {
                config.addresses = vec![AddressEntity::prefix("news", distribution)];
            });
            shown = distribution.as_str();
        }
        until_distribution(&mesh.routers[0], "Mnews", shown).await;
    };
    // It stays connected meanwhile.
    tokio::select! {
        () = told => {}
        _ = consumer.events_within(4 * SOON) => panic!("it takes too long"),
    }
}

async fn until_distribution(router: &TestRouter, key: &str, wanted: &str) {
    let is = |found: &[_]| {
        found
            .iter()
            .any(|row| rows::text(row, "key") == key && rows::text(row, "distribution") == wanted)
    };
    router.until(wanted, "router.address", is).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sender_says_of_a_message_arrives_with_it() {
    let mut plan = Plan::routers(2).chain();
    let mut ports = Vec::new();
    for config in &mut plan.configs {
        let (clients, port) = listener("clients", Role::Normal);
        config.put_listener(clients);
        ports.push(port);
    }
    let _mesh = plan.start().await;
    states_pass(ports[0], ports[1], "orders").await;
    states_pass(ports[0], ports[0], "orders").await;
}
