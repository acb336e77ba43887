//! Writes the progress topic: the records of each commit.
//!
//! Input: records to write. Output: acknowledged records. Blocks its caller, which is the delivery thread, never the reader.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ThreadedProducer};

use super::clients;
use super::commit_metadata::{ACKNOWLEDGED_WRITER, RecordWriters, WRITER};
use super::contexts::{Outcome, OutcomeContext, Unwritten};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::progress::Progress;

/// How long an acknowledgement may take before a warning is logged.
const SLOW_WRITE: Duration = Duration::from_secs(10);

/// One record to be written; without progress it is a tombstone.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgressWrite<'a> {
    /// The partition, that of the input.
    pub partition: i32,
    /// The stream.
    pub stream_id: &'a Arc<str>,
    /// The writers that the record names.
    pub writers: &'a RecordWriters,
    /// Its progress.
    pub progress: Option<&'a Progress>,
}

impl ProgressWrite<'_> {
    /// Returns the value of the record; `None` for a tombstone.
    pub fn value(&self, group_id: &str) -> Option<Vec<u8>> {
        self.progress.map(|progress| progress.to_json(group_id))
    }

    /// Returns the record with its value and its number.
    pub fn record<'a>(
        &'a self,
        topic: &'a str,
        value: Option<&'a [u8]>,
        number: usize,
    ) -> BaseRecord<'a, [u8], [u8], usize> {
        let mut headers = OwnedHeaders::new();
        let RecordWriters { next, acknowledged } = self.writers;
        for (key, writer) in [(WRITER, next), (ACKNOWLEDGED_WRITER, acknowledged)] {
            if writer.is_some() {
                headers = headers.insert(Header { key, value: writer.as_ref() });
            }
        }
        let key = self.stream_id.as_bytes();
        let record =
            BaseRecord::with_opaque_to(topic, number).partition(self.partition).key(key).headers(headers);
        BaseRecord { payload: value, ..record }
    }
}

/// Writes the progress of one group.
pub(super) struct ProgressWriter {
    kafka: Options,
    producer: ThreadedProducer<OutcomeContext>,
    outcomes: crossbeam_channel::Receiver<Outcome>,
}

impl ProgressWriter {
    /// Connects.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &Options) -> Result<Self, KafkaFault> {
        // Bounded by the producer's own queue.
        let (sender, outcomes) = crossbeam_channel::unbounded();
        let context = OutcomeContext { producer: "progress", outcomes: sender };
        Ok(Self { kafka: kafka.clone(), producer: clients::progress_producer(kafka, context)?, outcomes })
    }

    /// Writes records and waits until each is acknowledged.
    ///
    /// Acknowledgements come from the producer's thread as they arrive. `flush` is not used: rdkafka polls in slices of 100 ms there and sits each out.
    ///
    /// # Errors
    /// Where one is not acknowledged for good; then the commit that they belong to must not follow.
    pub fn write<'a>(&self, records: impl Iterator<Item = ProgressWrite<'a>>) -> Result<(), KafkaFault> {
        let mut unacknowledged = 0;
        for record in records {
            while !self.send(record)? {
                self.wait_for_one()?;
                unacknowledged -= 1;
            }
            unacknowledged += 1;
        }
        (0..unacknowledged).try_for_each(|_| self.wait_for_one())
    }

    /// Puts a record into the producer's queue; `false` where it is full.
    fn send(&self, record: ProgressWrite<'_>) -> Result<bool, KafkaFault> {
        let topic = &self.kafka.progress_topic;
        let value = record.value(&self.kafka.group_id);
        match self.producer.send(record.record(topic, value.as_deref(), 0)) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(broker(&self.kafka, format!("write progress to {topic}"))(error)),
        }
    }

    /// Waits for one acknowledgement. Brokers that are away are waited for, with a warning each [`SLOW_WRITE`].
    fn wait_for_one(&self) -> Result<(), KafkaFault> {
        loop {
            match self.outcomes.recv_timeout(SLOW_WRITE) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Unwritten { topic, partition, error, .. })) => {
                    return Err(KafkaFault::NotAcknowledged { topic, partition, source: Box::new(error) });
                }
                Err(RecvTimeoutError::Timeout) => {
                    let topic = &self.kafka.progress_topic;
                    outage::report(&format!(
                        "progress in {topic} is not acknowledged yet: no offset is committed meanwhile"
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(KafkaFault::ThreadEnded { name: "producer polling thread" });
                }
            }
        }
    }
}
