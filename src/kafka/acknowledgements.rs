//! The outcomes of records that the event producer has sent: what is acknowledged is reported, what is refused is sent again or replaced.
//!
//! Input: delivery reports, from the producer's own thread. Output: reports to the partitions' reader, and records for [`Unacknowledged`]. Invariant: every
//! record is acknowledged, kept for another try, replaced by a dead letter, or given up with a line in the log; none is dropped in silence.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::dead_letters;
use super::fault::KafkaFault;
use super::outage;
use super::outgoing::{Content, Outgoing, Settlement};
use super::refusal::Refusal;
use super::unacknowledged::Unacknowledged;
use crate::shard::PartitionReport;
use crate::telemetry::metrics;

/// What librdkafka keeps beside a message until its outcome is known.
#[derive(Debug)]
pub(super) struct InFlight {
    pub number: u64,
    pub settlement: Box<Settlement>,
    pub content: Content,
    pub suspect: bool,
}

impl InFlight {
    pub fn is_of_call(&self) -> bool {
        matches!(*self.settlement, Settlement::Nothing)
    }
}

/// What the producer's own thread and its users share.
pub(super) struct Shared {
    unacknowledged: Mutex<Unacknowledged>,
    reports: crossbeam_channel::Sender<PartitionReport>,
    dead_letter_topic: String,
}

impl Shared {
    pub fn new(reports: crossbeam_channel::Sender<PartitionReport>, dead_letter_topic: &str) -> Self {
        let unacknowledged = Mutex::new(Unacknowledged::new(Instant::now()));
        Self { unacknowledged, reports, dead_letter_topic: dead_letter_topic.to_owned() }
    }

    pub fn unacknowledged(&self) -> MutexGuard<'_, Unacknowledged> {
        self.unacknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: PartitionReport) {
        // Once the reader has ended, nothing can be settled any more.
        let _ = self.reports.send(report);
    }

    /// Reports what an acknowledgement settles.
    pub fn settle(&self, settlement: Settlement) {
        settlement.reports().into_iter().for_each(|report| self.report(report));
    }

    /// Decides what becomes of a message that was refused; it keeps its place among those that are sent again. `in_batch`: whether others were refused
    /// together with it.
    pub fn refused(&self, number: u64, message: Outgoing, error: &KafkaError, in_batch: bool) {
        let again = match Refusal::of(error) {
            Refusal::Fatal => {
                return self.report(PartitionReport::Failed(Box::new(KafkaFault::NotAcknowledged {
                    topic: message.topic,
                    partition: -1,
                    source: Box::new(error.clone()),
                })));
            }
            // The batch may have been refused for one of its records, or for the size of all.
            Refusal::TooLarge | Refusal::Unwritable if in_batch && !message.suspect => {
                Outgoing { suspect: true, ..message }
            }
            Refusal::TooLarge | Refusal::Unwritable => {
                match dead_letters::in_place_of(message, error, &self.dead_letter_topic) {
                    Ok(smaller) => smaller,
                    Err(message) => return self.settle(*message.settlement),
                }
            }
            // The daemon itself removes records from the queue to send them again in their order.
            Refusal::Passing if is_purged(error) => message,
            Refusal::Passing => {
                metrics::kafka_refused("retried");
                outage::report(&format!("publish to {}: {error}; it is tried again", message.topic));
                message
            }
        };
        self.unacknowledged().refuse(number, again, Instant::now());
    }
}

/// Returns whether a record was removed from the producer's queue before a broker answered.
fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// Receives the outcomes, from the producer's own thread.
pub(super) struct Acknowledgements(pub Arc<Shared>);

impl ClientContext for Acknowledgements {
    fn stats(&self, statistics: Statistics) {
        super::statistics::producer("events", &statistics);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        outage::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        outage::error(&error, reason);
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let of_call = in_flight.is_of_call();
        let InFlight { number, settlement, content, suspect } = *in_flight;
        match result {
            Ok(_) => {
                let mut unacknowledged = self.0.unacknowledged();
                unacknowledged.returned(of_call);
                unacknowledged.acknowledged(Instant::now());
                drop(unacknowledged);
                self.0.settle(*settlement);
            }
            Err((error, message)) => {
                let message = message.detach();
                let outgoing = Outgoing {
                    topic: message.topic().to_owned(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message.headers().cloned().unwrap_or_default(),
                    settlement,
                    content,
                    suspect,
                };
                self.0.refused(number, outgoing, error, true);
                // Last: an empty state means that everything has its outcome.
                self.0.unacknowledged().returned(of_call);
            }
        }
    }
}
