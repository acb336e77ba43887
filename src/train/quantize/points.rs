//! Where in the graph values become 8-bit integers.
//!
//! In: the graph and the layers. Out: a [`Plan`]: the values that get a pair of `QuantizeLinear` and
//! `DequantizeLinear`, and who reads behind it. The engine fuses a layer whose neighbours all are such pairs.
//! Never measures.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::Layer;
use crate::train::onnx::{GraphProto, NodeProto};

/// What is quantized, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The layers.
    pub layers: Vec<Layer>,
    /// The values, by name.
    pub points: BTreeMap<String, Point>,
}

/// A value that becomes integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    /// Where its scale comes from.
    pub scale: ScaleFrom,
    /// Who reads it.
    pub readers: Readers,
}

/// Where the scale of a point comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScaleFrom {
    /// Its own range.
    Range,
    /// Another point, of which it holds some elements, and zeros.
    Point(String),
    /// It is a mask of zeros and ones.
    Mask,
}

/// Which nodes read the quantized value; the others read the float one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readers {
    /// All: the float value never leaves the fused kernel.
    All,
    /// These: a float value that integer layers read as well, as a residual connection has it.
    These(BTreeSet<usize>),
}

impl Plan {
    /// Finds the points.
    pub fn new(graph: &GraphProto, layers: Vec<Layer>) -> Self {
        let mut plan = Self { layers, points: BTreeMap::new() };
        for index in 0..plan.layers.len() {
            let node = plan.layers[index].node;
            plan.read_by(&graph.node[node].input[0], node, ScaleFrom::Range);
            // An integer convolution can't give floats, and before a ReLU the engine would keep a product as floats.
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

    /// The values whose range must be known.
    pub fn measured(&self) -> BTreeSet<String> {
        let measured = self.points.iter().filter(|(_, point)| point.scale == ScaleFrom::Range);
        measured.map(|(value, _)| value.clone()).collect()
    }

    /// The point that a point's scale is taken from, itself where it has its own.
    pub fn origin<'a>(&'a self, value: &'a str) -> &'a str {
        match self.points.get(value) {
            Some(Point { scale: ScaleFrom::Point(other), .. }) => self.origin(other),
            _ => value,
        }
    }

    /// Whether a node reads the quantized value.
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

/// The value behind the ReLU and `true`, where one follows at once: an integer kernel cuts at 0 for nothing.
fn after_relu<'a>(graph: &'a GraphProto, value: &'a str) -> (&'a str, bool) {
    let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|input| input == value));
    match (readers.next(), readers.next()) {
        (Some(only), None) if only.op_type == "Relu" => (&only.output[0], true),
        _ => (value, false),
    }
}

/// The value and the mask, where a node multiplies the one by the other.
fn masking<'a>(graph: &GraphProto, node: &'a NodeProto) -> Option<(&'a str, &'a str)> {
    let [left, right] = node.input.as_slice() else { return None };
    match node.op_type.as_str() {
        "Mul" if is_mask(graph, right) => Some((left, right)),
        "Mul" if is_mask(graph, left) => Some((right, left)),
        _ => None,
    }
}

/// Whether a value is the answer of a comparison as zeros and ones, perhaps moved about since.
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
