//! The published events of a topic, read from all its partitions.
//!
//! Input: a topic, with values in protobuf or JSON. Output: events, in order within each partition. Invariant: joins no group and commits nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::ClientError;
use crate::kafka::clients;
use crate::proto::EmotionEvent;

/// How long the brokers may take to describe the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest event that the topic holds.
    Beginning,
    /// The first event that is published after the topic was opened.
    Now,
}

/// An open topic. Dropping it closes the consumer.
pub struct Events {
    topic: String,
    consumer: StreamConsumer,
}

impl Events {
    /// Opens all partitions of a topic.
    ///
    /// # Errors
    /// [`ClientError::Connect`] where a property is bad, [`ClientError::NoTopic`], and [`ClientError::Read`] where no
    /// broker answers.
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
        // Requests to the brokers block their thread.
        let opened = tokio::task::spawn_blocking(move || {
            let list = partitions(&consumer, &topic, from)?;
            consumer.assign(&list).map_err(|cause| failed(&topic, &cause))?;
            Ok(Self { topic, consumer })
        });
        opened.await.expect("it does not panic")
    }

    /// Returns the next event, and waits for it without a limit. Records that hold none are skipped with a warning. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Read`] at a failure that does not pass by itself.
    pub async fn next(&self) -> Result<EmotionEvent, ClientError> {
        loop {
            let message = match self.consumer.recv().await {
                Ok(message) => message,
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "the brokers do not answer; still trying");
                    continue;
                }
                Err(error) => return Err(failed(&self.topic, &error)),
            };
            match event(&message) {
                Ok(event) => return Ok(event),
                Err(reason) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    tracing::warn!(partition, offset, error = reason, "skipped a record that holds no event");
                }
            }
        }
    }
}

/// Returns all partitions, each with the offset to begin at. The end for `Now` is requested here: `Offset::End` of librdkafka is the end that it finds
/// with its first fetch, which may be later.
fn partitions(
    consumer: &StreamConsumer,
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

/// Returns whether librdkafka goes on by itself after the error.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut)
    )
}

/// Decodes protobuf or JSON, which differ in the first byte: no protobuf event begins with a brace.
fn event(message: &BorrowedMessage<'_>) -> Result<EmotionEvent, String> {
    let value = message.payload().ok_or("the value is empty")?;
    match value.first() {
        Some(b'{') => serde_json::from_slice(value).map_err(|error| error.to_string()),
        _ => EmotionEvent::decode(value).map_err(|error| error.to_string()),
    }
}
