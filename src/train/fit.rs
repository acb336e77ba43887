//! The training loop: cross-entropy loss on soft targets, with selection of the best epoch on the validation clips.
//!
//! Input: training and validation windows, and options. Output: a [`Fitted`] network. Invariants: the same seed gives the
//! same weights; test clips are not used.
//!
//! The loop is written here because burn's `Learner` keeps the last model instead of the best one, and prints a line per
//! batch outside a terminal.

mod options;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::architecture::Architecture;
use super::batch;
use super::batch::{Augmentations, BatchShape};
use super::corpus::{Corpus, LabelledWindow};
use super::feed::Feed;
use super::front::Front;
use super::logits::statistics;
use super::network::{Dropout, Network, NetworkInput};
use super::optimizer::{WeightAverage, clip, replaced};
use super::progress::RunBar;
use super::score;
use super::score::{Score, best_temperature, score, scored_clips};
use super::state::{BestEpoch, EpochRecord, State, run_number};
use crate::evaluation::ScoredClip;
use crate::model::TrainingLogits;

pub use options::FitOptions;

/// The batch size for scoring, in windows.
pub(super) const SCORING_BATCH: usize = 64;

/// The connections of a run with its surroundings: checkpoint file and stop flags.
#[derive(Debug, Clone, Default)]
pub struct RunControl {
    /// The checkpoint file, written after each epoch; the run resumes from it where it exists.
    pub checkpoint: Option<PathBuf>,
    /// Set by the caller to stop the run; the best epoch so far is kept.
    pub stopped: Arc<AtomicBool>,
    /// Set by the run once an epoch is complete.
    pub has_best: Arc<AtomicBool>,
}

/// A trained network with its scores on the validation clips.
#[derive(Debug)]
pub struct Fitted {
    /// The front stage.
    pub front: Front,
    /// The network of the best epoch, without gradients.
    pub network: Network,
    /// The softmax temperature, fitted on the validation clips.
    pub temperature: f64,
    /// The number of the best epoch, from 1.
    pub epoch: usize,
    /// The score on the validation clips in that epoch, at that temperature.
    pub validation: Score,
    /// The validation clips with their probabilities in that epoch, at that temperature.
    pub validation_clips: Vec<ScoredClip>,
    /// The statistics of the validation windows' logits in that epoch, at that temperature.
    pub validation_logits: TrainingLogits,
    /// The results of each epoch.
    pub history: Vec<EpochRecord>,
}

/// The result of one pass over the training windows.
struct EpochPass {
    /// The mean loss of the steps.
    loss: f64,
    /// The duration of the pass.
    seconds: f64,
}

/// The constant inputs of a run.
pub struct Fit<'a> {
    /// The front stage.
    pub front: Front,
    /// The architecture of the network.
    pub architecture: Architecture,
    /// The augmentations of training windows.
    pub augmentations: Augmentations,
    /// The options.
    pub options: FitOptions,
    /// The training windows.
    pub train: &'a Corpus,
    /// Augmented copies of the training windows, computed before the run; none for most networks.
    pub copies: &'a [Corpus],
    /// The validation windows, which select the best epoch and the temperature.
    pub validation: &'a Corpus,
}

