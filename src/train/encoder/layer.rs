//! The layer of an encoder: finding it by name, and cutting the graph off after it.
//!
//! Input: a graph and the name of a tensor or node. Output: the tensor's name, and the graph with only the nodes and
//! constants that compute it. Invariants: names are not changed; values that an inner graph (a branch, a loop) reads are
//! kept.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};

use crate::train::onnx::{FLOAT, GraphProto, NodeProto, TensorTypeProto, TypeProto, ValueInfoProto};

/// The number of names that the error for an unknown layer lists.
const NEAR_NAMES: usize = 5;

/// Returns the tensors that may hold the frames: that of the given layer, or all outputs of the graph.
///
/// # Errors
/// Returns an error with the nearest names where no tensor or node has the given name.
pub(super) fn candidates(graph: &GraphProto, layer: Option<&str>) -> anyhow::Result<Vec<String>> {
    let Some(layer) = layer else {
        ensure!(!graph.output.is_empty(), "it has no output");
        return Ok(graph.output.iter().map(|output| output.name.clone()).collect());
    };
    let outputs = || graph.node.iter().flat_map(|node| &node.output);
    if let Some(tensor) = outputs().find(|name| *name == layer) {
        return Ok(vec![tensor.clone()]);
    }
    let node = graph.node.iter().find(|node| node.name == layer);
    match node.and_then(|node| node.output.first()) {
        Some(tensor) => Ok(vec![tensor.clone()]),
        None => bail!(
            "layer {layer:?}: it has no tensor or node of that name (near names: {})",
            near(graph, layer).join(", ")
        ),
    }
}

/// Returns the names of tensors and nodes that resemble a name most, the nearest one first.
fn near<'a>(graph: &'a GraphProto, name: &str) -> Vec<&'a str> {
    let nodes = graph.node.iter();
    let names: BTreeSet<&str> = nodes
        .flat_map(|node| node.output.iter().chain([&node.name]))
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(name, other);
    let mut ranked: Vec<(f64, &str)> = names.into_iter().map(|other| (likeness(other), other)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.into_iter().take(NEAR_NAMES).map(|(_, name)| name).collect()
}

/// Returns the graph with `outputs` as its outputs and without the nodes, constants and inputs that they do not need.
///
/// # Errors
/// Returns an error where the outputs need more than one input, or none.
pub(super) fn cut(graph: GraphProto, outputs: &[String]) -> anyhow::Result<GraphProto> {
    let mut needed: BTreeSet<String> = outputs.iter().cloned().collect();
    // Nodes are in topological order, so that the readers of a node's outputs come after it.
    let mut node = Vec::new();
    for candidate in graph.node.into_iter().rev() {
        if candidate.output.iter().any(|output| needed.contains(output)) {
            read_values(&candidate, &mut needed);
            node.push(candidate);
        }
    }
    node.reverse();
    let initializer: Vec<_> = graph.initializer.into_iter().filter(|it| needed.contains(&it.name)).collect();
    let constant = |name: &str| initializer.iter().any(|tensor| tensor.name == name);
    let input: Vec<_> =
        graph.input.into_iter().filter(|it| needed.contains(&it.name) && !constant(&it.name)).collect();
    match input.len() {
        0 => bail!("{} does not depend on the input", outputs.join(", ")),
        1 => {}
        count => {
            let names: Vec<&str> = input.iter().map(|input| input.name.as_str()).collect();
            bail!("it has {count} inputs ({}), and must have one", names.join(", "));
        }
    }
    let known = |name: &String| graph.output.iter().find(|output| output.name == *name).cloned();
    let output = outputs.iter().map(|name| known(name).unwrap_or_else(|| floats(name))).collect();
    Ok(GraphProto { node, name: graph.name, initializer, input, output })
}

/// Returns the description of a tensor of 32-bit floats without a shape.
fn floats(name: &str) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type: FLOAT, shape: None };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// Adds the values that a node reads, those that its inner graphs read included.
fn read_values(node: &NodeProto, values: &mut BTreeSet<String>) {
    values.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
    for graph in inner_graphs(node) {
        values.extend(graph.output.iter().map(|output| output.name.clone()));
        graph.node.iter().for_each(|inner| read_values(inner, values));
    }
}

fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Returns all names of values and nodes of a graph and of its inner graphs.
pub(super) fn names(graph: &GraphProto) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    found.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        found.extend(node.output.iter().chain([&node.name]).cloned());
        found.extend(inner_graphs(node).flat_map(names));
    }
    found
}

/// Returns the name of the graph's only input.
pub(super) fn input(graph: &GraphProto) -> anyhow::Result<&str> {
    graph.input.first().map(|input| input.name.as_str()).context("it has no input")
}
