//! The live tap: what observers see of open streams, window by window, with what was measured beside the event.
//!
//! Input: windows behind the decision, ends of streams and calls, and alerts. Output: the same to each observer, in order. Invariants: the publisher never
//! waits; an observer that is too slow misses the oldest items and receives their number.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast;

use crate::calls::CallKey;
use crate::proto::{Alert, EmotionEvent};
use crate::serving::{Recipient, WindowEnvelope};
use crate::stream::StreamInfo;
use crate::window::Activity;

/// Items that an observer may be behind before it misses some.
const ROOM: usize = 8192;

/// The publishing side. Clones are the same tap. Observers end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LiveTap(broadcast::Sender<LiveItem>);

impl Default for LiveTap {
    fn default() -> Self {
        Self(broadcast::Sender::new(ROOM))
    }
}

/// What observers receive.
#[derive(Debug, Clone)]
pub enum LiveItem {
    /// A window of an open stream.
    Window(Arc<LiveWindow>),
    /// A stream that has no further window here: it has ended, or another reader goes on with it.
    Ended(Arc<StreamInfo>),
    /// A call that has ended, and whose summary is held. A stream of its id that begins from now on is part of another call.
    CallEnded(CallKey),
    /// An alert of a stream that was raised or cleared. Its times are seconds from the start of the stream.
    Alert(Arc<StreamInfo>, Arc<LiveAlert>),
}

/// A window of an open stream.
#[derive(Debug, Clone)]
pub struct LiveWindow {
    /// The stream.
    pub stream: Arc<StreamInfo>,
    /// Channel of the stream.
    pub channel: u32,
    /// Start, from the stream's start.
    pub start: Duration,
    /// End, from the stream's start.
    pub end: Duration,
    /// The event; `None` for a window of a channel that the model does not analyse.
    pub event: Option<Arc<EmotionEvent>>,
    /// Loudness in LUFS of the audio that the window adds to its channel; `None` where it was not measured, or is below −70 LUFS.
    pub loudness: Option<f32>,
    /// Share of speech in that audio; `None` where it was not measured.
    pub speech: Option<f32>,
    /// Whether another reader may have read the stream before, as on Kafka. Any other stream begins with its first window here.
    pub resumes: bool,
}

/// An alert of a call, in the form of the JSON of the live feed. Times are seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LiveAlert {
    /// The same for the alert's beginning and end.
    pub alert_id: String,
    /// `raised` or `cleared`.
    pub state: String,
    /// Name of the rule.
    pub rule: String,
    /// `high` or `low`.
    pub priority: String,
    /// The call.
    pub call_id: String,
    /// The channel; empty where the rule concerns the whole call.
    pub channel_name: String,
    /// When the condition began to hold.
    pub start: f64,
    /// When it ceased to hold; `None` while it holds.
    pub end: Option<f64>,
    /// The value that passed the threshold.
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
    /// Ids of the events that are the evidence.
    pub event_ids: Vec<String>,
}

impl From<&Alert> for LiveAlert {
    fn from(alert: &Alert) -> Self {
        let seconds = |time: pbjson_types::Duration| time.seconds as f64 + f64::from(time.nanos) * 1e-9;
        Self {
            alert_id: alert.alert_id.clone(),
            state: alert.state.clone(),
            rule: alert.rule.clone(),
            priority: alert.priority.clone(),
            call_id: alert.call_id.clone(),
            channel_name: alert.channel_name.clone(),
            start: alert.start.map_or(0.0, seconds),
            end: alert.end.map(seconds),
            value: alert.value,
            threshold: alert.threshold,
            event_ids: alert.event_ids.clone(),
        }
    }
}

impl LiveTap {
    /// Returns an observer of the items that are published from now on.
    #[must_use]
    pub fn observe(&self) -> broadcast::Receiver<LiveItem> {
        self.0.subscribe()
    }

    /// Copies a window to every observer. Without observers this costs one load.
    pub fn window(&self, envelope: &WindowEnvelope, event: Option<&Arc<EmotionEvent>>) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let activity = envelope.activity.as_deref();
        self.send(LiveItem::Window(Arc::new(LiveWindow {
            stream: envelope.stream.clone(),
            channel: envelope.channel,
            start: envelope.start,
            end: envelope.end,
            event: event.cloned(),
            loudness: activity.and_then(loudness),
            speech: activity.and_then(speech),
            resumes: matches!(envelope.recipient, Recipient::Partition(_) | Recipient::Unpublished(Some(_))),
        })));
    }

    /// Reports the end of a stream.
    pub fn ended(&self, stream: &Arc<StreamInfo>) {
        self.send(LiveItem::Ended(stream.clone()));
    }

    /// Reports the end of a call whose summary is held.
    pub fn call_ended(&self, key: &CallKey) {
        self.send(LiveItem::CallEnded(key.clone()));
    }

    /// Reports an alert of a stream.
    pub fn alert(&self, stream: &Arc<StreamInfo>, alert: &Alert) {
        self.send(LiveItem::Alert(stream.clone(), Arc::new(alert.into())));
    }

    fn send(&self, item: LiveItem) {
        if self.0.receiver_count() > 0 {
            // Fails only where the last observer has left in the meantime.
            let _ = self.0.send(item);
        }
    }
}

/// Returns the ungated loudness in LUFS (ITU-R BS.1770).
fn loudness(activity: &Activity) -> Option<f32> {
    let energies = &activity.energies;
    let mean = energies.iter().sum::<f32>() / energies.len().max(1) as f32;
    Some(-0.691 + 10.0 * mean.log10()).filter(|loudness| *loudness >= -70.0)
}

/// Returns the share of speech in the measured part.
fn speech(activity: &Activity) -> Option<f32> {
    let speech: u64 = activity.speech.as_ref()?.iter().map(|(start, end)| end.saturating_sub(*start)).sum();
    let length = 100 * activity.energies.len() as u64;
    (length > 0).then(|| (speech as f32 / length as f32).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(energies: &[f32], speech: Option<Vec<(u64, u64)>>) -> Activity {
        Activity {
            energies: energies.to_vec(),
            speech,
            fingerprint: 0,
            sounds: true,
            end: 1_000,
            channels: 1,
        }
    }

    #[test]
    fn loudness_and_speech_are_those_of_the_part_that_the_window_adds() {
        let tone = activity(&[0.5; 10], Some(vec![(200, 400), (600, 900)]));
        assert!((loudness(&tone).unwrap() + 3.701).abs() < 0.01, "{:?}", loudness(&tone));
        assert_eq!(speech(&tone), Some(0.5));
        let nothing = activity(&[], None);
        assert_eq!((loudness(&nothing), speech(&nothing)), (None, None));
        assert_eq!(loudness(&activity(&[0.0; 10], None)), None, "silence has no loudness");
    }

    #[tokio::test]
    async fn a_slow_observer_receives_the_number_of_items_that_it_missed() {
        use tokio::sync::broadcast::error::RecvError;
        let tap = LiveTap::default();
        let mut observer = tap.observe();
        (0..ROOM + 2).for_each(|_| tap.ended(&Arc::default()));
        assert!(matches!(observer.recv().await, Err(RecvError::Lagged(2))));
        (0..ROOM).for_each(|_| assert!(observer.try_recv().is_ok()));
        drop(tap);
        assert!(matches!(observer.recv().await, Err(RecvError::Closed)));
    }
}
