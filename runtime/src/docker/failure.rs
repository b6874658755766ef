//! Deadlines and errors of `bollard` calls in our terms.

use std::future::Future;
use std::io;
use std::time::Duration;

use bollard::errors::Error;
use model::Platform;
use tokio::time::timeout;

use crate::engine::transport::{CALL_LIMIT, Transport};
use crate::engine::{EngineError, ObjectKind};

/// Client with what its errors must tell.
#[derive(Debug)]
pub(super) struct Calls {
    /// For the calls that `bollard` cannot express.
    pub(super) transport: Transport,
    pub(super) client: bollard::Docker,
    root: bool,
}

impl Calls {
    pub(super) fn new(transport: Transport, client: bollard::Docker, root: bool) -> Self {
        Self {
            transport,
            client,
            root,
        }
    }

    /// Settles the API version both sides know.
    pub(super) async fn negotiate(&mut self) -> Result<(), EngineError> {
        let client = self.client.clone();
        self.client = self.run("version", client.negotiate_version()).await?;
        Ok(())
    }

    /// Awaits a call that only looks or changes records.
    pub(super) async fn run<T>(
        &self,
        call: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        self.run_within(CALL_LIMIT, call, future).await
    }

    pub(super) async fn run_within<T>(
        &self,
        limit: Duration,
        call: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        match timeout(limit, future).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.translate(call, limit, error)),
            Err(_) => Err(EngineError::Timeout {
                call: call.to_owned(),
                limit,
            }),
        }
    }

    /// Awaits a look-up, for which "not found" is an answer.
    pub(super) async fn look_up<T>(
        &self,
        call: &str,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, EngineError> {
        match self.run(call, future).await {
            Ok(value) => Ok(Some(value)),
            Err(EngineError::Api { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn translate(&self, call: &str, limit: Duration, error: Error) -> EngineError {
        let call = call.to_owned();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => EngineError::Api {
                call,
                status: status_code,
                message,
            },
            Error::DockerStreamError { error } => EngineError::Api {
                call,
                status: 200,
                message: error,
            },
            Error::RequestTimeoutError => EngineError::Timeout { call, limit },
            Error::JsonDataError { message, .. } => EngineError::UnreadableAnswer {
                call,
                reason: message,
            },
            Error::JsonSerdeError { err } => EngineError::UnreadableAnswer {
                call,
                reason: err.to_string(),
            },
            Error::IOError { err } => EngineError::Io { call, source: err },
            Error::HyperLegacyError { err } if err.is_connect() => {
                connecting(&self.transport, self.root, Error::HyperLegacyError { err })
            }
            other => EngineError::Io {
                call,
                source: io::Error::other(other),
            },
        }
    }
}

/// Error of a connection that was not made.
pub(super) fn connecting(transport: &Transport, root: bool, error: Error) -> EngineError {
    let source = match error {
        Error::IOError { err } => err,
        Error::SocketNotFoundError(_) => io::Error::from(io::ErrorKind::NotFound),
        other => io::Error::other(other),
    };
    EngineError::Unavailable {
        platform: Platform::Docker,
        endpoint: transport.url().to_owned(),
        root,
        source,
    }
}

/// Gives 404 and 409 their object.
pub(super) fn about(kind: ObjectKind, name: &str) -> impl Fn(EngineError) -> EngineError {
    move |error| match error {
        EngineError::Api { status: 404, .. } => EngineError::NotFound {
            kind,
            name: name.to_owned(),
        },
        EngineError::Api {
            status: 409,
            message,
            ..
        } => EngineError::Conflict {
            kind,
            name: name.to_owned(),
            reason: message,
        },
        other => other,
    }
}
