//! What must be known of partitions before their first record is read.
//!
//! Input: partitions that the group assigns. Output: for each the offset to begin at and the streams that another reader left open there. The requests
//! block a thread of their own: the reader keeps the other partitions going, and answers the group once the result is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tokio_util::sync::CancellationToken;

use super::clients::{REQUEST_TIMEOUT, ReaderContext};
use super::commit_metadata::{CommitMetadata, Committed};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::progress_log::ResolvedProgress;
use super::progress_topic::ProgressReader;
use super::topics;
use crate::telemetry::metrics;

/// The first pause before partitions are loaded again, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a request to stop may go unseen.
const STOP_SLICE: Duration = Duration::from_millis(50);
/// How often, and how far apart, an end is requested again that lies before the committed offset: a broker that has just started may report an old one.
const MOST_CHECKS: usize = 10;
const CHECK_PAUSE: Duration = Duration::from_millis(300);
/// Pause before the offsets of an open transaction are requested again.
const OPEN_TRANSACTION: Duration = Duration::from_millis(100);

/// A partition that is ready to be read.
#[derive(Debug)]
pub(super) struct AssignedPartition {
    pub number: i32,
    /// The offset to begin at.
    pub start: i64,
    /// What the group has committed; without an offset where the records there are gone.
    pub committed: Committed,
    /// The progress at that offset.
    pub progress: ResolvedProgress,
}

type Loaded = Result<Option<Vec<AssignedPartition>>, KafkaFault>;

/// An assignment whose offsets and progress are being read.
pub(super) struct AssignmentLoader {
    loaded: Receiver<Loaded>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl AssignmentLoader {
    /// Starts to load `partitions` of the input topic.
    ///
    /// # Errors
    /// Where the operating system has no thread to give.
    pub fn start(
        kafka: &Options,
        consumer: &Arc<BaseConsumer<ReaderContext>>,
        partitions: TopicPartitionList,
    ) -> Result<Self, KafkaFault> {
        let (kafka, consumer, stop) = (kafka.clone(), Arc::clone(consumer), CancellationToken::new());
        let (outbox, loaded) = channel();
        let stopped = stop.clone();
        let run = move || match ProgressReader::new(&kafka) {
            Ok(progress) => {
                let loaded = load_patiently(&kafka, &consumer, &progress, (&partitions, &stopped));
                drop(consumer);
                // Dropped by a reader that has stopped meanwhile.
                let _ = outbox.send(loaded);
            }
            Err(fault) => _ = outbox.send(Err(fault)),
        };
        let thread = std::thread::Builder::new().name("kafka-assignment".to_owned()).spawn(run)?;
        Ok(Self { loaded, stop, thread: Some(thread) })
    }

    /// Returns the partitions once they are loaded; never waits.
    ///
    /// # Errors
    /// See [`KafkaFault`].
    pub fn loaded(&mut self) -> Loaded {
        match self.loaded.try_recv() {
            Ok(loaded) => {
                // It has released the consumer and closes its clients, which takes a moment.
                self.thread = None;
                loaded
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(KafkaFault::ThreadEnded { name: "kafka-assignment" }),
        }
    }
}

impl Drop for AssignmentLoader {
    /// Waits for the thread, which holds the consumer: for the requests that it has begun.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when its channel closed.
            let _ = thread.join();
        }
    }
}

/// Loads partitions as [`load`] does, and tries again with growing pauses while the brokers are away.
fn load_patiently(
    kafka: &Options,
    consumer: &BaseConsumer<ReaderContext>,
    progress: &ProgressReader<'_>,
    (partitions, stop): (&TopicPartitionList, &CancellationToken),
) -> Loaded {
    let mut pause = FIRST_PAUSE;
    loop {
        let loaded = load(kafka, consumer, progress, (partitions, stop));
        let passing = loaded.as_ref().err().is_some_and(KafkaFault::is_passing);
        if !passing {
            return loaded;
        }
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stop.is_cancelled() {
                return Ok(None);
            }
            std::thread::sleep(STOP_SLICE);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        if let Err(fault) = loaded {
            outage::report(&format!("{fault}; it is tried again"));
        }
    }
}

/// Requests the group's offsets, the first and the last offsets of the partitions and the progress of their streams: each for all partitions at once.
fn load(
    kafka: &Options,
    consumer: &BaseConsumer<ReaderContext>,
    progress: &ProgressReader<'_>,
    (partitions, stop): (&TopicPartitionList, &CancellationToken),
) -> Loaded {
    let topic = &kafka.input_topic;
    let numbers: Vec<i32> = partitions.elements().iter().map(|element| element.partition()).collect();
    let Some(highest) = numbers.iter().max() else { return Ok(Some(Vec::new())) };
    topics::ensure_progress_partitions(kafka, consumer, usize::try_from(highest + 1).unwrap_or(0))?;
    let Some(committed) = committed_offsets(kafka, consumer, partitions, stop)? else { return Ok(None) };
    let firsts = bounds(kafka, consumer, &numbers, Offset::Beginning)?;
    let ends = ends(kafka, consumer, &numbers, &committed)?;
    let mut found = BTreeMap::new();
    for number in numbers {
        let committed = committed_at(&committed, topic, number);
        let (first, end) = (firsts[&number], ends[&number]);
        let gone = committed.offset.and_then(|committed| Gone::of(committed, first, end));
        found.insert(number, FoundOffset { committed, gone });
    }
    let Some(mut progress) = progress.read(consumer, &found, stop)? else { return Ok(None) };
    let assigned = found.into_iter().map(|(number, FoundOffset { committed, gone })| {
        gone.iter().for_each(|gone| gone.report(number));
        let offset = committed.offset.filter(|_| gone.is_none());
        AssignedPartition {
            number,
            start: offset.unwrap_or(firsts[&number]),
            committed: Committed { offset, ..committed },
            progress: progress.remove(&number).unwrap_or_default(),
        }
    });
    Ok(Some(assigned.collect()))
}

