//! Rebalances: partitions taken over with the streams left open there, and given up when their books are in order.
//!
//! In: assignments and revocations of the group. Out: answers to them, when they are due. Blocks the reader's thread for a few questions
//! to the brokers on assignment, never on revocation.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{KafkaFault, QUESTION, broker};
use super::commit::commit;
use super::partition::Partition;
use super::reader::{Leaving, Reader};
use crate::stream::Assignment;

impl Reader {
    /// Takes partitions over: the group's offsets, the streams left open there, then the first fetch.
    pub(super) fn assign(&mut self, partitions: TopicPartitionList) -> Result<(), KafkaFault> {
        let kafka = &self.kafka;
        let committed = self
            .consumer
            .committed_offsets(partitions, QUESTION)
            .map_err(broker(kafka, format!("ask for the offsets of group {}", kafka.group_id)))?;
        let mut starts = TopicPartitionList::new();
        for element in committed.elements() {
            let number = element.partition();
            let (low, _) = self
                .consumer
                .fetch_watermarks(&kafka.input_topic, number, QUESTION)
                .map_err(broker(kafka, format!("ask for the ends of {}[{number}]", kafka.input_topic)))?;
            let committed = match element.offset() {
                Offset::Offset(offset) if offset >= low => Some(offset),
                Offset::Offset(offset) => {
                    tracing::error!(
                        partition = number,
                        "records {offset} to {low} are gone: retention was too short"
                    );
                    None
                }
                _ => None,
            };
            let start = committed.unwrap_or(low);
            let left = self.progress.read(number, committed)?;
            self.epoch += 1;
            let assignment = Assignment { partition: number, epoch: self.epoch };
            tracing::info!(partition = number, offset = start, streams = left.len(), "partition assigned");
            let links = (self.links.idle_timeout, self.links.registries.clone());
            let partition = Partition::new(assignment, (start, committed), &left, links);
            self.partitions.insert(number, partition);
            self.fetched.open(number);
            let added = starts.add_partition_offset(&kafka.input_topic, number, Offset::Offset(start));
            added.map_err(broker(kafka, "assign a partition"))?;
        }
        self.consumer.incremental_assign(&starts).map_err(broker(kafka, "take partitions over"))?;
        self.links.readiness.met("kafka");
        Ok(())
    }

    pub(super) fn revoke(&mut self, partitions: TopicPartitionList) {
        if self.consumer.assignment_lost() {
            tracing::warn!(
                "partitions were lost: what was not committed is read again by whoever has them now"
            );
        }
        for element in partitions.elements() {
            if let Some(partition) = self.partitions.get_mut(&element.partition()) {
                partition.leaving = true;
            }
        }
        self.leaving.push_back(Leaving { partitions, deadline: Instant::now() + self.links.grace_period });
    }

    /// Gives revoked partitions up once all that was read from them is answered for.
    pub(super) fn give_up_quiet(&mut self) -> Result<(), KafkaFault> {
        while let Some(next) = self.leaving.front() {
            let numbers: Vec<i32> =
                next.partitions.elements().iter().map(|element| element.partition()).collect();
            let quiet =
                numbers.iter().all(|number| self.partitions.get(number).is_none_or(Partition::is_quiet));
            if !quiet && Instant::now() < next.deadline && !self.consumer.assignment_lost() {
                return Ok(());
            }
            let mut gone: BTreeMap<i32, Partition> =
                numbers.iter().filter_map(|number| self.partitions.remove_entry(number)).collect();
            if !self.consumer.assignment_lost() {
                commit(&self.consumer, &self.progress, &self.kafka.input_topic, &mut gone)?;
            }
            for assignment in gone.values().map(Partition::assignment) {
                self.pending_forgets
                    .extend(self.links.shards.iter().map(|shard| (shard.clone(), assignment)));
            }
            numbers.iter().for_each(|number| self.fetched.close(*number));
            let partitions = self.leaving.pop_front().expect("it was at the front").partitions;
            self.consumer
                .incremental_unassign(&partitions)
                .map_err(broker(&self.kafka, "give partitions up"))?;
            tracing::info!(partitions = ?numbers, settled = quiet, "partitions given up");
        }
        Ok(())
    }
}
