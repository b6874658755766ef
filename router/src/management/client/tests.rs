//! The client against a router made of the engine and the management node.

use amqp::engine::ServerSasl;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

use super::{
    super::{
        Handled, handle,
        tests::{Router, whole},
    },
    *,
};
use crate::core::access::Access;

/// What the router does with senders to addresses that are not its own.
#[derive(Clone, Copy)]
enum Others {
    Refuse,
    Release,
    CloseConnection,
}

/// One connection of a router.
struct Peer {
    connection: Connection,
    router: Router,
    others: Others,
    /// The client's receiver.
    replies: Option<LinkId>,
    /// Senders to other addresses.
    foreign: Vec<LinkId>,
    partial: BytesMut,
    tag: u64,
}

impl Peer {
    async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
        mut stream: T,
        router: Router,
        others: Others,
    ) {
        let config = ConnectionConfig {
            open: Open {
                container_id: "ra".to_owned(),
                max_frame_size: 512,
                ..Open::default()
            },
            ..ConnectionConfig::default()
        };
        let connection = Connection::server(config, ServerSasl::anonymous(), Instant::now());
        let mut peer = Self {
            connection,
            router,
            others,
            replies: None,
            foreign: Vec::new(),
            partial: BytesMut::new(),
            tag: 0,
        };
        let mut input = BytesMut::new();
        while !peer.connection.is_closed() {
            if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                return;
            }
            peer.connection.receive(&mut input, Instant::now()).unwrap();
            while let Some(event) = peer.connection.poll_event() {
                peer.handle(event);
            }
            stream
                .write_all_buf(peer.connection.transmit())
                .await
                .unwrap();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Opened => self.connection.open(None),
            Event::Attached { link, attach, .. } => self.attached(link, *attach),
            Event::Transfer {
                link,
                delivery,
                payload,
                more,
                ..
            } => {
                self.partial.extend_from_slice(&payload);
                if !more {
                    let octets = self.partial.split().freeze();
                    self.request(link, delivery, &octets);
                }
            }
            Event::Detached { link, .. } => self.connection.detach(link, true, None),
            _ => {}
        }
    }

    fn attached(&mut self, link: LinkId, attach: Attach) {
        let mut reply = Attach {
            source: attach.source,
            target: attach.target,
            ..Attach::default()
        };
        if attach.role == Role::Receiver {
            if let Some(source) = &mut reply.source {
                source.address = Some("amqp:/_topo/0/ra/temp.1".to_owned());
            }
            reply.initial_delivery_count = Some(0);
            self.connection.accept(link, reply);
            self.replies = Some(link);
            return;
        }
        let address = reply
            .target
            .as_ref()
            .and_then(|target| target.address.clone());
        let own = address.as_deref() == Some("$management");
        match self.others {
            Others::Refuse if !own => {
                self.connection.refuse(
                    link,
                    Some(Condition::new("amqp:not-found", "no such address")),
                );
                return;
            }
            Others::CloseConnection if !own => {
                self.connection.close(Some(Condition::new(
                    "amqp:connection:forced",
                    "shutting down",
                )));
                return;
            }
            _ => {}
        }
        if !own {
            self.foreign.push(link);
        }
        self.connection.accept(link, reply);
        self.connection.grant(link, 5);
    }

    fn request(&mut self, link: LinkId, delivery: DeliveryKey, octets: &Bytes) {
        self.connection.add_credit(link, 1);
        if self.foreign.contains(&link) {
            self.connection
                .disposition(delivery, Some(DeliveryState::Released), true);
            return;
        }
        self.connection
            .disposition(delivery, Some(DeliveryState::Accepted), true);
        let request = Message::decode(octets).unwrap();
        let answer = match handle(&request, &self.router, Access::Full) {
            Some(Handled::Answer(answer)) => answer,
            Some(Handled::Query(query)) => whole(*query, &self.router),
            _ => panic!("a question has an answer"),
        };
        // an answer to something that nobody asked comes first
        let stale = Message {
            properties: Properties {
                correlation_id: Value::from("other"),
                ..answer.properties.clone()
            },
            ..answer.clone()
        };
        for message in [stale, answer] {
            let mut octets = BytesMut::new();
            message.encode(&mut octets);
            self.tag += 1;
            let replies = self.replies.unwrap();
            let delivery = self
                .connection
                .start_delivery(replies, &self.tag.to_be_bytes(), false)
                .unwrap();
            let mut body = VecDeque::from([octets.freeze()]);
            self.connection.send(delivery, &mut body, true, usize::MAX);
        }
    }
}

