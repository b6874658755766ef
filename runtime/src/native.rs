//! Processes of a site that run on the host itself: locks, detached start, and an end by lock holder.
//!
//! A process of a site is *alive* exactly as long as its lock file is locked. Process ids are only used to
//! send signals, and only through a pidfd that was opened while the lock was still held: an id that was
//! reused, and a zombie that nobody reaped, can't be mistaken for the process.

mod lock;
mod process;

pub use lock::{HeldLock, Holder, LockError, acquire_within, freed, holder, is_held};
pub use process::{
    Detached, EndError, Ended, Spawned, end_holder, log_tail, open_log, spawn_detached,
};
