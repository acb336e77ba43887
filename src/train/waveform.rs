//! Data augmentation of samples: telephone line, white noise, gain, speed, pitch and time shift.
//!
//! Input: the samples of one window, and a random number generator. Output: the features of the augmented samples.
//! Invariants: each augmentation has its own probability; nothing here runs in serving.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::StandardNormal;

use super::architecture::NetworkKind;
use super::augment::at_tempo;
use crate::audio::{ResamplerPlan, resample};
use crate::evaluation::Telephone;
use crate::features::{FrontEnd, features_with_deltas};

/// The factors of speed perturbation (Ko et al., "Audio Augmentation for Speech Recognition", 2015); the pitch changes with
/// the speed.
const SPEEDS: [f64; 4] = [0.9, 0.95, 1.05, 1.1];

/// The probabilities and strengths of the augmentations; 0 disables one.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WaveformStrength {
    /// The share of windows with a simulated telephone line: 8 kHz, µ-law.
    pub telephone: f32,
    /// The share of windows with white noise.
    pub noise: f32,
    /// The lowest and the highest signal-to-noise ratio of the noise, in dB.
    pub noise_snr_db: (f32, f32),
    /// The maximum gain or attenuation, in dB; samples beyond full scale are clipped.
    pub gain_db: f32,
    /// The share of windows with speed perturbation by a factor of 0.9 to 1.1, which changes the pitch too.
    pub speed: f32,
    /// The share of windows with a pitch shift by a factor of 0.9 to 1.1, at the same tempo.
    pub pitch: f32,
    /// The maximum time removed from the start, in seconds.
    pub shift_seconds: f32,
}

impl WaveformStrength {
    /// All augmentations disabled.
    pub const NONE: Self = Self {
        telephone: 0.0,
        noise: 0.0,
        noise_snr_db: (5.0, 30.0),
        gain_db: 0.0,
        speed: 0.0,
        pitch: 0.0,
        shift_seconds: 0.0,
    };

    /// Returns the defaults of an architecture.
    pub fn of(kind: NetworkKind) -> Self {
        let telephone = if kind == NetworkKind::Cnn { 0.2 } else { 0.5 };
        match kind {
            NetworkKind::Cnn | NetworkKind::Dense => Self { telephone, ..Self::NONE },
            NetworkKind::Encoder => Self { telephone, noise: 0.3, gain_db: 6.0, speed: 0.5, ..Self::NONE },
        }
    }

    /// Returns whether all augmentations are disabled.
    pub fn is_none(&self) -> bool {
        let amounts = [self.telephone, self.noise, self.gain_db, self.speed, self.pitch, self.shift_seconds];
        amounts.iter().all(|&it| it == 0.0)
    }
}

/// The augmented samples of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The samples, full scale ±1.
    pub samples: Vec<f32>,
    /// The factor by which a pitch shift has resampled them; 1 for none. The features must be stretched by its inverse.
    pub pitch: f64,
}

/// The augmentation of samples at one rate, and the front end that computes their features.
#[derive(Debug)]
pub struct Waveform {
    strength: WaveformStrength,
    front_end: FrontEnd,
    sample_rate_hz: u32,
    telephone: Telephone,
    /// A resampler plan for each of [`SPEEDS`].
    speeds: Vec<Arc<ResamplerPlan>>,
}

impl Waveform {
    /// Creates the augmentation for samples at `sample_rate_hz`.
    pub fn new(strength: WaveformStrength, front_end: FrontEnd, sample_rate_hz: u32) -> Self {
        let plan = |from, to| Arc::new(ResamplerPlan::new(from, to));
        let telephone = Telephone::new(sample_rate_hz);
        let played = |speed: &f64| plan((f64::from(sample_rate_hz) * speed).round() as u32, sample_rate_hz);
        Self { strength, front_end, sample_rate_hz, telephone, speeds: SPEEDS.iter().map(played).collect() }
    }

    /// Returns the probabilities and strengths.
    pub fn strength(&self) -> WaveformStrength {
        self.strength
    }

