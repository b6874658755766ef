//! `skupper demo-backend`: the small HTTP server behind the demo's service.
//!
//! `GET /` greets, `GET /bytes/<n>` sends n bytes.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::args::cobra;
use crate::error::CommandError;
use crate::session::Session;

/// First word of the greeting, by which the demo knows its own backend
pub(super) const GREETING: &str = "Hello";
/// Most that `/bytes/<n>` sends
const MOST_BYTES: usize = 64 << 20;
/// Connections served at a time
const MOST_CONNECTIONS: usize = 64;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Address and port to listen on
    #[arg(long, value_name = "string", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Where the server says it is
    #[arg(long, value_name = "string", default_value = "east")]
    place: String,
    /// Leave the terminal's session, so that the server outlives it
    #[arg(long)]
    detach: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CommandError> {
    cobra::no_words("demo-backend", &arguments.words)?;
    if arguments.detach {
        rustix::process::setsid()
            .map_err(|error| CommandError::failed(format!("could not detach: {error}")))?;
    }
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        CommandError::failed(format!("could not listen on {}: {error}", arguments.listen))
    })?;
    let address = listener.local_addr().map_err(CommandError::failed)?;
    // The demo waits for this line to learn the port.
    session.ui.line(format!("listening on {address}"));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = session.cancel.cancelled() => return Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                // A client that is gone before it was accepted is no reason to stop.
                let Ok((stream, _)) = accepted else { continue };
                let place = arguments.place.clone();
                connections.spawn(async move {
                    let answer = service_fn(move |request| {
                        let response = answer(&request, &place);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    // Errors are those of one client.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        }
    }
}

fn answer(request: &Request<Incoming>, place: &str) -> Response<Full<Bytes>> {
    let (status, body) = body(request.uri().path(), place);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

fn body(path: &str, place: &str) -> (StatusCode, Bytes) {
    if path == "/" {
        let process = std::process::id();
        return (
            StatusCode::OK,
            Bytes::from(format!(
                "{GREETING} from the {place}, from process {process}.\n"
            )),
        );
    }
    match path
        .strip_prefix("/bytes/")
        .and_then(|count| count.parse::<usize>().ok())
    {
        Some(count) if count <= MOST_BYTES => (StatusCode::OK, Bytes::from(vec![b'x'; count])),
        Some(_) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            Bytes::from_static(b"too much\n"),
        ),
        None => (StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert!(body("/", "east").1.starts_with(b"Hello from the east"));
        assert_eq!(body("/bytes/1000", "east").1.len(), 1000);
        assert_eq!(
            body("/bytes/99999999999", "east").0,
            StatusCode::PAYLOAD_TOO_LARGE
        );
        assert_eq!(body("/other", "east").0, StatusCode::NOT_FOUND);
        assert_eq!(body("/bytes/-1", "east").0, StatusCode::NOT_FOUND);
    }
}
