//! What training sees of the features that the model will get, and the cosines between bands and cepstrum.
//!
//! In: the kind of network and the model's features. Out: the features to train on, and how the one becomes the other.
//! Never touches a clip.

use super::architecture::NetworkKind;
use super::corpus::Recipe;
use super::front::{LevelIn, Scaling};
use crate::features::{DctNorm, Log, MfccOptions};
use crate::model::Input;

/// Coefficients that statistics are measured of where the features are log-mel bands.
const CEPSTRUM: usize = 24;

/// What training sees of the features that the model will get: convolutions need neighbouring mel bands, statistics
/// need a cepstrum.
pub(super) struct View {
    /// Features of the training windows.
    pub recipe: Recipe,
    /// From those to what the network sees, where they differ.
    pub rotation: Option<Vec<f32>>,
    /// From the model's features to the training windows', where they differ.
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

/// What a cepstrum's first coefficient is multiplied by to be the mean over the bands of the logarithm of power.
pub(super) fn loudness_of_first(mfcc: &MfccOptions) -> f32 {
    let bands = mfcc.n_mels as f32;
    let mean = match mfcc.dct_norm {
        DctNorm::Ortho => 1.0 / bands.sqrt(),
        DctNorm::None => 0.5 / bands,
    };
    if mfcc.log == Log::Db { mean * std::f32::consts::LN_10 / 10.0 } else { mean }
}

/// The inverse of the orthonormal type-2 DCT: row `k` is the cosine of coefficient `k` over the bands.
fn cepstrum_to_bands(n_mels: usize) -> Vec<f32> {
    (0..n_mels).flat_map(|k| (0..n_mels).map(move |n| cosine(k, n, n_mels))).collect()
}

/// The first coefficients of the orthonormal type-2 DCT, `[n_mels, coefficients]`.
fn bands_to_cepstrum(n_mels: usize) -> Vec<f32> {
    (0..n_mels).flat_map(|n| (0..n_mels.min(CEPSTRUM)).map(move |k| cosine(k, n, n_mels))).collect()
}

fn cosine(k: usize, n: usize, n_mels: usize) -> f32 {
    let length = n_mels as f64;
    let scale = if k == 0 { (1.0 / length).sqrt() } else { (2.0 / length).sqrt() };
    (scale * (std::f64::consts::PI * k as f64 * (2 * n + 1) as f64 / (2.0 * length)).cos()) as f32
}
