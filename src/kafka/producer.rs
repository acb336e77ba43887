//! The producer of events and dead letters.
//!
//! Input: events with the tickets that they settle, and dead letters. Output: records, in order for each stream (idempotent producer, acks=all), and a
//! report to the partitions' reader for each that is acknowledged. Invariants: never waits; a full queue returns the message to its sender. No refusal
//! by the brokers loses a record: it is sent again as long as it may be written later, and else a dead letter takes its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use serde::Serialize;

use super::acknowledgements::{Acknowledgements, InFlight, Shared};
use super::outgoing::Content;
pub use super::outgoing::{ForTransaction, NotTaken, Outgoing, Settlement};
use super::refusal::{self, Refusal, cut, with};
use crate::kafka::{KafkaFault, clients};
use crate::kafka::{Options, ValueFormat};
use crate::proto::{Alert, CallSummary, EmotionEvent};
use crate::shard::PartitionReport;

/// How long a wait for acknowledgements lasts before refused records are looked after.
const FLUSH_SLICE: Duration = Duration::from_millis(50);

/// The producer of events and dead letters. Cheap to clone.
#[derive(Clone)]
pub struct EventProducer {
    producer: ThreadedProducer<Acknowledgements>,
    shared: Arc<Shared>,
    output_topic: String,
    calls_topic: String,
    alerts_topic: String,
    input_topic: String,
    dead_letter_topic: String,
    value_format: ValueFormat,
}

