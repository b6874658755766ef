//! Health and metrics over HTTP.

use std::{convert::Infallible, fmt::Write as _, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::tls::{Stream, TlsProfiles, accept_tls};

/// Connections served at a time; above that new ones are closed.
const MAX_CONNECTIONS: usize = 64;
/// Time for a handshake and the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest request head in octets.
const MAX_HEAD: usize = 16 * 1024;

/// What is served.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// `/healthz` and `/readyz`.
    pub healthz: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// Serve HTTPS.
    pub tls: Option<HttpTls>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            healthz: true,
            metrics: true,
            tls: None,
        }
    }
}

/// TLS of the listener. The profile is looked up for each connection, so that new certificates are used at once.
#[derive(Clone, Debug)]
pub struct HttpTls {
    /// Profiles of the router.
    pub profiles: Arc<TlsProfiles>,
    /// Name of the listener's profile.
    pub profile: String,
    /// Clients must present a certificate.
    pub authenticate_peer: bool,
}

/// Prometheus type of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetricKind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What the listener tells of the router.
pub trait HttpState: Send + Sync {
    /// True unless the router cannot do its work any more and should be restarted.
    fn healthy(&self) -> bool {
        true
    }

    /// Whether the router serves now.
    ///
    /// # Errors
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;

    /// Metrics in the order in which they are shown.
    fn metrics(&self) -> Vec<(&'static str, MetricKind, u64)>;
}

/// Serves until cancelled; connections that are open then are dropped.
pub async fn serve(
    listener: TcpListener,
    options: HttpOptions,
    state: Arc<dyn HttpState>,
    cancel: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(connection(tcp, options.clone(), state.clone()));
                }
                Ok((_, peer)) => {
                    tracing::warn!(target: "router::net::http", %peer, "too many connections, closed");
                }
                Err(error) => {
                    tracing::warn!(target: "router::net::http", %error, "accept failed");
                    if !passes(&error) {
                        // out of descriptors or memory: others have to give some back first
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            },
        }
    }
}

/// Errors of one connection, not of the listener.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn connection(tcp: TcpStream, options: HttpOptions, state: Arc<dyn HttpState>) {
    let stream = match &options.tls {
        None => Stream::Plain(tcp),
        Some(tls) => {
            let config = match tls
                .profiles
                .server_config(&tls.profile, tls.authenticate_peer)
            {
                Ok(config) => config,
                Err(error) => {
                    tracing::warn!(target: "router::net::http", %error, "no TLS");
                    return;
                }
            };
            match tokio::time::timeout(HEADER_TIMEOUT, accept_tls(tcp, config)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(target: "router::net::http", %error, "no connection");
                    return;
                }
                Err(_) => return,
            }
        }
    };
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = respond(request.method(), request.uri().path(), &options, &*state);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let serve = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, serve).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(target: "router::net::http", %error, "connection ended"),
    }
}

