//! What happens to a window before the first learnt layer: mask, rotation, level removal, normalisation.
//!
//! In: features `[batch, frames, coefficients]`, missing frames as rows of exactly 0.0. Out: normalised features
//! `[batch, frames, bands]` that are 0 in missing frames, and the mask `[batch, frames, 1]`. Never learnt by gradient:
//! its constants come from the training set's statistics. The exported graph does the same (see `export`).

use burn::tensor::{Device, Tensor, TensorData, s};

/// The constants of the first stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// Coefficients of a frame that come in.
    pub coefficients: usize,
    /// Bands of a frame that go out.
    pub bands: usize,
    /// `[coefficients, bands]`: rotation from cepstrum to log-mel bands or back; `None` leaves frames as they are.
    pub rotation: Option<Vec<f32>>,
    /// What a gain changes in a rotated frame. Its mean over the window is taken away, because recordings have no
    /// absolute level.
    pub level: LevelIn,
    /// `[bands]`: mean over the training set, after level removal.
    pub mean: Vec<f32>,
    /// `[bands]`: what a band is multiplied by to have about unit deviation.
    pub scale: Vec<f32>,
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

/// How bands are brought to unit deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Each by its own deviation, as coefficients of a cepstrum need.
    EachBand,
    /// All by their mean deviation, so that the spectrum keeps its shape.
    AllBands,
}

impl Front {
    /// Takes mean and deviation from windows of the training set, each `[frames * coefficients]` without padding.
    ///
    /// `rotation` is `[coefficients, bands]`; `None` leaves frames as they are.
    pub fn fit<'a>(
        windows: impl Iterator<Item = &'a [f32]>,
        coefficients: usize,
        (level, scaling): (LevelIn, Scaling),
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

    /// The same stage for features that a rotation `[coefficients, bands]` turns into those it knows.
    ///
    /// # Panics
    /// If it has a rotation already.
    pub fn with_rotation(self, rotation: Vec<f32>) -> Self {
        assert!(self.rotation.is_none(), "one rotation is enough");
        Self { coefficients: rotation.len() / self.bands, rotation: Some(rotation), ..self }
    }

    /// Runs the stage on a batch.
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
            LevelIn::FirstCoefficient => {
                let level = mean_frame.slice(s![.., .., ..1]);
                level * row(&first_of(self.bands)) + row(&self.mean)
            }
        };
        let features = (rotated - centre) * row(&self.scale) * mask.clone();
        Normalised { features, mask }
    }
}

/// 1, then zeros.
pub fn first_of(size: usize) -> Vec<f32> {
    let mut row = vec![0.0; size];
    row[0] = 1.0;
    row
}

fn constant(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn remove_level(frames: &mut [f32], width: usize, level: LevelIn) {
    let step = if level == LevelIn::FirstCoefficient { width } else { 1 };
    let count = (frames.len() / step).max(1) as f64;
    let mean = frames.iter().step_by(step).map(|&it| f64::from(it)).sum::<f64>() / count;
    frames.iter_mut().step_by(step).for_each(|it| *it -= mean as f32);
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

    /// Standard deviation of each column; 1 where a column never changes, so that dividing by it does no harm.
    pub(super) fn deviation(&self) -> Vec<f32> {
        let mean = self.mean();
        let variance = self.squares.iter().zip(mean).map(|(it, mean)| it / self.rows.max(1.0) - mean * mean);
        variance.map(|it| if it > 1e-8 { it.sqrt() as f32 } else { 1.0 }).collect()
    }
}
