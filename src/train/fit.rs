//! The training loop: categorical cross-entropy on soft targets, the best validation epoch kept.
//!
//! In: training and validation windows, settings. Out: [`Fitted`]. The same weights from the same seed. Never sees the
//! test clips.

use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::architecture::{Architecture, Kind};
use super::batch::{self, BatchShape, Changes};
use super::corpus::{Corpus, Window};
use super::feed::Feed;
use super::front::Front;
use super::network::{Dropout, Encoded, Network};
use super::optimizer::{Average, Optimizer, Schedule, clip};
use super::progress;
use super::report::{EpochRecord, EpochScore};
use super::score::{self, Score, best_temperature, score, scored_clips};
use crate::evaluation::ScoredClip;

/// Windows that are scored together.
pub(super) const SCORING_BATCH: usize = 64;

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
    pub fn of(kind: Kind, optimizer: Optimizer) -> Self {
        // The dense net is trained on statistics, in seconds, and learns them by heart unless they are mixed.
        let (epochs, batch_size, mixup) = if kind == Kind::Cnn { (27, 64, 0.0) } else { (30, 128, 0.4) };
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
            mixup,
            weight_averaging: true,
            patience: 0,
            seed: 0,
        }
    }
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
    /// Every epoch, in order.
    pub history: Vec<EpochRecord>,
}

/// All that stays the same during a run.
pub struct Fit<'a> {
    /// The first, fixed stage.
    pub front: Front,
    /// The network's shape.
    pub architecture: Architecture,
    /// How training windows are changed.
    pub changes: Changes,
    /// Settings.
    pub options: FitOptions,
    /// What is learnt from.
    pub train: &'a Corpus,
    /// What the best epoch is chosen by.
    pub validation: &'a Corpus,
}

/// What changes during a run.
struct State {
    network: Network,
    optimizer: ModuleOptimizer,
    average: Average,
    rng: StdRng,
}

/// The best epoch so far.
struct Best {
    network: Network,
    epoch: usize,
    reached: Score,
}

