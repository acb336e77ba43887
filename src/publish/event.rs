//! Makes the event of a window.
//!
//! Input: a window's envelope and its prediction. Output: an [`EmotionEvent`] whose id depends on the window and the model alone. Pure: the
//! caller passes the time of publication.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::Timestamp;
use uuid::Uuid;

use super::{Options, TrainedLabels};
use crate::model::Contract;
use crate::proto::{EmotionEvent, EmotionScore, EmotionValue};
use crate::serving::WindowEnvelope;
use crate::stream::ID_NAMESPACE;

/// Makes the events of one model.
#[derive(Debug, Clone)]
pub struct EventFactory {
    labels: Arc<[String]>,
    /// The mean logits of the model's training data; empty where they are not known.
    mean_logits: Vec<f32>,
    /// The variance of its logits within one speaker, where it is known.
    variance: Option<f32>,
    /// The model's out-of-domain threshold; `None` for models without such a score.
    out_of_domain_above: Option<f32>,
    /// Names of the model's real values.
    values: Arc<[String]>,
    /// Name and version, as in `crema-d-cnn@1.0.0`.
    model: String,
    /// A best probability below it names no emotion.
    uncertain_below: f32,
}

/// The emotion of an event where no score reaches `publish.uncertain_below`.
pub const UNCERTAIN: &str = "uncertain";

/// The emotion of an event whose window holds too little speech to run the model.
pub const SILENCE: &str = "silence";

/// The factories of the models that were used last.
#[derive(Debug)]
pub struct EventFactories {
    decision: Options,
    known: Vec<(Arc<Contract>, Arc<EventFactory>)>,
}

impl EventFactories {
    /// More models than are in service at once, unless many are reloaded.
    const KEPT: usize = 16;

    /// Factories that all decide by `decision`.
    #[must_use]
    pub fn new(decision: Options) -> Self {
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

/// The scores and values of a window. All are empty for a window that did not reach the model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scores<'a> {
    /// The model's own: one for each label.
    pub raw: &'a [f32],
    /// The same adapted to the stream: where there are any, they decide the emotion, unless they are smoothed.
    pub adapted: Option<&'a [f32]>,
    /// The same smoothed: where there are any, they decide the emotion.
    pub smoothed: Option<&'a [f32]>,
    /// The model's real values: one for each name in its contract's `values`.
    pub values: &'a [f32],
    /// The model's out-of-domain score.
    pub out_of_domain: Option<f32>,
}

/// Identifies a window of a stream.
#[derive(Debug, Clone, Copy)]
pub struct WindowName<'a> {
    /// The principal that sends the stream; empty where authentication is off.
    pub owner: &'a str,
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
    /// For the model of a contract, with the configured decision.
    #[must_use]
    pub fn new(contract: &Contract, decision: &Options) -> Self {
        Self {
            labels: contract.labels.clone().into(),
            mean_logits: contract.adaptation.as_ref().map_or_else(Vec::new, |it| it.mean_logits.clone()),
            variance: contract.adaptation.as_ref().and_then(|it| it.variance),
            out_of_domain_above: contract.out_of_domain.map(|it| it.threshold),
            values: contract.values.clone().into(),
            model: format!("{}@{}", contract.name, contract.version),
            uncertain_below: decision.uncertain_below as f32,
        }
    }

