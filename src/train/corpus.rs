//! Clips as labelled windows of features, cut exactly as the daemon cuts them.
//!
//! Input: labelled clips on disk. Output: a [`Corpus`] in memory, with windows in the order of the clips for any number of
//! threads. Invariants: features are stored without padding; [`LabelledWindow::write_padded`] pads into the caller's
//! buffer.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use prost::bytes::Bytes;
use rayon::prelude::*;

use super::architecture::NetworkKind;
use super::cache::Cache;
use super::cut::{CutClip, CutWindow};
use super::progress;
use crate::audio::{ResamplerPlan, decode_bytes, mean_of_channels, resample};
use crate::datasets::Clip;
use crate::features::{FrameKind, FrontEnd, MfccOptions, features_with_deltas};
use crate::model::{Contract, Input, WindowShape};

/// The minimum length of a partial window after a full one, in seconds, as in the daemon (`window.min_length`).
const MIN_LENGTH_SECONDS: usize = 1;

/// The options for turning samples into windows of features.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The front end's options.
    pub mfcc: MfccOptions,
    /// `Mfcc` or `LogMel`; `Waveform` only for an encoder.
    pub input: Input,
    /// The sample rate, in Hz, that audio is resampled to.
    pub sample_rate_hz: u32,
    /// The length and the hop of a window.
    pub window: WindowShape,
    /// Whether windows keep their samples, which augmentation of samples requires.
    pub keep_samples: bool,
    /// The cache folder; `None` disables the cache.
    pub cache: Option<PathBuf>,
}

impl Recipe {
    /// Returns the defaults of an architecture, with windows of 3 s every 1 s at 16 kHz. The CNN has all 64 MFCCs of 64 mel
    /// bands, from which the mel bands are recovered without loss; the dense net has the first 24, the smooth part of the
    /// spectrum.
    pub fn of(kind: NetworkKind) -> Self {
        let n_mfcc = if kind == NetworkKind::Cnn { 64 } else { 24 };
        let mfcc = MfccOptions { n_mels: 64, n_mfcc, ..MfccOptions::default() };
        let window = WindowShape { length_samples: 48_000, hop_samples: 16_000 };
        Self { mfcc, input: Input::Mfcc, sample_rate_hz: 16_000, window, keep_samples: false, cache: None }
    }

    /// Returns the options of a model's contract.
    ///
    /// # Errors
    /// Returns an error where the model's input is a waveform.
    pub fn of_contract(contract: &Contract, cache: Option<PathBuf>) -> anyhow::Result<Self> {
        let frames = || format!("the input of model {} is a waveform, not frames", contract.name);
        let mfcc = contract.mfcc.clone().with_context(frames)?;
        let (input, sample_rate_hz, window) = (contract.input, contract.sample_rate_hz, contract.window);
        Ok(Self { mfcc, input, sample_rate_hz, window, keep_samples: false, cache })
    }

    /// Returns the options of an encoder's front end. For a waveform the feature options are the defaults, and unused.
    ///
    /// # Errors
    /// Returns an error where the contract holds no front end.
    pub fn of_encoder(contract: &Contract, cache: Option<PathBuf>) -> anyhow::Result<Self> {
        if contract.input != Input::Waveform {
            return Self::of_contract(contract, cache);
        }
        let (sample_rate_hz, window) = (contract.sample_rate_hz, contract.window);
        let (mfcc, input) = (MfccOptions::default(), Input::Waveform);
        Ok(Self { mfcc, input, sample_rate_hz, window, keep_samples: false, cache })
    }

    /// Validates the options.
    ///
    /// # Errors
    /// Returns an error with the invalid option, its value and the allowed values.
    pub fn check(&self) -> anyhow::Result<()> {
        self.front_end()?;
        let WindowShape { length_samples: length, hop_samples: hop } = self.window;
        let MfccOptions { n_fft, hop_length, deltas, .. } = self.mfcc;
        ensure!(
            self.input == Input::Mfcc || deltas == 0,
            "mfcc.deltas = {deltas}: must be 0 for the input log-mel, because the level is the mean of all values"
        );
        ensure!(n_fft <= length, "mfcc.n_fft = {n_fft}: must be at most {length}, the samples of a window");
        ensure!(
            length.is_multiple_of(hop_length) && hop.is_multiple_of(hop_length),
            "mfcc.hop_length = {hop_length}: must divide a window's length ({length} samples) and hop ({hop})"
        );
        Ok(())
    }

