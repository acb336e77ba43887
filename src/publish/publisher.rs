//! The publish stage: makes events of predictions and hands each to its recipients.
//!
//! Input: scored batches in the order in which they were formed, so the windows of a channel are in order. Output: events to calls and sinks,
//! predictions to evaluations. Invariant: the stage never waits: room for every event was reserved before its window was submitted, and events
//! without a reservation (those of shadows) are dropped and counted where their sink is full.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Options;
use super::call_stage::{CallOutput, CallStage};
use super::event::{EventFactories, EventFactory, Scores, now};
use super::live::LiveTap;
use super::out_of_domain::OutOfDomainStreams;
use super::stages::{Staged, Stages};
use super::stream_states::StreamStates;
use super::tap::EventTap;
use crate::batch::{Scored, ScoredBatch};
use crate::model::{EngineError, Prediction};
use crate::proto::{Alert, EmotionEvent};
use crate::serving::{
    CallReply, EventSender, JobOrigin, Recipient, SettledWindow, SinkEvent, SinkMessage, WindowEnvelope,
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
    /// Observers of all windows but those of shadows.
    pub live: LiveTap,
    /// Where summaries of calls go.
    pub calls: CallOutput,
}

/// What a window has changed in the stages behind the model.
struct Counted {
    /// The state of its channel.
    state: ChannelState,
    /// The alerts that it has raised or cleared.
    alerts: Vec<Arc<Alert>>,
}

impl Publisher {
    /// Publishes until every batcher has ended. Cancelling loses only windows that were not acknowledged yet.
    pub async fn run(self, mut scored: mpsc::Receiver<ScoredBatch<JobOrigin>>) {
        let mut factories = EventFactories::new(self.options.clone());
        let mut states = StreamStates::default();
        let mut calls = CallStage::new(self.calls.clone());
        let mut out_of_domain = OutOfDomainStreams::new(self.options.out_of_domain_after);
        loop {
            let next = tokio::select! {
                biased;
                next = scored.recv() => next,
                () = calls.due() => {
                    calls.publish_ended();
                    continue;
                }
            };
            let Some(batch) = next else { break };
            metrics::queue_depth("publish", scored.len());
            let events = factories.of(&batch.model);
            for scored in batch.windows {
                self.handle((&mut states, &mut out_of_domain, &mut calls), &events, scored);
            }
        }
        calls.finish().await;
    }

    /// Handles one result of a batcher, or the mark of a stream between them.
    fn handle(
        &self,
        (states, out_of_domain, calls): (&mut StreamStates, &mut OutOfDomainStreams, &mut CallStage),
        events: &EventFactory,
        scored: Scored<JobOrigin>,
    ) {
        match (scored.origin, scored.prediction) {
            (JobOrigin::Clip(clip), outcome) => clip.reply(outcome),
            (JobOrigin::CallStream(marker), _) => {
                let of_stream = states.all_of(&marker.stream);
                calls.mark(*marker, &of_stream, events.model());
            }
            (JobOrigin::StreamEnd(stream), _) => {
                states.end(&stream);
                out_of_domain.end(&stream);
                calls.leave(&stream);
                self.live.ended(&stream);
            }
            (JobOrigin::Window(envelope), Ok(prediction)) => {
                let left = self.window((states, out_of_domain, calls), events, (*envelope, prediction));
                calls.publish_alerts(left);
            }
            (JobOrigin::Window(envelope), Err(error)) => {
                let counted = self.without_prediction((states, calls), events, &envelope);
                calls.publish_alerts(failed(events, *envelope, error, counted));
            }
        }
    }

    /// Counts a window without a prediction: only the summary and the alerts of its call do.
    fn without_prediction(
        &self,
        (states, calls): (&mut StreamStates, &CallStage),
        events: &EventFactory,
        envelope: &WindowEnvelope,
    ) -> Counted {
        let WindowEnvelope { stream, channel, .. } = envelope;
        if self.is_stateless(states, events, envelope) {
            return Counted { state: stream.channel_states.of(*channel), alerts: Vec::new() };
        }
        let states = states.of_stream(stream);
        let alerts = calls.count(states, envelope, None);
        Counted { state: states.of(*channel), alerts }
    }

    /// Whether no stage is on for the stream of a window, so that the state that another reader left goes on unchanged.
    fn is_stateless(&self, states: &StreamStates, events: &EventFactory, envelope: &WindowEnvelope) -> bool {
        Stages::new(&self.options).is_empty()
            && envelope.activity.is_none()
            && events.out_of_domain_above().is_none()
            && !states.contains(&envelope.stream)
    }

    /// Runs the stages behind the model on a window, and publishes its event. Returns alerts that no sink of the window took.
    fn window(
        &self,
        (states, out_of_domain, calls): (&mut StreamStates, &mut OutOfDomainStreams, &CallStage),
        events: &EventFactory,
        (envelope, prediction): (WindowEnvelope, Prediction),
    ) -> Vec<Arc<Alert>> {
        let stages = Stages::new(&self.options);
        if self.is_stateless(states, events, &envelope) {
            let state = envelope.stream.channel_states.of(envelope.channel);
            let event = Self::event(events, &envelope, &prediction, &Staged::default());
            return self.publish(envelope, Some(event), Counted { state, alerts: Vec::new() });
        }
        let states = states.of_stream(&envelope.stream);
        out_of_domain.window(states, &envelope, events, &prediction);
        let state = states.of_mut(envelope.channel);
        let event = match envelope.recipient {
            Recipient::Unpublished(_) => None,
            _ => {
                let staged = stages.run(state, envelope.segment, (events.labels(), &prediction.scores));
                Some(Self::event(events, &envelope, &prediction, &staged))
            }
        };
        let alerts = calls.count(states, &envelope, event.as_ref());
        let state = states.of(envelope.channel);
        self.publish(envelope, event, Counted { state, alerts })
    }