impl Fit<'_> {
    /// Trains from initial weights, or from the checkpoint where it exists.
    ///
    /// # Errors
    /// Returns an error where the checkpoint cannot be read or written or belongs to another run, and where the run is stopped
    /// during its first epoch.
    pub fn run(self, control: &RunControl) -> anyhow::Result<Fitted> {
        let device = Device::flex().autodiff();
        let mut rng = StdRng::seed_from_u64(self.options.seed);
        let mut network = Network::new(&self.architecture, &mut rng, &device);
        let feed = Feed::new(&self, &mut network, &mut rng);
        let mut state = self.begin(network, control)?;
        control.has_best.store(state.best.is_some(), Ordering::Relaxed);
        let mut bar = RunBar::new(self.options.epochs, self.steps());
        while state.history.len() < self.options.epochs && !self.patience_is_exhausted(&state) {
            let epoch = state.history.len();
            let Some(pass) = self.epoch(&mut state, &feed, &mut bar, &control.stopped) else {
                bar.print_line(&format!("stopped in epoch {}: the best epoch before it is kept", epoch + 1));
                break;
            };
            self.validate(&mut state, &pass, &bar);
            control.has_best.store(state.best.is_some(), Ordering::Relaxed);
            if let Some(path) = &control.checkpoint {
                state.save(path, run_number(&self))?;
            }
        }
        bar.end();
        let best = state.best.take().context("stopped before the first epoch was complete")?;
        Ok(self.finished(best, state.history))
    }

    fn begin(&self, network: Network, control: &RunControl) -> anyhow::Result<State> {
        let optimizer = self.options.optimizer.build(&network, self.options.weight_decay);
        let fresh =
            State { network, optimizer, average: WeightAverage::default(), best: None, history: Vec::new() };
        let Some(path) = control.checkpoint.as_ref().filter(|path| path.exists()) else { return Ok(fresh) };
        let state = fresh.load(path, run_number(self))?;
        eprintln!("resuming after epoch {} of {}", state.history.len(), path.display());
        Ok(state)
    }

    /// Returns whether the run has had `patience` epochs without improvement (early stopping).
    fn patience_is_exhausted(&self, state: &State) -> bool {
        let since = state.history.len() - state.best.as_ref().map_or(0, |best| best.epoch);
        self.options.patience > 0 && since >= self.options.patience
    }

    /// Scores the network on the validation clips after an epoch, and keeps it where it is the best so far.
    fn validate(&self, state: &mut State, pass: &EpochPass, bar: &RunBar) {
        let epoch = state.history.len() + 1;
        let network = match self.options.weight_averaging {
            true => replaced(state.network.valid(), &state.average.values),
            false => state.network.valid(),
        };
        let reached = score(self.validation, &self.logits(&network, self.validation), 1.0);
        bar.print_line(&self.line(epoch, pass, &reached));
        let learning_rate = self.options.rate_at(epoch as f64 / self.options.epochs as f64);
        state.history.push(EpochRecord { epoch, loss: pass.loss, learning_rate, validation: reached });
        if state.best.as_ref().is_none_or(|best| is_better(&reached, &best.reached)) {
            state.best = Some(BestEpoch { network, epoch, reached });
        }
    }

    /// Fits the temperature and scores the best epoch.
    ///
    /// The temperature is fitted on the validation clips, because on its training clips a network is overconfident, and the
    /// test clips must not influence any choice.
    fn finished(self, best: BestEpoch, history: Vec<EpochRecord>) -> Fitted {
        let logits = self.logits(&best.network, self.validation);
        let temperature = best_temperature(self.validation, &logits);
        let validation_clips = scored_clips(self.validation, &logits, temperature);
        let validation = score::of_clips(&validation_clips);
        let validation_logits = statistics(self.validation, &logits, temperature);
        let (network, epoch) = (best.network, best.epoch);
        Fitted {
            front: self.front,
            network,
            temperature,
            epoch,
            validation,
            validation_clips,
            validation_logits,
            history,
        }
    }

    /// Runs one pass over the training windows; `None` where the run was stopped.
    fn epoch(
        &self,
        state: &mut State,
        feed: &Feed,
        bar: &mut RunBar,
        stopped: &AtomicBool,
    ) -> Option<EpochPass> {
        let (epoch, began) = (state.history.len(), Instant::now());
        // Each epoch seeds its own generator, so that a checkpoint does not have to store the generator's state.
        let mut rng = StdRng::seed_from_u64(self.options.seed.wrapping_add((epoch as u64 + 1) << 32));
        let order = batch::shuffled(self.train, &mut rng);
        let steps = self.steps();
        bar.begin(
            epoch + 1,
            epoch * steps,
            state.history.last().map(|it| it.validation.unweighted_average_recall),
        );
        let mut total = 0.0;
        for (step, chosen) in order.chunks(self.options.batch_size).enumerate() {
            if stopped.load(Ordering::Relaxed) {
                return None;
            }
            let loss = self.loss(&state.network, feed, chosen, &mut rng);
            total += f64::from(loss.clone().into_scalar::<f32>());
            self.step(state, loss, (epoch * steps + step) as f64 / (self.options.epochs * steps) as f64);
            bar.step(total / (step + 1) as f64);
        }
        Some(EpochPass { loss: total / steps as f64, seconds: began.elapsed().as_secs_f64() })
    }

    /// Runs one optimizer step; `done` is the share of all steps that is done.
    fn step(&self, state: &mut State, loss: Tensor<1>, done: f64) {
        let mut gradients = GradientsParams::from_grads(loss.backward(), &state.network);
        if self.options.clip_norm > 0.0 {
            clip(&mut gradients, &state.network, self.options.clip_norm);
        }
        state.network = state.optimizer.step(self.options.rate_at(done), state.network.clone(), gradients);
        if self.options.weight_averaging {
            state.average.add(&state.network);
        }
    }

    /// Returns the weighted mean cross-entropy of one batch.
    fn loss(&self, network: &Network, feed: &Feed, chosen: &[usize], rng: &mut StdRng) -> Tensor<1> {
        let windows: Vec<&LabelledWindow> = chosen.iter().map(|&index| &self.train.windows[index]).collect();
        let device = Device::flex().autodiff();
        let input = feed.batch(self, chosen, rng);
        let smoothing = self.options.label_smoothing;
        let targets = batch::targets(&windows, self.architecture.labels, smoothing, &device);
        let (input, targets) = feed.mixup(input, targets, self.options.mixup, rng);
        let logits = network.forward(input, &mut Dropout::training(rng, self.options.dropout));
        let weighted = match self.options.class_weights {
            true => targets * self.train.label_weights(self.architecture.labels, &device),
            false => targets,
        };
        -(log_softmax(logits, 1) * weighted.clone()).sum() / weighted.sum()
    }

    /// Formats the results of an epoch as one line.
    fn line(&self, epoch: usize, pass: &EpochPass, reached: &Score) -> String {
        let EpochPass { loss, seconds } = pass;
        format!(
            "epoch {epoch}/{}: training loss {loss:.4}, validation loss {:.4}, accuracy {:.4}, UAR {:.4}; {:.0} windows/s",
            self.options.epochs,
            reached.loss,
            reached.accuracy,
            reached.unweighted_average_recall,
            self.train.windows.len() as f64 / seconds
        )
    }

    /// Returns the number of steps in an epoch.
    fn steps(&self) -> usize {
        self.train.windows.len().div_ceil(self.options.batch_size)
    }

    /// Returns the logits of every window of a corpus.
    fn logits(&self, network: &Network, corpus: &Corpus) -> Vec<Vec<f32>> {
        logits(&self.front, network, &corpus.windows, self.shape())
    }

    /// Returns the shape of the batches.
    pub fn shape(&self) -> BatchShape {
        BatchShape {
            frames: self.architecture.frames,
            coefficients: self.front.coefficients,
            labels: self.architecture.labels,
        }
    }
}

/// Returns the logits of windows, `[windows][labels]`, without gradients.
pub fn logits(
    front: &Front,
    network: &Network,
    windows: &[LabelledWindow],
    shape: BatchShape,
) -> Vec<Vec<f32>> {
    let score = |windows: &[LabelledWindow]| {
        let logits = network.forward(encoded(front, network, windows, shape), &mut Dropout::none());
        let values: Vec<f32> = logits.try_into_vec_as().expect("flex keeps f32 in memory");
        values.chunks_exact(shape.labels).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    windows.chunks(SCORING_BATCH).flat_map(score).collect()
}

/// Returns the network's input for windows, without gradients.
pub(super) fn encoded(
    front: &Front,
    network: &Network,
    windows: &[LabelledWindow],
    shape: BatchShape,
) -> NetworkInput {
    network.encode(front.apply(batch::features(windows, shape, &Device::flex())))
}

/// Returns whether a score is better: a higher UAR, or the same UAR with a lower loss.
fn is_better(reached: &Score, best: &Score) -> bool {
    (reached.unweighted_average_recall, -reached.loss) > (best.unweighted_average_recall, -best.loss)
}
