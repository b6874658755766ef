//! How much memory this process has.

use std::fs;

/// Resident memory of this process in octets.
pub(crate) fn resident_memory() -> Option<u64> {
    memory("VmRSS:")
}

/// Virtual memory of this process in octets.
pub(crate) fn virtual_memory() -> Option<u64> {
    memory("VmSize:")
}

/// One of the kernel's figures about this process in octets.
fn memory(label: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(label))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}
