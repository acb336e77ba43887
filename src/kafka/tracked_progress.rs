//! The progress that belongs to a commit: which offset may be committed, what the progress topic must hold there, and what is forgotten afterwards.
//!
//! Input: the tracked streams of a partition. Output: the lowest unsettled offset and the records at an offset. Invariant: the offset lies within no file.
//! Pure.

use std::sync::Arc;

use super::OffsetTracker;
use super::progress::{Progress, ProgressEntry};

/// The progress that belongs to a commit.
#[derive(Debug, Default)]
pub struct TrackedProgress {
    /// Written before the offset is committed.
    pub records: Vec<(Arc<str>, Progress)>,
    /// Streams that have ended below the offset; the topic forgets them once it is committed.
    pub ended: Vec<Arc<str>>,
    /// Streams that the commit closes because they were silent for long.
    pub closed: Vec<Arc<str>>,
    /// Streams with a progress record at the offset that have not ended below it.
    pub streams: usize,
}

impl OffsetTracker {
    /// Returns the lowest offset that is needed: the highest that may be committed. It lies within no file, since a file can be decoded only from its first
    /// byte on.
    #[must_use]
    pub fn lowest_unsettled(&self) -> i64 {
        let mut offset = self.unsettled.first().copied().unwrap_or(self.next_offset);
        let begin_of_file = |offset| {
            let files = self.files.iter().filter_map(|stream_id| self.streams.get(stream_id));
            files.filter_map(|stream| stream.epoch_around(offset)).min()
        };
        while let Some(begin) = begin_of_file(offset) {
            offset = begin;
        }
        offset
    }

    /// Returns the progress that belongs to a commit at `offset`, of every stream that it has changed for. `may_close`: whether the commit may close streams.
    #[must_use]
    pub fn progress_at(&mut self, offset: i64, may_close: bool) -> TrackedProgress {
        let clock = self.clock_at(offset);
        let mut progress = TrackedProgress::default();
        for (stream_id, stream) in &mut self.streams {
            let closes = may_close && stream.closes_at(offset);
            let next = match closes {
                true => ProgressEntry::not_begun(Some(offset)),
                false => stream.entry_at(offset, clock),
            };
            stream.proposed = Some(next.clone());
            if closes {
                progress.closed.push(stream_id.clone());
            }
            let unchanged = match &stream.acknowledged {
                Some(acknowledged) => acknowledged.same_position(&next),
                None => next.is_empty(),
            };
            if !unchanged || next.needs_exact_offset() || stream.record_in_doubt {
                stream.has_progress_record = true;
                let acknowledged = stream.acknowledged.clone();
                let acknowledged = acknowledged.unwrap_or_else(|| ProgressEntry::not_begun(self.committed));
                let record = Progress { acknowledged: Some(acknowledged), next };
                progress.records.push((stream_id.clone(), record));
            }
            if stream.has_progress_record {
                match closes || stream.is_over_at(offset) {
                    true => progress.ended.push(stream_id.clone()),
                    false => progress.streams += 1,
                }
            }
        }
        progress
    }

    /// Notes that the broker acknowledged a commit at `offset`, whose progress named these streams as `ended`.
    ///
    /// Records may have been read while the commit was under way. A stream that ended below the offset and has begun anew since stays tracked; its
    /// progress record is gone and the next commit writes another.
    pub fn commit_acknowledged(&mut self, offset: i64, ended: &[Arc<str>]) {
        self.committed = Some(offset);
        let clock = self.clock_at(offset);
        while self.clock_before.front().is_some_and(|(read, _)| *read < offset) {
            self.clock_before.pop_front();
        }
        for stream in self.streams.values_mut() {
            // What was written, not what the stream looks like by now: the next commit compares with it to see what the topic lacks.
            let entry = stream.proposed.take().unwrap_or_else(|| stream.entry_at(offset, clock));
            stream.idle_ends.keep(&entry, offset);
            stream.acknowledged = Some(entry);
            while stream.records.front().is_some_and(|record| record.offset < offset) {
                stream.records.pop_front();
            }
            stream.record_in_doubt = false;
            stream.forget_epochs(offset);
        }
        for stream_id in ended {
            if let Some(stream) = self.streams.get_mut(stream_id) {
                stream.has_progress_record = false;
            }
        }
        self.streams.retain(|_, stream| stream.has_progress_record || !stream.is_over_at(offset));
        self.files.retain(|stream_id| self.streams.contains_key(stream_id));
    }
}
