//! Sending of a recording as Kafka records: protobuf chunks, or raw bytes with headers.
//!
//! Input: a [`Script`]. Output: the acknowledged records. Invariants: events are not read here (see `affectd tail`).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use prost::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio::time::Instant;

use super::{ClientError, Pace, Script, wait_until_due, with_capture_time};
use crate::audio::ChannelPolicy;
use crate::kafka::clients::{self, QuietContext};
use crate::proto::{AudioChunk, AudioFormat, Encoding};

/// The maximum number of unacknowledged records.
const MAX_IN_FLIGHT: usize = 512;

/// The record format of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// The protobuf message `affectd.v1.AudioChunk`.
    Protobuf,
    /// The audio bytes as the record's value, described by the header `content-type`.
    Raw,
}

/// The records that the brokers acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The number of records.
    pub chunks: u64,
    /// The number of bytes of audio.
    pub bytes: u64,
    /// The partition of the last record.
    pub partition: i32,
    /// The offset of the last record.
    pub last_offset: i64,
}

/// An idempotent producer of audio records, which keeps their order and writes none twice. Cheap to clone.
#[derive(Clone)]
pub struct RecordProducer(FutureProducer<QuietContext>);

impl RecordProducer {
    /// Connects to `brokers`, with librdkafka's `properties`.
    ///
    /// # Errors
    /// Returns [`ClientError::Connect`] where a property is unknown or has an invalid value.
    pub fn connect(brokers: &str, properties: &BTreeMap<String, String>) -> Result<Self, ClientError> {
        let error = |cause: KafkaError| ClientError::Connect {
            target: format!("kafka://{brokers}"),
            reason: cause.to_string(),
        };
        clients::audio_producer(brokers, properties).map(Self).map_err(error)
    }
}

/// Sends a stream at its pace and returns when every record is acknowledged.
///
/// # Errors
/// Returns [`ClientError::Kafka`] for the first record that is rejected or not acknowledged within 30 s.
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
        wait_until_due(start, pace, end).await;
        records.send(with_capture_time(chunk)).await?;
    }
    records.finish().await
}

/// The records of one stream. Dropping it stops waiting for the records that are not acknowledged yet.
pub struct Records<'a> {
    producer: &'a RecordProducer,
    topic: &'a str,
    format: RecordFormat,
    in_flight: FuturesOrdered<DeliveryFuture>,
    acknowledged: Acknowledged,
}

impl<'a> Records<'a> {
    /// Creates a stream whose records are sent to `topic`.
    #[must_use]
    pub fn new(producer: &'a RecordProducer, topic: &'a str, format: RecordFormat) -> Self {
        let (in_flight, acknowledged) = (FuturesOrdered::new(), Acknowledged::default());
        Self { producer, topic, format, in_flight, acknowledged }
    }

    /// Sends one chunk, with the stream id as its key. Waits only where the maximum number of records is in flight.
    ///
    /// # Errors
    /// Returns [`ClientError::Kafka`] where this record or an earlier one is rejected.
    pub async fn send(&mut self, chunk: AudioChunk) -> Result<(), ClientError> {
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            let delivery = self.in_flight.next().await;
            self.acknowledged.record(delivery, self.topic)?;
        }
        self.acknowledged.bytes += chunk.audio.len() as u64;
        self.in_flight.push_back(enqueue(self.producer, self.topic, chunk, self.format).await?);
        Ok(())
    }

    /// Waits until every record is acknowledged.
    ///
    /// # Errors
    /// Returns [`ClientError::Kafka`] for the first record that is rejected or not acknowledged within 30 s.
    pub async fn finish(mut self) -> Result<Acknowledged, ClientError> {
        while let Some(delivery) = self.in_flight.next().await {
            self.acknowledged.record(Some(delivery), self.topic)?;
        }
        Ok(self.acknowledged)
    }
}

type Delivered = <DeliveryFuture as Future>::Output;

impl Acknowledged {
    fn record(&mut self, delivery: Option<Delivered>, topic: &str) -> Result<(), ClientError> {
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

/// Adds one record to librdkafka's queue, and waits while the queue is full.
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
    if !chunk.model.is_empty() {
        headers = add(headers, "affectd-model", &chunk.model);
    }
    if chunk.last {
        headers = add(headers, "affectd-last", "true");
    }
    headers
}

/// Returns the media type of raw bytes, or `None` for encodings without a media type.
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
