//! The section `[publish]` of the configuration.
//!
//! Input: values that serde reads. Output: how the emotion of a window is decided and where its event is published.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Adaptation;
use crate::options::{AnyDuration, As, Count, OrOff, Share, choice};

/// How events are decided and published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether events of gRPC streams are also published to Kafka, where Kafka is on.
    pub kafka_for_grpc: bool,
    /// Best probability below which a window is published as uncertain; its scores stay.
    #[serde(with = "As::<Share>")]
    pub uncertain_below: f64,
    /// Time of a channel's analysed windows above the model's out-of-domain threshold after which the stream counts as out of domain and is logged.
    #[serde(with = "As::<AnyDuration>")]
    pub out_of_domain_after: Duration,
    /// How the scores of a window are adapted to those of its channel so far; the scores of a window stay.
    #[serde(with = "As::<OrOff<AdaptationMethod>>")]
    pub adaptation: Option<AdaptationMethod>,
    /// Windows by which the running mean of a channel is shrunk towards that of the training data.
    #[serde(with = "As::<Count<1, 10_000>>")]
    pub adaptation_windows: usize,
    /// How emotion and confidence are smoothed over the last windows of a channel; the scores of a window stay.
    #[serde(with = "As::<OrOff<SmoothingMethod>>")]
    pub smoothing: Option<SmoothingMethod>,
    /// Windows that smoothing uses, the newest one included.
    #[serde(with = "As::<Count<2, 100>>")]
    pub smoothing_windows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kafka_for_grpc: true,
            uncertain_below: 0.0,
            out_of_domain_after: Duration::from_secs(30),
            adaptation: None,
            adaptation_windows: 12,
            smoothing: None,
            smoothing_windows: 5,
        }
    }
}

impl Options {
    /// Returns the adaptation; `None` where it is off.
    #[must_use]
    pub fn adaptation(&self) -> Option<Adaptation> {
        self.adaptation.map(|AdaptationMethod::RunningMean| Adaptation { windows: self.adaptation_windows })
    }

    /// Returns the smoothing; `None` where it is off.
    #[must_use]
    pub fn smoothing(&self) -> Option<Smoothing> {
        self.smoothing.map(|method| Smoothing { method, windows: self.smoothing_windows })
    }
}

/// `publish.smoothing` and `publish.smoothing_windows` where smoothing is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smoothing {
    /// How the windows are combined.
    pub method: SmoothingMethod,
    /// Windows of a channel that count, the newest one included; at least 1.
    pub windows: usize,
}

choice! {
    /// Values of `publish.adaptation` beside `off`.
    pub enum AdaptationMethod {
        /// The running mean of the logits is removed.
        RunningMean = "running-mean",
    }
}

choice! {
    /// Values of `publish.smoothing` beside `off`.
    pub enum SmoothingMethod {
        /// Newer windows have exponentially larger weights.
        Exponential = "exponential",
        /// The median of each label's scores.
        Median = "median",
    }
}
