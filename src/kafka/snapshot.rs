//! What a topic and a group hold at one moment, for the commands that show it.
//!
//! Input: brokers and a topic. Output: every record up to the present end, and the offsets of a group. The consumers join no group and commit nothing.
//! Blocks its thread.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{self, QuietContext, REQUEST_TIMEOUT};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::progress::ProgressRecord;
use super::topics::topic_of;

/// How long nothing may come before the brokers are taken to be away.
const READ_TIMEOUT: Duration = REQUEST_TIMEOUT.saturating_mul(3);

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl TopicRecord {
    /// Returns the last header of a name as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let last = self.headers.iter().rev().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(last.1.as_deref().unwrap_or_default()).into_owned())
    }
}

/// The offsets of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// What the group has committed.
    pub committed: Option<i64>,
    /// The oldest record.
    pub first: i64,
    /// Behind the last record.
    pub end: i64,
}

/// Passes every record of a topic to `handle`, in the order of each partition, up to the ends at the moment of the call.
///
/// # Errors
/// Where the topic is missing, or no broker answers.
pub fn read_topic(
    kafka: &Options,
    topic: &str,
    mut handle: impl FnMut(TopicRecord),
) -> Result<(), KafkaFault> {
    let consumer = clients::progress_consumer(kafka, "read_committed")?;
    let fault = || broker(kafka, format!("read {topic}"));
    let mut assignment = TopicPartitionList::new();
    let mut to_end: BTreeSet<i32> = BTreeSet::new();
    for partition in partitions(kafka, &consumer, topic)? {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).map_err(fault())?;
        to_end.insert(partition);
    }
    consumer.assign(&assignment).map_err(fault())?;
    let mut arrived = Instant::now();
    while let Some(&partition) = to_end.first() {
        match consumer.poll(Duration::from_millis(100)) {
            None if arrived.elapsed() > READ_TIMEOUT => {
                let (topic, seconds) = (topic.to_owned(), READ_TIMEOUT.as_secs());
                return Err(KafkaFault::NoAnswer { topic, partition, seconds });
            }
            None => continue,
            Some(Err(KafkaError::PartitionEOF(partition))) => _ = to_end.remove(&partition),
            Some(Err(error)) => return Err(fault()(error)),
            // Records that were written meanwhile, behind an end that was reached, are left out.
            Some(Ok(message)) if to_end.contains(&message.partition()) => handle(TopicRecord {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map_or_else(Vec::new, |headers| {
                    let owned = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
                    headers.iter().map(|header| (header.key.to_owned(), owned(header.value))).collect()
                }),
            }),
            Some(Ok(_)) => {}
        }
        arrived = Instant::now();
    }
    Ok(())
}

/// Returns the offsets of the group and of the input topic.
///
/// # Errors
/// Where the topic is missing, or no broker answers.
pub fn offsets(kafka: &Options) -> Result<BTreeMap<i32, PartitionOffsets>, KafkaFault> {
    let topic = &kafka.input_topic;
    let consumer = clients::group_reader(kafka)?;
    let numbers = partitions(kafka, &consumer, topic)?;
    let mut list = TopicPartitionList::new();
    numbers.iter().for_each(|number| _ = list.add_partition(topic, *number));
    let committed = consumer
        .committed_offsets(list, REQUEST_TIMEOUT)
        .map_err(broker(kafka, format!("read the offsets of group {}", kafka.group_id)))?;
    let committed = |number| match committed.find_partition(topic, number)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let of = |number: i32| {
        let ends = consumer.fetch_watermarks(topic, number, REQUEST_TIMEOUT);
        let (first, end) = ends.map_err(broker(kafka, format!("read the ends of {topic}")))?;
        Ok((number, PartitionOffsets { committed: committed(number), first, end }))
    };
    numbers.into_iter().map(of).collect()
}

/// Returns the newest record of each stream in the progress topic, by partition and stream.
///
/// # Errors
/// See [`read_topic`]; and where a record is not one of this group's.
pub fn progress(kafka: &Options) -> Result<BTreeMap<(i32, String), ProgressRecord>, KafkaFault> {
    let topic = &kafka.progress_topic;
    let mut newest: HashMap<(i32, String), Vec<u8>> = HashMap::new();
    read_topic(kafka, topic, |record| {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        match record.value {
            Some(value) => _ = newest.insert((record.partition, key), value),
            None => _ = newest.remove(&(record.partition, key)),
        }
    })?;
    let parse = |((partition, stream_id), value): ((i32, String), Vec<u8>)| {
        let parsed = serde_json::from_slice(&value);
        let topic = topic.clone();
        match parsed {
            Ok(record) => Ok(((partition, stream_id), record)),
            Err(source) => Err(KafkaFault::Progress { stream_id, topic, partition, source }),
        }
    };
    newest.into_iter().map(parse).collect()
}

/// Returns the numbers of a topic's partitions.
fn partitions(
    kafka: &Options,
    consumer: &BaseConsumer<QuietContext>,
    topic: &str,
) -> Result<Vec<i32>, KafkaFault> {
    let described = consumer
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(broker(kafka, format!("describe the topic {topic}")))?;
    let found = topic_of(&described, topic).map_err(broker(kafka, format!("describe the topic {topic}")))?;
    let numbers: Vec<i32> =
        found.map_or_else(Vec::new, |found| found.partitions().iter().map(|one| one.id()).collect());
    if numbers.is_empty() {
        let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
        return Err(broker(kafka, format!("find the topic {topic}"))(unknown));
    }
    Ok(numbers)
}
