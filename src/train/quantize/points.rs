//! The values of the graph that become 8-bit integers.
//!
//! Input: the graph and the layers to quantize. Output: a [`Plan`] with the values that get a pair of `QuantizeLinear` and
//! `DequantizeLinear` nodes, and the nodes that read the dequantized value. ONNX Runtime fuses a layer into an integer
//! kernel where all of its inputs and outputs are such pairs.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::Layer;
use crate::train::onnx::{GraphProto, NodeProto};

/// The layers and values to quantize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The layers to quantize.
    pub layers: Vec<Layer>,
    /// The values to quantize, by name.
    pub points: BTreeMap<String, Point>,
}

/// A value to quantize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    /// The source of its scale.
    pub scale: ScaleFrom,
    /// The nodes that read the dequantized value.
    pub readers: Readers,
}

/// The source of the scale of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScaleFrom {
    /// Its own range, from calibration.
    Range,
    /// The scale of another value, of which it holds a subset of elements and zeros.
    Point(String),
    /// The fixed scale of a mask of zeros and ones.
    Mask,
}

/// The nodes that read the dequantized value; all others read the float value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readers {
    /// All nodes; the float value exists only inside the fused kernel.
    All,
    /// These nodes; other nodes read the float value, as with a residual connection.
    These(BTreeSet<usize>),
}

impl Plan {
    /// Determines the values to quantize for the given layers.
    pub fn new(graph: &GraphProto, layers: Vec<Layer>) -> Self {
        let mut plan = Self { layers, points: BTreeMap::new() };
        for index in 0..plan.layers.len() {
            let node = plan.layers[index].node;
            plan.read_by(&graph.node[node].input[0], node, ScaleFrom::Range);
            // An integer convolution has an integer output. A product before a ReLU is quantized after the ReLU, because
            // ONNX Runtime would otherwise compute it in floats.
            let (output, rectified) = after_relu(graph, &graph.node[node].output[0]);
            if rectified || graph.node[node].op_type == "Conv" {
                plan.read_by_all(output, ScaleFrom::Range);
            }
        }
        for (index, node) in graph.node.iter().enumerate() {
            if let Some((value, mask)) = masking(graph, node)
                && plan.points.get(value).is_some_and(|point| point.readers == Readers::All)
            {
                plan.read_by(mask, index, ScaleFrom::Mask);
                plan.read_by_all(&node.output[0], ScaleFrom::Point(value.to_owned()));
            }
        }
        plan
    }

    /// Returns the values whose range must be measured.
    pub fn measured(&self) -> BTreeSet<String> {
        let measured = self.points.iter().filter(|(_, point)| point.scale == ScaleFrom::Range);
        measured.map(|(value, _)| value.clone()).collect()
    }

    /// Returns the value whose scale a value has, which is the value itself where it has its own scale.
    pub fn origin<'a>(&'a self, value: &'a str) -> &'a str {
        match self.points.get(value) {
            Some(Point { scale: ScaleFrom::Point(other), .. }) => self.origin(other),
            _ => value,
        }
    }

    /// Returns whether a node reads the dequantized value.
    pub fn reads(&self, node: usize, value: &str) -> bool {
        self.points.get(value).is_some_and(|point| match &point.readers {
            Readers::All => true,
            Readers::These(nodes) => nodes.contains(&node),
        })
    }

    fn read_by(&mut self, value: &str, node: usize, scale: ScaleFrom) {
        let fresh = Point { scale, readers: Readers::These(BTreeSet::new()) };
        if let Readers::These(nodes) = &mut self.points.entry(value.to_owned()).or_insert(fresh).readers {
            nodes.insert(node);
        }
    }

    fn read_by_all(&mut self, value: &str, scale: ScaleFrom) {
        self.points.insert(value.to_owned(), Point { scale, readers: Readers::All });
    }
}

/// Returns the output of the ReLU and `true` where a ReLU is the only reader of a value. Integer kernels apply a ReLU at
/// no cost, by saturation at the zero point.
fn after_relu<'a>(graph: &'a GraphProto, value: &'a str) -> (&'a str, bool) {
    let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|input| input == value));
    match (readers.next(), readers.next()) {
        (Some(only), None) if only.op_type == "Relu" => (&only.output[0], true),
        _ => (value, false),
    }
}

/// Returns the value and the mask where a node multiplies a value by a mask.
fn masking<'a>(graph: &GraphProto, node: &'a NodeProto) -> Option<(&'a str, &'a str)> {
    let [left, right] = node.input.as_slice() else { return None };
    match node.op_type.as_str() {
        "Mul" if is_mask(graph, right) => Some((left, right)),
        "Mul" if is_mask(graph, left) => Some((right, left)),
        _ => None,
    }
}

/// Returns whether a value is the result of a comparison as zeros and ones, possibly sliced or reshaped since.
fn is_mask(graph: &GraphProto, value: &str) -> bool {
    let producer = |value: &str| graph.node.iter().find(|node| node.output.iter().any(|it| it == value));
    let Some(node) = producer(value) else { return false };
    match node.op_type.as_str() {
        "Slice" | "Squeeze" | "Unsqueeze" | "Reshape" | "Transpose" => is_mask(graph, &node.input[0]),
        "Cast" => producer(&node.input[0]).is_some_and(|node| {
            matches!(
                node.op_type.as_str(),
                "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Equal" | "Not"
            )
        }),
        _ => false,
    }
}
