//! Statistics of a window's cepstrum over time, which are the input of the dense net. They have no learnt parameters.
//!
//! Input: normalized coefficients `[batch, frames, coefficients]`, of which the first is the loudness, and the mask.
//! Output: statistics `[batch, width]`. Invariants: padding frames do not contribute; the exported graph computes the same
//! statistics in the same order (see `export`).

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Int, Tensor, TensorData, s};

use super::pooling::MISSING_SCORE;
use crate::train::front::{Front, Normalised};

/// Added to variances, so that their logarithms are finite for a constant coefficient.
pub const VARIANCE_FLOOR: f32 = 1e-5;
/// Added to the power of modulation bands, so that their logarithms are finite.
pub const MODULATION_FLOOR: f32 = 0.1;
/// The lags of lagged covariances, in frames.
const COVARIANCE_LAGS: [usize; 2] = [4, 12];
/// The lags of differences, in frames.
const CHANGE_LAGS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// The thresholds of loud frames: loudness above the window's mean, in standard deviations.
pub const LOUD: [f32; 2] = [0.0, 0.7];
/// The slope of the sigmoid that weights frames at such a threshold.
pub const LOUD_SLOPE: f32 = 4.0;
/// The period of the fundamental modulation frequency, in frames.
const MODULATION_PERIOD: usize = 300;
/// The edges of the modulation bands, as multiples of the fundamental: 0.3 to 19 Hz at 100 frames per second.
const MODULATION_EDGES: [usize; 9] = [1, 3, 5, 8, 12, 18, 27, 39, 59];
/// The number of groups of neighbouring mel bands.
const GROUPS: usize = 16;

/// The definition of the statistics, with their constants.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticsShape {
    /// The number of frames in a window.
    pub frames: usize,
    /// The number of coefficients per frame.
    pub coefficients: usize,
    /// The factor that converts the first coefficient to the natural logarithm of the frame's power.
    pub loudness: f32,
    /// The matrix from coefficients to the levels of groups of neighbouring mel bands, `[coefficients, groups]`.
    pub groups: Vec<f32>,
}

impl StatisticsShape {
    /// Creates the statistics for windows of `frames` frames after a front stage.
    ///
    /// `loudness` is the factor that converts the first coefficient before normalization to a natural logarithm of power.
    /// The first `cepstrum` coefficients are a cepstrum, the others are their deltas.
    pub fn new(frames: usize, front: &Front, loudness: f32, cepstrum: usize) -> Self {
        let groups = (0..front.bands).flat_map(|k| (0..GROUPS).map(move |group| (k, group)));
        let level = |(k, group): (usize, usize)| {
            let turn = std::f32::consts::PI * (k * (2 * group + 1)) as f32 / (2 * GROUPS) as f32;
            let share = if k == 0 { std::f32::consts::FRAC_1_SQRT_2 } else { turn.cos() };
            // Quefrencies above the resolution of the groups would alias.
            if k < cepstrum.min(2 * GROUPS) { share / front.scale[k] } else { 0.0 }
        };
        let groups: Vec<f32> = groups.map(level).collect();
        Self { frames, coefficients: front.bands, loudness: loudness / front.scale[0], groups }
    }

    /// Returns the number of groups of mel bands.
    pub fn group_count(&self) -> usize {
        self.groups.len() / self.coefficients
    }

    /// Returns the number of coefficients in the covariance.
    pub fn covariance(&self) -> usize {
        self.coefficients.min(16)
    }

    /// Returns the indexes above the diagonal of the flattened covariance.
    pub fn covariance_indexes(&self) -> Vec<i64> {
        let size = self.covariance();
        (0..size * size).filter(|at| at / size < at % size).map(|at| at as i64).collect()
    }

    /// Returns the number of coefficients in lagged covariances and modulation spectra.
    pub fn leading(&self) -> usize {
        self.coefficients.min(12)
    }

    /// Returns the covariance lags that are short enough for the window.
    pub fn covariance_lags(&self) -> impl Iterator<Item = usize> {
        let frames = self.frames;
        COVARIANCE_LAGS.into_iter().filter(move |lag| 2 * lag < frames)
    }

    /// Returns the difference lags that are short enough for the window.
    pub fn change_lags(&self) -> impl Iterator<Item = usize> {
        let frames = self.frames;
        CHANGE_LAGS.into_iter().filter(move |lag| 2 * lag < frames)
    }

    /// Returns the number of series in the modulation spectra.
    fn tracks(&self) -> usize {
        self.leading() + self.group_count()
    }