impl EventProducer {
    /// Connects. Acknowledgements are reported to `reports`. Batches have at most `batch_limit` bytes, where it is known what the topics take.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(
        kafka: &Options,
        batch_limit: Option<usize>,
        reports: crossbeam_channel::Sender<PartitionReport>,
    ) -> Result<Self, KafkaFault> {
        let shared = Arc::new(Shared::new(reports, &kafka.dead_letter_topic));
        Ok(Self {
            producer: clients::event_producer(kafka, batch_limit, Acknowledgements(Arc::clone(&shared)))?,
            shared,
            output_topic: kafka.output_topic.clone(),
            calls_topic: kafka.calls_topic.clone(),
            alerts_topic: kafka.alerts_topic.clone(),
            input_topic: kafka.input_topic.clone(),
            dead_letter_topic: kafka.dead_letter_topic.clone(),
            value_format: kafka.value_format,
        })
    }

    /// Returns the value of a message, with its content type. One that JSON cannot represent is written in protobuf, which its header names.
    fn value(&self, message: &(impl Message + Serialize)) -> (&'static str, Vec<u8>) {
        if self.value_format == ValueFormat::Json {
            match serde_json::to_vec(message) {
                Ok(json) => return ("application/json", json),
                Err(error) => {
                    tracing::error!("an event cannot be written in JSON, and is written in protobuf: {error}")
                }
            }
        }
        ("application/protobuf", message.encode_to_vec())
    }

    /// Returns the record of an event: key = stream, CloudEvents 1.0 attributes as headers (binary content mode).
    #[must_use]
    pub fn event(&self, event: &EmotionEvent) -> Outgoing {
        let time = event.published_at.as_ref().and_then(|at| serde_json::to_value(at).ok());
        let time = time.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let (content_type, value) = self.value(event);
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", event.event_id.as_str()),
            ("ce_source", "/affectd"),
            ("ce_type", "affectd.v1.EmotionEvent"),
            ("ce_subject", &event.stream_id),
            ("ce_time", time),
            ("content-type", content_type),
        ];
        // An extension attribute, so that a consumer can route by channel without reading the value.
        let name = Some(("ce_channelname", event.channel_name.as_str())).filter(|(_, name)| !name.is_empty());
        let headers: Vec<_> = headers.into_iter().chain(name).collect();
        record(&self.output_topic, &event.stream_id, value, &headers)
    }

    /// Returns the record of a call's summary: key = call, CloudEvents attributes as those of events.
    #[must_use]
    pub fn call(&self, summary: &CallSummary) -> Outgoing {
        let (content_type, value) = self.value(summary);
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", summary.summary_id.as_str()),
            ("ce_source", "/affectd"),
            ("ce_type", "affectd.v1.CallSummary"),
            ("ce_subject", &summary.call_id),
            ("content-type", content_type),
        ];
        record(&self.calls_topic, &summary.call_id, value, &headers)
    }

    /// Returns the record of an alert: key = call, CloudEvents attributes as those of events. The id has the state, because an alert that is raised and
    /// later cleared is two records.
    #[must_use]
    pub fn alert(&self, alert: &Alert) -> Outgoing {
        let (content_type, value) = self.value(alert);
        let id = format!("{}/{}", alert.alert_id, alert.state);
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_source", "/affectd"),
            ("ce_type", "affectd.v1.Alert"),
            ("ce_subject", &alert.call_id),
            ("content-type", content_type),
        ];
        record(&self.alerts_topic, &alert.call_id, value, &headers)
    }

    /// Returns the dead letter of an alert that the webhook did not accept.
    #[must_use]
    pub fn undelivered_alert(&self, alert: &Alert, reason: &str) -> Outgoing {
        let message = self.alert(alert);
        let headers = with(message.headers, refusal::ERROR, cut(reason));
        let headers = with(headers, refusal::REASON, "webhook");
        let letter = Outgoing { headers, content: Content::DeadLetter, ..message };
        letter.to_topic(&self.dead_letter_topic)
    }

    /// Settles a window that gives no event.
    pub fn settle(&self, settlement: Settlement) {
        self.shared.settle(settlement);
    }

    /// Returns the dead letter of a window that the model failed on: the event without an emotion, with the reason and the origin in headers.
    #[must_use]
    pub fn failed_window(&self, event: &EmotionEvent, reason: &str, settlement: &Settlement) -> Outgoing {
        let partition = match settlement {
            Settlement::Window(settled) => settled.ticket.assignment.partition.to_string(),
            _ => String::new(),
        };
        let message = self.event(event);
        let headers = with(message.headers, refusal::ERROR, cut(reason));
        let headers = with(headers, refusal::REASON, "inference");
        let headers = with(headers, refusal::TOPIC, &self.input_topic);
        let headers = with(headers, refusal::PARTITION, &partition);
        let letter = Outgoing { headers, content: Content::DeadLetter, ..message };
        letter.to_topic(&self.dead_letter_topic)
    }

    /// Puts a message into the producer's queue. While records that were refused are not acknowledged, none is taken, so that the order is kept.
    ///
    /// # Errors
    /// A full queue gives the message back.
    pub fn send(&self, message: Outgoing) -> Result<(), NotTaken> {
        self.retry()?;
        let number = self.shared.unacknowledged().next_number();
        match number {
            Some(number) => self.produce(number, message),
            None => Err(NotTaken::Full(Box::new(message))),
        }
    }

    /// Sends records again that were refused, as soon as their pause is over. Must be called now and then; never waits.
    ///
    /// # Errors
    /// Where the producer can send nothing any more.
    pub fn retry(&self) -> Result<(), NotTaken> {
        if !self.shared.unacknowledged().has_refused() {
            return Ok(());
        }
        if self.shared.unacknowledged().begin_round() {
            // What is still queued is returned too, so that all of it is sent again in order.
            self.producer.purge(PurgeConfig::default().queue().non_blocking());
        }
        let first = self.shared.unacknowledged().next_retry(Instant::now());
        let Some(first) = first else { return Ok(()) };
        let sent = self.send_round(first);
        self.shared.unacknowledged().end_round();
        sent
    }

    /// Sends the records of a round, in order.
    fn send_round(&self, first: (u64, Outgoing)) -> Result<(), NotTaken> {
        let mut next = Some(first);
        while let Some((number, message)) = next {
            let alone = message.suspect;
            match self.produce(number, message) {
                Ok(()) => {}
                Err(NotTaken::Full(message)) => {
                    self.shared.unacknowledged().put_back(number, *message);
                    return Ok(());
                }
                Err(failed) => return Err(failed),
            }
            next = if alone { None } else { self.shared.unacknowledged().next_of_round() };
        }
        Ok(())
    }

    /// Hands a message to librdkafka.
    fn produce(&self, number: u64, message: Outgoing) -> Result<(), NotTaken> {
        let Outgoing { topic, key, value, headers, settlement, content, suspect } = message;
        let in_flight = Box::new(InFlight { number, settlement, content, suspect });
        let of_call = in_flight.is_of_call();
        let mut record = BaseRecord::with_opaque_to(&topic, in_flight).headers(headers);
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(value) = &value {
            record = record.payload(value);
        }
        // Before it is sent: the outcome may be known at once.
        self.shared.unacknowledged().sent(of_call, Instant::now());
        let Err((error, record)) = self.producer.send(record) else { return Ok(()) };
        self.shared.unacknowledged().returned(of_call);
        let (headers, in_flight) = (record.headers.unwrap_or_default(), record.delivery_opaque);
        let InFlight { settlement, content, suspect, .. } = *in_flight;
        let message = Outgoing { topic, key, value, headers, settlement, content, suspect };
        if matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            return Err(NotTaken::Full(Box::new(message)));
        }
        if Refusal::of(&error) == Refusal::Fatal {
            return Err(NotTaken::Failed(error));
        }
        self.shared.refused(number, message, &error, false);
        Ok(())
    }

    /// Returns for how long nothing was acknowledged although records wait for it.
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        self.shared.unacknowledged().stalled_for(Instant::now())
    }

    /// Waits until everything is acknowledged, at most for `limit`.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> Flushed {
        let deadline = Instant::now() + limit;
        loop {
            let failed = self.retry().is_err();
            // Times out where something is left, which the state shows too.
            let _ = self.producer.flush(FLUSH_SLICE.min(limit));
            let unacknowledged = self.shared.unacknowledged();
            if unacknowledged.is_empty() {
                return Flushed::All;
            }
            if failed || Instant::now() >= deadline {
                return Flushed::Left { of_calls: unacknowledged.of_calls() };
            }
        }
    }
}

/// Returns a record that settles nothing.
fn record(topic: &str, key: &str, value: Vec<u8>, headers: &[(&str, &str)]) -> Outgoing {
    let headers = headers
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
    Outgoing {
        topic: topic.to_owned(),
        key: Some(key.as_bytes().to_vec()),
        value: Some(value),
        headers,
        settlement: Box::new(Settlement::Nothing),
        content: Content::Event,
        suspect: false,
    }
}

/// What a flush has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is acknowledged.
    All,
    /// Records are not acknowledged.
    Left {
        /// Those of them that are events of calls; all others are made again from the input.
        of_calls: usize,
    },
}
