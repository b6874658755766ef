//! Complaints about peers, so that a peer that comes again and again does not fill the log.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The same complaint is logged once in so long.
const INTERVAL: Duration = Duration::from_secs(60);
/// Different complaints within that time; peers can choose a part of the texts.
const MAX_TEXTS: usize = 16;

/// What was complained of lately.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<BTreeMap<String, Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    silent: u64,
}

impl Complaints {
    /// Whether a complaint is to be logged now: with the number of times that it was kept back since it was last.
    pub(crate) fn due(&self, text: &str) -> Option<u64> {
        self.due_at(text, Instant::now())
    }

    fn due_at(&self, text: &str, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = said.get_mut(text) {
            if now.duration_since(known.at) < INTERVAL {
                known.silent += 1;
                return None;
            }
            known.at = now;
            return Some(std::mem::take(&mut known.silent));
        }
        if said.len() >= MAX_TEXTS {
            said.retain(|_, known| now.duration_since(known.at) < INTERVAL);
            if said.len() >= MAX_TEXTS {
                return None;
            }
        }
        said.insert(text.to_owned(), Said { at: now, silent: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_repeated_only_after_a_while_and_counts_what_was_silent() {
        let complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.due_at("a", start), Some(0));
        assert_eq!(complaints.due_at("b", start), Some(0));
        for second in 1..=3 {
            let later = start + Duration::from_secs(second);
            assert_eq!(complaints.due_at("a", later), None);
        }
        assert_eq!(complaints.due_at("a", start + INTERVAL), Some(3));
        assert_eq!(complaints.due_at("a", start + INTERVAL * 2), Some(0));
    }

    #[test]
    fn texts_that_peers_make_up_are_bounded() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let logged = (0..1000)
            .filter(|n| complaints.due_at(&format!("{n}"), start).is_some())
            .count();
        assert_eq!(logged, MAX_TEXTS);
        assert_eq!(complaints.due_at("new", start + INTERVAL), Some(0));
    }
}
