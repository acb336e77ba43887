//! The optimization flags of `affectd train`: optimizer, learning rate, regularisation, early stopping.
//!
//! Input: arguments. Output: [`FitOptions`]; where a flag is absent, the default of the architecture.

use crate::cli::augmentation::{amount, share};
use crate::train::architecture::NetworkKind;
use crate::train::fit::FitOptions;
use crate::train::optimizer::{Optimizer, Schedule};

/// The maximum of `--dropout`. The highest dropout rate of the networks is 0.5, so the factor must stay below 2.
const MAX_DROPOUT: f32 = 1.9;

/// The optimization options.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Learning")]
pub(super) struct LearningArgs {
    /// The optimizer
    #[arg(long, value_enum, default_value = "adamw")]
    optimizer: Optimizer,
    /// The learning rate schedule
    #[arg(long, value_enum, default_value = "one-cycle")]
    schedule: Schedule,
    /// Number of passes over the training clips [default: 27 for cnn, otherwise 30]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Number of windows in one step [default: 64 for cnn, otherwise 128]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    batch_size: Option<u32>,
    /// Maximum learning rate [default: 0.002 for adam and adamw, 0.05 for sgd]
    #[arg(long, value_parser = positive)]
    learning_rate: Option<f64>,
    /// Weight decay [default: 0.05 for adamw, 0.0005 for adam and sgd]
    #[arg(long, value_parser = amount)]
    weight_decay: Option<f32>,
    /// Maximum global norm of the gradients; 0 disables clipping
    #[arg(long, default_value = "2", value_parser = amount)]
    clip_norm: f32,
    /// Label smoothing: share of the target that is spread over all labels
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    label_smoothing: f32,
    /// Weight the loss by inverse class frequency
    #[arg(long)]
    class_weights: bool,
    /// Factor on the network's dropout rates; 0 disables dropout
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = dropout)]
    dropout: f32,
    /// Parameter of mixup's beta distribution; 0 disables mixup
    /// [default: 0 for cnn, otherwise 0.4]
    #[arg(long, value_name = "ALPHA", value_parser = amount)]
    mixup: Option<f32>,
    /// Keep the weights of the best epoch instead of their moving average over the steps
    #[arg(long)]
    no_weight_averaging: bool,
    /// Early stopping: end the run after this number of epochs without improvement; 0 disables it
    #[arg(long, value_name = "EPOCHS", default_value = "0")]
    patience: usize,
}

impl LearningArgs {
    /// Returns the options for an architecture; `seed` is the seed of all random numbers.
    pub(super) fn options(&self, kind: NetworkKind, seed: u64) -> FitOptions {
        let base = FitOptions::of(kind, self.optimizer);
        FitOptions {
            epochs: self.epochs.map_or(base.epochs, |it| it as usize),
            batch_size: self.batch_size.map_or(base.batch_size, |it| it as usize),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            optimizer: self.optimizer,
            schedule: self.schedule,
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            clip_norm: self.clip_norm,
            label_smoothing: self.label_smoothing,
            class_weights: self.class_weights,
            dropout: self.dropout,
            mixup: self.mixup.unwrap_or(base.mixup),
            weight_averaging: !self.no_weight_averaging,
            patience: self.patience,
            seed,
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let amount = text.parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0);
    amount.ok_or_else(|| "expected a number above 0".to_owned())
}

/// Parses a dropout factor, which must keep every dropout rate below 1.
fn dropout(text: &str) -> Result<f32, String> {
    let factor = text.parse().ok().filter(|it| (0.0..=MAX_DROPOUT).contains(it));
    factor.ok_or_else(|| format!("expected a number from 0 to {MAX_DROPOUT}"))
}
