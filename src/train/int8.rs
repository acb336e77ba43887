//! The 8-bit file beside a trained model: calibrated on training clips, then measured against the float file.
//!
//! In: a model file of ours. Out: a second file under its own name, what it reaches and how much faster it is. Never
//! looks at the test clips to choose anything.

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
use crate::evaluation::datasets::{Clip, DatasetSplits};
use crate::model::{Contract, METADATA_KEY, load_contract};

/// Training windows that ranges are taken from.
const CALIBRATION_WINDOWS: usize = 256;

/// An 8-bit file and what it reaches.
#[derive(Debug, Clone)]
pub struct Int8 {
    /// The file.
    pub path: PathBuf,
    /// Float and 8-bit on the validation clips.
    pub validation: [Score; 2],
    /// Float and 8-bit on the test clips.
    pub test: [Score; 2],
    /// How many times faster a window is.
    pub speed_up: f64,
}

/// Where the 8-bit file of a model stands: `crema-d-cnn-int8.onnx` beside `crema-d-cnn.onnx`.
pub fn path_beside(float: &Path) -> PathBuf {
    let stem = float.file_stem().unwrap_or_default().to_string_lossy();
    float.with_file_name(format!("{stem}-int8.onnx"))
}

/// Writes the 8-bit file of a float file to `path` and measures both.
///
/// # Errors
/// A file without a contract of frames, data that cannot be read, and whatever quantizing and running models may meet.
pub fn write(
    float: &Path,
    path: &Path,
    (selection, cache): (&Selection, Option<PathBuf>),
    engine: &config::Engine,
) -> anyhow::Result<Int8> {
    let mut contract = load_contract(float)?;
    let recipe = Recipe::of_contract(&contract, cache)?;
    let (DatasetSplits { train, validation, test }, _) = selection.partition(&recipe)?;
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
    // Another model has another name, so that its events have other ids, and figures of its own.
    contract.name = format!("{}-int8", contract.name);
    contract.provenance.metrics = metrics(&on_validation[1], &on_test[1]);
    describe(&mut model, &contract)?;
    written(&model)?;
    let speed_up = speed_up(&mut slow, &mut fast, &validation.windows)?;
    Ok(Int8 { path: path.to_owned(), validation: on_validation, test: on_test, speed_up })
}

/// Dense layers are worth it in a dense net alone; behind convolutions they cost accuracy and gain nothing.
fn options(model: &ModelProto) -> QuantizeOptions {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let convolves = nodes.into_iter().any(|node| node.op_type == "Conv");
    let default = QuantizeOptions::default();
    if convolves { QuantizeOptions { min_weights: usize::MAX, ..default } } else { default }
}

fn describe(model: &mut ModelProto, contract: &Contract) -> anyhow::Result<()> {
    let entry = model.metadata_props.iter_mut().find(|entry| entry.key == METADATA_KEY);
    entry.context("the float file's contract stands beside it, not in it")?.value =
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

/// Some from all over.
fn spread<T>(all: Vec<T>) -> Vec<T> {
    let step = all.len().div_ceil(CALIBRATION_WINDOWS).max(1);
    all.into_iter().step_by(step).collect()
}
