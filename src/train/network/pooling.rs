//! From a series of any length to one vector: attentive mean and deviation, and products of channels.
//!
//! In: maps `[batch, channels, frames, 1]`, 0 in missing frames, and their mask `[batch, 1, frames, 1]`. Out: `[batch, …]`.
//! Missing frames never count.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::{relu, softmax, tanh};
use burn::tensor::{Device, Tensor, TensorData, s};
use rand::rngs::StdRng;

use super::layers::{Convolution, Dropout, Linear};
use crate::train::architecture::CnnShape;

/// Keeps the deviation's gradient finite where a channel does not change over time.
pub const VARIANCE_FLOOR: f32 = 1e-5;
/// Keeps a silent channel from being blown up before its products are taken.
pub const PRODUCT_VARIANCE_FLOOR: f32 = 1e-3;
/// What is added to the attention of a missing frame.
pub const MISSING_SCORE: f32 = -1e9;
/// Frames between the two sides of a lagged product.
pub const PRODUCT_LAG: usize = 2;
/// Share of the products that training leaves out.
const PRODUCT_DROPOUT: f32 = 0.3;

/// Mean over the frames that are there: `[batch, channels, 1, 1]`.
pub(super) fn masked_mean(maps: Tensor<4>, mask: Tensor<4>) -> Tensor<4> {
    let count = mask.clone().sum_dim(2).clamp_min(1.0);
    (maps * mask).sum_dim(2) / count
}

/// Mean and deviation of each channel over time, weighted by an attention of its own (Okabe et al. 2018,
/// <https://arxiv.org/abs/1803.10963>; one attention a channel as in Desplanques et al. 2020,
/// <https://arxiv.org/abs/2005.07143>).
#[derive(Module, Debug)]
pub struct AttentivePool {
    /// Channels to hidden units; tanh behind it.
    pub hidden: Convolution,
    /// Back to channels; a softmax over time behind it.
    pub attention: Convolution,
    /// Of means and deviations, `2 * channels`.
    pub norm: BatchNorm,
}

impl AttentivePool {
    pub(super) fn new(shape: &CnnShape, rng: &mut StdRng, device: &Device) -> Self {
        Self {
            hidden: Convolution::pointwise([shape.width, shape.attention], rng, device),
            attention: Convolution::pointwise([shape.attention, shape.width], rng, device),
            norm: BatchNormConfig::new(2 * shape.width).init(device),
        }
    }

    pub(super) fn forward(&self, maps: Tensor<4>, mask: Tensor<4>) -> Tensor<2> {
        let scores = self.attention.forward(tanh(self.hidden.forward(maps.clone())));
        let missing = (mask - 1.0) * -MISSING_SCORE;
        let weights = softmax(scores + missing, 2);
        let mean = (maps.clone() * weights.clone()).sum_dim(2);
        let variance = ((maps - mean.clone()).square() * weights).sum_dim(2);
        let deviation = (variance + VARIANCE_FLOOR).sqrt();
        let [batch, channels, ..] = mean.dims();
        self.norm.forward(Tensor::cat(vec![mean, deviation], 1).reshape([batch, 2 * channels]))
    }
}

/// Products of channels: which go together in one frame, and which follow each other (after Lin et al. 2015,
/// <https://arxiv.org/abs/1504.07889>).
#[derive(Module, Debug)]
pub struct SecondOrderPool {
    /// To fewer channels.
    pub reduce: Convolution,
    /// Of the products.
    pub norm: BatchNorm,
    /// From products to fewer units.
    pub project: Linear,
    /// Of those units; ReLU behind it.
    pub project_norm: BatchNorm,
}

impl SecondOrderPool {
    pub(super) fn new(shape: &CnnShape, rng: &mut StdRng, device: &Device) -> Self {
        let products = shape.second_order * shape.second_order;
        Self {
            reduce: Convolution::pointwise([shape.width, shape.second_order], rng, device),
            norm: BatchNormConfig::new(products).init(device),
            project: Linear::new(products, shape.projection, rng, device),
            project_norm: BatchNormConfig::new(shape.projection).init(device),
        }
    }

    pub(super) fn forward(&self, maps: Tensor<4>, mask: Tensor<4>, dropout: &mut Dropout) -> Tensor<2> {
        let products = self.products(self.reduce.forward(maps), mask);
        let products = dropout.apply(self.norm.forward(products), PRODUCT_DROPOUT);
        relu(self.project_norm.forward(self.project.forward(products)))
    }

    /// `[batch, channels²]`: row `i`, column `j` is the mean over time of `i` times `j` where `i < j`, and elsewhere of
    /// `i` [`PRODUCT_LAG`] frames later times `j`; channels standardised within the window.
    fn products(&self, maps: Tensor<4>, mask: Tensor<4>) -> Tensor<2> {
        let [batch, channels, frames, _] = maps.dims();
        let count = mask.clone().sum_dim(2).clamp_min(1.0);
        let centred = (maps.clone() - masked_mean(maps, mask.clone())) * mask;
        let variance = centred.clone().square().sum_dim(2) / count.clone();
        let series: Tensor<3> = (centred / (variance + PRODUCT_VARIANCE_FLOOR).sqrt()).squeeze_dim(3);
        let count = count.squeeze_dim::<3>(3);
        let at_once = series.clone().matmul(series.clone().transpose()) / count.clone();
        let later = series.clone().slice(s![.., .., PRODUCT_LAG.min(frames)..]);
        let earlier = series.slice(s![.., .., ..frames.saturating_sub(PRODUCT_LAG)]);
        let lagged = later.matmul(earlier.transpose()) / count;
        let (upper, rest) = triangles(channels);
        let device = at_once.device();
        let choice =
            |mask: Vec<f32>| Tensor::<3>::from_data(TensorData::new(mask, [1, channels, channels]), &device);
        (at_once * choice(upper) + lagged * choice(rest)).reshape([batch, channels * channels])
    }
}

/// 1 above the diagonal, and 1 elsewhere: `[size, size]` each.
pub fn triangles(size: usize) -> (Vec<f32>, Vec<f32>) {
    let above = |at: usize| if at / size < at % size { 1.0 } else { 0.0 };
    ((0..size * size).map(above).collect(), (0..size * size).map(|at| 1.0 - above(at)).collect())
}
