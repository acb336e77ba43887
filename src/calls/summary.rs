//! Computes the summary of a call.
//!
//! Input: a call that has ended, with the totals of its streams' channels. Output: its [`CallSummary`]. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::talk::{self, Span};
use super::valence::{self, Weighed};
use super::{CallKey, EndedCall, EndedStream, Options, loudness};
use crate::proto;
use crate::stream::{ChannelTotals, CountedWindow, LoudnessTotals};

/// Namespace of the ids of summaries: UUIDv5 of the DNS name `affectd` in the DNS namespace, as that of events.
const NAMESPACE: Uuid = Uuid::from_u128(0x8037_025d_6c45_53c9_8713_b0c0_9f48_c528);

/// Channels with the same audio are the same if their beginnings are less than this many milliseconds apart: streams of one call begin one after the other.
const SAME_TIME: u64 = 1_000;

/// One channel of the call, joined over its streams.
#[derive(Debug, Default)]
struct Channel {
    name: String,
    analysed: bool,
    has_speech: bool,
    has_valence: bool,
    sounds: bool,
    fingerprint: u64,
    emotions: Vec<String>,
    /// Each is the windows of streams that follow one another, with times from the start of the call.
    sequences: Vec<Vec<Weighed>>,
    speech: Vec<Span>,
    /// Where its first stream begins.
    begin: u64,
    loudness: LoudnessTotals,
}

/// Returns the summary of a call. `model` names the model where no window was analysed.
#[must_use]
pub fn summarise(call: &EndedCall, model: &str, options: &Options) -> proto::CallSummary {
    let start = call.streams.iter().map(started_at).min().unwrap_or(0);
    let mut streams: Vec<(u64, &EndedStream)> = Vec::new();
    for stream in &call.streams {
        let behind =
            streams[..stream.follows.min(streams.len())].iter().map(|(at, it)| at + length(it)).max();
        let offset = u64::try_from(started_at(stream).saturating_sub(start)).unwrap_or(0);
        streams.push((offset.max(behind.unwrap_or(0)), stream));
    }
    streams.sort_by_key(|(offset, _)| *offset);
    let duration = streams.iter().map(|(offset, stream)| offset + length(stream)).max().unwrap_or(0);
    let channels = join(streams.iter().copied());
    let model = model_of(call).unwrap_or(model).to_owned();
    proto::CallSummary {
        summary_id: summary_id(&call.key, &model).to_string(),
        call_id: call.key.call_id.to_string(),
        stream_ids: streams.iter().map(|(_, stream)| stream.info.stream_id.to_string()).collect(),
        source: streams
            .iter()
            .find_map(|(_, it)| it.info.call.as_ref())
            .map_or("", |it| it.source)
            .to_owned(),
        start_time: (start != 0).then(|| proto::Timestamp {
            seconds: start.div_euclid(1_000),
            nanos: i32::try_from(start.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
        }),
        duration: Some(time(duration)),
        end_reason: end_reason(call).to_owned(),
        model,
        attributes: attributes(&streams),
        alerts: alerts(&streams),
        audio: Some(audio(call, &channels)),
        ..talk_of(&channels, duration, options)
    }
}

/// Returns the id of the summary: UUIDv5 of the principal, the call and the model.
fn summary_id(CallKey { owner, call_id }: &CallKey, model: &str) -> Uuid {
    // The lengths in front make the texts of any two calls differ; no event's text begins like this.
    let name = format!("call:{}:{call_id}/{model}", call_id.len());
    let owned = format!("@{}:{owner}/{name}", owner.len());
    Uuid::new_v5(&NAMESPACE, if owner.is_empty() { name } else { owned }.as_bytes())
}

fn totals(stream: &EndedStream) -> impl Iterator<Item = Option<&ChannelTotals>> {
    stream.states.iter().map(|state| state.call.as_deref())
}

/// Returns when a stream began: as the totals of its windows hold it, which survive a restart.
fn started_at(stream: &EndedStream) -> i64 {
    let known = totals(stream).flatten().map(|totals| totals.started_at).filter(|at| *at != 0).min();
    known.or(stream.info.started_at).unwrap_or(0)
}

fn length(stream: &EndedStream) -> u64 {
    let windows = totals(stream).flatten().map(|totals| totals.end).max().unwrap_or(0);
    windows.max(u64::try_from(stream.duration.as_millis()).unwrap_or(u64::MAX))
}

fn model_of(call: &EndedCall) -> Option<&str> {
    let all = call.streams.iter().rev().flat_map(totals).flatten();
    all.map(|totals| totals.model.as_str()).find(|model| !model.is_empty())
}

fn end_reason(call: &EndedCall) -> &'static str {
    let last = call.streams.last().and_then(|stream| stream.info.call.as_ref());
    last.map_or("completed", |call| call.end_reason().name())
}

