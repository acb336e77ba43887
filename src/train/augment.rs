//! Changes a training window at random as another voice, pace or room would: tempo, vocal-tract length, colour, and
//! stretches of time or bands left out (SpecAugment, <https://arxiv.org/abs/1904.08779>).
//!
//! In: features of one window, and a generator. Out: changed features of about as many frames. Works on log-mel
//! bands; a full cepstrum is rotated there and back. Never used outside training.

use rand::Rng;
use rand::rngs::StdRng;

use super::architecture::Kind;
use super::front::multiply;

/// How strongly windows are changed; all zero changes nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Largest relative change of tempo.
    pub tempo: f32,
    /// Largest relative shift of the mel axis.
    pub warp: f32,
    /// Largest tilt from the lowest to the highest band, in natural-log units.
    pub tilt: f32,
    /// Number and greatest width of the stretches of frames left out.
    pub frame_masks: (usize, usize),
    /// Number and greatest width of the groups of bands flattened to their mean.
    pub band_masks: (usize, usize),
}

impl Strength {
    /// What suits a kind of network: the dense net is small, and learns too little from windows that change much.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Dense => {
                Self { tempo: 0.05, warp: 0.03, tilt: 0.2, frame_masks: (1, 20), band_masks: (0, 0) }
            }
            Kind::Cnn => Self { tempo: 0.1, warp: 0.06, tilt: 0.5, frame_masks: (2, 20), band_masks: (2, 4) },
        }
    }
}

/// Augments windows of one front end.
#[derive(Debug, Clone)]
pub struct Augmentation {
    strength: Strength,
    coefficients: usize,
    /// `[coefficients, bands]` and its inverse; `None` where features are no rotation of log-mel bands, or are bands.
    rotation: Option<(Vec<f32>, Vec<f32>)>,
    /// Whether the changes that need bands apply.
    has_bands: bool,
}

impl Augmentation {
    /// For features of `coefficients`; `rotation` is an orthonormal `[coefficients, bands]` from cepstrum to log-mel.
    pub fn new(strength: Strength, coefficients: usize, rotation: Option<&[f32]>, has_bands: bool) -> Self {
        let rotation = rotation.map(|forth| (forth.to_vec(), transposed(forth, coefficients)));
        Self { strength, coefficients, rotation, has_bands }
    }

    /// Changes one window, at most `max_frames` long.
    pub fn apply(&self, features: &[f32], max_frames: usize, rng: &mut StdRng) -> Vec<f32> {
        let width = self.coefficients;
        let pace = 1.0 + self.strength.tempo * rng.random_range(-1.0..=1.0_f32);
        let mut frames = at_tempo(features, width, pace, max_frames);
        if self.has_bands {
            match &self.rotation {
                None => self.change_bands(&mut frames, rng),
                Some((forth, back)) => {
                    let mut bands = multiply(&frames, forth, width);
                    self.change_bands(&mut bands, rng);
                    frames = multiply(&bands, back, width);
                }
            }
        }
        self.leave_out_frames(&mut frames, rng);
        frames
    }

    fn change_bands(&self, frames: &mut [f32], rng: &mut StdRng) {
        let width = self.coefficients;
        let warp = 1.0 + self.strength.warp * rng.random_range(-1.0..=1.0_f32);
        let tilt = self.strength.tilt * rng.random_range(-0.5..=0.5_f32);
        let mut source = vec![0.0; width];
        for frame in frames.chunks_exact_mut(width) {
            source.copy_from_slice(frame);
            for (band, value) in frame.iter_mut().enumerate() {
                let slope = band as f32 / (width - 1).max(1) as f32 * 2.0 - 1.0;
                *value = interpolated(&source, band as f32 * warp) + tilt * slope;
            }
        }
        for _ in 0..self.strength.band_masks.0 {
            let (start, length) = stretch(width, self.strength.band_masks.1, rng);
            flatten_bands(frames, width, start..start + length);
        }
    }

    fn leave_out_frames(&self, frames: &mut [f32], rng: &mut StdRng) {
        let count = frames.len() / self.coefficients;
        for _ in 0..self.strength.frame_masks.0 {
            // Never more than an eighth of a short clip at once.
            let (start, length) = stretch(count, self.strength.frame_masks.1.min(count / 8), rng);
            frames[start * self.coefficients..(start + length) * self.coefficients].fill(0.0);
        }
    }
}

/// A random stretch of at most `longest` inside `0..size`.
fn stretch(size: usize, longest: usize, rng: &mut StdRng) -> (usize, usize) {
    let length = rng.random_range(0..=longest.min(size));
    (rng.random_range(0..=size - length), length)
}

/// Replaces each of the bands by its mean over time.
fn flatten_bands(frames: &mut [f32], width: usize, bands: std::ops::Range<usize>) {
    let count = (frames.len() / width).max(1) as f32;
    for band in bands {
        let mean = frames.iter().skip(band).step_by(width).sum::<f32>() / count;
        frames.iter_mut().skip(band).step_by(width).for_each(|value| *value = mean);
    }
}

/// Resamples along time: `pace` above 1 is faster, so shorter.
fn at_tempo(features: &[f32], width: usize, pace: f32, max_frames: usize) -> Vec<f32> {
    let count = features.len() / width;
    let wanted = ((count as f32 / pace).round() as usize).min(max_frames);
    let mut out = Vec::with_capacity(wanted * width);
    for frame in 0..wanted {
        let at = (frame as f32 * pace).min((count - 1) as f32);
        let (left, share) = (at as usize, at.fract());
        let right = (left + 1).min(count - 1);
        let pair = features[left * width..][..width].iter().zip(&features[right * width..][..width]);
        out.extend(pair.map(|(left, right)| left * (1.0 - share) + right * share));
    }
    out
}

fn interpolated(values: &[f32], at: f32) -> f32 {
    let at = at.min((values.len() - 1) as f32);
    let (left, share) = (at as usize, at.fract());
    let right = (left + 1).min(values.len() - 1);
    values[left] * (1.0 - share) + values[right] * share
}

fn transposed(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    (0..matrix.len()).map(|at| matrix[at % rows * columns + at / rows]).collect()
}
