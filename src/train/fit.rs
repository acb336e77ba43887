//! The training loop: categorical cross-entropy on soft targets, one cosine down from a short warm-up, the best
//! validation epoch kept.
//!
//! In: training and validation windows, settings. Out: [`Fitted`]. The same weights from the same seed. Never sees the
//! test clips.

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::architecture::{Architecture, Kind};
use super::augment::Augmentation;
use super::batch::{self, Batch, BatchShape};
use super::corpus::{Corpus, Window};
use super::front::{Front, Normalised};
use super::network::Network;
use super::progress;
use super::score::{Score, best_temperature, score};

/// Windows that are scored together.
const SCORING_BATCH: usize = 64;
/// Share of the steps over which the learning rate rises.
const WARM_UP: f64 = 0.1;

/// How weights are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Optimizer {
    /// Stochastic gradient descent with Nesterov momentum 0.9
    Sgd,
    /// Adam with decoupled weight decay
    Adam,
}

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Passes over the training windows.
    pub epochs: usize,
    /// Windows in one step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How weights are moved.
    pub optimizer: Optimizer,
    /// Pull of the weights towards 0.
    pub weight_decay: f32,
    /// Share of the target that is spread over all labels.
    pub label_smoothing: f32,
    /// Largest share of a second window in a mixture (mixup, <https://arxiv.org/abs/1710.09412>); 0 mixes nothing.
    pub mixup: f32,
    /// Share of the statistics that are dropped in a step.
    pub dropout: f32,
    /// Where all randomness comes from.
    pub seed: u64,
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
}

/// All that stays the same during a run.
pub struct Fit<'a> {
    /// The first, fixed stage.
    pub front: Front,
    /// The network's shape.
    pub architecture: Architecture,
    /// How training windows are changed.
    pub augmentation: Augmentation,
    /// Settings.
    pub options: FitOptions,
    /// What is learnt from.
    pub train: &'a Corpus,
    /// What the best epoch is chosen by.
    pub validation: &'a Corpus,
}

