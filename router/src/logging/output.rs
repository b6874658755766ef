//! Where events are written.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    sync::Arc,
};

/// A place for lines.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Stderr,
    Stdout,
    /// Opened for appending, so that one line is one write.
    File(Arc<File>),
}

/// Files opened for one configuration, each once.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    files: BTreeMap<String, Output>,
    /// What could not be opened, in words.
    pub(super) problems: Vec<String>,
}

impl Outputs {
    /// Place that an `outputFile` names; standard error if it cannot be opened.
    pub(super) fn open(&mut self, name: &str) -> Output {
        match name {
            "stderr" => return Output::Stderr,
            "stdout" => return Output::Stdout,
            "syslog" => {
                self.problems
                    .push("log output \"syslog\" is not supported, using stderr".to_owned());
                return Output::Stderr;
            }
            _ => {}
        }
        if let Some(known) = self.files.get(name) {
            return known.clone();
        }
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(name);
        let output = match opened {
            Ok(file) => Output::File(Arc::new(file)),
            Err(error) => {
                self.problems
                    .push(format!("log file {name}: {error}, using stderr"));
                Output::Stderr
            }
        };
        self.files.insert(name.to_owned(), output.clone());
        output
    }
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write(line),
            Self::Stdout => io::stdout().write(line),
            Self::File(file) => (&**file).write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().flush(),
            Self::Stdout => io::stdout().flush(),
            Self::File(file) => (&**file).flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_is_told_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::default();
        let name = directory.path().to_str().unwrap().to_owned();
        assert!(matches!(outputs.open(&name), Output::Stderr));
        assert!(matches!(outputs.open(&name), Output::Stderr));
        assert_eq!(outputs.problems.len(), 1);
        assert!(outputs.problems[0].contains(&name));
        assert!(matches!(outputs.open("stdout"), Output::Stdout));
        let file = directory.path().join("log");
        assert!(matches!(
            outputs.open(file.to_str().unwrap()),
            Output::File(_)
        ));
    }
}
