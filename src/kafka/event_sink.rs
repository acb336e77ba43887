//! The sink that writes events to a topic.
//!
//! Input: events from the publish stage, in order for each channel. Output: records in the producer's queue, in the same order. The task waits
//! while that queue is full, as while the brokers are away, and leaves further events in its own queue: then streams that feed the sink find no
//! room, and no other stream is affected.

use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::producer::{EventProducer, NotTaken, Outgoing, Settlement};
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
    events: EventReceiver,
}

impl EventSink {
    /// A sink for the output topic.
    #[must_use]
    pub fn new(producer: EventProducer, events: EventReceiver) -> Self {
        Self { producer, topic: None, events }
    }

    /// A sink for another topic.
    #[must_use]
    pub fn for_topic(producer: EventProducer, events: EventReceiver, topic: &str) -> Self {
        Self { producer, topic: Some(topic.to_owned()), events }
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
        let SinkEvent { message, settles, failure } = sink_event;
        let settlement = settles.map_or(Settlement::Nothing, Settlement::Window);
        let event = match message {
            SinkMessage::Event(event) => event,
            SinkMessage::Call(summary, ends) => return self.send(self.producer.call(&summary, ends)).await,
            SinkMessage::Nothing => {
                self.producer.settle(settlement);
                return Ok(());
            }
        };
        let message = match (&failure, &self.topic) {
            (Some(reason), _) => self.producer.failed_window(&event, reason, settlement),
            (None, None) => self.producer.event(&event, settlement),
            (None, Some(topic)) => self.producer.event(&event, settlement).to_topic(topic),
        };
        // The reply of the event's call need not copy it.
        drop(event);
        self.send(message).await
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
