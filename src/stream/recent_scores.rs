//! The state of smoothing for one channel: the raw scores of the channel's last windows.
//!
//! Input: nothing. Output: plain values, part of the stream's progress record.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a channel's next window is smoothed with: the raw scores of the windows just before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentScores {
    /// Start of the first window of the segment: identifies the segment. The record of the progress topic keeps its first name.
    #[serde(rename = "stretch")]
    pub segment: Duration,
    /// The model's labels. A model with other labels starts afresh.
    #[serde(serialize_with = "write_labels", deserialize_with = "read_labels")]
    pub labels: Arc<[String]>,
    /// `[windows, labels]`, the oldest window first.
    pub scores: Vec<f32>,
}

pub(super) fn write_labels<S: Serializer>(labels: &Arc<[String]>, serializer: S) -> Result<S::Ok, S::Error> {
    labels.as_ref().serialize(serializer)
}

pub(super) fn read_labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[String]>, D::Error> {
    Vec::<String>::deserialize(deserializer).map(Arc::from)
}
