//! Exactly once: events, dead letters, progress and offsets of a commit in one transaction.
//!
//! Input: [`Commit`]s with their records. Output: what became of each. Invariants: a commit is either applied as a whole or not at all, and
//! [`CommitOutcome::Aborted`] means that it is not; the offsets name the member of the group and its generation, so that a process which was excluded from
//! the group publishes nothing (KIP-447).
//!
//! A commit has all of its records, so an aborted transaction is repeated as it was and no partition has to be opened again. Where librdkafka cannot go on
//! (a fatal error), a new producer with the same transactional id ends the old transaction first. Whether that one was committed is then read from the
//! group: the metadata of an offset commit has the writer and the number of the commit.

use std::sync::Arc;
use std::time::Instant;

use metrics::{counter, histogram};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::clients::{REQUEST_TIMEOUT, ReaderContext};
use super::commit::{Commit, CommitOutcome, PartitionCommit};
use super::commit_metadata::CommitMetadata;
use super::delivery::{Delivery, progress_writes, tombstones};
use super::fault::KafkaFault;
use super::options::Options;
use super::outage;
use super::producer::Outgoing;
use super::refusal::Refusal;
use super::transaction_producer::{Failure, RETRY, TransactionProducer};
use crate::telemetry::metrics::{
    KAFKA_COMMITS_TOTAL, KAFKA_TRANSACTION_SECONDS, KAFKA_TRANSACTIONS_ABORTED_TOTAL,
};

/// How often a producer may be replaced without a commit in between.
const MOST_REPLACEMENTS: usize = 10;

/// Exactly once; see the head of this file.
pub(super) struct ExactlyOnce {
    kafka: Options,
    consumer: Arc<BaseConsumer<ReaderContext>>,
    producer: TransactionProducer,
    /// Producers since the last commit.
    replacements: usize,
    /// Whether the next transaction sends each record alone, because one of the last was refused: its batch may have been too large, and it is not known
    /// which record of a batch the brokers refuse.
    one_by_one: bool,
    /// The record of a transaction with `one_by_one` that is not acknowledged yet.
    current: Option<usize>,
}

