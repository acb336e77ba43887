//! An encoder with its trained head as one ONNX file.
//!
//! Input: the head, its front stage, the encoder and the contract. Output: a model from windows to probabilities. Invariants:
//! the encoder's nodes are copied without change.

use anyhow::bail;

use super::cnn::{Maps, attentive};
use super::layers::{Affine, Dense};
use super::{OUTPUT, frame_count};
use crate::model::{Contract, METADATA_KEY};
use crate::train::encoder::{Encoder, EncoderGraph, Pooled};
use crate::train::fit::Fitted;
use crate::train::front::Front;
use crate::train::graph::{Graph, Port, int, ints};
use crate::train::network::{Head, MAX_DEVIATIONS, Network};
use crate::train::onnx::ModelProto;

/// Builds the graph of the whole computation: encoder, pooling, head, probabilities.
///
/// # Errors
/// Returns an error where the network is not the head of an encoder, and where the contract cannot be serialized.
pub fn export_head(fitted: &Fitted, encoder: &Encoder, contract: &Contract) -> anyhow::Result<ModelProto> {
    let Network::Head(head) = &fitted.network else { bail!("the network is not the head of an encoder") };
    let built = encoder.graph()?;
    let output = Port { name: built.free_name(OUTPUT), sizes: vec![contract.labels.len()] };
    let EncoderGraph { mut graph, input, pooled, .. } = built;
    let logits = logits(&mut graph, head, &fitted.front, &pooled, fitted.temperature);
    let probabilities = graph.op_with("Softmax", &[&logits], vec![int("axis", 1)]);
    let json = serde_json::to_string(contract)?;
    Ok(encoder.complete(graph.finish(&probabilities, input, output, (METADATA_KEY, json))))
}

/// Adds the head and returns the logits divided by the temperature, `[batch, labels]`.
fn logits(graph: &mut Graph, head: &Head, front: &Front, pooled: &Pooled, temperature: f64) -> String {
    let (values, norm) = match (pooled, &head.attentive) {
        (Pooled::Frames { values, mask }, Some(pool)) => {
            let standard = standardized(graph, values, front);
            let maps = maps(graph, &standard, mask);
            (attentive(graph, pool, &maps), Some(Affine::of(&pool.norm)))
        }
        (Pooled::Embedding(values) | Pooled::Frames { values, .. }, _) => {
            let standard = standardized(graph, values, front);
            let lowest = graph.floats("lowest", &[], &[-MAX_DEVIATIONS]);
            let highest = graph.floats("highest", &[], &[MAX_DEVIATIONS]);
            (graph.op("Clip", &[&standard, &lowest, &highest]), None)
        }
    };
    let after = |dense: Dense| match &norm {
        Some(norm) => dense.after(norm),
        None => dense,
    };
    match &head.hidden {
        None => after(Dense::of(&head.last)).divided_by(temperature).write(graph, &values),
        Some(hidden) => {
            let units =
                after(Dense::of(&hidden.dense)).before(&Affine::of(&hidden.norm)).write(graph, &values);
            let rectified = graph.op("Relu", &[&units]);
            Dense::of(&head.last).divided_by(temperature).write(graph, &rectified)
        }
    }
}

/// Adds the standardization by the training set.
fn standardized(graph: &mut Graph, values: &str, front: &Front) -> String {
    let mean = graph.floats("mean", &[front.bands], &front.mean);
    let centred = graph.op("Sub", &[values, &mean]);
    let scale = graph.floats("scale", &[front.bands], &front.scale);
    graph.op("Mul", &[&centred, &scale])
}

/// Turns frames `[batch, frames, width]` into maps `[batch, width, frames, 1]`, which are 0 in padding frames.
fn maps(graph: &mut Graph, values: &str, mask: &str) -> Maps {
    let present = graph.op("Mul", &[values, mask]);
    let axis = graph.ints("map_axis", &[3]);
    let [values, mask] = [&present, mask].map(|series: &str| {
        let turned = graph.op_with("Transpose", &[series], vec![ints("perm", &[0, 2, 1])]);
        graph.op("Unsqueeze", &[&turned, &axis])
    });
    let count = frame_count(graph, &mask, 2);
    Maps { values, mask, count }
}
