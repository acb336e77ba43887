//! Training: labelled clips in, one self-describing ONNX file out.
//!
//! In data order: `selection` (which clips) and `audit` (what is wrong with them) → `corpus` with its `cache` (clips to
//! windows of features, cut as in serving) → `waveform` and `augment` (changed copies) → `batch` → `front` (mask, level,
//! normalisation) → `feed` → `network` under `fit` (loop, best epoch) with its `optimizer` and its `state` (checkpoints) →
//! `score` (temperature) → `export` (the same computation as an ONNX `graph`, with its contract) and `report`. Files that
//! are there become others in `int8` (by `quantize`) and `join`, which `measure` them. A run touches its test clips once,
//! after everything is chosen.

pub mod architecture;
pub mod audit;
pub mod augment;
pub mod batch;
pub mod cache;
pub mod corpus;
mod cut;
mod export;
mod feed;
pub mod fit;
pub mod front;
mod graph;
pub mod int8;
pub mod join;
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

use crate::datasets::{Clip, Partition};
use crate::evaluation::ScoredClip;
use crate::model::{Contract, Input, Layout, Output};

use architecture::{Architecture, Kind, Sizes};
use audit::Audit;
use augment::{Augmentation, Strength};
use batch::{BatchShape, Changes};
use corpus::{Corpus, Recipe, Window};
use fit::{Fit, FitOptions, Fitted, Keeping};
use front::Front;
use network::statistics::StatisticsShape;
use score::Score;
use selection::Selection;
use view::{View, loudness_of_first};
use waveform::{Waveform, WaveformStrength};

/// What to train, on what, and how.
#[derive(Debug, Clone)]
pub struct Training {
    /// Which clips take part.
    pub selection: Selection,
    /// How samples become windows.
    pub recipe: Recipe,
    /// Which network.
    pub kind: Kind,
    /// How large it is.
    pub sizes: Sizes,
    /// How the samples of training windows are changed.
    pub waveform: WaveformStrength,
    /// How their features are changed.
    pub strength: Strength,
    /// Settings of the loop.
    pub fit: FitOptions,
    /// What outlives a run that is stopped.
    pub keeping: Keeping,
}

/// How the file will name the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// What the data is called; the datasets' names where it is `None`.
    pub data: Option<String>,
}

/// A trained model, and what it reached on the test clips.
#[derive(Debug)]
pub struct Trained {
    /// What it was trained on, and how.
    pub training: Training,
    /// What was found in the data.
    pub audit: Audit,
    /// Emotions in the order of the output.
    pub labels: Vec<String>,
    /// The network and its first stage.
    pub fitted: Fitted,
    /// The test clips' score.
    pub test: Score,
    /// The test clips, at the model's temperature.
    pub test_clips: Vec<ScoredClip>,
    /// How many clips it learnt from.
    pub training_clips: usize,
    /// How long everything took, the audit included.
    pub seconds: f64,
    /// The shape of the network.
    pub architecture: Architecture,
}

impl Training {
    /// Reads the data, trains, and measures once on the test clips.
    ///
    /// # Errors
    /// Data that cannot be read, and front-end options that fit no front end.
    pub fn run(&self) -> anyhow::Result<Trained> {
        let began = Instant::now();
        let (Partition { train, validation, test }, audit) = self.selection.partition(&self.recipe)?;
        eprint!("{audit}");
        let labels = labels(&train);
        let view = View::of(self.kind, &self.recipe);
        let keep = Recipe { keep_samples: !self.waveform.is_none(), ..view.recipe.clone() };
        let train = Corpus::read(&train, &labels, &keep, "train")?;
        let validation = Corpus::read(&validation, &labels, &view.recipe, "validation")?;
        let fit = self.fit(&view, (&train, &validation), labels.len())?;
        let (architecture, shape) = (fit.architecture.clone(), fit.shape());
        let mut fitted = fit.run(&self.keeping)?;
        let training_clips = train.clip_labels.len();
        drop(train);
        let test = Corpus::read(&test, &labels, &view.recipe, "test")?;
        let logits = fit::logits(&fitted.front, &fitted.network, &test.windows, shape);
        let test_clips = score::scored_clips(&test, &logits, fitted.temperature);
        let test = score::of_clips(&test_clips);
        if let Some(rotation) = view.behind {
            fitted.front = fitted.front.behind(rotation);
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

    fn fit<'a>(
        &self,
        view: &View,
        (train, validation): (&'a Corpus, &'a Corpus),
        labels: usize,
    ) -> anyhow::Result<Fit<'a>> {
        let (recipe, frames) = (&view.recipe, view.recipe.frames());
        let windows = train.windows.iter().map(|window| window.features.as_slice());
        let treatment = (view.level, view.scaling);
        let front = Front::fit(windows, recipe.coefficients(), treatment, view.rotation.clone());
        let architecture = match self.kind {
            Kind::Cnn => Architecture::cnn([frames, front.bands], labels, &self.sizes),
            Kind::Dense => {
                let first = (loudness_of_first(&recipe.mfcc), front.bands / (1 + recipe.mfcc.deltas));
                Architecture::dense(StatisticsShape::new(frames, &front, first), labels, &self.sizes)
            }
        };
        let waveform = match self.waveform.is_none() {
            true => None,
            false => Some(Waveform::new(self.waveform, recipe.front_end()?, recipe.sample_rate_hz)),
        };
        let (strength, width) = (self.strength, recipe.coefficients());
        let features = Augmentation { strength, width, has_bands: recipe.input == Input::LogMel };
        let changes = Changes { waveform, features };
        Ok(Fit { front, architecture, changes, options: self.fit.clone(), train, validation })
    }
}

impl Trained {
    /// Probabilities `[windows][labels]` of windows, as the trainer itself computes them.
    pub fn probabilities(&self, windows: &[Window]) -> Vec<Vec<f64>> {
        let shape = BatchShape {
            frames: self.training.recipe.frames(),
            coefficients: self.fitted.front.coefficients,
            labels: self.labels.len(),
        };
        let logits = fit::logits(&self.fitted.front, &self.fitted.network, windows, shape);
        logits.iter().map(|logits| score::softmax(logits, self.fitted.temperature)).collect()
    }

    /// Learnt numbers: weights, biases, and two for each normalised channel.
    pub fn parameters(&self) -> usize {
        self.fitted.network.num_params()
    }

    /// What the file will say of itself.
    pub fn contract(&self, identity: &Identity) -> Contract {
        let recipe = &self.training.recipe;
        Contract {
            schema: 1,
            name: identity.name.clone(),
            version: identity.version.clone(),
            labels: self.labels.clone(),
            values: Vec::new(),
            input: recipe.input,
            layout: Layout::Ntc,
            output: Output::Probabilities,
            sample_rate_hz: recipe.sample_rate_hz,
            window: recipe.window,
            frames: Some(recipe.frames()),
            mfcc: Some(recipe.mfcc.clone()),
            temperature: self.fitted.temperature,
            provenance: self.training.selection.provenance(
                identity,
                (&self.fitted.validation, &self.test),
                self.training.fit.seed,
            ),
        }
    }

    /// Writes the model as one ONNX file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path, identity: &Identity) -> anyhow::Result<()> {
        let frames = self.training.recipe.frames();
        let model = export::export(&self.fitted, frames, &self.contract(identity))?;
        std::fs::write(path, model.encode_to_vec()).with_context(|| format!("write {}", path.display()))
    }
}

/// Every emotion of the training clips, sorted.
fn labels(train: &[Clip]) -> Vec<String> {
    train.iter().map(|clip| clip.emotion.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}
