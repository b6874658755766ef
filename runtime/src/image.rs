//! The container image: nothing but this product's own static binary.
//!
//! ```text
//! docker-archive (tar): manifest.json ─▶ <sha256>.json (config) ─▶ <sha256>.tar (layer)
//! layer: /skupper  /tmp (writable)  /etc/{passwd,group,nsswitch.conf}
//! ```
//!
//! Podman and Docker load this form alike. Times are zero and owners root, so the same binary always gives the same
//! image id, and an image that is there already need not be loaded again.

mod elf;
mod layer;

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use self::elf::Architecture;
use self::layer::Tally;
use crate::engine::OWNER_LABEL;

/// Path of the binary inside the image, its entrypoint.
pub const BINARY: &str = "/skupper";

const REPOSITORY: &str = "localhost/skupper";
/// Of the binary's SHA-256, in the tag.
const TAG_DIGITS: usize = 12;
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Name of an image: `localhost/skupper:<version>-<12 hex digits of the binary's SHA-256>`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ImageReference(String);

/// Writer of image archives; blocking, for use on a thread that may wait for the disk.
#[derive(Debug)]
pub struct ImageArchive;

/// Why no image can be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot write {}: the file system is full", path.display())]
    Full { path: PathBuf },
    #[error("{} is not a Linux program: {reason}", path.display())]
    NotAProgram { path: PathBuf, reason: &'static str },
    /// The image has no loader and no libraries.
    #[error(
        "{} is linked dynamically (it needs the loader {interpreter}), a container image needs a static binary; \
         the linux platform works with this one", path.display()
    )]
    Dynamic { path: PathBuf, interpreter: String },
    #[error("{} changed while it was read", path.display())]
    Changed { path: PathBuf },
}

/// What one reading of the binary tells.
struct Inspected {
    architecture: Architecture,
    sha256: String,
    size: u64,
}

impl ImageArchive {
    /// Reference of the image of `binary`, without making it.
    pub fn reference(binary: &Path) -> Result<ImageReference, ImageError> {
        Ok(ImageReference::of(&inspect(binary)?))
    }

    /// Writes the docker-archive of `binary` to `out`, replacing it.
    pub fn build(binary: &Path, out: &Path) -> Result<ImageReference, ImageError> {
        Self::write(binary, out).map_err(|error| match error {
            // whatever was read meanwhile
            ImageError::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                ImageError::Full {
                    path: out.to_owned(),
                }
            }
            other => other,
        })
    }

    fn write(binary: &Path, out: &Path) -> Result<ImageReference, ImageError> {
        let inspected = inspect(binary)?;
        let reference = ImageReference::of(&inspected);
        let mut tally = Tally::new(io::sink());
        write_layer(binary, &inspected, &mut tally)?;
        let layer = tally.finish();
        let config = config(inspected.architecture, &layer.sha256);
        let at_out = |source| ImageError::Io {
            path: out.to_owned(),
            source,
        };
        let file = File::create(out).map_err(at_out)?;
        let mut file = io::BufWriter::with_capacity(256 << 10, file);
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let layer_name = format!("{}.tar", layer.sha256);
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [reference.as_str()],
            "Layers": [layer_name],
        }]);
        layer::entry(&mut file, &config_name, config.len() as u64).map_err(at_out)?;
        layer::content(&mut file, &config).map_err(at_out)?;
        layer::entry(&mut file, &layer_name, layer.size).map_err(at_out)?;
        let mut tally = Tally::new(&mut file);
        write_layer(binary, &inspected, &mut tally)?;
        if tally.finish() != layer {
            return Err(ImageError::Changed {
                path: binary.to_owned(),
            });
        }
        layer::pad(&mut file, layer.size).map_err(at_out)?;
        let manifest = manifest.to_string();
        layer::entry(&mut file, "manifest.json", manifest.len() as u64).map_err(at_out)?;
        layer::content(&mut file, manifest.as_bytes()).map_err(at_out)?;
        layer::end(&mut file).map_err(at_out)?;
        file.flush().map_err(at_out)?;
        Ok(reference)
    }
}

impl ImageReference {
    /// Repository and tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(inspected: &Inspected) -> Self {
        // A tag takes no `+`, which versions may have.
        let version = model::PRODUCT_VERSION.replace('+', "-");
        let digits = &inspected.sha256[..TAG_DIGITS];
        Self(format!("{REPOSITORY}:{version}-{digits}"))
    }
}

impl Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn inspect(binary: &Path) -> Result<Inspected, ImageError> {
    let failed = |source| ImageError::Io {
        path: binary.to_owned(),
        source,
    };
    let mut file = File::open(binary).map_err(failed)?;
    let architecture = elf::inspect(&mut file, binary)?;
    let mut file = File::open(binary).map_err(failed)?;
    let mut tally = Tally::new(io::sink());
    io::copy(&mut file, &mut tally).map_err(failed)?;
    let whole = tally.finish();
    Ok(Inspected {
        architecture,
        sha256: whole.sha256,
        size: whole.size,
    })
}

fn write_layer(
    binary: &Path,
    inspected: &Inspected,
    target: &mut impl Write,
) -> Result<(), ImageError> {
    let failed = |source| ImageError::Io {
        path: binary.to_owned(),
        source,
    };
    let file = File::open(binary).map_err(failed)?;
    // A binary replaced by a longer one is noticed by its size before it spoils the archive.
    if file.metadata().map_err(failed)?.len() != inspected.size {
        return Err(ImageError::Changed {
            path: binary.to_owned(),
        });
    }
    layer::write(file.take(inspected.size), inspected.size, target).map_err(failed)
}

/// OCI image configuration, in the order the engines print it.
fn config(architecture: Architecture, layer_sha256: &str) -> Vec<u8> {
    let (label, owner) = OWNER_LABEL;
    json!({
        "architecture": architecture.oci_name(),
        "os": "linux",
        "created": EPOCH,
        "config": {
            "Entrypoint": [BINARY],
            "WorkingDir": "/",
            "Labels": {
                (label): owner,
                "org.opencontainers.image.title": "skupper",
                "org.opencontainers.image.version": model::PRODUCT_VERSION,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_sha256}")]},
        "history": [{"created": EPOCH, "created_by": "skupper"}],
    })
    .to_string()
    .into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String");
            text
        })
}

#[cfg(test)]
mod tests;
