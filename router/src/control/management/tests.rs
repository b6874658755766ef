//! The control task while it answers management.

use std::collections::{BTreeMap, VecDeque};

use amqp::{
    Value,
    engine::LinkId,
    message::{Body, Properties},
};
use model::router_config::RouterConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{super::Adaptors, *};
use crate::{
    adaptor::tcp::TcpListener,
    core::{
        address::AddressSpace,
        connection::{ConnectionRole, tests::peer},
        connection_message::ConnectionMessage,
        control_message::ControlMessage,
        flows::{FlowGuard, FlowPeer},
        inbox::Inbox,
        local::LocalTarget,
        shared::Shared,
    },
    management::Change,
    net::tls::TlsProfiles,
};

/// A control task that runs, and a connection of it.
struct Running {
    shared: Arc<Shared>,
    peer: Arc<ConnectionHandle>,
    reply_to: String,
    cancel: CancellationToken,
    _changes: mpsc::Receiver<Box<Change>>,
}

impl Running {
    async fn start() -> Self {
        let space = AddressSpace {
            id: "r".to_owned(),
            edge: false,
        };
        let shared = Arc::new(Shared::new(space, Vec::new()));
        let config = RouterConfig::parse(r#"[["router", {"id": "r", "mode": "interior"}]]"#);
        let (changes, wanted) = mpsc::channel(1);
        let control = Control::new(
            shared.clone(),
            Arc::new(config.unwrap().config),
            Adaptors::default(),
            changes,
            Arc::default(),
        );
        let cancel = CancellationToken::new();
        tokio::spawn(control.run(cancel.clone()));
        let mut peer = peer(None, false);
        peer.inbox = Arc::new(Inbox::new(1000));
        peer.role = ConnectionRole::Normal;
        let peer = Arc::new(peer);
        shared.tell(ControlMessage::ConnectionUp(peer.clone()));
        let target = LocalTarget::Link(peer.clone(), LinkId(0));
        let reply_to = format!("amqp:/_topo/0/r/{}", shared.local.register(target));
        let running = Self {
            shared,
            peer,
            reply_to,
            cancel,
            _changes: wanted,
        };
        assert_eq!(running.told().await, ["handled"]);
        running
    }

    /// So many flows.
    fn flows(&self, count: u16) -> Vec<FlowGuard> {
        let profiles = Arc::new(TlsProfiles::new(&BTreeMap::new()));
        let listener = model::router_config::TcpListener::new("l", "svc", 1);
        let listener = Arc::new(TcpListener::new(&listener, &profiles, None));
        let client = |port| {
            FlowPeer::Client(
                listener.clone(),
                ([127, 0, 0, 1], port).into(),
                "svc".into(),
            )
        };
        (0..count)
            .map(|port| self.shared.begin_flow(client(port)))
            .collect()
    }

    fn ask(&self, entity: &str) {
        let property = |name: &str, value: &str| (Value::from(name), Value::from(value));
        let request = Message {
            properties: Properties {
                reply_to: Some(self.reply_to.clone()),
                ..Properties::default()
            },
            application_properties: vec![
                property("operation", "QUERY"),
                property("entityType", entity),
            ],
            body: Body::Value(Value::Map(Vec::new())),
            ..Message::default()
        };
        let mut octets = BytesMut::new();
        request.encode(&mut octets);
        let delivery = Delivery::new(Annotations::default(), Some(self.peer.id), false, 4);
        delivery.push(octets.freeze());
        delivery.finish(false);
        let request = Request::new(self.peer.id, Access::Read, Arc::new(delivery));
        self.shared.requests.add(request).unwrap();
    }

    /// What the connection's driver is told next.
    async fn told(&self) -> Vec<&'static str> {
        let mut told = VecDeque::new();
        self.peer.inbox.drain(&mut told).await;
        told.into_iter()
            .map(|message| match message {
                ConnectionMessage::Command(Command::Handled(_)) => "handled",
                ConnectionMessage::Deliver { delivery, .. } => {
                    let parts = delivery.take(|chunks, _, _| chunks.drain(..).collect::<Vec<_>>());
                    let answer = Message::decode(&parts.concat().into()).unwrap();
                    let Body::Value(body) = answer.body else {
                        panic!("no value")
                    };
                    match body.get("results").and_then(Value::as_list).map(<[_]>::len) {
                        Some(2_000) => "2000 rows",
                        Some(4_000) => "4000 rows",
                        other => panic!("{other:?} rows"),
                    }
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[tokio::test]
async fn control_work_is_done_between_the_rows_of_a_large_table() {
    let running = Running::start().await;
    let _flows = running.flows(2_000);
    for (entity, rows) in [("tcpConnection", "2000 rows"), ("router.link", "4000 rows")] {
        running.ask(entity);
        // Until the request has been taken up.
        while !running.shared.requests.is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            running
                .shared
                .tell(ControlMessage::MeshChanged(running.peer.id));
            assert_eq!(running.told().await, ["handled"], "{entity}");
        }
        assert_eq!(running.told().await, [rows]);
    }
    running.cancel.cancel();
}

#[tokio::test]
async fn an_answer_is_not_made_to_its_end_for_who_is_gone() {
    let running = Running::start().await;
    let flows = running.flows(2_000);
    running.ask("tcpConnection");
    let flow = flows.last().unwrap().flow().clone();
    // The rows to come hold on to what they show.
    let holders = Arc::strong_count(&flow);
    while Arc::strong_count(&flow) == holders {
        tokio::task::yield_now().await;
    }
    drop(flows);
    let id = running.peer.id;
    running.shared.tell(ControlMessage::ConnectionDown(id));
    while Arc::strong_count(&flow) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(running.peer.inbox.close().is_empty());
    running.cancel.cancel();
}
