//! The sink that writes events to a topic.
//!
//! Input: events from the publish stage, in order for each channel. Output: records in the producer's queue, in the same order. The task waits
//! while that queue is full, as while the brokers are away, and leaves further events in its own queue: then streams that feed the sink find no
//! room, and no other stream is affected.

use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::producer::{EventProducer, ForTransaction, NotTaken, Outgoing, Settlement};
use crate::serving::{EventReceiver, SinkEvent, SinkMessage};

/// Events that may wait in the sink of the output topic: ten seconds of a thousand channels with one window a second.
pub const EVENT_ROOM: usize = 10_000;
/// Events that may wait in the sink of a shadow's topic, which drops those that find no room.
pub const SHADOW_ROOM: usize = 1_000;
/// Pause before a full producer is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Why the sink cannot go on. Events that are not acknowledged are published again after a restart.
#[derive(Debug, thiserror::Error)]
#[error("publish an event: {0}")]
pub struct EventSinkFault(#[source] pub KafkaError);

/// The task of a sink.
pub struct EventSink {
    producer: EventProducer,
    topic: Option<String>,
    /// Where the events go instead of the producer's queue.
    transactions: Option<Sender<ForTransaction>>,
    events: EventReceiver,
}

impl EventSink {
    /// A sink for the output topic.
    #[must_use]
    pub fn new(producer: EventProducer, events: EventReceiver) -> Self {
        Self { producer, topic: None, transactions: None, events }
    }

    /// A sink for the output topic whose events the reader of the partitions publishes in transactions.
    #[must_use]
    pub fn in_transactions(
        producer: EventProducer,
        transactions: Sender<ForTransaction>,
        events: EventReceiver,
    ) -> Self {
        Self { producer, topic: None, transactions: Some(transactions), events }
    }

    /// A sink for another topic.
    #[must_use]
    pub fn for_topic(producer: EventProducer, events: EventReceiver, topic: &str) -> Self {
        Self { producer, topic: Some(topic.to_owned()), transactions: None, events }
    }

    /// Hands events to the producer until every sender is dropped, or until `stop`: then the queue closes, and the task ends once the events
    /// for which there is a reservation have come.
    ///
    /// # Errors
    /// An event that the producer refuses for good.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), EventSinkFault> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                next = self.events.recv() => next,
            };
            match next {
                Some(event) => self.produce(event).await?,
                None => return Ok(()),
            }
        }
        self.events.close();
        while let Some(event) = self.events.recv().await {
            self.produce(event).await?;
        }
        Ok(())
    }

    async fn produce(&self, sink_event: SinkEvent) -> Result<(), EventSinkFault> {
        let SinkEvent { message, settles, failure, alerts } = sink_event;
        let settlement = settles.map_or(Settlement::Nothing, Settlement::Window);
        // The alerts first: their window follows them in every transaction.
        let mut messages: Vec<Outgoing> = alerts.iter().map(|alert| self.producer.alert(alert)).collect();
        let settlement = match message {
            SinkMessage::Event(event) => {
                let message = match (&failure, &self.topic) {
                    (Some(reason), _) => self.producer.failed_window(&event, reason, &settlement),
                    (None, None) => self.producer.event(&event),
                    (None, Some(topic)) => self.producer.event(&event).to_topic(topic),
                };
                messages.push(message);
                settlement
            }
            SinkMessage::Call(summary, ends) => {
                messages.push(self.producer.call(&summary));
                if ends.is_empty() { settlement } else { Settlement::StreamEnds(ends) }
            }
            SinkMessage::UndeliveredAlert(alert, reason) => {
                messages.push(self.producer.undelivered_alert(&alert, &reason));
                settlement
            }
            SinkMessage::Nothing => settlement,
        };
        self.publish(messages, settlement).await
    }

    /// Publishes messages that settle something together.
    async fn publish(&self, messages: Vec<Outgoing>, settlement: Settlement) -> Result<(), EventSinkFault> {
        match &self.transactions {
            // What settles no offset belongs to no partition, and so to no transaction.
            Some(transactions) if !settlement.is_nothing() => {
                add(transactions, ForTransaction { messages, settlement }).await;
            }
            _ if messages.is_empty() => self.producer.settle(settlement),
            _ => {
                let parts = settlement.joint(messages.len());
                for (message, settlement) in messages.into_iter().zip(parts) {
                    self.send(message.settling(settlement)).await?;
                }
            }
        }
        Ok(())
    }

    async fn send(&self, mut message: Outgoing) -> Result<(), EventSinkFault> {
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Failed(error)) => return Err(EventSinkFault(error)),
                Err(NotTaken::Full(back)) => message = *back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Waits for room in the channel to the reader. A reader that has ended publishes nothing any more: the next one does.
async fn add(transactions: &Sender<ForTransaction>, mut next: ForTransaction) {
    while let Err(TrySendError::Full(back)) = transactions.try_send(next) {
        next = back;
        tokio::time::sleep(RETRY).await;
    }
}
