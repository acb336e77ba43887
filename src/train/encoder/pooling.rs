//! The graph of an encoder with the pooling of its frames, as ONNX nodes.
//!
//! Input: the encoder's nodes. Output: a [`Graph`] whose input is a window as the front end computes it,
//! `[batch, frames, coefficients]` or `[batch, samples]`, and that pools the encoder's frames. Invariants: frames without
//! audio do not contribute; the nodes exist in every operator set from 13 on; added names differ from the encoder's.

use std::collections::BTreeSet;

use super::{Encoder, layer};
use crate::model::{Input, Layout};
use crate::train::export::{frame_count, mean_over};
use crate::train::graph::{Graph, Port, int, ints};
use crate::train::network::VARIANCE_FLOOR;
use crate::train::onnx::FLOAT;

/// The pooling of the frames of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean of each value over the frames
    Mean,
    /// The mean and the standard deviation of each value over the frames
    MeanDeviation,
    /// Mean and standard deviation with learnt weights for each frame and value
    Attentive,
}

impl Pooling {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::MeanDeviation => "mean-deviation",
            Self::Attentive => "attentive",
        }
    }
}

/// The names of what the graph returns for a window.
#[derive(Debug)]
pub enum Pooled {
    /// The pooled embedding, `[batch, width]`.
    Embedding(String),
    /// Frames for a pooling with learnt weights.
    Frames {
        /// The frames, `[batch, frames, width]`; 0 in padding frames.
        values: String,
        /// The mask, `[batch, frames, 1]`.
        mask: String,
    },
}

/// The graph of an encoder under construction.
#[derive(Debug)]
pub struct EncoderGraph {
    /// The nodes.
    pub graph: Graph,
    /// The input.
    pub input: Port,
    /// What the graph returns for a window.
    pub pooled: Pooled,
    names: BTreeSet<String>,
}

impl EncoderGraph {
    /// Returns `name`, with an underscore after it where the encoder has a value of that name.
    pub fn free_name(&self, name: &str) -> String {
        free(&self.names, name)
    }
}

fn free(names: &BTreeSet<String>, name: &str) -> String {
    let mut name = name.to_owned();
    while names.contains(&name) {
        name.push('_');
    }
    name
}

/// Returns a prefix that no name has.
fn free_prefix(names: &BTreeSet<String>) -> String {
    let mut prefix = "head_".to_owned();
    while names.iter().any(|name| name.starts_with(&prefix)) {
        prefix.push('_');
    }
    prefix
}

impl Encoder {
    /// Returns the graph of the encoder and the pooling.
    ///
    /// # Errors
    /// Returns an error where the encoder has no graph.
    pub fn graph(&self) -> anyhow::Result<EncoderGraph> {
        let inner = self.model.graph.clone().unwrap_or_default();
        let names = layer::names(&inner);
        let mut graph = Graph::with_prefix(&free_prefix(&names));
        let input = Port { name: free(&names, "input"), sizes: self.window_sizes() };
        let value = match self.contract.layout {
            Layout::Nct | Layout::N1ct => {
                graph.op_with("Transpose", &[&input.name], vec![ints("perm", &[0, 2, 1])])
            }
            Layout::Ntc | Layout::N1tc | Layout::Ns => input.name.clone(),
        };
        let shape: Vec<i64> =
            std::iter::once(-1).chain(self.window_shape.iter().map(|size| *size as i64)).collect();
        let shape = graph.ints("shape", &shape);
        graph.named(layer::input(&inner)?, "Reshape", &[&value, &shape], Vec::new());
        graph.include(inner);
        let mask = self.mask(&mut graph, &input.name);
        let pooled = self.pool(&mut graph, mask);
        Ok(EncoderGraph { graph, input, pooled, names })
    }

    /// Returns the sizes of a window as the front end computes it.
    pub(super) fn window_sizes(&self) -> Vec<usize> {
        match self.contract.input {
            Input::Waveform => vec![self.contract.rows()],
            Input::Mfcc | Input::LogMel => vec![self.contract.rows(), self.contract.coefficients()],
        }
    }

    /// Adds the mask of the encoder's frames, `[batch, frames, 1]`: 1 where the window has audio at the start of the frame.
    fn mask(&self, graph: &mut Graph, input: &str) -> String {
        let rows = self.contract.rows();
        let present = match self.contract.input {
            Input::Waveform => rest_has_sound(graph, input),
            Input::Mfcc | Input::LogMel => row_has_values(graph, input),
        };
        let starts: Vec<i64> = (0..self.frames).map(|frame| (frame * rows / self.frames) as i64).collect();
        let starts = graph.ints("starts", &starts);
        graph.op_with("Gather", &[&present, &starts], vec![int("axis", 1)])
    }

    fn pool(&self, graph: &mut Graph, mask: String) -> Pooled {
        let values = graph.op("Mul", &[&self.layer, &mask]);
        if self.options.pooling == Pooling::Attentive {
            return Pooled::Frames { values, mask };
        }
        let count = frame_count(graph, &mask, 1);
        let mean = mean_over(graph, &values, &count, 1);
        let pooled = match self.options.pooling {
            Pooling::Mean | Pooling::Attentive => mean,
            Pooling::MeanDeviation => {
                let centred = graph.op("Sub", &[&self.layer, &mean]);
                let centred = graph.op("Mul", &[&centred, &mask]);
                let squares = graph.op("Mul", &[&centred, &centred]);
                let variance = mean_over(graph, &squares, &count, 1);
                let floor = graph.floats("variance_floor", &[], &[VARIANCE_FLOOR]);
                let raised = graph.op("Add", &[&variance, &floor]);
                let deviation = graph.op("Sqrt", &[&raised]);
                graph.op_with("Concat", &[&mean, &deviation], vec![int("axis", 2)])
            }
        };
        Pooled::Embedding(graph.op_with("Flatten", &[&pooled], vec![int("axis", 1)]))
    }
}

/// Returns 1 for each row with a value other than 0, `[batch, rows, 1]`. `ReduceSum` is used because the axes of
/// `ReduceMax` are an attribute in old operator sets and an input in new ones.
fn row_has_values(graph: &mut Graph, input: &str) -> String {
    let magnitude = graph.op("Abs", &[input]);
    let axis = graph.ints("values_axis", &[2]);
    let sum = graph.op("ReduceSum", &[&magnitude, &axis]);
    above(graph, &sum, 0.0)
}

/// Returns 1 for each sample from which on a sample is not 0, `[batch, samples, 1]`, because a partial window ends in
/// samples of exactly 0.
fn rest_has_sound(graph: &mut Graph, input: &str) -> String {
    let magnitude = graph.op("Abs", &[input]);
    let present = above(graph, &magnitude, 0.0);
    let axis = graph.ints("samples_axis", &[1]);
    let rest = graph.op_with("CumSum", &[&present, &axis], vec![int("reverse", 1)]);
    let rest = above(graph, &rest, 0.5);
    let last = graph.ints("last_axis", &[2]);
    graph.op("Unsqueeze", &[&rest, &last])
}

fn above(graph: &mut Graph, values: &str, limit: f32) -> String {
    let limit = graph.floats("limit", &[], &[limit]);
    let above = graph.op("Greater", &[values, &limit]);
    graph.op_with("Cast", &[&above], vec![int("to", i64::from(FLOAT))])
}
