//! Settings of a training run, and what suits each kind of network.
//!
//! In: the kind and the optimizer. Out: [`FitOptions`]. Plain values; never trains.

use crate::train::architecture::NetworkKind;
use crate::train::optimizer::{Optimizer, Schedule};

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FitOptions {
    /// Passes over the training windows.
    pub epochs: usize,
    /// Windows in one step.
    pub batch_size: usize,
    /// How weights are moved.
    pub optimizer: Optimizer,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// Pull of the weights towards 0.
    pub weight_decay: f32,
    /// Longest gradient of all weights together; 0 clips nothing.
    pub clip_norm: f32,
    /// Share of the target that is spread over all labels.
    pub label_smoothing: f32,
    /// Whether rare labels count more, so that each label counts alike.
    pub class_weights: bool,
    /// Times the network's own shares of values that are left out; 0 leaves none out.
    pub dropout: f32,
    /// Both parameters of the beta distribution that a mixture's share is drawn from (mixup,
    /// <https://arxiv.org/abs/1710.09412>); 0 mixes nothing.
    pub mixup: f32,
    /// Whether the weights' average over the steps is scored and kept instead of the weights.
    pub weight_averaging: bool,
    /// Epochs without a better one after which the run ends early; 0 never does.
    pub patience: usize,
    /// Where all randomness comes from.
    pub seed: u64,
}

impl FitOptions {
    /// What suits a kind of network and an optimizer, from seed 0.
    pub fn of(kind: NetworkKind, optimizer: Optimizer) -> Self {
        // The dense net is trained on statistics, in seconds, and learns them by heart unless they are mixed.
        let (epochs, batch_size, mixup) =
            if kind == NetworkKind::Cnn { (27, 64, 0.0) } else { (30, 128, 0.4) };
        Self {
            epochs,
            batch_size,
            optimizer,
            learning_rate: optimizer.default_learning_rate(),
            schedule: Schedule::OneCycle,
            weight_decay: optimizer.default_weight_decay(),
            clip_norm: 2.0,
            label_smoothing: 0.1,
            class_weights: false,
            dropout: 1.0,
            mixup,
            weight_averaging: true,
            patience: 0,
            seed: 0,
        }
    }

    /// The learning rate when this share of all steps is done.
    pub(super) fn rate_at(&self, done: f64) -> f64 {
        self.learning_rate * self.schedule.factor(done)
    }
}
