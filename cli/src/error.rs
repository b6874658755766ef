//! The one error of commands, and how it is shown.

use std::fmt::Display;

use crate::ui::Ui;

/// Exit code when another command holds the site's lock (`EX_TEMPFAIL`)
const EXIT_BUSY: u8 = 75;
/// Exit code after Ctrl-C (128 + SIGINT)
const EXIT_INTERRUPTED: u8 = 130;

/// Why a command did not do its work
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    /// What the user can do about it
    pub(crate) hints: Vec<String>,
    /// The end of the log of what failed
    pub(crate) log: Vec<String>,
    usage: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ErrorKind {
    /// The command line is wrong; the command's usage follows
    Usage,
    /// The command line names something that does not exist; `Run 'skupper --help' for usage.` follows
    UnknownCommand,
    /// Documented, and not built (yet)
    Refused,
    /// No site: said on standard output, exit 0, as scripts expect
    NotEnabled,
    /// Tried and failed
    Failed,
    /// Another command is at work on the site
    Busy,
    Interrupted,
}

impl CommandError {
    pub(crate) fn failed(text: impl Display) -> Self {
        Self::new(ErrorKind::Failed, text)
    }

    pub(crate) fn refused(text: impl Display) -> Self {
        Self::new(ErrorKind::Refused, text)
    }

    pub(crate) fn new(kind: ErrorKind, text: impl Display) -> Self {
        Self {
            kind,
            text: text.to_string(),
            hints: Vec::new(),
            log: Vec::new(),
            usage: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// The usage of the command, shown if the error is one of usage
    #[must_use]
    pub(crate) fn with_usage(mut self, usage: String) -> Self {
        self.usage.get_or_insert(usage);
        self
    }

    /// Prints it in the form that scripts know
    pub(crate) fn show(&self, ui: &Ui) {
        match &self.kind {
            ErrorKind::NotEnabled => ui.line(&self.text),
            ErrorKind::Usage => {
                ui.note(format!("Error: {}", self.text));
                self.show_hints(ui);
                ui.note(self.usage.as_deref().unwrap_or_default());
                return;
            }
            ErrorKind::UnknownCommand => {
                ui.note(format!("Error: {}", self.text));
                self.show_hints(ui);
                ui.note("Run 'skupper --help' for usage.");
                return;
            }
            _ => ui.note(format!("Error: {}", self.text)),
        }
        self.show_hints(ui);
    }

    fn show_hints(&self, ui: &Ui) {
        for hint in &self.hints {
            ui.note(format!("Hint: {hint}"));
        }
        if !self.log.is_empty() {
            ui.note("The end of its log:");
        }
        for line in &self.log {
            ui.note(format!("  {line}"));
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::NotEnabled => 0,
            ErrorKind::Busy => EXIT_BUSY,
            ErrorKind::Interrupted => EXIT_INTERRUPTED,
            _ => 1,
        }
    }
}