    /// Returns the features of the augmented samples, `[frames * coefficients]`, or `None` where no augmentation was drawn.
    pub fn apply(&self, samples: &[i16], rng: &mut StdRng) -> Option<Vec<f32>> {
        let Changed { samples, pitch } = self.change(samples, rng)?;
        let features = features_with_deltas(&self.front_end, &samples);
        // A pitch shift resamples the samples and then restores the tempo by stretching the features in time. A phase
        // vocoder would keep the samples' tempo directly, at a much higher cost.
        let paced = |features: Vec<f32>| match pitch == 1.0 {
            true => features,
            false => at_tempo(&features, self.front_end.coefficients(), 1.0 / pitch as f32),
        };
        (!features.is_empty()).then(|| paced(features))
    }

    /// Returns the augmented samples, at most `samples / pitch` and at least `n_fft` of them, or `None` where no augmentation was drawn.
    pub fn change(&self, samples: &[i16], rng: &mut StdRng) -> Option<Changed> {
        let mut changed = samples.iter().map(|&it| f32::from(it) / 32_768.0).collect::<Vec<f32>>();
        let pitch = self.change_pitch(&mut changed, rng);
        let any = [
            pitch != 1.0,
            self.change_speed(&mut changed, rng),
            self.shift(&mut changed, rng),
            self.add_noise(&mut changed, rng),
            self.change_gain(&mut changed, rng),
            self.pass_telephone(&mut changed, rng),
        ];
        if !any.contains(&true) {
            return None;
        }
        let longest = (samples.len() as f64 / pitch) as usize;
        changed.truncate(longest.max(self.front_end.n_fft()));
        Some(Changed { samples: changed, pitch })
    }

    /// Resamples the samples by a random factor and returns the factor; 1 where no pitch shift was drawn.
    fn change_pitch(&self, samples: &mut Vec<f32>, rng: &mut StdRng) -> f64 {
        if self.strength.pitch == 0.0 || rng.random::<f32>() >= self.strength.pitch {
            return 1.0;
        }
        let chosen = rng.random_range(0..SPEEDS.len());
        *samples = resample(&self.speeds[chosen], samples);
        SPEEDS[chosen]
    }

    fn change_speed(&self, samples: &mut Vec<f32>, rng: &mut StdRng) -> bool {
        let happens = rng.random::<f32>() < self.strength.speed;
        if happens {
            *samples = resample(&self.speeds[rng.random_range(0..self.speeds.len())], samples);
        }
        happens
    }

    fn shift(&self, samples: &mut Vec<f32>, rng: &mut StdRng) -> bool {
        let longest = (self.strength.shift_seconds * self.sample_rate_hz as f32) as usize;
        let shift = rng.random_range(0..=longest.min(samples.len() / 4));
        samples.drain(..shift);
        shift > 0
    }

    fn add_noise(&self, samples: &mut [f32], rng: &mut StdRng) -> bool {
        let happens = rng.random::<f32>() < self.strength.noise;
        if happens {
            let (low, high) = self.strength.noise_snr_db;
            let snr_db = rng.random_range(low..=high);
            let power = samples.iter().map(|it| it * it).sum::<f32>() / samples.len().max(1) as f32;
            let deviation = (power / 10.0_f32.powf(snr_db / 10.0)).sqrt();
            samples.iter_mut().for_each(|it| *it += deviation * rng.sample::<f32, _>(StandardNormal));
        }
        happens
    }

    fn change_gain(&self, samples: &mut [f32], rng: &mut StdRng) -> bool {
        let gain_db = self.strength.gain_db * rng.random_range(-1.0..=1.0_f32);
        let factor = 10.0_f32.powf(gain_db / 20.0);
        samples.iter_mut().for_each(|it| *it = (*it * factor).clamp(-1.0, 1.0));
        gain_db != 0.0
    }

