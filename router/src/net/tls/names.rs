//! Names to show instead of user ids (`uidNameMappingFile`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{TlsError, credentials};
use crate::file_mark::FileMark;

/// A file of names and what it held when it was last usable.
#[derive(Debug)]
pub(super) struct Names {
    path: PathBuf,
    /// Of the state last looked at, usable or not.
    mark: Option<FileMark>,
    names: BTreeMap<String, String>,
}

impl Names {
    /// Reads the file. One that cannot be used names nobody until it can; the log says so.
    pub(super) fn new(path: &Path) -> Self {
        let mark = FileMark::of(path);
        let names = Self::read(path).unwrap_or_else(|error| {
            tracing::warn!(target: "router::tls", %error, "names of users are not known");
            BTreeMap::new()
        });
        Self {
            path: path.to_owned(),
            mark,
            names,
        }
    }

    /// Takes the file's content if it has changed since it was last looked at; what cannot be used changes nothing.
    pub(super) fn refresh(&mut self) -> Option<Result<(), TlsError>> {
        let mark = FileMark::of(&self.path);
        if mark == self.mark {
            return None;
        }
        self.mark = mark;
        Some(Self::read(&self.path).map(|names| self.names = names))
    }

    /// Name of a user.
    pub(super) fn of(&self, id: &str) -> Option<&str> {
        let name = self.names.get(id).map(String::as_str);
        name.filter(|name| !name.is_empty())
    }

    /// Content of a file: a JSON object of texts.
    pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, TlsError> {
        let text = credentials::read(path)?;
        serde_json::from_slice(&text).map_err(|error| TlsError::File {
            path: path.to_owned(),
            reason: format!("not a JSON object of user ids and names: {error}"),
        })
    }
}
