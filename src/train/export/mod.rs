//! Export of a trained network as an ONNX file with its contract.
//!
//! Input: [`Fitted`] and the contract. Output: a [`ModelProto`] with the input `input` `[batch, frames, coefficients]` and
//! the output `probabilities` `[batch, labels]`. Invariants: batch normalizations are folded into adjacent layers and the
//! temperature into the output layer; a test compares the exported graph with the trainer's forward pass.

mod cnn;
mod dense;
mod head;
mod layers;

use anyhow::bail;

pub use head::export_head;

use super::fit::Fitted;
use super::front::{Front, LevelIn, first_of};
use super::graph::{Graph, Port, int, ints};
use super::network::Network;
use super::onnx::{FLOAT, ModelProto};
use crate::model::{Contract, METADATA_KEY};

/// The name of the graph's input.
const INPUT: &str = "input";
/// The name of the graph's output.
const OUTPUT: &str = "probabilities";

/// The names of normalized features and their mask.
struct Series {
    /// The features, `[batch, frames, bands]`; 0 in padding frames.
    values: String,
    /// The mask, `[batch, frames, 1]`.
    mask: String,
}

/// Builds the graph of the whole computation, from features to probabilities.
///
/// # Errors
/// Returns an error where the contract cannot be serialized, and for the head of an encoder.
pub fn export(fitted: &Fitted, frames: usize, contract: &Contract) -> anyhow::Result<ModelProto> {
    let mut graph = Graph::default();
    let series = front(&mut graph, &fitted.front);
    let logits = match &fitted.network {
        Network::Cnn(network) => cnn::logits(&mut graph, network, series, fitted.temperature),
        Network::Dense(network) => dense::logits(&mut graph, network, series, fitted.temperature),
        Network::Head(_) => bail!("the head of an encoder is exported with its encoder"),
    };
    let probabilities = graph.op_with("Softmax", &[&logits], vec![int("axis", 1)]);
    let input = Port { name: INPUT.to_owned(), sizes: vec![frames, fitted.front.coefficients] };
    let output = Port { name: OUTPUT.to_owned(), sizes: vec![contract.labels.len()] };
    let json = serde_json::to_string(contract)?;
    Ok(graph.finish(&probabilities, input, output, (METADATA_KEY, json)))
}

/// Adds the front stage: mask, rotation, level removal and normalization.
fn front(graph: &mut Graph, front: &Front) -> Series {
    let (width, bands) = (front.coefficients, front.bands);
    let magnitude = graph.op("Abs", &[INPUT]);
    let settings = vec![ints("axes", &[2]), int("keepdims", 1)];
    let peak = graph.op_with("ReduceMax", &[&magnitude], settings);
    let zero = graph.floats("zero", &[], &[0.0]);
    let present = graph.op("Greater", &[&peak, &zero]);
    let mask = graph.op_with("Cast", &[&present], vec![int("to", i64::from(FLOAT))]);
    let rotated = front.rotation.as_ref().map_or(INPUT.to_owned(), |rotation| {
        let rotation = graph.floats("rotation", &[width, bands], rotation);
        graph.op("MatMul", &[INPUT, &rotation])
    });
    let count = frame_count(graph, &mask, 1);
    let mean_frame = mean_over(graph, &rotated, &count, 1);
    let level = match front.level {
        LevelIn::MeanOfBands => {
            let settings = vec![ints("axes", &[2]), int("keepdims", 1)];
            graph.op_with("ReduceMean", &[&mean_frame], settings)
        }
        LevelIn::Nothing => graph.floats("level", &[bands], &vec![0.0; bands]),
        LevelIn::FirstCoefficient => {
            let first = graph.floats("level", &[bands], &first_of(bands));
            graph.op("Mul", &[&mean_frame, &first])
        }
    };
    let mean = graph.floats("mean", &[bands], &front.mean);
    let centre = graph.op("Add", &[&level, &mean]);
    let centred = graph.op("Sub", &[&rotated, &centre]);
    let scale = graph.floats("scale", &[bands], &front.scale);
    let scaled = graph.op("Mul", &[&centred, &scale]);
    Series { values: graph.op("Mul", &[&scaled, &mask]), mask }
}

/// Returns the number of unmasked frames, at least 1, of a mask with its frames on `axis`.
pub(in crate::train) fn frame_count(graph: &mut Graph, mask: &str, axis: i64) -> String {
    let axis = graph.ints("frames_axis", &[axis]);
    let one = graph.floats("one", &[], &[1.0]);
    let present = graph.op("ReduceSum", &[mask, &axis]);
    graph.op("Max", &[&present, &one])
}

/// Returns the mean over unmasked frames; values in masked frames must be 0.
pub(in crate::train) fn mean_over(graph: &mut Graph, values: &str, count: &str, axis: i64) -> String {
    let axis = graph.ints("frames_axis", &[axis]);
    let sum = graph.op("ReduceSum", &[values, &axis]);
    graph.op("Div", &[&sum, count])
}
