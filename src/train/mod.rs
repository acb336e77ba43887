//! Training: labelled clips in, one self-describing ONNX file out.
//!
//! In data order: `corpus` (clips to windows of features, cut as in serving) → `waveform` and `augment` (changed copies)
//! → `batch` → `front` (mask, level, normalisation) → `feed` → `network` under `fit` (loop, best epoch) with its
//! `optimizer` → `score` (temperature) → `export` (the same computation as an ONNX `graph`, with its contract). Test
//! clips are touched once, after everything is chosen.

pub mod architecture;
pub mod augment;
pub mod batch;
pub mod corpus;
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
pub mod score;
pub mod state;
mod view;
pub mod waveform;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use burn::module::Module;
use prost::Message;

use crate::evaluation::datasets::{self, DatasetSpec, Split};
use crate::model::{Contract, Input, Layout, Output, Provenance};

use architecture::{Architecture, Kind};
use augment::{Augmentation, Strength};
use batch::{BatchShape, Changes};
use corpus::{Corpus, Recipe, Window};
use fit::{Fit, FitOptions, Fitted, Keeping};
use front::Front;
use network::statistics::StatisticsShape;
use score::Score;
use view::{View, loudness_of_first};
use waveform::{Waveform, WaveformStrength};

/// What to train, on what, and how.
#[derive(Debug, Clone)]
pub struct Training {
    /// Datasets, all of them together.
    pub data: Vec<DatasetSpec>,
    /// How samples become windows.
    pub recipe: Recipe,
    /// Which network.
    pub kind: Kind,
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
    /// Emotions in the order of the output.
    pub labels: Vec<String>,
    /// The network and its first stage.
    pub fitted: Fitted,
    /// The test clips' score.
    pub test: Score,
    /// The shape of the network.
    pub architecture: Architecture,
}

impl Training {
    /// Reads the data, trains, and measures once on the test clips.
    ///
    /// # Errors
    /// Data that cannot be read, and front-end options that fit no front end.
    pub fn run(&self) -> anyhow::Result<Trained> {
        let labels = self.labels()?;
        let view = View::of(self.kind, &self.recipe);
        let keep = Recipe { keep_samples: !self.waveform.is_none(), ..view.recipe.clone() };
        let train = self.corpus(Split::Train, &labels, &keep)?;
        let validation = self.corpus(Split::Validation, &labels, &view.recipe)?;
        let fit = self.fit(&view, (&train, &validation), labels.len())?;
        let (architecture, shape) = (fit.architecture.clone(), fit.shape());
        let mut fitted = fit.run(&self.keeping)?;
        drop(train);
        let test = self.corpus(Split::Test, &labels, &view.recipe)?;
        let logits = fit::logits(&fitted.front, &fitted.network, &test.windows, shape);
        let test = score::score(&test, &logits, fitted.temperature);
        if let Some(rotation) = view.behind {
            fitted.front = fitted.front.behind(rotation);
        }
        Ok(Trained { training: self.clone(), labels, fitted, test, architecture })
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
            Kind::Cnn => Architecture::cnn([frames, front.bands], labels),
            Kind::Dense => {
                let loudness = loudness_of_first(&recipe.mfcc);
                Architecture::dense(StatisticsShape::new(frames, &front, loudness), labels)
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

    /// Every emotion of the training clips, sorted.
    fn labels(&self) -> anyhow::Result<Vec<String>> {
        let mut labels = BTreeSet::new();
        for spec in &self.data {
            labels.extend(datasets::load(spec, Split::Train)?.into_iter().map(|clip| clip.emotion));
        }
        Ok(labels.into_iter().collect())
    }

    fn corpus(&self, split: Split, labels: &[String], recipe: &Recipe) -> anyhow::Result<Corpus> {
        corpus_of(&self.data, split, labels, recipe)
    }
}

/// One split of several datasets together.
fn corpus_of(
    data: &[DatasetSpec],
    split: Split,
    labels: &[String],
    recipe: &Recipe,
) -> anyhow::Result<Corpus> {
    let mut clips = Vec::new();
    for spec in data {
        clips.extend(datasets::load(spec, split)?);
    }
    Corpus::read(&clips, labels, recipe, &split.to_string())
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
            input: recipe.input,
            layout: Layout::Ntc,
            output: Output::Probabilities,
            sample_rate_hz: recipe.sample_rate_hz,
            window: recipe.window,
            frames: Some(recipe.frames()),
            mfcc: Some(recipe.mfcc.clone()),
            temperature: self.fitted.temperature,
            provenance: provenance(
                (&self.training.data, identity),
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

/// What a model was made of and what it reached.
fn provenance(
    (data, identity): (&[DatasetSpec], &Identity),
    (validation, test): (&Score, &Score),
    seed: u64,
) -> Provenance {
    let titles = || data.iter().map(|spec| spec.title().to_owned()).collect();
    let protocols: Vec<String> = data.iter().map(DatasetSpec::protocol).collect();
    Provenance {
        datasets: identity.data.clone().map_or_else(titles, |data| vec![data]),
        protocol: protocols.join("; "),
        metrics: metrics(validation, test),
        trained_at: now(),
        seed,
    }
}

/// The figures that a contract carries.
fn metrics(validation: &Score, test: &Score) -> BTreeMap<String, f64> {
    let figures = |(split, score): (&str, &Score)| {
        [
            (format!("{split}_accuracy"), score.accuracy),
            (format!("{split}_unweighted_average_recall"), score.unweighted_average_recall),
            (format!("{split}_macro_f1"), score.macro_f1),
        ]
    };
    [("validation", validation), ("test", test)].into_iter().flat_map(figures).collect()
}

/// RFC 3339, through the protocol's own timestamp; `SOURCE_DATE_EPOCH` in the clock's place where it is set
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn now() -> String {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let since = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = fixed.unwrap_or_else(|| since().as_secs() as i64);
    let timestamp = pbjson_types::Timestamp { seconds, nanos: 0 };
    serde_json::to_value(timestamp).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}
