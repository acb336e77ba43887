//! A recording as Kafka records: protobuf chunks, or raw bytes with headers.
//!
//! Input: a [`Script`]. Output: what the brokers acknowledged. Invariant: each record is sent once, in order. Events are read elsewhere
//! (see `affectd tail`).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use prost::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio::time::Instant;

use super::{ClientError, Pace, Script, stamped, wait};
use crate::audio::ChannelPolicy;
use crate::kafka::clients;
use crate::proto::{AudioChunk, AudioFormat, Encoding};

/// Records of a stream that may be unacknowledged at once.
const IN_FLIGHT: usize = 512;

/// How chunks become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// The protobuf message `affectd.v1.AudioChunk`.
    Protobuf,
    /// The audio alone, described by the header `content-type`.
    Raw,
}

/// What the brokers acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Records.
    pub chunks: u64,
    /// Bytes of audio.
    pub bytes: u64,
    /// Partition of the last record.
    pub partition: i32,
    /// Offset of the last record.
    pub last_offset: i64,
}

/// A producer of audio records. Cheap to clone.
#[derive(Clone)]
pub struct RecordProducer(FutureProducer);

impl RecordProducer {
    /// Connects to `brokers`, with librdkafka's `properties`.
    ///
    /// # Errors
    /// [`ClientError::Connect`] where a property is unknown or has a bad value.
    pub fn connect(brokers: &str, properties: &BTreeMap<String, String>) -> Result<Self, ClientError> {
        let error = |cause: KafkaError| ClientError::Connect {
            target: format!("kafka://{brokers}"),
            reason: cause.to_string(),
        };
        clients::audio_producer(brokers, properties).map(Self).map_err(error)
    }
}

/// Sends a stream at its pace; returns once every record is acknowledged.
///
/// # Errors
/// [`ClientError::Kafka`] at the first record that is refused, or not acknowledged within 30 s.
pub async fn send_to_kafka(
    producer: &RecordProducer,
    topic: &str,
    script: Script,
    pace: Pace,
    format: RecordFormat,
) -> Result<Acknowledged, ClientError> {
    let mut records = Records::new(producer, topic, format);
    let start = Instant::now();
    for (end, chunk) in script.into_chunks() {
        wait(start, pace, end).await;
        records.send(stamped(chunk)).await?;
    }
    records.finish().await
}

/// The records of one stream on their way to a topic. When it is dropped, the result of those that are not acknowledged yet is lost.
pub struct Records<'a> {
    producer: &'a RecordProducer,
    topic: &'a str,
    format: RecordFormat,
    unacknowledged: FuturesOrdered<DeliveryFuture>,
    acknowledged: Acknowledged,
}

impl<'a> Records<'a> {
    /// Returns a stream whose records go to `topic`.
    #[must_use]
    pub fn new(producer: &'a RecordProducer, topic: &'a str, format: RecordFormat) -> Self {
        let (unacknowledged, acknowledged) = (FuturesOrdered::new(), Acknowledged::default());
        Self { producer, topic, format, unacknowledged, acknowledged }
    }

    /// Sends one chunk, keyed by its stream. Waits only where too many are unacknowledged already.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] where this record or an earlier one is refused.
    pub async fn send(&mut self, chunk: AudioChunk) -> Result<(), ClientError> {
        if self.unacknowledged.len() >= IN_FLIGHT {
            let delivery = self.unacknowledged.next().await;
            self.acknowledged.settle(delivery, self.topic)?;
        }
        self.acknowledged.bytes += chunk.audio.len() as u64;
        self.unacknowledged.push_back(enqueue(self.producer, self.topic, chunk, self.format).await?);
        Ok(())
    }

    /// Waits until every record is acknowledged.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] at the first record that is refused, or not acknowledged within 30 s.
    pub async fn finish(mut self) -> Result<Acknowledged, ClientError> {
        while let Some(delivery) = self.unacknowledged.next().await {
            self.acknowledged.settle(Some(delivery), self.topic)?;
        }
        Ok(self.acknowledged)
    }
}

type Delivered = <DeliveryFuture as Future>::Output;

impl Acknowledged {
    fn settle(&mut self, delivery: Option<Delivered>, topic: &str) -> Result<(), ClientError> {
        let error = |reason: String| ClientError::Kafka { topic: topic.to_owned(), reason };
        match delivery {
            Some(Ok(Ok(delivery))) => {
                self.chunks += 1;
                (self.partition, self.last_offset) = (delivery.partition, delivery.offset);
                Ok(())
            }
            Some(Ok(Err((cause, _)))) => Err(error(cause.to_string())),
            Some(Err(_)) | None => Err(error("the producer was closed".to_owned())),
        }
    }
}

/// Hands one record to librdkafka. Waits while its queue is full.
async fn enqueue(
    producer: &RecordProducer,
    topic: &str,
    chunk: AudioChunk,
    format: RecordFormat,
) -> Result<DeliveryFuture, ClientError> {
    let key = chunk.stream_id.clone();
    let headers = (format == RecordFormat::Raw).then(|| headers(&chunk));
    let value = match format {
        RecordFormat::Protobuf => chunk.encode_to_vec(),
        RecordFormat::Raw => chunk.audio.to_vec(),
    };
    loop {
        let record = FutureRecord { headers: headers.clone(), ..FutureRecord::to(topic) };
        match producer.0.send_result(record.key(&key).payload(&value)) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err((cause, _)) => {
                return Err(ClientError::Kafka { topic: topic.to_owned(), reason: cause.to_string() });
            }
        }
    }
}

fn headers(chunk: &AudioChunk) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    let add = |headers: OwnedHeaders, key: &str, value: &str| {
        headers.insert(Header { key, value: Some(value.as_bytes()) })
    };
    if let Some(content_type) = chunk.format.as_ref().and_then(content_type) {
        headers = add(headers, "content-type", &content_type);
    }
    if let Some(first) = chunk.first_sample {
        headers = add(headers, "affectd-first-sample", &first.to_string());
    }
    if let Ok(Some(policy)) = ChannelPolicy::from_proto(chunk.channels) {
        headers = add(headers, "affectd-channels", policy.name());
    }
    if !chunk.channel_names.is_empty() {
        headers = add(headers, "affectd-channel-names", &chunk.channel_names.join(","));
    }
    if chunk.last {
        headers = add(headers, "affectd-last", "true");
    }
    headers
}

/// Returns the media type of raw bytes; `None` for encodings that have none.
pub fn content_type(format: &AudioFormat) -> Option<String> {
    let parameters = format!("rate={};channels={}", format.sample_rate_hz, format.channels);
    match format.encoding() {
        Encoding::PcmS16le => Some(format!("audio/L16;{parameters};endianness=little-endian")),
        Encoding::Mulaw => Some(format!("audio/PCMU;{parameters}")),
        Encoding::Alaw => Some(format!("audio/PCMA;{parameters}")),
        Encoding::File => Some("audio/wav".to_owned()),
        _ => None,
    }
}