    /// The model's labels.
    #[must_use]
    pub fn labels(&self) -> TrainedLabels<'_> {
        TrainedLabels { names: &self.labels, mean_logits: &self.mean_logits, variance: self.variance }
    }

    /// The out-of-domain score above which a window does not resemble the training data; `None` for models without such a score.
    #[must_use]
    pub fn out_of_domain_above(&self) -> Option<f32> {
        self.out_of_domain_above
    }

    /// The model's name and version.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Id of a window's event, the same whenever and wherever the window is analysed: UUIDv5 (RFC 9562) of principal, stream, channel, index,
    /// partial or not, model name and version.
    #[must_use]
    pub fn event_id(&self, window: WindowName<'_>) -> Uuid {
        let WindowName { owner, stream_id, channel, index, partial } = window;
        // The length of the stream's id in front makes the texts of any two windows differ.
        let name = format!("{}:{stream_id}/{channel}/{index}/{partial}/{}", stream_id.len(), self.model);
        // Two principals may have streams of one id. A name without an owner begins with a digit.
        let owned = format!("@{}:{owner}/{name}", owner.len());
        let name = if owner.is_empty() { name } else { owned };
        Uuid::new_v5(&ID_NAMESPACE, name.as_bytes())
    }

    /// Returns the event of a window; without scores where it is silent.
    #[must_use]
    pub fn event(
        &self,
        envelope: &WindowEnvelope,
        scores: Scores<'_>,
        published_at: Timestamp,
    ) -> EmotionEvent {
        let name = WindowName {
            owner: &envelope.stream.owner,
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
            ..self.scored(name, envelope.start..envelope.end, scores)
        }
    }

    /// Returns the part of an event that depends on the windows and the model alone: no attributes, and no wall-clock times. A silent window
    /// has neither scores nor confidence.
    #[must_use]
    pub fn scored(&self, name: WindowName<'_>, time: Range<Duration>, scores: Scores<'_>) -> EmotionEvent {
        let (emotion, confidence) = self.decide(scores);
        EmotionEvent {
            event_id: self.event_id(name).to_string(),
            stream_id: name.stream_id.to_owned(),
            channel: name.channel,
            window_index: name.index,
            start: Some(time.start.into()),
            end: Some(time.end.into()),
            emotion: emotion.to_owned(),
            confidence,
            scores: self.labelled(scores.raw),
            adapted_scores: scores.adapted.map(|adapted| self.labelled(adapted)).unwrap_or_default(),
            smoothed_scores: scores.smoothed.map(|smoothed| self.labelled(smoothed)).unwrap_or_default(),
            values: self.named(scores.values),
            out_of_domain_score: scores.out_of_domain,
            model: self.model.clone(),
            partial: name.partial,
            ..EmotionEvent::default()
        }
    }

    /// The best label, if its score is high enough, and the score. Among equal smoothed scores the higher raw score decides.
    fn decide(&self, scores: Scores<'_>) -> (&str, f32) {
        let decisive = scores.smoothed.or(scores.adapted).unwrap_or(scores.raw);
        let ranked = self.labels.iter().zip(decisive.iter().zip(scores.raw));
        let order = |(_, a): &(_, (&f32, &f32)), (_, b): &(_, (&f32, &f32))| {
            a.0.total_cmp(b.0).then_with(|| a.1.total_cmp(b.1))
        };
        match ranked.max_by(order) {
            Some((label, (best, _))) if *best >= self.uncertain_below => (label, *best),
            Some((_, (best, _))) => (UNCERTAIN, *best),
            // The model was not run.
            None => (SILENCE, 0.0),
        }
    }

    fn named(&self, values: &[f32]) -> Vec<EmotionValue> {
        let value = |(name, value): (&String, &f32)| EmotionValue { name: name.clone(), value: *value };
        self.values.iter().zip(values).map(value).collect()
    }

    fn labelled(&self, scores: &[f32]) -> Vec<EmotionScore> {
        let score = |(emotion, probability): (&String, &f32)| EmotionScore {
            emotion: emotion.clone(),
            probability: *probability,
        };
        self.labels.iter().zip(scores).map(score).collect()
    }
}

