//! How weights are moved: optimizers, the learning rate over a run, clipping of gradients, the average of weights.
//!
//! In: gradients of a network. Out: the network after a step. Only matrices and kernels decay, never biases or
//! normalisations. Never sees data.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Tensor, TensorData};

use super::network::Network;

/// How weights are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with Nesterov momentum 0.9
    Sgd,
    /// Adam; weight decay adds to the gradient
    Adam,
    /// Adam with decoupled weight decay
    #[value(name = "adamw")]
    AdamW,
}

/// The learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same all the time
    Constant,
    /// Half a cosine down to 0
    Cosine,
    /// Up in half a cosine over the first fifth, then down in another to a thousandth
    OneCycle,
}

/// Share of the steps over which one-cycle's rate rises.
const WARM_UP: f64 = 0.2;
/// One-cycle begins at the highest rate by this, and ends at it by the other.
const ONE_CYCLE: (f64, f64) = (20.0, 1_000.0);

impl Schedule {
    /// What the highest learning rate is multiplied by when this share of all steps is done.
    pub fn factor(self, done: f64) -> f64 {
        let between = |from: f64, to: f64, share: f64| {
            to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
        };
        match self {
            Self::Constant => 1.0,
            Self::Cosine => between(1.0, 0.0, done),
            Self::OneCycle if done < WARM_UP => between(1.0 / ONE_CYCLE.0, 1.0, done / WARM_UP),
            Self::OneCycle => between(1.0, 1.0 / ONE_CYCLE.1, (done - WARM_UP) / (1.0 - WARM_UP)),
        }
    }
}

impl Optimizer {
    /// The optimizer for a network.
    pub fn build(self, network: &Network, weight_decay: f32) -> ModuleOptimizer {
        let vectors = ParamGroup::from_ids(vectors(network));
        match self {
            Self::AdamW => {
                let config = |decay| AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(decay);
                config(weight_decay).init().with_group(vectors, config(0.0).build(), None)
            }
            Self::Adam => {
                let config = || AdamConfig::new().with_epsilon(1e-8);
                let decay = Some(WeightDecayConfig::new(weight_decay));
                config().with_weight_decay(decay).init().with_group(vectors, config().build(), None)
            }
            Self::Sgd => {
                let momentum = Some(MomentumConfig::new().with_momentum(0.9).with_nesterov(true));
                let config = || SgdConfig::new().with_momentum(momentum.clone());
                let decay = Some(WeightDecayConfig::new(weight_decay));
                config().with_weight_decay(decay).init().with_group(vectors, config().build(), None)
            }
        }
    }

    /// A learning rate that suits it.
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Self::Sgd => 0.05,
            Self::Adam | Self::AdamW => 2e-3,
        }
    }

    /// A weight decay that suits it.
    pub fn default_weight_decay(self) -> f32 {
        match self {
            Self::Sgd | Self::Adam => 5e-4,
            Self::AdamW => 0.05,
        }
    }
}

/// Biases and what normalisations learn.
fn vectors(network: &Network) -> Vec<ParamId> {
    struct Vectors(Vec<ParamId>);
    impl ModuleVisitor for Vectors {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 1 {
                self.0.push(param.id);
            }
        }
    }
    let mut found = Vectors(Vec::new());
    network.visit(&mut found);
    found.0
}

/// Scales all gradients together so that their norm is at most `longest` (Pascanu et al. 2013,
/// <https://arxiv.org/abs/1211.5063>). The library clips each tensor by itself, which turns the step.
pub fn clip(gradients: &mut GradientsParams, network: &Network, longest: f32) {
    let mut squares = SquaredNorm { gradients, sum: 0.0 };
    network.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm > longest {
        network.visit(&mut Scaled { gradients, factor: longest / norm });
    }
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: f32,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += gradient.square().sum().into_scalar::<f32>();
        }
    }
}

struct Scaled<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scaled<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

/// The average of a network's numbers over the steps, the last ones most (Polyak & Juditsky 1992,
/// doi:10.1137/0330046).
#[derive(Debug, Clone, Default)]
pub struct WeightAverage {
    /// One buffer a tensor, in the network's order; running statistics too.
    pub values: Vec<Vec<f32>>,
    /// Steps that went into it.
    pub steps: usize,
}

impl WeightAverage {
    /// Longest memory: the share that stays at each step.
    const DECAY: f32 = 0.995;

    /// Takes in the network after a step; early steps count more, so that fresh weights are soon forgotten.
    pub fn add(&mut self, network: &Network) {
        let decay = Self::DECAY.min((1 + self.steps) as f32 / (10 + self.steps) as f32);
        let now = collected(network);
        if self.steps == 0 {
            self.values = now;
        } else {
            for (mean, value) in self.values.iter_mut().flatten().zip(now.iter().flatten()) {
                *mean += (1.0 - decay) * (value - *mean);
            }
        }
        self.steps += 1;
    }
}

/// All numbers of a network, one buffer a tensor, running statistics too.
pub fn collected(network: &Network) -> Vec<Vec<f32>> {
    struct Collected(Vec<Vec<f32>>);
    impl ModuleVisitor for Collected {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().try_into_vec_as().expect("flex keeps f32 in memory"));
        }
    }
    let mut found = Collected(Vec::new());
    network.visit(&mut found);
    found.0
}

/// The network with other numbers in place of its own, in the order of [`collected`].
///
/// # Panics
/// If they come from a network of another shape.
pub fn replaced(network: Network, values: &[Vec<f32>]) -> Network {
    struct Replaced<'a>(std::slice::Iter<'a, Vec<f32>>);
    impl ModuleMapper for Replaced<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let values = self.0.next().expect("as many tensors as were collected").clone();
            param.map(|old| {
                let data = TensorData::new(values, old.dims());
                Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
            })
        }
    }
    network.map(&mut Replaced(values.iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_rises_for_a_fifth_and_falls_to_a_thousandth() {
        let factor = |done| Schedule::OneCycle.factor(done);
        assert!((factor(0.0) - 0.05).abs() < 1e-12 && (factor(0.2) - 1.0).abs() < 1e-12);
        assert!((factor(1.0) - 0.001).abs() < 1e-12);
        assert!(factor(0.1) < factor(0.15) && factor(0.5) > factor(0.6));
    }

    #[test]
    fn the_others_are_what_they_are_called() {
        assert_eq!(Schedule::Constant.factor(0.7), 1.0);
        assert!((Schedule::Cosine.factor(0.5) - 0.5).abs() < 1e-12 && Schedule::Cosine.factor(1.0) < 1e-12);
    }
}