    fn pass_telephone(&self, samples: &mut Vec<f32>, rng: &mut StdRng) -> bool {
        let happens = rng.random::<f32>() < self.strength.telephone;
        if happens {
            *samples = self.telephone.round_trip(samples);
        }
        happens
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::features::{FrameKind, MfccOptions};

    const RATE_HZ: u32 = 16_000;

    fn waveform(strength: WaveformStrength) -> Waveform {
        let options = MfccOptions { n_mels: 64, n_mfcc: 64, ..MfccOptions::default() };
        let front_end = FrontEnd::new(&options, RATE_HZ, FrameKind::LogMel).expect("valid options");
        Waveform::new(strength, front_end, RATE_HZ)
    }

    /// White noise, one second.
    fn hiss(rng: &mut StdRng) -> Vec<i16> {
        (0..RATE_HZ).map(|_| rng.random_range(-8_000..8_000)).collect()
    }

    /// Mean level of the highest and of the lowest bands.
    fn levels(features: &[f32]) -> (f32, f32) {
        let mean = |bands: std::ops::Range<usize>| {
            let values = features.chunks_exact(64).flat_map(|frame| frame[bands.clone()].iter());
            values.sum::<f32>() / (features.len() / 64 * bands.len()) as f32
        };
        (mean(56..64), mean(10..18))
    }

    #[test]
    fn no_strength_changes_no_window() {
        let mut rng = StdRng::seed_from_u64(1);
        let samples = hiss(&mut rng);
        assert!(WaveformStrength::NONE.is_none());
        assert_eq!(waveform(WaveformStrength::NONE).apply(&samples, &mut rng), None);
    }

    #[test]
    fn a_telephone_takes_the_highest_bands_away() {
        let mut rng = StdRng::seed_from_u64(2);
        let samples = hiss(&mut rng);
        let always = waveform(WaveformStrength { telephone: 1.0, ..WaveformStrength::NONE });
        let (high, low) = levels(&always.apply(&samples, &mut rng).expect("every window is changed"));
        assert!(low - high > 5.0, "highest bands {high}, lower bands {low}");
    }

    /// The band that is loudest over all frames, as a place between 0 and 63.
    fn loudest_band(features: &[f32]) -> usize {
        let level = |band: usize| features.iter().skip(band).step_by(64).sum::<f32>();
        (0..64).max_by(|&a, &b| level(a).total_cmp(&level(b))).expect("there are bands")
    }

    #[test]
    fn pitch_moves_a_tone_and_keeps_its_length_while_speed_changes_both() {
        let tone =
            |at: u32| (8_000.0 * (std::f32::consts::TAU * 2_000.0 * at as f32 / 16_000.0).sin()) as i16;
        let samples: Vec<i16> = (0..RATE_HZ).map(tone).collect();
        let none = waveform(WaveformStrength::NONE);
        let plain = features_with_deltas(
            &none.front_end,
            &samples.iter().map(|&it| f32::from(it) / 32_768.0).collect::<Vec<f32>>(),
        );
        let pitch = waveform(WaveformStrength { pitch: 1.0, ..WaveformStrength::NONE });
        let speed = waveform(WaveformStrength { speed: 1.0, ..WaveformStrength::NONE });
        let (mut moved, mut longest, mut shortest) = (0, 0, usize::MAX);
        for seed in 0..12 {
            let changed =
                |it: &Waveform| it.apply(&samples, &mut StdRng::seed_from_u64(seed)).unwrap_or_default();
            let (pitched, sped) = (changed(&pitch), changed(&speed));
            assert!(
                pitched.len().abs_diff(plain.len()) <= 2 * 64,
                "{} of {} values",
                pitched.len(),
                plain.len()
            );
            moved += usize::from(loudest_band(&pitched) != loudest_band(&plain));
            (longest, shortest) = (longest.max(sped.len()), shortest.min(sped.len()));
        }
        assert!(moved >= 10, "{moved} of 12 copies have another pitch");
        assert!(shortest < plain.len() * 19 / 20 && longest <= plain.len(), "{shortest} to {longest}");
    }

    #[test]
    fn noise_has_the_wanted_power() {
        let mut rng = StdRng::seed_from_u64(3);
        let quiet = vec![0_i16; 8_000].into_iter().chain(hiss(&mut rng)).collect::<Vec<i16>>();
        let noisy =
            waveform(WaveformStrength { noise: 1.0, noise_snr_db: (0.0, 0.0), ..WaveformStrength::NONE });
        let features = noisy.apply(&quiet, &mut rng).expect("every window is changed");
        // At 0 dB the noise is as strong as the mean of hiss and silence: ln 1.5 below the hiss itself.
        let frames = features.len() / 64;
        let (silence, hiss) = (levels(&features[..30 * 64]).1, levels(&features[(frames - 80) * 64..]).1);
        assert!((hiss - silence - (1.5_f32 + 1.0).ln()).abs() < 0.3, "silence {silence}, hiss {hiss}");
    }
}
