//! Adaptors: application protocols carried as messages.

pub mod tcp;
