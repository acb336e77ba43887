//! The 8-bit file beside a trained model: calibrated on training clips, then measured against the float file.
//!
//! In: a trained model's file. Out: a second file under its own name, what it reaches and how much faster it is. Never
//! looks at the test clips to choose anything.

use std::path::{Path, PathBuf};

use anyhow::Context;
use prost::Message;

use super::architecture::Kind;
use super::corpus::{Corpus, Window};
use super::measure::{Measured, speed_up};
use super::onnx::ModelProto;
use super::quantize::{QuantizeOptions, quantize};
use super::score::Score;
use super::selection::metrics;
use super::{Identity, Trained};
use crate::config;
use crate::evaluation::datasets::{Clip, Partition};
use crate::model::METADATA_KEY;

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

impl Trained {
    /// Writes the 8-bit file beside the float file and measures both.
    ///
    /// # Errors
    /// Data that cannot be read, and whatever quantizing and running models may meet.
    pub fn write_int8(
        &self,
        float: &Path,
        identity: &Identity,
        engine: &config::Engine,
    ) -> anyhow::Result<Int8> {
        let recipe = &self.training.recipe;
        let (Partition { train, validation, test }, _) = self.training.selection.partition(recipe)?;
        let corpus = |clips: &[Clip], what| Corpus::read(clips, &self.labels, recipe, what);
        let path = path_beside(float);
        let bytes = std::fs::read(float).with_context(|| format!("read {}", float.display()))?;
        let calibration = self.padded(&spread(corpus(&spread(train), "calibration")?.windows));
        let mut model =
            quantize(&ModelProto::decode(bytes.as_slice())?, &calibration, &self.options(), engine)?;
        let write = |model: &ModelProto| {
            std::fs::write(&path, model.encode_to_vec()).with_context(|| format!("write {}", path.display()))
        };
        write(&model)?;
        let (validation, test) = (corpus(&validation, "validation")?, corpus(&test, "test")?);
        let (mut slow, mut fast) = (Measured::load(float, engine)?, Measured::load(&path, engine)?);
        let mut both = |corpus: &Corpus| anyhow::Ok([slow.score(corpus)?, fast.score(corpus)?]);
        let (validation_scores, test_scores) = (both(&validation)?, both(&test)?);
        self.describe(&mut model, identity, (&validation_scores[1], &test_scores[1]))?;
        write(&model)?;
        let speed_up = speed_up(&mut slow, &mut fast, &validation.windows)?;
        Ok(Int8 { path, validation: validation_scores, test: test_scores, speed_up })
    }

    /// Dense layers are worth it in a dense net alone; behind convolutions they cost accuracy and gain nothing.
    fn options(&self) -> QuantizeOptions {
        let default = QuantizeOptions::default();
        match self.training.kind {
            Kind::Dense => default,
            Kind::Cnn => QuantizeOptions { min_weights: usize::MAX, ..default },
        }
    }

    /// Another model has another name, so that its events have other ids, and figures of its own.
    fn describe(
        &self,
        model: &mut ModelProto,
        identity: &Identity,
        (validation, test): (&Score, &Score),
    ) -> anyhow::Result<()> {
        let identity = Identity { name: format!("{}-int8", identity.name), ..identity.clone() };
        let mut contract = self.contract(&identity);
        contract.provenance.metrics = metrics(validation, test);
        let entry = model.metadata_props.iter_mut().find(|entry| entry.key == METADATA_KEY);
        entry.context("the float file holds no contract")?.value = serde_json::to_string(&contract)?;
        Ok(())
    }

    fn padded(&self, windows: &[Window]) -> Vec<Vec<f32>> {
        let recipe = &self.training.recipe;
        let size = recipe.frames() * recipe.coefficients();
        let pad = |window: &Window| {
            let mut out = vec![0.0; size];
            window.write_padded(&mut out);
            out
        };
        windows.iter().map(pad).collect()
    }
}

/// Some from all over.
fn spread<T>(all: Vec<T>) -> Vec<T> {
    let step = all.len().div_ceil(CALIBRATION_WINDOWS).max(1);
    all.into_iter().step_by(step).collect()
}
