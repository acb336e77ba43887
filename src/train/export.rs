//! A trained network as an ONNX file that says all about itself.
//!
//! In: [`Fitted`] and the contract. Out: a [`ModelProto`] whose input is `input` `[batch, frames, coefficients]` and whose
//! output is `probabilities` `[batch, labels]`. Batch normalisation is folded into the convolutions, the temperature
//! into the last layer. Never trains; the equality with the trainer's own forward pass is under test.

use burn::tensor::Tensor;

use super::fit::Fitted;
use super::front::Front;
use super::graph::{Graph, Port, int, ints};
use super::network::{Block, Layer, Network, VARIANCE_FLOOR};
use super::onnx::{FLOAT, ModelProto};
use crate::model::{Contract, METADATA_KEY};

/// Name of the graph's input.
const INPUT: &str = "input";
/// Name of the graph's output.
const OUTPUT: &str = "probabilities";

/// Writes the whole computation down, from features to probabilities.
///
/// # Errors
/// A contract that is no JSON, which none of ours is.
pub fn export(fitted: &Fitted, frames: usize, contract: &Contract) -> anyhow::Result<ModelProto> {
    let mut graph = Graph::default();
    let (features, mask) = front(&mut graph, &fitted.front);
    let statistics = pooled(&mut graph, &fitted.network, (features, mask), (frames, fitted.front.bands));
    let last = layers(&mut graph, &fitted.network.layers, statistics, fitted.temperature);
    let probabilities = graph.op_with("Softmax", &[&last], vec![int("axis", 1)]);
    let input = Port { name: INPUT, sizes: vec![frames, fitted.front.coefficients] };
    let output = Port { name: OUTPUT, sizes: vec![contract.labels.len()] };
    let json = serde_json::to_string(contract)?;
    Ok(graph.finish(&probabilities, input, output, (METADATA_KEY, json)))
}

/// Mask, level removal, rotation, normalisation: `[batch, frames, bands]` and the mask `[batch, frames, 1]`.
fn front(graph: &mut Graph, front: &Front) -> (String, String) {
    let (width, bands) = (front.coefficients, front.bands);
    let magnitude = graph.op("Abs", &[INPUT]);
    let settings = vec![ints("axes", &[2]), int("keepdims", 1)];
    let peak = graph.op_with("ReduceMax", &[&magnitude], settings);
    let zero = graph.floats("zero", &[], &[0.0]);
    let present = graph.op("Greater", &[&peak, &zero]);
    let mask = graph.op_with("Cast", &[&present], vec![int("to", i64::from(FLOAT))]);
    let mean_frame = masked_mean(graph, INPUT, &mask);
    let projection = graph.floats("level", &[width, width], &front.level);
    let level = graph.op("MatMul", &[&mean_frame, &projection]);
    let without_level = graph.op("Sub", &[INPUT, &level]);
    let mean = graph.floats("mean", &[width], &front.mean);
    let centred = graph.op("Sub", &[&without_level, &mean]);
    let rotation = graph.floats("rotation", &[width, bands], &front.rotation);
    let rotated = graph.op("MatMul", &[&centred, &rotation]);
    (graph.op("Mul", &[&rotated, &mask]), mask)
}

/// Sum over the frames (rows of 0 where none is) by the number of frames that are there.
fn masked_mean(graph: &mut Graph, series: &str, mask: &str) -> String {
    let frames_axis = graph.ints("frames_axis", &[1]);
    let one = graph.floats("one", &[], &[1.0]);
    let present = graph.op("ReduceSum", &[mask, &frames_axis]);
    let count = graph.op("Max", &[&present, &one]);
    let sum = graph.op("ReduceSum", &[series, &frames_axis]);
    graph.op("Div", &[&sum, &count])
}

/// Convolutions, where there are any, and statistics over time: `[batch, statistics]`.
fn pooled(
    graph: &mut Graph,
    network: &Network,
    (features, mask): (String, String),
    (frames, bands): (usize, usize),
) -> String {
    if network.blocks.is_empty() {
        return statistics(graph, &features, &mask);
    }
    let channel_axis = graph.ints("channel_axis", &[1]);
    let mut maps = graph.op("Unsqueeze", &[&features, &channel_axis]);
    let mut mask = graph.op("Unsqueeze", &[&mask, &channel_axis]);
    let mut size = [frames, bands];
    for block in &network.blocks {
        mask = every_nth_frame(graph, &mask, block.stride[0]);
        maps = convolution(graph, block, &maps, &mask);
        size = [size[0].div_ceil(block.stride[0]), size[1].div_ceil(block.stride[1])];
    }
    let channels = network.blocks.last().map_or(1, |block| block.weight.dims()[0]);
    let by_frame = graph.op_with("Transpose", &[&maps], vec![ints("perm", &[0, 2, 1, 3])]);
    let shape = graph.ints("series_shape", &[0, size[0] as i64, (channels * size[1]) as i64]);
    let series = graph.op("Reshape", &[&by_frame, &shape]);
    let mask = graph.op("Squeeze", &[&mask, &channel_axis]);
    statistics(graph, &series, &mask)
}