    /// Returns the number of modulation frequencies.
    pub fn frequencies(&self) -> usize {
        MODULATION_EDGES[MODULATION_EDGES.len() - 1] - MODULATION_EDGES[0]
    }

    /// Returns the Fourier basis, `[frames, 2 * frequencies]`: cosines, then sines.
    pub fn waves(&self, frames: usize) -> Vec<f32> {
        let count = self.frequencies();
        let wave = |frame: usize, at: usize| {
            let turns = ((at % count + MODULATION_EDGES[0]) * frame) as f64 / MODULATION_PERIOD as f64;
            let phase = std::f64::consts::TAU * turns;
            if at < count { phase.cos() as f32 } else { phase.sin() as f32 }
        };
        (0..frames).flat_map(|frame| (0..2 * count).map(move |at| wave(frame, at))).collect()
    }

    /// Returns the matrix that averages frequencies in each modulation band, `[frequencies, bands]`.
    pub fn modulation_bands(&self) -> Vec<f32> {
        let share = |frequency: usize, edges: &[usize]| {
            let inside = (edges[0]..edges[1]).contains(&(frequency + MODULATION_EDGES[0]));
            if inside { 1.0 / (edges[1] - edges[0]) as f32 } else { 0.0 }
        };
        (0..self.frequencies())
            .flat_map(|at| MODULATION_EDGES.windows(2).map(move |edges| share(at, edges)))
            .collect()
    }

    /// Returns the number of modulation bands.
    pub fn modulation_band_count(&self) -> usize {
        MODULATION_EDGES.len() - 1
    }

    /// Returns π times each frame's number from 1, `[frames]`.
    pub fn ramp(&self, frames: usize) -> Vec<f32> {
        (1..=frames).map(|frame| frame as f32 * std::f32::consts::PI).collect()
    }

    /// Returns the number of statistics.
    pub fn width(&self) -> usize {
        let (coefficients, leading) = (self.coefficients, self.leading());
        let moments = 2 * coefficients + self.group_count();
        let covariance = self.covariance_indexes().len() + self.covariance_lags().count() * leading * leading;
        let modulation = self.tracks() * self.modulation_band_count();
        let loud = 2 * coefficients * (LOUD.len() + 1);
        moments + covariance + self.change_lags().count() * coefficients + modulation + loud + 1
    }

    /// Returns the floating-point operations of the matrix products.
    pub fn operations(&self) -> usize {
        let covariance = self.covariance().pow(2) + self.covariance_lags().count() * self.leading().pow(2);
        let groups = self.coefficients * self.group_count();
        let waves = self.tracks() * 2 * self.frequencies();
        let bands = self.tracks() * self.frequencies() * self.modulation_band_count();
        2 * self.frames * (covariance + groups + waves) + 2 * bands
    }

    /// Computes the statistics of a batch, `[batch, width]`.
    pub fn measure(&self, input: Normalised) -> Tensor<2> {
        let Normalised { features, mask } = input;
        let series = Series::new(features, mask);
        let groups = series.centred.clone().matmul(self.constant(&self.groups, [self.coefficients, 0]));
        let mut parts = vec![
            flat(series.mean.clone()),
            flat(log_deviation(series.average(series.centred.clone().square()))),
            flat(log_deviation(series.average(groups.clone().square()))),
        ];
        parts.extend(self.covariances(&series));
        parts.extend(self.changes(&series));
        parts.push(self.modulation(&series, groups));
        parts.extend(self.loud(&series));
        parts.push(flat(series.count / self.frames as f32));
        Tensor::cat(parts, 1)
    }

    fn covariances(&self, series: &Series) -> Vec<Tensor<2>> {
        let first = |count: usize| series.centred.clone().slice(s![.., .., ..count]);
        let all = first(self.covariance());
        let covariance = flat(all.clone().transpose().matmul(all) / series.count.clone());
        let indexes = self.covariance_indexes();
        let indexes = Tensor::<1, Int>::from_data(
            TensorData::new(indexes.clone(), [indexes.len()]),
            &covariance.device(),
        );
        let mut parts = vec![covariance.select(1, indexes)];
        let leading = first(self.leading());
        for lag in self.covariance_lags() {
            let (later, earlier) = lagged(&leading, lag);
            parts.push(flat(later.transpose().matmul(earlier) / series.count.clone()));
        }
        parts
    }

    fn changes(&self, series: &Series) -> Vec<Tensor<2>> {
        let change = |lag| {
            let (later, earlier) = lagged(&series.centred, lag);
            let (mask, _) = lagged(&series.mask, lag);
            let count = mask.clone().sum_dim(1).clamp_min(1.0);
            flat(log_deviation(((later - earlier) * mask).square().sum_dim(1) / count))
        };
        self.change_lags().map(change).collect()
    }

