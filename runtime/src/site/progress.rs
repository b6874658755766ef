//! What a caller sees while an operation runs.

use std::fmt::Debug;

/// Receives the steps of an operation as they begin. Texts are lower-case sentence fragments without a
/// full stop, e.g. `create network skupper`.
pub trait Progress: Debug + Send + Sync {
    /// A step begins.
    fn step(&self, text: &str);

    /// Something the user should know that does not end the operation.
    fn warn(&self, text: &str);
}

/// Progress for callers that show none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}

    fn warn(&self, _: &str) {}
}