    /// Returns the number of frames of a full window, `1 + (length - n_fft) / hop_length`.
    pub fn frames(&self) -> usize {
        1 + (self.window.length_samples - self.mfcc.n_fft) / self.mfcc.hop_length
    }

    /// Returns the number of values per frame, deltas included.
    pub fn coefficients(&self) -> usize {
        let width = if self.input == Input::Mfcc { self.mfcc.n_mfcc } else { self.mfcc.n_mels };
        width * (1 + self.mfcc.deltas)
    }

    /// Returns the sample range of each window of a clip, as in the daemon.
    pub(super) fn window_ranges(&self, samples: usize) -> Vec<std::ops::Range<usize>> {
        window_ranges(samples, self.window, self.sample_rate_hz as usize * MIN_LENGTH_SECONDS)
    }

    /// Opens the cache for these options.
    fn open_cache(&self) -> anyhow::Result<Option<Cache>> {
        let settings =
            serde_json::json!([self.mfcc, self.input, self.sample_rate_hz, self.window, self.keep_samples]);
        self.cache.as_ref().map(|folder| Cache::open(folder, &settings)).transpose()
    }

    /// Creates the front end.
    ///
    /// # Errors
    /// Returns an error where the options are invalid.
    pub fn front_end(&self) -> anyhow::Result<FrontEnd> {
        let kind = if self.input == Input::Mfcc { FrameKind::Mfcc } else { FrameKind::LogMel };
        Ok(FrontEnd::new(&self.mfcc, self.sample_rate_hz, kind)?)
    }
}

/// One window of a clip with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledWindow {
    /// The features, `[frames * coefficients]`, without padding.
    pub features: Vec<f32>,
    /// The index of the clip's label.
    pub label: usize,
    /// The index of the clip.
    pub clip: usize,
    /// The samples as 16-bit integers; empty unless [`Recipe::keep_samples`] is set.
    pub samples: Vec<i16>,
}

impl LabelledWindow {
    /// Copies the features to the start of `out`, truncated to its length, and fills the rest with 0.
    pub fn write_padded(&self, out: &mut [f32]) {
        write_padded(&self.features, out);
    }
}

/// Copies `features` to the start of `out`, truncated to its length, and fills the rest with 0.
pub fn write_padded(features: &[f32], out: &mut [f32]) {
    let length = features.len().min(out.len());
    out[..length].copy_from_slice(&features[..length]);
    out[length..].fill(0.0);
}

/// The windows of one split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Corpus {
    /// The windows, clip by clip.
    pub windows: Vec<LabelledWindow>,
    /// The index of each clip's label.
    pub clip_labels: Vec<usize>,
    /// The speaker of each clip, where it is known.
    pub clip_speakers: Vec<Option<String>>,
}

impl Corpus {
    /// Decodes and cuts all clips in parallel. `what` names the split in the progress bar.
    ///
    /// # Errors
    /// Returns an error for the first clip that cannot be decoded, or whose emotion is not among `labels`.
    pub fn read(clips: &[Clip], labels: &[String], recipe: &Recipe, what: &str) -> anyhow::Result<Self> {
        let front_end = recipe.front_end()?;
        let cache = recipe.open_cache()?;
        Self::of_clips(clips, labels, what, |bytes, clip| {
            let cut = |bytes: &[u8]| cut(bytes, clip, recipe, &front_end);
            match &cache {
                Some(cache) => cache.get_or(bytes, cut),
                None => cut(bytes),
            }
        })
    }

