//! What is committed and when: progress first, then the offsets that it belongs to, one commit at a time.
//!
//! Input: the tracked offsets of all assigned partitions, and the results of earlier commits. Output: [`Commit`]s for a [`super::Delivery`]. Pure: the
//! delivery runs elsewhere and the reader goes on meanwhile.
//!
//! At most one commit is under way. A progress record names two offsets, the one of the commit that follows it and the last acknowledged one. If a
//! second commit could overtake the first, or a first one with an unknown outcome were followed by another offset, the group's offset might be one that the
//! newest record does not name, and its streams could not be resumed. For the same reason a commit that was not acknowledged is tried again with the
//! same offset, however far the partition has got, and streams end by wall time only while no commit is under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::partition::Partition;
use super::progress::Progress;
use crate::stream::Assignment;

/// All that becomes durable together, in the order of its fields for each partition.
#[derive(Debug, Default)]
pub struct Commit {
    /// The partitions that it is about.
    pub partitions: Vec<PartitionCommit>,
}

/// The part of a [`Commit`] that belongs to one partition.
#[derive(Debug)]
pub struct PartitionCommit {
    /// The assignment under which it was read.
    pub assignment: Assignment,
    /// Progress records, by stream. They precede the offset.
    pub progress: Vec<(Arc<str>, Progress)>,
    /// The settled offset. `None` where streams are about to end by wall time: their progress is written, and the offset stays as it is.
    pub offset: Option<i64>,
    /// Streams whose progress records are deleted after the offset is acknowledged.
    pub ended: Vec<Arc<str>>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Progress and offsets are acknowledged.
    Acknowledged,
    /// The progress is acknowledged, the offsets are not: the broker may have applied them or not.
    Unacknowledged,
}

/// Decides what is committed, and notes the outcomes.
#[derive(Debug, Default)]
pub struct Committer {
    under_way: bool,
}

impl Committer {
    /// Returns whether the outcome of a commit is still to come.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Returns a commit of what has settled, to be delivered and then passed to [`Self::complete`]. `None` where nothing has, or a commit is under way.
    pub fn settled(&mut self, partitions: &mut BTreeMap<i32, Partition>) -> Option<Commit> {
        if self.under_way {
            return None;
        }
        let due = partitions.values_mut().filter_map(Partition::settled_commit).collect();
        self.begin(due)
    }

    /// Ends idle segments. Those that only the clock can judge end once the returned commit, which has their progress, is acknowledged.
    ///
    /// One commit has the streams of all partitions: thousands that fall silent together cost one round trip.
    pub fn end_idle(&mut self, partitions: &mut BTreeMap<i32, Partition>) -> Option<Commit> {
        partitions.values_mut().for_each(Partition::end_idle_by_partition_time);
        if self.under_way {
            return None;
        }
        let due = partitions.values_mut().filter_map(Partition::wall_time_commit).collect();
        self.begin(due)
    }

    fn begin(&mut self, partitions: Vec<PartitionCommit>) -> Option<Commit> {
        self.under_way = !partitions.is_empty();
        self.under_way.then_some(Commit { partitions })
    }

    /// Notes the outcome of the commit that is under way. Partitions that were released meanwhile, or assigned anew, are left alone.
    pub fn complete(
        &mut self,
        partitions: &mut BTreeMap<i32, Partition>,
        commit: Commit,
        outcome: CommitOutcome,
    ) {
        self.under_way = false;
        for part in commit.partitions {
            let partition = partitions.get_mut(&part.assignment.partition);
            if let Some(partition) = partition.filter(|found| found.assignment() == part.assignment) {
                partition.commit_completed(part, outcome);
            }
        }
    }
}
