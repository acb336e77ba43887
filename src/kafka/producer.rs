//! The producer of events and dead letters.
//!
//! Input: events with the tickets that they settle, and dead letters. Output: records, in order for each stream (idempotent producer, acks=all), and a
//! report to the partitions' reader for each that is acknowledged. Invariant: never waits; a full queue returns the message to its sender.

use std::time::Duration;

use prost::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::kafka::{KafkaFault, clients};
use crate::kafka::{Options, ValueFormat};
use crate::proto::{CallSummary, EmotionEvent};
use crate::serving::SettledWindow;
use crate::shard::PartitionReport;
use crate::stream::{ChannelState, DeadLetterTicket, Ticket};

/// What an acknowledgement settles.
#[derive(Debug)]
pub enum Settlement {
    /// The window of a Kafka stream.
    Window(SettledWindow),
    /// The ends of streams whose call was summarised.
    StreamEnds(Vec<Ticket>),
    /// A record that was refused.
    DeadLetter(DeadLetterTicket),
    /// Nothing: the event of a gRPC stream.
    Nothing,
}

/// Reports acknowledgements to the reader, from the producer's own thread.
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
            (Ok(_), Settlement::StreamEnds(ends)) => {
                let delivered =
                    |ticket| PartitionReport::Delivered { ticket, state: ChannelState::default() };
                ends.into_iter().map(delivered).for_each(|report| _ = self.reports.send(report));
                return;
            }
            (Ok(_), Settlement::Nothing) => return,
            (Err((error, message)), _) => PartitionReport::Failed(Box::new(KafkaFault::NotAcknowledged {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                source: Box::new(error.clone()),
            })),
        };
        // Once the reader has ended, nothing can be settled any more.
        let _ = self.reports.send(report);
    }
}

/// A message on its way to the producer's queue.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
    pub(super) headers: OwnedHeaders,
    pub(super) settlement: Box<Settlement>,
}

impl Outgoing {
    /// Returns the same message for another topic.
    #[must_use]
    pub fn to_topic(self, topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..self }
    }
}

/// Why a message was not queued.
#[derive(Debug)]
pub enum NotTaken {
    /// The queue is full; the message is returned.
    Full(Box<Outgoing>),
    /// It can never be sent.
    Failed(KafkaError),
}

/// The producer of events and dead letters. Cheap to clone.
#[derive(Clone)]
pub struct EventProducer {
    producer: ThreadedProducer<Acknowledgements>,
    output_topic: String,
    calls_topic: String,
    value_format: ValueFormat,
    reports: crossbeam_channel::Sender<PartitionReport>,
}

impl EventProducer {
    /// Connects. Acknowledgements are reported to `reports`.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(
        kafka: &Options,
        reports: crossbeam_channel::Sender<PartitionReport>,
    ) -> Result<Self, KafkaFault> {
        let producer = clients::event_producer(kafka, Acknowledgements { reports: reports.clone() })?;
        let (output_topic, calls_topic) = (kafka.output_topic.clone(), kafka.calls_topic.clone());
        Ok(Self { producer, output_topic, calls_topic, value_format: kafka.value_format, reports })
    }

    /// Returns the record of an event: key = stream, CloudEvents 1.0 attributes as headers (binary content mode).
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

    /// Returns the record of a call's summary: key = call, CloudEvents attributes as those of events. Its acknowledgement settles the ends
    /// of the call's streams.
    #[must_use]
    pub fn call(&self, summary: &CallSummary, ends: Vec<Ticket>) -> Outgoing {
        let (content_type, value) = match self.value_format {
            ValueFormat::Protobuf => ("application/protobuf", summary.encode_to_vec()),
            ValueFormat::Json => {
                let json = serde_json::to_vec(summary);
                ("application/json", json.expect("summaries hold nothing that JSON cannot"))
            }
        };
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", &summary.summary_id),
            ("ce_source", "/affectd"),
            ("ce_type", "affectd.v1.CallSummary"),
            ("ce_subject", &summary.call_id),
            ("content-type", content_type),
        ];
        Outgoing {
            topic: self.calls_topic.clone(),
            key: Some(summary.call_id.clone().into_bytes()),
            value,
            headers: headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: Some(*value) })
            }),
            settlement: Box::new(Settlement::StreamEnds(ends)),
        }
    }

    /// Settles a window that gives no event.
    pub fn settle(&self, settlement: Settlement) {
        if let Settlement::Window(SettledWindow { ticket, state }) = settlement {
            // Once the reader has ended, nothing can be settled any more.
            let _ = self.reports.send(PartitionReport::Delivered { ticket, state });
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

    /// Waits until everything is acknowledged, at most for `limit`, and returns whether it is.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        self.producer.flush(limit).is_ok()
    }
}
