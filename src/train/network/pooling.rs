//! Pooling over time: attentive statistics and second-order pooling.
//!
//! Input: feature maps `[batch, channels, frames, 1]`, which are 0 in padding frames, and their mask
//! `[batch, 1, frames, 1]`. Output: `[batch, …]`. Invariants: padding frames do not contribute.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::{relu, softmax, tanh};
use burn::tensor::{Device, Tensor, TensorData, s};
use rand::rngs::StdRng;

use super::layers::{Convolution, Dropout, Linear};
use crate::train::architecture::CnnShape;

/// Added to the variance, so that the gradient of the standard deviation is finite for a constant channel.
pub const VARIANCE_FLOOR: f32 = 1e-5;
/// Added to the variance before second-order pooling, so that a nearly constant channel is not amplified.
pub const PRODUCT_VARIANCE_FLOOR: f32 = 1e-3;
/// Added to the attention score of a padding frame, whose softmax weight becomes 0.
pub const MISSING_SCORE: f32 = -1e9;
/// The lag of lagged products, in frames.
pub const PRODUCT_LAG: usize = 2;
/// The dropout rate of the products.
const PRODUCT_DROPOUT: f32 = 0.3;

/// Returns the mean over unmasked frames, `[batch, channels, 1, 1]`.
pub(super) fn masked_mean(maps: Tensor<4>, mask: Tensor<4>) -> Tensor<4> {
    let count = mask.clone().sum_dim(2).clamp_min(1.0);
    (maps * mask).sum_dim(2) / count
}

/// Attentive statistics pooling: attention-weighted mean and standard deviation of each channel over time (Okabe et al.
/// 2018, <https://arxiv.org/abs/1803.10963>), with one attention per channel (Desplanques et al. 2020,
/// <https://arxiv.org/abs/2005.07143>).
#[derive(Module, Debug)]
pub struct AttentivePool {
    /// The hidden layer of the attention, followed by tanh.
    pub hidden: Convolution,
    /// The output layer of the attention, followed by a softmax over time.
    pub attention: Convolution,
    /// The batch normalization of means and standard deviations, `2 * channels`.
    pub norm: BatchNorm,
}

impl AttentivePool {
    /// Creates the pooling of `width` channels, with `attention` hidden units.
    pub(super) fn new([width, attention]: [usize; 2], rng: &mut StdRng, device: &Device) -> Self {
        Self {
            hidden: Convolution::pointwise([width, attention], rng, device),
            attention: Convolution::pointwise([attention, width], rng, device),
            norm: BatchNormConfig::new(2 * width).init(device),
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

/// Second-order pooling: the mean products of pairs of channels, in the same frame and with a lag (after bilinear pooling,
/// Lin et al. 2015, <https://arxiv.org/abs/1504.07889>).
#[derive(Module, Debug)]
pub struct SecondOrderPool {
    /// The reduction to fewer channels.
    pub reduce: Convolution,
    /// The batch normalization of the products.
    pub norm: BatchNorm,
    /// The projection of the products.
    pub project: Linear,
    /// The batch normalization of the projection, followed by ReLU.
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

    /// Returns the products, `[batch, channels²]`, of channels that are standardized within the window.
    ///
    /// Row `i`, column `j` is the mean over time of `x_i(t) · x_j(t)` where `i < j`, and of `x_i(t + lag) · x_j(t)` elsewhere.
    /// The products in the same frame are symmetric, so the other half of the matrix is free for the lagged ones.
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

/// Returns the mask of the elements above the diagonal and the mask of all others, `[size, size]` each.
pub fn triangles(size: usize) -> (Vec<f32>, Vec<f32>) {
    let above = |at: usize| if at / size < at % size { 1.0 } else { 0.0 };
    ((0..size * size).map(above).collect(), (0..size * size).map(|at| 1.0 - above(at)).collect())
}
