//! The JSON of the live page: calls, their channels and their windows.
//!
//! Input: windows of streams. Output: values that serialise. Times are seconds from the start of the call, wall-clock times milliseconds since
//! 1970; numbers are rounded to what a page shows.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::publish::live::LiveAlert;

/// A call without its windows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct CallView {
    /// The id of the call; without one that of its stream.
    pub call_id: String,
    /// The source of its first stream, where it is known.
    pub source: &'static str,
    /// When its first window was seen here. Another call of the same id has another one.
    pub since: i64,
    /// Its streams in the order of their first windows.
    pub stream_ids: Vec<String>,
    /// The attributes of its first stream, cut to what is shown.
    pub attributes: BTreeMap<String, String>,
    /// Whether no stream of it is open.
    pub ended: bool,
    /// Whether it is over and its summary is held.
    pub summarised: bool,
    /// Its channels; windows name them by their place in this list.
    pub channels: Vec<ChannelView>,
}

/// A channel of a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct ChannelView {
    /// Its name; without one its number.
    pub name: String,
    /// Whether the model analyses it.
    pub analysed: bool,
    /// Name and version of the model of its last window.
    pub model: String,
    /// The labels of that model, in the order of the scores.
    pub labels: Vec<String>,
}

/// A window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct WindowView {
    /// Its start.
    #[serde(serialize_with = "hundredths")]
    pub start: f32,
    /// Its end.
    #[serde(serialize_with = "hundredths")]
    pub end: f32,
    /// The emotion; empty where the model does not analyse the channel.
    pub emotion: String,
    /// The probability of the emotion.
    #[serde(serialize_with = "hundredths")]
    pub confidence: f32,
    /// From −5 to 5; absent where no label of the model has a valence.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_hundredths")]
    pub valence: Option<f32>,
    /// In LUFS.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_hundredths")]
    pub loudness: Option<f32>,
    /// Share of speech.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_hundredths")]
    pub speech: Option<f32>,
    /// Probabilities in thousandths, in the order of the channel's labels; absent in a snapshot.
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    pub scores: Box<[u16]>,
}

/// A window of a batch, with its place.
#[derive(Debug, Serialize)]
pub(super) struct PlacedWindow {
    pub call_id: String,
    /// The place of its channel in the call.
    pub channel: usize,
    #[serde(flatten)]
    pub window: WindowView,
}

/// What has changed since the batch before.
#[derive(Debug, Default, Serialize)]
pub(super) struct Batch {
    /// When the batch was made.
    pub time: i64,
    /// Calls that are new or whose description has changed.
    pub calls: Vec<CallView>,
    pub windows: Vec<PlacedWindow>,
    /// Ids of calls that have ended.
    pub ended: Vec<String>,
    /// Ids of calls that are no longer held.
    pub removed: Vec<String>,
    pub alerts: Vec<LiveAlert>,
    /// Windows that the page's feed has missed since the batch before.
    pub missed: u64,
    /// Open calls beyond the number that is held.
    pub hidden: usize,
}

/// A call with its windows, channel by channel, and its alerts.
#[derive(Debug, Serialize)]
pub(super) struct FullCall {
    #[serde(flatten)]
    pub call: CallView,
    pub windows: Vec<Vec<WindowView>>,
    pub alerts: Vec<LiveAlert>,
}

/// Everything that is held.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    pub version: &'static str,
    pub time: i64,
    pub hidden: usize,
    pub valences: ValenceLabels,
    pub calls: Vec<FullCall>,
}

/// The labels with a valence.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ValenceLabels {
    pub positive: Vec<String>,
    pub negative: Vec<String>,
}

fn hundredths<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((f64::from(*value) * 100.0).round() / 100.0)
}

fn some_hundredths<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => hundredths(value, serializer),
        None => serializer.serialize_none(),
    }
}
