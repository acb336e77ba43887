//! The convolutional network as ONNX nodes, in the order of its forward pass (`network::cnn`).

use super::layers::{Affine, Dense, convolution, light_convolution};
use super::{Series, frame_count, mean_over};
use crate::train::graph::{Graph, int, ints};
use crate::train::network::{
    AttentivePool, Cnn, MISSING_SCORE, PRODUCT_LAG, PRODUCT_VARIANCE_FLOOR, Residual, SecondOrderPool,
    VARIANCE_FLOOR, triangles,
};

/// The names of feature maps `[batch, channels, frames, 1]`, their mask `[batch, 1, frames, 1]` and the number of unmasked
/// frames.
pub(super) struct Maps {
    pub(super) values: String,
    pub(super) mask: String,
    pub(super) count: String,
}

/// Adds the network and returns the logits divided by the temperature, `[batch, labels]`.
pub(super) fn logits(graph: &mut Graph, network: &Cnn, input: Series, temperature: f64) -> String {
    let maps = convolved(graph, network, input);
    let maps = network.residuals.iter().fold(maps, |maps, it| residual(graph, it, maps));
    let attentive = attentive(graph, &network.attentive, &maps);
    let second_order = second_order(graph, &network.second_order, &maps);
    let pooled = graph.op_with("Concat", &[&attentive, &second_order], vec![int("axis", 1)]);
    let norm = Affine::of(&network.attentive.norm);
    Dense::of(&network.last).after(&norm).divided_by(temperature).write(graph, &pooled)
}

fn convolved(graph: &mut Graph, network: &Cnn, input: Series) -> Maps {
    let channel_axis = graph.ints("channel_axis", &[1]);
    let mut values = graph.op("Unsqueeze", &[&input.values, &channel_axis]);
    let mut mask = graph.op("Unsqueeze", &[&input.mask, &channel_axis]);
    for block in &network.blocks {
        mask = every_nth_frame(graph, &mask, block.stride[0]);
        let out = convolution(graph, block, &values);
        let rectified = graph.op("Relu", &[&out]);
        values = graph.op("Mul", &[&rectified, &mask]);
    }
    let folded = convolution(graph, &network.fold, &values);
    let rectified = graph.op("Relu", &[&folded]);
    let values = graph.op("Mul", &[&rectified, &mask]);
    let count = frame_count(graph, &mask, 2);
    Maps { values, mask, count }
}

fn every_nth_frame(graph: &mut Graph, mask: &str, step: usize) -> String {
    if step == 1 {
        return mask.to_owned();
    }
    slice(graph, mask, [0, i64::MAX, step as i64])
}

/// Keeps the frames `start..end` with a stride.
fn slice(graph: &mut Graph, maps: &str, [start, end, step]: [i64; 3]) -> String {
    let start = graph.ints("start", &[start]);
    let end = graph.ints("end", &[end]);
    let axis = graph.ints("axis", &[2]);
    let step = graph.ints("step", &[step]);
    graph.op("Slice", &[maps, &start, &end, &axis, &step])
}

fn residual(graph: &mut Graph, block: &Residual, maps: Maps) -> Maps {
    let out = convolution(graph, &block.convolution, &maps.values);
    let change = graph.op("Relu", &[&out]);
    let present = graph.op("Mul", &[&change, &maps.mask]);
    let level = mean_over(graph, &present, &maps.count, 2);
    let squeezed = light_convolution(graph, &block.squeeze, &level);
    let squeezed = graph.op("Relu", &[&squeezed]);
    let excited = light_convolution(graph, &block.excite, &squeezed);
    let weight = graph.op("Sigmoid", &[&excited]);
    let weighted = graph.op("Mul", &[&present, &weight]);
    Maps { values: graph.op("Add", &[&maps.values, &weighted]), ..maps }
}