    /// Cuts all clips in parallel with `cut`, which receives the bytes of a clip.
    ///
    /// # Errors
    /// Returns an error for the first clip that cannot be read or cut, or whose emotion is not among `labels`.
    pub(super) fn of_clips(
        clips: &[Clip],
        labels: &[String],
        what: &str,
        cut: impl Fn(&[u8], &Clip) -> anyhow::Result<CutClip> + Sync,
    ) -> anyhow::Result<Self> {
        let bar = progress::bar(clips.len(), what);
        let parts: Vec<Vec<LabelledWindow>> = clips
            .par_iter()
            .enumerate()
            .map(|(index, clip)| {
                let label = label_of(clip, labels)?;
                let bytes =
                    std::fs::read(&clip.path).with_context(|| format!("read {}", clip.path.display()))?;
                let windows = cut(&bytes, clip)?;
                bar.inc(1);
                Ok(windows.windows(label, index))
            })
            .collect::<anyhow::Result<_>>()?;
        bar.finish_and_clear();
        let clip_labels = parts.iter().map(|windows| windows[0].label).collect();
        let clip_speakers = clips.iter().map(|clip| clip.speaker.clone()).collect();
        Ok(Self { windows: parts.into_iter().flatten().collect(), clip_labels, clip_speakers })
    }
}

impl Corpus {
    /// Returns class weights `[1, labels]` by inverse frequency, `windows / (labels · count)`, as scikit-learn's
    /// `class_weight="balanced"`.
    pub fn label_weights(&self, labels: usize, device: &Device) -> Tensor<2> {
        let mut counts = vec![0.0_f32; labels];
        self.windows.iter().for_each(|window| counts[window.label] += 1.0);
        let weight = |count: &f32| self.windows.len() as f32 / (labels as f32 * count.max(1.0));
        let weights: Vec<f32> = counts.iter().map(weight).collect();
        Tensor::from_data(TensorData::new(weights, [1, labels]), device)
    }
}

fn label_of(clip: &Clip, labels: &[String]) -> anyhow::Result<usize> {
    labels.iter().position(|label| *label == clip.emotion).ok_or_else(|| {
        anyhow!(
            "clip {}: emotion `{}` is not among the training labels ({})",
            clip.id,
            clip.emotion,
            labels.join(", ")
        )
    })
}

/// Decodes a clip to the mean of its channels, resampled to `sample_rate_hz`.
pub(super) fn samples(bytes: &[u8], clip: &Clip, sample_rate_hz: u32) -> anyhow::Result<Vec<f32>> {
    let recording = decode_bytes(Bytes::copy_from_slice(bytes), Some(&clip.path.display().to_string()))?;
    let mono = mean_of_channels(&recording.channels);
    let plan = Arc::new(ResamplerPlan::new(recording.sample_rate_hz, sample_rate_hz));
    Ok(if plan.is_identity() { mono } else { resample(&plan, &mono) })
}

/// Cuts a clip into windows, at least one, and computes their features.
fn cut(bytes: &[u8], clip: &Clip, recipe: &Recipe, front_end: &FrontEnd) -> anyhow::Result<CutClip> {
    let samples = samples(bytes, clip, recipe.sample_rate_hz)?;
    let ranges = recipe.window_ranges(samples.len());
    let window = |range: std::ops::Range<usize>| CutWindow {
        features: features_with_deltas(front_end, &samples[range.clone()]),
        samples: if recipe.keep_samples { at_16_bits(&samples[range]) } else { Vec::new() },
    };
    Ok(CutClip(ranges.into_iter().map(window).collect()))
}

/// Returns samples as 16-bit integers.
pub(super) fn at_16_bits(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|it| (it * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

/// Returns the sample range of each window: all full windows, then a partial one where the remaining audio is in no full
/// window and holds `min_length` samples. A clip shorter than a window gives one partial window.
pub fn window_ranges(samples: usize, shape: WindowShape, min_length: usize) -> Vec<std::ops::Range<usize>> {
    let WindowShape { length_samples: length, hop_samples: hop } = shape;
    let whole = if samples < length { 0 } else { 1 + (samples - length) / hop };
    let mut ranges: Vec<_> = (0..whole).map(|k| k * hop..k * hop + length).collect();
    let covered = ranges.last().map_or(0, |range| range.end);
    let start = whole * hop;
    if whole == 0 || (samples > covered && samples.saturating_sub(start) >= min_length) {
        ranges.push(start..samples);
    }
    ranges
}
