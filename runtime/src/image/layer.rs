//! Tar entries, written with sizes known beforehand and nothing of this host in them.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::hex;

const BLOCK: u64 = 512;

const PASSWD: &str = "root:x:0:0:root:/:/skupper\n";
const GROUP: &str = "root:x:0:\n";
/// `/etc/hosts` before DNS: a C library without this file stops at a DNS server's "no such name", and the engines
/// announce the host in `/etc/hosts` only.
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Writer that counts and hashes.
#[derive(Debug)]
pub(super) struct Tally<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

/// What went through a [`Tally`].
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Tallied {
    pub(super) sha256: String,
    /// Bytes.
    pub(super) size: u64,
}

impl<W: Write> Tally<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    pub(super) fn finish(self) -> Tallied {
        Tallied {
            sha256: hex(&self.hash.finalize()),
            size: self.size,
        }
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the file system of the image; `binary` must have `size` bytes.
pub(super) fn write(mut binary: impl Read, size: u64, target: &mut impl Write) -> io::Result<()> {
    directory(target, "etc/", 0o755)?;
    for (path, text) in [
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", NSSWITCH),
        ("etc/passwd", PASSWD),
    ] {
        entry(target, path, text.len() as u64)?;
        content(target, text.as_bytes())?;
    }
    header(target, "skupper", EntryType::Regular, 0o755, size)?;
    let copied = io::copy(&mut binary, target)?;
    if copied != size {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter while it was read",
        ));
    }
    pad(target, size)?;
    directory(target, "tmp/", 0o1777)?;
    end(target)
}

/// Starts a regular, world-readable file; its content and [`pad`] follow.
pub(super) fn entry(target: &mut impl Write, path: &str, size: u64) -> io::Result<()> {
    header(target, path, EntryType::Regular, 0o644, size)
}

/// Writes a whole small file's content.
pub(super) fn content(target: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    target.write_all(bytes)?;
    pad(target, bytes.len() as u64)
}

/// Fills the last block of a file of `size` bytes.
pub(super) fn pad(target: &mut impl Write, size: u64) -> io::Result<()> {
    let missing = size.next_multiple_of(BLOCK) - size;
    io::copy(&mut io::repeat(0).take(missing), target).map(drop)
}

/// Ends an archive.
pub(super) fn end(target: &mut impl Write) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(2 * BLOCK), target).map(drop)
}

fn directory(target: &mut impl Write, path: &str, mode: u32) -> io::Result<()> {
    header(target, path, EntryType::Directory, mode, 0)
}

fn header(
    target: &mut impl Write,
    path: &str,
    kind: EntryType,
    mode: u32,
    size: u64,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    target.write_all(header.as_bytes())
}
