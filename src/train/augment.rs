//! Data augmentation of features: tempo, vocal tract length, spectral shape, dynamics, a noise floor, and time and
//! frequency masking (SpecAugment, Park et al. 2019, <https://arxiv.org/abs/1904.08779>).
//!
//! Input: the features of one window, and a random number generator. Output: augmented features with about as many frames.
//! Invariants: augmentations of the mel axis apply only to features that are mel bands; nothing here runs in serving.

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::StandardNormal;

use super::architecture::NetworkKind;

/// The strengths of the augmentations; 0 disables one. Levels are natural logarithms of power.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Strength {
    /// The maximum natural logarithm of the tempo factor.
    pub tempo: f32,
    /// The maximum natural logarithm of the warping factor of the mel axis.
    pub warp: f32,
    /// The maximum shift of the mel axis, as a share of all bands.
    pub shift: f32,
    /// The standard deviation of the spectral tilt, in levels from the lowest to the middle band.
    pub tilt: f32,
    /// The standard deviation of the spectral curvature.
    pub curve: f32,
    /// The standard deviation of the amplitude of a sinusoidal ripple over the bands.
    pub ripple: f32,
    /// The standard deviation of the natural logarithm of the factor on all levels.
    pub dynamics: f32,
    /// The share of windows with a noise floor 8 to 14 below the highest level.
    pub noise_floor: f32,
    /// The maximum number of masked frames.
    pub frame_mask: usize,
    /// The maximum share of masked bands.
    pub band_mask: f32,
}

impl Strength {
    /// All augmentations disabled.
    pub const NONE: Self = Self {
        tempo: 0.0,
        warp: 0.0,
        shift: 0.0,
        tilt: 0.0,
        curve: 0.0,
        ripple: 0.0,
        dynamics: 0.0,
        noise_floor: 0.0,
        frame_mask: 0,
        band_mask: 0.0,
    };

    /// Multiplies the strengths of the spectral shape and the dynamics (tilt, curvature, ripple, dynamics) by `factor`.
    #[must_use]
    pub fn with_colour(self, factor: f32) -> Self {
        let Self { tilt, curve, ripple, dynamics, .. } = self;
        Self {
            tilt: tilt * factor,
            curve: curve * factor,
            ripple: ripple * factor,
            dynamics: dynamics * factor,
            ..self
        }
    }

    /// Returns the defaults of an architecture, tuned on a few hours of speech. The dense net scores best without feature
    /// augmentation, and the input of an encoder is not augmented.
    pub fn of(kind: NetworkKind) -> Self {
        match kind {
            NetworkKind::Dense | NetworkKind::Encoder => Self::NONE,
            NetworkKind::Cnn => Self {
                tempo: 0.12,
                warp: 0.06,
                shift: 0.03,
                tilt: 0.4,
                curve: 0.28,
                ripple: 0.2,
                dynamics: 0.05,
                noise_floor: 0.15,
                frame_mask: 30,
                band_mask: 0.18,
            },
        }
    }
}

/// The augmentation of one type of features.
#[derive(Debug, Clone, Copy)]
pub struct Augmentation {
    /// The strengths.
    pub strength: Strength,
    /// The number of values per frame.
    pub width: usize,
    /// Whether the values are mel bands.
    pub has_bands: bool,
}

impl Augmentation {
    /// Augments one window, `[frames * width]`, and crops it to at most `max_frames` frames.
    pub fn apply(&self, features: &[f32], max_frames: usize, rng: &mut StdRng) -> Vec<f32> {
        let pace = (self.strength.tempo * rng.random_range(-1.0..=1.0_f32)).exp();
        let mut frames = at_tempo(features, self.width, pace);
        crop(&mut frames, max_frames * self.width, self.width, rng);
        if self.has_bands {
            self.warp(&mut frames, rng);
            self.colour(&mut frames, rng);
            self.add_floor(&mut frames, rng);
        }
        let fill = frames.iter().sum::<f32>() / frames.len().max(1) as f32;
        self.mask_frames(&mut frames, rng);
        if self.has_bands {
            self.mask_bands(&mut frames, fill, rng);
        }
        frames
    }

