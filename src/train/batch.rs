//! Batches of windows: shuffled, augmented and padded for training; in order and unchanged for scoring.
//!
//! Input: a [`Corpus`]. Output: tensors `[batch, frames, coefficients]` and soft targets `[batch, labels]`. Invariants: the
//! same seed gives the same batches with any number of threads, because each window has its own generator.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::augment::Augmentation;
use super::corpus::{Corpus, LabelledWindow, write_padded};
use super::waveform::Waveform;

/// The shape of a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchShape {
    /// The number of frames of a window, padding included.
    pub frames: usize,
    /// The number of values per frame.
    pub coefficients: usize,
    /// The number of labels.
    pub labels: usize,
}

/// The augmentations of training windows.
#[derive(Debug)]
pub struct Augmentations {
    /// The augmentation of samples; it requires windows that keep their samples.
    pub waveform: Option<Waveform>,
    /// The augmentation of features.
    pub features: Augmentation,
}

impl Augmentations {
    fn apply(&self, window: &LabelledWindow, max_frames: usize, rng: &mut StdRng) -> Vec<f32> {
        let changed = self.waveform.as_ref().and_then(|waveform| waveform.apply(&window.samples, rng));
        self.features.apply(changed.as_ref().unwrap_or(&window.features), max_frames, rng)
    }
}

/// Returns the indexes of a corpus's windows in random order.
pub fn shuffled(corpus: &Corpus, rng: &mut StdRng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..corpus.windows.len()).collect();
    order.shuffle(rng);
    order
}

/// Returns augmented windows as one tensor `[batch, frames, coefficients]`.
pub fn augmented(
    windows: &[&LabelledWindow],
    shape: BatchShape,
    augmentations: &Augmentations,
    rng: &mut StdRng,
    device: &Device,
) -> Tensor<3> {
    let seeds: Vec<u64> = windows.iter().map(|_| rng.random()).collect();
    let augmented = windows
        .par_iter()
        .zip(seeds)
        .map(|(window, seed)| augmentations.apply(window, shape.frames, &mut StdRng::seed_from_u64(seed)));
    let augmented: Vec<Vec<f32>> = augmented.collect();
    padded(augmented.iter().map(Vec::as_slice), shape, device)
}

/// Returns soft targets `[batch, labels]` with label smoothing (Szegedy et al. 2016, <https://arxiv.org/abs/1512.00567>):
/// `1 - smoothing` for the true label, plus `smoothing / labels` for every label.
pub fn targets(windows: &[&LabelledWindow], labels: usize, smoothing: f32, device: &Device) -> Tensor<2> {
    let mut targets = vec![smoothing / labels as f32; windows.len() * labels];
    for (row, window) in targets.chunks_exact_mut(labels).zip(windows) {
        row[window.label] += 1.0 - smoothing;
    }
    Tensor::from_data(TensorData::new(targets, [windows.len(), labels]), device)
}

/// Returns the features of selected windows as one tensor `[batch, frames, coefficients]`.
pub fn unchanged(windows: &[&LabelledWindow], shape: BatchShape, device: &Device) -> Tensor<3> {
    padded(windows.iter().map(|window| window.features.as_slice()), shape, device)
}

/// Returns the features of consecutive windows as one tensor `[batch, frames, coefficients]`.
pub fn features(windows: &[LabelledWindow], shape: BatchShape, device: &Device) -> Tensor<3> {
    padded(windows.iter().map(|window| window.features.as_slice()), shape, device)
}

fn padded<'a>(
    windows: impl ExactSizeIterator<Item = &'a [f32]>,
    shape: BatchShape,
    device: &Device,
) -> Tensor<3> {
    let (count, size) = (windows.len(), shape.frames * shape.coefficients);
    let mut values = vec![0.0; count * size];
    for (window, out) in windows.zip(values.chunks_exact_mut(size)) {
        write_padded(window, out);
    }
    Tensor::from_data(TensorData::new(values, [count, shape.frames, shape.coefficients]), device)
}
