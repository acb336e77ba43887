//! The board: the calls that are open or ended a moment ago, with their last windows.
//!
//! Input: items of the live tap, and the time. Output: snapshots, and batches of what has changed. Pure: the caller passes the time.
//! Invariant: calls, streams, channels, windows and alerts are bounded.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::view::{Batch, CallView, ChannelView, FullCall, PlacedWindow, Snapshot, WindowView};
use crate::calls::Valences;
use crate::publish::live::{LiveAlert, LiveItem, LiveWindow};
use crate::stream::StreamInfo;

/// Calls that are held at most.
const MOST_CALLS: usize = 1_000;
/// Streams and channels of one call that are held at most.
const MOST_STREAMS: usize = 64;
const MOST_CHANNELS: usize = 32;
/// Windows of one channel that are held; with a hop of 1 s, five minutes.
const MOST_WINDOWS: usize = 300;
/// Windows of one channel in a snapshot.
const SNAPSHOT_WINDOWS: usize = 48;
/// Alerts of one call that are held.
const MOST_ALERTS: usize = 50;
/// Attributes of a call that are shown, and characters of each.
const MOST_ATTRIBUTES: usize = 16;
const MOST_CHARACTERS: usize = 200;
/// How long a call that has ended is held.
const KEEP_ENDED: Duration = Duration::from_secs(60);
/// How long a call without a new window is held: its end may have been missed.
const KEEP_QUIET: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct HeldCall {
    view: CallView,
    /// The streams, open ones first marked so, each with its start from the start of the call in seconds.
    streams: HashMap<Arc<str>, HeldStream>,
    windows: Vec<VecDeque<WindowView>>,
    alerts: VecDeque<LiveAlert>,
    started_at: Option<i64>,
    changed: Instant,
}

#[derive(Debug, Clone, Copy)]
struct HeldStream {
    offset: f32,
    open: bool,
}

/// The calls that are held, and what has changed since the last batch.
#[derive(Debug)]
pub(super) struct Board {
    valences: Valences,
    calls: HashMap<Arc<str>, HeldCall>,
    hidden: HashSet<Arc<str>>,
    batch: Batch,
    /// Calls to describe in the next batch.
    described: HashSet<Arc<str>>,
}

impl Board {
    pub fn new(valences: Valences) -> Self {
        let (batch, described) = (Batch::default(), HashSet::new());
        Self { valences, calls: HashMap::new(), hidden: HashSet::new(), batch, described }
    }

    /// Adds an item. `time` is the wall-clock time in milliseconds. `in_batch`: whether someone receives the next batch.
    pub fn add(&mut self, item: &LiveItem, (now, time): (Instant, i64), in_batch: bool) {
        match item {
            LiveItem::Window(window) => self.window(window, (now, time), in_batch),
            LiveItem::Ended(stream) => self.stream_ended(stream, now),
            LiveItem::Alert(alert) => self.alert(alert, in_batch),
        }
    }

    /// Counts items that were missed.
    pub fn missed(&mut self, items: u64) {
        self.batch.missed += items;
    }

    /// Returns what has changed since the last call; `None` where nothing has.
    pub fn take_batch(&mut self, time: i64) -> Option<Batch> {
        let described = self.described.drain().filter_map(|id| self.calls.get(&id));
        self.batch.calls = described.map(|call| call.view.clone()).collect();
        let Batch { calls, windows, ended, removed, alerts, missed, .. } = &self.batch;
        let is_empty = calls.is_empty()
            && windows.is_empty()
            && ended.is_empty()
            && removed.is_empty()
            && alerts.is_empty()
            && *missed == 0;
        let batch = Batch { time, hidden: self.hidden.len(), ..std::mem::take(&mut self.batch) };
        (!is_empty).then_some(batch)
    }

    /// Forgets what has changed: nobody receives it.
    pub fn drop_batch(&mut self) {
        self.batch = Batch::default();
        self.described.clear();
    }

