//! Why a question has no answer.

use std::{io, time::Duration};

use amqp::{
    Condition, DeliveryState,
    engine::{ConnectionError, EngineError},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there.
    #[error("no router is running at {endpoint}: {source}")]
    NotRunning {
        /// Socket path or address.
        endpoint: String,
        /// Cause.
        source: io::Error,
    },
    /// The connection cannot be made for another reason, or broke.
    #[error("connection to the router at {endpoint}: {source}")]
    Io {
        /// Socket path or address.
        endpoint: String,
        /// Cause.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the router at {endpoint} did not answer within {} s while {activity}", .limit.as_secs())]
    Timeout {
        /// Socket path or address.
        endpoint: String,
        /// What was waited for.
        activity: &'static str,
        /// How long.
        limit: Duration,
    },
    /// What answers there is no router, or a broken one.
    #[error("the router at {endpoint} broke the protocol: {source}")]
    Protocol {
        /// Socket path or address.
        endpoint: String,
        /// Cause.
        source: ConnectionError,
    },
    /// The router ended the connection.
    #[error("the router at {endpoint} closed the connection{}", because(.condition.as_ref()))]
    Closed {
        /// Socket path or address.
        endpoint: String,
        /// Reason that it gave.
        condition: Option<Condition>,
    },
    /// The router did not let the client send to the node, or could not deliver.
    #[error("'{address}' cannot be reached: {reason}")]
    Unreachable {
        /// Address of the node.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The node answered with an error.
    #[error("{operation} of '{entity}' at '{address}' failed with status {status}: {description}")]
    Refused {
        /// Address of the node.
        address: String,
        /// Operation asked for.
        operation: &'static str,
        /// Type of the entities.
        entity: String,
        /// As HTTP status codes.
        status: i64,
        /// The node's text.
        description: String,
    },
    /// The answer is not what the operation answers.
    #[error("'{address}' sent an answer that cannot be understood: {reason}")]
    Malformed {
        /// Address of the node.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection does not allow what is needed.
    #[error("the router at {endpoint} does not allow this: {source}")]
    Engine {
        /// Socket path or address.
        endpoint: String,
        /// Cause.
        source: EngineError,
    },
}

impl ClientError {
    pub(super) fn connect(endpoint: &str, source: io::Error) -> Self {
        let endpoint = endpoint.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Self::NotRunning { endpoint, source }
            }
            _ => Self::Io { endpoint, source },
        }
    }

    pub(super) fn malformed(address: &str, reason: &str) -> Self {
        Self::Malformed {
            address: address.to_owned(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn unreachable(address: &str, reason: &str) -> Self {
        Self::Unreachable {
            address: address.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Reason if the outcome means that the request did not arrive.
pub(super) fn not_delivered(state: &DeliveryState) -> Option<String> {
    match state {
        DeliveryState::Released | DeliveryState::Modified { .. } => {
            Some("no such router in the network".to_owned())
        }
        DeliveryState::Rejected(condition) => Some(
            condition
                .as_ref()
                .map_or_else(|| "the request was rejected".to_owned(), condition_text),
        ),
        DeliveryState::Accepted | DeliveryState::Received { .. } | DeliveryState::Other(_) => None,
    }
}

pub(super) fn condition_text(condition: &Condition) -> String {
    match &condition.description {
        Some(description) => format!("{} ({})", description, condition.condition),
        None => condition.condition.to_string(),
    }
}

fn because(condition: Option<&Condition>) -> String {
    condition.map_or_else(String::new, |condition| {
        format!(": {}", condition_text(condition))
    })
}
