//! Evaluates the rules of all streams, window by window.
//!
//! Input: the states of a stream's channels and the window that one of them has just counted. Output: the alerts that are raised or cleared. Pure:
//! all state is in the [`AlertState`] of the channels, which is part of the stream's progress.
//!
//! A rule on one channel is evaluated with each window of that channel. A rule that concerns several channels is evaluated with the windows of
//! the last channel, once the others have reached them, and its state is part of the last channel's: so the state that a window leaves never
//! includes an alert that another window has raised and that may not be delivered yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::alert::{CLEARED, MOST_EVENTS, RAISED};
use super::change::{EvaluationPoint, alerts_of, apply, channel_name, close, published};
use super::options::Kind;
use super::reading::{Reading, Times, Track, of_call, of_channel};
use super::rule::{Part, Rule};
use crate::proto::{Alert, EmotionEvent};
use crate::serving::WindowEnvelope;
use crate::stream::{
    AlertState, AlertWindow, AudioMark, ChannelState, ChannelStates, ChannelTotals, StreamInfo,
};
use crate::window::milliseconds;

/// The windows by which a channel may be ahead of another one whose audio it is compared with.
const MOST_MARKS: usize = 16;

/// A window that its channel has counted. Times are milliseconds from the start of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The stream.
    pub stream: &'a StreamInfo,
    /// The number of the channel.
    pub channel: u32,
    /// Number of channels of the stream.
    pub channels: u32,
    /// Start of the window.
    pub start: u64,
    /// End of the window.
    pub end: u64,
    /// Its event; `None` for a window without one.
    pub event: Option<&'a EmotionEvent>,
}

impl<'a> Seen<'a> {
    /// Returns a window with its event; `None` where nothing is measured, because the stream is part of no call.
    #[must_use]
    pub fn of(envelope: &'a WindowEnvelope, event: Option<&'a EmotionEvent>) -> Option<Self> {
        Some(Self {
            stream: &envelope.stream,
            channel: envelope.channel,
            channels: envelope.activity.as_deref()?.channels,
            start: milliseconds(envelope.start),
            end: milliseconds(envelope.end),
            event,
        })
    }
}

/// The rules of all calls. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AlertEvaluator {
    rules: Arc<[Rule]>,
    /// The emotions whose probabilities the rules need.
    emotions: Vec<String>,
    /// How long the probabilities of a window are needed.
    horizon: u64,
}

impl AlertEvaluator {
    /// Returns the evaluator of these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let emotions: BTreeSet<String> = rules.iter().map(|rule| rule.emotion.clone()).collect();
        let horizon = rules.iter().map(|rule| if let Part::Last(length) = rule.part { length } else { 0 });
        Self {
            horizon: horizon.max().unwrap_or(0),
            emotions: emotions.into_iter().filter(|emotion| !emotion.is_empty()).collect(),
            rules: rules.into(),
        }
    }

    /// Returns whether there is no rule, so that windows need not be passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Evaluates the rules with a window that is part of the totals in `states`. Returns the alerts that it raises or clears, in order.
    pub fn window(&self, states: &mut ChannelStates, seen: &Seen<'_>) -> Vec<Arc<Alert>> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        self.add(alerts_of(states, seen.channel), seen);
        if seen.channels > 1 && self.rules.iter().any(Rule::spans_channels) {
            mark_audio(states, seen);
        }
        let mut changes = Vec::new();
        if seen.stream.analyses(seen.channel) {
            let name = channel_name(seen.stream, seen.channel);
            let own = |rule: &&Rule| !rule.spans_channels() && rule.applies_to(&name);
            // A window without an event is no evidence of what the channel sounds like, so it changes no value over some time.
            let concerns = |rule: &&Rule| {
                seen.event.is_some() || !matches!(rule.kind, Kind::Valence | Kind::Share | Kind::Trend)
            };
            let rules = self.rules.iter().filter(own).filter(concerns);
            for rule in rules.filter(|rule| !matches!(rule.part, Part::Last(_))) {
                let times = Times { from: 0, at: seen.end };
                let state = states.of(seen.channel);
                let reading =
                    with_track(seen.stream, (seen.channel, &state), |it| of_channel(rule, it, times));
                drop(state);
                let (holder, channel) = (seen.channel, Some(seen.channel));
                let point = EvaluationPoint { rule, holder, channel, at: seen.end };
                changes.extend(apply(states, seen.stream, &point, reading));
            }
        }
        if seen.channel + 1 == seen.channels && self.rules.iter().any(Rule::spans_channels) {
            alerts_of(states, seen.channel).pending.push(seen.end);
            let ends = (0..seen.channels).map(|channel| states.of(channel).alerts.map_or(0, |it| it.end));
            let known = ends.min().unwrap_or(0);
            self.evaluate_pending(states, seen.stream, (seen.channel, known), &mut changes);
        }
        changes
    }

    /// Ends the rules of a stream whose last window is counted: what is left is evaluated, and alerts that are still raised are cleared. `end`
    /// is the length of the stream.
    pub fn finish(&self, states: &mut ChannelStates, stream: &StreamInfo, end: u64) -> Vec<Arc<Alert>> {
        let channels = u32::try_from(states.iter().count()).unwrap_or(u32::MAX);
        let Some(last) = channels.checked_sub(1).filter(|_| !self.rules.is_empty()) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        self.evaluate_pending(states, stream, (last, u64::MAX), &mut changes);
        for rule in self.rules.iter() {
            if let Part::Last(length) = rule.part {
                evaluate_last(states, stream, (rule, end.saturating_sub(length)), &mut changes);
            }
        }
        for channel in 0..channels {
            if states.of(channel).alerts.is_none_or(|it| it.alerts.iter().all(|it| it.state == CLEARED)) {
                continue;
            }
            for alert in alerts_of(states, channel).alerts.iter_mut().filter(|it| it.state == RAISED) {
                close(alert, None, end);
                changes.push(published(alert, stream));
            }
        }
        changes
    }

    /// Notes a window in the state of its channel.
    fn add(&self, state: &mut AlertState, seen: &Seen<'_>) {
        if state.emotions != self.emotions {
            // The configuration has changed: what is stored belongs to other emotions.
            state.windows.iter_mut().for_each(|window| window.probabilities.clear());
            state.emotions.clone_from(&self.emotions);
        }
        state.end = state.end.max(seen.end);
        let Some(event) = seen.event.filter(|event| !event.scores.is_empty()) else { return };
        let scores = event.deciding_scores();
        let probability = |emotion: &String| {
            let score = scores.iter().find(|score| score.emotion == *emotion);
            score.map_or(0, |score| (f64::from(score.probability).clamp(0.0, 1.0) * 1e6).round() as u32)
        };
        state.windows.push(AlertWindow {
            start: seen.start,
            end: seen.end,
            event_id: Uuid::parse_str(&event.event_id).unwrap_or_default(),
            probabilities: self.emotions.iter().map(probability).collect(),
        });
        let old = state.windows.iter().take_while(|it| it.end + self.horizon < seen.end).count();
        // The rules that concern several channels may be some windows behind.
        let most = state.windows.len().saturating_sub(MOST_EVENTS + 4);
        state.windows.drain(..old.min(most));
    }

    /// Evaluates the rules that concern several channels for the windows up to `known`. Their state is that of the channel `holder`.
    fn evaluate_pending(
        &self,
        states: &mut ChannelStates,
        stream: &StreamInfo,
        (holder, known): (u32, u64),
        changes: &mut Vec<Arc<Alert>>,
    ) {
        let Some(pending) = states.of(holder).alerts.map(|it| it.pending.clone()) else { return };
        let ready = pending.iter().take_while(|at| **at <= known).count();
        if ready > 0 {
            alerts_of(states, holder).pending.drain(..ready);
        }
        for at in pending.into_iter().take(ready) {
            let rules = self.rules.iter().filter(|rule| rule.spans_channels());
            for rule in rules.filter(|rule| !matches!(rule.part, Part::Last(_))) {
                for (channel, reading) in readings(states, stream, rule, Times { from: 0, at }) {
                    let point = EvaluationPoint { rule, holder, channel, at };
                    changes.extend(apply(states, stream, &point, reading));
                }
            }
        }
    }
}

