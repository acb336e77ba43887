//! The features that training uses in place of the model's features, and the DCT between mel bands and cepstrum.
//!
//! Input: the architecture and the model's features. Output: the features to train on, and the matrices that convert
//! between the two. Augmentation of the mel axis needs mel bands, so a CNN with a full set of MFCCs is trained on log-mel
//! bands, and the inverse DCT becomes part of the exported graph.

use super::architecture::NetworkKind;
use super::corpus::Recipe;
use super::front::{LevelIn, Scaling};
use crate::features::{DctNorm, Log, MfccOptions};
use crate::model::Input;

/// The number of cepstral coefficients of the dense net where the model's features are log-mel bands.
const CEPSTRUM: usize = 24;

/// The features of training for a model's features: mel bands for the CNN, a cepstrum for the dense net.
pub(super) struct View {
    /// The options of the training windows.
    pub recipe: Recipe,
    /// The matrix from the training windows' features to the network's input, where they differ.
    pub rotation: Option<Vec<f32>>,
    /// The matrix from the model's features to the training windows' features, where they differ. It is added to the front
    /// stage after training.
    pub after_training: Option<Vec<f32>>,
    pub level: LevelIn,
    pub scaling: Scaling,
}

impl View {
    pub fn of(kind: NetworkKind, recipe: &Recipe) -> Self {
        let mfcc = &recipe.mfcc;
        let cepstrum = recipe.input == Input::Mfcc;
        let full =
            cepstrum && mfcc.n_mfcc == mfcc.n_mels && mfcc.dct_norm == DctNorm::Ortho && mfcc.deltas == 0;
        let view = Self {
            recipe: recipe.clone(),
            rotation: None,
            after_training: None,
            level: if cepstrum { LevelIn::FirstCoefficient } else { LevelIn::MeanOfBands },
            scaling: if cepstrum { Scaling::EachBand } else { Scaling::AllBands },
        };
        let (first, each) = (LevelIn::FirstCoefficient, Scaling::EachBand);
        match (kind, recipe.input) {
            (NetworkKind::Cnn, Input::Mfcc) if full => Self {
                recipe: Recipe { input: Input::LogMel, ..recipe.clone() },
                after_training: Some(cepstrum_to_bands(mfcc.n_mels)),
                level: LevelIn::MeanOfBands,
                scaling: Scaling::AllBands,
                ..view
            },
            (NetworkKind::Dense, Input::LogMel) => {
                let rotation = Some(bands_to_cepstrum(mfcc.n_mels));
                Self { rotation, level: first, scaling: each, ..view }
            }
            _ => view,
        }
    }
}

/// Returns the factor that converts the first cepstral coefficient to the mean of the bands' natural log-power.
pub(super) fn loudness_of_first(mfcc: &MfccOptions) -> f32 {
    let bands = mfcc.n_mels as f32;
    let mean = match mfcc.dct_norm {
        DctNorm::Ortho => 1.0 / bands.sqrt(),
        DctNorm::None => 0.5 / bands,
    };
    if mfcc.log == Log::Db { mean * std::f32::consts::LN_10 / 10.0 } else { mean }
}

/// Returns the inverse of the orthonormal DCT-II, `[n_mels, n_mels]`: row `k` is the cosine of coefficient `k`.
fn cepstrum_to_bands(n_mels: usize) -> Vec<f32> {
    (0..n_mels).flat_map(|k| (0..n_mels).map(move |n| cosine(k, n, n_mels))).collect()
}

/// Returns the first coefficients of the orthonormal DCT-II, `[n_mels, coefficients]`.
fn bands_to_cepstrum(n_mels: usize) -> Vec<f32> {
    (0..n_mels).flat_map(|n| (0..n_mels.min(CEPSTRUM)).map(move |k| cosine(k, n, n_mels))).collect()
}

fn cosine(k: usize, n: usize, n_mels: usize) -> f32 {
    let length = n_mels as f64;
    let scale = if k == 0 { (1.0 / length).sqrt() } else { (2.0 / length).sqrt() };
    (scale * (std::f64::consts::PI * k as f64 * (2 * n + 1) as f64 / (2.0 * length)).cos()) as f32
}
