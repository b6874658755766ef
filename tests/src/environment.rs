//! What the suite gives to the tests: binaries, folders, ports, other routers.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::SystemTime,
};

/// First port handed out; all are below the range from which systems take ports for outgoing connections.
const FIRST_PORT: u16 = 12_000;
/// Ports of one test process; there are as many blocks of them.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 90;

/// The first port of this process's block, and the socket in front of all blocks that keeps other processes out.
static BLOCK_HELD: LazyLock<(u16, TcpListener)> = LazyLock::new(|| {
    let first = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or_default();
    (0..BLOCKS)
        .map(|step| (first + step) % BLOCKS)
        .find_map(|block| {
            let held = TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST_PORT - 1 - block)).ok()?;
            Some((FIRST_PORT + block * BLOCK, held))
        })
        .expect("a block of ports is free")
});
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// The program under test: `SKUPPER_BIN`, else the newest one that was built.
///
/// # Panics
/// When there is none.
pub fn skupper() -> PathBuf {
    if let Some(path) = std::env::var_os("SKUPPER_BIN") {
        return path.into();
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folders = std::fs::read_dir(&target)
        .expect("the target folder can be read")
        .flatten()
        .map(|entry| entry.path());
    let built = folders
        .flat_map(|folder| [folder.join("release/skupper"), folder.join("debug/skupper")])
        .filter_map(|path| Some((modified(&path)?, path)));
    let (_, newest) = built
        .max()
        .expect("a built program: run `cargo build -p skupper`, or set SKUPPER_BIN");
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// A folder for one test, removed at its end.
///
/// # Panics
/// When it cannot be made.
pub fn scratch() -> tempfile::TempDir {
    let parent =
        std::env::var_os("SKUPPER_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new()
        .prefix("r")
        .tempdir_in(parent)
        .expect("a scratch folder can be made")
}

/// A port of the loopback address that nobody uses, and that no other test gets soon.
///
/// # Panics
/// When there is none left.
pub fn free_port() -> u16 {
    let first = BLOCK_HELD.0;
    (0..BLOCK)
        .map(|_| first + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % BLOCK)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a port is free")
}

/// Says that a test needs something that is not there. With `SKUPPER_TEST_ENGINES=required` that is a failure, unless
/// it is something that nobody has to have.
///
/// # Panics
/// When the thing is required.
#[expect(
    clippy::print_stdout,
    reason = "the suite counts these lines as skipped tests"
)]
pub fn did_not_run(reason: &str, optional: bool) {
    let required =
        std::env::var_os("SKUPPER_TEST_ENGINES").is_some_and(|value| value == "required");
    assert!(
        optional || !required,
        "{reason}, although everything is required"
    );
    println!("did not run: {reason}");
}

/// Families of routers written in C that are still in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// 2.4, the oldest one that sites of the first product generation use.
    V24,
    /// 2.7, the newest of that generation: streams in legacy framing.
    V27,
    /// 3.5, of the second generation: streams in lite framing.
    V35,
}

impl Family {
    /// Oldest first.
    pub const ALL: [Self; 3] = [Self::V24, Self::V27, Self::V35];

    /// Program and library path, if the machine has them.
    pub fn program(self) -> Option<(PathBuf, Option<String>)> {
        let variable = match self {
            Self::V24 => "SKROUTERD_24",
            Self::V27 => "SKROUTERD_27",
            Self::V35 => "SKROUTERD_35",
        };
        let program = std::env::var_os(variable)?.into();
        let libraries = std::env::var(format!("{variable}_LIBS")).ok();
        Some((program, libraries))
    }

    /// True if the machine has it; else says so.
    pub fn available(self) -> bool {
        let available = self.program().is_some();
        if !available {
            did_not_run(&format!("no C router ({self:?}) on this machine"), true);
        }
        available
    }
}

/// `python3` with the proton library, if the machine has it.
pub fn python() -> Option<PathBuf> {
    std::env::var_os("SKUPPER_TEST_PYTHON").map(PathBuf::from)
}
