//! The convolutional network: 2-D convolutions over frames and bands, residual blocks over frames with channel attention,
//! attentive and second-order pooling, and one dense layer.
//!
//! Input: normalized mel bands `[batch, frames, bands]` and the mask. Output: logits `[batch, labels]`. After the
//! convolutions, feature maps are `[batch, channels, frames, 1]`.

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, s};
use rand::rngs::StdRng;

use super::layers::{Convolution, Dropout, Linear};
use super::pooling::{AttentivePool, SecondOrderPool, masked_mean};
use crate::train::architecture::{Architecture, CnnShape};
use crate::train::front::Normalised;

/// The dropout rate in residual blocks.
const RESIDUAL_DROPOUT: f32 = 0.1;
/// The dropout rate of the pooled values.
const POOLED_DROPOUT: f32 = 0.3;

/// The convolutional network.
#[derive(Module, Debug)]
pub struct Cnn {
    /// The convolutions over frames and bands, each followed by ReLU and mask.
    pub blocks: Vec<Convolution>,
    /// The convolution that folds the bands of a frame into its channels, followed by ReLU and mask.
    pub fold: Convolution,
    /// The residual blocks over frames.
    pub residuals: Vec<Residual>,
    /// The attentive statistics pooling.
    pub attentive: AttentivePool,
    /// The second-order pooling.
    pub second_order: SecondOrderPool,
    /// The output layer, from both poolings to labels.
    pub last: Linear,
}

impl Cnn {
    pub(super) fn new(
        shape: &CnnShape,
        architecture: &Architecture,
        rng: &mut StdRng,
        device: &Device,
    ) -> Self {
        let [_, bands] = shape.map_size([architecture.frames, architecture.bands]);
        Self {
            blocks: shape.blocks.iter().map(|block| Convolution::normalised(block, rng, device)).collect(),
            fold: Convolution::normalised(&shape.fold(bands), rng, device),
            residuals: (0..shape.residuals).map(|_| Residual::new(shape, rng, device)).collect(),
            attentive: AttentivePool::new([shape.width, shape.attention], rng, device),
            second_order: SecondOrderPool::new(shape, rng, device),
            last: Linear::new(shape.pooled(), architecture.labels, rng, device),
        }
    }

    pub(super) fn forward(&self, input: Normalised, dropout: &mut Dropout) -> Tensor<2> {
        let mut mask = input.mask.unsqueeze_dim::<4>(1);
        let mut maps = input.features.unsqueeze_dim::<4>(1);
        for block in &self.blocks {
            mask = mask.slice(s![.., .., 0..;block.stride[0] as isize, ..]);
            maps = relu(block.forward(maps)) * mask.clone();
        }
        maps = relu(self.fold.forward(maps)) * mask.clone();
        for residual in &self.residuals {
            maps = residual.forward(maps, mask.clone(), dropout);
        }
        let attentive = self.attentive.forward(maps.clone(), mask.clone());
        let second_order = self.second_order.forward(maps, mask, dropout);
        let pooled = dropout.apply(Tensor::cat(vec![attentive, second_order], 1), POOLED_DROPOUT);
        self.last.forward(pooled)
    }
}

/// A residual block: a convolution over frames, channel attention, and the skip connection.
///
/// The channel attention is squeeze-and-excitation (Hu et al. 2018, <https://arxiv.org/abs/1709.01507>), with the mean
/// over unmasked frames.
#[derive(Module, Debug)]
pub struct Residual {
    /// The convolution over frames, followed by ReLU.
    pub convolution: Convolution,
    /// The squeeze layer, followed by ReLU.
    pub squeeze: Convolution,
    /// The excitation layer, followed by a sigmoid.
    pub excite: Convolution,
}

impl Residual {
    fn new(shape: &CnnShape, rng: &mut StdRng, device: &Device) -> Self {
        Self {
            convolution: Convolution::normalised(&shape.residual(), rng, device),
            squeeze: Convolution::pointwise([shape.width, shape.squeeze], rng, device),
            excite: Convolution::pointwise([shape.squeeze, shape.width], rng, device),
        }
    }

    fn forward(&self, maps: Tensor<4>, mask: Tensor<4>, dropout: &mut Dropout) -> Tensor<4> {
        let change = relu(self.convolution.forward(maps.clone()));
        let level = masked_mean(change.clone(), mask.clone());
        let weight = sigmoid(self.excite.forward(relu(self.squeeze.forward(level))));
        (maps + dropout.apply(change * weight, RESIDUAL_DROPOUT)) * mask
    }
}
