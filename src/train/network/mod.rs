//! The learnt part of a model: a [`Cnn`] over frames and bands, or a [`Dense`] net on statistics.
//!
//! In: [`Normalised`] features. Out: logits `[batch, labels]`. What is missing in a window is masked and never changes
//! a logit. Never knows the front end's units.

mod cnn;
mod dense;
mod layers;
mod pooling;
pub mod statistics;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor};
use rand::rngs::StdRng;

pub use cnn::{Cnn, Residual};
pub use dense::{Dense, MAX_DEVIATIONS};
pub use layers::{Convolution, Dropout, Linear};
pub use pooling::{
    AttentivePool, MISSING_SCORE, PRODUCT_LAG, PRODUCT_VARIANCE_FLOOR, SecondOrderPool, VARIANCE_FLOOR,
    triangles,
};

use super::architecture::{Architecture, Body};
use super::front::Normalised;

/// A network that is being trained, or runs.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few networks in a run, never many")]
pub enum Network {
    /// Convolutions.
    Cnn(Cnn),
    /// Dense layers on statistics.
    Dense(Dense),
}

/// Numbers tensors from 1. The library draws their ids at random, and a checkpoint must find them again.
struct Numbered(u64);

impl ModuleMapper for Numbered {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        Param::initialized(ParamId::from(self.0), param.into_value())
    }
}

/// What a network's learnt layers see of a batch.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for a batch, never many")]
pub enum NetworkInput {
    /// The windows themselves.
    Windows(Normalised),
    /// Statistics `[batch, statistics]`.
    Statistics(Tensor<2>),
}

impl Network {
    /// Fresh weights for an architecture; the same from the same generator.
    pub fn new(architecture: &Architecture, rng: &mut StdRng, device: &Device) -> Self {
        let network = match &architecture.body {
            Body::Dense(shape) => Self::Dense(Dense::new(shape, architecture.labels, rng, device)),
            Body::Cnn(shape) => Self::Cnn(Cnn::new(shape, architecture, rng, device)),
        };
        network.map(&mut Numbered(0))
    }

    /// The part without learnt numbers, which is the same in every epoch.
    pub fn encode(&self, input: Normalised) -> NetworkInput {
        match self {
            Self::Cnn(_) => NetworkInput::Windows(input),
            Self::Dense(dense) => NetworkInput::Statistics(dense.statistics.measure(input)),
        }
    }

    /// Logits `[batch, labels]`.
    ///
    /// # Panics
    /// If `encoded` comes from another kind of network.
    pub fn forward(&self, encoded: NetworkInput, dropout: &mut Dropout) -> Tensor<2> {
        match (self, encoded) {
            (Self::Cnn(cnn), NetworkInput::Windows(input)) => cnn.forward(input, dropout),
            (Self::Dense(dense), NetworkInput::Statistics(values)) => dense.forward(values, dropout),
            _ => panic!("what a network sees comes from its own `encode`"),
        }
    }
}
