//! What was fetched of each partition, in a queue of its own.
//!
//! In: partitions taken over and given up. Out: their records in order, one by one, when asked. A partition that is not asked keeps what was
//! fetched (librdkafka's `queued.max.messages.kbytes` bounds it) and holds no other one up. Pausing would throw that away, and each time
//! cost a round of fetching.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;

use super::clients::ReaderContext;
use super::record::RawRecord;

/// What comes next in a partition.
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
    /// Holds something when an empty queue got its first record since anyone waited.
    arrived: crossbeam_channel::Receiver<()>,
    arrival: crossbeam_channel::Sender<()>,
}

impl FetchedQueues {
    pub fn new(consumer: Arc<BaseConsumer<ReaderContext>>, topic: &str) -> Self {
        let (arrival, arrived) = crossbeam_channel::bounded(1);
        Self { consumer, topic: topic.to_owned(), queues: BTreeMap::new(), arrived, arrival }
    }

    /// Gives a partition its queue. To be called before it is assigned: what is fetched before goes elsewhere.
    pub fn open(&mut self, partition: i32) {
        // None only for a topic with a zero byte in its name, and this one is subscribed to.
        let Some(mut queue) = self.consumer.split_partition_queue(&self.topic, partition) else { return };
        let arrival = self.arrival.clone();
        queue.set_nonempty_callback(move || _ = arrival.try_send(()));
        self.queues.insert(partition, queue);
    }

    /// Drops a partition's queue with what is in it.
    pub fn close(&mut self, partition: i32) {
        self.queues.remove(&partition);
    }

    /// Drops all queues: before their consumer goes.
    pub fn close_all(&mut self) {
        self.queues.clear();
    }

    /// The next record of a partition, where one was fetched; never waits.
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

    /// Waits until something comes into an empty queue, at most for `limit`.
    pub fn wait(&self, limit: Duration) {
        // Its other end is in this very struct.
        let _ = self.arrived.recv_timeout(limit);
    }
}
