//! The board: the calls that are open or ended a moment ago, with their last windows.
//!
//! Input: items of the live tap, and the time. Output: snapshots, and batches of what has changed. Pure: the caller passes the time.
//! Invariant: the number of calls is bounded, and so is each call.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::held_call::{HeldCall, MOST_WINDOWS};
use super::view::{Batch, FullCall, PlacedWindow, Snapshot, ValenceLabels};
use crate::calls::{Options, Valences};
use crate::publish::live::{LiveAlert, LiveItem, LiveWindow};
use crate::stream::StreamInfo;

/// Calls that are held at most.
const MOST_CALLS: usize = 1_000;
/// Windows of one channel in a snapshot.
const SNAPSHOT_WINDOWS: usize = 48;
/// How long a call that has ended is held.
const KEEP_ENDED: Duration = Duration::from_secs(60);
/// How long a call without a new window is held: its end may have been missed.
const KEEP_QUIET: Duration = Duration::from_secs(300);

/// The calls that are held, and what has changed since the last batch.
#[derive(Debug)]
pub(super) struct Board {
    valences: Valences,
    labels: ValenceLabels,
    calls: HashMap<Arc<str>, HeldCall>,
    hidden: HashSet<Arc<str>>,
    batch: Batch,
    /// Calls to describe in the next batch.
    described: HashSet<Arc<str>>,
}

impl Board {
    pub fn new(options: &Options) -> Self {
        let (positive, negative) = (options.positive.clone(), options.negative.clone());
        Self {
            valences: Valences::new(options),
            labels: ValenceLabels { positive, negative },
            calls: HashMap::new(),
            hidden: HashSet::new(),
            batch: Batch::default(),
            described: HashSet::new(),
        }
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
        let (version, hidden) = (env!("CARGO_PKG_VERSION"), self.hidden.len());
        Snapshot { version, time, hidden, valences: self.labels.clone(), calls }
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
        if call.end_stream(&stream.stream_id, now) {
            self.batch.ended.push(call.view.call_id.clone());
        }
    }

    fn alert(&mut self, alert: &LiveAlert, in_batch: bool) {
        if let Some(call) = self.calls.get_mut(alert.call_id.as_str()) {
            call.add_alert(alert);
        }
        if in_batch {
            self.batch.alerts.push(alert.clone());
        }
    }
}

/// Returns the id of a stream's call; without one that of the stream.
fn call_id(stream: &StreamInfo) -> Arc<str> {
    stream.call.as_ref().map_or_else(|| stream.stream_id.clone(), |call| call.call_id.clone())
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
