//! From a scored window to the event that is published for it.
//!
//! In: a window's envelope and its probabilities. Out: an [`EmotionEvent`] whose id depends on the window and the model alone.
//! Never asks for the time: the caller says when it publishes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pbjson_types::Timestamp;
use uuid::Uuid;

use crate::config;
use crate::envelope::WindowEnvelope;
use crate::model::Contract;
use crate::proto::{EmotionEvent, EmotionScore};

/// Namespace of event ids: UUIDv5 of the DNS name `affectd` in the DNS namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x8037_025d_6c45_53c9_8713_b0c0_9f48_c528);

/// Makes the events of one model.
#[derive(Debug, Clone)]
pub struct EventFactory {
    labels: Vec<String>,
    /// Name and version, as in `crema-d-cnn@1.0.0`.
    model: String,
    /// A best probability below it names no emotion.
    uncertain_below: f32,
}

/// Said in place of an emotion where the model is not sure enough of any.
pub const UNCERTAIN: &str = "uncertain";

/// Said in place of an emotion where the window holds too little speech to ask the model.
pub const SILENCE: &str = "silence";

/// The factory of each model that was heard of lately.
#[derive(Debug)]
pub struct EventFactories {
    decision: config::Publish,
    known: Vec<(Arc<Contract>, Arc<EventFactory>)>,
}

impl EventFactories {
    /// More models than are ever in service at once, but for many reloads.
    const KEPT: usize = 16;

    /// Of no model yet; all decide alike.
    #[must_use]
    pub fn new(decision: config::Publish) -> Self {
        Self { decision, known: Vec::new() }
    }

    /// The factory of the model of `contract`.
    pub fn of(&mut self, contract: &Arc<Contract>) -> Arc<EventFactory> {
        if let Some((_, factory)) = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, contract)) {
            return factory.clone();
        }
        let factory = Arc::new(EventFactory::new(contract, &self.decision));
        self.known.truncate(Self::KEPT - 1);
        self.known.insert(0, (contract.clone(), factory.clone()));
        factory
    }
}

/// Which window of which stream.
#[derive(Debug, Clone, Copy)]
pub struct WindowName<'a> {
    /// The stream.
    pub stream_id: &'a str,
    /// Channel of the stream.
    pub channel: u32,
    /// Index of the window.
    pub index: u64,
    /// The shorter last window.
    pub partial: bool,
}

impl EventFactory {
    /// For the model of a contract, deciding as the configuration says.
    #[must_use]
    pub fn new(contract: &Contract, decision: &config::Publish) -> Self {
        Self {
            labels: contract.labels.clone(),
            model: format!("{}@{}", contract.name, contract.version),
            uncertain_below: decision.uncertain_below as f32,
        }
    }

    /// The model's name and version.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Id of a window's event, the same whenever and wherever the window is analysed: UUIDv5 (RFC 9562) of stream, channel, index,
    /// partial or not, model name and version.
    #[must_use]
    pub fn event_id(&self, window: WindowName<'_>) -> Uuid {
        let WindowName { stream_id, channel, index, partial } = window;
        // The stream's length in front: no two windows give the same text.
        let name = format!("{}:{stream_id}/{channel}/{index}/{partial}/{}", stream_id.len(), self.model);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }

    /// The event of a window with one probability for each label, or with none where it is silent.
    #[must_use]
    pub fn event(
        &self,
        envelope: &WindowEnvelope,
        probabilities: &[f32],
        published_at: Timestamp,
    ) -> EmotionEvent {
        let name = WindowName {
            stream_id: &envelope.stream.stream_id,
            channel: envelope.channel,
            index: envelope.index,
            partial: envelope.partial,
        };
        EmotionEvent {
            attributes: envelope.stream.attributes.clone(),
            channel_name: envelope.stream.channel_name(envelope.channel).to_owned(),
            captured_at: envelope.captured_at,
            published_at: Some(published_at),
            ..self.scored(name, envelope.start..envelope.end, probabilities)
        }
    }

    /// What depends on the window and the model alone: no attributes, and no times of a clock. A silent window has neither scores nor
    /// confidence.
    #[must_use]
    pub fn scored(&self, name: WindowName<'_>, time: Range<Duration>, probabilities: &[f32]) -> EmotionEvent {
        let scores: Vec<EmotionScore> = self
            .labels
            .iter()
            .zip(probabilities)
            .map(|(emotion, probability)| EmotionScore {
                emotion: emotion.clone(),
                probability: *probability,
            })
            .collect();
        let best =
            scores.iter().max_by(|a, b| a.probability.total_cmp(&b.probability)).cloned().unwrap_or_default();
        let confidence = best.probability;
        EmotionEvent {
            event_id: self.event_id(name).to_string(),
            stream_id: name.stream_id.to_owned(),
            channel: name.channel,
            window_index: name.index,
            start: Some(time.start.into()),
            end: Some(time.end.into()),
            emotion: match best {
                _ if probabilities.is_empty() => SILENCE.to_owned(),
                _ if confidence < self.uncertain_below => UNCERTAIN.to_owned(),
                best => best.emotion,
            },
            confidence,
            scores,
            model: self.model.clone(),
            partial: name.partial,
            ..EmotionEvent::default()
        }
    }
}

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factory(version: &str) -> EventFactory {
        let labels = vec!["anger".into(), "sadness".into()];
        EventFactory { labels, model: format!("m@{version}"), uncertain_below: 0.6 }
    }

    #[test]
    fn the_namespace_is_what_it_says() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"affectd"));
    }

    #[test]
    fn a_best_probability_below_the_threshold_names_no_emotion_and_the_scores_stay() {
        let name = WindowName { stream_id: "call", channel: 0, index: 0, partial: false };
        let time = Duration::ZERO..Duration::from_secs(3);
        for (scores, emotion, confidence) in
            [([0.6, 0.4], "anger", 0.6), ([0.59, 0.41], UNCERTAIN, 0.59), ([0.1, 0.9], "sadness", 0.9)]
        {
            let event = factory("1").scored(name, time.clone(), &scores);
            assert_eq!((event.emotion.as_str(), event.confidence), (emotion, confidence));
            assert_eq!(event.scores.iter().map(|score| score.probability).collect::<Vec<_>>(), scores);
        }
    }

    #[test]
    fn a_window_that_no_model_was_asked_about_is_silence_and_says_no_more() {
        let name = WindowName { stream_id: "call", channel: 0, index: 0, partial: false };
        let event = factory("1").scored(name, Duration::ZERO..Duration::from_secs(3), &[]);
        assert_eq!((event.emotion.as_str(), event.confidence, event.scores.len()), (SILENCE, 0.0, 0));
        assert_eq!(event.event_id, factory("1").event_id(name).to_string());
    }

    #[test]
    fn ids_tell_windows_and_versions_apart_and_stay_the_same() {
        let name = WindowName { stream_id: "call", channel: 0, index: 7, partial: false };
        let id = factory("1").event_id(name);
        assert_eq!(id, factory("1").event_id(name));
        for other in [
            factory("2").event_id(name),
            factory("1").event_id(WindowName { index: 8, ..name }),
            factory("1").event_id(WindowName { channel: 1, ..name }),
            factory("1").event_id(WindowName { partial: true, ..name }),
            factory("1").event_id(WindowName { stream_id: "call/0", ..name }),
        ] {
            assert_ne!(id, other);
        }
    }
}
