//! Batches of windows: shuffled, augmented and padded for training; in order and untouched for scoring.
//!
//! In: a [`Corpus`]. Out: tensors `[batch, frames, coefficients]` and soft targets `[batch, labels]`. The same from the
//! same seed, whatever the number of threads: each window has a generator of its own.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;

use super::augment::Augmentation;
use super::corpus::{Corpus, Window, write_padded};

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

/// Features and soft targets.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, frames, coefficients]`, missing frames 0.
    pub features: Tensor<3>,
    /// `[batch, labels]`, rows that add up to 1.
    pub targets: Tensor<2>,
}

/// The windows of a corpus in random order.
pub fn shuffled(corpus: &Corpus, rng: &mut StdRng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..corpus.windows.len()).collect();
    order.shuffle(rng);
    order
}

/// A training batch: augmented windows; the truth gets `1 - smoothing`, the rest is spread over all labels.
pub fn training(
    windows: &[&Window],
    shape: BatchShape,
    augmentation: &Augmentation,
    smoothing: f32,
    (rng, device): (&mut StdRng, &Device),
) -> Batch {
    let seeds: Vec<u64> = windows.iter().map(|_| rng.random()).collect();
    let augmented = windows.par_iter().zip(seeds).map(|(window, seed)| {
        augmentation.apply(&window.features, shape.frames, &mut StdRng::seed_from_u64(seed))
    });
    let augmented: Vec<Vec<f32>> = augmented.collect();
    let mut targets = vec![smoothing / shape.labels as f32; windows.len() * shape.labels];
    for (row, window) in targets.chunks_exact_mut(shape.labels).zip(windows) {
        row[window.label] += 1.0 - smoothing;
    }
    let targets = Tensor::from_data(TensorData::new(targets, [windows.len(), shape.labels]), device);
    Batch { features: padded(augmented.iter().map(Vec::as_slice), shape, device), targets }
}

/// The features of some windows as one tensor.
pub fn features(windows: &[Window], shape: BatchShape, device: &Device) -> Tensor<3> {
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