fn respond(
    method: &Method,
    path: &str,
    options: &HttpOptions,
    state: &dyn HttpState,
) -> Response<Full<Bytes>> {
    let known = match path {
        "/healthz" | "/readyz" => options.healthz,
        "/metrics" => options.metrics,
        _ => false,
    };
    if !known {
        return text(StatusCode::NOT_FOUND, "Not Found\n");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => text(StatusCode::OK, exposition(&state.metrics())),
        "/readyz" => match state.ready() {
            Ok(()) => text(StatusCode::OK, "OK\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        _ if state.healthy() => text(StatusCode::OK, "OK\n"),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "Unhealthy\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Prometheus text: a type line and a value line for each metric.
fn exposition(metrics: &[(&'static str, MetricKind, u64)]) -> String {
    let mut text = String::with_capacity(metrics.len() * 80);
    for (name, kind, value) in metrics {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{
        super::tls::{connect_tls, tests::usual},
        *,
    };

    struct Router {
        ready: Result<(), String>,
        healthy: bool,
    }

    impl HttpState for Router {
        fn healthy(&self) -> bool {
            self.healthy
        }

        fn ready(&self) -> Result<(), String> {
            self.ready.clone()
        }

        fn metrics(&self) -> Vec<(&'static str, MetricKind, u64)> {
            vec![
                ("qdr_connections_total", MetricKind::Gauge, 3),
                ("qdr_accepted_deliveries_total", MetricKind::Counter, 29),
            ]
        }
    }

    async fn start(options: HttpOptions, router: Router) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        tokio::spawn(serve(listener, options, Arc::new(router), cancel.clone()));
        (address, cancel)
    }

    async fn ask(address: SocketAddr, request: &str) -> (String, String) {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn health_is_told_as_c_routers_do() {
        let router = Router {
            ready: Err("no listener yet".to_owned()),
            healthy: true,
        };
        let (address, _cancel) = start(HttpOptions::default(), router).await;
        let (head, body) = ask(address, "GET /healthz").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("\r\ncontent-type: text/plain") && head.contains("\r\ncontent-length: 3"),
            "{head}"
        );
        assert_eq!(body, "OK\n");
        let (head, body) = ask(address, "GET /readyz?verbose").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "no listener yet\n");
        let (head, body) = ask(address, "HEAD /healthz").await;
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(),
            "{head}"
        );

        let router = Router {
            ready: Ok(()),
            healthy: false,
        };
        let (address, _cancel) = start(HttpOptions::default(), router).await;
        assert!(
            ask(address, "GET /healthz")
                .await
                .0
                .starts_with("HTTP/1.1 503 ")
        );
        assert_eq!(ask(address, "GET /readyz").await.1, "OK\n");
    }

    #[tokio::test]
    async fn metrics_are_type_and_value_lines() {
        let router = Router {
            ready: Ok(()),
            healthy: true,
        };
        let (address, _cancel) = start(HttpOptions::default(), router).await;
        let (head, body) = ask(address, "GET /metrics").await;
        assert!(
            head.contains("content-type: text/plain") && head.contains("connection: close"),
            "{head}"
        );
        assert_eq!(
            body,
            "# TYPE qdr_connections_total gauge\nqdr_connections_total 3\n\
             # TYPE qdr_accepted_deliveries_total counter\nqdr_accepted_deliveries_total 29\n"
        );
    }

    #[tokio::test]
    async fn with_a_profile_only_tls_is_served() {
        let (_authority, profiles) = usual();
        let profiles = Arc::new(profiles);
        let options = HttpOptions {
            tls: Some(HttpTls {
                profiles: profiles.clone(),
                profile: "server".to_owned(),
                authenticate_peer: true,
            }),
            ..HttpOptions::default()
        };
        let router = Router {
            ready: Ok(()),
            healthy: true,
        };
        let (address, _cancel) = start(options, router).await;
        let config = profiles.client_config("client", true).unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut tls = connect_tls(tcp, "127.0.0.1", config).await.unwrap();
        tls.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nOK\n"), "{answer}");

        let mut plain = TcpStream::connect(address).await.unwrap();
        plain
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"));
    }

    #[tokio::test]
    async fn the_rest_is_refused() {
        let router = || Router {
            ready: Ok(()),
            healthy: true,
        };
        let (address, _cancel) = start(HttpOptions::default(), router()).await;
        assert!(ask(address, "GET /").await.0.starts_with("HTTP/1.1 404 "));
        let (head, _) = ask(address, "DELETE /metrics").await;
        assert!(
            head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"),
            "{head}"
        );
        let off = HttpOptions {
            healthz: false,
            metrics: false,
            tls: None,
        };
        let (address, _cancel) = start(off, router()).await;
        for path in ["GET /healthz", "GET /readyz", "GET /metrics"] {
            assert!(ask(address, path).await.0.starts_with("HTTP/1.1 404 "));
        }
    }

    #[tokio::test]
    async fn silent_clients_do_not_keep_others_out_for_long() {
        let router = Router {
            ready: Ok(()),
            healthy: true,
        };
        let (address, _cancel) = start(HttpOptions::default(), router).await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        let mut octet = [0; 1];
        assert!(matches!(refused.read(&mut octet).await, Ok(0) | Err(_)));
        // each of the silent ones is ended by the router
        for tcp in &mut silent {
            let mut answer = Vec::new();
            let ended =
                tokio::time::timeout(HEADER_TIMEOUT * 2, tcp.read_to_end(&mut answer)).await;
            assert!(ended.is_ok());
        }
        assert_eq!(ask(address, "GET /healthz").await.1, "OK\n");
    }

    #[tokio::test]
    async fn cancelling_closes_listener_and_connections() {
        let router = Router {
            ready: Ok(()),
            healthy: true,
        };
        let (address, cancel) = start(HttpOptions::default(), router).await;
        let mut open = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(address, "GET /healthz").await.1, "OK\n");
        cancel.cancel();
        let mut octet = [0; 1];
        assert!(matches!(open.read(&mut octet).await, Ok(0) | Err(_)));
        assert!(TcpStream::connect(address).await.is_err());
    }
}
