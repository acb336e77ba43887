//! Reads the progress topic when partitions are assigned.
//!
//! Input: partitions with the group's offsets. Output: the entry of every stream that fits. Blocks its caller, which is a thread that loads an assignment,
//! never the reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tokio_util::sync::CancellationToken;

use super::assignment::{FoundOffset, Gone};
use super::clients::{self, QuietContext, REQUEST_TIMEOUT};
use super::commit_metadata::{ACKNOWLEDGED_WRITER, Committed, RecordWriters, WRITER};
use super::fault::{KafkaFault, LostProgress, broker};
use super::options::{OnLostProgress, Options};
use super::progress::{Progress, ProgressRecord};
use super::progress_log::{ProgressLog, ResolvedProgress};
use crate::telemetry::metrics::KAFKA_LOST_PROGRESS_TOTAL;

/// How long a transaction of another daemon may take before a warning is logged.
const SLOW_TRANSACTION: Duration = Duration::from_secs(10);

/// How long nothing may come before the brokers are taken to be away.
const READ_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_mul(3);
/// How long a request to stop may go unseen.
const READ_SLICE: Duration = Duration::from_millis(100);

/// The progress of each partition.
pub(super) type PartitionProgress = BTreeMap<i32, ResolvedProgress>;

/// The clients that read the progress topic, one for each assignment.
pub(super) struct ProgressReader<'a> {
    kafka: &'a Options,
    /// Reads the records.
    records: BaseConsumer<QuietContext>,
    /// Reports ends with open transactions included.
    ends: BaseConsumer<QuietContext>,
}

impl<'a> ProgressReader<'a> {
    /// Creates the clients, which connect meanwhile.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &'a Options) -> Result<Self, KafkaFault> {
        let records = clients::progress_consumer(kafka, "read_committed")?;
        let ends = clients::progress_consumer(kafka, "read_uncommitted")?;
        Ok(Self { kafka, records, ends })
    }

    /// Reads partitions to their ends, and returns for each what belongs to the group's committed offset. `committed` is a consumer that sees committed
    /// records only. `None` where `stop` was cancelled.
    ///
    /// # Errors
    /// A stream whose progress is lost, unless `kafka.on_lost_progress` is "restart": then its records are void.
    pub fn read(
        &self,
        committed: &BaseConsumer<impl ConsumerContext>,
        found: &BTreeMap<i32, FoundOffset>,
        stop: &CancellationToken,
    ) -> Result<Option<PartitionProgress>, KafkaFault> {
        let numbers: Vec<i32> = found.keys().copied().collect();
        if !self.stable(committed, &numbers, stop)? {
            return Ok(None);
        }
        let Some(logs) = self.read_logs(&numbers, stop)? else { return Ok(None) };
        resolve(self.kafka, found, logs).map(Some)
    }

    /// Reads the records of each partition; `None` where `stop` was cancelled.
    fn read_logs(
        &self,
        partitions: &[i32],
        stop: &CancellationToken,
    ) -> Result<Option<BTreeMap<i32, ProgressLog>>, KafkaFault> {
        let Self { kafka, records: consumer, .. } = self;
        let topic = &kafka.progress_topic;
        let fault = || broker(kafka, format!("read progress from {topic}"));
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning).map_err(fault())?;
        }
        describe(kafka, consumer)?;
        consumer.assign(&assignment).map_err(fault())?;
        let mut to_end: BTreeSet<i32> = partitions.iter().copied().collect();
        let (mut logs, mut arrived) = (BTreeMap::<i32, ProgressLog>::new(), Instant::now());
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
                    let stream_id: Arc<str> =
                        String::from_utf8_lossy(message.key().unwrap_or_default()).into();
                    let progress = message.payload().map(|value| parse(kafka, &stream_id, partition, value));
                    let log = logs.entry(partition).or_default();
                    log.push(stream_id, writers(&message), progress.transpose()?);
                }
            }
        }
        Ok(Some(logs))
    }

    /// Waits until no transaction is open before the present ends of the partitions, whose records would hide those behind them. Returns `false` where
    /// `stop` was cancelled first. The coordinator ends the transaction of a process that died when its timeout has passed.
    fn stable(
        &self,
        committed: &BaseConsumer<impl ConsumerContext>,
        partitions: &[i32],
        stop: &CancellationToken,
    ) -> Result<bool, KafkaFault> {
        let kafka = self.kafka;
        describe(kafka, &self.ends)?;
        let ends = ends(kafka, &self.ends, partitions)?;
        let started = Instant::now();
        let mut warned = false;
        loop {
            let stable = self::ends(kafka, committed, partitions)?;
            let is_stable =
                |(partition, end): (&i32, &i64)| stable.get(partition).is_some_and(|stable| stable >= end);
            if ends.iter().all(is_stable) {
                return Ok(true);
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            if !warned && started.elapsed() > SLOW_TRANSACTION {
                tracing::warn!(
                    topic = kafka.progress_topic,
                    "waiting for the end of another daemon's transaction"
                );
                warned = true;
            }
            std::thread::sleep(READ_SLICE);
        }
    }
}

