//! The networks: a [`Cnn`] over frames and bands, a [`Dense`] net on statistics, or a [`Head`] on a frozen encoder.
//!
//! Input: [`Normalised`] features. Output: logits `[batch, labels]`. Invariants: padding frames are masked and do not change
//! the logits.

mod cnn;
mod dense;
mod head;
mod layers;
mod pooling;
pub mod statistics;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor};
use rand::rngs::StdRng;

pub use cnn::{Cnn, Residual};
pub use dense::{Dense, MAX_DEVIATIONS};
pub use head::{Head, Hidden};
pub use layers::{Convolution, Dropout, Linear};
pub use pooling::{
    AttentivePool, MISSING_SCORE, PRODUCT_LAG, PRODUCT_VARIANCE_FLOOR, SecondOrderPool, VARIANCE_FLOOR,
    triangles,
};

use super::architecture::{Architecture, Body};
use super::front::Normalised;

/// A network, for training or inference.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few networks in a run, never many")]
pub enum Network {
    /// The convolutional network.
    Cnn(Cnn),
    /// The dense network on statistics.
    Dense(Dense),
    /// The head on a frozen encoder.
    Head(Head),
}

/// Assigns the parameter ids 1, 2, 3 and so on. burn draws random ids, and a checkpoint stores the optimizer's moments by
/// id.
struct Numbered(u64);

impl ModuleMapper for Numbered {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        Param::initialized(ParamId::from(self.0), param.into_value())
    }
}

/// The input of the learnt layers for one batch.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for a batch, never many")]
pub enum NetworkInput {
    /// The normalized features, for the CNN and for a head that pools frames.
    Windows(Normalised),
    /// The statistics `[batch, width]` for the dense net, or the embeddings for a head.
    Statistics(Tensor<2>),
}

impl Network {
    /// Creates a network with initial weights; the same generator state gives the same weights.
    pub fn new(architecture: &Architecture, rng: &mut StdRng, device: &Device) -> Self {
        let network = match &architecture.body {
            Body::Dense(shape) => Self::Dense(Dense::new(shape, architecture.labels, rng, device)),
            Body::Cnn(shape) => Self::Cnn(Cnn::new(shape, architecture, rng, device)),
            Body::Head(shape) => Self::Head(Head::new(shape, architecture.labels, rng, device)),
        };
        network.map(&mut Numbered(0))
    }

    /// Computes the part of the network without learnt parameters, whose result is the same in every epoch.
    pub fn encode(&self, input: Normalised) -> NetworkInput {
        match self {
            Self::Cnn(_) => NetworkInput::Windows(input),
            Self::Dense(dense) => NetworkInput::Statistics(dense.statistics.measure(input)),
            Self::Head(head) => head.encode(input),
        }
    }

    /// Returns the logits, `[batch, labels]`.
    ///
    /// # Panics
    /// Panics where `encoded` comes from another architecture.
    pub fn forward(&self, encoded: NetworkInput, dropout: &mut Dropout) -> Tensor<2> {
        match (self, encoded) {
            (Self::Cnn(cnn), NetworkInput::Windows(input)) => cnn.forward(input, dropout),
            (Self::Dense(dense), NetworkInput::Statistics(values)) => dense.forward(values, dropout),
            (Self::Head(head), input) => head.forward(input, dropout),
            _ => panic!("the input of a network comes from its own `encode`"),
        }
    }
}
