//! The demo's own `curl`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// For one request, which crosses one link
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest reply that is read
const LONGEST: usize = 64 << 20;

/// `GET http://127.0.0.1:<port><path>`, the body of a reply with status 200
pub(super) async fn get(port: u16, path: &str) -> Result<Bytes, String> {
    match tokio::time::timeout(DEADLINE, exchange(port, path)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no reply within {DEADLINE:?}")),
    }
}

async fn exchange(port: u16, path: &str) -> Result<Bytes, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("could not connect to {address}: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::get(path)
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let reply = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok(body.to_bytes())
        } else {
            Err(format!("the reply has the status {status}"))
        }
    };
    tokio::pin!(connection);
    tokio::pin!(reply);
    // The connection has to be driven while the reply is awaited; when it ends first, the reply says why.
    tokio::select! {
        result = &mut reply => result,
        _ = &mut connection => reply.await,
    }
}
