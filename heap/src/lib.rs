//! Gives memory back to the host once it is not needed any more.
//!
//! The C library's allocator keeps what was freed unless it lies at the very end of a heap, and there is always something
//! that lies behind it: a process stays as large as it ever was. Asked for it, the allocator gives back all pages that are
//! free. [`Upkeep`] asks, from a thread that does nothing else.
//!
//! This is not an allocator, and changes nothing about how memory is taken. It is of no use to programs that have another
//! allocator than the C library's.
#![deny(unsafe_code)]

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// Growth for which the allocator is not asked, in octets.
const SPARED: u64 = 2 << 20;

/// Looks at this process now and then, and while it is larger than it was at the beginning, has the allocator give back
/// what is free; until this is dropped.
#[derive(Debug)]
pub struct Upkeep {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Upkeep {
    /// Begins; `period` is the time between two looks. Threads that allocate while the allocator gives back what theirs
    /// have freed may have to wait for it: less than a millisecond when little is free, about one for every MiB that is.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(period: Duration) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let start = resident();
        let thread = thread::Builder::new()
            .name("heap".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                    if has_grown(start, resident()) {
                        give_back();
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// Whether something may be free. Where the system does not tell, something may.
fn has_grown(start: Option<u64>, now: Option<u64>) -> bool {
    start
        .zip(now)
        .is_none_or(|(start, now)| now > start.saturating_add(SPARED))
}

/// Resident memory of this process in octets, without what is only a copy of files. `None`: the system does not tell.
fn resident() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// As above, from proc_pid_status(5).
fn parse(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Has the allocator give back all pages that are free.
#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "malloc_trim(3) is not to be had in any other way"
)]
fn give_back() {
    // SAFETY: it takes a number, locks whatever it looks at, and touches nothing that is in use; any thread may call it.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such function.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn only_growth_is_worth_asking_for() {
        let at = |mib: u64| Some(mib * MIB);
        assert!(!has_grown(at(4), at(3)));
        assert!(!has_grown(at(4), at(6)));
        assert!(has_grown(at(4), at(7)));
        assert!(has_grown(at(4), None) && has_grown(None, at(4)));
    }

    #[test]
    fn resident_memory_is_what_the_kernel_says() {
        let status =
            "Name:\tskupper\nVmRSS:\t   12288 kB\nRssAnon:\t    4096 kB\nRssFile:\t    8192 kB\n";
        assert_eq!(parse(status), Some(4 * MIB));
        assert_eq!(parse("VmRSS:\t   12288 kB\n"), None);
        assert_eq!(parse("RssAnon:\t    many kB\n"), None);
        assert!(resident().is_some_and(|octets| octets > 0));
    }

    /// Slices as they wait for slow readers; every hundredth stays, so that there is no free end.
    fn peak() -> (Vec<Vec<u8>>, u64) {
        let mut slices: Vec<Vec<u8>> = (0..4000).map(|_| vec![1; 16 * 1024]).collect();
        let most = resident().unwrap();
        let mut number = 0;
        slices.retain(|_| {
            number += 1;
            number % 100 == 0
        });
        (slices, most)
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn what_is_free_between_what_is_in_use_goes_back() {
        let before = resident().unwrap();
        let upkeep = Upkeep::start(Duration::from_millis(10)).unwrap();
        let (kept, most) = peak();
        assert!(most > before + 50 * MIB);
        let limit = Instant::now() + Duration::from_secs(20);
        while resident().unwrap() > before + 10 * MIB {
            assert!(Instant::now() < limit, "{:?} of {most}", resident());
            thread::yield_now();
        }
        drop(upkeep);
        // Nothing was taken from what is in use.
        assert!(kept.iter().flatten().all(|octet| *octet == 1));
        // Without it, the same is kept.
        let (kept, most) = peak();
        assert!(resident().unwrap() > most - 10 * MIB);
        drop(kept);
    }
}