/// The current time.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factory(version: &str) -> EventFactory {
        let labels = ["anger".to_owned(), "sadness".to_owned()].into();
        let values = ["arousal".to_owned(), "valence".to_owned()].into();
        let (model, uncertain_below) = (format!("m@{version}"), 0.6);
        EventFactory {
            labels,
            values,
            model,
            uncertain_below,
            mean_logits: Vec::new(),
            variance: None,
            out_of_domain_above: Some(1.0),
        }
    }

    #[test]
    fn a_best_probability_below_the_threshold_names_no_emotion_and_the_scores_stay() {
        let name = WindowName { owner: "", stream_id: "call", channel: 0, index: 0, partial: false };
        let time = Duration::ZERO..Duration::from_secs(3);
        for (scores, emotion, confidence) in
            [([0.6, 0.4], "anger", 0.6), ([0.59, 0.41], UNCERTAIN, 0.59), ([0.1, 0.9], "sadness", 0.9)]
        {
            let scores = Scores { raw: &scores, ..Scores::default() };
            let event = factory("1").scored(name, time.clone(), scores);
            assert_eq!((event.emotion.as_str(), event.confidence), (emotion, confidence));
            assert_eq!(probabilities(&event.scores), scores.raw);
            assert!(event.smoothed_scores.is_empty());
        }
    }

    #[test]
    fn a_window_without_a_prediction_is_silence() {
        let name = WindowName { owner: "", stream_id: "call", channel: 0, index: 0, partial: false };
        let event = factory("1").scored(name, Duration::ZERO..Duration::from_secs(3), Scores::default());
        assert_eq!((event.emotion.as_str(), event.confidence, event.scores.len()), (SILENCE, 0.0, 0));
        assert_eq!(event.event_id, factory("1").event_id(name).to_string());
    }

    #[test]
    fn smoothed_scores_decide_and_the_raw_ones_stay() {
        let name = WindowName { owner: "", stream_id: "call", channel: 0, index: 0, partial: false };
        let raw = [0.9, 0.1];
        for (smoothed, emotion, confidence) in [
            ([0.3, 0.7], "sadness", 0.7),
            ([0.45, 0.55], UNCERTAIN, 0.55),
            // Equal smoothed scores: the window itself favours anger.
            ([0.65, 0.65], "anger", 0.65),
        ] {
            let scores = Scores { raw: &raw, smoothed: Some(&smoothed), ..Scores::default() };
            let event = factory("1").scored(name, Duration::ZERO..Duration::from_secs(3), scores);
            assert_eq!((event.emotion.as_str(), event.confidence), (emotion, confidence));
            assert_eq!(probabilities(&event.scores), raw);
            assert_eq!(probabilities(&event.smoothed_scores), smoothed);
        }
    }

    #[test]
    fn values_have_the_names_of_the_contract_and_the_out_of_domain_score_stands_beside() {
        let name = WindowName { owner: "", stream_id: "call", channel: 0, index: 0, partial: false };
        let scores =
            Scores { raw: &[0.9, 0.1], values: &[0.25, -0.5], out_of_domain: Some(1.5), ..Scores::default() };
        let event = factory("1").scored(name, Duration::ZERO..Duration::from_secs(3), scores);
        let found: Vec<_> = event.values.iter().map(|value| (value.name.as_str(), value.value)).collect();
        assert_eq!(found, [("arousal", 0.25), ("valence", -0.5)]);
        assert_eq!((event.emotion.as_str(), event.confidence), ("anger", 0.9));
        assert_eq!(event.out_of_domain_score, Some(1.5));
    }

    fn probabilities(scores: &[EmotionScore]) -> Vec<f32> {
        scores.iter().map(|score| score.probability).collect()
    }

    #[test]
    fn ids_differ_by_window_and_version_and_stay_the_same() {
        let name = WindowName { owner: "", stream_id: "call", channel: 0, index: 7, partial: false };
        let id = factory("1").event_id(name);
        assert_eq!(id, factory("1").event_id(name));
        for other in [
            factory("2").event_id(name),
            factory("1").event_id(WindowName { index: 8, ..name }),
            factory("1").event_id(WindowName { channel: 1, ..name }),
            factory("1").event_id(WindowName { partial: true, ..name }),
            factory("1").event_id(WindowName { stream_id: "call/0", ..name }),
            factory("1").event_id(WindowName { owner: "token/a", ..name }),
            factory("1").event_id(WindowName { owner: "token/b", ..name }),
        ] {
            assert_ne!(id, other);
        }
    }
}
