//! The records that librdkafka has fetched, in one queue a partition.
//!
//! Input: partitions that are assigned and released. Output: their records in order, one by one, on request. Invariant: never waits for a record but in
//! [`FetchedQueues::wait`].
//!
//! A partition with a chunk for a full shard is left unread: its queue keeps what was fetched (librdkafka's `queued.max.messages.kbytes` bounds it) and
//! holds up no other partition. `pause` was rejected: it discards the fetched records, so that each full shard costs another round of fetching.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;

use super::clients::ReaderContext;
use super::record::RawRecord;

/// The next item of a partition.
#[derive(Debug)]
pub(super) enum Fetched {
    /// A record, with its offset and its timestamp in ms.
    Record(RawRecord, i64, i64),
    /// The partition's end, for now.
    End,
}

/// The queues of all assigned partitions.
pub(super) struct FetchedQueues {
    consumer: Arc<BaseConsumer<ReaderContext>>,
    topic: String,
    queues: BTreeMap<i32, PartitionQueue<ReaderContext>>,
    /// Holds a message where an empty queue has received a record since the last wait.
    arrived: crossbeam_channel::Receiver<()>,
    arrival: crossbeam_channel::Sender<()>,
}

impl FetchedQueues {
    pub fn new(consumer: Arc<BaseConsumer<ReaderContext>>, topic: &str) -> Self {
        let (arrival, arrived) = crossbeam_channel::bounded(1);
        Self { consumer, topic: topic.to_owned(), queues: BTreeMap::new(), arrived, arrival }
    }

    /// Opens the queue of a partition. Must be called before the partition is assigned: what is fetched before that goes to the consumer's own queue.
    pub fn open(&mut self, partition: i32) {
        // `None` only for a topic with a zero byte in its name, and this one is subscribed to.
        let Some(mut queue) = self.consumer.split_partition_queue(&self.topic, partition) else { return };
        let arrival = self.arrival.clone();
        queue.set_nonempty_callback(move || _ = arrival.try_send(()));
        self.queues.insert(partition, queue);
    }

    /// Drops a partition's queue with what is in it.
    pub fn close(&mut self, partition: i32) {
        self.queues.remove(&partition);
    }

    /// Drops all queues. Must be called before their consumer is dropped.
    pub fn close_all(&mut self) {
        self.queues.clear();
    }

    /// Returns the next item of a partition, where there is one; never waits.
    pub fn next(&self, partition: i32) -> Option<Result<Fetched, KafkaError>> {
        match self.queues.get(&partition)?.poll(Duration::ZERO)? {
            Ok(message) => {
                let timestamp = message.timestamp().to_millis().unwrap_or(0);
                Some(Ok(Fetched::Record(RawRecord::from(&message), message.offset(), timestamp)))
            }
            Err(KafkaError::PartitionEOF(_)) => Some(Ok(Fetched::End)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Waits until an empty queue receives a record, at most for `limit`.
    pub fn wait(&self, limit: Duration) {
        // The sender is a field of this struct, so the channel is never closed.
        let _ = self.arrived.recv_timeout(limit);
    }
}
