use crate::codec::DecodeError;
use crate::performative::Condition;
use crate::sasl::OutcomeCode;
use crate::types::Symbol;

pub(super) const FRAMING_ERROR: Symbol = Symbol::from_static("amqp:connection:framing-error");
pub(super) const DECODE_ERROR: Symbol = Symbol::from_static("amqp:decode-error");
pub(super) const INVALID_FIELD: Symbol = Symbol::from_static("amqp:invalid-field");
pub(super) const NOT_ALLOWED: Symbol = Symbol::from_static("amqp:not-allowed");
pub(super) const LIMIT_EXCEEDED: Symbol = Symbol::from_static("amqp:resource-limit-exceeded");
pub(super) const WINDOW_VIOLATION: Symbol = Symbol::from_static("amqp:session:window-violation");
pub(super) const HANDLE_IN_USE: Symbol = Symbol::from_static("amqp:session:handle-in-use");
pub(super) const UNATTACHED_HANDLE: Symbol = Symbol::from_static("amqp:session:unattached-handle");

/// Why the connection is over. What the peer should know is queued for transmission already.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConnectionError {
    #[error("peer sent no known protocol header but {0:02x?}")]
    UnknownProtocol([u8; 8]),
    #[error("peer does not use the SASL layer")]
    SaslRequired,
    #[error("peer insists on the SASL layer")]
    SaslUnexpected,
    #[error("no common SASL mechanism, peer offers {0:?}")]
    NoMechanism(Vec<Symbol>),
    #[error("authentication failed with outcome {0:?}")]
    Authentication(OutcomeCode),
    #[error("malformed SASL frame: {0}")]
    SaslFrame(DecodeError),
    #[error("unexpected SASL frame")]
    SaslSequence,
    /// The peer broke the protocol or a limit; it is told the condition in a Close.
    #[error("{0}")]
    Protocol(Condition),
}

impl ConnectionError {
    pub(super) fn protocol(condition: Symbol, description: impl Into<String>) -> Self {
        Self::Protocol(Condition::new(condition, description))
    }

    /// The error as an AMQP condition.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self {
            Self::Protocol(condition) => condition.clone(),
            Self::UnknownProtocol(_) => Condition::new(FRAMING_ERROR, self.to_string()),
            _ => Condition::new("amqp:unauthorized-access", self.to_string()),
        }
    }
}

impl From<DecodeError> for ConnectionError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::InvalidFrame => Self::protocol(FRAMING_ERROR, error.to_string()),
            _ => Self::protocol(DECODE_ERROR, error.to_string()),
        }
    }
}

/// Why a call cannot be done now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EngineError {
    #[error("session does not exist or has ended")]
    NoSession,
    #[error("link does not exist or is not attached at both ends")]
    NotAttached,
    #[error("link is not a sender")]
    NotSender,
    #[error("link has no credit")]
    NoCredit,
    #[error("link's previous delivery is not complete")]
    DeliveryInProgress,
    #[error("session has too many unsettled deliveries")]
    TooManyUnsettled,
    #[error("too many links")]
    TooManyLinks,
    #[error("a link of this name and role exists")]
    NameInUse,
    #[error("delivery tag is longer than 32 octets")]
    TagTooLong,
    #[error("connection is closed")]
    Closed,
}
