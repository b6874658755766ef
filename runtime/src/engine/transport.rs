//! HTTP/1.1 to an engine's socket: one connection per request, a deadline and a size limit for every answer.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use model::Platform;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Endpoint, EngineError};

/// Time for calls that only look or change records.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Time for calls that move an image or wait for a process.
pub(crate) const LONG_CALL_LIMIT: Duration = Duration::from_secs(300);

/// Listings of hosts with thousands of containers stay far below.
const MAX_ANSWER: usize = 32 << 20;
const CHUNK: usize = 64 << 10;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Way to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    platform: Platform,
    endpoint: Endpoint,
    url: String,
    root: bool,
}

/// Request under construction.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: Option<&'static str>,
    body: Body,
    limit: Duration,
}

/// Answer, completely read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) call: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Transport {
    pub(crate) fn new(platform: Platform, endpoint: Endpoint, root: bool) -> Self {
        let url = endpoint.to_string();
        Self {
            platform,
            endpoint,
            url,
            root,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// [`EngineError::Unavailable`] when nobody accepts the connection; HTTP errors are answers.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, EngineError> {
        let (name, limit) = (call.name(), call.limit);
        timeout(limit, self.exchange(call))
            .await
            .unwrap_or(Err(EngineError::Timeout { call: name, limit }))
    }

    async fn exchange(&self, call: Call) -> Result<Answer, EngineError> {
        match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                exchange_over(stream.map_err(|source| self.unavailable(source))?, call).await
            }
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                exchange_over(stream.map_err(|source| self.unavailable(source))?, call).await
            }
        }
    }

    fn unavailable(&self, source: io::Error) -> EngineError {
        EngineError::Unavailable {
            platform: self.platform,
            endpoint: self.url.clone(),
            root: self.root,
            source,
        }
    }
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into())
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into())
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into())
    }

    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            content_type: None,
            body: empty(),
            limit: CALL_LIMIT,
        }
    }

    pub(crate) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        let text = serde_json::to_vec(body).expect("request types have string keys only");
        self.content_type = Some("application/json");
        self.body = Full::from(text)
            .map_err(|never| match never {})
            .boxed_unsync();
        self
    }

    /// Streams a tar file as the body.
    pub(crate) async fn archive(mut self, path: &Path) -> Result<Self, EngineError> {
        let file = File::open(path).await.map_err(|source| EngineError::Io {
            call: format!("open {}", path.display()),
            source,
        })?;
        let frames = stream::try_unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let count = file.read_buf(&mut chunk).await?;
            io::Result::Ok((count > 0).then(|| (Frame::data(chunk.freeze()), file)))
        });
        self.content_type = Some("application/x-tar");
        self.body = Body::new(StreamBody::new(frames));
        Ok(self)
    }

    /// Method and path, for errors; bodies and queries may hold what users would not post.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn into_request(self) -> Result<Request<Body>, EngineError> {
        let call = self.name();
        let mut target = self.path;
        for (index, (key, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            target.push_str(&encode(value));
        }
        let mut request = Request::builder()
            .method(self.method)
            .uri(target)
            .header(HOST, "localhost")
            .header(CONNECTION, "close");
        if let Some(content_type) = self.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        request.body(self.body).map_err(|source| EngineError::Io {
            call,
            source: io::Error::other(source),
        })
    }
}

impl Answer {
    /// Text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body as JSON whatever the status.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        serde_json::from_slice(&self.body).map_err(|source| self.unreadable(source.to_string()))
    }

    pub(crate) fn unreadable(&self, reason: impl Into<String>) -> EngineError {
        EngineError::UnreadableAnswer {
            call: self.call.clone(),
            reason: reason.into(),
        }
    }

    /// Error with the engine's own message, which both APIs put into `message`.
    pub(crate) fn refusal(&self) -> EngineError {
        self.api_error(self.message())
    }

    pub(crate) fn api_error(&self, message: String) -> EngineError {
        EngineError::Api {
            call: self.call.clone(),
            status: self.status.as_u16(),
            message,
        }
    }

    pub(crate) fn message(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Refusal {
            message: String,
        }
        serde_json::from_slice::<Refusal>(&self.body).map_or_else(
            |_| {
                let text = String::from_utf8_lossy(&self.body);
                text.trim().chars().take(1000).collect()
            },
            |refusal| refusal.message,
        )
    }
}

/// Percent-encodes a path segment or query value.
pub(crate) fn encode(text: &str) -> String {
    encode_except(text, b":")
}

/// Percent-encodes an image reference, whose slashes the APIs take as they are.
pub(crate) fn encode_reference(text: &str) -> String {
    encode_except(text, b":/")
}

fn encode_except(text: &str, plain: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ if plain.contains(&byte) => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to a String"),
        }
    }
    encoded
}

/// Drives the connection beside the exchange, so that no task outlives the call.
async fn exchange_over<S>(stream: S, call: Call) -> Result<Answer, EngineError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = call.name();
    let failed = |source: io::Error| EngineError::Io {
        call: name.clone(),
        source,
    };
    let request = call.into_request()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| failed(io::Error::other(source)))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|source| failed(io::Error::other(source)))?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|source| failed(io::Error::other(source)))?;
        Ok(Answer {
            call: name.clone(),
            status,
            headers,
            body: body.to_bytes(),
        })
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let mut connected = true;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            // Its failure also ends the exchange, which then knows what was being read.
            _ = &mut connection, if connected => connected = false,
        }
    }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests;
