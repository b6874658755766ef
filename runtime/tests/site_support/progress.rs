//! Progress that remembers, interrupts or crashes.

use std::sync::{Mutex, PoisonError};

use runtime::site::Progress;
use tokio_util::sync::CancellationToken;

/// Remembers what it is told.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    steps: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Quiet {
    pub(crate) fn steps(&self) -> Vec<String> {
        self.steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Progress for Quiet {
    fn step(&self, text: &str) {
        self.steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    }

    fn warn(&self, text: &str) {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    }
}

/// What happens when a step begins.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Ctrl-C.
    Cancel(CancellationToken),
    /// The process dies: nothing is undone.
    Crash,
    /// From here on waiting takes no time.
    SkipTime,
}

/// Lets something happen when step number `at` (from 0) begins.
#[derive(Debug)]
pub(crate) struct Disturbing {
    at: usize,
    event: Event,
    pub(crate) seen: Quiet,
}

impl Disturbing {
    pub(crate) fn new(at: usize, event: Event) -> Self {
        Self {
            at,
            event,
            seen: Quiet::default(),
        }
    }
}

impl Progress for Disturbing {
    fn step(&self, text: &str) {
        self.seen.step(text);
        if self.seen.steps().len() != self.at + 1 {
            return;
        }
        match &self.event {
            Event::Cancel(token) => token.cancel(),
            Event::SkipTime => tokio::time::pause(),
            Event::Crash => panic!("crash at step {}: {text}", self.at),
        }
    }

    fn warn(&self, text: &str) {
        self.seen.warn(text);
    }
}
