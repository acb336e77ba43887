//! The producer of transactions: each step of a transaction, repeated while the brokers cannot answer.
//!
//! Input: records and offsets. Output: whether a step is done, or why the transaction is aborted or the producer cannot go on. Every step blocks its
//! caller, which is the delivery thread.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{self, REQUEST_TIMEOUT};
use super::commit::Commit;
use super::contexts::{Outcome, OutcomeContext, Unwritten};
use super::fault::{KafkaFault, broker};
use super::options::Options;

/// How long a step of a transaction waits before it is checked again.
const SLICE: Duration = Duration::from_millis(1);
/// Pause before a request that cannot be answered yet is repeated.
pub(super) const RETRY: Duration = Duration::from_millis(100);
/// How often an abort is tried before the producer is replaced.
const ABORTS: usize = 3;

/// Why a transaction was not committed.
pub(super) enum Failure {
    /// It is aborted and can be tried again.
    Abort(KafkaError),
    /// It is aborted, because these records were not written, and perhaps others.
    Unwritten(Vec<Unwritten>),
    /// The producer cannot go on.
    Fatal(KafkaError),
}

/// A producer with the channel of its records' outcomes.
pub(super) struct TransactionProducer {
    kafka: Options,
    transactional_id: String,
    producer: ThreadedProducer<OutcomeContext>,
    outcomes: Receiver<Outcome>,
}

impl TransactionProducer {
    /// Creates the producer, without a request to the brokers.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &Options, transactional_id: &str) -> Result<Self, KafkaFault> {
        // Bounded by the producer's own queue.
        let (sender, outcomes) = unbounded();
        let context = OutcomeContext { producer: "transactions", outcomes: sender };
        let producer = clients::transactional_producer(kafka, transactional_id, context)?;
        Ok(Self { kafka: kafka.clone(), transactional_id: transactional_id.to_owned(), producer, outcomes })
    }

    /// Returns the transactional id.
    pub fn id(&self) -> &str {
        &self.transactional_id
    }

    /// Registers the producer, which ends a transaction that an earlier one of the same id has left. Brokers that are away are waited for.
    pub fn initialise(&self) -> Result<(), KafkaFault> {
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

    pub fn fault(&self, action: &str, error: KafkaError) -> KafkaFault {
        broker(&self.kafka, format!("{action} {}", self.transactional_id))(error)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<(), Failure> {
        self.producer.begin_transaction().map_err(classify)
    }

    /// Puts a record into the producer's queue, waiting while that is full.
    pub fn send<'a>(&self, record: impl Fn() -> BaseRecord<'a, [u8], [u8], usize>) -> Result<(), Failure> {
        loop {
            let (error, record) = match self.producer.send(record()) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => std::thread::sleep(SLICE),
                // Larger than the producer allows.
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let (number, topic) = (record.delivery_opaque, record.topic.to_owned());
                    return Err(Failure::Unwritten(vec![Unwritten {
                        number,
                        bytes: 0,
                        topic,
                        partition: -1,
                        error,
                    }]));
                }
                _ => return Err(classify(error)),
            }
        }
    }

    /// Waits until each record is acknowledged, or one has failed. The transaction's timeout bounds how long a record is tried.
    ///
    /// rdkafka's `flush` is called without a timeout: with one it waits in slices of 100 ms.
    pub fn wait_for(&self, sent: usize) -> Result<(), Failure> {
        let mut left = sent;
        while left > 0 {
            // Makes the producer send what lingers.
            let _ = self.producer.flush(Duration::ZERO);
            let mut wait = RETRY;
            while left > 0 {
                match self.outcomes.recv_timeout(wait) {
                    Ok(Ok(())) => left -= 1,
                    // librdkafka sends nothing further then: the abort returns the rest.
                    Ok(Err(unwritten)) => return Err(Failure::Unwritten(vec![unwritten])),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Err(Failure::Fatal(KafkaError::Canceled)),
                }
                wait = Duration::ZERO;
            }
        }
        // A record counts until its report is dropped, which is just after it was counted here.
        while self.producer.flush(Duration::ZERO).is_err() {
            std::thread::sleep(SLICE);
        }
        Ok(())
    }

    /// Adds the offsets of a commit to the transaction, in the name of its member of the group.
    pub fn send_offsets(&self, commit: &Commit) -> Result<(), Failure> {
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

    /// Commits the transaction.
    pub fn commit(&self) -> Result<(), Failure> {
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

    /// Aborts the transaction.
    ///
    /// # Errors
    /// Where the producer cannot go on.
    pub fn abort(&self) -> Result<(), KafkaError> {
        let mut last = KafkaError::Canceled;
        for _ in 0..ABORTS {
            match self.producer.abort_transaction(REQUEST_TIMEOUT) {
                Ok(()) => {
                    // Reports of records that were purged.
                    while self.producer.flush(Duration::ZERO).is_err() {
                        std::thread::sleep(SLICE);
                    }
                    return Ok(());
                }
                Err(error) if is_retriable(&error) => {
                    std::thread::sleep(RETRY);
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Returns the records whose failure was reported since the last call.
    pub fn unwritten(&self) -> impl Iterator<Item = Unwritten> {
        self.outcomes.try_iter().filter_map(Result::err)
    }
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
