//! Records that cannot be analysed, on their way to the dead-letter topic.
//!
//! Input: records with the reason why they were refused. Output: the same records in the dead-letter topic, with their origin and the reason in headers;
//! the acknowledgement settles their offsets. Invariant: a full producer keeps them here in order and never blocks the reader.

use std::collections::VecDeque;

use rdkafka::error::KafkaError;

use super::options::Options;
use super::outgoing::Content;
use super::producer::{EventProducer, NotTaken, Outgoing, Settlement};
use super::refusal::{self, Refusal, cut, with};
use super::{KafkaFault, RawRecord, broker};
use crate::stream::DeadLetterTicket;
use crate::telemetry::metrics;

/// A record that becomes a dead letter.
#[derive(Debug)]
pub struct DeadLetter {
    /// As it was read.
    pub record: RawRecord,
    /// Why it was refused.
    pub reason: String,
    /// What its acknowledgement settles.
    pub ticket: DeadLetterTicket,
}

/// Dead letters that wait for room in the producer's queue.
pub(super) struct DeadLetterQueue {
    kafka: Options,
    producer: EventProducer,
    waiting: VecDeque<Outgoing>,
}

impl DeadLetterQueue {
    pub fn new(kafka: &Options, producer: EventProducer) -> Self {
        Self { kafka: kafka.clone(), producer, waiting: VecDeque::new() }
    }

    /// Queues a dead letter; `kind` is the metric's label.
    pub fn push(&mut self, letter: DeadLetter, kind: &'static str) {
        let (partition, offset) = (letter.ticket.assignment.partition, letter.ticket.offset);
        tracing::warn!(partition, offset, "dead letter: {}", cut(&letter.reason));
        metrics::dead_letter(kind);
        self.waiting.push_back(self.to_record(letter, kind));
    }

    /// Returns the next dead letter with what it settles, to be published in a transaction.
    pub fn pop(&mut self) -> Option<(DeadLetterTicket, Outgoing)> {
        let mut letter = self.waiting.pop_front()?;
        match std::mem::replace(&mut *letter.settlement, Settlement::Nothing) {
            Settlement::DeadLetter(ticket) => Some((ticket, letter)),
            Settlement::Window(_)
            | Settlement::StreamEnds(_)
            | Settlement::Joint(_)
            | Settlement::Nothing => None,
        }
    }

    /// Hands over as many as the producer has room for, and lets it send again what was refused; never waits.
    ///
    /// # Errors
    /// Where the producer can send nothing any more.
    pub fn send(&mut self) -> Result<(), KafkaFault> {
        let topic = &self.kafka.dead_letter_topic;
        let failed = |error| broker(&self.kafka, format!("write a dead letter to {topic}"))(error);
        if let Err(NotTaken::Failed(error)) = self.producer.retry() {
            return Err(failed(error));
        }
        while let Some(letter) = self.waiting.pop_front() {
            match self.producer.send(letter) {
                Ok(()) => {}
                Err(NotTaken::Full(letter)) => {
                    self.waiting.push_front(*letter);
                    return Ok(());
                }
                Err(NotTaken::Failed(error)) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Returns the record as it was read, with its origin and the reason in headers.
    fn to_record(&self, letter: DeadLetter, kind: &str) -> Outgoing {
        let DeadLetter { record, reason, ticket } = letter;
        let (partition, offset) = (ticket.assignment.partition.to_string(), ticket.offset.to_string());
        let headers = [
            (refusal::ERROR, cut(&reason)),
            (refusal::REASON, kind),
            (refusal::TOPIC, &self.kafka.input_topic),
            (refusal::PARTITION, &partition),
            (refusal::OFFSET, &offset),
        ];
        Outgoing {
            topic: self.kafka.dead_letter_topic.clone(),
            key: record.key,
            value: record.value.map(Vec::from),
            headers: headers.into_iter().fold(record.headers, |all, (key, value)| with(all, key, value)),
            settlement: Box::new(Settlement::DeadLetter(ticket)),
            content: Content::DeadLetter,
            suspect: false,
        }
    }
}

/// Returns what is written in place of a message that the brokers refuse for what it holds, and counts and logs it.
///
/// # Errors
/// The message, where nothing smaller can stand for it: it is given up, because it would be refused again after every restart.
pub(super) fn in_place_of(
    message: Outgoing,
    error: &KafkaError,
    dead_letter_topic: &str,
) -> Result<Outgoing, Box<Outgoing>> {
    let origin = format!("{:?} for {}", message.content, message.topic);
    if message.content == Content::Event {
        metrics::dead_letter("event");
    }
    let why = (Refusal::of(error), &*error.to_string());
    let smaller = refusal::smaller(message, why, dead_letter_topic);
    match &smaller {
        Ok(_) => {
            metrics::kafka_refused("reduced");
            tracing::warn!("{origin} cannot be written ({error}): a smaller dead letter takes its place");
        }
        Err(_) => {
            metrics::kafka_refused("dropped");
            tracing::error!("{origin} cannot be written at all ({error}): given up");
        }
    }
    smaller
}
