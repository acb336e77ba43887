//! What must be known of partitions before their first record is read.
//!
//! Input: partitions that the group assigns. Output: for each the offset to begin at and the streams that another reader left open there. The requests
//! block a thread of their own: the reader keeps the other partitions going, and answers the group once the result is there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::clients::{REQUEST_TIMEOUT, ReaderContext};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::progress::ProgressEntry;
use super::progress_topic;

/// The first pause before partitions are loaded again, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a request to stop may go unseen.
const STOP_SLICE: Duration = Duration::from_millis(50);

/// A partition that is ready to be read.
#[derive(Debug)]
pub(super) struct AssignedPartition {
    pub number: i32,
    /// The offset to begin at.
    pub start: i64,
    /// The offset that the group has committed; `None` where it has none, or the records there are gone.
    pub committed: Option<i64>,
    /// The streams that another reader left open at that offset.
    pub open_streams: HashMap<Arc<str>, ProgressEntry>,
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
    let committed = consumer
        .committed_offsets(partitions, REQUEST_TIMEOUT)
        .map_err(broker(kafka, format!("read the offsets of group {}", kafka.group_id)))?;
    let first_offsets = || broker(kafka, format!("read the first offsets of {topic}"));
    let mut firsts = TopicPartitionList::new();
    for number in &numbers {
        firsts.add_partition_offset(topic, *number, Offset::Beginning).map_err(first_offsets())?;
    }
    // The protocol accepts "the beginning" in place of a time. That is one request for each leader; `fetch_watermarks` is one for each partition.
    let firsts = consumer.offsets_for_times(firsts, REQUEST_TIMEOUT).map_err(first_offsets())?;
    let mut starts = BTreeMap::new();
    for number in numbers {
        let unknown = || KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset);
        let first = offset(&firsts, topic, number).ok_or_else(unknown).map_err(first_offsets())?;
        let committed = still_there(number, offset(&committed, topic, number), first);
        starts.insert(number, (first, committed));
    }
    let committed = starts.iter().map(|(number, (_, committed))| (*number, *committed)).collect();
    let Some(mut open_streams) = progress_topic::read(kafka, &committed, stop)? else { return Ok(None) };
    let assigned = starts.into_iter().map(|(number, (first, committed))| AssignedPartition {
        number,
        start: committed.unwrap_or(first),
        committed,
        open_streams: open_streams.remove(&number).unwrap_or_default(),
    });
    Ok(Some(assigned.collect()))
}

/// Returns the offset that the list has for a partition.
fn offset(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Returns the committed offset unless its record is gone.
fn still_there(partition: i32, committed: Option<i64>, first: i64) -> Option<i64> {
    if let Some(offset) = committed.filter(|offset| *offset < first) {
        tracing::error!(partition, "records {offset} to {first} are gone: retention was too short");
    }
    committed.filter(|offset| *offset >= first)
}
