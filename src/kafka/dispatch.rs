//! One round through the partitions: from the fetched records to the shards.
//!
//! Input: records that were fetched. Output: chunks to the shards, in order for each partition, and records that hold none to the dead letters.
//! Invariant: never waits, and takes a bounded number of records of each partition, so that the others and the reports get their turn.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::fault::KafkaFault;
use super::fetched::Fetched;
use super::outage;
use super::reader::Reader;
use super::reset::is_out_of_range;
use super::transaction_buffer::TransactionBuffer;

/// Records of one partition in a round, and how much audio they have before the next one takes its turn.
const RECORDS_PER_ROUND: usize = 64;
const AUDIO_MS_PER_ROUND: u64 = 10_000;

/// What a round has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remaining {
    /// All that was fetched is on its way.
    Empty,
    /// A chunk waits for its shard.
    ShardFull,
    /// Fetched records can be read at once.
    Unread,
}

impl Reader {
    /// Sends chunks on and reads what was fetched. A partition with a chunk for a full shard is read no further.
    pub(super) fn dispatch(&mut self) -> Result<Remaining, KafkaFault> {
        let (mut remaining, mut errors) = (Remaining::Empty, Vec::new());
        // Dead letters have no room until the transaction is committed.
        let may_read = !self.transaction.as_ref().is_some_and(TransactionBuffer::is_full);
        for number in self.turns.order(self.partitions.keys().copied()) {
            let Some(partition) = self.partitions.get_mut(&number) else { continue };
            let mut audio_ms = 0;
            for read in 0.. {
                if !partition.send(&self.links.shards) {
                    remaining = remaining.max(Remaining::ShardFull);
                    break;
                }
                if !may_read || !partition.is_readable() {
                    break;
                }
                if read == RECORDS_PER_ROUND || audio_ms > AUDIO_MS_PER_ROUND {
                    remaining = remaining.max(Remaining::Unread);
                    break;
                }
                match self.fetched.next(number) {
                    Some(Ok(Fetched::Record(record, offset, timestamp))) => {
                        match partition.take(record, offset, timestamp) {
                            Ok(audio) => {
                                audio_ms += audio;
                                self.turns.read(number, audio);
                            }
                            Err(letter) => self.dead_letters.push(*letter, "record"),
                        }
                    }
                    Some(Ok(Fetched::End)) => partition.end_reached(),
                    Some(Err(error)) => errors.push((number, error)),
                    None => {
                        self.turns.nothing_to_read(number);
                        break;
                    }
                }
            }
        }
        errors.iter().try_for_each(|(number, error)| self.handle_read_error(*number, error))?;
        Ok(remaining)
    }

    /// Handles an error that came through the queue of a partition.
    fn handle_read_error(&mut self, number: i32, error: &KafkaError) -> Result<(), KafkaFault> {
        if is_out_of_range(error) {
            self.out_of_range.add(number);
            return Ok(());
        }
        self.handle_error(error)
    }

    /// Logs an error of the consumer, which goes on by itself after all but fatal ones.
    pub(super) fn handle_error(&self, error: &KafkaError) -> Result<(), KafkaFault> {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            return Err(KafkaFault::Consumer { topic: self.kafka.input_topic.clone(), code, reason });
        }
        let text = format!("read {} as group {}: {error}", self.kafka.input_topic, self.kafka.group_id);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed) => {
                outage::report_apart("rights", &text);
            }
            _ => outage::report(&text),
        }
        Ok(())
    }
}
