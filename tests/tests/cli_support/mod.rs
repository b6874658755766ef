//! A user of a host of their own, as far as files and ports can tell: the tests run the program as they would.
//!
//! As root each user is a user id of its own, because root keeps its sites in `/var/lib/skupper`, which no test may
//! touch; otherwise it is the caller with other directories.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use e2e::free_port;

/// First user id of tests run as root
const FIRST_UID: u32 = 61_000;
/// For anything to happen that should happen soon, on a machine that has other things to do
pub const SOON: Duration = Duration::from_secs(120);

static USERS: AtomicU32 = AtomicU32::new(0);
/// Sites choose free ports: two at a time might choose the same
static INIT: Mutex<()> = Mutex::new(());

/// A user with no sites yet; what is left of them at the end is removed
#[derive(Debug)]
pub struct User {
    root: tempfile::TempDir,
    uid: Option<u32>,
}

/// What a command printed, and how it ended
#[derive(Debug)]
pub struct Ended {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl User {
    pub fn new() -> Self {
        let number = USERS.fetch_add(1, Ordering::Relaxed);
        // Test binaries may run at the same time: the process makes the number its own.
        Self::with_uid(is_root().then(|| FIRST_UID + (std::process::id() % 400) * 10 + number % 10))
    }

    /// The user that a rootless engine belongs to, by login name
    pub fn named(name: &str) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let entry = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))
            .unwrap();
        Self::with_uid(Some(entry.split(':').nth(2).unwrap().parse().unwrap()))
    }

    /// The caller, with other directories where the program lets root have any
    pub fn caller() -> Self {
        Self::with_uid(None)
    }

    fn with_uid(uid: Option<u32>) -> Self {
        let root = tempfile::Builder::new()
            .prefix("sk")
            .tempdir_in("/tmp")
            .unwrap();
        for directory in ["home", "run", "data", "config"] {
            let path = root.path().join(directory);
            fs::create_dir(&path).unwrap();
            give(&path, uid, 0o700);
        }
        give(root.path(), uid, 0o700);
        Self { root, uid }
    }

    /// A directory of the user
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn site_dir(&self, namespace: &str) -> PathBuf {
        self.path("data").join("skupper/sites").join(namespace)
    }

    /// The program with its words, ready to run as this user
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("USER", "alice")
            .env("SKUPPER_PLATFORM", "linux")
            // not that of the machine, whose units these are not to be
            .env("SKUPPER_SUPERVISOR", "detached")
            .current_dir(self.path("home"))
            .stdin(Stdio::null());
        self.run_as(&mut command);
        command
    }

    /// Makes a program run as this user
    pub fn run_as(&self, command: &mut Command) {
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
    }

    /// Runs a line of words without quotes
    pub fn run(&self, line: &str) -> Ended {
        ended(
            line,
            self.command(line.split_whitespace()).output().unwrap(),
        )
    }

    /// Runs a line that has to succeed
    pub fn ok(&self, line: &str) -> Ended {
        let ended = self.run(line);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    /// Makes a site in the namespace with ports that are free; the link's port is the answer
    pub fn init(&self, namespace: &str, more: &str) -> u16 {
        let _one_at_a_time = init_lock();
        let (port, edge) = (free_port(), free_port());
        self.ok(&format!(
            "init -n {namespace} --ingress-host 127.0.0.1 --bind-port {port} --bind-port-edge {edge} {more}"
        ));
        port
    }

    /// A token of the site, in a file of the user
    pub fn token(&self, namespace: &str, name: &str) -> PathBuf {
        let file = self.path("home").join(name);
        self.ok(&format!("token create {} -n {namespace}", file.display()));
        file
    }

    /// Writes a file that the user can read
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path("home").join(name);
        fs::write(&file, content).unwrap();
        give(&file, self.uid, 0o600);
        file
    }

    /// Everything of a site that is neither a log nor a lock nor a socket, with its content
    pub fn snapshot(&self, namespace: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.site_dir(namespace), &mut files);
        files.retain(|(path, _)| !path.components().any(|part| part.as_os_str() == "run"));
        files.sort();
        files
    }

    /// Ids of this user's processes that have `words` in their command line and are no zombies
    pub fn processes(&self, words: &str) -> Vec<i32> {
        self.processes_where(|line| line.contains(words))
    }

    /// The same for any condition on the command line
    pub fn processes_where(&self, so: impl Fn(&str) -> bool) -> Vec<i32> {
        let home = self.root.path().as_os_str().as_encoded_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if !environment.windows(home.len()).any(|window| window == home) {
                continue;
            }
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let zombie = status
                .rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with('Z'));
            if so(&line) && !zombie {
                found.push(pid);
            }
        }
        found
    }

    /// A program that the user can run
    pub fn own_program(&self, path: &Path) {
        give(path, self.uid, 0o700);
    }

    /// A file owned by the user
    pub fn own(&self, path: &Path) {
        give(path, self.uid, 0o600);
    }
}

