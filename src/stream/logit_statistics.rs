//! The state of adaptation for one channel: mean and variance of the logits of its windows so far.
//!
//! Input: nothing. Output: plain values, part of the stream's progress record. Single precision, because JSON brings a 32-bit value back exactly.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::recent_scores::{read_labels, write_labels};

/// What a channel's next window is adapted with. A logit is the natural logarithm of a probability, less the mean of all of the window's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitStatistics {
    /// The model's labels. A model with other labels starts afresh.
    #[serde(serialize_with = "write_labels", deserialize_with = "read_labels")]
    pub labels: Arc<[String]>,
    /// Windows with a prediction so far.
    pub windows: u64,
    /// The mean of each label's logit over them.
    pub means: Vec<f32>,
    /// The sum of the squared deviations from the mean, averaged over the labels.
    pub deviations: f32,
}
