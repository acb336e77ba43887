//! Batches of windows: shuffled, changed at random and padded for training; in order and untouched for scoring.
//!
//! In: a [`Corpus`]. Out: tensors `[batch, frames, coefficients]` and soft targets `[batch, labels]`. The same from the
//! same seed, whatever the number of threads: each window has a generator of its own.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::augment::Augmentation;
use super::corpus::{Corpus, LabelledWindow, write_padded};
use super::waveform::Waveform;

/// What a batch of windows has to be brought to.
#[derive(Debug, Clone, Copy)]
pub struct BatchShape {
    /// Frames of a window with its padding.
    pub frames: usize,
    /// Values of a frame.
    pub coefficients: usize,
    /// Number of labels.
    pub labels: usize,
}

/// How training windows are changed.
#[derive(Debug)]
pub struct Augmentations {
    /// Of the samples; needs windows that kept theirs.
    pub waveform: Option<Waveform>,
    /// Of the features.
    pub features: Augmentation,
}

impl Augmentations {
    fn apply(&self, window: &LabelledWindow, max_frames: usize, rng: &mut StdRng) -> Vec<f32> {
        let changed = self.waveform.as_ref().and_then(|waveform| waveform.apply(&window.samples, rng));
        self.features.apply(changed.as_ref().unwrap_or(&window.features), max_frames, rng)
    }
}

/// The windows of a corpus in random order.
pub fn shuffled(corpus: &Corpus, rng: &mut StdRng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..corpus.windows.len()).collect();
    order.shuffle(rng);
    order
}

/// Changed windows as one tensor.
pub fn changed(
    windows: &[&LabelledWindow],
    shape: BatchShape,
    changes: &Augmentations,
    (rng, device): (&mut StdRng, &Device),
) -> Tensor<3> {
    let seeds: Vec<u64> = windows.iter().map(|_| rng.random()).collect();
    let changed = windows
        .par_iter()
        .zip(seeds)
        .map(|(window, seed)| changes.apply(window, shape.frames, &mut StdRng::seed_from_u64(seed)));
    let changed: Vec<Vec<f32>> = changed.collect();
    padded(changed.iter().map(Vec::as_slice), shape, device)
}

/// Soft targets `[batch, labels]`: the truth gets `1 - smoothing`, the rest is spread over all labels.
pub fn targets(windows: &[&LabelledWindow], labels: usize, smoothing: f32, device: &Device) -> Tensor<2> {
    let mut targets = vec![smoothing / labels as f32; windows.len() * labels];
    for (row, window) in targets.chunks_exact_mut(labels).zip(windows) {
        row[window.label] += 1.0 - smoothing;
    }
    Tensor::from_data(TensorData::new(targets, [windows.len(), labels]), device)
}

/// The features of some windows, not all in a row, as one tensor.
pub fn unchanged(windows: &[&LabelledWindow], shape: BatchShape, device: &Device) -> Tensor<3> {
    padded(windows.iter().map(|window| window.features.as_slice()), shape, device)
}

/// The features of some windows as one tensor.
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