fn attributes(streams: &[(u64, &EndedStream)]) -> HashMap<String, String> {
    let mut all = HashMap::new();
    for (name, value) in streams.iter().flat_map(|(_, stream)| &stream.info.attributes) {
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    all
}

/// Returns the alerts of all streams, with times from the start of the call.
fn alerts(streams: &[(u64, &EndedStream)]) -> Vec<proto::Alert> {
    let mut all = Vec::new();
    for (offset, stream) in streams {
        let shift = |time: &Option<pbjson_types::Duration>| {
            let known = Duration::try_from((*time)?).unwrap_or_default();
            Some((known + Duration::from_millis(*offset)).into())
        };
        let held = stream.states.iter().flat_map(|state| state.alerts.iter().flat_map(|it| &it.alerts));
        all.extend(held.map(|alert| proto::Alert {
            start: shift(&alert.start),
            end: shift(&alert.end),
            raised_at: shift(&alert.raised_at),
            attributes: stream.info.attributes.clone(),
            ..alert.clone()
        }));
    }
    let nanoseconds = |alert: &proto::Alert| alert.raised_at.map(|at| (at.seconds, at.nanos));
    all.sort_by(|a, b| (nanoseconds(a), &a.alert_id).cmp(&(nanoseconds(b), &b.alert_id)));
    all
}

fn is_absent(stream: &EndedStream, channel: u32) -> bool {
    stream.info.call.as_ref().is_some_and(|call| call.is_absent(channel))
}

/// Joins the channels of all streams, given with the start of each stream: those with the same name are one channel.
fn join<'a>(streams: impl Iterator<Item = (u64, &'a EndedStream)>) -> Vec<Channel> {
    let mut channels: Vec<Channel> = Vec::new();
    for (offset, stream) in streams {
        for (number, totals) in (0..).zip(totals(stream)) {
            let Some(totals) = totals.filter(|_| !is_absent(stream, number)) else { continue };
            let name = match stream.info.channel_name(number) {
                "" => number.to_string(),
                name => name.to_owned(),
            };
            let known = channels.iter().position(|channel| channel.name == name);
            let at = known.unwrap_or_else(|| {
                channels.push(Channel { name, begin: offset, ..Channel::default() });
                channels.len() - 1
            });
            channels[at].add(offset, totals);
        }
    }
    for channel in &mut channels {
        // Two streams of one channel may overlap during a transfer.
        channel.speech = talk::union(std::mem::take(&mut channel.speech));
    }
    channels
}

impl Channel {
    fn add(&mut self, offset: u64, totals: &ChannelTotals) {
        self.analysed |= totals.analysed;
        self.has_speech |= totals.has_speech;
        self.has_valence |= totals.has_valence;
        self.sounds |= totals.sounds;
        self.fingerprint = crate::vad::add_to_fingerprint(self.fingerprint, totals.fingerprint);
        let mut index_of = |emotion: &String| {
            let known = self.emotions.iter().position(|known| known == emotion);
            known.unwrap_or_else(|| {
                self.emotions.push(emotion.clone());
                self.emotions.len() - 1
            })
        };
        let emotions: Vec<Option<u8>> =
            totals.emotions.iter().map(|it| u8::try_from(index_of(it)).ok()).collect();
        let shifted = totals.windows.iter().map(|window| CountedWindow {
            start: window.start + offset,
            end: window.end + offset,
            emotion: window.emotion.and_then(|emotion| *emotions.get(usize::from(emotion))?),
            valence: window.valence,
        });
        self.add_windows(&shifted.collect::<Vec<_>>());
        let speech = talk::cleaned(&totals.speech);
        self.speech.extend(speech.into_iter().map(|(start, end)| (start + offset, end + offset)));
        loudness::join(&mut self.loudness, &totals.loudness);
    }

    /// Adds the windows of a stream. A window counts up to the next one of its own stream: another stream may speak at the same time.
    fn add_windows(&mut self, windows: &[CountedWindow]) {
        let windows = valence::weighed(windows);
        let begin = windows.first().map_or(0, |first| first.window.start);
        let ends_before =
            |sequence: &&mut Vec<Weighed>| sequence.last().is_none_or(|last| last.window.end <= begin);
        match self.sequences.iter_mut().find(ends_before) {
            Some(sequence) => sequence.extend(windows),
            None => self.sequences.push(windows),
        }
    }

    fn summary(&self, duration: u64, all_talk: u64) -> proto::ChannelSummary {
        let talk = talk::total(&self.speech);
        let summary = proto::ChannelSummary {
            name: self.name.clone(),
            analysed: self.analysed,
            talk_time: self.has_speech.then(|| time(talk)),
            talk_share: self
                .has_speech
                .then(|| if all_talk == 0 { 0.0 } else { talk as f64 / all_talk as f64 }),
            loudness: Some(proto::Loudness {
                integrated_lufs: loudness::integrated(&self.loudness),
                max_short_term_lufs: loudness::max_short_term(&self.loudness),
            }),
            ..proto::ChannelSummary::default()
        };
        if self.analysed { self.with_emotions(summary, duration) } else { summary }
    }

