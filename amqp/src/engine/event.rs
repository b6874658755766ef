use bytes::Bytes;

use crate::performative::{Attach, Condition, DeliveryState};

/// A session of one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub u32);

/// A link of one connection; not reused before both ends are detached.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u32);

/// A delivery of one connection, either direction; not reused before it is settled and complete.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryKey(pub u32);

/// What the peer did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The SASL exchange succeeded.
    Authenticated,
    /// The peer's Open arrived.
    Opened,
    /// Both Begins are exchanged; that of the engine, if it was missing, is queued.
    SessionBegun {
        session: SessionId,
        remote_initiated: bool,
    },
    /// Both Ends are exchanged, and the session with its links and deliveries is gone. A [`Detached`](Self::Detached)
    /// for each link that was still attached precedes.
    SessionEnded {
        session: SessionId,
        error: Option<Condition>,
    },
    /// The peer attached a link (answer with accept, refuse or detach), or answered the local attach. An answer
    /// whose remote terminus is absent is a refusal: a Detach follows (§2.6.3).
    Attached {
        link: LinkId,
        attach: Box<Attach>,
        remote_initiated: bool,
    },
    /// The credit of a sending link changed.
    Credit { link: LinkId },
    /// The receiver wants the credit used up now: send, then call `drained`.
    Drain { link: LinkId },
    /// A frame of a delivery arrived. The key of a settled delivery is gone after the last one.
    Transfer {
        link: LinkId,
        delivery: DeliveryKey,
        first: bool,
        payload: Bytes,
        more: bool,
        settled: bool,
        /// The sender gave the delivery up: it is gone and must not be answered.
        aborted: bool,
        state: Option<DeliveryState>,
    },
    /// The peer told the state of a delivery. If `settled`, it is gone once it is complete.
    Disposition {
        delivery: DeliveryKey,
        link: LinkId,
        state: Option<DeliveryState>,
        settled: bool,
    },
    /// The peer accepts transfers on this session again after a send met a closed window.
    WindowOpened { session: SessionId },
    /// The peer detached, or the session ended. If the local end is still attached, answer with `detach`.
    Detached {
        link: LinkId,
        closed: bool,
        error: Option<Condition>,
    },
    /// The peer's Close arrived; the engine's is queued.
    Closed { error: Option<Condition> },
}

/// How far a send went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// Everything is framed.
    All,
    /// The session window is used up; [`Event::WindowOpened`] will come.
    WindowClosed,
    /// The transmit queue holds the budget; send again when it is drained.
    Budget,
}
