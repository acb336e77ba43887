//! The last stage: scored windows to events, and each event to whoever waits for it.
//!
//! In: scored batches in the order in which they were formed, so a channel's windows come in order. Out: events to gRPC calls and Kafka,
//! probabilities to evaluations. Waits while Kafka's queue is full; never waits for a gRPC client, whose room was taken beforehand.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use super::event::{EventFactories, EventFactory, Scores, now};
use super::smoothing::RawScores;
use super::stream_smoother::{Smoothed, StreamSmoother};
use crate::batch::{Scored, ScoredBatch};
use crate::config;
use crate::kafka::producer::{EventProducer, NotTaken, Outgoing, Settlement};
use crate::model::{EngineError, Prediction};
use crate::proto::{EmotionEvent, RecognizeResponse};
use crate::serving::{Answer, CallReply, JobOrigin, WindowEnvelope};
use crate::telemetry::metrics;

/// Pause before a full producer is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Why publishing cannot go on. What is not acknowledged is read again after a restart.
#[derive(Debug, thiserror::Error)]
pub enum PublishFault {
    /// The engine failed twice on a window of Kafka, which must not be lost.
    #[error("analyse window {index} of stream {stream_id:?} from Kafka: {source}")]
    Engine {
        /// The stream.
        stream_id: String,
        /// Index of the window.
        index: u64,
        /// What the engine says.
        #[source]
        source: EngineError,
    },
    /// The producer refuses an event for good.
    #[error("publish an event: {0}")]
    Kafka(rdkafka::error::KafkaError),
}

/// The stage's state.
pub struct Publisher {
    /// Kafka, where it is on.
    pub kafka: Option<EventProducer>,
    /// What is published where, and how it is decided.
    pub options: config::Publish,
}

impl Publisher {
    /// Publishes until the batcher has gone.
    ///
    /// # Errors
    /// See [`PublishFault`]. Cancelling loses only what was not acknowledged yet.
    pub async fn run(self, mut scored: mpsc::Receiver<ScoredBatch<JobOrigin>>) -> Result<(), PublishFault> {
        let mut factories = EventFactories::new(self.options.clone());
        let mut smoother = self.options.smoothing.map(StreamSmoother::new);
        while let Some(batch) = scored.recv().await {
            metrics::queue_depth("publish", scored.len());
            let events = factories.of(&batch.model);
            for Scored { origin, prediction, .. } in batch.windows {
                match (origin, prediction) {
                    (JobOrigin::Clip(clip), outcome) => clip.answer(outcome),
                    (JobOrigin::Window(envelope), Ok(prediction)) => {
                        let smoothed = smoother.as_mut().map(|smoother| {
                            let (labels, scores) = (events.labels(), &prediction.scores);
                            let raw = RawScores { stretch: envelope.stretch, labels, scores };
                            smoother.smooth(&envelope.stream, envelope.channel, raw)
                        });
                        self.publish(&events, *envelope, (&prediction, smoothed)).await?
                    }
                    (JobOrigin::Window(envelope), Err(error)) => failed(*envelope, error)?,
                }
            }
        }
        Ok(())
    }

    async fn publish(
        &self,
        events: &EventFactory,
        envelope: WindowEnvelope,
        (prediction, smoothed): (&Prediction, Option<Smoothed>),
    ) -> Result<(), PublishFault> {
        let (raw, values) = (&prediction.scores, &prediction.values);
        let silent = raw.is_empty();
        let (smoothed, recent) = smoothed.map(|smoothed| (smoothed.scores, smoothed.recent)).unzip();
        let event = events.event(&envelope, Scores { raw, smoothed: smoothed.as_deref(), values }, now());
        envelope.agreements.iter().for_each(|agreement| agreement.says(&event.emotion));
        if !matches!(envelope.answer, Answer::Shadow(_)) {
            metrics::window(if silent { "silent" } else { "published" });
            metrics::event(&event.emotion, envelope.completed_at.elapsed());
        }
        match envelope.answer {
            Answer::Shadow(topic) => {
                self.shadow_to_kafka(&event, topic.as_deref());
                Ok(())
            }
            Answer::Kafka(ticket) => {
                self.to_kafka(&event, Settlement::Window { ticket, recent: recent.flatten() }).await
            }
            Answer::Call(answer) => {
                if self.options.kafka_for_grpc {
                    self.to_kafka(&event, Settlement::Nothing).await?;
                }
                let response = Box::new(RecognizeResponse { event: Some(event) });
                // A client that has left wants no events.
                let _ = answer.replies.try_send(CallReply::Event(response, answer.credit));
                Ok(())
            }
        }
    }

    /// Hands a shadow's event to Kafka, where there is room.
    fn shadow_to_kafka(&self, event: &EmotionEvent, topic: Option<&str>) {
        let Some((producer, topic)) = self.kafka.as_ref().zip(topic) else { return };
        let message = producer.event(event, Settlement::Nothing).to_topic(topic);
        if let Err(not_taken) = producer.send(message) {
            tracing::debug!(topic, "a shadow's event was not taken: {not_taken:?}");
        }
    }

    /// Hands an event to Kafka, waiting while the producer's queue is full.
    async fn to_kafka(&self, event: &EmotionEvent, settlement: Settlement) -> Result<(), PublishFault> {
        let Some(producer) = &self.kafka else { return Ok(()) };
        let mut message: Outgoing = producer.event(event, settlement);
        loop {
            match producer.send(message) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Failed(error)) => return Err(PublishFault::Kafka(error)),
                Err(NotTaken::Full(back)) => message = *back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// A window that the engine could not analyse: its call hears of it; for Kafka the daemon stops rather than lose it.
fn failed(envelope: WindowEnvelope, source: EngineError) -> Result<(), PublishFault> {
    envelope.agreements.iter().for_each(|agreement| agreement.is_off("failed"));
    if !matches!(envelope.answer, Answer::Shadow(_)) {
        metrics::window("failed");
    }
    match envelope.answer {
        Answer::Call(answer) => {
            let status = Status::internal(format!("window {}: {source}", envelope.index));
            let _ = answer.replies.try_send(CallReply::Refused(status));
            Ok(())
        }
        Answer::Shadow(_) => Ok(()),
        Answer::Kafka(_) => {
            let stream_id = envelope.stream.stream_id.to_string();
            Err(PublishFault::Engine { stream_id, index: envelope.index, source })
        }
    }
}
