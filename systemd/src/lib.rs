//! systemd as a keeper of processes: unit files, the manager that runs them, lingering, readiness.
//!
//! ```text
//! Service ──render──► text in Scope::unit_directory
//!                                │
//! connect ──► Bus ── DBus (session or system bus) ──┐
//!                 └─ Systemctl (no bus, private socket) ─► manager: reload, enable, start, wait for the job
//! ```
//!
//! [`unit`] is pure text; only [`bus`], [`journal`] and [`linger`] talk to anybody. What the units are for is the caller's matter.
#![forbid(unsafe_code)]

pub mod bus;
pub mod journal;
pub mod linger;
pub mod notify;
pub mod scope;
pub mod unit;

pub use self::bus::{Bus, BusError, Surroundings, UnitState, connect};
pub use self::journal::Journal;
pub use self::linger::Linger;
pub use self::scope::Scope;
pub use self::unit::{Output, Service, UnitError, UnitName};
