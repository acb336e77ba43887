//! What happens to a window before the first learnt layer: mask, level removal, rotation, normalisation.
//!
//! In: features `[batch, frames, coefficients]`, missing frames as rows of exactly 0.0. Out: normalised features
//! `[batch, frames, bands]` that are 0 in missing frames, and the mask `[batch, frames, 1]`. Never learnt by gradient:
//! its constants come from the training set's statistics. The exported graph does the same (see `export`).

use burn::tensor::{Device, Tensor, TensorData};

/// The constants of the first stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// Coefficients of a frame that come in.
    pub coefficients: usize,
    /// Bands of a frame that go out.
    pub bands: usize,
    /// `[coefficients, coefficients]`: picks the part of a frame that a gain changes. Its mean over the window is
    /// taken away, because recordings have no absolute level.
    pub level: Vec<f32>,
    /// `[coefficients]`: mean over the training set, after level removal.
    pub mean: Vec<f32>,
    /// `[coefficients, bands]`: rotation (none, or cepstrum to log-mel) with each band scaled to unit deviation.
    pub rotation: Vec<f32>,
}

/// Features ready for the network.
#[derive(Debug, Clone)]
pub struct Normalised {
    /// `[batch, frames, bands]`
    pub features: Tensor<3>,
    /// `[batch, frames, 1]`: 1 where a frame is there, 0 where it is missing.
    pub mask: Tensor<3>,
}

/// What a gain changes in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelIn {
    /// A cepstrum has it in coefficient 0.
    FirstCoefficient,
    /// A log-mel spectrum has it in the mean of all bands.
    MeanOfBands,
}

impl Front {
    /// Takes mean and deviation from windows of the training set, each `[frames * coefficients]` without padding.
    ///
    /// `rotation` is `[coefficients, bands]`, or the identity where it is `None`.
    pub fn fit<'a>(
        windows: impl Iterator<Item = &'a [f32]> + Clone,
        coefficients: usize,
        level: LevelIn,
        rotation: Option<Vec<f32>>,
    ) -> Self {
        let level = level_projection(level, coefficients);
        let rotation = rotation.unwrap_or_else(|| identity(coefficients));
        let bands = rotation.len() / coefficients;
        let mut sums = Moments::new(coefficients);
        windows.clone().for_each(|window| sums.add(&without_level(window, &level, coefficients)));
        let mean = sums.mean();
        let mut rotated = Moments::new(bands);
        for window in windows {
            let mut frames = without_level(window, &level, coefficients);
            frames.chunks_exact_mut(coefficients).for_each(|it| subtract(it, &mean));
            rotated.add(&multiply(&frames, &rotation, coefficients));
        }
        let scale = rotated.deviation();
        let rotation = rotation.iter().enumerate().map(|(at, it)| it / scale[at % bands]).collect();
        Self { coefficients, bands, level, mean: mean.iter().map(|&it| it as f32).collect(), rotation }
    }

    /// Runs the stage on a batch.
    pub fn apply(&self, features: Tensor<3>) -> Normalised {
        let device = features.device();
        let square = [self.coefficients, self.coefficients];
        let mask = features.clone().abs().max_dim(2).greater_scalar(0.0).float();
        let count = mask.clone().sum_dim(1).clamp_min(1.0);
        let mean_frame = features.clone().sum_dim(1) / count;
        let level = mean_frame.matmul(constant(&self.level, square, &device).unsqueeze());
        let mean = constant(&self.mean, [1, self.coefficients], &device).unsqueeze();
        let rotation = constant(&self.rotation, [self.coefficients, self.bands], &device).unsqueeze();
        let features = (features - level - mean).matmul(rotation) * mask.clone();
        Normalised { features, mask }
    }
}

fn constant(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn identity(size: usize) -> Vec<f32> {
    (0..size * size).map(|at| if at / size == at % size { 1.0 } else { 0.0 }).collect()
}

fn level_projection(level: LevelIn, size: usize) -> Vec<f32> {
    match level {
        LevelIn::FirstCoefficient => (0..size * size).map(|at| if at == 0 { 1.0 } else { 0.0 }).collect(),
        LevelIn::MeanOfBands => vec![1.0 / size as f32; size * size],
    }
}

fn without_level(window: &[f32], level: &[f32], width: usize) -> Vec<f32> {
    let mut mean = Moments::new(width);
    mean.add(window);
    let mean: Vec<f32> = mean.mean().iter().map(|&it| it as f32).collect();
    let level: Vec<f64> = multiply(&mean, level, width).iter().map(|&it| f64::from(it)).collect();
    let mut frames = window.to_vec();
    frames.chunks_exact_mut(width).for_each(|frame| subtract(frame, &level));
    frames
}

fn subtract(frame: &mut [f32], other: &[f64]) {
    frame.iter_mut().zip(other).for_each(|(value, it)| *value -= *it as f32);
}

/// Rows of `width` times a matrix `[width, columns]`.
pub(super) fn multiply(rows: &[f32], matrix: &[f32], width: usize) -> Vec<f32> {
    let columns = matrix.len() / width;
    let mut out = vec![0.0; rows.len() / width * columns];
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(columns)) {
        for (&value, weights) in row.iter().zip(matrix.chunks_exact(columns)) {
            out.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
    out
}

/// Running sums of each column, in double precision.
struct Moments {
    rows: f64,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(width: usize) -> Self {
        Self { rows: 0.0, sum: vec![0.0; width], squares: vec![0.0; width] }
    }

    fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.sum.len()) {
            self.rows += 1.0;
            for (at, &value) in row.iter().enumerate() {
                self.sum[at] += f64::from(value);
                self.squares[at] += f64::from(value) * f64::from(value);
            }
        }
    }

    fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|sum| sum / self.rows.max(1.0)).collect()
    }

    /// Standard deviation of each column; 1 where a column never changes, so that dividing by it does no harm.
    fn deviation(&self) -> Vec<f32> {
        let mean = self.mean();
        let variance = self.squares.iter().zip(mean).map(|(it, mean)| it / self.rows.max(1.0) - mean * mean);
        variance.map(|it| if it > 1e-8 { it.sqrt() as f32 } else { 1.0 }).collect()
    }
}
