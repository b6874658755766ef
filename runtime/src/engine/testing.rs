//! Engine that answers as a test says: for answers the real ones give only when they fail.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use model::Platform;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::transport::Transport;
use super::{Endpoint, EngineEnvironment};

/// Version answer of a real Podman 5, shortened.
pub(crate) const PODMAN_VERSION: &str = r#"{"Platform":{"Name":"linux/amd64/debian-13"},
 "Components":[{"Name":"Podman Engine","Version":"5.4.2","Details":{"APIVersion":"5.4.2","MinAPIVersion":"4.0.0"}},
               {"Name":"Conmon","Version":"conmon version 2.1.12","Details":{"Package":"conmon"}}],
 "Version":"5.4.2","ApiVersion":"1.41","MinAPIVersion":"1.24"}"#;

/// Version answer of a real Docker, shortened.
pub(crate) const DOCKER_VERSION: &str = r#"{"Platform":{"Name":""},
 "Components":[{"Name":"Engine","Version":"20.10.24","Details":{"ApiVersion":"1.41","MinAPIVersion":"1.12"}}],
 "Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;

/// Served until dropped.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    directory: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl FakeEngine {
    /// `answer` gets "METHOD /path?query" and gives status and body.
    pub(crate) fn start(
        answer: impl Fn(&str) -> (u16, String) + Clone + Send + Sync + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (answer.clone(), Arc::clone(&seen));
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let line = format!("{} {}", request.method(), request.uri());
                    let (answer, seen) = (answer.clone(), Arc::clone(&seen));
                    async move {
                        let body = request.into_body().collect().await;
                        body.map_err(io::Error::other)?;
                        seen.lock().unwrap().push(line.clone());
                        let (status, body) = answer(&line);
                        let mut response = Response::new(Full::new(Bytes::from(body)));
                        *response.status_mut() = StatusCode::from_u16(status).unwrap();
                        io::Result::Ok(response)
                    }
                });
                // One request per connection, so serving them in turn is enough.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
        Self {
            directory,
            requests,
            server,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::new(Platform::Podman, Endpoint::Unix(self.socket()), false)
    }

    /// Request lines so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// User 1000 without any variable set.
pub(crate) fn user() -> EngineEnvironment {
    EngineEnvironment {
        uid: 1000,
        gid: 1000,
        xdg_runtime_dir: Some("/nonexistent".into()),
        ..EngineEnvironment::default()
    }
}