fn every_nth_frame(graph: &mut Graph, mask: &str, step: usize) -> String {
    let start = graph.ints("start", &[0]);
    let end = graph.ints("end", &[i64::MAX]);
    let axis = graph.ints("axis", &[2]);
    let step = graph.ints("step", &[step as i64]);
    graph.op("Slice", &[mask, &start, &end, &axis, &step])
}

/// A block with its batch normalisation folded in: `w·γ/√(σ²+ε)` and `β − μ·γ/√(σ²+ε)`.
fn convolution(graph: &mut Graph, block: &Block, maps: &str, mask: &str) -> String {
    let dims = block.weight.dims();
    let (gamma, beta) = (values(block.norm.gamma.val()), values(block.norm.beta.val()));
    let (mean, variance) = (values(block.norm.running_mean.value()), values(block.norm.running_var.value()));
    let epsilon = block.norm.epsilon as f32;
    let scale: Vec<f32> =
        gamma.iter().zip(&variance).map(|(it, variance)| it / (variance + epsilon).sqrt()).collect();
    let bias: Vec<f32> = (0..dims[0]).map(|channel| beta[channel] - mean[channel] * scale[channel]).collect();
    let per_channel = dims[1..].iter().product::<usize>();
    let weights = values(block.weight.val());
    let weights: Vec<f32> = weights.iter().enumerate().map(|(at, it)| it * scale[at / per_channel]).collect();
    let weights = graph.floats("weight", &dims, &weights);
    let bias = graph.floats("bias", &[dims[0]], &bias);
    let [rows, columns] = block.padding;
    let settings = vec![
        ints("kernel_shape", &dims[2..]),
        ints("strides", &block.stride),
        ints("pads", &[rows, columns, rows, columns]),
    ];
    let convolved = graph.op_with("Conv", &[maps, &weights, &bias], settings);
    let rectified = graph.op("Relu", &[&convolved]);
    graph.op("Mul", &[&rectified, mask])
}

/// Mean and standard deviation over the frames that are there.
fn statistics(graph: &mut Graph, series: &str, mask: &str) -> String {
    let mean = masked_mean(graph, series, mask);
    let centred = graph.op("Sub", &[series, &mean]);
    let centred = graph.op("Mul", &[&centred, mask]);
    let squares = graph.op("Mul", &[&centred, &centred]);
    let variance = masked_mean(graph, &squares, mask);
    let floor = graph.floats("variance_floor", &[], &[VARIANCE_FLOOR]);
    let raised = graph.op("Add", &[&variance, &floor]);
    let deviation = graph.op("Sqrt", &[&raised]);
    let both = graph.op_with("Concat", &[&mean, &deviation], vec![int("axis", 2)]);
    let frames_axis = graph.ints("frames_axis", &[1]);
    graph.op("Squeeze", &[&both, &frames_axis])
}

/// Dense layers with ReLU between them; the last one's output is divided by the temperature.
fn layers(graph: &mut Graph, layers: &[Layer], input: String, temperature: f64) -> String {
    let last = layers.len() - 1;
    layers.iter().enumerate().fold(input, |value, (index, layer)| {
        let divisor = if index == last { temperature as f32 } else { 1.0 };
        let scaled = |tensor: Vec<f32>| tensor.iter().map(|it| it / divisor).collect::<Vec<_>>();
        let weights = scaled(values(layer.weight.val()));
        let bias = scaled(values(layer.bias.val()));
        let dims = layer.weight.dims();
        let weights = graph.floats("weight", &dims, &weights);
        let bias = graph.floats("bias", &[dims[1]], &bias);
        let out = graph.op("Gemm", &[&value, &weights, &bias]);
        if index == last { out } else { graph.op("Relu", &[&out]) }
    })
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("flex keeps f32 in memory")
}
