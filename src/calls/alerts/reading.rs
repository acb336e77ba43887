//! The value of a rule at one time of a stream.
//!
//! Input: what is known of the stream's channels, and a time. Output: the value, or none where there is not enough to compute it. Pure. Times are
//! milliseconds from the start of the stream. Invariant: nothing that lies after the time has an effect, so a value is the same whether it is
//! computed at once or after the stream was read again.

use super::options::Kind;
use super::rule::{ChannelChoice, Rule};
use crate::calls::talk::{self, Span};
use crate::calls::valence::{self, Weighed};
use crate::stream::{AlertState, AlertWindow, ChannelTotals};

/// Length of a frame of the voice activity detector, rounded up: speech that ends closer to the end of a window goes on there.
const FRAME: u64 = 16;

/// What is known of one channel.
#[derive(Debug, Clone, Copy)]
pub struct Track<'a> {
    /// Whether the model analyses it.
    pub analysed: bool,
    /// The totals of its windows.
    pub totals: &'a ChannelTotals,
    /// The state of the alert rules.
    pub state: &'a AlertState,
}

/// The times that a value is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Nothing before it counts.
    pub from: u64,
    /// The end of a window.
    pub at: u64,
}

/// The value of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The value.
    pub value: f64,
    /// Where the evidence begins.
    pub start: u64,
}

/// Returns the value of a rule that concerns one channel by itself: `emotion`, `valence`, `share` or `trend`.
#[must_use]
pub fn of_channel(rule: &Rule, track: &Track<'_>, times: Times) -> Option<Reading> {
    let span = |number: u64| times.at.saturating_sub(rule.within.saturating_mul(number));
    match rule.kind {
        Kind::Emotion => probability(rule, track.state, times),
        Kind::Valence => mean_valence(rule, track, times, (span(1), u64::MAX)),
        Kind::Share => share(rule, track, times, span(1)),
        Kind::Trend => {
            let before = mean_valence(rule, track, times, (span(2), span(1)))?;
            let now = mean_valence(rule, track, times, (span(1), u64::MAX))?;
            Some(Reading { value: now.value - before.value, start: before.start })
        }
        Kind::NonTalk | Kind::Overlap | Kind::Interruptions => None,
    }
}

