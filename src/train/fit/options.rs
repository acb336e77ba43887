//! The options of a training run, and their defaults for each architecture.
//!
//! Input: an architecture and an optimizer. Output: [`FitOptions`].

use crate::train::architecture::NetworkKind;
use crate::train::optimizer::{Optimizer, Schedule};

/// The options of a training run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FitOptions {
    /// The number of passes over the training windows.
    pub epochs: usize,
    /// The number of windows in one step.
    pub batch_size: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The maximum learning rate.
    pub learning_rate: f64,
    /// The learning rate schedule.
    pub schedule: Schedule,
    /// The weight decay.
    pub weight_decay: f32,
    /// The maximum global norm of the gradients; 0 disables clipping.
    pub clip_norm: f32,
    /// The label smoothing: the share of the target that is spread over all labels.
    pub label_smoothing: f32,
    /// Whether the loss is weighted by inverse class frequency.
    pub class_weights: bool,
    /// The factor on the network's dropout rates; 0 disables dropout.
    pub dropout: f32,
    /// Both parameters of mixup's beta distribution (Zhang et al. 2018, <https://arxiv.org/abs/1710.09412>); 0 disables
    /// mixup.
    pub mixup: f32,
    /// Whether the moving average of the weights is scored and kept instead of the weights.
    pub weight_averaging: bool,
    /// The number of epochs without improvement after which the run ends (early stopping); 0 disables it.
    pub patience: usize,
    /// The seed of all random numbers.
    pub seed: u64,
}

impl FitOptions {
    /// Returns the defaults of an architecture and an optimizer, with seed 0.
    pub fn of(kind: NetworkKind, optimizer: Optimizer) -> Self {
        // The dense net is trained on precomputed statistics, which it overfits without mixup.
        let (epochs, batch_size, mixup) = match kind {
            NetworkKind::Cnn => (27, 64, 0.0),
            NetworkKind::Dense | NetworkKind::Encoder => (30, 128, 0.4),
        };
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

    /// Returns the learning rate after the share `done` of all steps.
    pub(super) fn rate_at(&self, done: f64) -> f64 {
        self.learning_rate * self.schedule.factor(done)
    }
}
