//! The learnt part: convolutions over time and bands (or none, for the dense net), masked statistics over time,
//! dense layers.
//!
//! In: [`Normalised`] features. Out: logits `[batch, labels]`. What is missing in a window stays 0 behind every block
//! and never enters the statistics. Never knows the front end's units.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, s};
use rand::Rng;
use rand::rngs::StdRng;

use super::architecture::{Architecture, BlockShape};
use super::front::Normalised;

/// Keeps the deviation's gradient finite where a channel does not change over time.
pub const VARIANCE_FLOOR: f32 = 1e-5;

/// A network that is being trained, or runs.
#[derive(Module, Debug)]
pub struct Network {
    /// Convolutions; none in the dense net.
    pub blocks: Vec<Block>,
    /// Dense layers, ReLU between them.
    pub layers: Vec<Layer>,
}

/// Convolution, batch normalisation, ReLU, mask.
#[derive(Module, Debug)]
pub struct Block {
    /// `[channels out, channels in, frames, bands]`
    pub weight: Param<Tensor<4>>,
    /// Normalisation of each channel.
    pub norm: BatchNorm,
    /// Steps over frames and bands.
    pub stride: [usize; 2],
    /// Zeros put around frames and bands.
    pub padding: [usize; 2],
}

/// A dense layer.
#[derive(Module, Debug)]
pub struct Layer {
    /// `[inputs, outputs]`
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`
    pub bias: Param<Tensor<1>>,
}

impl Network {
    /// Fresh weights for an architecture; the same from the same generator.
    pub fn new(architecture: &Architecture, rng: &mut StdRng, device: &Device) -> Self {
        let blocks = architecture.blocks.iter().map(|shape| Block::new(shape, rng, device)).collect();
        let widths = architecture.layer_widths();
        let layers = widths.windows(2).map(|pair| Layer::new(pair[0], pair[1], rng, device)).collect();
        Self { blocks, layers }
    }

    /// Logits of a batch. `dropout` is `[batch, statistics]`: what each statistic is multiplied by.
    pub fn forward(&self, input: Normalised, dropout: Option<Tensor<2>>) -> Tensor<2> {
        let mut mask = input.mask.unsqueeze_dim::<4>(1);
        let mut maps = input.features.unsqueeze_dim::<4>(1);
        for block in &self.blocks {
            mask = mask.slice(s![.., .., 0..;block.stride[0] as isize, ..]);
            maps = block.forward(maps) * mask.clone();
        }
        let [batch, channels, frames, bands] = maps.dims();
        let series = maps.swap_dims(1, 2).reshape([batch, frames, channels * bands]);
        let mut values = statistics(series, mask.reshape([batch, frames, 1]));
        if let Some(dropout) = dropout {
            values = values * dropout;
        }
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(values, |values, (index, layer)| {
            let out = values.matmul(layer.weight.val()) + layer.bias.val().unsqueeze();
            if index == last { out } else { relu(out) }
        })
    }
}

/// Mean and standard deviation over the frames that are there: `[batch, 2 * channels]`.
fn statistics(series: Tensor<3>, mask: Tensor<3>) -> Tensor<2> {
    let count = mask.clone().sum_dim(1).clamp_min(1.0);
    let mean = series.clone().sum_dim(1) / count.clone();
    let centred = (series - mean.clone()) * mask;
    let deviation = (centred.square().sum_dim(1) / count + VARIANCE_FLOOR).sqrt();
    Tensor::cat(vec![mean, deviation], 2).squeeze_dim::<2>(1)
}

impl Block {
    fn new(shape: &BlockShape, rng: &mut StdRng, device: &Device) -> Self {
        let dims = [shape.channels_out, shape.channels_in, shape.kernel[0], shape.kernel[1]];
        Self {
            weight: uniform(dims, dims[1..].iter().product(), rng, device),
            norm: BatchNormConfig::new(shape.channels_out).init(device),
            stride: shape.stride,
            padding: shape.padding(),
        }
    }

    fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new(self.stride, self.padding, [1, 1], 1);
        relu(self.norm.forward(conv2d(maps, self.weight.val(), None, options)))
    }
}

impl Layer {
    fn new(inputs: usize, outputs: usize, rng: &mut StdRng, device: &Device) -> Self {
        let bias = Param::from_data(TensorData::new(vec![0.0_f32; outputs], [outputs]), device);
        Self { weight: uniform([inputs, outputs], inputs, rng, device), bias }
    }
}

/// He's uniform initialisation for ReLU (<https://arxiv.org/abs/1502.01852>), from our own generator: the library's is
/// one for the whole process, and tests that run side by side would disturb each other.
fn uniform<const D: usize>(
    dims: [usize; D],
    fan_in: usize,
    rng: &mut StdRng,
    device: &Device,
) -> Param<Tensor<D>> {
    let bound = (6.0 / fan_in as f32).sqrt();
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| rng.random_range(-bound..bound)).collect();
    Param::from_data(TensorData::new(values, dims), device)
}
