//! A consumer of published events, which reads all partitions of a topic.
//!
//! Input: a topic with protobuf or JSON values. Output: events, in order within each partition. Invariants: partitions are
//! assigned manually; the consumer joins no group and commits no offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::ClientError;
use crate::kafka::clients::{self, QuietContext};
use crate::kafka::outage;
use crate::proto::EmotionEvent;

/// The timeout of metadata and watermark requests.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// The start offset of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest event in the topic.
    Beginning,
    /// The first event that is published after the topic was opened.
    Now,
}

/// A consumer of one topic. Dropping it closes the connection.
pub struct Events {
    topic: String,
    consumer: StreamConsumer<QuietContext>,
}

impl Events {
    /// Opens all partitions of a topic.
    ///
    /// # Errors
    /// Returns [`ClientError::Connect`] for an invalid property, [`ClientError::NoTopic`] for a missing topic, and
    /// [`ClientError::Read`] where no broker responds.
    pub async fn open(
        brokers: &str,
        properties: &BTreeMap<String, String>,
        topic: &str,
        from: StartAt,
    ) -> Result<Self, ClientError> {
        let error = |cause: KafkaError| ClientError::Connect {
            target: format!("kafka://{brokers}"),
            reason: cause.to_string(),
        };
        let consumer = clients::event_consumer(brokers, properties).map_err(error)?;
        let topic = topic.to_owned();
        // Metadata and watermark requests block their thread.
        let opened = tokio::task::spawn_blocking(move || {
            let list = partitions(&consumer, &topic, from)?;
            consumer.assign(&list).map_err(|cause| failed(&topic, &cause))?;
            Ok(Self { topic, consumer })
        });
        opened.await.expect("opening a topic does not panic")
    }

    /// Waits for the next event. Records that do not hold an event are skipped with a warning. Cancel safe: no event is lost.
    ///
    /// # Errors
    /// Returns [`ClientError::Read`] for a failure that librdkafka does not recover from.
    pub async fn next(&self) -> Result<EmotionEvent, ClientError> {
        loop {
            let message = match self.consumer.recv().await {
                Ok(message) => message,
                Err(error) if is_transient(&error) => {
                    outage::report(&format!("read {}: {error}", self.topic));
                    continue;
                }
                Err(error) => return Err(failed(&self.topic, &error)),
            };
            match event(&message) {
                Ok(event) => return Ok(event),
                Err(reason) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    tracing::warn!(
                        partition,
                        offset,
                        error = reason,
                        "skipped a record that is not an event"
                    );
                }
            }
        }
    }
}

/// Returns all partitions with their start offsets.
///
/// For [`StartAt::Now`] the end offset is requested here. librdkafka's own `Offset::End` was rejected: it is resolved at
/// the first fetch, and events that are published before that fetch would be missed.
fn partitions(
    consumer: &StreamConsumer<QuietContext>,
    topic: &str,
    from: StartAt,
) -> Result<TopicPartitionList, ClientError> {
    let failed = |cause| failed(topic, &cause);
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT).map_err(failed)?;
    let described = metadata.topics().first().filter(|found| found.error().is_none());
    let partitions = described.map(|found| found.partitions()).unwrap_or_default();
    if partitions.is_empty() {
        return Err(ClientError::NoTopic { topic: topic.to_owned() });
    }
    let mut list = TopicPartitionList::new();
    for partition in partitions.iter().map(|partition| partition.id()) {
        let start = match from {
            StartAt::Beginning => Offset::Beginning,
            StartAt::Now => {
                let (_, end) =
                    consumer.fetch_watermarks(topic, partition, METADATA_TIMEOUT).map_err(failed)?;
                Offset::Offset(end)
            }
        };
        list.add_partition_offset(topic, partition, start).map_err(failed)?;
    }
    Ok(list)
}

fn failed(topic: &str, cause: &KafkaError) -> ClientError {
    ClientError::Read { topic: topic.to_owned(), reason: cause.to_string() }
}

/// Returns whether librdkafka recovers from the error by itself.
fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut)
    )
}

/// Decodes an event from protobuf or JSON. The first byte decides: no protobuf event begins with a brace.
fn event(message: &BorrowedMessage<'_>) -> Result<EmotionEvent, String> {
    let value = message.payload().ok_or("the value is empty")?;
    match value.first() {
        Some(b'{') => serde_json::from_slice(value).map_err(|error| error.to_string()),
        _ => EmotionEvent::decode(value).map_err(|error| error.to_string()),
    }
}
