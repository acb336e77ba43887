//! One turn of the reader through its partitions.
//!
//! In: what was fetched. Out: chunks to the shards, in order for each partition, and records that are none to the dead letters. Never waits.

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::clients::KafkaFault;
use super::fetched::Fetched;
use super::reader::Reader;

/// Records of one partition in a turn: then the others have theirs, and reports are heard.
const TURN: usize = 64;

/// What a turn has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    /// All that was fetched is on its way.
    Nothing,
    /// A chunk waits for its shard.
    Held,
    /// There is more to read at once.
    Fetched,
}

impl Reader {
    /// Sends chunks on and reads what was fetched. A partition with a chunk for a full shard is read no further.
    pub(super) fn send_and_read(&mut self) -> Result<Left, KafkaFault> {
        let (mut left, mut letters, mut errors) = (Left::Nothing, Vec::new(), Vec::new());
        for (&number, partition) in &mut self.partitions {
            for read in 0.. {
                if !partition.send(&self.links.shards) {
                    left = left.max(Left::Held);
                    break;
                }
                if partition.leaving {
                    break;
                }
                if read == TURN {
                    left = left.max(Left::Fetched);
                    break;
                }
                match self.fetched.next(number) {
                    Some(Ok(Fetched::Record(record, offset, timestamp))) => {
                        letters.extend(partition.take(record, offset, timestamp));
                    }
                    Some(Ok(Fetched::End)) => partition.at_end = true,
                    Some(Err(error)) => errors.push(error),
                    None => break,
                }
            }
        }
        letters.into_iter().for_each(|letter| self.queue_dead_letter(letter, "record"));
        errors.iter().try_for_each(|error| self.bear(error))?;
        Ok(left)
    }

    /// The consumer goes on by itself after most errors.
    pub(super) fn bear(&self, error: &KafkaError) -> Result<(), KafkaFault> {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            return Err(KafkaFault::Publish(format!("the consumer failed for good: {code}: {reason}")));
        }
        tracing::warn!("reading from Kafka: {error}");
        Ok(())
    }
}