    fn event(
        events: &EventFactory,
        envelope: &WindowEnvelope,
        prediction: &Prediction,
        staged: &Staged,
    ) -> EmotionEvent {
        let event = events.event(envelope, staged.scores(prediction), now());
        envelope.agreements.iter().for_each(|agreement| agreement.record(&event.emotion));
        if !matches!(envelope.recipient, Recipient::Shadow(_)) {
            metrics::window(if prediction.scores.is_empty() { "silent" } else { "published" });
            metrics::event(&event.emotion, envelope.completed_at.elapsed());
        }
        event
    }

    /// Hands the event of a window to its recipients; a window without one only settles. Returns alerts that no sink of the window took.
    fn publish(
        &self,
        envelope: WindowEnvelope,
        event: Option<EmotionEvent>,
        Counted { state, mut alerts }: Counted,
    ) -> Vec<Arc<Alert>> {
        let event = event.map(Arc::new);
        if let Some(event) = event.as_ref().filter(|_| !matches!(envelope.recipient, Recipient::Shadow(_))) {
            self.tap.publish(event);
        }
        if !matches!(envelope.recipient, Recipient::Shadow(_)) {
            self.live.window(&envelope, event.as_ref());
        }
        let message = event.clone().map_or(SinkMessage::Nothing, SinkMessage::Event);
        let sinks = envelope.sinks.into_iter();
        match envelope.recipient {
            Recipient::Shadow(topic) => {
                event.into_iter().for_each(|event| self.publish_shadow(event, topic.as_deref()));
            }
            Recipient::Partition(ticket) | Recipient::Unpublished(Some(ticket)) => {
                // The delivery by the first sink settles the window.
                let mut settles = Some(SettledWindow { ticket, state });
                for room in sinks {
                    let (message, alerts) = (message.clone(), std::mem::take(&mut alerts));
                    room.send(SinkEvent { message, settles: settles.take(), failure: None, alerts });
                }
            }
            Recipient::Unpublished(None) => {}
            Recipient::Call(call) => {
                for room in sinks {
                    let (message, alerts) = (message.clone(), std::mem::take(&mut alerts));
                    room.send(SinkEvent { message, settles: None, failure: None, alerts });
                }
                drop(message);
                if let Some(event) = event {
                    // Fails only where the client has left.
                    let _ = call.replies.try_send(CallReply::Event(event, call.credit));
                }
            }
        }
        alerts
    }

    /// Sends a shadow's event to its topic. A shadow reserves no room, so that it delays no stream.
    fn publish_shadow(&self, event: Arc<EmotionEvent>, topic: Option<&str>) {
        let Some(sink) = topic.and_then(|topic| self.shadow_topics.get(topic)) else { return };
        let message = SinkMessage::Event(event.clone());
        if let Err(full) = sink.try_send(SinkEvent::unsettled(message)) {
            metrics::shadow_window(&event.model, "event_dropped");
            tracing::debug!(topic, "dropped an event of a shadow: {full}");
        }
    }
}

/// Handles a window that the engine failed on twice: its call fails; for a window of a partition its sinks receive the failure, which becomes a dead letter,
/// and its stream goes on. Returns alerts that no sink of the window took.
fn failed(
    events: &EventFactory,
    envelope: WindowEnvelope,
    source: EngineError,
    Counted { state, mut alerts }: Counted,
) -> Vec<Arc<Alert>> {
    envelope.agreements.iter().for_each(|agreement| agreement.record_missing("failed"));
    if !matches!(envelope.recipient, Recipient::Shadow(_)) {
        metrics::window("failed");
    }
    let index = envelope.index;
    let event = events.event(&envelope, Scores::default(), now());
    let undecided = EmotionEvent { emotion: String::new(), ..event };
    let sinks = envelope.sinks.into_iter();
    match envelope.recipient {
        Recipient::Call(call) => {
            let _ = call.replies.try_send(CallReply::Failed { index, source: Box::new(source) });
        }
        Recipient::Shadow(_) | Recipient::Unpublished(_) => {}
        Recipient::Partition(ticket) => {
            let stream_id = &envelope.stream.stream_id;
            let reason = format!("analyse window {index} of stream {stream_id:?}: {source}");
            tracing::error!("dead letter: {reason}");
            metrics::dead_letter("inference");
            let message = SinkMessage::Event(Arc::new(undecided));
            let mut settles = Some(SettledWindow { ticket, state });
            for room in sinks {
                let (message, failure) = (message.clone(), Some(reason.clone()));
                let alerts = std::mem::take(&mut alerts);
                room.send(SinkEvent { message, settles: settles.take(), failure, alerts });
            }
        }
    }
    alerts
}