/// Returns means and standard deviations, `[batch, 2 * channels]`, before their batch normalization, which is folded into
/// the output layer.
pub(super) fn attentive(graph: &mut Graph, pool: &AttentivePool, maps: &Maps) -> String {
    let hidden = light_convolution(graph, &pool.hidden, &maps.values);
    let hidden = graph.op("Tanh", &[&hidden]);
    let scores = light_convolution(graph, &pool.attention, &hidden);
    let one = graph.floats("one", &[], &[1.0]);
    let absent = graph.op("Sub", &[&maps.mask, &one]);
    let far = graph.floats("missing", &[], &[-MISSING_SCORE]);
    let missing = graph.op("Mul", &[&absent, &far]);
    let scores = graph.op("Add", &[&scores, &missing]);
    let weights = graph.op_with("Softmax", &[&scores], vec![int("axis", 2)]);
    let mean = weighted_sum(graph, &maps.values, &weights);
    let centred = graph.op("Sub", &[&maps.values, &mean]);
    let squares = graph.op("Mul", &[&centred, &centred]);
    let variance = weighted_sum(graph, &squares, &weights);
    let deviation = root(graph, &variance, VARIANCE_FLOOR);
    let both = graph.op_with("Concat", &[&mean, &deviation], vec![int("axis", 1)]);
    graph.op_with("Flatten", &[&both], vec![int("axis", 1)])
}

fn weighted_sum(graph: &mut Graph, values: &str, weights: &str) -> String {
    let product = graph.op("Mul", &[values, weights]);
    let axis = graph.ints("frames_axis", &[2]);
    graph.op("ReduceSum", &[&product, &axis])
}

fn root(graph: &mut Graph, variance: &str, floor: f32) -> String {
    let floor = graph.floats("variance_floor", &[], &[floor]);
    let raised = graph.op("Add", &[variance, &floor]);
    graph.op("Sqrt", &[&raised])
}

/// Returns the projected products, `[batch, projection]`.
fn second_order(graph: &mut Graph, pool: &SecondOrderPool, maps: &Maps) -> String {
    let products = products(graph, pool, maps);
    let (norm, project_norm) = (Affine::of(&pool.norm), Affine::of(&pool.project_norm));
    let projected = Dense::of(&pool.project).after(&norm).before(&project_norm).write(graph, &products);
    graph.op("Relu", &[&projected])
}

fn products(graph: &mut Graph, pool: &SecondOrderPool, maps: &Maps) -> String {
    let channels = pool.reduce.weight.dims()[0];
    let reduced = light_convolution(graph, &pool.reduce, &maps.values);
    let present = graph.op("Mul", &[&reduced, &maps.mask]);
    let mean = mean_over(graph, &present, &maps.count, 2);
    let centred = graph.op("Sub", &[&reduced, &mean]);
    let centred = graph.op("Mul", &[&centred, &maps.mask]);
    let squares = graph.op("Mul", &[&centred, &centred]);
    let variance = mean_over(graph, &squares, &maps.count, 2);
    let deviation = root(graph, &variance, PRODUCT_VARIANCE_FLOOR);
    let standard = graph.op("Div", &[&centred, &deviation]);
    let last_axis = graph.ints("last_axis", &[3]);
    let series = graph.op("Squeeze", &[&standard, &last_axis]);
    let count = graph.op("Squeeze", &[&maps.count, &last_axis]);
    let lag = PRODUCT_LAG as i64;
    let later = slice(graph, &series, [lag, i64::MAX, 1]);
    let earlier = slice(graph, &series, [0, -lag, 1]);
    let (upper, rest) = triangles(channels);
    let at_once = chosen_products(graph, &series, &series, &upper);
    let lagged = chosen_products(graph, &later, &earlier, &rest);
    let sum = graph.op("Add", &[&at_once, &lagged]);
    let mean = graph.op("Div", &[&sum, &count]);
    graph.op_with("Flatten", &[&mean], vec![int("axis", 1)])
}

/// Returns the products of two series `[batch, channels, frames]`, summed over the frames and masked by `choice`.
fn chosen_products(graph: &mut Graph, left: &str, right: &str, choice: &[f32]) -> String {
    let channels = choice.len().isqrt();
    let turned = graph.op_with("Transpose", &[right], vec![ints("perm", &[0, 2, 1])]);
    let all = graph.op("MatMul", &[left, &turned]);
    let choice = graph.floats("choice", &[channels, channels], choice);
    graph.op("Mul", &[&all, &choice])
}
