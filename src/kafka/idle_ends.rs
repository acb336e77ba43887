//! The positions at which a stream ended by wall time, by epoch: a stream id that is used again has a position of its own in each epoch.
//!
//! Input: ends as they happen, and progress entries. Output: the part of them that belongs to an entry. Pure.

use std::collections::{BTreeMap, VecDeque};

use super::progress::{LaterIdleEnds, ProgressEntry};
use crate::stream::RESUMED;

/// The epoch that the stream's next record opens, where an earlier reader has written its ends.
const NOT_BEGUN: i64 = RESUMED - 1;

/// Ascending positions by epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IdleEnds(BTreeMap<i64, VecDeque<u64>>);

impl IdleEnds {
    /// Returns the ends that an earlier reader has written.
    pub fn of_entry(entry: &ProgressEntry) -> Self {
        let epoch = if entry.state.is_some() { RESUMED } else { NOT_BEGUN };
        let present = Some((epoch, entry.idle_ends.clone())).filter(|(_, ends)| !ends.is_empty());
        let later = entry.later_idle_ends.iter().map(|later| (later.begins_at, later.positions.clone()));
        Self(present.into_iter().chain(later).collect())
    }

    /// Notes that a record is read, which opens an epoch where the stream has not begun.
    pub fn record_read(&mut self, offset: i64) {
        if let Some(ends) = self.0.remove(&NOT_BEGUN) {
            self.0.insert(offset, ends);
        }
    }

    /// Adds an end.
    pub fn push(&mut self, epoch: i64, position: u64) {
        self.0.entry(epoch).or_default().push_back(position);
    }

    /// Returns the ends of the epoch that the record at `offset` opens.
    pub fn of_epoch(&self, offset: i64) -> VecDeque<u64> {
        self.0.get(&offset).cloned().unwrap_or_default()
    }

    /// Returns an entry with its ends. `epoch` is the one that its state belongs to; without a state it is the one that the stream's first record behind the
    /// offset opens. `is_wanted` decides about the ends of that epoch.
    pub fn add_to(
        &self,
        entry: ProgressEntry,
        epoch: Option<i64>,
        is_wanted: impl Fn(&u64) -> bool,
    ) -> ProgressEntry {
        let present = epoch.unwrap_or(NOT_BEGUN);
        let idle_ends = self.of_epoch(present).into_iter().filter(is_wanted).collect();
        let later = self.0.range(entry.offset.unwrap_or(0).max(0)..).filter(|(epoch, _)| **epoch != present);
        let later =
            later.map(|(begins_at, ends)| LaterIdleEnds { begins_at: *begins_at, positions: ends.clone() });
        ProgressEntry { idle_ends, later_idle_ends: later.collect(), ..entry }
    }

    /// Returns the epoch that is open at an offset with a state.
    pub fn open_at(&self, offset: i64) -> Option<i64> {
        self.0.range(RESUMED..offset.max(0)).next_back().map(|(epoch, _)| *epoch)
    }

    /// Keeps what the entry of an acknowledged commit at `offset` has.
    pub fn keep(&mut self, entry: &ProgressEntry, offset: i64) {
        let open = self.open_at(offset).filter(|_| entry.state.is_some() && !entry.idle_ends.is_empty());
        self.0.retain(|epoch, ends| {
            if Some(*epoch) == open {
                ends.clone_from(&entry.idle_ends);
            }
            Some(*epoch) == open || *epoch >= offset || *epoch == NOT_BEGUN
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_belongs_to_its_epoch_alone() {
        let mut ends = IdleEnds::default();
        ends.push(3, 100);
        ends.push(7, 50);
        ends.push(7, 80);
        let later = [LaterIdleEnds { begins_at: 7, positions: [50, 80].into() }];
        // The stream has not begun at 2. Its first record there opens the first of the epochs, which has ends, or one without.
        let entry = ends.add_to(ProgressEntry::not_begun(Some(2)), Some(3), |_| true);
        assert_eq!((&entry.idle_ends, &entry.later_idle_ends[..]), (&[100].into(), &later[..]));
        let mut read = IdleEnds::of_entry(&entry);
        read.record_read(3);
        assert_eq!(read, ends);
        let entry = ends.add_to(ProgressEntry::not_begun(Some(4)), Some(5), |_| true);
        assert_eq!((&entry.idle_ends, &entry.later_idle_ends[..]), (&VecDeque::new(), &later[..]));
        ends.keep(&entry, 4);
        assert!(ends.of_epoch(3).is_empty(), "that epoch is over");
        assert_eq!(ends.of_epoch(7), [50, 80]);
    }

    #[test]
    fn ends_of_a_stream_that_has_not_begun_wait_for_its_first_record() {
        let entry = ProgressEntry { idle_ends: [10].into(), ..ProgressEntry::not_begun(Some(2)) };
        let mut ends = IdleEnds::of_entry(&entry);
        let next = ends.add_to(ProgressEntry::not_begun(Some(6)), None, |_| true);
        assert_eq!(next.idle_ends, [10]);
        ends.keep(&next, 6);
        ends.record_read(8);
        assert_eq!(ends.of_epoch(8), [10]);
    }
}
