//! The rewriting of a float graph to QDQ form.
//!
//! Input: the float graph, the plan and the scales. Output: the graph with a pair of nodes after each quantized value, and
//! with weights and biases as integer constants, each with a `DequantizeLinear`. Invariants: constants without a reader
//! are removed.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::Layer;
use super::points::Plan;
use super::scale::Scale;
use super::weights;
use super::weights::Channels;
use crate::train::graph::int;
use crate::train::onnx::{FLOAT, GraphProto, INT8, INT32, NodeProto, TensorProto, UINT8};

/// Rewrites the graph to QDQ form.
pub(super) fn rewrite(graph: &GraphProto, plan: &Plan, scales: &BTreeMap<String, Scale>) -> GraphProto {
    let mut rewriter = Rewriter { graph, scales, nodes: Vec::new(), constants: Vec::new() };
    for input in &graph.input {
        rewriter.point(&input.name);
    }
    let mut layers = plan.layers.iter().peekable();
    for (index, node) in graph.node.iter().enumerate() {
        let mut rewritten = node.clone();
        for input in rewritten.input.iter_mut().filter(|input| plan.reads(index, input)) {
            *input = dequantized(input);
        }
        if let Some(layer) = layers.next_if(|layer| layer.node == index) {
            rewriter.layer(layer, &mut rewritten);
        }
        rewriter.nodes.push(rewritten);
        node.output.iter().for_each(|output| rewriter.point(output));
    }
    rewriter.finish()
}

struct Rewriter<'a> {
    graph: &'a GraphProto,
    scales: &'a BTreeMap<String, Scale>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

/// Returns the name of the dequantized form of a value.
fn dequantized(value: &str) -> String {
    format!("{value}_dequantized")
}

impl Rewriter<'_> {
    /// Adds the pair of nodes after a value where it is quantized.
    fn point(&mut self, value: &str) {
        let Some(Scale { scale, zero_point }) = self.scales.get(value).copied() else { return };
        let scale = self.constant(format!("{value}_scale"), FLOAT, &[], scale.to_le_bytes().to_vec());
        let zero_point = self.constant(format!("{value}_zero_point"), UINT8, &[], vec![zero_point]);
        let quantized = format!("{value}_quantized");
        self.node("QuantizeLinear", [value, &scale, &zero_point], &quantized);
        self.node("DequantizeLinear", [&quantized, &scale, &zero_point], &dequantized(value));
    }

    /// Replaces the weights and the bias of a layer by integer constants.
    fn layer(&mut self, layer: &Layer, node: &mut NodeProto) {
        let input = &self.graph.node[layer.node].input[0];
        let input_scale = self.scales[input].scale;
        let tensor = &self.graph.initializer[layer.weights];
        let bias = layer.bias.map(|bias| &self.graph.initializer[bias]);
        let (floats, biases) = (floats(tensor), bias.map(floats).unwrap_or_default());
        let channels = Channels::of(&tensor.dims, layer.axis);
        let scales = weights::scales(&floats, channels, &biases, input_scale);
        let integers = weights::integers(&floats, channels, &scales);
        let bytes = integers.iter().flat_map(|it| it.to_le_bytes()).collect();
        let name = format!("{}_weights", node.output[0]);
        let weights = TensorProto {
            dims: tensor.dims.clone(),
            data_type: INT8,
            name,
            raw_data: bytes,
            ..TensorProto::default()
        };
        node.input[1] = self.integers(weights, layer.axis, &scales);
        if let Some(bias) = bias {
            let scales: Vec<f32> = scales.iter().map(|scale| scale * input_scale).collect();
            let integers = weights::bias_integers(&biases, &scales);
            let bytes = integers.iter().flat_map(|it| it.to_le_bytes()).collect();
            let name = format!("{}_bias", node.output[0]);
            let bias = TensorProto {
                dims: bias.dims.clone(),
                data_type: INT32,
                name,
                raw_data: bytes,
                ..TensorProto::default()
            };
            node.input[2] = self.integers(bias, 0, &scales);
        }
    }

    /// Adds an integer constant with its `DequantizeLinear` node and returns the name of the dequantized value.
    fn integers(&mut self, tensor: TensorProto, axis: usize, scales: &[f32]) -> String {
        let (count, steps) = ([scales.len() as i64], scales.iter().flat_map(|it| it.to_le_bytes()).collect());
        let zeros = vec![0; scales.len() * if tensor.data_type == INT8 { 1 } else { 4 }];
        let (name, out) = (tensor.name.clone(), dequantized(&tensor.name));
        let scale = self.constant(format!("{name}_scale"), FLOAT, &count, steps);
        let zero_point = self.constant(format!("{name}_zero_point"), tensor.data_type, &count, zeros);
        self.constants.push(tensor);
        self.node("DequantizeLinear", [&name, &scale, &zero_point], &out);
        if let Some(node) = self.nodes.last_mut() {
            node.attribute.push(int("axis", axis as i64));
        }
        out
    }

    fn constant(&mut self, name: String, data_type: i32, dims: &[i64], raw_data: Vec<u8>) -> String {
        let (dims, own) = (dims.to_vec(), name.clone());
        self.constants.push(TensorProto { dims, data_type, name: own, raw_data, ..TensorProto::default() });
        name
    }

    fn node(&mut self, op_type: &str, inputs: [&str; 3], output: &str) {
        self.nodes.push(NodeProto {
            input: inputs.map(str::to_owned).to_vec(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op_type.to_owned(),
            ..NodeProto::default()
        });
    }

    fn finish(mut self) -> GraphProto {
        let read: BTreeSet<&str> =
            self.nodes.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
        let kept = self.graph.initializer.iter().filter(|it| read.contains(it.name.as_str())).cloned();
        let initializer = kept.chain(std::mem::take(&mut self.constants)).collect();
        GraphProto { node: self.nodes, initializer, ..self.graph.clone() }
    }
}

/// Returns the elements of a float constant.
fn floats(tensor: &TensorProto) -> Vec<f32> {
    let element = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    tensor.raw_data.chunks_exact(4).map(element).collect()
}
