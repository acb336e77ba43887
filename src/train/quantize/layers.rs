//! The selection of layers to quantize.
//!
//! Input: the graph and the options. Output: a [`Layer`] for each `Conv`, `Gemm` or `MatMul` with constant weights that
//! runs faster in integers.

use super::QuantizeOptions;
use crate::train::onnx::{FLOAT, GraphProto, NodeProto, TensorProto};

/// The minimum number of input channels of a quantized convolution. With fewer channels ONNX Runtime has no fast integer
/// kernel: on one core with VNNI, the float convolution is 4 times as fast at one channel, and equally fast between 4
/// and 8.
const MIN_CHANNELS_IN: i64 = 8;
/// The minimum number of output channels of a quantized convolution, for the same reason.
const MIN_CHANNELS_OUT: i64 = 16;

/// A layer to quantize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layer {
    /// The index of the node.
    pub node: usize,
    /// The index of the initializer that holds the weights.
    pub weights: usize,
    /// The axis of the output channels in the weights.
    pub axis: usize,
    /// The index of the initializer that holds the bias.
    pub bias: Option<usize>,
}

/// Returns the layers to quantize, in the order of the graph.
pub(super) fn choose(graph: &GraphProto, options: &QuantizeOptions) -> Vec<Layer> {
    let is_learnt = |name: &str| options.weights.iter().any(|prefix| name.starts_with(prefix.as_str()));
    let mut learnt: Vec<(usize, usize)> = Vec::new();
    for (index, node) in graph.node.iter().enumerate() {
        let multiplies = matches!(node.op_type.as_str(), "Conv" | "Gemm" | "MatMul");
        if let Some(weights) = multiplies.then(|| constant(graph, node, 1)).flatten()
            && is_learnt(&graph.initializer[weights].name)
        {
            learnt.push((index, weights));
        }
    }
    if options.keep_last {
        learnt.pop();
    }
    let layer = |(node, weights)| layer(graph, node, weights, options.min_weights);
    learnt.into_iter().filter_map(layer).collect()
}

/// Returns the layer where ONNX Runtime has a faster integer kernel for its form.
fn layer(graph: &GraphProto, index: usize, weights: usize, min_weights: usize) -> Option<Layer> {
    let node = &graph.node[index];
    let dims = &graph.initializer[weights].dims;
    let axis = match (node.op_type.as_str(), dims.as_slice()) {
        ("Conv", [out, inside, ..]) => (*out >= MIN_CHANNELS_OUT && *inside >= MIN_CHANNELS_IN).then_some(0),
        ("Gemm", [_, _]) => plain_gemm(node).then(|| usize::from(!flag(node, "transB"))),
        ("MatMul", [_, _]) => Some(1),
        _ => None,
    }?;
    let size: i64 = dims.iter().product();
    if node.op_type != "Conv" && size < min_weights as i64 {
        return None;
    }
    let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
    let bias = constant(graph, node, 2).filter(|&bias| graph.initializer[bias].dims == [dims[axis]]);
    (bias.is_some() == has_bias).then_some(Layer { node: index, weights, axis, bias })
}

/// Returns the index of the float initializer that is an input of a node.
fn constant(graph: &GraphProto, node: &NodeProto, input: usize) -> Option<usize> {
    let name = node.input.get(input)?;
    let is_it = |it: &TensorProto| it.name == *name && it.data_type == FLOAT && !it.raw_data.is_empty();
    graph.initializer.iter().position(is_it)
}

/// Returns whether a `Gemm` is only a product and a bias.
fn plain_gemm(node: &NodeProto) -> bool {
    let factors = node.attribute.iter().filter(|it| it.name == "alpha" || it.name == "beta");
    !flag(node, "transA") && factors.map(|it| it.f).all(|factor| factor == Some(1.0))
}

fn flag(node: &NodeProto, name: &str) -> bool {
    node.attribute.iter().any(|it| it.name == name && it.i.is_some_and(|value| value != 0))
}
