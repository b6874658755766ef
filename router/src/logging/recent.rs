//! The last lines of the log and how many there were, for management.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::modules;

/// Lines kept.
const LINES: usize = 500;
/// Longest text kept of a line, in octets.
const TEXT: usize = 2048;

/// A line of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// `ROUTER_CORE`, …
    pub module: &'static str,
    /// `info`, …
    pub level: &'static str,
    /// Message and fields.
    pub text: String,
    /// Place in the source.
    pub file: Option<&'static str>,
    /// See `file`.
    pub line: Option<u32>,
    /// When.
    pub unix_seconds: i64,
}

/// Lines written of a module, by level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogCounts {
    /// Debug and trace.
    pub debug: u64,
    /// Info.
    pub info: u64,
    /// Warning.
    pub warning: u64,
    /// Error.
    pub error: u64,
}

/// What was written lately. It keeps what the filter in front of it lets through.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    counts: BTreeMap<&'static str, LogCounts>,
}

impl Recent {
    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.with(|kept| kept.lines.iter().cloned().collect())
    }

    /// Lines so far, by module; modules without any are not in it.
    pub fn counts(&self) -> BTreeMap<&'static str, LogCounts> {
        self.with(|kept| kept.counts.clone())
    }

    fn with<R>(&self, look: impl FnOnce(&mut Kept) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The layer that fills [`Recent`].
pub(super) struct Recorder(pub(super) std::sync::Arc<Recent>);

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let module = modules::module_of(meta.target()).unwrap_or("DEFAULT");
        let mut text = Text(String::new());
        event.record(&mut text);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let line = LogLine {
            module,
            level: modules::level_name(*meta.level()),
            text: text.0,
            file: meta.file(),
            line: meta.line(),
            unix_seconds: now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX)),
        };
        self.0.with(|kept| {
            let counts = kept.counts.entry(module).or_default();
            let count = match *meta.level() {
                Level::TRACE | Level::DEBUG => &mut counts.debug,
                Level::INFO => &mut counts.info,
                Level::WARN => &mut counts.warning,
                Level::ERROR => &mut counts.error,
            };
            *count += 1;
            if kept.lines.len() == LINES {
                kept.lines.pop_front();
            }
            kept.lines.push_back(line);
        });
    }
}

/// Message first, then `name=value`, as far as there is room.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.len() >= TEXT {
            return;
        }
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        if self.0.len() > TEXT {
            let end = (0..=TEXT).rev().find(|at| self.0.is_char_boundary(*at));
            self.0.truncate(end.unwrap_or_default());
        }
    }
}