/// Returns the ends of partitions. Those before a committed offset are requested some times more.
fn ends(
    kafka: &Options,
    consumer: &BaseConsumer<ReaderContext>,
    numbers: &[i32],
    committed: &TopicPartitionList,
) -> Result<BTreeMap<i32, i64>, KafkaFault> {
    let mut ends = bounds(kafka, consumer, numbers, Offset::End)?;
    for _ in 0..MOST_CHECKS {
        let is_behind = |(number, end): (&i32, &i64)| {
            offset(committed, &kafka.input_topic, *number).is_some_and(|committed| committed > *end)
        };
        if !ends.iter().any(is_behind) {
            break;
        }
        std::thread::sleep(CHECK_PAUSE);
        ends = bounds(kafka, consumer, numbers, Offset::End)?;
    }
    Ok(ends)
}

/// Returns the first offsets or the ends of partitions.
fn bounds(
    kafka: &Options,
    consumer: &BaseConsumer<ReaderContext>,
    numbers: &[i32],
    bound: Offset,
) -> Result<BTreeMap<i32, i64>, KafkaFault> {
    let topic = &kafka.input_topic;
    let fault = || broker(kafka, format!("read the first and last offsets of {topic}"));
    let mut list = TopicPartitionList::new();
    for number in numbers {
        list.add_partition_offset(topic, *number, bound).map_err(fault())?;
    }
    // The protocol accepts "the beginning" in place of a time. That is one request for each leader; `fetch_watermarks` is one for each partition.
    let found = consumer.offsets_for_times(list, REQUEST_TIMEOUT).map_err(fault())?;
    let of = |number: &i32| {
        let unknown = || KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset);
        let found = offset(&found, topic, *number).ok_or_else(unknown).map_err(fault())?;
        Ok((*number, found))
    };
    numbers.iter().map(of).collect()
}

/// Returns the offsets of the group; `None` where `stop` was cancelled. Offsets that are part of an open transaction are waited for: the one of a process
/// that died ends with its timeout.
fn committed_offsets(
    kafka: &Options,
    consumer: &BaseConsumer<ReaderContext>,
    partitions: &TopicPartitionList,
    stop: &CancellationToken,
) -> Result<Option<TopicPartitionList>, KafkaFault> {
    let fault = || broker(kafka, format!("read the offsets of group {}", kafka.group_id));
    let unstable =
        |error: &KafkaError| error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnstableOffsetCommit);
    while !stop.is_cancelled() {
        let found = consumer.committed_offsets(partitions.clone(), REQUEST_TIMEOUT);
        let found = found.and_then(|found| {
            found.elements().iter().try_for_each(TopicPartitionListElem::error)?;
            Ok(found)
        });
        match found {
            Err(error) if unstable(&error) => std::thread::sleep(OPEN_TRANSACTION),
            found => return found.map(Some).map_err(fault()),
        }
    }
    Ok(None)
}

/// Returns the offset that the list has for a partition.
fn offset(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Returns what the group has committed for a partition.
fn committed_at(list: &TopicPartitionList, topic: &str, partition: i32) -> Committed {
    let metadata =
        list.find_partition(topic, partition).map(|element| CommitMetadata::parse(element.metadata()));
    Committed { offset: offset(list, topic, partition), metadata: metadata.unwrap_or_default() }
}

/// What the group has committed for a partition, and whether the records there are gone.
#[derive(Debug)]
pub(super) struct FoundOffset {
    pub committed: Committed,
    pub gone: Option<Gone>,
}

/// A committed offset that the partition does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    pub committed: i64,
    /// The first record that is left.
    pub first: i64,
    /// Whether the partition ends before the offset: it was truncated, or its topic was created anew.
    pub truncated: bool,
}

impl Gone {
    /// Returns `None` where the partition, from `first` to `end`, has the offset.
    fn of(committed: i64, first: i64, end: i64) -> Option<Self> {
        let truncated = committed > end;
        (truncated || committed < first).then_some(Self { committed, first, truncated })
    }

    /// Logs and counts that the partition is read from its first record.
    fn report(self, partition: i32) {
        let Self { committed, first, truncated } = self;
        if truncated {
            tracing::error!(
                partition,
                "the partition ends before the committed offset {committed}: it is read from {first}"
            );
            metrics::kafka_offset_reset("truncated", 0);
        } else {
            tracing::error!(
                partition,
                "records {committed} to {first} were deleted before they were read (retention)"
            );
            metrics::kafka_offset_reset("retention", u64::try_from(first - committed).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_committed_offset_is_gone_before_the_first_record_and_behind_the_end() {
        assert_eq!(Gone::of(10, 10, 10), None);
        assert_eq!(Gone::of(15, 10, 20), None);
        assert_eq!(Gone::of(20, 10, 20), None);
        assert_eq!(Gone::of(9, 10, 20), Some(Gone { committed: 9, first: 10, truncated: false }));
        assert_eq!(Gone::of(21, 10, 20), Some(Gone { committed: 21, first: 10, truncated: true }));
    }
}
