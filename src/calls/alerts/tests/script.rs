//! A scripted stream: when it sounds angry, and when each channel speaks.
//!
//! Input: moods of windows and spans of speech. Output: the alerts of an evaluator. Holds no assertion about the rules.

use std::sync::Arc;
use std::time::Duration;

use super::super::options::{AlertOptions, Kind, Priority};
use super::super::rule::Rule;
use super::super::{AlertEvaluator, CLEARED, RAISED, Seen};
use crate::calls::{Options, Valences, valence};
use crate::proto::{Alert, EmotionEvent, EmotionScore};
use crate::stream::{ChannelStates, CountedWindow, StreamCall, StreamInfo};

/// Windows of 3 s every second.
pub(super) const LENGTH: u64 = 3_000;
pub(super) const HOP: u64 = 1_000;

pub(super) fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

pub(super) fn options(kind: Kind) -> AlertOptions {
    let (name, kind) = (Some("rule".to_owned()), Some(kind));
    AlertOptions { name, kind, priority: Priority::High, ..AlertOptions::default() }
}

pub(super) fn above(kind: Kind, above: f64) -> AlertOptions {
    AlertOptions { above: Some(above), ..options(kind) }
}

pub(super) fn anger(threshold: f64) -> AlertOptions {
    AlertOptions { emotion: Some("anger".to_owned()), ..above(Kind::Emotion, threshold) }
}

pub(super) fn evaluator(rules: &[AlertOptions]) -> AlertEvaluator {
    AlertEvaluator::new(rules.iter().map(|options| Rule::new(options).unwrap()).collect())
}

/// The probability of anger in each window of a channel, `None` for a silent one; the rest is happiness.
pub(super) type Moods = Vec<Option<f32>>;

/// A stream: the moods of its channels, and when each speaks, in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) moods: Vec<Moods>,
    pub(super) speech: Vec<Vec<(u64, u64)>>,
}

pub(super) fn stream(channels: usize) -> StreamInfo {
    let stream_id: Arc<str> = "stream".into();
    let names = ["customer", "agent", "third"];
    StreamInfo {
        stream_id: stream_id.clone(),
        channel_names: names[..channels].iter().map(|name| (*name).to_owned()).collect(),
        attributes: [("queue".to_owned(), "sales".to_owned())].into(),
        call: Some(Arc::new(StreamCall::named("call".into(), "grpc"))),
        ..StreamInfo::default()
    }
}

pub(super) fn event(channel: usize, index: usize, anger: f32) -> EmotionEvent {
    let score =
        |(emotion, probability): (&str, f32)| EmotionScore { emotion: emotion.to_owned(), probability };
    let scores = [("anger", anger), ("happiness", 1.0 - anger)];
    EmotionEvent {
        event_id: uuid::Uuid::from_u64_pair(channel as u64, index as u64).to_string(),
        emotion: if anger > 0.5 { "anger" } else { "happiness" }.to_owned(),
        scores: scores.map(score).to_vec(),
        ..EmotionEvent::default()
    }
}

impl Script {
    pub(super) fn one(moods: &[Option<f32>]) -> Self {
        Self { moods: vec![moods.to_vec()], speech: vec![Vec::new()] }
    }

    pub(super) fn windows(&self) -> usize {
        self.moods.iter().map(Vec::len).max().unwrap_or(0)
    }

    pub(super) fn end(&self) -> u64 {
        (self.windows() as u64).saturating_sub(1) * HOP + LENGTH
    }

    /// Counts one window of one channel as the publisher does, and evaluates the rules.
    pub(super) fn window(
        &self,
        evaluator: &AlertEvaluator,
        states: &mut ChannelStates,
        (stream, channel, index): (&StreamInfo, usize, usize),
    ) -> Vec<Arc<Alert>> {
        let mood = self.moods[channel][index];
        let event = mood.map(|anger| event(channel, index, anger));
        let (start, end) = (index as u64 * HOP, index as u64 * HOP + LENGTH);
        let totals = Arc::make_mut(states.of_mut(channel as u32).call.get_or_insert_default());
        totals.analysed = true;
        let valence = event.as_ref().and_then(|event| Valences::new(&Options::default()).of(event));
        totals.has_valence |= valence.is_some();
        totals.emotions = vec!["anger".to_owned(), "happiness".to_owned()];
        let emotion = event.as_ref().map(|event| u8::from(event.emotion == "happiness"));
        totals.windows.push(CountedWindow {
            start,
            end,
            emotion,
            valence: valence::to_stored(valence.unwrap_or(0.0)),
        });
        totals.has_speech = true;
        for (from, to) in &self.speech[channel] {
            // The part of the speech that no earlier window has reported, in frames of 16 ms.
            let (from, to) = ((*from).max(totals.end), (*to).min(end));
            if from < to {
                match totals.speech.last_mut() {
                    Some(last) if from <= last.1 + 16 => last.1 = to,
                    _ => totals.speech.push((from, to)),
                }
            }
        }
        totals.end = end;
        (totals.sounds, totals.fingerprint) = (true, channel as u64);
        let (channel, channels) = (channel as u32, self.moods.len() as u32);
        evaluator.window(states, &Seen { stream, channel, channels, start, end, event: event.as_ref() })
    }

    /// All alerts of the stream, in order.
    pub(super) fn alerts(&self, evaluator: &AlertEvaluator) -> Vec<Alert> {
        self.alerts_and_states(evaluator).0
    }

    pub(super) fn alerts_and_states(&self, evaluator: &AlertEvaluator) -> (Vec<Alert>, ChannelStates) {
        let (stream, mut states, mut alerts) =
            (stream(self.moods.len()), ChannelStates::default(), Vec::new());
        for index in 0..self.windows() {
            for channel in 0..self.moods.len() {
                alerts.extend(self.window(evaluator, &mut states, (&stream, channel, index)));
            }
        }
        alerts.extend(evaluator.finish(&mut states, &stream, self.end()));
        (alerts.into_iter().map(Arc::unwrap_or_clone).collect(), states)
    }
}

pub(super) fn ms(time: &Option<pbjson_types::Duration>) -> u64 {
    time.as_ref().map_or(0, |time| time.seconds as u64 * 1_000 + time.nanos as u64 / 1_000_000)
}

/// State, start, time of the change.
pub(super) fn changes(alerts: &[Alert]) -> Vec<(&str, u64, u64)> {
    let change = |alert: &'_ Alert| {
        (ms(&alert.start), ms(if alert.state == RAISED { &alert.raised_at } else { &alert.end }))
    };
    let text = |alert: &Alert| if alert.state == RAISED { RAISED } else { CLEARED };
    alerts.iter().map(|alert| (text(alert), change(alert).0, change(alert).1)).collect()
}

pub(super) fn moods(parts: &[(usize, Option<f32>)]) -> Moods {
    parts.iter().flat_map(|(count, mood)| std::iter::repeat_n(*mood, *count)).collect()
}
