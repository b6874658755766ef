//! Asks routers for their entities.
//!
//! One connection, one dynamic reply address, one sender per node that is asked. Requests go one at a time.

mod answer;
mod error;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    path::Path,
    time::{Duration, Instant},
};

use amqp::{
    Condition, DeliveryState, Role, Value,
    engine::{
        ClientSasl, Connection, ConnectionConfig, ConnectionError, DeliveryKey, EngineError, Event,
        LinkId, SessionId,
    },
    message::{Body, Header, Message, Properties},
    performative::{Attach, Open, Source, Target},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

pub use self::{answer::Row, error::ClientError};
use self::{
    answer::rows,
    error::{condition_text, not_delivered},
};
use crate::{core::local::random_name, net::tls::Stream};

/// Time for connecting, and for the answer to one request.
const DEADLINE: Duration = Duration::from_secs(5);
/// Rows asked for at a time.
const PAGE: usize = 500;
/// A node that still has rows after so many pages does not count.
const MAX_PAGES: usize = 1000;
/// Largest answer in octets.
const MAX_ANSWER: usize = 16 << 20;
/// Answers that may be on the way.
const CREDIT: u32 = 10;
/// Address of the management node of the router that the client is connected to.
const LOCAL_NODE: &str = "$management";

/// A connection to the management node of a router, and through it to those of other routers.
///
/// The router ends a connection that is silent for its idle time (usually 16 s); connect anew for each round of
/// questions that are further apart.
#[derive(Debug)]
pub struct Client {
    endpoint: String,
    stream: Stream,
    connection: Connection,
    input: BytesMut,
    session: SessionId,
    replies: LinkId,
    reply_to: String,
    senders: BTreeMap<String, LinkId>,
    /// Part of an answer.
    partial: BytesMut,
    requests: u64,
}

impl Client {
    /// Connects to a router's Unix socket.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] if there is no socket or nobody listens on it; see [`ClientError`] for the others.
    pub async fn connect_unix(path: &Path) -> Result<Self, ClientError> {
        let endpoint = path.display().to_string();
        let connecting = async {
            let socket = UnixStream::connect(path).await;
            let socket = socket.map_err(|error| ClientError::connect(&endpoint, error))?;
            Self::open(endpoint.clone(), Stream::Unix(socket)).await
        };
        within(&endpoint, "connecting", connecting).await
    }

    /// Connects to a router's address, `host:port`, without TLS.
    ///
    /// # Errors
    /// See [`Self::connect_unix`].
    pub async fn connect_tcp(address: &str) -> Result<Self, ClientError> {
        let endpoint = address.to_owned();
        let connecting = async {
            let socket = TcpStream::connect(address).await;
            let socket = socket.map_err(|error| ClientError::connect(&endpoint, error))?;
            Self::open(endpoint.clone(), Stream::Plain(socket)).await
        };
        within(&endpoint, "connecting", connecting).await
    }

    /// Entities of a type (long or short name) of the router that the client is connected to. Each row has the
    /// attributes asked for; none asked for means all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn query(
        &mut self,
        entity: &str,
        attributes: &[&str],
    ) -> Result<Vec<Row>, ClientError> {
        self.query_at(LOCAL_NODE, entity, attributes).await
    }

    /// As [`Self::query`], of another router: `amqp:/_topo/0/<id>/$management` for an interior router,
    /// `amqp:/_edge/<id>/$management` for an edge router.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn query_at(
        &mut self,
        address: &str,
        entity: &str,
        attributes: &[&str],
    ) -> Result<Vec<Row>, ClientError> {
        let endpoint = self.endpoint.clone();
        let mut rows = Vec::new();
        for page in 0..MAX_PAGES {
            let asking = self.page(address, entity, attributes, page * PAGE);
            let more = within(&endpoint, "answering a question", asking).await?;
            let last = more.len() != PAGE;
            rows.extend(more);
            if last {
                break;
            }
        }
        Ok(rows)
    }

    /// Container id of the router that the client is connected to, its router id.
    pub fn router_id(&self) -> &str {
        self.connection
            .remote_open()
            .map_or("", |open| open.container_id.as_str())
    }

    /// Ends the connection in order. Dropping the client ends it as well.
    pub async fn close(mut self) {
        self.connection.close(None);
        let endpoint = self.endpoint.clone();
        let _ = within(&endpoint, "closing", self.flush()).await;
    }

    /// Exchanges Opens and sets up the reply address.
    async fn open(endpoint: String, stream: Stream) -> Result<Self, ClientError> {
        let container_id = format!("skupper-management-{}", random_name(15));
        let config = ConnectionConfig {
            open: Open {
                container_id,
                max_frame_size: 65_536,
                channel_max: 1,
                ..Open::default()
            },
            max_links: 1024,
            max_sessions: 1,
            ..ConnectionConfig::default()
        };
        let sasl = ClientSasl::Anonymous {
            trace: "skupper".to_owned(),
        };
        let mut client = Self {
            endpoint,
            stream,
            connection: Connection::client(config, sasl, Instant::now()),
            input: BytesMut::new(),
            session: SessionId(0),
            replies: LinkId(0),
            reply_to: String::new(),
            senders: BTreeMap::new(),
            partial: BytesMut::new(),
            requests: 0,
        };
        while client.event().await? != Event::Opened {}
        client.session = client.connection.begin();
        let receiver = Attach {
            name: format!("replies-{}", random_name(15)),
            role: Role::Receiver,
            source: Some(Source {
                dynamic: true,
                ..Source::default()
            }),
            target: Some(Target::default()),
            ..Attach::default()
        };
        client.replies = client.attach(receiver)?;
        client.connection.grant(client.replies, CREDIT);
        loop {
            match client.event().await? {
                Event::Attached { link, attach, .. } if link == client.replies => {
                    if let Some(address) = attach.source.and_then(|source| source.address) {
                        client.reply_to = address;
                        return Ok(client);
                    }
                }
                Event::Detached { link, error, .. } if link == client.replies => {
                    return Err(client.unreachable("a reply address", error.as_ref()));
                }
                _ => {}
            }
        }
    }

    fn attach(&mut self, attach: Attach) -> Result<LinkId, ClientError> {
        self.connection
            .attach(self.session, attach)
            .map_err(|source| self.engine_error(source))
    }

    /// Asks for one page of rows.
    async fn page(
        &mut self,
        address: &str,
        entity: &str,
        attributes: &[&str],
        offset: usize,
    ) -> Result<Vec<Row>, ClientError> {
        let names = attributes.iter().copied().map(Value::from).collect();
        let properties = [
            ("operation", Value::from("QUERY")),
            ("type", Value::from("org.amqp.management")),
            ("name", Value::from("self")),
            ("entityType", Value::String(long_name(entity))),
            ("offset", Value::from(offset as u64)),
            ("count", Value::from(PAGE as u64)),
        ];
        let body = Value::Map(vec![(Value::from("attributeNames"), Value::List(names))]);
        let answer = self.call(address, &properties, body).await?;
        rows(address, entity, answer)
    }

    /// Sends a request and waits for its answer.
    async fn call(
        &mut self,
        address: &str,
        properties: &[(&str, Value)],
        body: Value,
    ) -> Result<Message, ClientError> {
        let sender = self.sender(address).await?;
        self.requests += 1;
        let correlation_id = Value::String(self.requests.to_string());
        let request = Message {
            header: Some(Header::default()),
            properties: Properties {
                to: Some(address.to_owned()),
                reply_to: Some(self.reply_to.clone()),
                correlation_id: correlation_id.clone(),
                ..Properties::default()
            },
            application_properties: properties
                .iter()
                .map(|(key, value)| (Value::from(*key), value.clone()))
                .collect(),
            body: Body::Value(body),
            ..Message::default()
        };
        let delivery = self.send(sender, &request)?;
        loop {
            match self.event().await? {
                Event::Transfer {
                    link,
                    delivery,
                    first,
                    payload,
                    more,
                    settled,
                    aborted,
                    ..
                } if link == self.replies => {
                    if first {
                        self.partial.clear();
                    }
                    self.partial.extend_from_slice(&payload);
                    if self.partial.len() > MAX_ANSWER {
                        return Err(ClientError::malformed(address, "it is too large"));
                    }
                    if more {
                        continue;
                    }
                    let octets = self.partial.split().freeze();
                    self.acknowledge(delivery, settled);
                    if aborted {
                        continue;
                    }
                    let answer = Message::decode(&octets)
                        .map_err(|error| ClientError::malformed(address, &error.to_string()))?;
                    // answers to requests that were given up may still come
                    if answer.properties.correlation_id == correlation_id {
                        self.flush().await?;
                        return Ok(answer);
                    }
                }
                Event::Disposition {
                    delivery: settled,
                    state: Some(state),
                    ..
                } if settled == delivery => {
                    self.connection.disposition(delivery, None, true);
                    if let Some(reason) = not_delivered(&state) {
                        return Err(ClientError::unreachable(address, &reason));
                    }
                }
                Event::Detached { link, error, .. } if link == sender => {
                    self.forget(address, link);
                    return Err(self.unreachable(address, error.as_ref()));
                }
                _ => {}
            }
        }
    }

    /// A sender to the address with credit.
    async fn sender(&mut self, address: &str) -> Result<LinkId, ClientError> {
        let link = match self.senders.get(address) {
            Some(link) => *link,
            None => {
                let attach = Attach {
                    name: format!("requests-{}", random_name(15)),
                    role: Role::Sender,
                    source: Some(Source::default()),
                    target: Some(Target {
                        address: Some(address.to_owned()),
                        ..Target::default()
                    }),
                    initial_delivery_count: Some(0),
                    ..Attach::default()
                };
                let link = self.attach(attach)?;
                self.senders.insert(address.to_owned(), link);
                link
            }
        };
        while self.connection.credit(link) == 0 {
            match self.event().await? {
                Event::Detached {
                    link: gone, error, ..
                } if gone == link => {
                    self.forget(address, link);
                    return Err(self.unreachable(address, error.as_ref()));
                }
                _ => {}
            }
        }
        Ok(link)
    }

    fn forget(&mut self, address: &str, link: LinkId) {
        self.senders.remove(address);
        self.connection.detach(link, true, None);
    }

    fn send(&mut self, sender: LinkId, message: &Message) -> Result<DeliveryKey, ClientError> {
        let mut octets = BytesMut::new();
        message.encode(&mut octets);
        let tag = self.requests.to_be_bytes();
        let delivery = self
            .connection
            .start_delivery(sender, &tag, false)
            .map_err(|source| self.engine_error(source))?;
        let mut body: VecDeque<Bytes> = [octets.freeze()].into();
        // the session window is as open as the router makes it, a request is one frame
        self.connection.send(delivery, &mut body, true, usize::MAX);
        Ok(delivery)
    }

    fn acknowledge(&mut self, delivery: DeliveryKey, settled: bool) {
        if !settled {
            self.connection
                .disposition(delivery, Some(DeliveryState::Accepted), true);
        }
        self.connection.add_credit(self.replies, 1);
    }

    /// Next event of the connection; sends what is to be sent before waiting.
    async fn event(&mut self) -> Result<Event, ClientError> {
        loop {
            if !self.input.is_empty() {
                let received = self.connection.receive(&mut self.input, Instant::now());
                if let Err(source) = received {
                    let _ = self.flush().await;
                    return Err(self.protocol_error(source));
                }
            }
            match self.connection.poll_event() {
                Some(Event::Closed { error }) => {
                    let _ = self.flush().await;
                    return Err(self.closed(error));
                }
                Some(event) => return Ok(event),
                None => {}
            }
            self.flush().await?;
            let wait = self.connection.next_timeout().map_or(DEADLINE, |due| {
                due.saturating_duration_since(Instant::now())
            });
            match tokio::time::timeout(wait, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0)) => return Err(self.closed(None)),
                Ok(Ok(_)) => {}
                Ok(Err(source)) => return Err(self.io_error(source)),
                Err(_) => {
                    let handled = self.connection.handle_timeout(Instant::now());
                    handled.map_err(|source| self.protocol_error(source))?;
                }
            }
        }
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        let written = async {
            self.stream
                .write_all_buf(self.connection.transmit())
                .await?;
            self.stream.flush().await
        };
        match written.await {
            Ok(()) => {
                self.connection.note_transmitted(Instant::now());
                Ok(())
            }
            Err(source) => Err(self.io_error(source)),
        }
    }

    fn io_error(&self, source: io::Error) -> ClientError {
        ClientError::Io {
            endpoint: self.endpoint.clone(),
            source,
        }
    }

    fn protocol_error(&self, source: ConnectionError) -> ClientError {
        ClientError::Protocol {
            endpoint: self.endpoint.clone(),
            source,
        }
    }

    fn engine_error(&self, source: EngineError) -> ClientError {
        ClientError::Engine {
            endpoint: self.endpoint.clone(),
            source,
        }
    }

    fn closed(&self, condition: Option<Condition>) -> ClientError {
        ClientError::Closed {
            endpoint: self.endpoint.clone(),
            condition,
        }
    }

    fn unreachable(&self, address: &str, error: Option<&Condition>) -> ClientError {
        ClientError::unreachable(
            address,
            &error.map_or_else(|| "the router refused".to_owned(), condition_text),
        )
    }
}

/// C routers know some types by their long name only.
fn long_name(entity: &str) -> String {
    if entity.starts_with("io.") || entity.starts_with("org.") {
        entity.to_owned()
    } else {
        format!("io.skupper.router.{entity}")
    }
}

async fn within<T>(
    endpoint: &str,
    activity: &'static str,
    future: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(result) => result,
        Err(_) => Err(ClientError::Timeout {
            endpoint: endpoint.to_owned(),
            activity,
            limit: DEADLINE,
        }),
    }
}
