//! Statistics of a window's cepstrum over time, without anything learnt: what the dense net sees.
//!
//! In: normalised coefficients, loudness first, and the mask. Out: `[batch, width]`. Missing frames never count. The
//! exported graph computes the same, in the same order (see `export`).

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Int, Tensor, TensorData, s};

use super::pooling::MISSING_SCORE;
use crate::train::front::{Front, Normalised};

/// Keeps logarithms finite where a coefficient does not change.
pub const VARIANCE_FLOOR: f32 = 1e-5;
/// Keeps the logarithm of an empty modulation band finite.
pub const MODULATION_FLOOR: f32 = 0.1;
/// Frames between the two sides of a lagged covariance.
const COVARIANCE_LAGS: [usize; 2] = [4, 12];
/// Frames over which a change is measured.
const CHANGE_LAGS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Loudness over the window's mean, in its deviations, from which a frame counts as loud.
pub const LOUD: [f32; 2] = [0.0, 0.7];
/// How sharply a frame begins to count as loud.
pub const LOUD_SLOPE: f32 = 4.0;
/// Frames of the slowest modulation.
const MODULATION_PERIOD: usize = 300;
/// Edges of the modulation bands, in periods of the slowest: 0.3 to 19 Hz at 100 frames a second.
const MODULATION_EDGES: [usize; 9] = [1, 3, 5, 8, 12, 18, 27, 39, 59];
/// Groups of neighbouring mel bands.
const GROUPS: usize = 16;

/// What is measured, with its constants.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticsShape {
    /// Frames of a window.
    pub frames: usize,
    /// Coefficients of a frame.
    pub coefficients: usize,
    /// Times the first coefficient: natural logarithm of the frame's power.
    pub loudness: f32,
    /// `[coefficients, groups]`: from coefficients to the levels of neighbouring mel bands.
    pub groups: Vec<f32>,
}

impl StatisticsShape {
    /// For windows of `frames` behind a first stage; `loudness` is what the features' first coefficient has to be
    /// multiplied by to be a natural logarithm of power. The first `cepstrum` of its coefficients are a cepstrum, the
    /// others their deltas.
    pub fn new(frames: usize, front: &Front, (loudness, cepstrum): (f32, usize)) -> Self {
        let groups = (0..front.bands).flat_map(|k| (0..GROUPS).map(move |group| (k, group)));
        let level = |(k, group): (usize, usize)| {
            let turn = std::f32::consts::PI * (k * (2 * group + 1)) as f32 / (2 * GROUPS) as f32;
            let share = if k == 0 { std::f32::consts::FRAC_1_SQRT_2 } else { turn.cos() };
            // Quefrencies past the groups' resolution would only fold back.
            if k < cepstrum.min(2 * GROUPS) { share / front.scale[k] } else { 0.0 }
        };
        let groups: Vec<f32> = groups.map(level).collect();
        Self { frames, coefficients: front.bands, loudness: loudness / front.scale[0], groups }
    }

    /// Number of groups of mel bands.
    pub fn group_count(&self) -> usize {
        self.groups.len() / self.coefficients
    }

    /// Coefficients whose covariance is taken.
    pub fn covariance(&self) -> usize {
        self.coefficients.min(16)
    }

    /// Places above the diagonal of the flattened covariance.
    pub fn covariance_places(&self) -> Vec<i64> {
        let size = self.covariance();
        (0..size * size).filter(|at| at / size < at % size).map(|at| at as i64).collect()
    }

    /// Coefficients whose lagged covariance and modulation are taken.
    pub fn leading(&self) -> usize {
        self.coefficients.min(12)
    }

    /// Lags of the covariance that a window has room for.
    pub fn covariance_lags(&self) -> impl Iterator<Item = usize> {
        let frames = self.frames;
        COVARIANCE_LAGS.into_iter().filter(move |lag| 2 * lag < frames)
    }

    /// Lags of changes that a window has room for.
    pub fn change_lags(&self) -> impl Iterator<Item = usize> {
        let frames = self.frames;
        CHANGE_LAGS.into_iter().filter(move |lag| 2 * lag < frames)
    }

    /// Series whose modulation is measured.
    fn tracks(&self) -> usize {
        self.leading() + self.group_count()
    }

    /// Number of modulation frequencies.
    pub fn frequencies(&self) -> usize {
        MODULATION_EDGES[MODULATION_EDGES.len() - 1] - MODULATION_EDGES[0]
    }

