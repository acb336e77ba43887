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
use super::fault::KafkaFault;
use super::options::Options;
use super::outage;
use super::progress::Progress;
use super::refusal::Refusal;
use super::topics;

/// How long an acknowledgement may take before a warning is logged.
const SLOW_WRITE: Duration = Duration::from_secs(10);
/// The first pause before refused records are written again, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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

    /// Writes records and waits until each is acknowledged. Those that the topic refuses for now are written again, with growing pauses, for as long as it
    /// takes.
    ///
    /// Acknowledgements come from the producer's thread as they arrive. `flush` is not used: rdkafka polls in slices of 100 ms there and sits each out.
    ///
    /// # Errors
    /// Where one cannot be written for good; then the commit that they belong to must not follow.
    pub fn write<'a>(&self, records: impl Iterator<Item = ProgressWrite<'a>>) -> Result<(), KafkaFault> {
        let records: Vec<ProgressWrite<'a>> = records.collect();
        let mut groups = vec![(0..records.len()).collect::<Vec<_>>()];
        let mut pause = FIRST_PAUSE;
        while let Some(group) = groups.pop() {
            let mut again = Vec::new();
            for unwritten in self.write_group(&records, &group)? {
                match Refusal::of(&unwritten.error) {
                    // The brokers refuse a batch as a whole; each of its records may be small enough.
                    Refusal::TooLarge if group.len() > 1 => groups.push(vec![unwritten.number]),
                    Refusal::Passing => again.push(unwritten),
                    _ => return Err(fault(unwritten)),
                }
            }
            if let Some(first) = again.first() {
                let (topic, error) = (&first.topic, &first.error);
                outage::report(&format!(
                    "publish to {topic}: {error}; it is tried again, and no offset is committed"
                ));
                topics::restore_progress(&self.kafka, &again);
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
                groups.push(again.iter().map(|unwritten| unwritten.number).collect());
            }
        }
        Ok(())
    }

    /// Writes the records with these numbers, waits until the outcome of each is known, and returns those that were refused.
    fn write_group(
        &self,
        records: &[ProgressWrite<'_>],
        numbers: &[usize],
    ) -> Result<Vec<Unwritten>, KafkaFault> {
        let (mut left, mut refused) = (0, Vec::new());
        for number in numbers {
            let mut sent = self.send(*number, &records[*number]);
            while matches!(sent, Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))) {
                refused.extend(self.wait_for_one()?.err());
                left -= 1;
                sent = self.send(*number, &records[*number]);
            }
            match sent {
                Ok(()) => left += 1,
                Err(error) => {
                    let (topic, partition) = (self.kafka.progress_topic.clone(), records[*number].partition);
                    refused.push(Unwritten { number: *number, bytes: 0, topic, partition, error });
                }
            }
        }
        for _ in 0..left {
            refused.extend(self.wait_for_one()?.err());
        }
        Ok(refused)
    }

    /// Puts a record into the producer's queue.
    fn send(&self, number: usize, record: &ProgressWrite<'_>) -> Result<(), KafkaError> {
        let value = record.value(&self.kafka.group_id);
        let record = record.record(&self.kafka.progress_topic, value.as_deref(), number);
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// Waits for the outcome of one record. Brokers that are away are waited for, with a warning each [`SLOW_WRITE`].
    fn wait_for_one(&self) -> Result<Outcome, KafkaFault> {
        loop {
            match self.outcomes.recv_timeout(SLOW_WRITE) {
                Ok(outcome) => return Ok(outcome),
                Err(RecvTimeoutError::Timeout) => {
                    let topic = &self.kafka.progress_topic;
                    outage::report(&format!(
                        "progress in {topic} is not acknowledged yet: no offset is committed meanwhile"
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(KafkaFault::ThreadEnded { name: "producer-polling" });
                }
            }
        }
    }
}

fn fault(Unwritten { topic, partition, error, .. }: Unwritten) -> KafkaFault {
    KafkaFault::NotAcknowledged { topic, partition, source: Box::new(error) }
}
