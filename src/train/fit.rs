//! The training loop: categorical cross-entropy on soft targets, the best validation epoch kept.
//!
//! In: training and validation windows, settings. Out: [`Fitted`]. The same weights from the same seed. Never sees the
//! test clips.

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
use super::batch::{self, Augmentations, BatchShape};
use super::corpus::{Corpus, LabelledWindow};
use super::feed::Feed;
use super::front::Front;
use super::network::{Dropout, Network, NetworkInput};
use super::optimizer::{WeightAverage, clip, replaced};
use super::progress::RunBar;
use super::score::{self, Score, best_temperature, score, scored_clips};
use super::state::{BestEpoch, EpochRecord, State, run_number};
use crate::evaluation::ScoredClip;

pub use options::FitOptions;

/// Windows that are scored together.
pub(super) const SCORING_BATCH: usize = 64;

/// What outlives a run that is stopped.
#[derive(Debug, Clone, Default)]
pub struct RunControl {
    /// Where the state is kept after each epoch, and taken from.
    pub checkpoint: Option<PathBuf>,
    /// Set from outside: the run ends, and the best epoch so far is kept.
    pub stopped: Arc<AtomicBool>,
    /// Set by the run once there is an epoch that can be kept.
    pub has_best: Arc<AtomicBool>,
}

/// A trained network and what it reached on the validation clips.
#[derive(Debug)]
pub struct Fitted {
    /// The first, fixed stage.
    pub front: Front,
    /// The network at its best epoch, without gradients.
    pub network: Network,
    /// Divides the logits; chosen on the validation clips.
    pub temperature: f64,
    /// The best epoch, from 1.
    pub epoch: usize,
    /// What it reached there.
    pub validation: Score,
    /// The validation clips there, at that temperature.
    pub validation_clips: Vec<ScoredClip>,
    /// What each epoch gave.
    pub history: Vec<EpochRecord>,
}

/// All that stays the same during a run.
pub struct Fit<'a> {
    /// The first, fixed stage.
    pub front: Front,
    /// The network's shape.
    pub architecture: Architecture,
    /// How training windows are changed.
    pub changes: Augmentations,
    /// Settings.
    pub options: FitOptions,
    /// What is learnt from.
    pub train: &'a Corpus,
    /// What the best epoch is chosen by.
    pub validation: &'a Corpus,
}

