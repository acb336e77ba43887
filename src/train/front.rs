//! The front stage of every network: mask, rotation, level removal and normalization.
//!
//! Input: features `[batch, frames, coefficients]`, with padding frames as rows of exactly 0.0. Output: normalized features
//! `[batch, frames, bands]`, which are 0 in padding frames, and the mask `[batch, frames, 1]`. Invariants: the stage has no
//! learnt parameters, its constants are statistics of the training set (as in Keras's `Normalization` layer); the exported
//! graph computes the same (see `export`).

use burn::tensor::{Device, Tensor, TensorData, s};

/// The constants of the front stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// The number of input values per frame.
    pub coefficients: usize,
    /// The number of output values per frame.
    pub bands: usize,
    /// The matrix `[coefficients, bands]` from cepstrum to log-mel bands or back; `None` for no rotation.
    pub rotation: Option<Vec<f32>>,
    /// The component of a rotated frame that a gain changes. Its mean over the window is subtracted, because recordings
    /// have no calibrated level.
    pub level: LevelIn,
    /// The mean over the training set after level removal, `[bands]`.
    pub mean: Vec<f32>,
    /// The factor that gives about unit standard deviation, `[bands]`.
    pub scale: Vec<f32>,
}

/// Normalized features, the input of the network.
#[derive(Debug, Clone)]
pub struct Normalised {
    /// The features, `[batch, frames, bands]`.
    pub features: Tensor<3>,
    /// The mask, `[batch, frames, 1]`: 1 for a frame, 0 for padding.
    pub mask: Tensor<3>,
}

/// The component of a frame that holds the level, which a gain changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelIn {
    /// Coefficient 0, in a cepstrum.
    FirstCoefficient,
    /// The mean of all bands, in a log-mel spectrum.
    MeanOfBands,
    /// None: frames and embeddings of an encoder hold no level.
    Nothing,
}

/// The scaling to unit standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Each band by its own standard deviation, for cepstral coefficients, whose variances differ by orders of magnitude.
    EachBand,
    /// All bands by their mean standard deviation, so that the spectral shape is kept.
    AllBands,
}

impl Front {
    /// Computes the constants from windows of the training set, each `[frames * coefficients]` without padding.
    ///
    /// `rotation` is `[coefficients, bands]`; `None` for no rotation.
    pub fn fit<'a>(
        windows: impl Iterator<Item = &'a [f32]>,
        coefficients: usize,
        level: LevelIn,
        scaling: Scaling,
        rotation: Option<Vec<f32>>,
    ) -> Self {
        let bands = rotation.as_ref().map_or(coefficients, |it| it.len() / coefficients);
        let mut sums = Moments::new(bands);
        for window in windows {
            let rotated = rotation.as_ref().map(|rotation| multiply(window, rotation, coefficients));
            let mut frames = rotated.unwrap_or_else(|| window.to_vec());
            remove_level(&mut frames, bands, level);
            sums.add(&frames);
        }
        let deviation = sums.deviation();
        let scale = match scaling {
            Scaling::EachBand => deviation.iter().map(|it| 1.0 / it).collect(),
            Scaling::AllBands => vec![bands as f32 / deviation.iter().sum::<f32>(); bands],
        };
        let mean = sums.mean().iter().map(|&it| it as f32).collect();
        Self { coefficients, bands, rotation, level, mean, scale }
    }

    /// Returns the same stage with a rotation `[coefficients, bands]` before it, so that it accepts other features.
    ///
    /// # Panics
    /// Panics where the stage already has a rotation.
    pub fn with_rotation(self, rotation: Vec<f32>) -> Self {
        assert!(self.rotation.is_none(), "a front stage has at most one rotation");
        Self { coefficients: rotation.len() / self.bands, rotation: Some(rotation), ..self }
    }

    /// Applies the stage to a batch `[batch, frames, coefficients]`.
    pub fn apply(&self, features: Tensor<3>) -> Normalised {
        let device = features.device();
        let mask = features.clone().abs().max_dim(2).greater_scalar(0.0).float();
        let rotated = match &self.rotation {
            None => features,
            Some(rotation) => {
                let [batch, frames, _] = features.dims();
                let rows = features.reshape([batch * frames, self.coefficients]);
                let rotation = constant(rotation, [self.coefficients, self.bands], &device);
                rows.matmul(rotation).reshape([batch, frames, self.bands])
            }
        };
        let count = mask.clone().sum_dim(1).clamp_min(1.0);
        let mean_frame = rotated.clone().sum_dim(1) / count;
        let row = |values: &[f32]| constant(values, [1, self.bands], &device).unsqueeze::<3>();
        let centre = match self.level {
            LevelIn::MeanOfBands => mean_frame.mean_dim(2) + row(&self.mean),
            LevelIn::Nothing => row(&self.mean),
            LevelIn::FirstCoefficient => {
                let level = mean_frame.slice(s![.., .., ..1]);
                level * row(&first_of(self.bands)) + row(&self.mean)
            }
        };
        let features = (rotated - centre) * row(&self.scale) * mask.clone();
        Normalised { features, mask }
    }
}

/// Returns the unit vector of the first axis: 1, followed by zeros.
pub fn first_of(size: usize) -> Vec<f32> {
    let mut row = vec![0.0; size];
    row[0] = 1.0;
    row
}

fn constant(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn remove_level(frames: &mut [f32], width: usize, level: LevelIn) {
    let step = match level {
        LevelIn::FirstCoefficient => width,
        LevelIn::MeanOfBands => 1,
        LevelIn::Nothing => return,
    };
    let count = (frames.len() / step).max(1) as f64;
    let mean = frames.iter().step_by(step).map(|&it| f64::from(it)).sum::<f64>() / count;
    frames.iter_mut().step_by(step).for_each(|it| *it -= mean as f32);
}

/// Multiplies rows of `width` values by a matrix `[width, columns]`.
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

/// Running sums of each column, in double precision, for mean and standard deviation.
#[derive(Debug)]
pub(super) struct Moments {
    rows: f64,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    pub(super) fn new(width: usize) -> Self {
        Self { rows: 0.0, sum: vec![0.0; width], squares: vec![0.0; width] }
    }

    pub(super) fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.sum.len()) {
            self.rows += 1.0;
            for (at, &value) in row.iter().enumerate() {
                self.sum[at] += f64::from(value);
                self.squares[at] += f64::from(value) * f64::from(value);
            }
        }
    }

    pub(super) fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|sum| sum / self.rows.max(1.0)).collect()
    }

    /// Returns the standard deviation of each column, or 1 for a constant column, so that dividing by it is safe.
    pub(super) fn deviation(&self) -> Vec<f32> {
        let mean = self.mean();
        let variance = self.squares.iter().zip(mean).map(|(it, mean)| it / self.rows.max(1.0) - mean * mean);
        variance.map(|it| if it > 1e-8 { it.sqrt() as f32 } else { 1.0 }).collect()
    }
}