impl Fit<'_> {
    /// Trains from fresh weights.
    pub fn run(self) -> Fitted {
        let device = Device::flex().autodiff();
        let mut rng = StdRng::seed_from_u64(self.options.seed);
        let mut network = Network::new(&self.architecture, &mut rng, &device);
        let feed = Feed::new(&self, &mut network, &mut rng);
        let optimizer = self.options.optimizer.build(&network, self.options.weight_decay);
        let mut state = State { network, optimizer, average: Average::default(), rng };
        let mut best: Option<Best> = None;
        let mut history = Vec::new();
        for epoch in 0..self.options.epochs {
            let began = Instant::now();
            let loss = self.epoch(&mut state, &feed, epoch);
            let seconds = began.elapsed().as_secs_f64();
            let network = self.candidate(&state);
            let reached = score(self.validation, &self.logits(&network, self.validation), 1.0);
            self.report(epoch + 1, loss, &reached, seconds);
            history.push(self.record(epoch, loss, &reached));
            if best.as_ref().is_none_or(|best| is_better(&reached, &best.reached)) {
                best = Some(Best { network, epoch: epoch + 1, reached });
            }
            let since = epoch + 1 - best.as_ref().map_or(0, |best| best.epoch);
            if self.options.patience > 0 && since >= self.options.patience {
                break;
            }
        }
        self.finished(best.expect("there is at least one epoch"), history)
    }

    fn finished(self, best: Best, history: Vec<EpochRecord>) -> Fitted {
        let logits = self.logits(&best.network, self.validation);
        let temperature = best_temperature(self.validation, &logits);
        let validation_clips = scored_clips(self.validation, &logits, temperature);
        let validation = score::of_clips(&validation_clips);
        let Best { network, epoch, .. } = best;
        Fitted { front: self.front, network, temperature, epoch, validation, validation_clips, history }
    }

    fn record(&self, epoch: usize, loss: f64, reached: &Score) -> EpochRecord {
        let Score { loss: validation_loss, accuracy, unweighted_average_recall, .. } = *reached;
        let validation = EpochScore { loss: validation_loss, accuracy, unweighted_average_recall };
        let steps = self.train.windows.len().div_ceil(self.options.batch_size);
        let done = ((epoch + 1) * steps - 1) as f64 / (self.options.epochs * steps) as f64;
        let learning_rate = self.options.learning_rate * self.options.schedule.factor(done);
        EpochRecord { epoch: epoch + 1, loss, validation, learning_rate }
    }

    /// What is scored after an epoch, without gradients.
    fn candidate(&self, state: &State) -> Network {
        match self.options.weight_averaging {
            true => state.average.network(&state.network),
            false => state.network.valid(),
        }
    }

    fn epoch(&self, state: &mut State, feed: &Feed, epoch: usize) -> f64 {
        let order = batch::shuffled(self.train, &mut state.rng);
        let steps = order.len().div_ceil(self.options.batch_size);
        let bar = progress::bar(steps, &format!("epoch {}", epoch + 1));
        let mut total = 0.0;
        for (step, chosen) in order.chunks(self.options.batch_size).enumerate() {
            let loss = self.loss(state, feed, chosen);
            total += f64::from(loss.clone().into_scalar::<f32>());
            let done = (epoch * steps + step) as f64 / (self.options.epochs * steps) as f64;
            self.step(state, loss, done);
            bar.inc(1);
        }
        bar.finish_and_clear();
        total / steps as f64
    }

    fn step(&self, state: &mut State, loss: Tensor<1>, done: f64) {
        let mut gradients = GradientsParams::from_grads(loss.backward(), &state.network);
        if self.options.clip_norm > 0.0 {
            clip(&mut gradients, &state.network, self.options.clip_norm);
        }
        let rate = self.options.learning_rate * self.options.schedule.factor(done);
        state.network = state.optimizer.step(rate, state.network.clone(), gradients);
        if self.options.weight_averaging {
            state.average.add(&state.network);
        }
    }

    fn loss(&self, state: &mut State, feed: &Feed, chosen: &[usize]) -> Tensor<1> {
        let windows: Vec<&Window> = chosen.iter().map(|&index| &self.train.windows[index]).collect();
        let device = Device::flex().autodiff();
        let seen = feed.batch(self, chosen, &mut state.rng);
        let smoothing = self.options.label_smoothing;
        let targets = batch::targets(&windows, self.architecture.labels, smoothing, &device);
        let (seen, targets) = feed.mixed(seen, targets, self.options.mixup, &mut state.rng);
        let logits = state.network.forward(seen, &mut Dropout::training(&mut state.rng));
        let weighted = match self.options.class_weights {
            true => targets * self.train.label_weights(self.architecture.labels, &device),
            false => targets,
        };
        -(log_softmax(logits, 1) * weighted.clone()).sum() / weighted.sum()
    }

    fn report(&self, epoch: usize, loss: f64, reached: &Score, seconds: f64) {
        eprintln!(
            "epoch {epoch}/{}: training loss {loss:.4}, validation loss {:.4}, accuracy {:.4}, UAR {:.4}; {:.0} windows/s",
            self.options.epochs,
            reached.loss,
            reached.accuracy,
            reached.unweighted_average_recall,
            self.train.windows.len() as f64 / seconds
        );
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
pub fn logits(front: &Front, network: &Network, windows: &[Window], shape: BatchShape) -> Vec<Vec<f32>> {
    let score = |windows: &[Window]| {
        let logits = network.forward(encoded(front, network, windows, shape), &mut Dropout::none());
        let values: Vec<f32> = logits.try_into_vec_as().expect("flex keeps f32 in memory");
        values.chunks_exact(shape.labels).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    windows.chunks(SCORING_BATCH).flat_map(score).collect()
}

/// What a network's learnt layers see of windows, without gradients.
pub(super) fn encoded(front: &Front, network: &Network, windows: &[Window], shape: BatchShape) -> Encoded {
    network.encode(front.apply(batch::features(windows, shape, &Device::flex())))
}

fn is_better(reached: &Score, best: &Score) -> bool {
    (reached.unweighted_average_recall, -reached.loss) > (best.unweighted_average_recall, -best.loss)
}
