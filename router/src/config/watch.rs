//! Watches the configuration file and the directories of certificates for changes.
//!
//! Directories are watched, not files: writers replace files by renaming. What wakes the watcher is only a hint; whether
//! something has changed is decided by comparing what the files are, so noise costs nothing and nothing is missed when
//! a hint is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::file_mark::FileMark;

/// Files that change together (certificate and key) are reported together.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Files that never come to rest are reported after so many rounds of [`DEBOUNCE`].
const RESTLESS_ROUNDS: u32 = 10;
/// How often files are looked at where there is no inotify.
const POLL: Duration = Duration::from_secs(2);
/// How often they are looked at where there is: file systems without notification, files behind symbolic links.
const BACKSTOP: Duration = Duration::from_secs(30);
/// Files looked at in one directory.
const MAX_FILES: usize = 1024;

/// Why watching cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The file's directory must exist; the file may come later.
    #[error("directory of the configuration file {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// Notices changes of one file and of the files in some directories.
#[derive(Debug)]
pub struct ConfigWatch {
    file: PathBuf,
    directories: BTreeSet<PathBuf>,
    /// What was there when [`Self::changed`] returned last.
    seen: Snapshot,
    notify: Option<Notify>,
}

/// What can be told of files without reading them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Snapshot(BTreeMap<PathBuf, FileMark>);

#[derive(Debug)]
struct Notify {
    inotify: AsyncFd<OwnedFd>,
    watches: BTreeSet<i32>,
    /// Some directory is missing and has to be looked for.
    incomplete: bool,
}

impl ConfigWatch {
    /// Starts watching; changes from now on are reported, so create it before reading the file. Must be called on a
    /// runtime with I/O and time enabled.
    ///
    /// # Errors
    /// The directory of `file` cannot be read. Missing `extra_dirs` are waited for.
    pub fn new(file: &Path, extra_dirs: Vec<PathBuf>) -> Result<Self, WatchError> {
        let directory = directory_of(file);
        if let Err(source) = fs::read_dir(&directory) {
            return Err(WatchError::Directory {
                path: directory,
                source,
            });
        }
        let mut watch = Self {
            file: file.to_owned(),
            directories: extra_dirs.into_iter().collect(),
            seen: Snapshot::default(),
            notify: Notify::new(),
        };
        watch.arm();
        watch.seen = watch.look();
        Ok(watch)
    }

    /// Exchanges the directories that are watched beside the file. Files in new ones count as already seen.
    pub fn set_directories(&mut self, extra_dirs: impl IntoIterator<Item = PathBuf>) {
        self.directories = extra_dirs.into_iter().collect();
        self.arm();
        let now = self.look();
        let known = std::mem::take(&mut self.seen.0);
        for (path, mark) in now.0 {
            let mark = known.get(&path).copied().unwrap_or(mark);
            self.seen.0.insert(path, mark);
        }
    }

