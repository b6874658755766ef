//! How it is noticed that a file has changed, without reading it.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Stands for the content of a file: that of a replaced or rewritten file differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileMark {
    /// Device and inode.
    file: (u64, u64),
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Of content, name or rights: times of modification can be set back.
    changed: (i64, i64),
}

impl FileMark {
    /// Of a file as it is now; none if there is none. Symbolic links are followed.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|facts| Self::from(&facts))
    }
}

impl From<&Metadata> for FileMark {
    fn from(facts: &Metadata) -> Self {
        Self {
            file: (facts.dev(), facts.ino()),
            size: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn whatever_is_done_to_a_file_leaves_a_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(FileMark::of(&path), None);
        fs::write(&path, "one").unwrap();
        let first = FileMark::of(&path);
        assert_eq!(FileMark::of(&path), first);
        // Of the same size, and with the time of the one before it.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let new = directory.path().join("new");
        fs::write(&new, "two").unwrap();
        let set_back = |path: &Path, at: SystemTime| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(at).unwrap();
        };
        set_back(&new, modified);
        fs::rename(&new, &path).unwrap();
        let replaced = FileMark::of(&path);
        assert_ne!(replaced, first);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(FileMark::of(&link), replaced);
    }
}
