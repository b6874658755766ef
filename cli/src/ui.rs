//! The one way to the user: results to standard output, progress, warnings and hints to standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Columns that a step takes at most: a line that wraps could not be wiped
const LONGEST_STEP: usize = 78;

/// Machine-readable form of a report
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// Shared handle; clones write to the same place
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    verbose: bool,
    /// Progress is drawn in one line that is wiped before anything else is printed
    live: bool,
    line_drawn: AtomicBool,
    failure: Mutex<Option<io::Error>>,
}

impl Ui {
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                verbose,
                live: io::stderr().is_terminal() && !verbose,
                line_drawn: AtomicBool::new(false),
                failure: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn verbose(&self) -> bool {
        self.shared.verbose
    }

    /// A line of the result
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.text(&format!("{}\n", text.as_ref()));
    }

    /// A part of the result, as it is
    pub(crate) fn text(&self, text: &str) {
        self.wipe();
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            self.shared
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }

    /// A report for programs
    pub(crate) fn report<T: Serialize>(&self, format: Format, report: &T) -> Result<(), String> {
        match format {
            Format::Json => {
                let text =
                    serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
                self.line(text);
            }
            Format::Yaml => {
                let text = serde_saphyr::to_string(report).map_err(|error| error.to_string())?;
                self.line(text.trim_end());
            }
        }
        Ok(())
    }

    /// A line on standard error that is not part of the result
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.wipe();
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        self.note(format!("Warning: {}", text.as_ref()));
    }

    /// What is being done now: one changing line on a terminal, lines with `--verbose`, else nothing
    pub(crate) fn step(&self, text: &str) {
        if self.shared.verbose {
            self.note(text);
        } else if self.shared.live {
            self.shared.line_drawn.store(true, Ordering::Relaxed);
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K{}…", sentence(text)).and_then(|()| out.flush());
        }
    }

    /// Wipes the line of progress
    pub(crate) fn wipe(&self) {
        if self.shared.line_drawn.swap(false, Ordering::Relaxed) {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
    }

    /// What went wrong with standard output, if anything; a reader that went away (`| head`) is no failure
    pub(crate) fn finish(&self) -> Option<io::Error> {
        self.wipe();
        self.shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }
}

fn sentence(text: &str) -> String {
    let one_line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_STEP)
        .collect();
    let mut characters = one_line.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => one_line,
    }
}