impl Fit<'_> {
    /// Trains from fresh weights.
    pub fn run(self) -> Fitted {
        let device = Device::flex().autodiff();
        let mut rng = StdRng::seed_from_u64(self.options.seed);
        let mut network = Network::new(&self.architecture, &mut rng, &device);
        let mut optimizer = self.options.optimizer();
        let mut best: Option<(Network, usize, Score)> = None;
        for epoch in 0..self.options.epochs {
            let loss;
            (network, loss) = self.epoch(network, &mut optimizer, epoch, &mut rng);
            let candidate = network.valid();
            let reached = score(self.validation, &self.logits(&candidate, self.validation), 1.0);
            report(epoch + 1, self.options.epochs, loss, &reached);
            let better = |best: &Score| (reached.accuracy, -reached.loss) > (best.accuracy, -best.loss);
            if best.as_ref().is_none_or(|(_, _, score)| better(score)) {
                best = Some((candidate, epoch + 1, reached));
            }
        }
        let (network, epoch, _) = best.expect("there is at least one epoch");
        let logits = self.logits(&network, self.validation);
        let temperature = best_temperature(self.validation, &logits);
        let validation = score(self.validation, &logits, temperature);
        Fitted { front: self.front, network, temperature, epoch, validation }
    }

    fn epoch(
        &self,
        mut network: Network,
        optimizer: &mut ModuleOptimizer,
        epoch: usize,
        rng: &mut StdRng,
    ) -> (Network, f64) {
        let device = Device::flex().autodiff();
        let order = batch::shuffled(self.train, rng);
        let steps = order.len().div_ceil(self.options.batch_size);
        let bar = progress::bar(steps, &format!("epoch {}", epoch + 1));
        let mut total = 0.0;
        for (step, chosen) in order.chunks(self.options.batch_size).enumerate() {
            let windows: Vec<&Window> = chosen.iter().map(|&index| &self.train.windows[index]).collect();
            let smoothing = self.options.label_smoothing;
            let batch =
                batch::training(&windows, self.shape(), &self.augmentation, smoothing, (rng, &device));
            let loss = self.loss(&network, batch, rng);
            total += f64::from(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            let done = (epoch * steps + step) as f64 / (self.options.epochs * steps) as f64;
            network = optimizer.step(self.options.rate_at(done), network, gradients);
            bar.inc(1);
        }
        bar.finish_and_clear();
        (network, total / steps as f64)
    }

    fn loss(&self, network: &Network, batch: Batch, rng: &mut StdRng) -> Tensor<1> {
        let (mut input, mut targets) = (self.front.apply(batch.features), batch.targets);
        if self.options.mixup > 0.0 {
            let share = 1.0 - self.options.mixup * rng.random_range(0.0..1.0_f32).powi(2);
            targets = targets.clone() * share + targets.flip([0]) * (1.0 - share);
            input = mixed(input, share);
        }
        let [count, _] = targets.dims();
        let dropout = self.dropout(count, &targets.device(), rng);
        let logits = network.forward(input, Some(dropout));
        -(log_softmax(logits, 1) * targets).sum() / count as f32
    }

    /// What each statistic is multiplied by: 0, or what keeps its expectation.
    fn dropout(&self, count: usize, device: &Device, rng: &mut StdRng) -> Tensor<2> {
        let (width, share) = (self.architecture.statistics(), self.options.dropout);
        let kept = 1.0 / (1.0 - share);
        let draw = |_| if rng.random_range(0.0..1.0_f32) < share { 0.0 } else { kept };
        let values: Vec<f32> = (0..count * width).map(draw).collect();
        Tensor::from_data(TensorData::new(values, [count, width]), device)
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
    let device = Device::flex();
    let score = |windows: &[Window]| {
        let input = front.apply(batch::features(windows, shape, &device));
        let values: Vec<f32> =
            network.forward(input, None).try_into_vec_as().expect("flex keeps f32 in memory");
        values.chunks_exact(shape.labels).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    windows.chunks(SCORING_BATCH).flat_map(score).collect()
}

/// Each window mixed with the one at the mirrored place of the shuffled batch; a frame is there where either has it.
fn mixed(input: Normalised, share: f32) -> Normalised {
    let features = input.features.clone() * share + input.features.flip([0]) * (1.0 - share);
    let mask = input.mask.clone().max_pair(input.mask.flip([0]));
    Normalised { features, mask }
}

impl FitOptions {
    /// What suits a kind of network; a run of 30 epochs from seed 0.
    pub fn of(kind: Kind, optimizer: Optimizer) -> Self {
        let (learning_rate, weight_decay) = match optimizer {
            Optimizer::Adam => (3e-3, 0.01),
            Optimizer::Sgd => (0.05, 5e-4),
        };
        let dropout = match kind {
            Kind::Dense => 0.3,
            Kind::Cnn => 0.2,
        };
        Self {
            epochs: 30,
            batch_size: 32,
            learning_rate,
            optimizer,
            weight_decay,
            label_smoothing: 0.05,
            mixup: 0.0,
            dropout,
            seed: 0,
        }
    }

    fn optimizer(&self) -> ModuleOptimizer {
        match self.optimizer {
            Optimizer::Adam => {
                AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(self.weight_decay).init()
            }
            Optimizer::Sgd => SgdConfig::new()
                .with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_nesterov(true)))
                .with_weight_decay(Some(WeightDecayConfig::new(self.weight_decay)))
                .init(),
        }
    }

    /// The learning rate when this share of all steps is done: up in a line, down in half a cosine.
    fn rate_at(&self, done: f64) -> f64 {
        let factor = if done < WARM_UP {
            (done / WARM_UP).max(0.01)
        } else {
            let fall = (done - WARM_UP) / (1.0 - WARM_UP);
            0.5 * (1.0 + (std::f64::consts::PI * fall).cos())
        };
        self.learning_rate * factor
    }
}

fn report(epoch: usize, epochs: usize, loss: f64, reached: &Score) {
    eprintln!(
        "epoch {epoch}/{epochs}: training loss {loss:.4}, validation loss {:.4}, accuracy {:.4}, UAR {:.4}",
        reached.loss, reached.accuracy, reached.unweighted_average_recall
    );
}
