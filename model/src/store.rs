//! Files, written so that a crash or a full disk leaves the old content or the new, never half.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{FORMAT, yaml, yaml::YamlError};

/// A file or directory could not be read or written
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space or quota left
    #[error("cannot write {}: the file system is full", .path.display())]
    Full {
        /// What was being written
        path: PathBuf,
    },
    /// Any other trouble of the file system
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was being done: `read`, `write`, `create`, …
        action: &'static str,
        /// To what
        path: PathBuf,
        /// Why it did not work
        source: io::Error,
    },
    /// A directory that must be private belongs to another user or is no directory
    #[error("{} {reason}", .path.display())]
    Unsafe {
        /// The directory
        path: PathBuf,
        /// What is wrong with it
        reason: &'static str,
    },
    /// Not the document that it should be
    #[error("{} is damaged: {source}", .path.display())]
    Content {
        /// The file
        path: PathBuf,
        /// What is wrong with it, with line and column
        source: YamlError,
    },
    /// Written by a later release in a format that this one does not know; nothing was changed
    #[error(
        "{} has format {format}{}, this is version {} and knows formats up to {FORMAT}: use the newer version",
        .path.display(), written_by(.version), crate::PRODUCT_VERSION
    )]
    NewerFormat {
        /// The file
        path: PathBuf,
        /// Its format
        format: u32,
        /// The release that wrote it
        version: Option<String>,
    },
}

impl StoreError {
    /// Whether the file is simply not there
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                path: path.to_owned(),
            },
            _ => Self::Io {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }
}

fn written_by(version: &Option<String>) -> String {
    version
        .as_ref()
        .map(|version| format!(" (written by version {version})"))
        .unwrap_or_default()
}

/// Replaces a file's content at once, with the given mode
///
/// The text is written to a temporary file in the same directory and flushed, then renamed, then the directory is
/// flushed. A symbolic link at `path` is replaced, not followed.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    let fail = |source| StoreError::io("write", path, source);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // of the system, without the name of the temporary file, which means nothing to a user
    let mut refusal = None;
    let mut file = tempfile::Builder::new()
        .prefix(".skupper-")
        .make_in(directory, |path| {
            let created = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path);
            refusal = created.as_ref().err().and_then(io::Error::raw_os_error);
            created
        })
        .map_err(|error| fail(refusal.map_or(error, io::Error::from_raw_os_error)))?;
    file.write_all(content).map_err(fail)?;
    // After creation, because the umask applies only there.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(fail)
}

/// Replaces a file that only its owner may read
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    write_atomic(path, content, 0o600)
}

/// Reads a YAML document of ours
///
/// A document whose `format` is newer than ours is refused before its other content is looked at.
pub fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(default)]
        format: Option<u32>,
        #[serde(default)]
        version: Option<String>,
    }

    let text = read_text(path)?;
    if let Ok(Header {
        format: Some(format),
        version,
    }) = yaml::from_str(&text)
        && format > FORMAT
    {
        return Err(StoreError::NewerFormat {
            path: path.to_owned(),
            format,
            version,
        });
    }
    yaml::from_str(&text).map_err(|source| StoreError::Content {
        path: path.to_owned(),
        source,
    })
}

/// [`read_yaml`], with `None` where there is no such file
pub fn read_yaml_if_present<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match read_yaml(path) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file by a YAML document, readable by its owner only
pub fn write_yaml<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let text = yaml::to_string(value).map_err(|source| StoreError::Content {
        path: path.to_owned(),
        source,
    })?;
    write_atomic(path, text.as_bytes(), 0o600)
}

/// Reads a text file of at most [`yaml::MAX_TEXT`] octets
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    let fail = |source| StoreError::io("read", path, source);
    let mut text = String::new();
    let limit = yaml::MAX_TEXT as u64 + 1;
    File::open(path)
        .map_err(fail)?
        .take(limit)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() > yaml::MAX_TEXT {
        let source = YamlError::TooLarge { size: text.len() };
        return Err(StoreError::Content {
            path: path.to_owned(),
            source,
        });
    }
    Ok(text)
}

/// Makes a directory and its parents
///
/// With a private mode (nothing for group and others), a directory that is already there must be a real one of the
/// caller's own, and gets the mode: the runtime directory may be in a place that everybody can write to. With any
/// other mode, a directory that is already there stays as its owner made it.
pub fn ensure_dir(path: &Path, mode: u32) -> Result<(), StoreError> {
    let private = mode & 0o077 == 0;
    if !private && path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(if private { 0o700 } else { 0o755 })
        .create(path)
        .map_err(|source| StoreError::io("create", path, source))?;
    if private {
        check_private(path)?;
    }
    // The umask applies to what was created.
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|source| StoreError::io("set the mode of", path, source))
}

fn check_private(path: &Path) -> Result<(), StoreError> {
    let metadata =
        fs::symlink_metadata(path).map_err(|source| StoreError::io("inspect", path, source))?;
    let reason = match () {
        () if !metadata.is_dir() => "must be a directory, not a link to one",
        () if metadata.uid() != rustix::process::geteuid().as_raw() => "belongs to another user",
        () => return Ok(()),
    };
    Err(StoreError::Unsafe {
        path: path.to_owned(),
        reason,
    })
}

/// Removes a file; one that is not there is fine
pub fn remove_file(path: &Path) -> Result<(), StoreError> {
    missing_is_fine(fs::remove_file(path), path)
}

/// Removes a directory with all that is in it; one that is not there is fine
pub fn remove_dir(path: &Path) -> Result<(), StoreError> {
    missing_is_fine(fs::remove_dir_all(path), path)
}

fn missing_is_fine(result: io::Result<()>, path: &Path) -> Result<(), StoreError> {
    match result {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path, source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