impl Fit<'_> {
    /// Trains from fresh weights, or from the checkpoint where it is there.
    ///
    /// # Errors
    /// A checkpoint that cannot be read or written or belongs to another run; a run stopped in its first epoch.
    pub fn run(self, control: &RunControl) -> anyhow::Result<Fitted> {
        let device = Device::flex().autodiff();
        let mut rng = StdRng::seed_from_u64(self.options.seed);
        let mut network = Network::new(&self.architecture, &mut rng, &device);
        let feed = Feed::new(&self, &mut network, &mut rng);
        let mut state = self.begin(network, control)?;
        let mut bar = RunBar::new(self.options.epochs, self.steps());
        while state.history.len() < self.options.epochs && !self.patience_is_exhausted(&state) {
            control.has_best.store(state.best.is_some(), Ordering::Relaxed);
            let epoch = state.history.len();
            let Some(loss) = self.epoch(&mut state, &feed, (&mut bar, &control.stopped)) else {
                bar.print_line(&format!("stopped in epoch {}: the best one before it is kept", epoch + 1));
                break;
            };
            self.validate(&mut state, loss, &bar);
            if let Some(path) = &control.checkpoint {
                state.save(path, run_number(&self))?;
            }
        }
        bar.end();
        let best = state.best.take().context("stopped before the first epoch was done")?;
        Ok(self.finished(best, state.history))
    }

    fn begin(&self, network: Network, control: &RunControl) -> anyhow::Result<State> {
        let optimizer = self.options.optimizer.build(&network, self.options.weight_decay);
        let fresh =
            State { network, optimizer, average: WeightAverage::default(), best: None, history: Vec::new() };
        let Some(path) = control.checkpoint.as_ref().filter(|path| path.exists()) else { return Ok(fresh) };
        let state = fresh.load(path, run_number(self))?;
        eprintln!("going on after epoch {} of {}", state.history.len(), path.display());
        Ok(state)
    }

    /// Whether the run has gone on for long enough without a better epoch.
    fn patience_is_exhausted(&self, state: &State) -> bool {
        let since = state.history.len() - state.best.as_ref().map_or(0, |best| best.epoch);
        self.options.patience > 0 && since >= self.options.patience
    }

    /// Scores the network after an epoch, and keeps it where it is the best.
    fn validate(&self, state: &mut State, (loss, seconds): (f64, f64), bar: &RunBar) {
        let epoch = state.history.len() + 1;
        let network = match self.options.weight_averaging {
            true => replaced(state.network.valid(), &state.average.values),
            false => state.network.valid(),
        };
        let reached = score(self.validation, &self.logits(&network, self.validation), 1.0);
        bar.print_line(&self.line(epoch, loss, &reached, seconds));
        let learning_rate = self.options.rate_at(epoch as f64 / self.options.epochs as f64);
        state.history.push(EpochRecord { epoch, loss, learning_rate, validation: reached });
        if state.best.as_ref().is_none_or(|best| is_better(&reached, &best.reached)) {
            state.best = Some(BestEpoch { network, epoch, reached });
        }
    }

    fn finished(self, best: BestEpoch, history: Vec<EpochRecord>) -> Fitted {
        let logits = self.logits(&best.network, self.validation);
        let temperature = best_temperature(self.validation, &logits);
        let validation_clips = scored_clips(self.validation, &logits, temperature);
        let validation = score::of_clips(&validation_clips);
        let (network, epoch) = (best.network, best.epoch);
        Fitted { front: self.front, network, temperature, epoch, validation, validation_clips, history }
    }

    /// One pass over the training windows: mean loss and seconds, or `None` where it was stopped.
    fn epoch(
        &self,
        state: &mut State,
        feed: &Feed,
        (bar, stopped): (&mut RunBar, &AtomicBool),
    ) -> Option<(f64, f64)> {
        let (epoch, began) = (state.history.len(), Instant::now());
        // Each epoch has a generator of its own, so that a checkpoint needs to keep none.
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
            let loss = self.loss((&state.network, &mut rng), feed, chosen);
            total += f64::from(loss.clone().into_scalar::<f32>());
            self.step(state, loss, (epoch * steps + step) as f64 / (self.options.epochs * steps) as f64);
            bar.step(total / (step + 1) as f64);
        }
        Some((total / steps as f64, began.elapsed().as_secs_f64()))
    }

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

    fn loss(&self, (network, rng): (&Network, &mut StdRng), feed: &Feed, chosen: &[usize]) -> Tensor<1> {
        let windows: Vec<&LabelledWindow> = chosen.iter().map(|&index| &self.train.windows[index]).collect();
        let device = Device::flex().autodiff();
        let seen = feed.batch(self, chosen, rng);
        let smoothing = self.options.label_smoothing;
        let targets = batch::targets(&windows, self.architecture.labels, smoothing, &device);
        let (seen, targets) = feed.mixed(seen, targets, self.options.mixup, rng);
        let logits = network.forward(seen, &mut Dropout::training(rng, self.options.dropout));
        let weighted = match self.options.class_weights {
            true => targets * self.train.label_weights(self.architecture.labels, &device),
            false => targets,
        };
        -(log_softmax(logits, 1) * weighted.clone()).sum() / weighted.sum()
    }

    /// What an epoch gave, for people.
    fn line(&self, epoch: usize, loss: f64, reached: &Score, seconds: f64) -> String {
        format!(
            "epoch {epoch}/{}: training loss {loss:.4}, validation loss {:.4}, accuracy {:.4}, UAR {:.4}; {:.0} windows/s",
            self.options.epochs,
            reached.loss,
            reached.accuracy,
            reached.unweighted_average_recall,
            self.train.windows.len() as f64 / seconds
        )
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.train.windows.len().div_ceil(self.options.batch_size)
    }

    /// Logits of every window of a corpus.
    fn logits(&self, network: &Network, corpus: &Corpus) -> Vec<Vec<f32>> {
        logits(&self.front, network, &corpus.windows, self.shape())
    }

    /// What its batches have to be brought to.
    pub fn shape(&self) -> BatchShape {
        BatchShape {
            frames: self.architecture.frames,
            coefficients: self.front.coefficients,
            labels: self.architecture.labels,
        }
    }
}

/// Logits of windows, without gradients: `[windows][labels]`.
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

/// What a network's learnt layers see of windows, without gradients.
pub(super) fn encoded(
    front: &Front,
    network: &Network,
    windows: &[LabelledWindow],
    shape: BatchShape,
) -> NetworkInput {
    network.encode(front.apply(batch::features(windows, shape, &Device::flex())))
}

fn is_better(reached: &Score, best: &Score) -> bool {
    (reached.unweighted_average_recall, -reached.loss) > (best.unweighted_average_recall, -best.loss)
}
