use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Keys by numbers of the peer's choice (channels, handles).
///
/// Peers number from 0, so small numbers index a vector; a large one costs a tree node, not a large vector.
#[derive(Debug, Default)]
pub(super) struct NumberMap {
    low: Vec<Option<u32>>,
    high: BTreeMap<u32, u32>,
}

impl NumberMap {
    const LOW: usize = 1024;

    pub(super) fn insert(&mut self, number: u32, key: u32) {
        let index = number as usize;
        if index >= Self::LOW {
            self.high.insert(number, key);
            return;
        }
        if index >= self.low.len() {
            self.low.resize(index + 1, None);
        }
        self.low[index] = Some(key);
    }

    pub(super) fn remove(&mut self, number: u32) {
        match self.low.get_mut(number as usize) {
            Some(key) => *key = None,
            None => {
                self.high.remove(&number);
            }
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<u32> {
        if (number as usize) < Self::LOW {
            self.low.get(number as usize).copied().flatten()
        } else {
            self.high.get(&number).copied()
        }
    }
}

/// Unsettled deliveries of a session and direction, in order of their ids.
///
/// Ids count on past 32 bits here, so a delivery may stay while billions pass it; on the wire only the low half shows.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    entries: VecDeque<(u64, u32)>,
}

impl Unsettled {
    /// `id` must be above all present ones.
    pub(super) fn push(&mut self, id: u64, key: u32) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < id));
        self.entries.push_back((id, key));
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Ok(index) = self.entries.binary_search_by_key(&id, |(id, _)| *id) {
            self.entries.remove(index);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Positions of the entries with ids from `first` to `last`.
    pub(super) fn range(&self, first: u64, last: u64) -> Range<usize> {
        let start = self.entries.partition_point(|(id, _)| *id < first);
        let end = self.entries.partition_point(|(id, _)| *id <= last);
        start..end.max(start)
    }

    pub(super) fn keys(&self, range: Range<usize>) -> impl Iterator<Item = u32> {
        self.entries.range(range).map(|(_, key)| *key)
    }

    pub(super) fn remove_range(&mut self, range: Range<usize>) {
        self.entries.drain(range);
    }

    pub(super) fn trim(&mut self) {
        super::trim::trim_queue(&mut self.entries);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        self.entries.retain(|(_, key)| keep(*key));
    }
}

/// The full id of which the wire shows `id`: the latest one not after `next`.
pub(super) fn extend_id(next: u64, id: u32) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what the wire shows"
    )]
    let behind = (next as u32).wrapping_sub(id);
    next.wrapping_sub(u64::from(behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_small_and_large_are_kept() {
        let mut map = NumberMap::default();
        for (number, key) in [(0, 7), (5, 8), (1023, 9), (1024, 10), (u32::MAX, 11)] {
            assert_eq!(map.get(number), None);
            map.insert(number, key);
            assert_eq!(map.get(number), Some(key));
        }
        for number in [5, 1024, 77, u32::MAX] {
            map.remove(number);
            assert_eq!(map.get(number), None);
        }
        assert_eq!((map.get(0), map.get(1023)), (Some(7), Some(9)));
        assert!(map.low.len() <= NumberMap::LOW);
    }

    fn unsettled(ids: &[u64]) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for id in ids {
            unsettled.push(*id, u32::try_from(*id & 0xffff).unwrap());
        }
        unsettled
    }

    fn keys(unsettled: &Unsettled, first: u64, last: u64) -> Vec<u32> {
        unsettled.keys(unsettled.range(first, last)).collect()
    }

    #[test]
    fn ranges_hold_the_entries_that_exist() {
        let mut unsettled = unsettled(&[3, 5, 6, 10]);
        assert_eq!(keys(&unsettled, 0, u64::MAX), [3, 5, 6, 10]);
        assert_eq!(keys(&unsettled, 4, 9), [5, 6]);
        assert_eq!(keys(&unsettled, 7, 9), []);
        assert_eq!(keys(&unsettled, 9, 7), []);
        unsettled.remove(5);
        unsettled.remove(5);
        unsettled.remove_range(unsettled.range(0, 3));
        assert_eq!(keys(&unsettled, 0, u64::MAX), [6, 10]);
        unsettled.retain(|key| key != 6);
        assert_eq!(unsettled.len(), 1);
    }

    #[test]
    fn wire_ids_are_found_behind_the_counter() {
        let turn = 1u64 << 32;
        assert_eq!(extend_id(turn, 0), turn);
        assert_eq!(extend_id(turn + 5, 3), turn + 3);
        assert_eq!(extend_id(turn + 5, 5), turn + 5);
        // Not one that is still to come, but the one a full turn ago.
        assert_eq!(extend_id(turn + 5, 6), 6);
        assert_eq!(extend_id(turn, u32::MAX), turn - 1);
        assert_eq!(extend_id(3 * turn + 2, 0xffff_fff0), 3 * turn - 16);
    }
}
