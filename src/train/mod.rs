//! Training: labelled clips in, one self-describing ONNX file out.
//!
//! In data order: `corpus` (clips to windows of features, cut as in serving) → `front` (mask, level, normalisation) and
//! `augment` → `batch` → `network` under `fit` (loop, best epoch) → `score` (temperature) → `export` (the same
//! computation as an ONNX `graph`, with its contract). Test clips are touched once, after everything is chosen.

pub mod architecture;
pub mod audit;
pub mod augment;
pub mod batch;
pub mod corpus;
mod export;
pub mod fit;
pub mod front;
mod graph;
pub mod network;
pub mod onnx;
mod progress;
pub mod report;
pub mod score;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use burn::module::Module;
use prost::Message;

use crate::evaluation::datasets::{Clip, DatasetSpec, LabelMap, Partition, Pool, Protocol};
use crate::features::DctNorm;
use crate::model::{Contract, Input, Layout, Output, Provenance};

use architecture::{Architecture, Kind};
use audit::{Audit, Frame, Heard};
use augment::{Augmentation, Strength};
use batch::BatchShape;
use corpus::{Corpus, Recipe, Window};
use fit::{Fit, FitOptions, Fitted};
use front::{Front, LevelIn};
use score::Score;

/// What to train, on what, and how.
#[derive(Debug, Clone)]
pub struct Training {
    /// Datasets, all of them together.
    pub data: Vec<DatasetSpec>,
    /// Which labels become which.
    pub label_map: LabelMap,
    /// Who trains, validates and tests.
    pub protocol: Protocol,
    /// How samples become windows.
    pub recipe: Recipe,
    /// Which network.
    pub kind: Kind,
    /// How training windows are changed.
    pub strength: Strength,
    /// Settings of the loop.
    pub fit: FitOptions,
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
    /// The shape of the network.
    pub architecture: Architecture,
}

impl Training {
    /// Reads the data, trains, and measures once on the test clips.
    ///
    /// # Errors
    /// Data that cannot be read, and front-end options that fit no front end.
    pub fn run(&self) -> anyhow::Result<Trained> {
        let (Partition { train, validation, test }, audit) = self.partition()?;
        eprint!("{audit}");
        let labels = labels(&train);
        let train = Corpus::read(&train, &labels, &self.recipe, "train")?;
        let validation = Corpus::read(&validation, &labels, &self.recipe, "validation")?;
        let (coefficients, rotation) = (self.recipe.coefficients(), self.rotation());
        let level =
            if self.recipe.input == Input::Mfcc { LevelIn::FirstCoefficient } else { LevelIn::MeanOfBands };
        let windows = train.windows.iter().map(|window| window.features.as_slice());
        let front = Front::fit(windows, coefficients, level, rotation.clone());
        let architecture = Architecture::new(self.kind, self.recipe.frames(), front.bands, labels.len());
        let has_bands = rotation.is_some() || self.recipe.input == Input::LogMel;
        let augmentation = Augmentation::new(self.strength, coefficients, rotation.as_deref(), has_bands);
        let fit = Fit {
            front,
            architecture: architecture.clone(),
            augmentation,
            options: self.fit.clone(),
            train: &train,
            validation: &validation,
        };
        let shape = fit.shape();
        let fitted = fit.run();
        drop(train);
        let test = Corpus::read(&test, &labels, &self.recipe, "test")?;
        let logits = fit::logits(&fitted.front, &fitted.network, &test.windows, shape);
        let test = score::score(&test, &logits, fitted.temperature);
        Ok(Trained { training: self.clone(), audit, labels, fitted, test, architecture })
    }

    /// All clips that can be used in their parts, and all others.
    fn partition(&self) -> anyhow::Result<(Partition, Audit)> {
        let pool = Pool::read(&self.data, &self.label_map)?;
        let found = Audit::of_pool(&pool);
        let frame = Frame { length: self.recipe.mfcc.n_fft, sample_rate_hz: self.recipe.sample_rate_hz };
        let partition = pool.divide(&self.protocol)?;
        audit::audit(partition, self.protocol.name(), frame, found, Heard::file)
    }

    /// From a full orthonormal cepstrum back to log-mel bands, `[coefficients, bands]`, so that convolutions meet
    /// neighbouring bands; `None` where the features are not such a cepstrum.
    fn rotation(&self) -> Option<Vec<f32>> {
        let mfcc = &self.recipe.mfcc;
        let full = self.recipe.input == Input::Mfcc
            && mfcc.n_mfcc == mfcc.n_mels
            && mfcc.dct_norm == DctNorm::Ortho
            && mfcc.deltas == 0;
        full.then(|| cepstrum_to_bands(mfcc.n_mels))
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
            input: recipe.input,
            layout: Layout::Ntc,
            output: Output::Probabilities,
            sample_rate_hz: recipe.sample_rate_hz,
            window: recipe.window,
            frames: Some(recipe.frames()),
            mfcc: Some(recipe.mfcc.clone()),
            temperature: self.fitted.temperature,
            provenance: self.provenance(identity),
        }
    }

    fn provenance(&self, identity: &Identity) -> Provenance {
        let scores = [("validation", &self.fitted.validation), ("test", &self.test)];
        let metrics = scores.iter().flat_map(|(split, score)| {
            [
                (format!("{split}_accuracy"), score.accuracy),
                (format!("{split}_unweighted_average_recall"), score.unweighted_average_recall),
                (format!("{split}_macro_f1"), score.macro_f1),
            ]
        });
        let titles = || self.training.data.iter().map(|spec| spec.title().to_owned()).collect();
        Provenance {
            datasets: identity.data.clone().map_or_else(titles, |data| vec![data]),
            protocol: self.training.protocol.describe(&self.training.data),
            metrics: metrics.collect::<BTreeMap<_, _>>(),
            trained_at: now(),
            seed: self.training.fit.seed,
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

/// RFC 3339, through the protocol's own timestamp.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let timestamp = pbjson_types::Timestamp { seconds: since.as_secs() as i64, nanos: 0 };
    serde_json::to_value(timestamp).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The inverse of the orthonormal type-2 DCT: row `k` is the cosine of coefficient `k` over the bands.
fn cepstrum_to_bands(n_mels: usize) -> Vec<f32> {
    let length = n_mels as f64;
    let entry = |k: usize, n: usize| {
        let scale = if k == 0 { (1.0 / length).sqrt() } else { (2.0 / length).sqrt() };
        scale * (std::f64::consts::PI * k as f64 * (2 * n + 1) as f64 / (2.0 * length)).cos()
    };
    (0..n_mels).flat_map(|k| (0..n_mels).map(move |n| entry(k, n) as f32)).collect()
}
