//! The sink that writes events to a topic.
//!
//! Input: events from the publish stage, in order for each channel. Output: records in the producer's queue, in the same order. The task waits
//! while that queue is full, as while the brokers are away, and leaves further events in its own queue: then streams that feed the sink find no
//! room, and no other stream is affected.

use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::producer::{EventProducer, NotTaken, Outgoing, Settlement};
use crate::serving::{EventReceiver, SinkEvent};

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
    transactions: Option<Sender<Outgoing>>,
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
        transactions: Sender<Outgoing>,
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
        let SinkEvent { event, settles, failure } = sink_event;
        let settlement = settles.map_or(Settlement::Nothing, Settlement::Window);
        let mut message = match (&failure, &self.topic) {
            (Some(reason), _) => self.producer.failed_window(&event, reason, settlement),
            (None, None) => self.producer.event(&event, settlement),
            (None, Some(topic)) => self.producer.event(&event, settlement).to_topic(topic),
        };
        // The reply of the event's call need not copy it.
        drop(event);
        loop {
            match self.send(message) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Failed(error)) => return Err(EventSinkFault(error)),
                Err(NotTaken::Full(back)) => message = *back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn send(&self, message: Outgoing) -> Result<(), NotTaken> {
        let Some(transactions) = &self.transactions else { return self.producer.send(message) };
        match transactions.try_send(message) {
            Err(TrySendError::Full(message)) => Err(NotTaken::Full(Box::new(message))),
            // A reader that has ended publishes nothing any more: the next one does.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}
