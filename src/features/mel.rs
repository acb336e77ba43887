//! The mel filterbank: triangular filters over the bins of a spectrum, stored sparsely.
//!
//! Input: spectra of `n_fft / 2 + 1` bins, one frame per lane.
//! Output: one energy per mel band. The filters equal those of `librosa.filters.mel`, or those of Kaldi.

use super::{MelNorm, MelScale, MfccOptions};
use crate::simd::{Simd, multiply_add};

/// The mel filterbank of one front end.
#[derive(Debug, Clone)]
pub(super) struct MelFilterbank {
    bands: Vec<Band>,
    /// The weights of all bands, one band after the other.
    weights: Vec<f32>,
}

/// One triangle. Its weights are `weights[offset..offset + length]`, for the bins from `first_bin` on.
#[derive(Debug, Clone, Copy)]
struct Band {
    first_bin: usize,
    offset: usize,
    length: usize,
}

impl MelFilterbank {
    /// Builds the filters of options that passed [`MfccOptions::check`]. A band that is too narrow to contain
    /// a bin has no weights, and its energy is 0, as in librosa.
    pub fn new(options: &MfccOptions, sample_rate_hz: u32) -> Self {
        let bin_hz = f64::from(sample_rate_hz) / options.n_fft as f64;
        let edges = edges_hz(options);
        let mut filterbank = Self { bands: Vec::with_capacity(options.n_mels), weights: Vec::new() };
        // The axis on which the sides of a triangle are straight lines: hertz in librosa, mel in Kaldi.
        let axis = |hz| if options.mel_scale == MelScale::Kaldi { hz_to_mel(MelScale::Htk, hz) } else { hz };
        for edge in edges.windows(3) {
            let scale = match options.mel_norm {
                MelNorm::Slaney => 2.0 / (edge[2] - edge[0]),
                MelNorm::None => 1.0,
            };
            let (lower, centre, upper) = (axis(edge[0]), axis(edge[1]), axis(edge[2]));
            let weight = |bin: usize| {
                let frequency = axis(bin as f64 * bin_hz);
                let rising = (frequency - lower) / (centre - lower);
                let falling = (upper - frequency) / (upper - centre);
                (scale * rising.min(falling).max(0.0)) as f32
            };
            filterbank.push((0..=options.n_fft / 2).map(weight));
        }
        filterbank
    }

    /// Appends a band with the positive ones of `weights`, which has one weight per bin.
    fn push(&mut self, weights: impl Iterator<Item = f32>) {
        let offset = self.weights.len();
        let mut first_bin = 0;
        for (bin, weight) in weights.enumerate() {
            if weight > 0.0 {
                if self.weights.len() == offset {
                    first_bin = bin;
                }
                self.weights.push(weight);
            }
        }
        self.bands.push(Band { first_bin, offset, length: self.weights.len() - offset });
    }

    /// Writes the energy of each band of `spectrum` (one row per bin) to `energies` (one row per band).
    #[inline(always)]
    pub fn apply<S: Simd>(&self, simd: S, spectrum: &[S::f32s], energies: &mut [S::f32s]) {
        for (energy, band) in energies.iter_mut().zip(&self.bands) {
            let weights = &self.weights[band.offset..band.offset + band.length];
            let bins = &spectrum[band.first_bin..band.first_bin + band.length];
            let mut sum = simd.splat_f32s(0.0);
            for (weight, bin) in weights.iter().zip(bins) {
                sum = multiply_add(simd, simd.splat_f32s(*weight), *bin, sum);
            }
            *energy = sum;
        }
    }
}

/// Returns the `n_mels + 2` edges of the triangles in hertz, evenly spaced in mel.
fn edges_hz(options: &MfccOptions) -> Vec<f64> {
    let scale = options.mel_scale;
    let (lowest, highest) = (hz_to_mel(scale, options.f_min_hz), hz_to_mel(scale, options.f_max_hz));
    let step = (highest - lowest) / (options.n_mels + 1) as f64;
    (0..options.n_mels + 2).map(|i| mel_to_hz(scale, lowest + step * i as f64)).collect()
}

/// Slaney's scale (Auditory Toolbox, 1998), as in librosa with `htk=False`: linear with 200/3 Hz per mel
/// below 1 kHz, then logarithmic with 27 mel for a factor of 6.4.
const LINEAR_HZ_PER_MEL: f64 = 200.0 / 3.0;
const BREAK_HZ: f64 = 1000.0;
const BREAK_MEL: f64 = BREAK_HZ / LINEAR_HZ_PER_MEL;

/// Returns the logarithm of the frequency ratio of one mel above 1 kHz.
fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

/// Converts hertz to mel. The HTK formula is `2595·log10(1 + f/700)` (O'Shaughnessy, 1987).
fn hz_to_mel(scale: MelScale, hz: f64) -> f64 {
    match scale {
        MelScale::Htk | MelScale::Kaldi => 2595.0 * (1.0 + hz / 700.0).log10(),
        MelScale::Slaney if hz < BREAK_HZ => hz / LINEAR_HZ_PER_MEL,
        MelScale::Slaney => BREAK_MEL + (hz / BREAK_HZ).ln() / log_step(),
    }
}

/// The inverse of [`hz_to_mel`].
fn mel_to_hz(scale: MelScale, mel: f64) -> f64 {
    match scale {
        MelScale::Htk | MelScale::Kaldi => 700.0 * (10.0_f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < BREAK_MEL => mel * LINEAR_HZ_PER_MEL,
        MelScale::Slaney => BREAK_HZ * (log_step() * (mel - BREAK_MEL)).exp(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scales_are_invertible(hz in 0.0..96_000.0_f64) {
            for scale in [MelScale::Slaney, MelScale::Htk, MelScale::Kaldi] {
                let back = mel_to_hz(scale, hz_to_mel(scale, hz));
                prop_assert!((back - hz).abs() < 1e-6 * (1.0 + hz), "{scale:?}: {hz} became {back}");
            }
        }
    }

    #[test]
    fn known_points() {
        assert!((hz_to_mel(MelScale::Htk, 1000.0) - 999.985_537).abs() < 1e-5);
        assert!((hz_to_mel(MelScale::Slaney, 6400.0) - 42.0).abs() < 1e-9);
    }
}