    /// Returns the logarithm of the modulation spectrum in bands (Houtgast and Steeneken 1985, doi:10.1121/1.392224).
    fn modulation(&self, series: &Series, groups: Tensor<3>) -> Tensor<2> {
        let leading = series.centred.clone().slice(s![.., .., ..self.leading()]);
        let frames = series.mask.dims()[1];
        let ramp = self.constant(&self.ramp(frames), [frames, 1]);
        let taper = (ramp / series.count.clone()).sin().square() * series.mask.clone();
        let tracks = Tensor::cat(vec![leading, groups], 2) * taper;
        let count = self.frequencies();
        let waves = tracks.transpose().matmul(self.constant(&self.waves(frames), [frames, 0])).square();
        let power = waves.clone().slice(s![.., .., ..count]) + waves.slice(s![.., .., count..]);
        let bands = power.matmul(self.constant(&self.modulation_bands(), [count, 0])) / series.count.clone();
        flat((bands + MODULATION_FLOOR).log())
    }

    /// Returns means and standard deviations over loud frames, and over all frames weighted by their power.
    fn loud(&self, series: &Series) -> Vec<Tensor<2>> {
        let loudness = series.values.clone().slice(s![.., .., ..1]) * self.loudness;
        let centred = series.centred.clone().slice(s![.., .., ..1]) * self.loudness;
        let deviation = (series.average(centred.clone().square()) + VARIANCE_FLOOR).sqrt();
        let height = centred / deviation;
        let gates = LOUD.map(|from| {
            let open = sigmoid((height.clone() - from) * LOUD_SLOPE) * series.mask.clone();
            open.clone() / open.sum_dim(1).clamp_min(VARIANCE_FLOOR)
        });
        let missing = (series.mask.clone() - 1.0) * -MISSING_SCORE;
        let weights = gates.into_iter().chain([softmax(loudness + missing, 1)]);
        weights.flat_map(|weights| series.weighted(weights)).collect()
    }

    /// Creates a constant `[1, rows, columns]`; with `columns` 0, the number follows from the values.
    fn constant(&self, values: &[f32], [rows, columns]: [usize; 2]) -> Tensor<3> {
        let columns = if columns == 0 { values.len() / rows } else { columns };
        let device = burn::tensor::Device::flex();
        Tensor::from_data(TensorData::new(values.to_vec(), [1, rows, columns]), &device)
    }
}

/// The common inputs of all statistics.
struct Series {
    /// The coefficients, `[batch, frames, coefficients]`.
    values: Tensor<3>,
    /// The coefficients without each window's mean; 0 in padding frames.
    centred: Tensor<3>,
    /// The mean of each window, `[batch, 1, coefficients]`.
    mean: Tensor<3>,
    /// The mask, `[batch, frames, 1]`.
    mask: Tensor<3>,
    /// The number of unmasked frames, `[batch, 1, 1]`.
    count: Tensor<3>,
}

impl Series {
    fn new(values: Tensor<3>, mask: Tensor<3>) -> Self {
        let count = mask.clone().sum_dim(1).clamp_min(1.0);
        let mean = values.clone().sum_dim(1) / count.clone();
        let centred = (values.clone() - mean.clone()) * mask.clone();
        Self { values, centred, mean, mask, count }
    }

    fn average(&self, values: Tensor<3>) -> Tensor<3> {
        values.sum_dim(1) / self.count.clone()
    }

    /// Returns the weighted mean and the logarithm of the weighted standard deviation, both relative to the window's mean;
    /// the weights add up to 1.
    fn weighted(&self, weights: Tensor<3>) -> [Tensor<2>; 2] {
        let mean = (self.centred.clone() * weights.clone()).sum_dim(1);
        let variance = ((self.centred.clone() - mean.clone()).square() * weights).sum_dim(1);
        [flat(mean), flat(log_deviation(variance))]
    }
}

/// Returns the series without its first `lag` frames, and without its last `lag` frames.
fn lagged(series: &Tensor<3>, lag: usize) -> (Tensor<3>, Tensor<3>) {
    let frames = series.dims()[1];
    (series.clone().slice(s![.., lag.., ..]), series.clone().slice(s![.., ..frames - lag, ..]))
}

fn log_deviation(variance: Tensor<3>) -> Tensor<3> {
    (variance + VARIANCE_FLOOR).log() * 0.5
}

fn flat(values: Tensor<3>) -> Tensor<2> {
    values.flatten(1, 2)
}
