//! Events and dead letters to Kafka; what is acknowledged is reported to the partitions' reader.
//!
//! In: events with their tickets, records that were refused. Out: records, in order for each stream (idempotent producer, acks=all).
//! A full queue is a normal answer that gives the message back; a broker that is away is waited for.

use std::time::Duration;

use prost::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::config::{self, ValueFormat};
use crate::kafka::{KafkaFault, RawRecord, broker, settings};
use crate::proto::EmotionEvent;
use crate::serving::SettledWindow;
use crate::shard::PartitionReport;
use crate::stream::DeadLetterTicket;

/// What an acknowledgement settles.
#[derive(Debug)]
pub enum Settlement {
    /// The window of a Kafka stream.
    Window(SettledWindow),
    /// A record that was refused.
    DeadLetter(DeadLetterTicket),
    /// Nothing: the event of a gRPC stream.
    Nothing,
}

/// Passes acknowledgements on.
struct Acknowledgements {
    reports: crossbeam_channel::Sender<PartitionReport>,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<Settlement>;

    fn delivery(&self, result: &DeliveryResult<'_>, settlement: Box<Settlement>) {
        let report = match (result, *settlement) {
            (Ok(_), Settlement::Window(SettledWindow { ticket, state })) => {
                PartitionReport::Delivered { ticket, state }
            }
            (Ok(_), Settlement::DeadLetter(ticket)) => PartitionReport::DeadLetterDelivered(ticket),
            (Ok(_), Settlement::Nothing) => return,
            (Err((error, _)), _) => {
                PartitionReport::Failed(format!("an event or dead letter was not acknowledged: {error}"))
            }
        };
        // Once the reader has gone nothing can be settled any more.
        let _ = self.reports.send(report);
    }
}

/// A message on its way to the producer's queue.
#[derive(Debug)]
pub struct Outgoing {
    topic: String,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: OwnedHeaders,
    settlement: Box<Settlement>,
}

impl Outgoing {
    /// The same message for another topic.
    #[must_use]
    pub fn to_topic(self, topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..self }
    }
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// The queue is full: here is the message.
    Full(Box<Outgoing>),
    /// It can never be sent.
    Failed(KafkaError),
}

/// The producer of events and dead letters. Cheap to clone.
#[derive(Clone)]
pub struct EventProducer {
    producer: ThreadedProducer<Acknowledgements>,
    output_topic: String,
    dead_letter_topic: String,
    value_format: ValueFormat,
}

impl EventProducer {
    /// Connects; what is acknowledged goes to `reports`.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(
        kafka: &config::Kafka,
        reports: crossbeam_channel::Sender<PartitionReport>,
    ) -> Result<Self, KafkaFault> {
        let mut settings = settings(kafka);
        settings
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .set("queue.buffering.max.messages", "10000")
            .set("linger.ms", "5");
        let producer = settings
            .create_with_context(Acknowledgements { reports })
            .map_err(broker(kafka, "set up a producer"))?;
        Ok(Self {
            producer,
            output_topic: kafka.output_topic.clone(),
            dead_letter_topic: kafka.dead_letter_topic.clone(),
            value_format: kafka.value_format,
        })
    }

    /// The record of an event: key = stream, CloudEvents 1.0 attributes as headers (binary content mode).
    #[must_use]
    pub fn event(&self, event: &EmotionEvent, settlement: Settlement) -> Outgoing {
        let (content_type, value) = match self.value_format {
            ValueFormat::Protobuf => ("application/protobuf", event.encode_to_vec()),
            ValueFormat::Json => {
                ("application/json", serde_json::to_vec(event).expect("events hold nothing that JSON cannot"))
            }
        };
        let time = event.published_at.as_ref().and_then(|at| serde_json::to_value(at).ok());
        let time = time.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", &event.event_id),
            ("ce_source", "/affectd"),
            ("ce_type", "affectd.v1.EmotionEvent"),
            ("ce_subject", &event.stream_id),
            ("ce_time", time),
            ("content-type", content_type),
        ];
        // An extension attribute, so that a consumer can route by channel without reading the value.
        let name = Some(("ce_channelname", event.channel_name.as_str())).filter(|(_, name)| !name.is_empty());
        Outgoing {
            topic: self.output_topic.clone(),
            key: Some(event.stream_id.clone().into_bytes()),
            value,
            headers: headers.iter().chain(&name).fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: Some(*value) })
            }),
            settlement: Box::new(settlement),
        }
    }

    /// The dead letter of a record of `topic`: as it came, with where it came from and why it was refused.
    #[must_use]
    pub fn dead_letter(
        &self,
        record: RawRecord,
        topic: &str,
        reason: &str,
        ticket: DeadLetterTicket,
    ) -> Outgoing {
        let (partition, offset) = (ticket.assignment.partition.to_string(), ticket.offset.to_string());
        let headers = [
            ("affectd-error", reason),
            ("affectd-topic", topic),
            ("affectd-partition", &partition),
            ("affectd-offset", &offset),
        ];
        Outgoing {
            topic: self.dead_letter_topic.clone(),
            key: record.key,
            value: record.value.to_vec(),
            headers: headers
                .iter()
                .fold(record.headers, |all, (key, value)| all.insert(Header { key, value: Some(*value) })),
            settlement: Box::new(Settlement::DeadLetter(ticket)),
        }
    }

    /// Puts a message into the producer's queue.
    ///
    /// # Errors
    /// A full queue gives the message back.
    pub fn send(&self, message: Outgoing) -> Result<(), NotTaken> {
        let Outgoing { topic, key, value, headers, settlement } = message;
        let mut record = BaseRecord::with_opaque_to(&topic, settlement).payload(&value).headers(headers);
        if let Some(key) = &key {
            record = record.key(key);
        }
        match self.producer.send(record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                let (headers, settlement) = (record.headers.unwrap_or_default(), record.delivery_opaque);
                Err(NotTaken::Full(Box::new(Outgoing { topic, key, value, headers, settlement })))
            }
            Err((error, _)) => Err(NotTaken::Failed(error)),
        }
    }

    /// Waits until everything is acknowledged, at most for `limit`. Says whether it is.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        self.producer.flush(limit).is_ok()
    }
}
