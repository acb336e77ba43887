//! Computes the summary of a call.
//!
//! Input: a call that has ended, with the totals of its streams' channels. Output: its [`CallSummary`]. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::summary_channel::{Channel, distinct, join};
use super::talk::{self, Span};
use super::{CallKey, EndedCall, EndedStream, Options};
use crate::proto;
use crate::stream::{ChannelTotals, ID_NAMESPACE};

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
    Uuid::new_v5(&ID_NAMESPACE, if owner.is_empty() { name } else { owned }.as_bytes())
}

/// Returns the totals of the channels of a stream; `None` for a channel without any.
pub(super) fn totals(stream: &EndedStream) -> impl Iterator<Item = Option<&ChannelTotals>> {
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

/// Returns a time or a duration in the protocol's type.
pub(super) fn time(milliseconds: u64) -> pbjson_types::Duration {
    let seconds = i64::try_from(milliseconds / 1_000).unwrap_or(i64::MAX);
    pbjson_types::Duration { seconds, nanos: (milliseconds % 1_000) as i32 * 1_000_000 }
}