/// Returns the value of a rule for each channel, by its index, or for `None`, the call as a whole or all its channels at once.
#[must_use]
pub fn of_call(rule: &Rule, tracks: &[Track<'_>], times: Times) -> Vec<(Option<usize>, Option<Reading>)> {
    let by_channel = |index: usize| match rule.kind {
        Kind::Interruptions => interruptions(rule, tracks, index, times),
        _ => of_channel(rule, &tracks[index], times),
    };
    match (rule.kind, &rule.channel) {
        (Kind::NonTalk, _) => vec![(None, non_talk(tracks, times))],
        (Kind::Overlap, _) => vec![(None, overlap(rule, tracks, times))],
        (_, ChannelChoice::Both) => {
            let analysed = (0..tracks.len()).filter(|index| tracks[*index].analysed);
            vec![(None, at_once(rule, analysed.map(by_channel)))]
        }
        _ => (0..tracks.len()).map(|index| (Some(index), by_channel(index))).collect(),
    }
}

/// Returns the value that is the last one to pass the threshold; `None` where a channel has none.
fn at_once(rule: &Rule, readings: impl Iterator<Item = Option<Reading>>) -> Option<Reading> {
    let readings = readings.collect::<Option<Vec<Reading>>>()?;
    let start = readings.iter().map(|reading| reading.start).min()?;
    let values = readings.iter().map(|reading| reading.value);
    let value = if rule.threshold.above { values.reduce(f64::min) } else { values.reduce(f64::max) }?;
    Some(Reading { value, start })
}

/// Returns the probability of the rule's emotion in the window that ends now.
fn probability(rule: &Rule, state: &AlertState, Times { from, at }: Times) -> Option<Reading> {
    let index = state.emotions.iter().position(|emotion| *emotion == rule.emotion)?;
    let window = state.windows.iter().rev().find(|window| window.end <= at)?;
    let AlertWindow { start, end, probabilities, .. } = window;
    let millionths = *probabilities.get(index)?;
    (*end == at && *start >= from).then(|| Reading { value: f64::from(millionths) / 1e6, start: *start })
}

/// Returns the analysed windows up to now whose middle lies from `start` to before `end`, each with its time.
fn windows_of(track: &Track<'_>, Times { from, at }: Times, (start, end): (u64, u64)) -> Vec<Weighed> {
    let all = &track.totals.windows;
    let known = &all[..all.partition_point(|window| window.end <= at)];
    let recent = &known[known.partition_point(|window| window.end < start)..];
    let mut windows = valence::weighed(recent);
    windows.retain(|Weighed { window, .. }| {
        let middle = window.start.midpoint(window.end);
        window.start >= from && (start..end).contains(&middle)
    });
    windows
}

fn mean_valence(rule: &Rule, track: &Track<'_>, times: Times, span: (u64, u64)) -> Option<Reading> {
    let windows = windows_of(track, times, span);
    let enough = windows.len() as u64 >= rule.min_windows && track.totals.has_valence;
    let value = valence::mean(&windows, (0.0, f64::INFINITY)).filter(|_| enough)?;
    Some(Reading { value, start: windows[0].window.start })
}

fn share(rule: &Rule, track: &Track<'_>, times: Times, since: u64) -> Option<Reading> {
    let windows = windows_of(track, times, (since, u64::MAX));
    if (windows.len() as u64) < rule.min_windows {
        return None;
    }
    let emotions = &track.totals.emotions;
    let shares = valence::shares(&windows, emotions.len());
    let index = emotions.iter().position(|emotion| *emotion == rule.emotion);
    let value = index.and_then(|index| shares.get(index).copied()).unwrap_or(0.0);
    Some(Reading { value, start: windows[0].window.start })
}

/// Returns the speech of a channel up to now, without short pieces and gaps.
fn speech(track: &Track<'_>, Times { from, at }: Times) -> Vec<Span> {
    let spans = track.totals.speech.iter().take_while(|(start, _)| *start < at);
    // Speech that is reported later may close the gap of less than a frame between it and the end of the window.
    let known: Vec<Span> =
        spans.map(|(start, end)| (*start, if end + FRAME >= at { at } else { *end })).collect();
    let cleaned = talk::cleaned(&known).into_iter().map(|(start, end)| (start.max(from), end));
    cleaned.filter(|(start, end)| start < end).collect()
}

/// Returns the speech of each channel; that of a channel with the audio of an earlier one is empty.
fn speech_of(tracks: &[Track<'_>], times: Times) -> Option<Vec<Vec<Span>>> {
    if !tracks.iter().any(|track| track.totals.has_speech) {
        return None;
    }
    let mut all: Vec<Vec<Span>> = Vec::with_capacity(tracks.len());
    for track in tracks {
        let own = speech(track, times);
        let same = tracks
            .iter()
            .zip(&all)
            .any(|(other, speech)| are_identical((track, &own), (other, speech), times.at));
        all.push(if same { Vec::new() } else { own });
    }
    Some(all)
}

/// Returns whether two channels have the same audio up to a time. Where it is not known any more, and one of them is known further than the other, their
/// hashes differ in any case, and the same speech, to the millisecond, decides.
fn are_identical(
    (one, speech): (&Track<'_>, &[Span]),
    (other, others): (&Track<'_>, &[Span]),
    at: u64,
) -> bool {
    let audio = |track: &Track<'_>| track.state.audio.iter().rev().find(|mark| mark.end <= at).copied();
    if let (Some(one), Some(other)) = (audio(one), audio(other)) {
        return one == other;
    }
    if one.totals.end == other.totals.end {
        return one.totals.sounds && one.totals.fingerprint == other.totals.fingerprint;
    }
    !speech.is_empty() && speech == others
}

/// Returns for how many seconds nobody has spoken.
fn non_talk(tracks: &[Track<'_>], times: Times) -> Option<Reading> {
    let speech = speech_of(tracks, times)?;
    let start = speech.iter().filter_map(|spans| spans.last()).map(|(_, end)| *end).max();
    let start = start.unwrap_or(times.from);
    Some(Reading { value: times.at.saturating_sub(start) as f64 / 1_000.0, start })
}

/// Returns the time from which a value over `within` is computed. A value that is too small is known only once `within` has passed.
fn since(rule: &Rule, Times { from, at }: Times) -> Option<u64> {
    let full = at.saturating_sub(from) >= rule.within;
    (rule.threshold.above || full).then(|| at.saturating_sub(rule.within).max(from))
}

fn overlap(rule: &Rule, tracks: &[Track<'_>], times: Times) -> Option<Reading> {
    let since = since(rule, times)?;
    let all = talk::overlaps(&speech_of(tracks, times)?);
    let recent = all.into_iter().map(|(start, end)| (start.max(since), end));
    let recent: Vec<Span> = recent.filter(|(start, end)| start < end).collect();
    let value = talk::total(&recent) as f64 / rule.within as f64;
    Some(Reading { value, start: recent.first().map_or(since, |(start, _)| *start) })
}

fn interruptions(rule: &Rule, tracks: &[Track<'_>], by: usize, times: Times) -> Option<Reading> {
    let since = since(rule, times)?;
    let all = talk::interruptions(&speech_of(tracks, times)?);
    let own: Vec<Span> =
        all.iter().filter(|one| one.by == by && one.span.0 >= since).map(|one| one.span).collect();
    Some(Reading { value: own.len() as f64, start: own.first().map_or(since, |(start, _)| *start) })
}
