//! The commits of one assigned partition: what has settled, and streams that end by wall time.
//!
//! Input: the state of the partition, and the outcomes of its commits. Output: [`PartitionCommit`]s. Invariants: while the outcome of a commit is unknown,
//! no other offset is tried; nothing is written under the name of this assignment before its first commit is due.

use std::sync::Arc;

use super::commit::{CommitOutcome, PartitionCommit};
use super::commit_metadata::{CommitMetadata, RecordWriters};
use super::partition::Partition;
use super::tracked_progress::TrackedProgress;

impl Partition {
    /// Returns the progress of streams that are silent for so long that they end by wall time; `None` where there are none. They end once it is
    /// acknowledged, see [`Self::commit_completed`].
    ///
    /// The silence counts up to the last report of the partition's end, and only once all records before that end are read: a broker that does not
    /// answer, or records that are fetched and not read, may hold chunks of the stream.
    pub fn wall_time_commit(&mut self) -> Option<PartitionCommit> {
        // After a commit with an unknown outcome, the record must go on naming both of its offsets.
        // A record of this writer counts only behind a commit of this writer.
        let may_write = self.has_committed() && self.pending_commit.is_none();
        if !self.is_all_read() || !may_write {
            return None;
        }
        let silent = self.perhaps_idle().filter(|stream_id| self.silence.is_silent(stream_id));
        let silent: Vec<Arc<str>> = silent.cloned().collect();
        let end = |id: Arc<str>| self.tracker.end_by_wall_time(&id).map(|progress| (id, progress));
        let progress: Vec<_> = silent.into_iter().filter_map(end).collect();
        self.ending_by_wall_time = !progress.is_empty();
        self.ending_by_wall_time.then(|| PartitionCommit {
            assignment: self.assignment,
            progress,
            writers: self.record_writers(),
            offset: None,
            committed: self.tracker.committed(),
            metadata: self.committed.clone(),
            ended: Vec::new(),
        })
    }

    /// Returns what has settled since the last commit; `None` where nothing has.
    pub fn settled_commit(&mut self) -> Option<PartitionCommit> {
        let settled = self.pending_commit.unwrap_or_else(|| self.tracker.lowest_unsettled());
        let advanced = self.tracker.committed().is_none_or(|committed| committed < settled);
        let advanced = advanced && self.tracker.has_read();
        // A reader that leaves names the windows that it has published above the offset, so that the next one does not repeat them.
        let publishes = (self.transactional || self.leaving) && self.has_published;
        let may_close = self.may_close();
        let closes = may_close && self.tracker.closes_at(settled);
        if !advanced && !publishes && !closes && self.pending_commit.is_none() && !self.needs_first_commit() {
            return None;
        }
        self.pending_commit = Some(settled);
        self.has_published = false;
        let TrackedProgress { records, mut ended, closed, streams } =
            self.tracker.progress_at(settled, may_close);
        self.closing = closed;
        let void = self.void.iter().filter(|stream_id| !self.tracker.has_progress_record(stream_id));
        ended.extend(void.cloned());
        let number = if self.has_committed() { self.committed.number + 1 } else { 1 };
        Some(PartitionCommit {
            assignment: self.assignment,
            progress: records,
            writers: self.record_writers(),
            offset: Some(settled),
            committed: self.tracker.committed(),
            metadata: CommitMetadata { writer: Some(self.writer.clone()), number, streams },
            ended,
        })
    }

    /// Returns whether the group's offset is a commit of this assignment.
    fn has_committed(&self) -> bool {
        self.committed.writer.as_ref() == Some(&self.writer)
    }

    /// Returns whether a commit is due although no offset has settled: what this assignment writes to the progress topic counts only behind it.
    fn needs_first_commit(&self) -> bool {
        let writes = self.tracker.has_streams() || !self.void.is_empty();
        !self.has_committed() && (writes || self.tracker.has_read())
    }

    fn record_writers(&self) -> RecordWriters {
        RecordWriters { next: Some(self.writer.clone()), acknowledged: self.committed.writer.clone() }
    }

    /// Notes what became of a commit of this partition.
    pub fn commit_completed(&mut self, commit: PartitionCommit, outcome: CommitOutcome) {
        match commit.offset {
            // Without an offset, acknowledged progress is all there was to do.
            None => {
                self.ending_by_wall_time = false;
                commit.progress.iter().for_each(|(stream_id, _)| self.end_segment(stream_id));
            }
            Some(offset) if outcome == CommitOutcome::Acknowledged => {
                self.pending_commit = None;
                self.committed = commit.metadata;
                self.void.clear();
                self.tracker.commit_acknowledged(offset, &commit.ended);
                self.forget_closed();
            }
            Some(_) => {}
        }
    }
}
