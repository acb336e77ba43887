//! Partitions whose next record does not exist any more while they are read: it was deleted, or the topic was truncated.
//!
//! Input: errors of the consumer (`auto.offset.reset=error`). Output: the partition is loaded again, as if it had just been assigned: from the committed offset,
//! or from the first record where that is gone, which `kafka.on_lost_progress` decides about. Invariant: no window is numbered anew in silence.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::assignment::AssignmentLoader;
use super::fault::{KafkaFault, broker};
use super::reader::Reader;

/// The shortest time between two loads.
const PAUSE: Duration = Duration::from_secs(1);

/// Partitions whose position is out of range.
#[derive(Debug, Default)]
pub(super) struct OutOfRange {
    partitions: BTreeSet<i32>,
    /// Whether the load that is under way is one of these partitions.
    loading: bool,
    loaded_at: Option<Instant>,
}

impl OutOfRange {
    /// Adds a partition.
    pub fn add(&mut self, partition: i32) {
        self.partitions.insert(partition);
    }

    /// Notes that a load has ended, and returns whether it was one of these partitions.
    pub fn loaded(&mut self) -> bool {
        std::mem::take(&mut self.loading)
    }

    fn take(&mut self) -> Option<BTreeSet<i32>> {
        let paused = self.loaded_at.is_some_and(|at| at.elapsed() < PAUSE);
        if paused || self.partitions.is_empty() {
            return None;
        }
        self.loaded_at = Some(Instant::now());
        Some(std::mem::take(&mut self.partitions))
    }
}

/// Returns whether an error says that the next record of a partition does not exist.
pub(super) fn is_out_of_range(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset)
}

impl Reader {
    /// Loads partitions again whose position is out of range, once nothing of them is about to be committed.
    pub(super) fn reload_out_of_range(&mut self) -> Result<(), KafkaFault> {
        if self.draining || self.loading.is_some() || self.committer.is_under_way() {
            return Ok(());
        }
        let Some(numbers) = self.out_of_range.take() else { return Ok(()) };
        let mut partitions = TopicPartitionList::new();
        for number in numbers {
            // A partition that is about to be released is left to its next reader.
            if self.partitions.get(&number).is_some_and(|partition| !partition.is_leaving()) {
                tracing::error!(partition = number, "the next record is gone: the partition is loaded again");
                partitions.add_partition(&self.kafka.input_topic, number);
                self.forget_partition(number);
            }
        }
        if partitions.count() == 0 {
            return Ok(());
        }
        let unassigned = self.consumer.incremental_unassign(&partitions);
        unassigned.map_err(broker(&self.kafka, "release partitions"))?;
        self.out_of_range.loading = true;
        self.loading = Some(AssignmentLoader::start(&self.kafka, &self.consumer, partitions)?);
        Ok(())
    }
}
