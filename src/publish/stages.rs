//! The stages between the model's scores and the decision: adaptation, then smoothing.
//!
//! Input: the raw scores of a window, and its channel's state. Output: the scores of each stage that is on. Pure.

use std::time::Duration;

use super::event::Scores;
use super::smoothing::RawScores;
use super::{Adaptation, Options, Smoothing, TrainedLabels};
use crate::model::Prediction;
use crate::stream::ChannelState;

/// The stages that are on.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    adaptation: Option<Adaptation>,
    smoothing: Option<Smoothing>,
}

/// The scores that the stages have left.
#[derive(Debug, Clone, Default)]
pub struct Staged {
    adapted: Option<Vec<f32>>,
    smoothed: Option<Vec<f32>>,
}

impl Stages {
    /// Returns the stages of a configuration.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { adaptation: options.adaptation(), smoothing: options.smoothing() }
    }

    /// Whether no stage is on, so that no channel has any state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.adaptation.is_none() && self.smoothing.is_none()
    }

    /// Runs the stages on a channel's next window, which is part of the segment that begins at `segment`.
    #[must_use]
    pub fn run(
        &self,
        state: &mut ChannelState,
        segment: Duration,
        (labels, raw): (TrainedLabels<'_>, &[f32]),
    ) -> Staged {
        let adapted = self.adaptation.map(|adaptation| adaptation.adapt_channel(state, labels, raw));
        let scores = adapted.as_deref().unwrap_or(raw);
        let window = RawScores { segment, labels: labels.names, scores };
        let smoothed = self.smoothing.map(|smoothing| smoothing.smooth_channel(state, window));
        Staged { adapted, smoothed }
    }
}

impl Staged {
    /// Returns all scores of the window.
    #[must_use]
    pub fn scores<'a>(&'a self, prediction: &'a Prediction) -> Scores<'a> {
        let Prediction { scores: raw, values, out_of_domain } = prediction;
        Scores {
            raw,
            adapted: self.adapted.as_deref(),
            smoothed: self.smoothed.as_deref(),
            values,
            out_of_domain: *out_of_domain,
        }
    }
}
