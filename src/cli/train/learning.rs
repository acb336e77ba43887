//! The flags that say how a network learns: optimizer, learning rate, regularisation, when to end.
//!
//! In: arguments. Out: [`FitOptions`], by what suits the kind of network where nothing is said. Never trains.

use crate::cli::augmentation::{amount, share};
use crate::train::architecture::NetworkKind;
use crate::train::fit::FitOptions;
use crate::train::optimizer::{Optimizer, Schedule};

/// The networks leave out half of some values; a factor below 2 leaves some of them.
const MAX_DROPOUT: f32 = 1.9;

/// How the network learns.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Learning")]
pub(super) struct LearningArgs {
    /// How weights are moved
    #[arg(long, value_enum, default_value = "adamw")]
    optimizer: Optimizer,
    /// The learning rate over the run
    #[arg(long, value_enum, default_value = "one-cycle")]
    schedule: Schedule,
    /// Passes over the training clips [default: 27 for cnn, 30 for dense]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Windows in one step [default: 64 for cnn, 128 for dense]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    batch_size: Option<u32>,
    /// Highest learning rate [default: 0.002 for adam and adamw, 0.05 for sgd]
    #[arg(long, value_parser = positive)]
    learning_rate: Option<f64>,
    /// Pull of the weights towards 0 [default: 0.05 for adamw, 0.0005 for adam and sgd]
    #[arg(long, value_parser = amount)]
    weight_decay: Option<f32>,
    /// Longest gradient of all weights together; 0 clips nothing
    #[arg(long, default_value = "2", value_parser = amount)]
    clip_norm: f32,
    /// Share of the target that is spread over all labels
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    label_smoothing: f32,
    /// Let rare labels count more, so that each label counts alike
    #[arg(long)]
    class_weights: bool,
    /// Shares of values left out at random, as a multiple of the network's own; 0 leaves none out
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = dropout)]
    dropout: f32,
    /// Mix training windows by a share from the beta distribution with this parameter; 0 mixes none
    /// [default: 0 for cnn, 0.4 for dense]
    #[arg(long, value_name = "ALPHA", value_parser = amount)]
    mixup: Option<f32>,
    /// Keep the weights of the best epoch, not their average over the steps
    #[arg(long)]
    no_weight_averaging: bool,
    /// End the run after so many epochs without a better one; 0 never does
    #[arg(long, value_name = "EPOCHS", default_value = "0")]
    patience: usize,
}

impl LearningArgs {
    /// For a kind of network, with all randomness from `seed`.
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

/// A factor that leaves no share of values at 1.
fn dropout(text: &str) -> Result<f32, String> {
    let factor = text.parse().ok().filter(|it| (0.0..=MAX_DROPOUT).contains(it));
    factor.ok_or_else(|| format!("expected a number from 0 to {MAX_DROPOUT}"))
}