    /// Stretches and shifts the mel axis, which simulates another vocal tract length (Jaitly and Hinton, "Vocal Tract Length
    /// Perturbation (VTLP) improves speech recognition", 2013).
    fn warp(&self, frames: &mut [f32], rng: &mut StdRng) {
        let stretch = (self.strength.warp * rng.random_range(-1.0..=1.0_f32)).exp();
        let shift = self.strength.shift * self.width as f32 * rng.random_range(-1.0..=1.0_f32);
        let mut source = vec![0.0; self.width];
        for frame in frames.chunks_exact_mut(self.width) {
            source.copy_from_slice(frame);
            for (band, value) in frame.iter_mut().enumerate() {
                *value = interpolated(&source, band as f32 * stretch + shift);
            }
        }
    }

    /// Adds a random spectral shape, which simulates another microphone or channel, and scales the dynamic range.
    fn colour(&self, frames: &mut [f32], rng: &mut StdRng) {
        let mut normal = || rng.sample::<f32, _>(StandardNormal);
        let (tilt, curve) = (self.strength.tilt * normal(), self.strength.curve * normal());
        let (ripple, dynamics) = (self.strength.ripple * normal(), (self.strength.dynamics * normal()).exp());
        let phase = rng.random_range(0.0..std::f32::consts::TAU);
        let level = |band: usize| {
            let position = 2.0 * band as f32 / (self.width - 1).max(1) as f32 - 1.0;
            let wave = (std::f32::consts::TAU * position + phase).cos();
            tilt * position + curve * (position * position - 1.0 / 3.0) + ripple * wave
        };
        let levels: Vec<f32> = (0..self.width).map(level).collect();
        for frame in frames.chunks_exact_mut(self.width) {
            frame.iter_mut().zip(&levels).for_each(|(it, level)| *it = (*it + level) * dynamics);
        }
    }

    /// Adds a noise floor: `log(exp(level) + exp(noise))`, computed without overflow.
    fn add_floor(&self, frames: &mut [f32], rng: &mut StdRng) {
        if rng.random::<f32>() >= self.strength.noise_floor {
            return;
        }
        let loudest = frames.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let floor = loudest - 8.0 - rng.random_range(0.0..=6.0_f32);
        for value in frames {
            let noise = floor + 0.5 * rng.sample::<f32, _>(StandardNormal);
            *value = value.max(noise) + (-(*value - noise).abs()).exp().ln_1p();
        }
    }

    /// Replaces a range of frames by the mean frame (time masking), at most an eighth of a short clip.
    fn mask_frames(&self, frames: &mut [f32], rng: &mut StdRng) {
        let count = frames.len() / self.width;
        let (start, length) = random_range(count, self.strength.frame_mask.min(count / 8), rng);
        if length == 0 {
            return;
        }
        let mut mean = vec![0.0; self.width];
        for frame in frames.chunks_exact(self.width) {
            mean.iter_mut().zip(frame).for_each(|(sum, it)| *sum += it / count as f32);
        }
        let masked = &mut frames[start * self.width..(start + length) * self.width];
        masked.chunks_exact_mut(self.width).for_each(|frame| frame.copy_from_slice(&mean));
    }

    /// Replaces a range of bands by `fill` in all frames (frequency masking).
    fn mask_bands(&self, frames: &mut [f32], fill: f32, rng: &mut StdRng) {
        let (start, length) =
            random_range(self.width, (self.strength.band_mask * self.width as f32) as usize, rng);
        for frame in frames.chunks_exact_mut(self.width) {
            frame[start..start + length].fill(fill);
        }
    }
}

/// Returns the start and the length of a random range of at most `longest` inside `0..size`.
fn random_range(size: usize, longest: usize, rng: &mut StdRng) -> (usize, usize) {
    let length = rng.random_range(0..=longest.min(size));
    (rng.random_range(0..=size - length), length)
}

/// Crops to a random range of at most `longest` values, in whole frames of `width` values.
fn crop(frames: &mut Vec<f32>, longest: usize, width: usize, rng: &mut StdRng) {
    let surplus = frames.len().saturating_sub(longest) / width;
    if surplus > 0 {
        frames.drain(..rng.random_range(0..=surplus) * width);
        frames.truncate(longest);
    }
}

/// Resamples along time by linear interpolation; a `pace` above 1 is faster and gives fewer frames.
pub(super) fn at_tempo(features: &[f32], width: usize, pace: f32) -> Vec<f32> {
    let count = features.len() / width;
    let wanted = (count as f32 / pace).round() as usize;
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
    let at = at.clamp(0.0, (values.len() - 1) as f32);
    let (left, share) = (at as usize, at.fract());
    let right = (left + 1).min(values.len() - 1);
    values[left] * (1.0 - share) + values[right] * share
}
