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
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use metrics::{counter, histogram};
use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{self, REQUEST_TIMEOUT, ReaderContext};
use super::commit::{Commit, CommitOutcome, PartitionCommit};
use super::commit_metadata::CommitMetadata;
use super::delivery::{Delivery, progress_writes, tombstones};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::producer::Outgoing;
use super::refusal::Refusal;
use crate::telemetry::metrics::{
    KAFKA_COMMITS_TOTAL, KAFKA_TRANSACTION_SECONDS, KAFKA_TRANSACTIONS_ABORTED_TOTAL,
};

/// How long a step of a transaction waits before it is checked again.
const SLICE: Duration = Duration::from_millis(1);
/// Pause before a request that cannot be answered yet is repeated.
const RETRY: Duration = Duration::from_millis(100);
/// How often a producer may be replaced without a commit in between.
const MOST_REPLACEMENTS: usize = 10;
/// How often an abort is tried before the producer is replaced.
const ABORTS: usize = 3;

/// Counts acknowledgements, from the producer's own thread.
struct Acknowledgements(Sender<Option<KafkaError>>);

impl ClientContext for Acknowledgements {
    fn stats(&self, statistics: Statistics) {
        super::statistics::producer("transactions", &statistics);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        outage::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        outage::error(&error, reason);
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Once the delivery has gone, nothing waits for the record.
        let _ = self.0.send(result.as_ref().err().map(|(error, _)| error.clone()));
    }
}

/// Why a transaction was not committed.
enum Failure {
    /// It is aborted and can be tried again.
    Abort(KafkaError),
    /// The producer cannot go on.
    Fatal(KafkaError),
}

