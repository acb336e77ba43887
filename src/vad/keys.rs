//! Recognises the tones of telephone keys (DTMF, ITU-T Q.23) in one frame.
//!
//! Input: frames of the detector.
//! Output: for each frame, whether nearly all of its energy is in one frequency of the rows of keys and in one of the
//! columns.
//! Invariants: the result depends on the frame only.
//!
//! The spectra of [`super::tones`] are too long for keys: a key lasts from 40 ms on.

use std::f32::consts::TAU;

use super::detector::SAMPLE_RATE_HZ;

/// The frequencies of the rows, then those of the columns, in hertz.
const FREQUENCIES_HZ: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// The smallest share of the energy in the row and the column. Frequencies may deviate by 1.5 % (ITU-T Q.24).
const MIN_SHARE: f32 = 0.7;
/// The largest quotient of the energies of row and column: 10 dB.
const MAX_TWIST: f32 = 10.0;

/// The coefficients of the filters.
#[derive(Debug)]
pub(super) struct Keys([f32; 8]);

impl Keys {
    /// Creates the coefficients.
    pub fn new() -> Self {
        Self(FREQUENCIES_HZ.map(|hz| 2.0 * (TAU * hz * 2.0 / SAMPLE_RATE_HZ as f32).cos()))
    }

    /// Returns whether the frame is part of the tone of a key.
    ///
    /// The energies are those of the algorithm of G. Goertzel ("An algorithm for the evaluation of finite
    /// trigonometric series", 1958), for all frequencies at a time and on sums of two samples each.
    pub fn is_key(&self, frame: &[i16]) -> bool {
        let (mut last, mut before, mut total) = ([0.0_f32; 8], [0.0_f32; 8], 0.0_f32);
        for pair in frame.chunks_exact(2) {
            let sample = f32::from(pair[0]) + f32::from(pair[1]);
            total += sample * sample;
            let next: [f32; 8] = std::array::from_fn(|at| sample + self.0[at] * last[at] - before[at]);
            (before, last) = (last, next);
        }
        let energy =
            |at: usize| last[at] * last[at] + before[at] * before[at] - self.0[at] * last[at] * before[at];
        let row = (0..4).map(energy).fold(0.0, f32::max);
        let column = (4..8).map(energy).fold(0.0, f32::max);
        // A sine has the energy n/2 · total, where n is the number of sums.
        row + column >= MIN_SHARE * total * (frame.len() / 4) as f32
            && row <= MAX_TWIST * column
            && column <= MAX_TWIST * row
            && total > 0.0
    }
}
