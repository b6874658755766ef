//! Keeps log files small. Writers append to the same file all the time, so a log is copied and then emptied; what is
//! written between the two is lost.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

const LIMIT: u64 = 8 * 1024 * 1024;

/// Moves the content of a log that grew beyond 8 MiB to `<log>.1`, replacing an older one there.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(metadata) if metadata.len() > LIMIT => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut old = log.as_os_str().to_owned();
    old.push(".1");
    let copied = fs::copy(log, PathBuf::from(old));
    // emptied even when the copy failed: a full disk is one reason for both
    OpenOptions::new().write(true).truncate(true).open(log)?;
    copied.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_moved_and_a_small_one_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("router.log");
        rotate(&log).expect("missing is fine");
        fs::write(&log, "small").expect("writable");
        rotate(&log).expect("rotated");
        assert_eq!(fs::read(&log).expect("there"), b"small");
        let large = usize::try_from(LIMIT).expect("fits") + 1;
        fs::write(&log, vec![b'x'; large]).expect("writable");
        rotate(&log).expect("rotated");
        assert_eq!(fs::metadata(&log).expect("there").len(), 0);
        let old = fs::metadata(dir.path().join("router.log.1")).expect("there");
        assert_eq!(old.len(), LIMIT + 1);
    }
}