impl ExactlyOnce {
    /// Creates the producer, without a request to the brokers.
    ///
    /// Its transactional id has the name of the instance. Without one it is different at each start, so that daemons of a group never exclude each other.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(
        kafka: &Options,
        consumer: Arc<BaseConsumer<ReaderContext>>,
        process: uuid::Uuid,
    ) -> Result<Self, KafkaFault> {
        let instance = match kafka.instance_id.as_str() {
            "" => process.simple().to_string(),
            name => name.to_owned(),
        };
        let transactional_id = format!("{}-{instance}", kafka.group_id);
        Ok(Self {
            kafka: kafka.clone(),
            consumer,
            producer: TransactionProducer::new(kafka, &transactional_id)?,
            replacements: 0,
            one_by_one: false,
            current: None,
        })
    }

    /// Runs one transaction. The second value of an error says whether it may have been committed.
    fn run(&mut self, commit: &Commit) -> Result<(), (Failure, bool)> {
        let before = |failure| (failure, false);
        self.producer.begin().map_err(before)?;
        let sent = self.send(commit).map_err(before)?;
        self.producer.wait_for(sent).map_err(before)?;
        self.producer.send_offsets(commit).map_err(before)?;
        self.producer.commit().map_err(|failure| (failure, true))
    }

    /// Puts all records into the producer's queue and returns how many of them are not acknowledged yet.
    fn send(&mut self, commit: &Commit) -> Result<usize, Failure> {
        let mut sent = 0;
        for (index, record) in commit.records.iter().enumerate() {
            let Outgoing { topic, key, value, headers, .. } = &record.message;
            let send = || {
                let record = BaseRecord::with_opaque_to(topic, index).headers(headers.clone());
                let (key, payload) = (key.as_deref(), value.as_deref());
                BaseRecord { key, payload, ..record }
            };
            self.current = Some(index).filter(|_| self.one_by_one);
            self.producer.send(send)?;
            if self.one_by_one {
                self.producer.wait_for(1)?;
            } else {
                sent += 1;
            }
        }
        self.current = None;
        for write in progress_writes(commit).chain(tombstones(commit)) {
            let value = write.value(&self.kafka.group_id);
            self.producer.send(|| write.record(&self.kafka.progress_topic, value.as_deref(), 0))?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Returns the outcome of an aborted transaction. Where a record was refused for what it holds, the next transaction finds out which.
    fn after_abort(&mut self, error: KafkaError) -> Result<CommitOutcome, KafkaFault> {
        let is_record = matches!(Refusal::of(&error), Refusal::TooLarge | Refusal::Unwritable);
        let found = self.current.take();
        match (is_record, self.one_by_one, found) {
            (true, true, Some(index)) => Ok(CommitOutcome::RecordRefused(index)),
            // All events and dead letters were acknowledged, so it is progress that is refused.
            (true, true, None) => Err(self.producer.fault("write progress in a transaction of", error)),
            (true, false, _) => {
                self.one_by_one = true;
                Ok(CommitOutcome::Aborted)
            }
            (false, ..) => Ok(CommitOutcome::Aborted),
        }
    }

    /// Replaces the producer, which ends the transaction of the old one.
    fn replace(&mut self, error: KafkaError) -> Result<(), KafkaFault> {
        self.replacements += 1;
        if self.replacements > MOST_REPLACEMENTS {
            return Err(self.producer.fault("commit transactions of", error));
        }
        tracing::warn!(id = self.producer.id(), "the transactional producer is replaced: {error}");
        self.producer = TransactionProducer::new(&self.kafka, self.producer.id())?;
        self.producer.initialise()
    }

    /// Returns whether the group has the offsets of a commit.
    fn is_committed(&self, commit: &Commit) -> Result<bool, KafkaFault> {
        let with_offset = |part: &&PartitionCommit| part.offset.is_some();
        let parts: Vec<&PartitionCommit> = commit.partitions.iter().filter(with_offset).collect();
        let mut wanted = TopicPartitionList::new();
        for part in &parts {
            wanted.add_partition(&self.kafka.input_topic, part.assignment.partition);
        }
        if parts.is_empty() {
            return Ok(false);
        }
        loop {
            match self.consumer.committed_offsets(wanted.clone(), REQUEST_TIMEOUT) {
                Ok(found) if found.elements().iter().all(|element| element.error().is_ok()) => {
                    let is_committed = |part: &&PartitionCommit| {
                        let found = found.find_partition(&self.kafka.input_topic, part.assignment.partition);
                        found.is_some_and(|found| CommitMetadata::parse(found.metadata()) == part.metadata)
                    };
                    return Ok(parts.iter().all(is_committed));
                }
                Ok(_) => std::thread::sleep(RETRY),
                Err(error) => {
                    tracing::warn!("the outcome of a transaction is not known yet: {error}");
                    std::thread::sleep(RETRY);
                }
            }
        }
    }
}

impl Delivery for ExactlyOnce {
    fn prepare(&mut self) -> Result<(), KafkaFault> {
        self.producer.initialise()
    }

    fn deliver(&mut self, commit: &Commit) -> Result<CommitOutcome, KafkaFault> {
        let started = Instant::now();
        let ran = self.run(commit);
        histogram!(KAFKA_TRANSACTION_SECONDS).record(started.elapsed());
        let (failure, may_be_committed) = match ran {
            Ok(()) => {
                (self.replacements, self.one_by_one) = (0, false);
                counter!(KAFKA_COMMITS_TOTAL).increment(1);
                return Ok(CommitOutcome::Acknowledged);
            }
            Err(failed) => failed,
        };
        counter!(KAFKA_TRANSACTIONS_ABORTED_TOTAL).increment(1);
        let error = match failure {
            Failure::Abort(error) => {
                outage::report(&format!("a transaction is aborted and tried again: {error}"));
                if self.producer.abort() {
                    return self.after_abort(error);
                }
                error
            }
            Failure::Fatal(error) => error,
        };
        self.replace(error)?;
        let committed = may_be_committed && self.is_committed(commit)?;
        Ok(if committed { CommitOutcome::Acknowledged } else { CommitOutcome::Aborted })
    }
}
