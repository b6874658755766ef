//! Start of detached processes of this binary, and their end.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use thiserror::Error;

use super::lock::{LockError, holder, is_held};

/// What to start detached.
#[derive(Clone, Debug)]
pub struct Detached {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Gets standard output and error, appended; made with mode 0600.
    pub log: PathBuf,
    /// Working directory: one that lasts, so that no user's mount is kept busy.
    pub directory: PathBuf,
}

/// How a process that holds a lock came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Nobody held the lock.
    WasNotRunning,
    /// It ended after SIGTERM.
    Stopped,
    /// It had to be killed.
    Killed,
}

#[derive(Debug, Error)]
pub enum EndError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the holder of {path:?} can't be told (no process id in it)")]
    Unknown { path: PathBuf },
    #[error("process {pid} ({what}) can't be signalled: {source}")]
    Signal {
        pid: u32,
        what: String,
        source: io::Error,
    },
    #[error("process {pid} ({what}) did not end within {waited:?}")]
    StillRunning {
        pid: u32,
        what: String,
        waited: Duration,
    },
}

/// A detached process, as long as its starter cares.
#[derive(Debug)]
pub struct Spawned {
    pub pid: u32,
    /// Names the process itself, not a number that may be given to another.
    handle: OwnedFd,
    end: mpsc::Receiver<ExitStatus>,
}

impl Spawned {
    /// Its exit status once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.end.try_recv().ok()
    }

    /// Kills it and returns when it has ended.
    ///
    /// # Errors
    /// When it can't be signalled.
    pub async fn kill(self) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(5);
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        while matches!(self.end.try_recv(), Err(mpsc::TryRecvError::Empty)) {
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }
}

/// Starts the process without a terminal: standard input empty, output to the log. It becomes the leader of a
/// session of its own by itself (`setsid` as its first act).
///
/// # Errors
/// When the log can't be opened or the program can't be run.
pub fn spawn_detached(detached: &Detached) -> io::Result<Spawned> {
    let log = open_log(&detached.log)?;
    let mut child = Command::new(&detached.program)
        .args(&detached.arguments)
        .current_dir(&detached.directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let pid = child.id();
    // not reaped before the thread below begins, so the id is the child's
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let handle = pidfd_open(
        raw.ok_or_else(|| io::Error::other("no process id"))?,
        PidfdFlags::empty(),
    )?;
    let (report, end) = mpsc::sync_channel(1);
    // a starter that outlives the child must not collect zombies; the thread ends with the child or with us
    std::thread::Builder::new()
        .name("reaper".to_owned())
        .spawn(move || {
            if let Ok(status) = child.wait() {
                // nobody may care any more
                let _ = report.send(status);
            }
        })?;
    Ok(Spawned { pid, handle, end })
}

/// Ends the process that holds the lock: SIGTERM, then SIGKILL after `grace`, then up to two seconds more.
/// Returns only when the lock is free.
///
/// # Errors
/// When the holder can't be told, can't be signalled, or does not end.
pub async fn end_holder(lock: &Path, grace: Duration) -> Result<Ended, EndError> {
    const AFTER_KILL: Duration = Duration::from_secs(2);
    if !is_held(lock)? {
        return Ok(Ended::WasNotRunning);
    }
    let mut ended = Ended::Stopped;
    for (signal, limit) in [(Signal::TERM, grace), (Signal::KILL, AFTER_KILL)] {
        if !signal_holder(lock, signal)? || wait_until_free(lock, limit).await? {
            return Ok(ended);
        }
        ended = Ended::Killed;
    }
    let (pid, what) = holder(lock).map_or((0, String::new()), |holder| (holder.pid, holder.what));
    Err(EndError::StillRunning {
        pid,
        what,
        waited: grace + AFTER_KILL,
    })
}

/// The last `lines` lines of a log, at most 16 KiB; empty when there is none.
pub fn log_tail(path: &Path, lines: usize) -> Vec<String> {
    const LIMIT: u64 = 16 * 1024;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LIMIT)))?;
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