/// Exactly once; see the head of this file.
pub(super) struct ExactlyOnce {
    kafka: Options,
    consumer: Arc<BaseConsumer<ReaderContext>>,
    transactional_id: String,
    producer: ThreadedProducer<Acknowledgements>,
    acknowledged: Receiver<Option<KafkaError>>,
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
        let (producer, acknowledged) = connect(kafka, &transactional_id)?;
        Ok(Self {
            kafka: kafka.clone(),
            consumer,
            transactional_id,
            producer,
            acknowledged,
            replacements: 0,
            one_by_one: false,
            current: None,
        })
    }

    /// Registers the producer, which ends a transaction that an earlier one of the same id has left. Brokers that are away are waited for.
    fn initialise(&self) -> Result<(), KafkaFault> {
        loop {
            match self.producer.init_transactions(REQUEST_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) => {
                    tracing::warn!(
                        id = self.transactional_id,
                        "the transactional producer is not registered yet: {error}"
                    );
                    std::thread::sleep(RETRY);
                }
                Err(error) => return Err(self.fault("register the transactional producer", error)),
            }
        }
    }

    fn fault(&self, action: &str, error: KafkaError) -> KafkaFault {
        broker(&self.kafka, format!("{action} {}", self.transactional_id))(error)
    }

    /// Runs one transaction. The second value of an error says whether it may have been committed.
    fn run(&mut self, commit: &Commit) -> Result<(), (Failure, bool)> {
        let before = |failure| (failure, false);
        self.producer.begin_transaction().map_err(|error| before(classify(error)))?;
        let sent = self.send(commit).map_err(before)?;
        self.wait_for(sent).map_err(before)?;
        self.send_offsets(commit).map_err(before)?;
        self.commit().map_err(|failure| (failure, true))
    }

    /// Puts all records into the producer's queue and returns how many of them are not acknowledged yet.
    fn send(&mut self, commit: &Commit) -> Result<usize, Failure> {
        let mut sent = 0;
        for (index, record) in commit.records.iter().enumerate() {
            let Outgoing { topic, key, value, headers, .. } = &record.message;
            let send = || {
                let record = BaseRecord::<[u8], [u8]>::to(topic).headers(headers.clone());
                let (key, payload) = (key.as_deref(), value.as_deref());
                BaseRecord { key, payload, ..record }
            };
            self.current = Some(index).filter(|_| self.one_by_one);
            self.send_one(send)?;
            if self.one_by_one {
                self.wait_for(1)?;
            } else {
                sent += 1;
            }
        }
        self.current = None;
        for write in progress_writes(commit).chain(tombstones(commit)) {
            let value = write.value(&self.kafka.group_id);
            self.send_one(|| write.record(&self.kafka.progress_topic, value.as_deref()))?;
            sent += 1;
        }
        Ok(sent)
    }

    fn send_one<'a>(&self, record: impl Fn() -> BaseRecord<'a, [u8], [u8]>) -> Result<(), Failure> {
        loop {
            match self.producer.send(record()) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(SLICE);
                }
                Err((error, _)) => return Err(classify(error)),
            }
        }
    }

    /// Waits until each record is acknowledged or has failed. The transaction's timeout bounds how long a record is tried.
    ///
    /// rdkafka's `flush` is called without a timeout: with one it waits in slices of 100 ms.
    fn wait_for(&self, sent: usize) -> Result<(), Failure> {
        let (mut left, mut failed) = (sent, None);
        while left > 0 {
            // Makes the producer send what lingers.
            let _ = self.producer.flush(Duration::ZERO);
            match self.acknowledged.recv_timeout(RETRY) {
                Ok(outcome) => {
                    failed = failed.or(outcome);
                    left -= 1;
                    while left > 0
                        && let Ok(outcome) = self.acknowledged.try_recv()
                    {
                        failed = failed.or(outcome);
                        left -= 1;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Fatal(KafkaError::Canceled));
                }
            }
        }
        // A record counts until its report is dropped, which is just after it was counted here.
        while self.producer.flush(Duration::ZERO).is_err() {
            std::thread::sleep(SLICE);
        }
        failed.map_or(Ok(()), |error| Err(classify(error)))
    }

    fn send_offsets(&self, commit: &Commit) -> Result<(), Failure> {
        let mut offsets = TopicPartitionList::new();
        for part in &commit.partitions {
            let Some(offset) = part.offset.or(part.committed) else { continue };
            let mut element = offsets.add_partition(&self.kafka.input_topic, part.assignment.partition);
            element.set_offset(Offset::Offset(offset)).map_err(Failure::Abort)?;
            element.set_metadata(part.metadata.to_json());
        }
        let Some(member) = commit.member.as_ref().filter(|_| offsets.count() > 0) else { return Ok(()) };
        loop {
            match self.producer.send_offsets_to_transaction(&offsets, &member.0, REQUEST_TIMEOUT) {
                Err(error) if is_retriable(&error) => std::thread::sleep(RETRY),
                done => return done.map_err(classify),
            }
        }
    }

    fn commit(&self) -> Result<(), Failure> {
        loop {
            match self.producer.commit_transaction(REQUEST_TIMEOUT) {
                Err(error) if is_retriable(&error) => {
                    tracing::warn!("a transaction is not committed yet: {error}");
                    std::thread::sleep(RETRY);
                }
                done => return done.map_err(classify),
            }
        }
    }

    /// Aborts the transaction; `false` where the producer cannot go on.
    fn abort(&self) -> bool {
        for _ in 0..ABORTS {
            match self.producer.abort_transaction(REQUEST_TIMEOUT) {
                Ok(()) => {
                    // Reports of records that were purged.
                    while self.producer.flush(Duration::ZERO).is_err() {
                        std::thread::sleep(SLICE);
                    }
                    while self.acknowledged.try_recv().is_ok() {}
                    return true;
                }
                Err(error) if is_retriable(&error) => std::thread::sleep(RETRY),
                Err(error) => {
                    tracing::warn!("a transaction cannot be aborted: {error}");
                    return false;
                }
            }
        }
        false
    }

    /// Returns the outcome of an aborted transaction. Where a record was refused for what it holds, the next transaction finds out which.
    fn after_abort(&mut self, error: KafkaError) -> Result<CommitOutcome, KafkaFault> {
        let is_record = matches!(Refusal::of(&error), Refusal::TooLarge | Refusal::Unwritable);
        let found = self.current.take();
        match (is_record, self.one_by_one, found) {
            (true, true, Some(index)) => Ok(CommitOutcome::RecordRefused(index)),
            // All events and dead letters were acknowledged, so it is progress that is refused.
            (true, true, None) => Err(self.fault("write progress in a transaction of", error)),
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
            return Err(self.fault("commit transactions of", error));
        }
        tracing::warn!(id = self.transactional_id, "the transactional producer is replaced: {error}");
        (self.producer, self.acknowledged) = connect(&self.kafka, &self.transactional_id)?;
        self.initialise()
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
        self.initialise()
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
                if self.abort() {
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

/// A producer with the channel of its acknowledgements.
type Connected = (ThreadedProducer<Acknowledgements>, Receiver<Option<KafkaError>>);

fn connect(kafka: &Options, transactional_id: &str) -> Result<Connected, KafkaFault> {
    // Bounded by the producer's own queue.
    let (acknowledge, acknowledged) = unbounded();
    let context = Acknowledgements(acknowledge);
    Ok((clients::transactional_producer(kafka, transactional_id, context)?, acknowledged))
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => {
            error.is_retriable() && !error.is_fatal() && !error.txn_requires_abort()
        }
        KafkaError::Flush(_) => true,
        _ => false,
    }
}

fn classify(error: KafkaError) -> Failure {
    match &error {
        KafkaError::Transaction(cause) if cause.is_fatal() => Failure::Fatal(error),
        KafkaError::Transaction(cause) if cause.txn_requires_abort() => Failure::Abort(error),
        // Any other error of a transaction's calls means that librdkafka and this file disagree about its state; a new producer begins anew.
        KafkaError::Transaction(_) => Failure::Fatal(error),
        _ => Failure::Abort(error),
    }
}