/// Runs a router on a loopback port.
async fn router(connections: u32, others: Others) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Peer::serve(
                stream,
                Router {
                    connections,
                    links: None,
                },
                others,
            ));
        }
    });
    address
}

#[tokio::test]
async fn rows_are_maps_of_attributes() {
    let address = router(3, Others::Refuse).await;
    let mut client = Client::connect_tcp(&address).await.unwrap();
    assert_eq!(client.router_id(), "ra");
    let rows = client.query("router.node", &["id", "cost"]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1]["id"], Value::from("rb"));
    assert_eq!(rows[1]["cost"], Value::Int(3));
    let rows = client
        .query("io.skupper.router.connector", &[])
        .await
        .unwrap();
    assert_eq!(rows[1]["connectionMsg"], Value::from("connection refused"));
    client.close().await;
}

#[tokio::test]
async fn many_rows_come_in_pages() {
    for connections in [1000, 1203] {
        let address = router(connections, Others::Refuse).await;
        let mut client = Client::connect_tcp(&address).await.unwrap();
        let rows = client.query("connection", &["identity"]).await.unwrap();
        let numbers: Vec<u32> = rows
            .iter()
            .map(|row| row["identity"].as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=connections).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_refused_question_leaves_the_connection_usable() {
    let address = router(1, Others::Refuse).await;
    let mut client = Client::connect_tcp(&address).await.unwrap();
    let error = client.query("toaster", &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "QUERY of 'toaster' at '$management' failed with status 400: \
         No such entity type 'io.skupper.router.toaster'"
    );
    let elsewhere = "amqp:/_topo/0/rz/$management";
    let error = client.query_at(elsewhere, "router", &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("'{elsewhere}' cannot be reached: no such address (amqp:not-found)")
    );
    assert_eq!(
        client.query("router", &["id"]).await.unwrap()[0]["id"],
        Value::from("ra")
    );
}

#[tokio::test]
async fn a_router_that_is_not_there_is_told() {
    let address = router(1, Others::Release).await;
    let mut client = Client::connect_tcp(&address).await.unwrap();
    for _ in 0..8 {
        let error = client
            .query_at("_topo/0/rz/$management", "router", &[])
            .await
            .unwrap_err();
        assert!(
            error.to_string().ends_with("no such router in the network"),
            "{error}"
        );
    }
    client.query("router", &["id"]).await.unwrap();
}

#[tokio::test]
async fn a_close_is_told_with_its_reason() {
    let address = router(1, Others::CloseConnection).await;
    let mut client = Client::connect_tcp(&address).await.unwrap();
    let error = client
        .query_at("_topo/0/rz/$management", "router", &[])
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the router at {address} closed the connection: shutting down (amqp:connection:forced)"
        )
    );
}

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("router.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        Peer::serve(
            stream,
            Router {
                connections: 0,
                links: None,
            },
            Others::Refuse,
        )
        .await;
    });
    let mut client = Client::connect_unix(&path).await.unwrap();
    assert!(client.query("connection", &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn nobody_there_is_not_running() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("router.sock");
    let error = Client::connect_unix(&path).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert!(error.to_string().contains("router.sock"), "{error}");
    // a socket that its router left behind
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(
        Client::connect_unix(&path).await,
        Err(ClientError::NotRunning { .. })
    ));
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    assert!(matches!(
        Client::connect_tcp(&free).await,
        Err(ClientError::NotRunning { .. })
    ));
}

#[tokio::test]
async fn silence_is_a_timeout_and_nonsense_an_error() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Client::connect_tcp(&silent.local_addr().unwrap().to_string())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let error = Client::connect_tcp(&address).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
}
