//! Layers: convolution, dense layer and dropout.
//!
//! Input: tensors with the batch as first axis. Output: tensors. Invariants: initial weights and dropout masks come from
//! the caller's random number generator. burn's own generator was rejected: it is global to the process, so concurrent
//! runs would not be reproducible.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::train::architecture::BlockShape;

/// A 2-D convolution over frames and bands, with or without batch normalization.
#[derive(Module, Debug)]
pub struct Convolution {
    /// The kernel, `[channels out, channels in, frames, bands]`.
    pub weight: Param<Tensor<4>>,
    /// The bias, `[channels out]`; none where batch normalization follows.
    pub bias: Option<Param<Tensor<1>>>,
    /// The batch normalization of each channel.
    pub norm: Option<BatchNorm>,
    /// The stride over frames and bands.
    pub stride: [usize; 2],
    /// The zero padding of frames and bands, on each side.
    pub padding: [usize; 2],
}

impl Convolution {
    /// Creates a convolution followed by batch normalization.
    pub fn normalised(shape: &BlockShape, rng: &mut StdRng, device: &Device) -> Self {
        let norm = Some(BatchNormConfig::new(shape.channels_out).init(device));
        Self { bias: None, norm, ..Self::plain(shape, rng, device) }
    }

    /// Creates a 1 × 1 convolution with a bias.
    pub fn pointwise(channels: [usize; 2], rng: &mut StdRng, device: &Device) -> Self {
        Self::plain(&BlockShape::centred(channels, [1, 1], [1, 1]), rng, device)
    }

    fn plain(shape: &BlockShape, rng: &mut StdRng, device: &Device) -> Self {
        let dims = [shape.channels_out, shape.channels_in, shape.kernel[0], shape.kernel[1]];
        Self {
            weight: uniform(dims, dims[1..].iter().product(), rng, device),
            bias: Some(zeros(shape.channels_out, device)),
            norm: None,
            stride: shape.stride,
            padding: shape.padding,
        }
    }

    /// Maps `[batch, channels in, frames, bands]` to `[batch, channels out, …]`.
    pub fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new(self.stride, self.padding, [1, 1], 1);
        let bias = self.bias.as_ref().map(Param::val);
        let out = conv2d(maps, self.weight.val(), bias, options);
        self.norm.iter().fold(out, |out, norm| norm.forward(out))
    }
}

/// A dense layer.
#[derive(Module, Debug)]
pub struct Linear {
    /// The weights, `[inputs, outputs]`.
    pub weight: Param<Tensor<2>>,
    /// The bias, `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Creates a layer with initial weights.
    pub fn new(inputs: usize, outputs: usize, rng: &mut StdRng, device: &Device) -> Self {
        Self { weight: uniform([inputs, outputs], inputs, rng, device), bias: zeros(outputs, device) }
    }

    /// Maps `[batch, inputs]` to `[batch, outputs]`.
    pub fn forward(&self, values: Tensor<2>) -> Tensor<2> {
        values.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

/// Dropout (Srivastava et al. 2014, <https://jmlr.org/papers/v15/srivastava14a.html>).
#[derive(Debug)]
pub struct Dropout<'a> {
    rng: Option<&'a mut StdRng>,
    factor: f32,
}

impl<'a> Dropout<'a> {
    /// Creates dropout for training, with all rates multiplied by `factor`; each product must be below 1.
    pub fn training(rng: &'a mut StdRng, factor: f32) -> Self {
        Self { rng: Some(rng), factor }
    }

    /// Creates dropout for inference, which changes nothing.
    pub fn none() -> Self {
        Self { rng: None, factor: 0.0 }
    }

    /// Sets the share `share` of the values to 0 and scales the others by `1 / (1 - share)`, so that the expectation is
    /// unchanged.
    pub fn apply<const D: usize>(&mut self, values: Tensor<D>, share: f32) -> Tensor<D> {
        let Some(rng) = self.rng.as_deref_mut() else { return values };
        let share = share * self.factor;
        let (dims, device) = (values.dims(), values.device());
        let (threshold, kept) = ((f64::from(share) * 65_536.0) as u16, 1.0 / (1.0 - share));
        let draw = |_| if rng.random::<u16>() < threshold { 0.0 } else { kept };
        let factors: Vec<f32> = (0..dims.iter().product::<usize>()).map(draw).collect();
        values * Tensor::from_data(TensorData::new(factors, dims), &device)
    }
}

fn zeros(size: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new(vec![0.0_f32; size], [size]), device)
}

/// Creates weights that are uniform in ±1/√inputs (LeCun et al. 1998, "Efficient BackProp"). The wider He initialization
/// was rejected: batch normalization makes the scale of the weights irrelevant, and a step of a given size changes the
/// direction of small weights more.
fn uniform<const D: usize>(
    dims: [usize; D],
    fan_in: usize,
    rng: &mut StdRng,
    device: &Device,
) -> Param<Tensor<D>> {
    let bound = 1.0 / (fan_in as f32).sqrt();
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| rng.random_range(-bound..bound)).collect();
    Param::from_data(TensorData::new(values, dims), device)
}
