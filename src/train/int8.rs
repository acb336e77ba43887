//! Quantization of a model file to 8-bit integers, and comparison with the float file.
//!
//! Input: a model file that this trainer wrote. Output: a quantized file with a name of its own, its scores and its
//! speed-up. Invariants: calibration uses training clips only; no choice depends on the test clips.

use std::path::{Path, PathBuf};

use anyhow::Context;
use prost::Message;

use super::corpus::{Corpus, LabelledWindow, Recipe};
use super::measure::{MeasuredModel, speed_up};
use super::onnx::ModelProto;
use super::quantize::{QuantizeOptions, quantize};
use super::score::Score;
use super::selection::{Selection, metrics};
use crate::config;
use crate::datasets::{Clip, DatasetSplits};
use crate::model::{Contract, METADATA_KEY, load_contract};

/// The number of training windows for calibration.
const CALIBRATION_WINDOWS: usize = 256;

/// A quantized file with its scores.
#[derive(Debug, Clone)]
pub struct Int8 {
    /// The path of the file.
    pub path: PathBuf,
    /// The scores of the float and the quantized model on the validation clips.
    pub validation: [Score; 2],
    /// The scores of the float and the quantized model on the test clips.
    pub test: [Score; 2],
    /// The time per window of the float model, divided by that of the quantized model.
    pub speed_up: f64,
}

/// Returns the default path of the quantized file: `crema-d-cnn-int8.onnx` beside `crema-d-cnn.onnx`.
pub fn path_beside(float: &Path) -> PathBuf {
    let stem = float.file_stem().unwrap_or_default().to_string_lossy();
    float.with_file_name(format!("{stem}-int8.onnx"))
}

/// Quantizes the file `float`, writes the result to `path` and scores both.
///
/// # Errors
/// Returns an error where the model's input is a waveform, where data cannot be read, and where quantization or inference
/// fails.
pub fn write(
    float: &Path,
    path: &Path,
    selection: &Selection,
    cache: Option<PathBuf>,
    engine: &config::Engine,
) -> anyhow::Result<Int8> {
    let mut contract = load_contract(float)?;
    let recipe = Recipe::of_contract(&contract, cache)?;
    let (DatasetSplits { train, validation, test }, _) = selection.splits(&recipe)?;
    let corpus = |clips: &[Clip], what| Corpus::read(clips, &contract.labels, &recipe, what);
    let bytes = std::fs::read(float).with_context(|| format!("read {}", float.display()))?;
    let calibration = padded(&spread(corpus(&spread(train), "calibration")?.windows), &recipe);
    let model = ModelProto::decode(bytes.as_slice()).with_context(|| format!("read {}", float.display()))?;
    let mut model = quantize(&model, &calibration, &options(&model), engine)?;
    let written = |model: &ModelProto| {
        std::fs::write(path, model.encode_to_vec()).with_context(|| format!("write {}", path.display()))
    };
    written(&model)?;
    let (validation, test) = (corpus(&validation, "validation")?, corpus(&test, "test")?);
    let (mut slow, mut fast) = (MeasuredModel::load(float, engine)?, MeasuredModel::load(path, engine)?);
    let mut both = |corpus: &Corpus| anyhow::Ok([slow.score(corpus)?, fast.score(corpus)?]);
    let (on_validation, on_test) = (both(&validation)?, both(&test)?);
    // The quantized model has its own name, so that its events have other ids than those of the float model.
    contract.name = format!("{}-int8", contract.name);
    contract.provenance.metrics = metrics(&on_validation[1], &on_test[1]);
    replace_contract(&mut model, &contract)?;
    written(&model)?;
    let speed_up = speed_up(&mut slow, &mut fast, &validation.windows)?;
    Ok(Int8 { path: path.to_owned(), validation: on_validation, test: on_test, speed_up })
}

/// Returns the options for a model. Dense layers are quantized only in a dense net: after convolutions they take a small
/// part of the time, and quantizing them costs accuracy.
fn options(model: &ModelProto) -> QuantizeOptions {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let convolves = nodes.into_iter().any(|node| node.op_type == "Conv");
    let default = QuantizeOptions::default();
    if convolves { QuantizeOptions { min_weights: usize::MAX, ..default } } else { default }
}

/// Replaces the contract in the model's metadata.
fn replace_contract(model: &mut ModelProto, contract: &Contract) -> anyhow::Result<()> {
    let entry = model.metadata_props.iter_mut().find(|entry| entry.key == METADATA_KEY);
    entry.context("the contract of the float file is in its sidecar, and must be in the file")?.value =
        serde_json::to_string(contract)?;
    Ok(())
}

fn padded(windows: &[LabelledWindow], recipe: &Recipe) -> Vec<Vec<f32>> {
    let size = recipe.frames() * recipe.coefficients();
    let pad = |window: &LabelledWindow| {
        let mut out = vec![0.0; size];
        window.write_padded(&mut out);
        out
    };
    windows.iter().map(pad).collect()
}

/// Returns at most [`CALIBRATION_WINDOWS`] evenly spaced items.
fn spread<T>(all: Vec<T>) -> Vec<T> {
    let step = all.len().div_ceil(CALIBRATION_WINDOWS).max(1);
    all.into_iter().step_by(step).collect()
}