    /// Removes calls that ended a while ago, or have had no window for long.
    pub fn expire(&mut self, now: Instant) {
        let batch = &mut self.batch;
        self.calls.retain(|_, call| {
            let keep = if call.view.ended { KEEP_ENDED } else { KEEP_QUIET };
            let keeps = now.duration_since(call.changed) < keep;
            if !keeps {
                batch.removed.push(call.view.call_id.clone());
            }
            keeps
        });
        if self.calls.len() < MOST_CALLS {
            self.hidden.clear();
        }
    }

    /// Returns all calls, each with its last windows.
    pub fn snapshot(&self, time: i64) -> Snapshot {
        let mut calls: Vec<_> = self.calls.values().map(|call| call.full(SNAPSHOT_WINDOWS, false)).collect();
        calls.sort_by(|a, b| (a.call.since, &a.call.call_id).cmp(&(b.call.since, &b.call.call_id)));
        Snapshot { version: env!("CARGO_PKG_VERSION"), time, hidden: self.hidden.len(), calls }
    }

    /// Returns a call with all windows that are held.
    pub fn call(&self, call_id: &str) -> Option<FullCall> {
        self.calls.get(call_id).map(|call| call.full(MOST_WINDOWS, true))
    }

    fn window(&mut self, window: &LiveWindow, (now, time): (Instant, i64), in_batch: bool) {
        let call_id = call_id(&window.stream);
        if !self.calls.contains_key(&call_id) {
            if self.calls.len() >= MOST_CALLS {
                if self.hidden.len() < MOST_CALLS {
                    self.hidden.insert(call_id);
                }
                return;
            }
            self.calls.insert(call_id.clone(), HeldCall::new(&call_id, &window.stream, (now, time)));
            self.described.insert(call_id.clone());
        }
        let valence = window.event.as_deref().and_then(|event| self.valences.of(event));
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let Some((channel, view, changed)) = call.add(window, valence, now) else { return };
        if changed {
            self.described.insert(call_id);
        }
        if in_batch {
            let call_id = call.view.call_id.clone();
            self.batch.windows.push(PlacedWindow { call_id, channel, window: view });
        }
    }

    fn stream_ended(&mut self, stream: &StreamInfo, now: Instant) {
        let call_id = call_id(stream);
        self.hidden.remove(&call_id);
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let Some(held) = call.streams.get_mut(&stream.stream_id) else { return };
        held.open = false;
        if !call.view.ended && call.streams.values().all(|stream| !stream.open) {
            (call.view.ended, call.changed) = (true, now);
            self.batch.ended.push(call.view.call_id.clone());
        }
    }

    fn alert(&mut self, alert: &LiveAlert, in_batch: bool) {
        if let Some(call) = self.calls.get_mut(alert.call_id.as_str()) {
            call.alerts.retain(|other| other.alert_id != alert.alert_id);
            call.alerts.push_back(alert.clone());
            let excess = call.alerts.len().saturating_sub(MOST_ALERTS);
            call.alerts.drain(..excess);
        }
        if in_batch {
            self.batch.alerts.push(alert.clone());
        }
    }
}

impl HeldCall {
    fn new(call_id: &str, stream: &StreamInfo, (now, time): (Instant, i64)) -> Self {
        let cut = |text: &str| text.chars().take(MOST_CHARACTERS).collect::<String>();
        let sorted: BTreeMap<_, _> = stream.attributes.iter().collect();
        let attributes = sorted.into_iter().filter(|(name, _)| *name != "call_id").take(MOST_ATTRIBUTES);
        let view = CallView {
            call_id: call_id.to_owned(),
            source: stream.call.as_ref().map_or("", |call| call.source),
            since: time,
            attributes: attributes.map(|(name, value)| (cut(name), cut(value))).collect(),
            ..CallView::default()
        };
        Self {
            view,
            streams: HashMap::new(),
            windows: Vec::new(),
            alerts: VecDeque::new(),
            started_at: stream.started_at,
            changed: now,
        }
    }

    /// Adds a window; returns the place of its channel, and whether the description of the call has changed. `None` where a bound is reached.
    fn add(
        &mut self,
        window: &LiveWindow,
        valence: Option<f64>,
        now: Instant,
    ) -> Option<(usize, WindowView, bool)> {
        let before = (self.streams.len(), self.view.channels.len(), self.view.ended);
        let offset = self.stream(&window.stream)?;
        let channel = self.channel(window)?;
        let described = describe(&mut self.view.channels[channel], window);
        self.changed = now;
        let view = window_view(window, offset, valence);
        let windows = &mut self.windows[channel];
        windows.push_back(view.clone());
        let excess = windows.len().saturating_sub(MOST_WINDOWS);
        windows.drain(..excess);
        let after = (self.streams.len(), self.view.channels.len(), self.view.ended);
        Some((channel, view, described || before != after))
    }

