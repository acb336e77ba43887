//! Operators of a graph through which the result of a window may depend on other windows, or on chance.
//!
//! Input: the bytes of an ONNX file, and the rank of the graph's input. Output: descriptions of such operators, the most
//! likely cause first; and the files in which the graph keeps weights outside the ONNX file. Invariants: the graph is not
//! run. The descriptions are suspicions that complete an error; whether windows influence each other is measured by
//! `trial`.

use std::collections::HashMap;
use std::path::PathBuf;

use prost::Message;
use prost::bytes::Bytes;

/// The fields of onnx/onnx.proto that are read here; prost skips the others.
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    /// `Bytes`, so that weights are not copied.
    #[prost(bytes = "bytes", tag = "9")]
    raw_data: Bytes,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Returns whether the graph quantises activations with constant scales (`QuantizeLinear`).
pub(super) fn is_quantised(onnx: &Bytes) -> bool {
    let graph = ModelProto::decode(onnx.clone()).ok().and_then(|model| model.graph);
    graph.is_some_and(|graph| graph.node.iter().any(|node| node.op_type == "QuantizeLinear"))
}

/// Returns the operators that may mix windows or draw random numbers, such as `ReduceMean "mu" over axis 0`, the most
/// likely cause first. `rank` is the number of axes of the graph's input; negative axes are resolved with it.
pub(super) fn suspects(onnx: &Bytes, rank: usize) -> Vec<String> {
    let Some(graph) = decode(onnx) else { return Vec::new() };
    let constants = constants(&graph);
    let mut found: Vec<(u8, String)> = graph
        .node
        .iter()
        .filter_map(|node| {
            let (order, how) = suspicion(node, &constants, rank)?;
            let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
            Some((order, format!("{} {:?} {how}", node.op_type, name.map_or("", String::as_str))))
        })
        .collect();
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, text)| text).collect()
}

/// Returns the names of the files, relative to the ONNX file, that hold weights of the graph.
pub(super) fn external_files(onnx: &Bytes) -> Vec<PathBuf> {
    let initializers = decode(onnx).map(|graph| graph.initializer).unwrap_or_default();
    let entries = initializers.into_iter().flat_map(|tensor| tensor.external_data);
    let mut files: Vec<PathBuf> =
        entries.filter(|entry| entry.key == "location").map(|entry| entry.value.into()).collect();
    files.sort();
    files.dedup();
    files
}

fn decode(onnx: &Bytes) -> Option<GraphProto> {
    ModelProto::decode(onnx.clone()).ok()?.graph
}

/// Returns the integer values of every constant by its name. Constants without integers have an empty list.
fn constants(graph: &GraphProto) -> HashMap<&str, Vec<i64>> {
    let of_nodes = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
        Some((node.output.first()?.as_str(), integers(value)))
    });
    let initializers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), integers(tensor)));
    initializers.chain(of_nodes).collect()
}

/// Returns the values of a short tensor of integers or booleans; long tensors are weights and give an empty list.
fn integers(tensor: &TensorProto) -> Vec<i64> {
    const LONGEST: usize = 64;
    if !tensor.int64_data.is_empty() || !tensor.int32_data.is_empty() {
        let short = tensor.int32_data.iter().map(|value| i64::from(*value));
        return tensor.int64_data.iter().copied().chain(short).take(LONGEST).collect();
    }
    match tensor.raw_data.len() {
        // A boolean.
        1 => vec![i64::from(tensor.raw_data[0])],
        length if length <= LONGEST && length.is_multiple_of(8) => {
            let value = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).unwrap_or_default();
            tensor.raw_data.chunks_exact(8).map(value).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the axes that a node reduces; an empty list where it names none, and `None` where they are computed.
fn reduced_axes(node: &NodeProto, constants: &HashMap<&str, Vec<i64>>) -> Option<Vec<i64>> {
    if let Some(axes) = node.attribute.iter().find(|attribute| attribute.name == "axes") {
        return Some(axes.ints.clone());
    }
    match node.input.get(1) {
        Some(axes) => constants.get(axes.as_str()).cloned(),
        None => Some(Vec::new()),
    }
}

/// Returns the order of suspicion (0 is the strongest) and the description of an operator that may be a cause.
fn suspicion(node: &NodeProto, constants: &HashMap<&str, Vec<i64>>, rank: usize) -> Option<(u8, String)> {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let batch_axis = |axis: i64| axis == 0 || axis == -(rank as i64);
    match node.op_type.as_str() {
        "Dropout" => {
            let mode = node.input.get(2).filter(|name| !name.is_empty())?;
            let off = constants.get(mode.as_str()).is_some_and(|value| value == &[0]);
            (!off).then(|| (0, "in training mode".to_owned()))
        }
        // Before opset 14, more than one output means training mode.
        "BatchNormalization" => {
            let training =
                attribute("training_mode").is_some_and(|mode| mode.i != 0) || node.output.len() > 1;
            training.then(|| (0, "in training mode".to_owned()))
        }
        "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike" | "Multinomial"
        | "Bernoulli" => Some((0, "draws random numbers".to_owned())),
        "DynamicQuantizeLinear" => Some((1, "has one scale for the whole batch".to_owned())),
        "MeanVarianceNormalization" => {
            let axes = attribute("axes").map_or(&[0, 2, 3][..], |axes| &axes.ints);
            axes.iter().any(|axis| batch_axis(*axis)).then(|| (0, "normalizes over axis 0".to_owned()))
        }
        "Softmax" | "LogSoftmax" | "LpNormalization" | "Hardmax" => {
            attribute("axis").is_some_and(|axis| axis.i == 0).then(|| (1, "over axis 0".to_owned()))
        }
        "CumSum" => {
            let axis = constants.get(node.input.get(1)?.as_str())?;
            axis.iter().any(|axis| batch_axis(*axis)).then(|| (1, "over axis 0".to_owned()))
        }
        name if name.starts_with("Reduce") => {
            let axes = reduced_axes(node, constants)?;
            let keeps = attribute("noop_with_empty_axes").is_some_and(|noop| noop.i != 0);
            let all = axes.is_empty() && !keeps;
            let over = || if all { "over all axes, axis 0 included" } else { "over axis 0" }.to_owned();
            (all || axes.iter().any(|axis| batch_axis(*axis))).then(|| (1, over()))
        }
        // Frameworks expect time on axis 0 by default. A graph that passes [batch, time, …] unchanged runs over windows.
        "LSTM" | "GRU" | "RNN" => {
            attribute("layout").is_none_or(|layout| layout.i == 0).then(|| (2, "runs over axis 0".to_owned()))
        }
        _ => None,
    }
}
