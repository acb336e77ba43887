//! Records that cannot be analysed, on their way to the dead-letter topic.
//!
//! Input: records with the reason why they were refused. Output: the same records in the dead-letter topic, with their origin and the reason in headers;
//! the acknowledgement settles their offsets. Invariant: a full producer keeps them here in order and never blocks the reader.

use std::collections::VecDeque;

use rdkafka::message::Header;

use super::options::Options;
use super::producer::{EventProducer, NotTaken, Outgoing, Settlement};
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
        tracing::warn!(partition, offset, "dead letter: {}", letter.reason);
        metrics::dead_letter(kind);
        self.waiting.push_back(self.to_record(letter));
    }

    /// Returns the next dead letter with what it settles, to be published in a transaction.
    pub fn pop(&mut self) -> Option<(DeadLetterTicket, Outgoing)> {
        let mut letter = self.waiting.pop_front()?;
        match std::mem::replace(&mut *letter.settlement, Settlement::Nothing) {
            Settlement::DeadLetter(ticket) => Some((ticket, letter)),
            Settlement::Window(_) | Settlement::Nothing => None,
        }
    }

    /// Hands over as many as the producer has room for; never waits.
    ///
    /// # Errors
    /// Where the producer refuses one for good.
    pub fn send(&mut self) -> Result<(), KafkaFault> {
        while let Some(letter) = self.waiting.pop_front() {
            match self.producer.send(letter) {
                Ok(()) => {}
                Err(NotTaken::Full(letter)) => {
                    self.waiting.push_front(*letter);
                    return Ok(());
                }
                Err(NotTaken::Failed(error)) => {
                    let topic = &self.kafka.dead_letter_topic;
                    return Err(broker(&self.kafka, format!("write a dead letter to {topic}"))(error));
                }
            }
        }
        Ok(())
    }

    /// Returns the record as it was read, with its origin and the reason in headers.
    fn to_record(&self, letter: DeadLetter) -> Outgoing {
        let DeadLetter { record, reason, ticket } = letter;
        let (partition, offset) = (ticket.assignment.partition.to_string(), ticket.offset.to_string());
        let headers = [
            ("affectd-error", &reason),
            ("affectd-topic", &self.kafka.input_topic),
            ("affectd-partition", &partition),
            ("affectd-offset", &offset),
        ];
        let insert = |all: rdkafka::message::OwnedHeaders, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        };
        Outgoing {
            topic: self.kafka.dead_letter_topic.clone(),
            key: record.key,
            value: record.value.to_vec(),
            headers: headers.into_iter().fold(record.headers, insert),
            settlement: Box::new(Settlement::DeadLetter(ticket)),
        }
    }
}
