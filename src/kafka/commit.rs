//! Commits: progress first, then the offsets that it belongs to.
//!
//! In: the books of all partitions. Out: settled offsets at the group, in step with the progress topic. A crash between the two leaves
//! progress newer than the offset, which its `acknowledged` entry covers; so no other offset is tried before one is acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::counter;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{KafkaFault, ReaderContext};
use super::partition::Partition;
use super::progress_topic::{ProgressTopic, ProgressWrite};
use crate::telemetry::metrics::KAFKA_COMMITS_TOTAL;

/// Commits what has settled in `partitions` of `topic`. What the broker does not acknowledge is tried again next time.
///
/// # Errors
/// Where progress cannot be written.
pub fn commit(
    consumer: &BaseConsumer<ReaderContext>,
    progress: &ProgressTopic,
    topic: &str,
    partitions: &mut BTreeMap<i32, Partition>,
) -> Result<(), KafkaFault> {
    let (mut due, mut writes) = (Vec::new(), Vec::new());
    for (&number, partition) in partitions.iter_mut() {
        let settled = partition.pending_commit.unwrap_or_else(|| partition.tracker.low_watermark());
        if partition.tracker.committed().is_some_and(|committed| committed >= settled)
            || !partition.tracker.has_read()
        {
            continue;
        }
        partition.pending_commit = Some(settled);
        due.push((number, settled));
        let records = partition.tracker.progress_at(settled).into_iter();
        writes.extend(records.map(|(stream_id, progress)| write(number, stream_id, Some(progress))));
    }
    if due.is_empty() {
        return Ok(());
    }
    progress.write(writes)?;
    let mut offsets = TopicPartitionList::new();
    for (number, settled) in &due {
        if let Err(error) = offsets.add_partition_offset(topic, *number, Offset::Offset(*settled)) {
            tracing::error!("offset {settled} of {topic}[{number}]: {error}");
            return Ok(());
        }
    }
    if let Err(error) = consumer.commit(&offsets, CommitMode::Sync) {
        tracing::warn!("a commit was not acknowledged and is tried again: {error}");
        return Ok(());
    }
    counter!(KAFKA_COMMITS_TOTAL).increment(1);
    let mut tombstones = Vec::new();
    for (number, settled) in due {
        let Some(partition) = partitions.get_mut(&number) else { continue };
        partition.pending_commit = None;
        let ended = partition.tracker.commit_acknowledged(settled);
        tombstones.extend(ended.into_iter().map(|stream_id| write(number, stream_id, None)));
    }
    progress.write(tombstones)
}

fn write(partition: i32, stream_id: Arc<str>, progress: Option<super::Progress>) -> ProgressWrite {
    ProgressWrite { partition, stream_id, progress }
}