/// A small file system on the user's directory; unmounted at the end
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(user: &User, size: &str) -> Self {
        let path = user.path("data");
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0777"),
                "tmpfs",
            ])
            .arg(&path)
            .status()
            .unwrap();
        assert!(mounted.success());
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all that is left
    pub fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let sites = fs::read_dir(self.path("data").join("skupper/sites"));
        for site in sites.into_iter().flatten().flatten() {
            if let Some(namespace) = site.file_name().to_str() {
                let _ = self.run(&format!("delete --force -n {namespace}"));
            }
        }
    }
}

impl Ended {
    /// The command refused or failed, with a text that names these things
    #[track_caller]
    pub fn fails_with(&self, texts: &[&str]) -> &Self {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.stderr.starts_with("Error: "), "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        }
        self
    }
}

/// Keeps other tests of this binary from making sites meanwhile
pub fn init_lock() -> MutexGuard<'static, ()> {
    INIT.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program under test, where every user can reach it
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let found = e2e::environment::skupper();
        if !is_root() {
            return found;
        }
        let everyone = |path: &Path| {
            fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
        };
        if found.canonicalize().unwrap().ancestors().all(everyone) {
            return found;
        }
        // Under one name per build, so that runs do not pile up copies
        let built = fs::metadata(&found).unwrap();
        let name = format!("skupper-under-test-{}-{}", built.mtime(), built.len());
        let copy = Path::new("/tmp").join(name);
        if !copy.exists() {
            let part = copy.with_extension(std::process::id().to_string());
            fs::copy(&found, &part).unwrap();
            give(&part, None, 0o755);
            fs::rename(&part, &copy).unwrap();
        }
        copy
    })
}

fn give(path: &Path, uid: Option<u32>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if uid.is_some() {
        std::os::unix::fs::chown(path, uid, uid).unwrap();
    }
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else if entry.path().is_file() {
            files.push((entry.path(), fs::read(entry.path()).unwrap_or_default()));
        }
    }
}

pub fn ended(line: &str, output: Output) -> Ended {
    Ended {
        line: line.to_owned(),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Looks until it is so
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}");
        pause();
    }
}

/// Between two looks at something that tells no event
#[allow(clippy::disallowed_methods)]
pub fn pause() {
    thread::sleep(Duration::from_millis(100));
}

/// A server that answers `<name>:<what came>` to each connection's first octets; lives as long as the test
pub fn backend(name: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, name));
        }
    });
    port
}

fn answer(mut stream: TcpStream, name: &str) {
    let mut buffer = [0; 1024];
    if let Ok(length) = stream.read(&mut buffer) {
        let _ = stream.write_all(format!("{name}:").as_bytes());
        let _ = stream.write_all(&buffer[..length]);
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Sends `ping` to a port of this host and reads to the end
pub fn ask(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    stream.write_all(b"ping")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Sends a signal to one process
pub fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits for a child's end with its output
pub fn finish(line: &str, child: Child) -> Ended {
    ended(line, child.wait_with_output().unwrap())
}

/// A whole HTTP exchange as text
pub fn http_get(port: u16, path: &str) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
