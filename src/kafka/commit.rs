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

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;

use super::commit_metadata::{CommitMetadata, RecordWriters};
use super::dead_letters;
use super::partition::Partition;
use super::producer::Outgoing;
use super::progress::Progress;
use crate::stream::Assignment;

/// All that becomes durable together, in the order of its fields for each partition.
#[derive(Debug, Default)]
pub struct Commit {
    /// Events and dead letters of a transaction, in order; empty where they are published by themselves.
    pub records: Vec<TransactionRecord>,
    /// The partitions that it is about.
    pub partitions: Vec<PartitionCommit>,
    /// The member of the group that makes the commit; only for transactions.
    pub member: Option<GroupMember>,
}

impl Commit {
    /// Drops what belongs to assignments that are over.
    pub(super) fn retain(&mut self, is_current: impl Fn(Assignment) -> bool) {
        self.records.retain(|record| is_current(record.assignment));
        self.partitions.retain(|part| is_current(part.assignment));
    }

    /// Replaces an event or a dead letter that the brokers refuse by a smaller dead letter. One that is the smallest already is dropped.
    pub(super) fn replace_refused(&mut self, index: usize, error: &KafkaError, dead_letter_topic: &str) {
        let TransactionRecord { assignment, message } = self.records.remove(index);
        if let Ok(message) = dead_letters::in_place_of(message, error, dead_letter_topic) {
            self.records.insert(index, TransactionRecord { assignment, message });
        }
    }
}

/// An event or a dead letter of a transaction.
#[derive(Debug)]
pub struct TransactionRecord {
    /// The assignment that it comes from.
    pub assignment: Assignment,
    /// The record.
    pub message: Outgoing,
}

/// The member of the group, with its generation, as it was when the commit was made. The group's coordinator refuses the commit if another generation has
/// begun since.
pub struct GroupMember(pub(super) ConsumerGroupMetadata);

impl std::fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GroupMember")
    }
}

/// The part of a [`Commit`] that belongs to one partition.
#[derive(Debug)]
pub struct PartitionCommit {
    /// The assignment under which it was read.
    pub assignment: Assignment,
    /// Progress records, by stream. They precede the offset.
    pub progress: Vec<(Arc<str>, Progress)>,
    /// The writers that those records name.
    pub writers: RecordWriters,
    /// The settled offset. `None` where streams are about to end by wall time: their progress is written, and the offset stays as it is.
    pub offset: Option<i64>,
    /// The offset that the group has committed. A transaction without a new offset repeats it, so that the group's coordinator checks the member.
    pub committed: Option<i64>,
    /// The metadata that is committed with the offset.
    pub metadata: CommitMetadata,
    /// Streams whose progress records are deleted after the offset is acknowledged.
    pub ended: Vec<Arc<str>>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Progress and offsets are acknowledged.
    Acknowledged,
    /// Nothing has become durable: the transaction was aborted. It is to be tried again while its partitions are assigned.
    Aborted,
    /// Nothing has become durable, because the brokers refuse records for what they hold. It is to be tried again: a smaller record is in the place of one
    /// of them, or fewer of them are sent together.
    Refused,
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

    /// Ends idle segments, and lets the next commit close streams that are silent for long. Segments that end by wall-clock time end once the
    /// returned commit, which has their progress, is acknowledged.
    ///
    /// One commit has the streams of all partitions: thousands that fall silent together cost one round trip.
    pub fn end_idle(&mut self, partitions: &mut BTreeMap<i32, Partition>) -> Option<Commit> {
        partitions.values_mut().for_each(Partition::end_idle_by_partition_time);
        partitions.values_mut().for_each(Partition::close_silent);
        if self.under_way {
            return None;
        }
        let due = partitions.values_mut().filter_map(Partition::wall_time_commit).collect();
        self.begin(due)
    }

    fn begin(&mut self, partitions: Vec<PartitionCommit>) -> Option<Commit> {
        self.under_way = !partitions.is_empty();
        self.under_way.then(|| Commit { partitions, ..Commit::default() })
    }

    /// Notes that the commit that is under way is given up: its partitions were released.
    pub(super) fn give_up(&mut self) {
        self.under_way = false;
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

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;
    use rdkafka::message::{Headers, OwnedHeaders};

    use super::*;
    use crate::kafka::outgoing::Content;
    use crate::kafka::producer::Settlement;

    const ASSIGNMENT: Assignment = Assignment { partition: 0, number: 1 };

    fn record(topic: &str, bytes: usize, content: Content) -> TransactionRecord {
        let message = Outgoing {
            topic: topic.to_owned(),
            key: Some(b"call".to_vec()),
            value: Some(vec![7; bytes]),
            headers: OwnedHeaders::new(),
            settlement: Box::new(Settlement::Nothing),
            content,
            suspect: false,
        };
        TransactionRecord { assignment: ASSIGNMENT, message }
    }

    /// Topic and size of the value of each record.
    fn sizes(commit: &Commit) -> Vec<(String, Option<usize>)> {
        let size = |record: &TransactionRecord| {
            (record.message.topic.clone(), record.message.value.as_ref().map(Vec::len))
        };
        commit.records.iter().map(size).collect()
    }

    #[test]
    fn a_record_that_is_refused_becomes_smaller_at_its_place_until_it_is_dropped() {
        let records = [10, 900, 20].map(|bytes| record("events", bytes, Content::Event));
        let mut commit = Commit { records: records.into(), ..Commit::default() };
        let of = |middle: Option<(&str, Option<usize>)>| {
            let middle = middle.map(|(topic, bytes)| (topic.to_owned(), bytes));
            let (first, last) = (("events".to_owned(), Some(10)), ("events".to_owned(), Some(20)));
            [Some(first), middle, Some(last)].into_iter().flatten().collect::<Vec<_>>()
        };
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        let replace = |commit: &mut Commit| commit.replace_refused(1, &error, "letters");
        replace(&mut commit);
        assert_eq!(sizes(&commit), of(Some(("letters", None))), "a dead letter without the value");
        let error = commit.records[1].message.headers.iter().find(|header| header.key == "affectd-error");
        assert!(error.is_some(), "it has the reason");
        replace(&mut commit);
        assert_eq!(sizes(&commit), of(Some(("letters", None))), "its origin alone");
        replace(&mut commit);
        assert_eq!(sizes(&commit), of(None), "dropped");
    }

    #[test]
    fn records_of_assignments_that_are_over_leave_the_transaction() {
        let other = Assignment { partition: 0, number: 2 };
        let kept = TransactionRecord { assignment: other, ..record("events", 1, Content::Event) };
        let mut commit =
            Commit { records: vec![record("events", 2, Content::Event), kept], ..Commit::default() };
        commit.retain(|assignment| assignment == other);
        assert_eq!(sizes(&commit), [("events".to_owned(), Some(1))]);
    }
}