    /// Returns the start of a stream in the call. A stream that is new follows the ones that have ended.
    fn stream(&mut self, stream: &StreamInfo) -> Option<f32> {
        if let Some(held) = self.streams.get_mut(&stream.stream_id) {
            (held.open, self.view.ended) = (true, false);
            return Some(held.offset);
        }
        if self.streams.len() >= MOST_STREAMS {
            return None;
        }
        let since = self.started_at.zip(stream.started_at).map_or(0, |(first, this)| (this - first).max(0));
        let ended = !self.streams.is_empty() && self.streams.values().all(|stream| !stream.open);
        let ends = self.windows.iter().filter_map(|windows| windows.back()).map(|window| window.end);
        let behind = if ended { ends.fold(0.0, f32::max) } else { 0.0 };
        let offset = behind.max(since as f32 / 1_000.0);
        self.streams.insert(stream.stream_id.clone(), HeldStream { offset, open: true });
        self.view.stream_ids.push(stream.stream_id.to_string());
        self.view.ended = false;
        Some(offset)
    }

    fn channel(&mut self, window: &LiveWindow) -> Option<usize> {
        let name = match window.stream.channel_name(window.channel) {
            "" => window.channel.to_string(),
            name => name.to_owned(),
        };
        let channels = &mut self.view.channels;
        let known = channels.iter().position(|channel| channel.name == name);
        if known.is_none() && channels.len() < MOST_CHANNELS {
            let analysed = window.stream.analyses(window.channel);
            channels.push(ChannelView { name, analysed, ..ChannelView::default() });
            self.windows.push(VecDeque::new());
            return Some(channels.len() - 1);
        }
        known
    }

    fn full(&self, most: usize, scores: bool) -> FullCall {
        let last = |windows: &VecDeque<WindowView>| {
            let windows = windows.iter().skip(windows.len().saturating_sub(most)).cloned();
            let cut =
                |window: WindowView| if scores { window } else { WindowView { scores: Box::default(), ..window } };
            windows.map(cut).collect()
        };
        FullCall {
            call: self.view.clone(),
            windows: self.windows.iter().map(last).collect(),
            alerts: self.alerts.iter().cloned().collect(),
        }
    }
}

/// Returns the id of a stream's call; without one that of the stream.
fn call_id(stream: &StreamInfo) -> Arc<str> {
    stream.call.as_ref().map_or_else(|| stream.stream_id.clone(), |call| call.call_id.clone())
}

/// Takes the model and its labels from a window; returns whether they have changed.
fn describe(channel: &mut ChannelView, window: &LiveWindow) -> bool {
    let Some(event) = window.event.as_deref().filter(|event| !event.scores.is_empty()) else { return false };
    let labels = event.scores.iter().map(|score| score.emotion.as_str());
    if channel.model == event.model && labels.clone().eq(channel.labels.iter().map(String::as_str)) {
        return false;
    }
    channel.model.clone_from(&event.model);
    channel.labels = labels.map(str::to_owned).collect();
    true
}

fn window_view(window: &LiveWindow, offset: f32, valence: Option<f64>) -> WindowView {
    let event = window.event.as_deref();
    let scores = event.map_or(&[][..], |event| match event.smoothed_scores.is_empty() {
        true => &event.scores,
        false => &event.smoothed_scores,
    });
    WindowView {
        start: offset + window.start.as_secs_f32(),
        end: offset + window.end.as_secs_f32(),
        emotion: event.map_or(String::new(), |event| event.emotion.clone()),
        confidence: event.map_or(0.0, |event| event.confidence),
        valence: valence.map(|valence| valence as f32),
        loudness: window.loudness,
        speech: window.speech,
        scores: scores.iter().map(|score| (score.probability * 1_000.0).round() as u16).collect(),
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
