//! The publish stage: makes events of predictions and hands each to its recipients.
//!
//! Input: scored batches in the order in which they were formed, so the windows of a channel are in order. Output: events to calls and sinks,
//! predictions to evaluations. Invariant: the stage never waits: room for every event was reserved before its window was submitted, and events
//! without a reservation (those of shadows) are dropped and counted where their sink is full.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Options;
use super::event::{EventFactories, EventFactory, Scores, now};
use super::smoothing::RawScores;
use super::stream_states::StreamStates;
use super::tap::EventTap;
use crate::batch::{Scored, ScoredBatch};
use crate::model::{EngineError, Prediction};
use crate::proto::EmotionEvent;
use crate::serving::{
    CallReply, EventSender, JobOrigin, Recipient, SettledWindow, SinkEvent, WindowEnvelope,
};
use crate::stream::ChannelState;
use crate::telemetry::metrics;

/// The stage's configuration and the sinks of shadows.
#[derive(Debug)]
pub struct Publisher {
    /// How events are decided and smoothed.
    pub options: Options,
    /// The sinks of shadows by the topic that they are configured with.
    pub shadow_topics: HashMap<Arc<str>, EventSender>,
    /// Observers of all events but those of shadows.
    pub tap: EventTap,
}

impl Publisher {
    /// Publishes until every batcher has ended. Cancelling loses only windows that were not acknowledged yet.
    pub async fn run(self, mut scored: mpsc::Receiver<ScoredBatch<JobOrigin>>) {
        let mut factories = EventFactories::new(self.options.clone());
        let mut states = StreamStates::default();
        while let Some(batch) = scored.recv().await {
            metrics::queue_depth("publish", scored.len());
            let events = factories.of(&batch.model);
            for Scored { origin, prediction, .. } in batch.windows {
                match (origin, prediction) {
                    (JobOrigin::Clip(clip), outcome) => clip.reply(outcome),
                    (JobOrigin::StreamEnd(stream), _) => states.end(&stream),
                    (JobOrigin::Window(envelope), Ok(prediction)) => {
                        let stages = self.later_stages(&mut states, &events, &envelope, &prediction);
                        self.publish(&events, *envelope, &prediction, stages);
                    }
                    (JobOrigin::Window(envelope), Err(error)) => {
                        let state = self.present_state(&mut states, &envelope);
                        failed(&events, *envelope, error, state);
                    }
                }
            }
        }
    }

    /// Returns the state of a window's channel, which the window leaves as it is.
    fn present_state(&self, states: &mut StreamStates, envelope: &WindowEnvelope) -> ChannelState {
        let WindowEnvelope { stream, channel, .. } = envelope;
        match self.options.smoothing() {
            Some(_) => states.of(stream, *channel).clone(),
            None => stream.channel_states.of(*channel),
        }
    }

    /// Runs the stages behind the model on a window's scores.
    fn later_stages(
        &self,
        states: &mut StreamStates,
        events: &EventFactory,
        envelope: &WindowEnvelope,
        prediction: &Prediction,
    ) -> Staged {
        let WindowEnvelope { stream, channel, .. } = envelope;
        let Some(smoothing) = self.options.smoothing() else {
            // No stage is on: the state that another reader left goes on unchanged.
            return Staged { smoothed: None, state: stream.channel_states.of(*channel) };
        };
        let raw =
            RawScores { segment: envelope.segment, labels: events.labels(), scores: &prediction.scores };
        let state = states.of(stream, *channel);
        let smoothed = Some(smoothing.smooth_channel(state, raw));
        Staged { smoothed, state: state.clone() }
    }

    fn publish(
        &self,
        events: &EventFactory,
        envelope: WindowEnvelope,
        prediction: &Prediction,
        stages: Staged,
    ) {
        let Prediction { scores: raw, values } = prediction;
        let Staged { smoothed, state } = stages;
        let event = events.event(&envelope, Scores { raw, smoothed: smoothed.as_deref(), values }, now());
        envelope.agreements.iter().for_each(|agreement| agreement.record(&event.emotion));
        if !matches!(envelope.recipient, Recipient::Shadow(_)) {
            metrics::window(if raw.is_empty() { "silent" } else { "published" });
            metrics::event(&event.emotion, envelope.completed_at.elapsed());
        }
        let (event, sinks) = (Arc::new(event), envelope.sinks.into_iter());
        if !matches!(envelope.recipient, Recipient::Shadow(_)) {
            self.tap.publish(&event);
        }
        match envelope.recipient {
            Recipient::Shadow(topic) => self.publish_shadow(event, topic.as_deref()),
            Recipient::Partition(ticket) => {
                // The delivery by the first sink settles the window.
                let mut settles = Some(SettledWindow { ticket, state });
                for room in sinks {
                    room.send(SinkEvent { event: event.clone(), settles: settles.take(), failure: None });
                }
            }
            Recipient::Call(call) => {
                for room in sinks {
                    room.send(SinkEvent { event: event.clone(), settles: None, failure: None });
                }
                // Fails only where the client has left.
                let _ = call.replies.try_send(CallReply::Event(event, call.credit));
            }
        }
    }

    /// Sends a shadow's event to its topic. A shadow reserves no room, so that it delays no stream.
    fn publish_shadow(&self, event: Arc<EmotionEvent>, topic: Option<&str>) {
        let Some(sink) = topic.and_then(|topic| self.shadow_topics.get(topic)) else { return };
        if let Err(full) = sink.try_send(SinkEvent { event: event.clone(), settles: None, failure: None }) {
            metrics::shadow_window(&event.model, "event_dropped");
            tracing::debug!(topic, "dropped an event of a shadow: {full}");
        }
    }
}

/// The results of the stages behind the model for one window.
struct Staged {
    /// The smoothed scores; `None` where smoothing is off.
    smoothed: Option<Vec<f32>>,
    /// The channel's state after the window.
    state: ChannelState,
}

/// Handles a window that the engine failed on twice: its call fails; for a window of a partition its sinks receive the failure, which becomes a dead letter,
/// and its stream goes on.
fn failed(events: &EventFactory, envelope: WindowEnvelope, source: EngineError, state: ChannelState) {
    envelope.agreements.iter().for_each(|agreement| agreement.record_missing("failed"));
    if !matches!(envelope.recipient, Recipient::Shadow(_)) {
        metrics::window("failed");
    }
    let index = envelope.index;
    let nothing = Scores { raw: &[], smoothed: None, values: &[] };
    let undecided = EmotionEvent { emotion: String::new(), ..events.event(&envelope, nothing, now()) };
    let sinks = envelope.sinks.into_iter();
    match envelope.recipient {
        Recipient::Call(call) => {
            let _ = call.replies.try_send(CallReply::Failed { index, source });
        }
        Recipient::Shadow(_) => {}
        Recipient::Partition(ticket) => {
            let stream_id = &envelope.stream.stream_id;
            let reason = format!("analyse window {index} of stream {stream_id:?}: {source}");
            tracing::error!("dead letter: {reason}");
            metrics::dead_letter("inference");
            let (event, mut settles) = (Arc::new(undecided), Some(SettledWindow { ticket, state }));
            for room in sinks {
                let (event, failure) = (event.clone(), Some(reason.clone()));
                room.send(SinkEvent { event, settles: settles.take(), failure });
            }
        }
    }
}
