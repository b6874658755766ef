//! The journal of systemd as reader of standard output and standard error.

use std::{io, os::fd::AsFd};

use tracing::Level;

use super::output::Output;

/// Tells which streams the journal reads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Journal {
    stdout: bool,
    stderr: bool,
}

impl Journal {
    /// As systemd says in `JOURNAL_STREAM` (systemd.exec(5)): device and inode of the stream that it connected. A
    /// redirected stream is another one.
    pub fn of_process() -> Self {
        let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
            return Self::default();
        };
        Self {
            stdout: is(&stream, io::stdout()),
            stderr: is(&stream, io::stderr()),
        }
    }

    /// True if what is written to standard error is read by the journal.
    pub fn reads_stderr(self) -> bool {
        self.stderr
    }

    /// True if what is written there is read by the journal.
    pub(super) fn reads(self, output: &Output) -> bool {
        match output {
            Output::Stdout => self.stdout,
            Output::Stderr => self.stderr,
            Output::File(_) => false,
        }
    }
}

fn is(stream: &str, file: impl AsFd) -> bool {
    let Some((device, inode)) = stream.split_once(':') else {
        return false;
    };
    rustix::fs::fstat(file)
        .is_ok_and(|facts| device.parse() == Ok(facts.st_dev) && inode.parse() == Ok(facts.st_ino))
}

/// Priority of syslog(3), which the journal takes from the front of a line: `<4>`.
pub fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let facts = rustix::fs::fstat(&file).unwrap();
        let stream = format!("{}:{}", facts.st_dev, facts.st_ino);
        assert!(is(&stream, &file));
        assert!(!is(&stream, tempfile::tempfile().unwrap()));
        for other in ["", ":", "1", "a:b"] {
            assert!(!is(other, &file), "{other}");
        }
    }
}
