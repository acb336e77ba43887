//! The head on a frozen encoder: attentive pooling of its frames where they are not pooled yet, an optional hidden layer
//! and an output layer.
//!
//! Input: standardized embeddings `[batch, width]`, or standardized frames `[batch, frames, width]` with their mask. Output:
//! logits `[batch, labels]`.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::rngs::StdRng;

use super::NetworkInput;
use super::dense::MAX_DEVIATIONS;
use super::layers::{Dropout, Linear};
use super::pooling::AttentivePool;
use crate::train::architecture::HeadShape;
use crate::train::front::Normalised;

/// The dropout rate of the pooled values.
const POOLED_DROPOUT: f32 = 0.2;
/// The dropout rate of the hidden units.
const HIDDEN_DROPOUT: f32 = 0.5;

/// The head on a frozen encoder.
#[derive(Module, Debug)]
pub struct Head {
    /// The pooling of frames; `None` where the encoder's graph pools them.
    pub attentive: Option<AttentivePool>,
    /// The hidden layer.
    pub hidden: Option<Hidden>,
    /// The output layer.
    pub last: Linear,
}

/// The hidden layer, with its batch normalization, followed by ReLU.
#[derive(Module, Debug)]
pub struct Hidden {
    /// The weights.
    pub dense: Linear,
    /// The batch normalization of the units.
    pub norm: BatchNorm,
}

impl Head {
    pub(super) fn new(shape: &HeadShape, labels: usize, rng: &mut StdRng, device: &Device) -> Self {
        let attentive = shape.attention.map(|units| AttentivePool::new([shape.width, units], rng, device));
        let hidden = (shape.hidden > 0).then(|| Hidden {
            dense: Linear::new(shape.pooled(), shape.hidden, rng, device),
            norm: BatchNormConfig::new(shape.hidden).init(device),
        });
        let inputs = if shape.hidden > 0 { shape.hidden } else { shape.pooled() };
        Self { attentive, hidden, last: Linear::new(inputs, labels, rng, device) }
    }

    /// Removes the axis of the single frame from embeddings; frames are returned unchanged.
    pub(super) fn encode(&self, input: Normalised) -> NetworkInput {
        match &self.attentive {
            Some(_) => NetworkInput::Windows(input),
            None => NetworkInput::Statistics(input.features.squeeze_dim(1)),
        }
    }

    pub(super) fn forward(&self, input: NetworkInput, dropout: &mut Dropout) -> Tensor<2> {
        let pooled = dropout.apply(self.pooled(input), POOLED_DROPOUT);
        match &self.hidden {
            None => self.last.forward(pooled),
            Some(hidden) => {
                let units = relu(hidden.norm.forward(hidden.dense.forward(pooled)));
                self.last.forward(dropout.apply(units, HIDDEN_DROPOUT))
            }
        }
    }

    fn pooled(&self, input: NetworkInput) -> Tensor<2> {
        match (&self.attentive, input) {
            (None, NetworkInput::Statistics(values)) => values.clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS),
            (Some(pool), NetworkInput::Windows(Normalised { features, mask })) => {
                let maps = |series: Tensor<3>| series.swap_dims(1, 2).unsqueeze_dim::<4>(3);
                pool.forward(maps(features), maps(mask))
            }
            _ => panic!("the input of a head comes from its own `encode`"),
        }
    }
}
