//! Layers as ONNX nodes, with adjacent batch normalizations folded into their weights.
//!
//! Input: layers without gradients. Output: nodes and constants. At inference, batch normalization (Ioffe and Szegedy
//! 2015, <https://arxiv.org/abs/1502.03167>) is `x·s + t` per channel, with `s = γ/√(σ²+ε)` and `t = β − μ·s`.

use burn::module::Param;
use burn::nn::BatchNorm;
use burn::tensor::Tensor;

use crate::train::graph::{Graph, ints};
use crate::train::network::{Convolution, Linear};

/// A batch normalization at inference: `x · scale + offset`.
pub(super) struct Affine {
    pub(super) scale: Vec<f32>,
    pub(super) offset: Vec<f32>,
}

impl Affine {
    pub(super) fn of(norm: &BatchNorm) -> Self {
        let (gamma, beta) = (values(norm.gamma.val()), values(norm.beta.val()));
        let (mean, variance) = (values(norm.running_mean.value()), values(norm.running_var.value()));
        let epsilon = norm.epsilon as f32;
        let scale: Vec<f32> =
            gamma.iter().zip(&variance).map(|(it, variance)| it / (variance + epsilon).sqrt()).collect();
        let offset = (0..scale.len()).map(|at| beta[at] - mean[at] * scale[at]).collect();
        Self { scale, offset }
    }
}

/// The weights of a dense layer, into which other operations can be folded.
pub(super) struct Dense {
    /// The weights, `[inputs, outputs]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    pub(super) fn of(layer: &Linear) -> Self {
        Self { weight: values(layer.weight.val()), bias: values(layer.bias.val()) }
    }

    /// Folds in a batch normalization of the first inputs.
    pub(super) fn after(mut self, norm: &Affine) -> Self {
        let outputs = self.bias.len();
        for (input, row) in self.weight.chunks_exact_mut(outputs).take(norm.scale.len()).enumerate() {
            for (weight, bias) in row.iter_mut().zip(&mut self.bias) {
                *bias += *weight * norm.offset[input];
                *weight *= norm.scale[input];
            }
        }
        self
    }

    /// Folds in a batch normalization of the outputs.
    pub(super) fn before(self, norm: &Affine) -> Self {
        let outputs = self.bias.len();
        let scaled = |values: &[f32]| -> Vec<f32> {
            values.iter().enumerate().map(|(at, it)| it * norm.scale[at % outputs]).collect()
        };
        let bias = scaled(&self.bias).iter().zip(&norm.offset).map(|(bias, offset)| bias + offset).collect();
        Self { weight: scaled(&self.weight), bias }
    }

    /// Folds in the division of the outputs by the temperature.
    pub(super) fn divided_by(self, temperature: f64) -> Self {
        let outputs = self.bias.len();
        let norm = Affine { scale: vec![1.0 / temperature as f32; outputs], offset: vec![0.0; outputs] };
        self.before(&norm)
    }

    /// Adds the layer as a `Gemm` node and returns the name of its output.
    pub(super) fn write(self, graph: &mut Graph, input: &str) -> String {
        let outputs = self.bias.len();
        let weight = graph.floats("weight", &[self.weight.len() / outputs, outputs], &self.weight);
        let bias = graph.floats("bias", &[outputs], &self.bias);
        graph.op("Gemm", &[input, &weight, &bias])
    }
}

/// Adds a convolution, with its batch normalization folded in.
pub(super) fn convolution(graph: &mut Graph, layer: &Convolution, maps: &str) -> String {
    named_convolution(graph, layer, maps, "weight")
}

/// Adds a convolution whose cost is negligible. Its weights are called `light`, and quantization skips them.
pub(super) fn light_convolution(graph: &mut Graph, layer: &Convolution, maps: &str) -> String {
    named_convolution(graph, layer, maps, "light")
}

fn named_convolution(graph: &mut Graph, layer: &Convolution, maps: &str, name: &str) -> String {
    let dims = layer.weight.dims();
    let mut weight = values(layer.weight.val());
    let mut bias = layer.bias.as_ref().map(Param::val).map_or(vec![0.0; dims[0]], values);
    if let Some(norm) = layer.norm.as_ref().map(Affine::of) {
        let per_channel = weight.len() / dims[0];
        weight.iter_mut().enumerate().for_each(|(at, it)| *it *= norm.scale[at / per_channel]);
        for (channel, bias) in bias.iter_mut().enumerate() {
            *bias = *bias * norm.scale[channel] + norm.offset[channel];
        }
    }
    let weight = graph.floats(name, &dims, &weight);
    let bias = graph.floats("bias", &[dims[0]], &bias);
    let [frames, bands] = layer.padding;
    let settings = vec![
        ints("kernel_shape", &dims[2..]),
        ints("strides", &layer.stride),
        ints("pads", &[frames, bands, frames, bands]),
    ];
    graph.op_with("Conv", &[maps, &weight, &bias], settings)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("flex keeps f32 in memory")
}
