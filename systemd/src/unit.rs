//! Text of a service unit (systemd.unit(5), systemd.service(5), systemd.syntax(7)).
//!
//! Values are given as they are meant; every place of the file has its own rules of quoting, kept here.

mod escape;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// A value that a unit file cannot say
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum UnitError {
    /// Letters, digits and `:-_.` only, at most 255 octets with the suffix
    #[error("{0:?} can't be the name of a unit")]
    Name(String),
    /// No text, a line break, or blanks at an end that the format takes away
    #[error("{key}= of a unit can't be {value:?}")]
    Value {
        /// Directive
        key: &'static str,
        /// The value, as far as it is text
        value: String,
    },
}

/// Name of a service unit, with its suffix
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnitName(String);

impl UnitName {
    /// `name` without suffix
    ///
    /// # Errors
    /// [`UnitError::Name`]
    pub fn service(name: &str) -> Result<Self, UnitError> {
        const LONGEST: usize = 255;
        let unit = format!("{name}.service");
        let plain = name
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b":-_.".contains(&octet));
        if name.is_empty() || !plain || unit.len() > LONGEST {
            return Err(UnitError::Name(name.to_owned()));
        }
        Ok(Self(unit))
    }

    /// The name as the manager knows it
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for UnitName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service that says when it is ready, is restarted whenever it ends, and starts with the host
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// One line for people
    pub description: String,
    /// Units to be started with it, where they exist, and before it
    pub after: Vec<String>,
    /// Not started while this path is missing: what it works on was removed
    pub needs: PathBuf,
    /// Nor while this path exists: what it works on is being removed
    pub unless: PathBuf,
    /// Program with its arguments; the program's path is absolute
    pub command: Vec<OsString>,
    /// Variables beyond those of the manager
    pub environment: Vec<(String, OsString)>,
    /// Where standard output and error go
    pub output: Output,
    /// Directory below the manager's runtime directory, made with mode 0700 and left in place
    pub runtime_directory: Option<String>,
    /// From SIGTERM to SIGKILL
    pub stop_timeout: Duration,
    /// Target that starts it
    pub wanted_by: String,
    /// Section that systemd skips: whose unit this is
    pub marks: Vec<(&'static str, String)>,
}

/// Where what a service says can be read
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// In a file, at its end
    Append(PathBuf),
    /// In the journal, whatever the manager's default is
    Journal,
}

/// Section of the marks; `X-` keeps it out of systemd's sight
const MARKS: &str = "[X-Skupper]";

impl Service {
    /// The unit file
    ///
    /// # Errors
    /// [`UnitError::Value`] for what the format cannot say.
    pub fn render(&self) -> Result<String, UnitError> {
        let mut text = String::new();
        let mut line = |line: fmt::Arguments<'_>| {
            // writing to a string can't fail
            let _ = text.write_fmt(line);
            text.push('\n');
        };
        line(format_args!("[Unit]"));
        line(format_args!(
            "Description={}",
            escape::plain("Description", self.description.as_ref())?
        ));
        if !self.after.is_empty() {
            let units = escape::plain("After", self.after.join(" ").as_ref())?;
            line(format_args!("Wants={units}"));
            line(format_args!("After={units}"));
        }
        line(format_args!(
            "ConditionPathExists={}",
            escape::plain("ConditionPathExists", self.needs.as_os_str())?
        ));
        line(format_args!(
            "ConditionPathExists=!{}",
            escape::plain("ConditionPathExists", self.unless.as_os_str())?
        ));
        // for ever: what it needs may come back after a long time
        line(format_args!("StartLimitIntervalSec=0"));
        line(format_args!("\n[Service]\nType=notify"));
        line(format_args!(
            "ExecStart={}",
            escape::command(&self.command)?
        ));
        for (name, value) in &self.environment {
            line(format_args!(
                "Environment={}",
                escape::assignment(name, value)?
            ));
        }
        if let Some(directory) = &self.runtime_directory {
            let directory = escape::plain("RuntimeDirectory", directory.as_ref())?;
            line(format_args!("RuntimeDirectory={directory}"));
            line(format_args!("RuntimeDirectoryMode=0700"));
            line(format_args!("RuntimeDirectoryPreserve=yes"));
        }
        let output = match &self.output {
            Output::Append(file) => {
                let file = escape::plain("StandardOutput", file.as_os_str())?;
                format!("append:{file}")
            }
            Output::Journal => "journal".to_owned(),
        };
        line(format_args!("StandardOutput={output}"));
        line(format_args!("StandardError={output}"));
        line(format_args!("UMask=0077"));
        line(format_args!("NoNewPrivileges=yes"));
        // from 0.5 s to 10 s in five steps, where systemd knows steps (254)
        line(format_args!("Restart=always\nRestartSec=500ms"));
        line(format_args!("RestartSteps=5\nRestartMaxDelaySec=10s"));
        line(format_args!("TimeoutStartSec=30s"));
        line(format_args!(
            "TimeoutStopSec={}s",
            self.stop_timeout.as_secs()
        ));
        line(format_args!("KillMode=mixed"));
        line(format_args!(
            "\n[Install]\nWantedBy={}",
            escape::plain("WantedBy", self.wanted_by.as_ref())?
        ));
        if !self.marks.is_empty() {
            line(format_args!("\n{MARKS}"));
            for (key, value) in &self.marks {
                line(format_args!("{}", mark(key, value)?));
            }
        }
        Ok(text)
    }
}

/// Whether a unit file carries the mark; what has been edited around it does not matter
pub fn has_mark(text: &str, key: &'static str, value: &str) -> bool {
    let Ok(wanted) = mark(key, value) else {
        return false;
    };
    text.lines()
        .skip_while(|line| line.trim() != MARKS)
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .any(|line| line == wanted)
}

fn mark(key: &'static str, value: &str) -> Result<String, UnitError> {
    Ok(format!("{key}={}", escape::plain(key, value.as_ref())?))
}