/// Notes the audio of a channel up to its window, so that channels with the same audio are found at that time also once they are known further.
fn mark_audio(states: &mut ChannelStates, seen: &Seen<'_>) {
    let state = states.of(seen.channel);
    let Some(totals) = state.call.as_deref().filter(|totals| totals.sounds) else { return };
    let mark = AudioMark { end: seen.end, fingerprint: totals.fingerprint };
    let audio = &mut alerts_of(states, seen.channel).audio;
    audio.push(mark);
    let old = audio.len().saturating_sub(MOST_MARKS);
    audio.drain(..old);
}

/// Evaluates a rule on the last part of a stream, which begins at `from`.
fn evaluate_last(
    states: &mut ChannelStates,
    stream: &StreamInfo,
    (rule, from): (&Rule, u64),
    changes: &mut Vec<Arc<Alert>>,
) {
    let ends = states.iter().flat_map(|state| state.call.iter().flat_map(|totals| &totals.windows));
    let ends: BTreeSet<u64> = ends.map(|window| window.end).filter(|end| *end > from).collect();
    let holder = u32::try_from(states.iter().count().saturating_sub(1)).unwrap_or(0);
    for at in ends {
        for (channel, reading) in readings(states, stream, rule, Times { from, at }) {
            let point = EvaluationPoint { rule, holder: channel.unwrap_or(holder), channel, at };
            changes.extend(apply(states, stream, &point, reading));
        }
    }
}

/// Returns the values of a rule for each channel that it applies to, or for all of them together.
fn readings(
    states: &ChannelStates,
    stream: &StreamInfo,
    rule: &Rule,
    times: Times,
) -> Vec<(Option<u32>, Option<Reading>)> {
    let (no_totals, no_state) = (ChannelTotals::default(), AlertState::default());
    let track = |(channel, state): (u32, &'_ ChannelState)| (stream.analyses(channel), state.clone());
    let held: Vec<(bool, ChannelState)> = (0..).zip(states.iter()).map(track).collect();
    let tracks: Vec<Track<'_>> = held
        .iter()
        .map(|(analysed, state)| Track {
            analysed: *analysed,
            totals: state.call.as_deref().unwrap_or(&no_totals),
            state: state.alerts.as_deref().unwrap_or(&no_state),
        })
        .collect();
    let mut all = Vec::new();
    for (index, reading) in of_call(rule, &tracks, times) {
        let channel = index.and_then(|index| u32::try_from(index).ok());
        if channel.is_none_or(|channel| rule.applies_to(&channel_name(stream, channel))) {
            all.push((channel, reading));
        }
    }
    all
}

fn with_track<T>(
    stream: &StreamInfo,
    (channel, state): (u32, &ChannelState),
    read: impl FnOnce(&Track<'_>) -> T,
) -> T {
    let (no_totals, no_state) = (ChannelTotals::default(), AlertState::default());
    read(&Track {
        analysed: stream.analyses(channel),
        totals: state.call.as_deref().unwrap_or(&no_totals),
        state: state.alerts.as_deref().unwrap_or(&no_state),
    })
}
