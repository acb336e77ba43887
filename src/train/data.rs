//! The windows of a run: features, or embeddings of an encoder.
//!
//! Input: the parameters of a run and the clips of its splits. Output: [`TrainingData`] and the training loop's constant
//! inputs. Invariants: only training windows are augmented.

use anyhow::bail;

use super::Training;
use super::architecture::{Architecture, HeadShape, NetworkKind};
use super::augment::{Augmentation, Strength};
use super::batch::Augmentations;
use super::corpus::{Corpus, Recipe};
use super::encoder::{Embeddings, Encoder, Pooling, Variant};
use super::fit::Fit;
use super::front::{Front, LevelIn, Scaling};
use super::network::statistics::StatisticsShape;
use super::view::{View, loudness_of_first};
use super::waveform::Waveform;
use crate::datasets::Clip;
use crate::model::Input;

/// The number of values of a frame for each hidden unit of the attention.
const VALUES_PER_UNIT: usize = 4;
/// The maximum number of hidden units of the attention.
const MAX_ATTENTION: usize = 128;

/// The source of windows.
pub(super) enum Data<'a> {
    /// Features of the front end.
    Features(View),
    /// Embeddings of an encoder.
    Embeddings(Embeddings<'a>),
}

/// The windows that a network is trained and chosen with.
pub(super) struct TrainingData {
    /// The training windows.
    pub train: Corpus,
    /// Augmented copies of them, window by window.
    pub copies: Vec<Corpus>,
    /// The validation windows.
    pub validation: Corpus,
}

impl<'a> Data<'a> {
    pub fn of(training: &'a Training) -> anyhow::Result<Self> {
        Ok(match &training.encoder {
            None => Self::Features(View::of(training.kind, &training.recipe)),
            Some(encoder) => Self::Embeddings(Embeddings::new(encoder, &training.recipe)?),
        })
    }

    /// Reads the training and validation clips.
    pub fn training(
        &self,
        training: &Training,
        [train, validation]: [&[Clip]; 2],
        labels: &[String],
    ) -> anyhow::Result<TrainingData> {
        let (train, copies) = match self {
            Self::Features(view) => {
                let keep = Recipe { keep_samples: !training.waveform.is_none(), ..view.recipe.clone() };
                (Corpus::read(train, labels, &keep, "train")?, Vec::new())
            }
            Self::Embeddings(embeddings) => {
                let copy = |copy| copy_of(embeddings, training, train, labels, copy);
                let copies = if training.waveform.is_none() { 0 } else { embeddings.encoder.options.copies };
                (
                    embeddings.read(train, labels, "train", None)?,
                    (1..=copies).map(copy).collect::<anyhow::Result<_>>()?,
                )
            }
        };
        Ok(TrainingData { train, copies, validation: self.read(validation, labels, "validation")? })
    }

    /// Reads clips without augmentation. `what` names them in the progress.
    pub fn read(&self, clips: &[Clip], labels: &[String], what: &str) -> anyhow::Result<Corpus> {
        match self {
            Self::Features(view) => Corpus::read(clips, labels, &view.recipe, what),
            Self::Embeddings(embeddings) => embeddings.read(clips, labels, what, None),
        }
    }

    /// Returns the matrix that is added to the front stage after training, if any.
    pub fn after_training(self) -> Option<Vec<f32>> {
        match self {
            Self::Features(view) => view.after_training,
            Self::Embeddings(_) => None,
        }
    }

    /// Sets up the training loop: front stage, architecture and augmentations.
    pub fn fit<'b>(
        &self,
        training: &Training,
        data: &'b TrainingData,
        labels: usize,
    ) -> anyhow::Result<Fit<'b>> {
        match self {
            Self::Features(view) => features_fit(view, training, data, labels),
            Self::Embeddings(embeddings) => Ok(head_fit(embeddings.encoder, training, data, labels)),
        }
    }
}

/// Returns one augmented copy of the training windows.
fn copy_of(
    embeddings: &Embeddings,
    training: &Training,
    clips: &[Clip],
    labels: &[String],
    copy: usize,
) -> anyhow::Result<Corpus> {
    let recipe = &training.recipe;
    let waveform = Waveform::new(training.waveform, recipe.front_end()?, recipe.sample_rate_hz);
    let variant = Variant { waveform, seed: training.fit.seed, copy };
    embeddings.read(clips, labels, &format!("copy {copy} of train"), Some(&variant))
}

fn features_fit<'a>(
    view: &View,
    training: &Training,
    data: &'a TrainingData,
    labels: usize,
) -> anyhow::Result<Fit<'a>> {
    let (recipe, frames) = (&view.recipe, view.recipe.frames());
    let windows = data.train.windows.iter().map(|window| window.features.as_slice());
    let front = Front::fit(windows, recipe.coefficients(), view.level, view.scaling, view.rotation.clone());
    let architecture = match training.kind {
        NetworkKind::Encoder => bail!("the architecture encoder needs an encoder"),
        NetworkKind::Cnn => Architecture::cnn([frames, front.bands], labels, &training.sizes),
        NetworkKind::Dense => {
            let (loudness, cepstrum) =
                (loudness_of_first(&recipe.mfcc), front.bands / (1 + recipe.mfcc.deltas));
            let statistics = StatisticsShape::new(frames, &front, loudness, cepstrum);
            Architecture::dense(statistics, labels, &training.sizes)
        }
    };
    let waveform = match training.waveform.is_none() {
        true => None,
        false => Some(Waveform::new(training.waveform, recipe.front_end()?, recipe.sample_rate_hz)),
    };
    let (strength, width) = (training.strength, recipe.coefficients());
    let features = Augmentation { strength, width, has_bands: recipe.input == Input::LogMel };
    let augmentations = Augmentations { waveform, features };
    let TrainingData { train, copies, validation } = data;
    Ok(Fit { front, architecture, augmentations, options: training.fit.clone(), train, copies, validation })
}

fn head_fit<'a>(encoder: &Encoder, training: &Training, data: &'a TrainingData, labels: usize) -> Fit<'a> {
    let TrainingData { train, copies, validation } = data;
    let [frames, width] = encoder.embedding_size();
    let corpora = std::iter::once(train).chain(copies);
    let windows = corpora.flat_map(|corpus| &corpus.windows).map(|window| window.features.as_slice());
    let front = Front::fit(windows, width, LevelIn::Nothing, Scaling::EachBand, None);
    let attention = (encoder.options.pooling == Pooling::Attentive)
        .then(|| (width / VALUES_PER_UNIT).clamp(1, MAX_ATTENTION));
    let shape = HeadShape { width, attention, hidden: training.sizes.hidden };
    let architecture = Architecture::head(frames, shape, labels);
    // The samples are augmented before the encoder, when the copies are computed.
    let features = Augmentation { strength: Strength::NONE, width, has_bands: false };
    let augmentations = Augmentations { waveform: None, features };
    Fit { front, architecture, augmentations, options: training.fit.clone(), train, copies, validation }
}
