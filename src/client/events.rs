//! The published events of a topic, read from all its partitions.
//!
//! In: a topic, protobuf or JSON values alike. Out: events, partition by partition in order. Never joins a group, never commits.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::ClientError;
use crate::proto::EmotionEvent;

/// How long the brokers may take to describe the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to begin.
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
        let mut config = ClientConfig::new();
        config.extend(properties.iter().map(|(key, value)| (key.clone(), value.clone())));
        config.set("bootstrap.servers", brokers);
        // librdkafka wants a name; with partitions assigned by hand and no commits, no group comes of it.
        config.set("group.id", "affectd-tail").set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest");
        let consumer: StreamConsumer = config.create().map_err(|cause: KafkaError| ClientError::Connect {
            target: format!("kafka://{brokers}"),
            reason: cause.to_string(),
        })?;
        let topic = topic.to_owned();
        // Questions to the brokers hold their thread.
        let opened = tokio::task::spawn_blocking(move || {
            let list = partitions(&consumer, &topic, from)?;
            consumer.assign(&list).map_err(|cause| failed(&topic, &cause))?;
            Ok(Self { topic, consumer })
        });
        opened.await.expect("it does not panic")
    }

    /// The next event, waiting for it as long as it takes. Records that hold none are skipped with a warning. Cancelling it
    /// loses nothing.
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

/// All partitions, each with the offset to begin at. `Now` is asked for here: librdkafka's own end is the one that it finds when
/// it first fetches, which may be later.
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

/// librdkafka goes on by itself after all but fatal errors and those of one partition.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut)
    )
}

/// Protobuf or JSON, told apart by the first byte: no protobuf event begins with a brace.
fn event(message: &BorrowedMessage<'_>) -> Result<EmotionEvent, String> {
    let value = message.payload().ok_or("the value is empty")?;
    match value.first() {
        Some(b'{') => serde_json::from_slice(value).map_err(|error| error.to_string()),
        _ => EmotionEvent::decode(value).map_err(|error| error.to_string()),
    }
}
