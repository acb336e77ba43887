//! Optimizers, learning rate schedules, gradient clipping and weight averaging.
//!
//! Input: the gradients of a network. Output: the network after a step. Invariants: weight decay applies to matrices and
//! kernels, not to biases and normalization parameters.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Tensor, TensorData};

use super::network::Network;

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with Nesterov momentum 0.9
    Sgd,
    /// Adam with L2 regularisation: weight decay is added to the gradient
    Adam,
    /// Adam with decoupled weight decay
    #[value(name = "adamw")]
    AdamW,
}

/// The learning rate schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Constant
    Constant,
    /// Cosine annealing to 0
    Cosine,
    /// One-cycle: cosine warm-up over the first fifth, then cosine annealing to a thousandth
    OneCycle,
}

/// The share of the steps in which the one-cycle schedule rises.
const WARM_UP: f64 = 0.2;
/// The maximum learning rate divided by the initial one, in the one-cycle schedule.
const INITIAL_DIVISOR: f64 = 20.0;
/// The maximum learning rate divided by the final one, in the one-cycle schedule.
const FINAL_DIVISOR: f64 = 1_000.0;

impl Schedule {
    /// Returns the factor on the maximum learning rate after the share `done` of all steps.
    ///
    /// Cosine annealing is that of Loshchilov and Hutter 2017, <https://arxiv.org/abs/1608.03983>, without restarts; one-cycle
    /// is that of Smith and Topin 2018, <https://arxiv.org/abs/1708.07120>, as in PyTorch's `OneCycleLR`. burn's own cosine
    /// schedule was rejected, because it rises again after its last step.
    pub fn factor(self, done: f64) -> f64 {
        let between = |from: f64, to: f64, share: f64| {
            to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
        };
        match self {
            Self::Constant => 1.0,
            Self::Cosine => between(1.0, 0.0, done),
            Self::OneCycle if done < WARM_UP => between(1.0 / INITIAL_DIVISOR, 1.0, done / WARM_UP),
            Self::OneCycle => between(1.0, 1.0 / FINAL_DIVISOR, (done - WARM_UP) / (1.0 - WARM_UP)),
        }
    }
}

impl Optimizer {
    /// Creates the optimizer of a network.
    ///
    /// Adam is that of Kingma and Ba 2015, <https://arxiv.org/abs/1412.6980>; AdamW that of Loshchilov and Hutter 2019,
    /// <https://arxiv.org/abs/1711.05101>. Epsilon is set to 1e-8, the value of the paper and of PyTorch. burn's default of
    /// 1e-5 was rejected: it exceeds the root mean square of small gradients and would reduce their steps.
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

    /// Returns the default maximum learning rate.
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Self::Sgd => 0.05,
            Self::Adam | Self::AdamW => 2e-3,
        }
    }

    /// Returns the default weight decay.
    pub fn default_weight_decay(self) -> f32 {
        match self {
            Self::Sgd | Self::Adam => 5e-4,
            Self::AdamW => 0.05,
        }
    }
}

/// Returns the ids of biases and normalization parameters, which are the parameters with one axis.
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

/// Clips the gradients by their global norm: scales all of them so that their joint L2 norm is at most `max_norm` (Pascanu
/// et al. 2013, <https://arxiv.org/abs/1211.5063>; PyTorch's `clip_grad_norm_`). burn's own clipping was rejected, because
/// it scales each tensor separately, which changes the direction of the step.
pub fn clip(gradients: &mut GradientsParams, network: &Network, max_norm: f32) {
    let mut squares = SquaredNorm { gradients, sum: 0.0 };
    network.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm > max_norm {
        network.visit(&mut Scaled { gradients, factor: max_norm / norm });
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

/// The exponential moving average of a network's parameters over the steps (after Polyak and Juditsky 1992,
/// doi:10.1137/0330046).
#[derive(Debug, Clone, Default)]
pub struct WeightAverage {
    /// One buffer per tensor, in the network's order, running statistics of batch normalization included.
    pub values: Vec<Vec<f32>>,
    /// The number of averaged steps.
    pub steps: usize,
}

impl WeightAverage {
    /// The maximum decay per step.
    const DECAY: f32 = 0.995;

    /// Adds the network after a step. The decay is smaller in early steps, `(1 + n) / (10 + n)`, so that the influence of the
    /// initial weights fades quickly.
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

/// Returns all parameters of a network, one buffer per tensor, running statistics included.
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

/// Replaces all parameters of a network by `values`, in the order of [`collected`].
///
/// # Panics
/// Panics where the values come from a network of another shape.
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
    fn the_constant_and_the_cosine_schedule_have_their_values() {
        assert_eq!(Schedule::Constant.factor(0.7), 1.0);
        assert!((Schedule::Cosine.factor(0.5) - 0.5).abs() < 1e-12 && Schedule::Cosine.factor(1.0) < 1e-12);
    }
}
