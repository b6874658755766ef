//! The journal of a running operation: what a later command needs to undo it, or to finish it.
//!
//! One JSON document per line, each synced before the step it speaks of begins. The first line says which
//! operation it is and in which direction an interrupted one is finished. The file exists exactly while an
//! operation runs; a file that nobody's lock protects was left by a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::name::{Namespace, ServiceName, SiteId};
use model::platform::Platform;
use serde::{Deserialize, Serialize};

/// First line of a journal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Header {
    pub(crate) operation: String,
    pub(crate) direction: Direction,
    pub(crate) namespace: Namespace,
    pub(crate) platform: Option<Platform>,
    pub(crate) engine_endpoint: Option<String>,
    /// Containers and networks are touched only with this site's label.
    pub(crate) site_id: Option<SiteId>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// Undo the recorded steps.
    Back,
    /// Run the operation again: it is idempotent (`delete`).
    Forward,
}

/// How to undo a step that has begun. Every undo is harmless when the step did nothing, and when it was
/// undone already. Paths are absolute; nothing secret is in here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "undo")]
pub(crate) enum Undo {
    /// Remove a file or a whole directory that the step made.
    RemovePath {
        path: PathBuf,
    },
    /// Put back what the step replaced or removed.
    Restore {
        path: PathBuf,
        backup: PathBuf,
    },
    RemoveNetwork {
        name: String,
    },
    RemoveImage {
        reference: String,
    },
    RemoveContainer {
        name: String,
    },
    /// Recreate the container of a service from its restored definition.
    RestoreService {
        service: ServiceName,
    },
    StopController,
    /// Stop the site's processes through the service manager.
    StopUnits,
    /// Stop them and remove their definitions.
    RemoveUnits {
        directory: PathBuf,
    },
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    undos: Vec<Undo>,
}

impl Journal {
    pub(crate) fn begin(path: &Path, header: &Header) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let mut journal = Self {
            file,
            path: path.to_owned(),
            undos: Vec::new(),
        };
        match journal.line(header) {
            Ok(()) => Ok(journal),
            Err(error) => {
                // nothing has begun; on a full disk even an empty journal would stay
                let _ = remove(path);
                Err(error)
            }
        }
    }

    /// Records how to undo a step that is about to begin.
    pub(crate) fn record(&mut self, undo: Undo) -> io::Result<()> {
        self.line(&undo)?;
        self.undos.push(undo);
        Ok(())
    }

    /// The recorded undos, oldest first.
    pub(crate) fn undos(&self) -> &[Undo] {
        &self.undos
    }

    /// The operation is complete: nothing is to be undone any more.
    pub(crate) fn commit(self) -> io::Result<()> {
        remove(&self.path)
    }

    fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

/// A journal that an ended process left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) header: Header,
    /// Oldest first.
    pub(crate) undos: Vec<Undo>,
}

/// Reads a journal that was left; `None` when there is none, or when not even its first line was written (then
/// no step had begun).
pub(crate) fn read(path: &Path) -> io::Result<Option<Left>> {
    let found = [path, &former(path)]
        .into_iter()
        .map(fs::read_to_string)
        .find(|text| !matches!(text, Err(error) if error.kind() == io::ErrorKind::NotFound));
    let text = match found {
        Some(text) => text?,
        None => return Ok(None),
    };
    let mut lines = text.lines();
    let Some(header) = lines
        .next()
        .and_then(|line| serde_json::from_str::<Header>(line).ok())
    else {
        return Ok(None);
    };
    // a torn last line belongs to a step that had not begun
    let undos = lines
        .map_while(|line| serde_json::from_str(line).ok())
        .collect();
    Ok(Some(Left { header, undos }))
}

/// Removes a journal; a missing one is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for path in [path, &former(path)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// True if there is one, readable or not.
pub(crate) fn is_left(path: &Path) -> bool {
    path.exists() || former(path).exists()
}

/// Where earlier releases kept it.
fn former(path: &Path) -> PathBuf {
    path.with_extension("yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            operation: "skupper init".to_owned(),
            direction: Direction::Back,
            namespace: Namespace::default(),
            platform: Some(Platform::Linux),
            engine_endpoint: None,
            site_id: None,
        }
    }

    fn undo(name: &str) -> Undo {
        Undo::RemoveNetwork {
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_was_recorded_is_read_back_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let mut journal = Journal::begin(&path, &header()).expect("writable");
        journal.record(undo("a")).expect("writable");
        journal.record(Undo::StopController).expect("writable");
        let left = read(&path).expect("readable").expect("left");
        assert_eq!(left.header, header());
        assert_eq!(left.undos, [undo("a"), Undo::StopController]);
        journal.commit().expect("removable");
        assert!(read(&path).expect("readable").is_none());
    }

    #[test]
    fn a_journal_of_an_earlier_release_is_found_and_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("journal");
        Journal::begin(&dir.path().join("journal.yaml"), &header()).expect("writable");
        assert!(is_left(&path));
        let left = read(&path).expect("readable").expect("there");
        assert_eq!(left.header, header());
        remove(&path).expect("removable");
        assert!(!is_left(&path) && read(&path).expect("readable").is_none());
    }

    #[test]
    fn a_torn_line_ends_the_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let mut journal = Journal::begin(&path, &header()).expect("writable");
        journal.record(undo("a")).expect("writable");
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("writable");
        file.write_all(b"{\"undo\":\"remove-net").expect("writable");
        let left = read(&path).expect("readable").expect("left");
        assert_eq!(left.undos, [undo("a")]);
    }

    #[test]
    fn a_journal_without_its_first_line_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        for text in ["", "{\"operation\":\"sku", "nonsense\n"] {
            fs::write(&path, text).expect("writable");
            assert!(read(&path).expect("readable").is_none(), "{text:?}");
        }
    }
}
