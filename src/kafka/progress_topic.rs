//! The progress topic on the broker: read on assignment, written with each commit.
//!
//! Input: records to write, or partitions with the group's offsets. Output: acknowledged records, or the entry of every stream that fits. Both halves
//! block their caller, which is the delivery thread or a thread that loads an assignment, never the reader.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::clients::{self, REQUEST_TIMEOUT};
use super::fault::{KafkaFault, LostProgress, broker};
use super::options::{OnLostProgress, Options};
use super::outage;
use super::progress::{Progress, ProgressEntry, ProgressRecord};

/// How long an acknowledgement may take before a warning is logged.
const SLOW_WRITE: Duration = Duration::from_secs(10);

/// How long nothing may come before the brokers are taken to be away.
const READ_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_mul(3);
/// How long a request to stop may go unseen.
const READ_SLICE: Duration = Duration::from_millis(100);

/// Passes acknowledgements on to the writer, from the producer's own thread.
struct Acknowledgements(crossbeam_channel::Sender<Result<(), KafkaFault>>);

impl ClientContext for Acknowledgements {
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
        let acknowledged = match result {
            Ok(_) => Ok(()),
            Err((error, message)) => Err(KafkaFault::NotAcknowledged {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                source: Box::new(error.clone()),
            }),
        };
        // Once the writer has gone, nothing waits for the record.
        let _ = self.0.send(acknowledged);
    }
}

/// One record to be written; without progress it is a tombstone.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProgressWrite<'a> {
    /// The partition, that of the input.
    pub partition: i32,
    /// The stream.
    pub stream_id: &'a Arc<str>,
    /// Its progress.
    pub progress: Option<&'a Progress>,
}

/// Writes the progress of one group.
pub(super) struct ProgressWriter {
    kafka: Options,
    producer: ThreadedProducer<Acknowledgements>,
    acknowledged: crossbeam_channel::Receiver<Result<(), KafkaFault>>,
}

impl ProgressWriter {
    /// Connects.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &Options) -> Result<Self, KafkaFault> {
        // Bounded by the producer's own queue.
        let (acknowledge, acknowledged) = crossbeam_channel::unbounded();
        let producer = clients::progress_producer(kafka, Acknowledgements(acknowledge))?;
        Ok(Self { kafka: kafka.clone(), producer, acknowledged })
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
        let value = record.progress.map(|progress| progress.to_json(&self.kafka.group_id));
        let mut to_send = BaseRecord::to(topic).partition(record.partition).key(record.stream_id.as_bytes());
        if let Some(value) = &value {
            to_send = to_send.payload(value);
        }
        match self.producer.send(to_send) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(broker(&self.kafka, format!("write progress to {topic}"))(error)),
        }
    }

    /// Waits for one acknowledgement. Brokers that are away are waited for, with a warning each [`SLOW_WRITE`].
    fn wait_for_one(&self) -> Result<(), KafkaFault> {
        loop {
            match self.acknowledged.recv_timeout(SLOW_WRITE) {
                Ok(outcome) => return outcome,
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

/// The entries of the streams that are open in each partition.
pub(super) type ResumableStreams = BTreeMap<i32, HashMap<Arc<str>, ProgressEntry>>;

/// Reads partitions to their ends with one consumer, and returns for each the entry of every stream that fits the group's committed offset. `None` where
/// `stop` was cancelled.
///
/// # Errors
/// A stream whose progress fits no longer, unless `kafka.on_lost_progress` is "restart".
pub(super) fn read(
    kafka: &Options,
    committed: &BTreeMap<i32, Option<i64>>,
    stop: &CancellationToken,
) -> Result<Option<ResumableStreams>, KafkaFault> {
    let Some(newest) = newest(kafka, committed, stop)? else { return Ok(None) };
    let mut open: ResumableStreams = committed.keys().map(|partition| (*partition, HashMap::new())).collect();
    for ((partition, stream_id), progress) in newest {
        let offset = committed.get(&partition).copied().flatten();
        match progress.fitting(offset) {
            Some(entry) => {
                open.entry(partition).or_default().insert(stream_id, entry.clone());
            }
            None if kafka.on_lost_progress == OnLostProgress::Restart => {
                tracing::warn!(%stream_id, partition, "progress is lost: the stream begins anew");
            }
            None => return Err(lost(kafka, &stream_id, partition, &progress, offset)),
        }
    }
    Ok(Some(open))
}

fn lost(
    kafka: &Options,
    stream_id: &str,
    partition: i32,
    progress: &Progress,
    committed: Option<i64>,
) -> KafkaFault {
    let offset = |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
    KafkaFault::LostProgress(Box::new(LostProgress {
        stream_id: stream_id.to_owned(),
        topic: kafka.input_topic.clone(),
        partition,
        group: kafka.group_id.clone(),
        known: offset(progress.next.offset),
        committed: offset(committed),
    }))
}

/// The newest record of each stream, by partition.
type Newest = HashMap<(i32, Arc<str>), Progress>;

/// Reads the newest record of each stream; `None` where `stop` was cancelled.
fn newest(
    kafka: &Options,
    partitions: &BTreeMap<i32, Option<i64>>,
    stop: &CancellationToken,
) -> Result<Option<Newest>, KafkaFault> {
    let topic = &kafka.progress_topic;
    let fault = || broker(kafka, format!("read progress from {topic}"));
    let consumer = clients::progress_consumer(kafka)?;
    let mut assignment = TopicPartitionList::new();
    for partition in partitions.keys() {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).map_err(fault())?;
    }
    consumer.assign(&assignment).map_err(fault())?;
    let mut to_end: BTreeSet<i32> = partitions.keys().copied().collect();
    let (mut newest, mut arrived) = (Newest::new(), Instant::now());
    while let Some(&partition) = to_end.first() {
        let Some(polled) = consumer.poll(READ_SLICE) else {
            if stop.is_cancelled() {
                return Ok(None);
            }
            if arrived.elapsed() > READ_TIMEOUT {
                let (topic, seconds) = (topic.clone(), READ_TIMEOUT.as_secs());
                return Err(KafkaFault::NoAnswer { topic, partition, seconds });
            }
            continue;
        };
        arrived = Instant::now();
        match polled {
            Err(KafkaError::PartitionEOF(partition)) => _ = to_end.remove(&partition),
            Err(error) => return Err(fault()(error)),
            Ok(message) => {
                let partition = message.partition();
                let stream_id: Arc<str> = String::from_utf8_lossy(message.key().unwrap_or_default()).into();
                match message.payload() {
                    None => drop(newest.remove(&(partition, stream_id))),
                    Some(value) => {
                        let progress = parse(kafka, &stream_id, partition, value)?;
                        newest.insert((partition, stream_id), progress);
                    }
                }
            }
        }
    }
    Ok(Some(newest))
}

fn parse(kafka: &Options, stream_id: &str, partition: i32, value: &[u8]) -> Result<Progress, KafkaFault> {
    let topic = kafka.progress_topic.clone();
    let record: ProgressRecord = serde_json::from_slice(value).map_err(|source| KafkaFault::Progress {
        stream_id: stream_id.to_owned(),
        topic: topic.clone(),
        partition,
        source,
    })?;
    if record.group_id != kafka.group_id {
        let group = kafka.group_id.clone();
        return Err(KafkaFault::OtherGroup { topic, other: record.group_id, group });
    }
    Ok(record.progress)
}
