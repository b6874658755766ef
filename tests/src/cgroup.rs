//! Cgroups that the scripts in `tests/lib` make for what they start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where systemd keeps track of processes: version 2, version 1, both.
const HIERARCHIES: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
];

/// Those of that name, which was made of what the script was given or is.
pub fn named(name: &str) -> Vec<PathBuf> {
    HIERARCHIES
        .iter()
        .map(|hierarchy| Path::new(hierarchy).join(format!("skupper-test-{name}")))
        .filter(|group| group.exists())
        .collect()
}

/// Processes in the group and in those below it.
pub fn processes(group: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in children(group) {
        found.extend(processes(&child));
    }
    found
}

/// Removes the group with those below it.
///
/// # Errors
/// While there is a process in one of them.
pub fn remove(group: &Path) -> io::Result<()> {
    for child in children(group) {
        remove(&child)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    fs::read_dir(group)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}