    /// Returns when the file, or a file in one of the directories, was written, replaced, created or removed, and has
    /// been at rest for a moment. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let now = self.look();
            if now != self.seen {
                self.seen = self.at_rest(now).await;
                self.arm();
                return;
            }
            self.wait().await;
            self.arm();
        }
    }

    async fn at_rest(&self, mut last: Snapshot) -> Snapshot {
        for _ in 0..RESTLESS_ROUNDS {
            tokio::time::sleep(DEBOUNCE).await;
            let now = self.look();
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    /// Waits for a hint.
    async fn wait(&mut self) {
        let Some(notify) = &mut self.notify else {
            tokio::time::sleep(POLL).await;
            return;
        };
        let limit = if notify.incomplete { POLL } else { BACKSTOP };
        if let Ok(Err(error)) = tokio::time::timeout(limit, notify.event()).await {
            tracing::warn!(target: "router::config", %error, "inotify failed, looking for changes periodically");
            self.notify = None;
        }
    }

    /// Watches the directories as they are now: a directory that was replaced is another one.
    fn arm(&mut self) {
        let Some(notify) = &mut self.notify else {
            return;
        };
        let mut directories = vec![directory_of(&self.file)];
        directories.extend(self.directories.iter().cloned());
        notify.arm(&directories);
    }

    fn look(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(&self.file);
        for directory in &self.directories {
            let Ok(entries) = fs::read_dir(directory) else {
                continue;
            };
            // hidden files are what writers have not finished
            let names = entries
                .flatten()
                .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            for entry in names.take(MAX_FILES) {
                snapshot.add(&entry.path());
            }
        }
        snapshot
    }
}

impl Snapshot {
    fn add(&mut self, path: &Path) {
        if let Ok(facts) = fs::metadata(path)
            && facts.is_file()
        {
            self.0.insert(path.to_owned(), FileMark::from(&facts));
        }
    }
}

impl Notify {
    /// None where the kernel or its limits do not allow it.
    fn new() -> Option<Self> {
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an owned descriptor stays open"
        )]
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(AsyncFd::new);
        match inotify {
            Ok(inotify) => Some(Self {
                inotify,
                watches: BTreeSet::new(),
                incomplete: false,
            }),
            Err(error) => {
                tracing::warn!(target: "router::config", %error, "no inotify, looking for changes periodically");
                None
            }
        }
    }

    fn arm(&mut self, directories: &[PathBuf]) {
        let content = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let mut watches = BTreeSet::new();
        self.incomplete = false;
        for directory in directories {
            match self.add(directory, content) {
                Some(watch) => {
                    watches.insert(watch);
                }
                None => self.incomplete = true,
            }
            // the parent tells when another directory takes the place of this one
            let parent = directory_of(directory);
            watches.extend(self.add(&parent, WatchFlags::CREATE | WatchFlags::MOVED_TO));
        }
        for gone in self.watches.difference(&watches) {
            // fails if the kernel removed it with its directory
            let _ = inotify::remove_watch(self.inotify.get_ref(), *gone);
        }
        self.watches = watches;
    }

    fn add(&self, directory: &Path, flags: WatchFlags) -> Option<i32> {
        let flags = flags | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
        inotify::add_watch(self.inotify.get_ref(), directory, flags).ok()
    }

    /// Waits for an event and discards all that are there.
    async fn event(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        loop {
            match events.next() {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Directory that holds `path`; the working directory for a bare name.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    /// A configuration file and a directory of certificates.
    fn site() -> (TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (router, certs) = (root.path().join("router"), root.path().join("certs"));
        fs::create_dir(&router).unwrap();
        fs::create_dir(&certs).unwrap();
        let file = router.join("skrouterd.json");
        fs::write(&file, "one").unwrap();
        (root, file, certs)
    }

    fn replace(file: &Path, text: &str) {
        let temporary = file.with_file_name(".new");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, file).unwrap();
    }

    async fn reported(watch: &mut ConfigWatch) -> bool {
        timeout(Duration::from_secs(10), watch.changed())
            .await
            .is_ok()
    }

    /// Nothing is reported within the time in which changes are.
    async fn quiet(watch: &mut ConfigWatch) -> bool {
        timeout(DEBOUNCE * 3, watch.changed()).await.is_err()
    }

    #[tokio::test]
    async fn a_replaced_file_is_reported_once() {
        let (_root, file, _) = site();
        let mut watch = ConfigWatch::new(&file, Vec::new()).unwrap();
        assert!(quiet(&mut watch).await);
        replace(&file, "two");
        assert!(reported(&mut watch).await);
        assert!(quiet(&mut watch).await);
        replace(&file, "three");
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn other_files_beside_it_do_not_matter() {
        let (_root, file, _) = site();
        let mut watch = ConfigWatch::new(&file, Vec::new()).unwrap();
        fs::write(file.with_file_name("other.json"), "x").unwrap();
        fs::write(file.with_file_name(".skrouterd.json.tmp"), "x").unwrap();
        assert!(quiet(&mut watch).await);
    }

    #[tokio::test]
    async fn removal_and_return_are_reported() {
        let (_root, file, _) = site();
        let mut watch = ConfigWatch::new(&file, Vec::new()).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(reported(&mut watch).await);
        fs::write(&file, "two").unwrap();
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn certificates_are_reported_together() {
        let (_root, file, certs) = site();
        let mut watch = ConfigWatch::new(&file, vec![certs.clone()]).unwrap();
        let change = async {
            fs::write(certs.join("tls.crt"), "c").unwrap();
            tokio::time::sleep(DEBOUNCE / 2).await;
            fs::write(certs.join("tls.key"), "k").unwrap();
        };
        let (reported, ()) = tokio::join!(reported(&mut watch), change);
        assert!(reported && quiet(&mut watch).await);
    }

    #[tokio::test]
    async fn a_replaced_directory_is_followed() {
        let (root, file, certs) = site();
        fs::write(certs.join("tls.crt"), "old").unwrap();
        let mut watch = ConfigWatch::new(&file, vec![certs.clone()]).unwrap();
        for text in ["new", "newer"] {
            let next = root.path().join("next");
            fs::create_dir(&next).unwrap();
            fs::write(next.join("tls.crt"), text).unwrap();
            fs::rename(&certs, root.path().join(format!("before-{text}"))).unwrap();
            fs::rename(&next, &certs).unwrap();
            assert!(reported(&mut watch).await);
        }
        // the watch is on the directory that is there now
        fs::write(certs.join("tls.crt"), "newest").unwrap();
        assert!(reported(&mut watch).await);
        fs::write(root.path().join("before-new/tls.crt"), "gone").unwrap();
        assert!(quiet(&mut watch).await);
    }

    #[tokio::test]
    async fn a_directory_may_come_later_and_others_may_follow() {
        let (root, file, certs) = site();
        let late = root.path().join("late");
        let mut watch = ConfigWatch::new(&file, vec![late.clone()]).unwrap();
        fs::create_dir(&late).unwrap();
        fs::write(late.join("tls.crt"), "x").unwrap();
        assert!(reported(&mut watch).await);
        watch.set_directories([certs.clone()]);
        assert!(quiet(&mut watch).await);
        fs::write(certs.join("tls.crt"), "x").unwrap();
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn giving_up_waiting_loses_nothing() {
        let (_root, file, _) = site();
        let mut watch = ConfigWatch::new(&file, Vec::new()).unwrap();
        replace(&file, "two");
        assert!(timeout(DEBOUNCE / 4, watch.changed()).await.is_err());
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn without_inotify_files_are_polled() {
        let (_root, file, _) = site();
        let mut watch = ConfigWatch::new(&file, Vec::new()).unwrap();
        watch.notify = None;
        replace(&file, "two");
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn the_directory_of_the_file_must_exist() {
        let root = tempfile::tempdir().unwrap();
        let error =
            ConfigWatch::new(&root.path().join("none/skrouterd.json"), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