/// Sends the signal to the holder; `false` when the lock became free meanwhile.
fn signal_holder(lock: &Path, signal: Signal) -> Result<bool, EndError> {
    let Some((pid, what)) = find_holder(lock) else {
        return if is_held(lock)? {
            Err(EndError::Unknown {
                path: lock.to_owned(),
            })
        } else {
            Ok(false)
        };
    };
    let failed = |source: rustix::io::Errno| EndError::Signal {
        pid,
        what: what.clone(),
        source: source.into(),
    };
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(EndError::Unknown {
            path: lock.to_owned(),
        });
    };
    let process = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(is_held(lock)?),
        Err(error) => return Err(failed(error)),
    };
    // still held after the pidfd exists: the pidfd is the holder, not a later process with the same id
    if !is_held(lock)? {
        return Ok(false);
    }
    match pidfd_send_signal(&process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(true),
        Err(error) => Err(failed(error)),
    }
}

/// The holder as written in the file; else the process whose standard input is the lock file: its parent
/// died between starting it and writing the id.
fn find_holder(lock: &Path) -> Option<(u32, String)> {
    if let Some(holder) = holder(lock)
        && is_open_in(holder.pid, lock)
    {
        return Some((holder.pid, holder.what));
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        (pid != std::process::id() && is_open_in(pid, lock)).then(|| (pid, "unknown".to_owned()))
    })
}

fn is_open_in(pid: u32, lock: &Path) -> bool {
    let Ok(wanted) = fs::metadata(lock) else {
        return false;
    };
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .any(|open| open.ino() == wanted.ino() && open.dev() == wanted.dev())
}

async fn wait_until_free(lock: &Path, limit: Duration) -> Result<bool, LockError> {
    const STEP: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + limit;
    while is_held(lock)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(true)
}

/// Opens a log for appending, readable by its owner only.
///
/// # Errors
/// When it can't be made or opened.
pub fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::HeldLock;

    fn hold(lock: &Path, script: &str) -> std::process::Child {
        let held = HeldLock::try_acquire(lock, "parent")
            .expect("usable")
            .expect("free");
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(held.as_stdin().expect("a descriptor"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        held.write_holder(child.id(), "sh").expect("writable");
        child
    }

    fn wait_for_line(child: &mut std::process::Child) {
        let mut byte = [0];
        child
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut byte)
            .expect("a line");
    }

    #[tokio::test]
    async fn a_holder_ends_on_the_first_signal() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = dir.path().join("x.lock");
        let mut child = hold(&lock, "exec sleep 30");
        let ended = end_holder(&lock, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Stopped);
        child.wait().expect("a zombie");
        let again = end_holder(&lock, Duration::from_secs(5)).await;
        assert_eq!(again.expect("nobody"), Ended::WasNotRunning);
    }

    #[tokio::test]
    async fn a_stubborn_holder_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = dir.path().join("x.lock");
        let mut child = hold(&lock, "trap '' TERM; echo x; while :; do sleep 1; done");
        wait_for_line(&mut child);
        let ended = end_holder(&lock, Duration::from_millis(100)).await;
        assert_eq!(ended.expect("killed"), Ended::Killed);
        child.wait().expect("a zombie");
    }

    #[tokio::test]
    async fn a_holder_that_never_got_its_id_written_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = dir.path().join("x.lock");
        let mut child = hold(&lock, "exec sleep 30");
        fs::write(&lock, "").expect("writable");
        let ended = end_holder(&lock, Duration::from_secs(5)).await;
        assert_eq!(ended.expect("ended"), Ended::Stopped);
        child.wait().expect("a zombie");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        assert!(log_tail(&log, 3).is_empty());
        fs::write(&log, "1\n2\n3\n4\n").expect("writable");
        assert_eq!(log_tail(&log, 2), ["3", "4"]);
        fs::write(&log, "x".repeat(40_000)).expect("writable");
        assert_eq!(log_tail(&log, 2).concat().len(), 16 * 1024);
    }
}
