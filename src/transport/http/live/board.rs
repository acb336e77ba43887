//! The board: the calls that are open or ended a moment ago, with their last windows.
//!
//! Input: items of the live tap, and the time. Output: snapshots, and batches of what has changed. Pure: the caller passes the time.
//! Invariant: the number of calls is bounded, and so is each call.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::held_call::{HeldCall, MOST_WINDOWS};
use super::view::{Batch, FullCall, PlacedWindow, Snapshot, ValenceLabels};
use crate::calls::{CallKey, Options, Valences};
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
    calls: HashMap<CallKey, HeldCall>,
    hidden: HashSet<CallKey>,
    batch: Batch,
    /// Calls to describe in the next batch.
    described: HashSet<CallKey>,
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
            LiveItem::CallEnded(key) => self.call_ended(key, now),
            LiveItem::Alert(stream, alert) => self.alert((stream, alert), (now, time), in_batch),
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

    /// Returns a call with all windows that are held. `call_id` is one of the feed.
    pub fn call(&self, call_id: &str) -> Option<FullCall> {
        let call = self.calls.values().find(|call| call.view.call_id == call_id);
        call.map(|call| call.full(MOST_WINDOWS, true))
    }

    /// Returns the call of a stream, which is new here where it is not held yet; `None` beyond the number that is held.
    fn held(&mut self, stream: &StreamInfo, (now, time): (Instant, i64)) -> Option<(CallKey, &mut HeldCall)> {
        let key = CallKey::of(stream);
        if !self.calls.contains_key(&key) {
            if self.calls.len() >= MOST_CALLS {
                if self.hidden.len() < MOST_CALLS {
                    self.hidden.insert(key);
                }
                return None;
            }
            // Two principals may have a call of one id, and the page knows calls by their ids.
            let is_taken = self.calls.keys().any(|other| other.call_id == key.call_id);
            let call_id = if is_taken { key.qualified() } else { key.call_id.to_string() };
            self.calls.insert(key.clone(), HeldCall::new(call_id, stream, (now, time)));
            self.described.insert(key.clone());
        }
        self.calls.get_mut(&key).map(|call| (key, call))
    }

    /// Puts a new call in the place of one that is over. Its description shows it to clients: `since` differs.
    fn replace(&mut self, key: &CallKey, stream: &StreamInfo, (now, time): (Instant, i64)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let call_id = call.view.call_id.clone();
        let time = time.max(call.view.since + 1);
        // What the batch holds of the call before would be taken for the new one's.
        self.batch.windows.retain(|window| window.call_id != call_id);
        self.batch.alerts.retain(|alert| alert.call_id != call_id);
        self.batch.ended.retain(|ended| *ended != call_id);
        *call = HeldCall::new(call_id, stream, (now, time));
        self.described.insert(key.clone());
    }

    fn window(&mut self, window: &LiveWindow, (now, time): (Instant, i64), in_batch: bool) {
        let valence = window.event.as_deref().and_then(|event| self.valences.of(event));
        let key = CallKey::of(&window.stream);
        if self.calls.get(&key).is_some_and(|call| call.precedes(window)) {
            self.replace(&key, &window.stream, (now, time));
        }
        let Some((key, call)) = self.held(&window.stream, (now, time)) else { return };
        let Some((channel, view, changed)) = call.add(window, valence, now) else { return };
        let call_id = call.view.call_id.clone();
        if changed {
            self.described.insert(key);
        }
        if in_batch {
            self.batch.windows.push(PlacedWindow { call_id, channel, window: view });
        }
    }

    fn stream_ended(&mut self, stream: &Arc<StreamInfo>, now: Instant) {
        let key = CallKey::of(stream);
        self.hidden.remove(&key);
        let Some(call) = self.calls.get_mut(&key) else { return };
        if call.end_stream(stream, now) {
            self.batch.ended.push(call.view.call_id.clone());
        }
    }

    fn call_ended(&mut self, key: &CallKey, now: Instant) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.end(now) {
            self.batch.ended.push(call.view.call_id.clone());
        }
        self.described.insert(key.clone());
    }

    fn alert(
        &mut self,
        (stream, alert): (&Arc<StreamInfo>, &LiveAlert),
        (now, time): (Instant, i64),
        in_batch: bool,
    ) {
        let key = CallKey::of(stream);
        if self.calls.get(&key).is_some_and(|call| call.view.summarised) {
            // All alerts of a call come before its summary.
            self.replace(&key, stream, (now, time));
        }
        let placed = self.held(stream, (now, time)).map(|(_, call)| call.add_alert(stream, alert));
        if in_batch {
            self.batch.alerts.push(placed.unwrap_or_else(|| alert.clone()));
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
