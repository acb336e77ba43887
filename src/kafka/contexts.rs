//! The callbacks of consumers and admin clients, and of the producers of progress and of transactions.
//!
//! Input: callbacks of librdkafka. Output: those of the input consumer as [`ConsumerEvent`]s in a channel that the reader owns; the outcomes of records in the
//! channel of their producer; log lines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::outage;
use super::rejoin::CoordinatorRequests;

/// What the input consumer reports while it is polled.
#[derive(Debug)]
pub(super) enum ConsumerEvent {
    /// The group assigns these partitions in addition.
    Assign(TopicPartitionList),
    /// The group takes these partitions away.
    Revoke(TopicPartitionList),
    /// The offset behind the last record of each partition, as far as it is known.
    HighWatermarks(Vec<(i32, i64)>),
    /// The outcomes of requests to the group's coordinator.
    Coordinator(CoordinatorRequests),
}

/// Queues rebalances for the reader, which answers them once the partitions' offsets are tracked or committed, instead of acting on them.
pub(super) struct ReaderContext {
    pub(super) events: mpsc::Sender<ConsumerEvent>,
    /// Set once the reader has ended: from then on partitions are released at once.
    pub closing: AtomicBool,
}

impl ReaderContext {
    fn report(&self, event: ConsumerEvent) {
        // The reader is dropped after its consumer's last callback, except while `closing` is set.
        let _ = self.events.send(event);
    }
}

impl ClientContext for ReaderContext {
    fn stats(&self, statistics: Statistics) {
        super::statistics::brokers(&statistics);
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        // -1 is librdkafka's partition for records without one; watermarks below 0 are not known yet.
        let known = partitions.filter(|partition| partition.partition >= 0 && partition.hi_offset >= 0);
        let watermarks = known.map(|partition| (partition.partition, partition.hi_offset)).collect();
        self.report(ConsumerEvent::HighWatermarks(watermarks));
        self.report(ConsumerEvent::Coordinator(CoordinatorRequests::of(&statistics)));
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        outage::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        outage::error(&error, reason);
    }
}

impl ConsumerContext for ReaderContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let done = if assign { Ok(()) } else { consumer.incremental_unassign(partitions) };
            if let Err(error) = done {
                tracing::debug!("gave up partitions while closing: {error}");
            }
            return;
        }
        let partitions = partitions.clone();
        self.report(if assign {
            ConsumerEvent::Assign(partitions)
        } else {
            ConsumerEvent::Revoke(partitions)
        });
    }
}

/// Logs errors and lines of librdkafka, and nothing else.
#[derive(Clone)]
pub struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        outage::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        outage::error(&error, reason);
    }
}

impl ConsumerContext for QuietContext {}

/// A record that a producer could not write.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// The number that it was sent with.
    pub number: usize,
    /// The size of its key and its value.
    pub bytes: usize,
    /// The topic.
    pub topic: String,
    /// The partition; -1 where none was chosen yet.
    pub partition: i32,
    /// Why.
    pub error: KafkaError,
}

/// What became of a record: without an error it is acknowledged.
pub(super) type Outcome = Result<(), Unwritten>;

/// Sends the outcome of each record to a channel, from the producer's own thread. A record has a number, which its sender chooses.
pub(super) struct OutcomeContext {
    /// The label of the producer's metrics.
    pub producer: &'static str,
    pub outcomes: crossbeam_channel::Sender<Outcome>,
}

impl ClientContext for OutcomeContext {
    fn stats(&self, statistics: Statistics) {
        super::statistics::producer(self.producer, &statistics);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        outage::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        outage::error(&error, reason);
    }
}

impl ProducerContext for OutcomeContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err((error, message)) => Err(Unwritten {
                number,
                bytes: message.key_len() + message.payload_len(),
                topic: message.topic().to_owned(),
                partition: message.partition(),
                error: error.clone(),
            }),
        };
        // Once the user of the producer has gone, nothing waits for the record.
        let _ = self.outcomes.send(outcome);
    }
}
