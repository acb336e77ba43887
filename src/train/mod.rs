//! Training of models.
//!
//! Input: labelled clips. Output: one ONNX file with its contract, and a report. Invariants: the test clips of a run are
//! scored once, after every choice is made.
//!
//! In data order: `selection` (clips and splits) and `audit` (unusable clips) → `data`: `corpus` with its `cache` (windows of
//! features), or `encoder` (embeddings of a frozen encoder) → `waveform` and `augment` (data augmentation) → `batch` → `front` (mask, level removal, normalization) →
//! `feed` (network input) → `network`, trained by `fit` with its `optimizer` and its `state` (checkpoints) → `score`
//! (metrics and temperature) and `logits` (their statistics) → `export` (the same computation as an ONNX `graph`) and `report`. Existing model files are
//! quantized by `int8` (with `quantize`) and combined by `join`; both use `measure`.

pub mod architecture;
pub mod audit;
pub mod augment;
pub mod batch;
pub mod cache;
pub mod corpus;
mod cut;
mod data;
pub mod encoder;
mod export;
mod feed;
pub mod fit;
pub mod front;
pub mod graph;
pub mod int8;
pub mod join;
mod logits;
pub mod measure;
pub mod network;
pub mod onnx;
pub mod optimizer;
mod progress;
pub mod quantize;
pub mod report;
pub mod score;
pub mod selection;
pub mod state;
mod view;
pub mod waveform;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use burn::module::Module;
use prost::Message;

use crate::datasets::{Clip, DatasetSplits};
use crate::evaluation::ScoredClip;
use crate::model::{Contract, Input, Layout, Output};

use architecture::{Architecture, NetworkKind, Sizes};
use audit::Audit;
use augment::Strength;
use batch::BatchShape;
use corpus::{LabelledWindow, Recipe};
use data::Data;
use encoder::Encoder;
use fit::{FitOptions, Fitted, RunControl};
use score::Score;
use selection::Selection;
use waveform::WaveformStrength;

/// The parameters of a training run.
#[derive(Debug, Clone)]
pub struct Training {
    /// The clips and their splits.
    pub selection: Selection,
    /// The options for turning samples into windows of features.
    pub recipe: Recipe,
    /// The architecture.
    pub kind: NetworkKind,
    /// The frozen encoder; present where the architecture is [`NetworkKind::Encoder`], and only there.
    pub encoder: Option<Encoder>,
    /// The sizes of the network.
    pub sizes: Sizes,
    /// The augmentation of the samples of training windows.
    pub waveform: WaveformStrength,
    /// The augmentation of the features of training windows.
    pub strength: Strength,
    /// The options of the training loop.
    pub fit: FitOptions,
    /// The checkpoint file and the stop flags.
    pub control: RunControl,
}

/// The identity of a model in its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// The name of the data; `None` uses the names of the datasets.
    pub data: Option<String>,
}

/// A trained model with its scores.
#[derive(Debug)]
pub struct Trained {
    /// The parameters of the run.
    pub training: Training,
    /// The findings of the audit.
    pub audit: Audit,
    /// The emotions in the order of the output.
    pub labels: Vec<String>,
    /// The network and its front stage.
    pub fitted: Fitted,
    /// The score on the test clips.
    pub test: Score,
    /// The test clips with their probabilities, at the model's temperature.
    pub test_clips: Vec<ScoredClip>,
    /// The number of training clips.
    pub training_clips: usize,
    /// The duration of the run, audit included.
    pub seconds: f64,
    /// The architecture with its sizes.
    pub architecture: Architecture,
}

impl Training {
    /// Reads the data, trains, and scores the test clips once.
    ///
    /// # Errors
    /// Returns an error where data cannot be read or front-end options are invalid.
    pub fn run(&self) -> anyhow::Result<Trained> {
        let began = Instant::now();
        let (DatasetSplits { train, validation, test }, audit) = self.selection.splits(&self.recipe)?;
        eprint!("{audit}");
        let labels = labels(&train);
        let data = Data::of(self)?;
        let windows = data.training(self, [&train, &validation], &labels)?;
        let fit = data.fit(self, &windows, labels.len())?;
        let (architecture, shape) = (fit.architecture.clone(), fit.shape());
        let mut fitted = fit.run(&self.control)?;
        let training_clips = windows.train.clip_labels.len();
        drop(windows);
        let test = data.read(&test, &labels, "test")?;
        let logits = fit::logits(&fitted.front, &fitted.network, &test.windows, shape);
        let test_clips = score::scored_clips(&test, &logits, fitted.temperature);
        let test = score::of_clips(&test_clips);
        if let Some(rotation) = data.after_training() {
            fitted.front = fitted.front.with_rotation(rotation);
        }
        Ok(Trained {
            training: self.clone(),
            audit,
            labels,
            fitted,
            test,
            test_clips,
            training_clips,
            seconds: began.elapsed().as_secs_f64(),
            architecture,
        })
    }
}

impl Trained {
    /// Returns the probabilities of windows, `[windows][labels]`, computed by the trainer and not by ONNX Runtime. With an
    /// encoder, the windows are embeddings or frames, see [`encoder::Embeddings`].
    pub fn probabilities(&self, windows: &[LabelledWindow]) -> Vec<Vec<f64>> {
        let shape = BatchShape {
            frames: self.architecture.frames,
            coefficients: self.fitted.front.coefficients,
            labels: self.labels.len(),
        };
        let logits = fit::logits(&self.fitted.front, &self.fitted.network, windows, shape);
        logits.iter().map(|logits| score::softmax(logits, self.fitted.temperature)).collect()
    }

    /// Returns the number of learnt parameters: weights, biases, and scale and offset of each batch normalization channel.
    pub fn parameters(&self) -> usize {
        self.fitted.network.num_params()
    }

    /// Returns the contract of the model.
    pub fn contract(&self, identity: &Identity) -> Contract {
        let recipe = &self.training.recipe;
        let frames = recipe.input != Input::Waveform;
        Contract {
            schema: 1,
            name: identity.name.clone(),
            version: identity.version.clone(),
            labels: self.labels.clone(),
            values: Vec::new(),
            input: recipe.input,
            layout: if frames { Layout::Ntc } else { Layout::Ns },
            output: Output::Probabilities,
            sample_rate_hz: recipe.sample_rate_hz,
            window: recipe.window,
            frames: frames.then(|| recipe.frames()),
            mfcc: frames.then(|| recipe.mfcc.clone()),
            temperature: self.fitted.temperature,
            out_of_domain: None,
            adaptation: Some(self.fitted.validation_logits.clone()),
            provenance: self.training.selection.provenance(
                identity,
                &self.fitted.validation,
                &self.test,
                self.training.fit.seed,
            ),
        }
    }

    /// Writes the model as one ONNX file.
    ///
    /// # Errors
    /// Returns an error where the file cannot be written.
    pub fn write(&self, path: &Path, identity: &Identity) -> anyhow::Result<()> {
        let contract = self.contract(identity);
        let model = match &self.training.encoder {
            Some(encoder) => export::export_head(&self.fitted, encoder, &contract)?,
            None => export::export(&self.fitted, self.training.recipe.frames(), &contract)?,
        };
        std::fs::write(path, model.encode_to_vec()).with_context(|| format!("write {}", path.display()))
    }
}

/// Returns the emotions of the training clips, sorted.
fn labels(train: &[Clip]) -> Vec<String> {
    train.iter().map(|clip| clip.emotion.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}
