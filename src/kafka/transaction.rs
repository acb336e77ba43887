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
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;

use super::clients::ReaderContext;
use super::commit::{Commit, CommitOutcome};
use super::contexts::Unwritten;
use super::delivery::{Delivery, progress_writes, tombstones};
use super::fault::KafkaFault;
use super::options::Options;
use super::outage;
use super::producer::Outgoing;
use super::refusal::Refusal;
use super::topics;
use super::transaction_outcome;
use super::transaction_producer::{Failure, TransactionProducer};
use crate::telemetry::metrics::{
    KAFKA_COMMITS_TOTAL, KAFKA_TRANSACTION_SECONDS, KAFKA_TRANSACTIONS_ABORTED_TOTAL,
};

/// How often a producer may be replaced without a commit in between, nor a transaction that only waits for a topic.
const MOST_REPLACEMENTS: usize = 10;

/// Exactly once; see the head of this file.
pub(super) struct ExactlyOnce {
    kafka: Options,
    consumer: Arc<BaseConsumer<ReaderContext>>,
    producer: TransactionProducer,
    /// Producers since the last commit.
    replacements: usize,
    /// The most bytes of records that are sent together; see [`Self::after_refusal`].
    group_bytes: usize,
}

/// Records that are sent and not waited for yet.
#[derive(Default)]
struct Group {
    records: usize,
    bytes: usize,
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
            group_bytes: usize::MAX,
        })
    }

    /// Runs one transaction. The second value of an error is whether it may have been committed.
    fn run(&self, commit: &Commit) -> Result<(), (Failure, bool)> {
        let before = |failure| (failure, false);
        self.producer.begin().map_err(before)?;
        self.send(commit).map_err(before)?;
        self.producer.send_offsets(commit).map_err(before)?;
        self.producer.commit().map_err(|failure| (failure, true))
    }

    /// Sends all records and waits until they are acknowledged. Their numbers are those of [`Commit::records`]; progress follows.
    fn send(&self, commit: &Commit) -> Result<(), Failure> {
        let mut group = Group::default();
        for (number, record) in commit.records.iter().enumerate() {
            let Outgoing { topic, key, value, headers, .. } = &record.message;
            let (key, payload) = (key.as_deref(), value.as_deref());
            self.join(&mut group, key.map_or(0, <[u8]>::len) + payload.map_or(0, <[u8]>::len))?;
            self.producer.send(|| {
                let record = BaseRecord::with_opaque_to(topic, number).headers(headers.clone());
                BaseRecord { key, payload, ..record }
            })?;
        }
        let progress = progress_writes(commit).chain(tombstones(commit));
        for (number, write) in (commit.records.len()..).zip(progress) {
            let value = write.value(&self.kafka.group_id);
            self.join(&mut group, write.stream_id.len() + value.as_ref().map_or(0, Vec::len))?;
            self.producer.send(|| write.record(&self.kafka.progress_topic, value.as_deref(), number))?;
        }
        self.producer.wait_for(group.records)
    }

    /// Adds a record to a group. If there is no room for it, the records of the group are waited for, and it begins the next one.
    fn join(&self, group: &mut Group, bytes: usize) -> Result<(), Failure> {
        if group.records > 0 && group.bytes.saturating_add(bytes) > self.group_bytes {
            self.producer.wait_for(group.records)?;
            *group = Group::default();
        }
        *group = Group { records: group.records + 1, bytes: group.bytes + bytes };
        Ok(())
    }

    /// Returns the outcome of a transaction that was aborted because of `unwritten` records.
    ///
    /// The brokers refuse a batch as a whole, for its size or for one of its records, and librdkafka does not report which records were in a batch. So a
    /// single record is to blame only if no other one was refused. Otherwise fewer are sent together from now on, which also is what a topic needs that
    /// takes small batches only.
    fn after_refusal(
        &mut self,
        commit: &mut Commit,
        unwritten: &[Unwritten],
    ) -> Result<CommitOutcome, KafkaFault> {
        let is_refused = |record: &&Unwritten| {
            matches!(Refusal::of(&record.error), Refusal::TooLarge | Refusal::Unwritable)
        };
        let refused: Vec<&Unwritten> = unwritten.iter().filter(is_refused).collect();
        match refused[..] {
            [] => return Ok(CommitOutcome::Aborted),
            [record] if record.number < commit.records.len() => {
                commit.replace_refused(record.number, &record.error, &self.kafka.dead_letter_topic);
            }
            [record] => {
                let error = record.error.clone();
                return Err(self.producer.fault("write progress in a transaction of", error));
            }
            _ => {
                let bytes: usize = refused.iter().map(|record| record.bytes).sum();
                self.group_bytes = (bytes / 2).min(self.group_bytes / 2);
            }
        }
        Ok(CommitOutcome::Refused)
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

    /// Returns the outcome of a commit after an error that the producer cannot go on after.
    fn after_fatal(
        &mut self,
        commit: &Commit,
        error: KafkaError,
        may_be_committed: bool,
    ) -> Result<CommitOutcome, KafkaFault> {
        self.replace(error)?;
        let committed =
            may_be_committed && transaction_outcome::is_committed(&self.kafka, &self.consumer, commit);
        Ok(if committed { CommitOutcome::Acknowledged } else { CommitOutcome::Aborted })
    }
}

