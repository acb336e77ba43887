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
use super::progress_topic;

/// The first pause before partitions are loaded again, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a request to stop may go unseen.
const STOP_SLICE: Duration = Duration::from_millis(50);
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
        // Dropped by a reader that has stopped meanwhile.
        let run = move || _ = outbox.send(load_patiently(&kafka, &consumer, &partitions, &stopped));
        let thread = std::thread::Builder::new().name("kafka-assignment".to_owned()).spawn(run)?;
        Ok(Self { loaded, stop, thread: Some(thread) })
    }

    /// Returns the partitions once they are loaded; never waits.
    ///
    /// # Errors
    /// See [`KafkaFault`].
    pub fn loaded(&self) -> Loaded {
        match self.loaded.try_recv() {
            Ok(loaded) => loaded,
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(KafkaFault::ThreadEnded { name: "kafka-assignment" }),
        }
    }
}

impl Drop for AssignmentLoader {
    /// Waits for the thread, which holds the consumer: at most for one request.
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
    partitions: &TopicPartitionList,
    stop: &CancellationToken,
) -> Loaded {
    let mut pause = FIRST_PAUSE;
    loop {
        let loaded = load(kafka, consumer, partitions.clone(), stop);
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

/// Requests the group's offsets, the first offsets of the partitions and the progress of their streams: each for all partitions at once.
fn load(
    kafka: &Options,
    consumer: &BaseConsumer<ReaderContext>,
    partitions: TopicPartitionList,
    stop: &CancellationToken,
) -> Loaded {
    let topic = &kafka.input_topic;
    let numbers: Vec<i32> = partitions.elements().iter().map(|element| element.partition()).collect();
    if numbers.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let Some(committed) = committed_offsets(kafka, consumer, &partitions, stop)? else { return Ok(None) };
    let first_offsets = || broker(kafka, format!("read the first offsets of {topic}"));
    let mut firsts = TopicPartitionList::new();
    for number in &numbers {
        firsts.add_partition_offset(topic, *number, Offset::Beginning).map_err(first_offsets())?;
    }
    // The protocol accepts "the beginning" in place of a time. That is one request for each leader; `fetch_watermarks` is one for each partition.
    let firsts = consumer.offsets_for_times(firsts, REQUEST_TIMEOUT).map_err(first_offsets())?;
    let (mut firsts_by_number, mut commits) = (BTreeMap::new(), BTreeMap::new());
    for number in numbers {
        let unknown = || KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset);
        let first = offset(&firsts, topic, number).ok_or_else(unknown).map_err(first_offsets())?;
        let committed = still_there(number, committed_at(&committed, topic, number), first);
        firsts_by_number.insert(number, first);
        commits.insert(number, committed);
    }
    let Some(mut progress) = progress_topic::read(kafka, &commits, stop)? else { return Ok(None) };
    let assigned = commits.into_iter().map(|(number, committed)| AssignedPartition {
        number,
        start: committed.offset.unwrap_or_else(|| firsts_by_number[&number]),
        committed,
        progress: progress.remove(&number).unwrap_or_default(),
    });
    Ok(Some(assigned.collect()))
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

/// Returns the committed offset unless its record is gone.
fn still_there(partition: i32, committed: Committed, first: i64) -> Committed {
    if let Some(offset) = committed.offset.filter(|offset| *offset < first) {
        tracing::error!(partition, "records {offset} to {first} are gone: retention was too short");
        return Committed { offset: None, ..committed };
    }
    committed
}
