//! A broker in memory: the committed offset, the progress topic and what was published.
//!
//! Input: commits of readers, and their outcomes. Output: where the next reader starts. Asserts that the committed offset never falls.

use std::collections::HashMap;
use std::sync::Arc;

use affectd::kafka::{
    Commit, CommitMetadata, CommitOutcome, Committed, Delivery, KafkaFault, PartitionCommit, PartitionStart,
    Progress, ProgressLog, ProgressRecord, RecordWriters, ResolvedProgress,
};

use super::{Name, Published, Window};

const GROUP: &str = "affectd";

/// What becomes of a commit at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerOutcome {
    /// It is applied, and the reader is told.
    Acknowledged,
    /// Its progress is written, its offset is not committed.
    OffsetLost,
    /// It is applied up to its offset, and the reader is not told.
    AcknowledgementLost,
}

/// How readers deliver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each event is published as soon as it is there.
    #[default]
    AtLeastOnce,
    /// Events are published with the commit that settles them; each must be new.
    ExactlyOnce,
    /// The readers take turns: at least once, then exactly once.
    Alternating,
}

/// What outlives a reader.
#[derive(Debug, Default)]
pub struct Broker {
    pub committed: Option<i64>,
    /// The last commit, with its metadata.
    pub(super) commit: Committed,
    /// The progress topic; a record without a value is a tombstone.
    pub(super) progress: Vec<(Arc<str>, RecordWriters, Option<Vec<u8>>)>,
    /// Readers so far.
    pub(super) readers: u64,
    /// How the next readers deliver.
    pub delivery: Mode,
    pub published: Published,
    /// All that was published in transactions, in order.
    pub publications: Vec<(Name, Window)>,
}

impl Broker {
    /// A broker whose readers publish in transactions.
    pub fn exactly_once() -> Self {
        Self { delivery: Mode::ExactlyOnce, ..Self::default() }
    }

    /// The newest record of a stream.
    pub fn progress(&self, stream_id: &str) -> Progress {
        let newest = self.progress.iter().rfind(|(id, ..)| **id == *stream_id).unwrap();
        parse(newest.2.as_ref().unwrap())
    }

    /// Returns whether the newest record of a stream is a tombstone.
    pub fn is_deleted(&self, stream_id: &str) -> bool {
        let newest = self.progress.iter().rfind(|(id, ..)| **id == *stream_id);
        newest.is_some_and(|(.., value)| value.is_none())
    }

    /// The newest record of a stream; `None` before its first one.
    pub fn progress_or_none(&self, stream_id: &str) -> Option<Progress> {
        self.progress.iter().any(|(id, ..)| **id == *stream_id).then(|| self.progress(stream_id))
    }

    /// What the next reader finds, all records and those that compaction would leave.
    pub fn resolved(&self) -> [ResolvedProgress; 2] {
        let compacted: HashMap<_, _> = self.progress.iter().map(|record| (&record.0, record)).collect();
        let (mut all, mut newest) = (ProgressLog::default(), ProgressLog::default());
        for (log, records) in [
            (&mut all, self.progress.iter().collect::<Vec<_>>()),
            (&mut newest, compacted.into_values().collect()),
        ] {
            for (id, writers, value) in records {
                log.push(id.clone(), writers.clone(), value.as_deref().map(parse));
            }
        }
        [all.resolve(&self.commit), newest.resolve(&self.commit)]
    }

    /// The start of the next reader, which loses nothing, whether the topic was compacted or not.
    pub(super) fn next_start(&mut self) -> PartitionStart {
        let [all, compacted] = self.resolved();
        for resolved in [&all, &compacted] {
            assert!(resolved.lost.is_empty() && resolved.missing == 0, "{:?}: {resolved:?}", self.commit);
        }
        self.readers += 1;
        PartitionStart {
            offset: self.committed.unwrap_or(0),
            committed: self.commit.clone(),
            writer: format!("reader-{}", self.readers),
            open_streams: if self.readers.is_multiple_of(2) { all.open } else { compacted.open },
            void: all.void,
            transactional: self.is_transactional(),
        }
    }

    /// Returns whether the present reader publishes in transactions.
    fn is_transactional(&self) -> bool {
        match self.delivery {
            Mode::AtLeastOnce => false,
            Mode::ExactlyOnce => true,
            Mode::Alternating => self.readers.is_multiple_of(2),
        }
    }

    /// Publishes the events of a transaction.
    pub(super) fn publish(&mut self, events: Vec<(Name, Window)>) {
        for (name, window) in events {
            let earlier = self.published.insert(name.clone(), window.clone());
            assert!(
                self.delivery != Mode::Alternating || earlier.is_none_or(|earlier| earlier == window),
                "{name:?} published again is the same"
            );
            self.publications.push((name, window));
        }
    }

    /// Writes the tombstone of a reader that was stopped before it did.
    pub fn write_tombstone(&mut self, stream_id: &str, writer: &str) {
        let writers = RecordWriters { next: Some(writer.to_owned()), acknowledged: None };
        self.progress.push((stream_id.into(), writers, None));
    }

    /// Deletes the progress topic.
    pub fn delete_progress(&mut self) {
        self.progress.clear();
    }

    /// Moves the offset as an administration tool does.
    pub fn reset_offset(&mut self, offset: i64) {
        self.committed = Some(offset);
        self.commit = Committed { offset: Some(offset), ..Committed::default() };
    }

    /// Makes records and commit those of a version that names no writers.
    pub fn forget_writers(&mut self) {
        self.commit.metadata = CommitMetadata::default();
        self.progress.iter_mut().for_each(|(_, writers, _)| *writers = RecordWriters::default());
    }

    fn write(&mut self, part: &PartitionCommit) {
        for (id, progress) in &part.progress {
            self.progress.push((id.clone(), part.writers.clone(), Some(progress.to_json(GROUP))));
        }
    }
}

fn parse(value: &[u8]) -> Progress {
    serde_json::from_slice::<ProgressRecord>(value).unwrap().progress
}

/// The second implementation of the seam: a broker in memory.
pub(super) struct MemoryDelivery<'a>(pub &'a mut Broker, pub BrokerOutcome);

impl Delivery for MemoryDelivery<'_> {
    fn deliver(&mut self, commit: &mut Commit) -> Result<CommitOutcome, KafkaFault> {
        let Self(broker, outcome) = self;
        for part in &commit.partitions {
            broker.write(part);
            let Some(offset) = part.offset else { continue };
            if *outcome == BrokerOutcome::OffsetLost {
                return Ok(CommitOutcome::Unacknowledged);
            }
            assert!(broker.committed.is_none_or(|before| before <= offset), "the group's offset never falls");
            broker.committed = Some(offset);
            broker.commit = Committed { offset: Some(offset), metadata: part.metadata.clone() };
            if *outcome == BrokerOutcome::AcknowledgementLost {
                return Ok(CommitOutcome::Unacknowledged);
            }
            let tombstone = |id: &Arc<str>| (id.clone(), part.writers.clone(), None);
            broker.progress.extend(part.ended.iter().map(tombstone));
        }
        Ok(CommitOutcome::Acknowledged)
    }
}
