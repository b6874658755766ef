//! The few facts of an ELF file that decide whether it runs in an empty image (System V ABI, chapters 4 and 5).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::ImageError;

const HEADER_SIZE: usize = 64;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const BIG_ENDIAN: u8 = 2;
const PT_INTERP: u32 = 3;
/// Programs have about ten segments.
const MAX_SEGMENTS: u16 = 512;
const MAX_INTERPRETER: u64 = 4096;

/// Processor a binary is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Architecture {
    Amd64,
    Arm64,
    Ppc64le,
    Riscv64,
    S390x,
}

/// Byte order of a file, applied to fields at offsets within `bytes`.
struct Fields<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Architecture {
    /// Name in OCI image configurations (Go's `GOARCH`).
    pub(super) fn oci_name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Ppc64le => "ppc64le",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
        }
    }

    fn from_machine(machine: u16, little: bool) -> Option<Self> {
        match (machine, little) {
            (62, true) => Some(Self::Amd64),
            (183, true) => Some(Self::Arm64),
            (21, true) => Some(Self::Ppc64le),
            (243, true) => Some(Self::Riscv64),
            (22, false) => Some(Self::S390x),
            _ => None,
        }
    }
}

/// Reads the architecture; refuses what is no static 64-bit program. A static-pie has a dynamic segment, but no
/// interpreter.
pub(super) fn inspect(
    file: &mut (impl Read + Seek),
    path: &Path,
) -> Result<Architecture, ImageError> {
    let refuse = |reason| ImageError::NotAProgram {
        path: path.to_owned(),
        reason,
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => refuse("it ends within its headers"),
        _ => ImageError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let mut header = [0; HEADER_SIZE];
    file.read_exact(&mut header).map_err(failed)?;
    if &header[..4] != b"\x7fELF" {
        return Err(refuse("it is no ELF file"));
    }
    if header[4] != CLASS_64 {
        return Err(refuse("it is not for a 64-bit processor"));
    }
    let little = match header[5] {
        LITTLE_ENDIAN => true,
        BIG_ENDIAN => false,
        _ => return Err(refuse("its byte order is unknown")),
    };
    let fields = Fields {
        bytes: &header,
        little,
    };
    let architecture = Architecture::from_machine(fields.u16(18), little)
        .ok_or_else(|| refuse("its processor is not supported in images"))?;
    let (table, size, count) = (fields.u64(32), fields.u16(54), fields.u16(56));
    if count > MAX_SEGMENTS || usize::from(size) < 56 {
        return Err(refuse("its program headers are damaged"));
    }
    for index in 0..count {
        let at = table
            .checked_add(u64::from(index) * u64::from(size))
            .ok_or_else(|| refuse("its program headers are damaged"))?;
        let mut segment = [0; 56];
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        file.read_exact(&mut segment).map_err(failed)?;
        let fields = Fields {
            bytes: &segment,
            little,
        };
        if fields.u32(0) == PT_INTERP {
            let (offset, length) = (fields.u64(8), fields.u64(32).min(MAX_INTERPRETER));
            let mut name = Vec::new();
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            file.take(length).read_to_end(&mut name).map_err(failed)?;
            let name = String::from_utf8_lossy(&name);
            return Err(ImageError::Dynamic {
                path: path.to_owned(),
                interpreter: name.trim_end_matches('\0').to_owned(),
            });
        }
    }
    Ok(architecture)
}

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        let bytes = self.array(at);
        if self.little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        }
    }

    fn u32(&self, at: usize) -> u32 {
        let bytes = self.array(at);
        if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        }
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.array(at);
        if self.little {
            u64::from_le_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        }
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        array
    }
}
