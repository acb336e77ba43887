//! A call on the board: its streams, its channels with their last windows, and its alerts.
//!
//! Input: windows, ends of streams and alerts of one call. Output: its description and its windows. Pure. Invariant: everything is bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::view::{CallView, ChannelView, FullCall, WindowView};
use crate::publish::live::{LiveAlert, LiveWindow};
use crate::stream::StreamInfo;

/// Streams and channels of one call that are held at most.
const MOST_STREAMS: usize = 64;
const MOST_CHANNELS: usize = 32;
/// Windows of one channel that are held; with a hop of 1 s, five minutes.
pub(super) const MOST_WINDOWS: usize = 300;
/// Alerts of one call that are held.
pub(super) const MOST_ALERTS: usize = 50;
/// Attributes of a call that are shown, and characters of each.
const MOST_ATTRIBUTES: usize = 16;
pub(super) const MOST_CHARACTERS: usize = 200;

/// A call that is held.
#[derive(Debug)]
pub(super) struct HeldCall {
    pub view: CallView,
    /// The streams by their ids.
    streams: HashMap<Arc<str>, HeldStream>,
    windows: Vec<VecDeque<WindowView>>,
    alerts: VecDeque<LiveAlert>,
    started_at: Option<i64>,
    /// When it got its last window, or ended.
    pub changed: Instant,
}

#[derive(Debug, Clone)]
struct HeldStream {
    /// What all windows share from its opening to its end.
    info: Arc<StreamInfo>,
    /// Its start, in seconds from the start of the call.
    offset: f32,
    /// The start of its first window, from its own start.
    first: Duration,
    open: bool,
}

impl HeldStream {
    /// Returns whether a window belongs to a later stream that has the same id, not to this one after another reader had it.
    fn precedes(&self, window: &LiveWindow) -> bool {
        !Arc::ptr_eq(&self.info, &window.stream) && (!window.resumes || window.start <= self.first)
    }
}

impl HeldCall {
    pub fn new(call_id: String, stream: &StreamInfo, (now, time): (Instant, i64)) -> Self {
        let cut = |text: &str| text.chars().take(MOST_CHARACTERS).collect::<String>();
        let sorted: BTreeMap<_, _> = stream.attributes.iter().collect();
        let attributes = sorted.into_iter().filter(|(name, _)| *name != "call_id").take(MOST_ATTRIBUTES);
        let view = CallView {
            call_id,
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
    pub fn add(
        &mut self,
        window: &LiveWindow,
        valence: Option<f64>,
        now: Instant,
    ) -> Option<(usize, WindowView, bool)> {
        let before = (self.streams.len(), self.view.channels.len(), self.view.ended);
        let offset = self.stream_of(window)?;
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

    /// Returns whether a window belongs to another call of the same id: this one has ended, and no transfer goes on with it.
    pub fn precedes(&self, window: &LiveWindow) -> bool {
        let restarts =
            || self.streams.get(&window.stream.stream_id).is_some_and(|held| held.precedes(window));
        self.view.summarised || (window.stream.call.is_none() && restarts())
    }

    /// Returns the start of a window's stream in the call.
    fn stream_of(&mut self, window: &LiveWindow) -> Option<f32> {
        match self.streams.get_mut(&window.stream.stream_id) {
            Some(held) if held.precedes(window) => held.open = false,
            Some(held) => {
                held.info = window.stream.clone();
                (held.open, self.view.ended) = (true, false);
                return Some(held.offset);
            }
            None => {}
        }
        self.open_stream(&window.stream, window.start)
    }

    /// Adds a stream and returns its start in the call. It follows the ones that have ended.
    fn open_stream(&mut self, stream: &Arc<StreamInfo>, first: Duration) -> Option<f32> {
        let is_known = self.streams.contains_key(&stream.stream_id);
        if !is_known && self.streams.len() >= MOST_STREAMS {
            return None;
        }
        let since = self
            .started_at
            .zip(stream.started_at)
            .map_or(0, |(first, this)| this.saturating_sub(first).max(0));
        let ended = !self.streams.is_empty() && self.streams.values().all(|stream| !stream.open);
        let ends = self.windows.iter().filter_map(|windows| windows.back()).map(|window| window.end);
        let behind = if ended { ends.fold(0.0, f32::max) } else { 0.0 };
        let offset = behind.max(since as f32 / 1_000.0);
        let held = HeldStream { info: stream.clone(), offset, first, open: true };
        self.streams.insert(stream.stream_id.clone(), held);
        if !is_known {
            self.view.stream_ids.push(stream.stream_id.to_string());
        }
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

    /// Returns the call with its last windows, `most` of each channel.
    pub fn full(&self, most: usize, scores: bool) -> FullCall {
        let last = |windows: &VecDeque<WindowView>| {
            let windows = windows.iter().skip(windows.len().saturating_sub(most)).cloned();
            let cut = |window: WindowView| {
                if scores { window } else { WindowView { scores: Box::default(), ..window } }
            };
            windows.map(cut).collect()
        };
        FullCall {
            call: self.view.clone(),
            windows: self.windows.iter().map(last).collect(),
            alerts: self.alerts.iter().cloned().collect(),
        }
    }

    /// Notes the end of a stream; returns whether the call ends with it.
    pub fn end_stream(&mut self, stream: &Arc<StreamInfo>, now: Instant) -> bool {
        // A stream may open with the same id before the end of this one arrives.
        let same = |held: &&mut HeldStream| Arc::ptr_eq(&held.info, stream);
        let Some(held) = self.streams.get_mut(&stream.stream_id).filter(same) else { return false };
        held.open = false;
        let ends = !self.view.ended && self.streams.values().all(|stream| !stream.open);
        if ends {
            (self.view.ended, self.changed) = (true, now);
        }
        ends
    }

    /// Notes that the call is over and its summary held; returns whether a stream was still open here.
    pub fn end(&mut self, now: Instant) -> bool {
        self.streams.values_mut().for_each(|stream| stream.open = false);
        let ends = !self.view.ended;
        (self.view.summarised, self.view.ended, self.changed) = (true, true, now);
        ends
    }

    /// Adds an alert of a stream, in place of an earlier one with the same id. Returns it with times from the start of the call.
    pub fn add_alert(&mut self, stream: &Arc<StreamInfo>, alert: &LiveAlert) -> LiveAlert {
        // The end of a stream may clear its alerts, and does not open it again.
        let known = self.streams.get(&stream.stream_id).map(|held| held.offset);
        let offset = f64::from(known.or_else(|| self.open_stream(stream, Duration::ZERO)).unwrap_or(0.0));
        let alert = LiveAlert {
            call_id: self.view.call_id.clone(),
            start: alert.start + offset,
            end: alert.end.map(|end| end + offset),
            ..alert.clone()
        };
        self.alerts.retain(|other| other.alert_id != alert.alert_id);
        self.alerts.push_back(alert.clone());
        let excess = self.alerts.len().saturating_sub(MOST_ALERTS);
        self.alerts.drain(..excess);
        alert
    }
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
    let scores = event.map_or(&[][..], |event| event.deciding_scores());
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