    /// `[frames, 2 * frequencies]`: cosines, then sines.
    pub fn waves(&self, frames: usize) -> Vec<f32> {
        let count = self.frequencies();
        let wave = |frame: usize, at: usize| {
            let turns = ((at % count + MODULATION_EDGES[0]) * frame) as f64 / MODULATION_PERIOD as f64;
            let phase = std::f64::consts::TAU * turns;
            if at < count { phase.cos() as f32 } else { phase.sin() as f32 }
        };
        (0..frames).flat_map(|frame| (0..2 * count).map(move |at| wave(frame, at))).collect()
    }

    /// `[frequencies, bands]`: the mean over each modulation band.
    pub fn modulation_bands(&self) -> Vec<f32> {
        let share = |frequency: usize, edges: &[usize]| {
            let inside = (edges[0]..edges[1]).contains(&(frequency + MODULATION_EDGES[0]));
            if inside { 1.0 / (edges[1] - edges[0]) as f32 } else { 0.0 }
        };
        (0..self.frequencies())
            .flat_map(|at| MODULATION_EDGES.windows(2).map(move |edges| share(at, edges)))
            .collect()
    }

    /// Number of modulation bands.
    pub fn modulation_band_count(&self) -> usize {
        MODULATION_EDGES.len() - 1
    }

    /// π times each frame's place from 1, `[frames]`.
    pub fn ramp(&self, frames: usize) -> Vec<f32> {
        (1..=frames).map(|frame| frame as f32 * std::f32::consts::PI).collect()
    }

    /// Number of statistics.
    pub fn width(&self) -> usize {
        let (coefficients, leading) = (self.coefficients, self.leading());
        let moments = 2 * coefficients + self.group_count();
        let covariance = self.covariance_places().len() + self.covariance_lags().count() * leading * leading;
        let modulation = self.tracks() * self.modulation_band_count();
        let loud = 2 * coefficients * (LOUD.len() + 1);
        moments + covariance + self.change_lags().count() * coefficients + modulation + loud + 1
    }

    /// Floating-point operations of the products of matrices.
    pub fn operations(&self) -> usize {
        let covariance = self.covariance().pow(2) + self.covariance_lags().count() * self.leading().pow(2);
        let groups = self.coefficients * self.group_count();
        let waves = self.tracks() * 2 * self.frequencies();
        let bands = self.tracks() * self.frequencies() * self.modulation_band_count();
        2 * self.frames * (covariance + groups + waves) + 2 * bands
    }

    /// Measures a batch: `[batch, width]`.
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
        let places = self.covariance_places();
        let places = Tensor::<1, Int>::from_data(
            TensorData::new(places.clone(), [places.len()]),
            &covariance.device(),
        );
        let mut parts = vec![covariance.select(1, places)];
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

    /// Power of slow changes, in bands: the modulation spectrum (Houtgast & Steeneken 1985, doi:10.1121/1.392224).
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

    /// Means and deviations over loud frames alone, and over frames weighted by their power.
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

    /// `[1, rows, columns]`; a size of 0 is what the values give.
    fn constant(&self, values: &[f32], [rows, columns]: [usize; 2]) -> Tensor<3> {
        let columns = if columns == 0 { values.len() / rows } else { columns };
        let device = burn::tensor::Device::flex();
        Tensor::from_data(TensorData::new(values.to_vec(), [1, rows, columns]), &device)
    }
}

/// A batch with what all statistics need.
struct Series {
    /// `[batch, frames, coefficients]`
    values: Tensor<3>,
    /// Without each window's mean; 0 in missing frames.
    centred: Tensor<3>,
    /// `[batch, 1, coefficients]`
    mean: Tensor<3>,
    /// `[batch, frames, 1]`
    mask: Tensor<3>,
    /// Frames that are there, `[batch, 1, 1]`.
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

    /// Mean and logarithm of the deviation under weights that add up to 1, both against the window's mean.
    fn weighted(&self, weights: Tensor<3>) -> [Tensor<2>; 2] {
        let mean = (self.centred.clone() * weights.clone()).sum_dim(1);
        let variance = ((self.centred.clone() - mean.clone()).square() * weights).sum_dim(1);
        [flat(mean), flat(log_deviation(variance))]
    }
}

/// The series without its first, and without its last frames.
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
