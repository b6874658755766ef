//! Lock files: `flock(2)` on a file that also says who holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

/// A lock file could not be used at all (that somebody else holds it is no error).
#[derive(Debug, Error)]
#[error("lock file {path:?}: {source}")]
pub struct LockError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Who holds a lock, as its holder wrote it into the file: `<pid> <what>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    pub pid: u32,
    pub what: String,
}

/// An exclusive lock, held until dropped (or until every process it was handed to has ended).
#[derive(Debug)]
pub struct HeldLock {
    file: File,
    path: PathBuf,
}

impl HeldLock {
    /// Takes the lock if it is free and writes this process's id and `what` into the file.
    ///
    /// # Errors
    /// When the file can't be made, opened or written.
    pub fn try_acquire(path: &Path, what: &str) -> Result<Option<Self>, LockError> {
        let Some(held) = Self::try_lock(path)? else {
            return Ok(None);
        };
        match held.write_holder(std::process::id(), what) {
            // a full disk takes the name away, not the lock: the holder is then found by its open file
            Err(error) if error.source.kind() != io::ErrorKind::StorageFull => Err(error),
            _ => Ok(Some(held)),
        }
    }

    /// Takes the lock for a child that is about to be started: nobody is named until [`Self::write_holder`].
    ///
    /// # Errors
    /// As [`Self::try_acquire`].
    pub fn try_acquire_for_child(path: &Path) -> Result<Option<Self>, LockError> {
        let Some(held) = Self::try_lock(path)? else {
            return Ok(None);
        };
        held.file.set_len(0).map_err(at(path))?;
        Ok(Some(held))
    }

    fn try_lock(path: &Path) -> Result<Option<Self>, LockError> {
        loop {
            let file = open(path, true)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(at(path)(source)),
            }
            // the site, and the file with it, may have been removed while we opened it
            if is_same_file(&file, path) {
                return Ok(Some(Self {
                    file,
                    path: path.to_owned(),
                }));
            }
        }
    }

    /// Whether the path still names the locked file; not after the directory was removed.
    pub fn is_current(&self) -> bool {
        is_same_file(&self.file, &self.path)
    }

    /// Writes another holder into the file: the process this lock is handed to.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_holder(&self, pid: u32, what: &str) -> Result<(), LockError> {
        let write = || -> io::Result<()> {
            self.file.set_len(0)?;
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.write_all(format!("{pid} {what}\n").as_bytes())
        };
        write().map_err(at(&self.path))
    }

    /// The open file as standard input of a child. The lock then ends when the child ends, whatever happens
    /// to this process: `flock` belongs to the open file, which both share.
    ///
    /// # Errors
    /// When the descriptor can't be duplicated.
    pub fn as_stdin(&self) -> Result<Stdio, LockError> {
        Ok(Stdio::from(self.file.try_clone().map_err(at(&self.path))?))
    }
}

/// Whether some process holds the lock now. A missing file is not held.
///
/// # Errors
/// When the file exists and can't be opened.
pub fn is_held(path: &Path) -> Result<bool, LockError> {
    let file = match open(path, false) {
        Ok(file) => file,
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(at(path)(source)),
    }
}

/// Resolves when nobody holds the lock any more; at once when the file is missing. The waiting is done by a thread of
/// its own, which ends with the holder.
///
/// # Errors
/// When the file can't be opened, or there can't be another thread.
pub async fn freed(path: &Path) -> Result<(), LockError> {
    let file = match open(path, false) {
        Ok(file) => file,
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (report, answer) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("lock".to_owned())
        .spawn(move || {
            // nobody may wait any more
            let _ = report.send(file.lock_shared());
        })
        .map_err(at(path))?;
    match answer.await {
        Ok(result) => result.map_err(at(path)),
        Err(_) => Err(at(path)(io::Error::other("the waiting thread panicked"))),
    }
}

/// Takes the lock, trying for up to `patience`: somebody who only asks whether it is held holds it for a moment too.
///
/// # Errors
/// As [`HeldLock::try_acquire`].
pub async fn acquire_within(
    path: &Path,
    what: &str,
    patience: Duration,
) -> Result<Option<HeldLock>, LockError> {
    const STEP: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + patience;
    loop {
        match HeldLock::try_acquire(path, what)? {
            None if Instant::now() < deadline => tokio::time::sleep(STEP).await,
            taken_or_late => return Ok(taken_or_late),
        }
    }
}

/// Who wrote itself into the lock file last. Only meaningful while [`is_held`].
pub fn holder(path: &Path) -> Option<Holder> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?;
    let (pid, what) = line.split_once(' ').unwrap_or((line, ""));
    Some(Holder {
        pid: pid.parse().ok().filter(|pid| *pid > 1)?,
        what: what.to_owned(),
    })
}

fn open(path: &Path, create: bool) -> Result<File, LockError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(at(path))
}

fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.ino() == theirs.ino() && ours.dev() == theirs.dev(),
        _ => false,
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LockError + '_ {
    move |source| LockError {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn one_holder_at_a_time_and_its_name_is_in_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        assert!(!is_held(&path).expect("readable"));
        let held = HeldLock::try_acquire(&path, "skupper init")
            .expect("usable")
            .expect("free");
        assert!(is_held(&path).expect("readable"));
        assert!(
            HeldLock::try_acquire(&path, "other")
                .expect("usable")
                .is_none()
        );
        let holder = holder(&path).expect("written");
        assert_eq!(
            (holder.pid, holder.what.as_str()),
            (std::process::id(), "skupper init")
        );
        drop(held);
        // children that other tests have just forked share the file until they run their program
        freed(&path).await.expect("usable");
        assert!(!is_held(&path).expect("readable"));
    }

    #[test]
    fn a_removed_lock_file_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        let first = HeldLock::try_acquire(&path, "first")
            .expect("usable")
            .expect("free");
        fs::remove_file(&path).expect("there");
        let second = HeldLock::try_acquire(&path, "second")
            .expect("usable")
            .expect("free: another file");
        drop(first);
        assert!(is_held(&path).expect("readable"));
        drop(second);
    }

    #[tokio::test]
    async fn a_child_keeps_the_lock_that_it_got_as_standard_input() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        let held = HeldLock::try_acquire(&path, "parent")
            .expect("usable")
            .expect("free");
        let mut child = Command::new("sleep")
            .arg("30")
            .stdin(held.as_stdin().expect("a descriptor"))
            .spawn()
            .expect("sleep");
        held.write_holder(child.id(), "child").expect("writable");
        drop(held);
        assert!(is_held(&path).expect("readable"));
        assert_eq!(holder(&path).map(|holder| holder.pid), Some(child.id()));
        child.kill().expect("running");
        // free although the child is a zombie
        freed(&path).await.expect("usable");
        assert!(!is_held(&path).expect("readable"));
        child.wait().expect("a zombie");
    }

    #[test]
    fn garbage_in_a_lock_file_names_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.lock");
        for text in ["", "x y", "0 init", "1 init", "-4 x"] {
            fs::write(&path, text).expect("writable");
            assert_eq!(holder(&path), None, "{text:?}");
        }
    }
}
