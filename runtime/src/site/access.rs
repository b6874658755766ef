//! Questions to running routers: AMQP management over a router's Unix socket.

mod amqp;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;

use serde_json::Value;
use thiserror::Error;

pub use self::amqp::AmqpAccess;

/// A boxed future, so that the traits here work as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One row of a query: attribute name to value. Attributes without a value are `null`.
pub type Row = BTreeMap<String, Value>;

/// Whose management node answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Agent<'a> {
    /// The router at the other end of the socket.
    Local,
    /// An interior router of the network, by id.
    Interior(&'a str),
    /// An edge router of the network, by id.
    Edge(&'a str),
}

/// Why a router could not be asked.
#[derive(Debug, Error)]
pub enum AccessError {
    #[error("the router is not running (nothing answers on {socket})")]
    NotRunning { socket: String },
    #[error("the router does not answer: {reason}")]
    NoAnswer { reason: String },
    #[error("router {router} can't be reached from here: {reason}")]
    Unreachable { router: String, reason: String },
}

/// Opens sessions with routers. The real one is [`AmqpAccess`]; tests have their own.
pub trait RouterAccess: Debug + Send + Sync {
    fn open<'a>(
        &'a self,
        socket: &'a Path,
    ) -> BoxFuture<'a, Result<Box<dyn RouterSession>, AccessError>>;
}

/// One management connection.
pub trait RouterSession: Send {
    /// All rows of an entity type, with at least the named attributes.
    fn query<'a>(
        &'a mut self,
        agent: Agent<'a>,
        entity: &'a str,
        attributes: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<Row>, AccessError>>;
}