/// Returns the progress of each partition that belongs to the group's committed offset.
fn resolve(
    kafka: &Options,
    found: &BTreeMap<i32, FoundOffset>,
    mut logs: BTreeMap<i32, ProgressLog>,
) -> Result<PartitionProgress, KafkaFault> {
    let mut progress = PartitionProgress::new();
    for (partition, FoundOffset { committed, gone }) in found {
        let mut resolved = logs.remove(partition).unwrap_or_default().resolve(committed);
        if kafka.on_lost_progress == OnLostProgress::Fail {
            gone.as_ref().map_or(Ok(()), |gone| check_gone(kafka, *partition, gone, &resolved))?;
            check(kafka, *partition, committed, &resolved)?;
        }
        if gone.is_some() {
            begin_anew(*partition, &mut resolved);
        }
        if resolved.missing > 0 {
            tracing::warn!(partition, streams = resolved.missing, "progress is lost: the streams begin anew");
            counter!(KAFKA_LOST_PROGRESS_TOTAL).increment(resolved.missing as u64);
        }
        for (stream_id, _) in std::mem::take(&mut resolved.lost) {
            tracing::warn!(%stream_id, partition, "progress is lost: the stream begins anew");
            counter!(KAFKA_LOST_PROGRESS_TOTAL).increment(1);
            resolved.void.push(stream_id);
        }
        progress.insert(*partition, resolved);
    }
    Ok(progress)
}

/// Makes the progress of all streams void: the records at their positions are gone.
fn begin_anew(partition: i32, resolved: &mut ResolvedProgress) {
    for (stream_id, entry) in std::mem::take(&mut resolved.open) {
        if !entry.is_empty() {
            tracing::warn!(%stream_id, partition, "records are gone: the stream begins anew");
            counter!(KAFKA_LOST_PROGRESS_TOTAL).increment(1);
        }
        resolved.void.push(stream_id);
    }
}

/// Returns an error where streams are open whose next records are gone.
fn check_gone(
    kafka: &Options,
    partition: i32,
    gone: &Gone,
    resolved: &ResolvedProgress,
) -> Result<(), KafkaFault> {
    let open = resolved.open.values().filter(|entry| !entry.is_empty()).count();
    let streams = open + resolved.lost.len() + resolved.missing;
    let Gone { committed, first, truncated } = *gone;
    let why = if truncated {
        "the partition was truncated or its topic created anew"
    } else {
        "retention was too short"
    };
    if streams == 0 {
        return Ok(());
    }
    Err(KafkaFault::RecordsGone {
        topic: kafka.input_topic.clone(),
        partition,
        committed,
        first,
        why,
        streams,
    })
}

/// Returns an error where the progress of a stream is lost.
fn check(
    kafka: &Options,
    partition: i32,
    committed: &Committed,
    resolved: &ResolvedProgress,
) -> Result<(), KafkaFault> {
    let text = |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
    if let Some((stream_id, progress)) = resolved.lost.first() {
        return Err(KafkaFault::LostProgress(Box::new(LostProgress {
            stream_id: stream_id.to_string(),
            topic: kafka.input_topic.clone(),
            partition,
            group: kafka.group_id.clone(),
            known: text(progress.next.offset),
            committed: text(committed.offset),
        })));
    }
    if resolved.missing > 0 {
        return Err(KafkaFault::MissingProgress {
            topic: kafka.progress_topic.clone(),
            partition,
            missing: resolved.missing,
            committed: text(committed.offset),
        });
    }
    Ok(())
}

/// Requests the metadata of the topic. A client that has just been created has no connection yet, and waits for one here; a request for offsets that finds
/// none is repeated after 3 s only.
fn describe(kafka: &Options, client: &BaseConsumer<QuietContext>) -> Result<(), KafkaFault> {
    let topic = &kafka.progress_topic;
    let described = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT);
    described.map_err(broker(kafka, format!("describe the topic {topic}"))).map(|_| ())
}

/// Returns the end of each partition, as far as the consumer's isolation level lets it read.
fn ends(
    kafka: &Options,
    consumer: &BaseConsumer<impl ConsumerContext>,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, KafkaFault> {
    let topic = &kafka.progress_topic;
    let fault = || broker(kafka, format!("read the ends of {topic}"));
    let mut wanted = TopicPartitionList::new();
    for partition in partitions {
        wanted.add_partition_offset(topic, *partition, Offset::End).map_err(fault())?;
    }
    // The protocol accepts "the end" in place of a time: one request for each leader.
    let found = consumer.offsets_for_times(wanted, REQUEST_TIMEOUT).map_err(fault())?;
    let end = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    };
    Ok(found.elements().iter().filter_map(end).collect())
}

/// Returns the writers that the headers of a progress record name.
fn writers(message: &BorrowedMessage<'_>) -> RecordWriters {
    let header = |name: &str| {
        let header = message.headers()?.iter().find(|header| header.key == name)?;
        Some(String::from_utf8_lossy(header.value?).into_owned())
    };
    RecordWriters { next: header(WRITER), acknowledged: header(ACKNOWLEDGED_WRITER) }
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