    fn with_emotions(&self, summary: proto::ChannelSummary, duration: u64) -> proto::ChannelSummary {
        let windows = &self.sequences.concat();
        let name = |emotion: u8| self.emotions.get(usize::from(emotion)).cloned().unwrap_or_default();
        let shares = self.emotions.iter().cloned().zip(valence::shares(windows, self.emotions.len()));
        let shares: Vec<_> = shares.map(|(emotion, share)| proto::EmotionShare { emotion, share }).collect();
        let largest = shares.iter().filter(|it| it.share > 0.0).max_by(|a, b| a.share.total_cmp(&b.share));
        let periods: Vec<_> = self.sequences.iter().map(|sequence| valence::periods(sequence)).collect();
        let longest = periods.iter().filter_map(|(longest, _)| *longest).max_by_key(|it| it.end - it.start);
        let changes = periods.iter().map(|(_, changes)| changes).sum();
        let known = self.has_valence;
        let mut summary = proto::ChannelSummary {
            windows: windows.len() as u64,
            dominant_emotion: largest.map(|it| it.emotion.clone()).unwrap_or_default(),
            emotion_shares: shares,
            longest: longest.map(|it| proto::EmotionPeriod {
                emotion: name(it.emotion),
                start: Some(time(it.start)),
                end: Some(time(it.end)),
            }),
            changes,
            valence: valence::mean(windows, (0.0, f64::INFINITY)).filter(|_| known),
            valence_trend: valence::trend(windows, duration).filter(|_| known),
            ..summary
        };
        if known {
            let bounds = [0, 1, 2, 3].map(|quarter| (duration * quarter / 4, duration * (quarter + 1) / 4));
            let scored = bounds.into_iter().zip(valence::quarters(windows, duration));
            let quarter = |((start, end), score)| proto::ValenceQuarter {
                start: Some(time(start)),
                end: Some(time(end)),
                score,
            };
            summary.valence_by_quarter = scored.map(quarter).collect();
        }
        summary
    }
}

/// Returns the part of a summary that concerns the channels and who speaks when.
fn talk_of(channels: &[Channel], duration: u64, options: &Options) -> proto::CallSummary {
    let all_talk = channels.iter().map(|channel| talk::total(&channel.speech)).sum();
    let has_speech = channels.iter().any(|channel| channel.has_speech);
    let distinct = distinct(channels);
    let speech: Vec<Vec<Span>> = distinct.iter().map(|channel| channel.speech.clone()).collect();
    let min = u64::try_from(options.non_talk_min.as_millis()).unwrap_or(u64::MAX);
    let pauses = talk::non_talk(&speech, duration, min);
    let name = |index: usize| distinct[index].name.clone();
    let interruption = |it: talk::Interruption| proto::Interruption {
        by: name(it.by),
        over: name(it.over),
        start: Some(time(it.span.0)),
        end: Some(time(it.span.1)),
    };
    proto::CallSummary {
        channels: channels.iter().map(|channel| channel.summary(duration, all_talk)).collect(),
        non_talk: has_speech.then(|| proto::NonTalk {
            total: Some(time(talk::total(&pauses))),
            instances: pauses.into_iter().map(span).collect(),
        }),
        overlap_total: has_speech.then(|| time(talk::total(&talk::overlaps(&speech)))),
        interruptions: talk::interruptions(&speech).into_iter().map(interruption).collect(),
        ..proto::CallSummary::default()
    }
}

/// Returns the channels without those whose audio is that of an earlier one at the same time.
fn distinct(channels: &[Channel]) -> Vec<&Channel> {
    let mut distinct: Vec<&Channel> = Vec::new();
    for channel in channels {
        let is_same = |other: &&Channel| {
            other.fingerprint == channel.fingerprint && other.begin.abs_diff(channel.begin) < SAME_TIME
        };
        if !channel.sounds || !distinct.iter().any(is_same) {
            distinct.push(channel);
        }
    }
    distinct
}

fn audio(call: &EndedCall, channels: &[Channel]) -> proto::AudioSummary {
    let count = |of: fn(&crate::stream::StreamCall) -> &std::sync::atomic::AtomicU64| {
        let calls = call.streams.iter().filter_map(|stream| stream.info.call.as_ref());
        calls.map(|call: &Arc<_>| of(call).load(Ordering::Relaxed)).sum::<u64>()
    };
    let lost: u128 = call.streams.iter().map(|stream| stream.lost.as_millis()).sum();
    let holes: u64 = call.streams.iter().map(|stream| stream.holes).sum();
    proto::AudioSummary {
        lost: Some(time(count(|call| &call.lost_ms).saturating_add(u64::try_from(lost).unwrap_or(u64::MAX)))),
        late: count(|call| &call.late),
        holes: count(|call| &call.holes) + holes,
        identical_channels: distinct(channels).len() < channels.len(),
    }
}

fn span((start, end): Span) -> proto::TimeSpan {
    proto::TimeSpan { start: Some(time(start)), end: Some(time(end)) }
}

fn time(milliseconds: u64) -> pbjson_types::Duration {
    let seconds = i64::try_from(milliseconds / 1_000).unwrap_or(i64::MAX);
    pbjson_types::Duration { seconds, nanos: (milliseconds % 1_000) as i32 * 1_000_000 }
}
