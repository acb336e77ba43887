//! The convolutional network: convolutions over frames and bands, residual blocks over frames with channel attention,
//! attentive and second-order pooling, one dense layer.
//!
//! In: normalised mel bands and the mask. Out: logits. Behind the convolutions all maps are
//! `[batch, channels, frames, 1]`.

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, s};
use rand::rngs::StdRng;

use super::layers::{Convolution, Dropout, Linear};
use super::pooling::{AttentivePool, SecondOrderPool, masked_mean};
use crate::train::architecture::{Architecture, CnnShape};
use crate::train::front::Normalised;

/// Share of a residual block's values that training leaves out.
const RESIDUAL_DROPOUT: f32 = 0.1;
/// Share of the pooled values that training leaves out.
const POOLED_DROPOUT: f32 = 0.3;

/// Convolutions and poolings.
#[derive(Module, Debug)]
pub struct Cnn {
    /// Over frames and bands; ReLU and mask behind each.
    pub blocks: Vec<Convolution>,
    /// Folds the bands of a frame into its channels.
    pub fold: Convolution,
    /// Over frames.
    pub residuals: Vec<Residual>,
    /// Where to listen.
    pub attentive: AttentivePool,
    /// Which channels go together.
    pub second_order: SecondOrderPool,
    /// From both poolings to labels.
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
            attentive: AttentivePool::new(shape, rng, device),
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

/// A convolution over frames whose result is weighted by channel attention and added to what came in.
///
/// Squeeze and excitation: Hu et al. 2018, <https://arxiv.org/abs/1709.01507>, over the frames that are there.
#[derive(Module, Debug)]
pub struct Residual {
    /// Over frames; ReLU behind it.
    pub convolution: Convolution,
    /// Channels to fewer units; ReLU behind it.
    pub squeeze: Convolution,
    /// Back to channels; a sigmoid behind it.
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