impl Delivery for ExactlyOnce {
    fn prepare(&mut self) -> Result<(), KafkaFault> {
        self.producer.initialise()
    }

    fn deliver(&mut self, commit: &mut Commit) -> Result<CommitOutcome, KafkaFault> {
        let started = Instant::now();
        let ran = self.run(commit);
        histogram!(KAFKA_TRANSACTION_SECONDS).record(started.elapsed());
        let (failure, may_be_committed) = match ran {
            Ok(()) => {
                self.replacements = 0;
                counter!(KAFKA_COMMITS_TOTAL).increment(1);
                return Ok(CommitOutcome::Acknowledged);
            }
            Err(failed) => failed,
        };
        counter!(KAFKA_TRANSACTIONS_ABORTED_TOTAL).increment(1);
        let (error, mut unwritten) = match failure {
            Failure::Abort(error) => (error, Vec::new()),
            Failure::Unwritten(records) => {
                (records.first().map_or(KafkaError::Canceled, |first| first.error.clone()), records)
            }
            Failure::Fatal(error) => return self.after_fatal(commit, error, may_be_committed),
        };
        outage::report(&format!("a transaction is aborted and tried again: {error}"));
        let aborted = self.producer.abort();
        unwritten.extend(self.producer.unwritten());
        topics::restore_progress(&self.kafka, &unwritten);
        match aborted {
            Ok(()) => self.after_refusal(commit, &unwritten),
            Err(abort) => {
                tracing::warn!("a transaction cannot be aborted: {abort}");
                if waits_for_topic(&error, &abort) {
                    self.replacements = 0;
                }
                self.after_fatal(commit, error, may_be_committed)
            }
        }
    }
}

/// Returns whether a transaction that could not be aborted only waits until a topic is there, or may be written to, again. The brokers have added no partition
/// to it then, or not the one of a record that has timed out.
fn waits_for_topic(failure: &KafkaError, abort: &KafkaError) -> bool {
    failure.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut)
        || abort.rdkafka_error_code() == Some(RDKafkaErrorCode::InvalidTransactionalState)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_waits_for_a_topic_does_not_count_as_a_replacement() {
        let [timed_out, purged, fenced, no_partitions] = [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::ProducerFenced,
            RDKafkaErrorCode::InvalidTransactionalState,
        ]
        .map(KafkaError::MessageProduction);
        assert!(waits_for_topic(&timed_out, &fenced), "a deleted topic");
        assert!(waits_for_topic(&purged, &no_partitions), "a topic that may not be written to");
        assert!(!waits_for_topic(&fenced, &fenced), "another producer of the same id");
    }
}
