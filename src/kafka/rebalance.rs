//! Rebalances: assigned partitions continue the streams that were left open there, and revoked ones are released once their offsets are committed.
//!
//! Input: assignments and revocations of the group. Output: the reader's answers to them, when they are due. Invariants: the reader's thread waits for
//! nothing here; rebalances are answered in the order in which they came, so none is handled while an assignment is being loaded.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::assignment::{AssignedPartition, AssignmentLoader};
use super::clients::ConsumerEvent;
use super::fault::{KafkaFault, broker};
use super::partition::{Partition, PartitionStart};
use super::reader::Reader;
use crate::stream::Assignment;
use crate::telemetry::metrics;

/// How long past the time for its windows the last commit of partitions may take.
pub(super) const LAST_COMMIT: Duration = Duration::from_secs(5);

/// Partitions that are about to be released.
pub(super) struct Leaving {
    partitions: TopicPartitionList,
    numbers: Vec<i32>,
    /// Until then their windows may be published.
    deadline: Instant,
    /// Whether their last commit was started.
    committing: bool,
}

impl Reader {
    /// Handles rebalances and statistics that the consumer has reported.
    pub(super) fn handle_consumer_events(&mut self) -> Result<(), KafkaFault> {
        self.assign_loaded()?;
        while self.loading.is_none() {
            let Ok(event) = self.events.try_recv() else { break };
            match event {
                // A reader that drains accepts no partition: it leaves the group in a moment.
                ConsumerEvent::Assign(_) if self.draining => {}
                ConsumerEvent::Assign(partitions) => {
                    self.loading = Some(AssignmentLoader::start(&self.kafka, &self.consumer, partitions)?);
                }
                ConsumerEvent::Revoke(partitions) => self.revoke(partitions),
                ConsumerEvent::HighWatermarks(watermarks) => self.report_lag(&watermarks),
                ConsumerEvent::Coordinator(requests) => self.rejoin_when_due(requests)?,
            }
        }
        Ok(())
    }

    /// Takes partitions over whose offsets and progress are loaded.
    fn assign_loaded(&mut self) -> Result<(), KafkaFault> {
        let Some(loading) = &mut self.loading else { return Ok(()) };
        let Some(assigned) = loading.loaded()? else { return Ok(()) };
        self.loading = None;
        if self.draining {
            return Ok(());
        }
        let mut starts = TopicPartitionList::new();
        for partition in assigned {
            let (number, start) = (partition.number, Offset::Offset(partition.start));
            self.open(partition);
            let added = starts.add_partition_offset(&self.kafka.input_topic, number, start);
            added.map_err(broker(&self.kafka, "assign a partition"))?;
        }
        if !self.out_of_range.loaded() {
            metrics::kafka_rebalance("assigned");
        }
        self.consumer.incremental_assign(&starts).map_err(broker(&self.kafka, "assign partitions"))?;
        self.links.readiness.met("kafka");
        Ok(())
    }

    fn open(&mut self, assigned: AssignedPartition) {
        let AssignedPartition { number, start, committed, progress } = assigned;
        self.assignments += 1;
        let assignment = Assignment { partition: number, number: self.assignments };
        let streams = progress.open.len();
        tracing::info!(partition = number, offset = start, streams, "partition assigned");
        let start = PartitionStart {
            offset: start,
            committed,
            writer: format!("{}-{}", self.process.simple(), self.assignments),
            open_streams: progress.open,
            void: progress.void,
            transactional: self.transaction.is_some(),
        };
        let (timeout, registries) = (self.links.idle_timeout, self.links.registries.clone());
        let partition = Partition::new(assignment, start, timeout, registries, &self.links.memory);
        self.partitions.insert(number, partition);
        self.fetched.open(number);
    }

    fn revoke(&mut self, partitions: TopicPartitionList) {
        let lost = self.consumer.assignment_lost();
        metrics::kafka_rebalance(if lost { "lost" } else { "revoked" });
        if lost {
            tracing::warn!("partitions were lost: what was not committed is read again by their next reader");
        }
        let numbers: Vec<i32> = partitions.elements().iter().map(|element| element.partition()).collect();
        tracing::info!(partitions = ?numbers, "partitions revoked");
        for number in &numbers {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.leave();
            }
        }
        let deadline = Instant::now() + self.links.revoke_timeout;
        self.leaving.push_back(Leaving { partitions, numbers, deadline, committing: false });
        self.hasten_retry();
    }

    /// Gives revoked partitions up once all that was read from them is answered and committed, or their time is up.
    pub(super) fn release_drained(&mut self) -> Result<(), KafkaFault> {
        while let Some(next) = self.leaving.front() {
            let (now, lost) = (Instant::now(), self.consumer.assignment_lost());
            let is_drained = |number| self.partitions.get(number).is_none_or(Partition::is_drained);
            let drained = next.numbers.iter().all(is_drained);
            if !lost && !next.committing && !drained && now < next.deadline {
                return Ok(());
            }
            if !lost && now < next.deadline + LAST_COMMIT {
                if self.committer.is_under_way() {
                    return Ok(());
                }
                if !next.committing {
                    self.start_commit()?;
                    self.leaving.iter_mut().take(1).for_each(|next| next.committing = true);
                    continue;
                }
            }
            self.release_first(drained)?;
        }
        Ok(())
    }

    fn release_first(&mut self, drained: bool) -> Result<(), KafkaFault> {
        let Some(Leaving { partitions, numbers, .. }) = self.leaving.pop_front() else { return Ok(()) };
        numbers.iter().for_each(|number| self.forget_partition(*number));
        self.consumer.incremental_unassign(&partitions).map_err(broker(&self.kafka, "release partitions"))?;
        tracing::info!(partitions = ?numbers, settled = drained, "partitions released");
        Ok(())
    }

    /// Drops all state of a partition.
    pub(super) fn forget_partition(&mut self, number: i32) {
        if let Some(partition) = self.partitions.remove(&number) {
            let assignment = partition.assignment();
            self.transaction.iter_mut().for_each(|transaction| transaction.forget(assignment));
            let shards = self.links.shards.iter().cloned();
            self.pending_forgets.extend(shards.map(|shard| (shard, assignment)));
        }
        self.fetched.close(number);
        metrics::kafka_lag_removed(number);
    }

    /// Reports the records between the lowest unsettled offset of each partition and its end.
    ///
    /// The ends come with librdkafka's statistics, which it collects from the answers to its fetches. Requesting them was rejected: each request blocks,
    /// for up to 10 s where a broker is away.
    fn report_lag(&self, watermarks: &[(i32, i64)]) {
        for (number, high) in watermarks {
            if let Some(partition) = self.partitions.get(number) {
                let lag = high - partition.lowest_unsettled();
                metrics::kafka_lag(*number, u64::try_from(lag).unwrap_or(0));
            }
        }
    }
}
