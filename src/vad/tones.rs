//! Finds the frames of a block that belong to the tones of a telephone line, to a modem or to a melody.
//!
//! Input: the samples of a block at 16 kHz.
//! Output: for each frame of the detector, whether it is tonal.
//! Invariants: the result depends on these samples only; nothing is allocated after the first long block.
//!
//! Short-time spectra of 64 ms follow each other every 32 ms. Two signs make the frames of a spectrum tonal:
//!
//! - Its energy lies in peaks whose frequency has not changed since the previous spectrum. A peak is located
//!   between two bins by a parabola through the logarithms of three bins (J. O. Smith and X. Serra, "PARSHL: an
//!   analysis/synthesis program for non-harmonic sounds", 1987) and is matched with the nearest one of the
//!   previous spectrum (R. J. McAulay and T. F. Quatieri, "Speech analysis/synthesis based on a sinusoidal
//!   representation", 1986). The partials of a voice move by more than [`MAX_DRIFT_HZ`] in 32 ms, while those of
//!   call progress tones (ITU-T E.180), DTMF (Q.23) and instruments do not.
//! - The level has been steady for a quarter of a second, without energy in the range of a voice's fundamental.
//!   Modems with frequency-shift keying (ITU-T V.21) transmit at a constant level above 900 Hz.
//!
//! The tones of keys are shorter than a spectrum; [`super::keys`] recognises them frame by frame.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::detector::{FRAME_SAMPLES, SAMPLE_RATE_HZ};
use super::keys::Keys;

/// Samples of one spectrum.
const LENGTH: usize = 1_024;
/// Samples from one spectrum to the next.
const HOP: usize = 512;
/// Width of a bin, in hertz.
const BIN_HZ: f32 = SAMPLE_RATE_HZ as f32 / LENGTH as f32;
/// The lowest bin that counts: mains hum and offsets are below 60 Hz.
const LOWEST_BIN: usize = (60.0 / BIN_HZ) as usize;
/// The bins below 400 Hz, where the fundamental of a voice lies.
const VOICE_BINS: usize = (400.0 / BIN_HZ) as usize;

/// The largest difference of a peak's frequency from one spectrum to the next, in hertz.
const MAX_DRIFT_HZ: f32 = 0.5;
/// The smallest share of the energy in peaks that do not move.
const MIN_STABLE_SHARE: f32 = 0.87;
/// The smallest share of the energy in the bin of a peak.
const MIN_PEAK_SHARE: f32 = 1e-3;
/// The hops over which the level of a modem is steady.
const STEADY_HOPS: usize = 8;
/// The largest range of a steady level, in decibels.
const STEADY_RANGE_DB: f32 = 1.0;
/// The largest share of a modem's energy in [`VOICE_BINS`].
const MAX_VOICE_SHARE: f32 = 0.01;
/// The frames on each side of a frame of a key that belong to the key too, or to the pause before the next one.
const KEY_REACH: usize = 2;
/// Keeps logarithms and quotients of empty spectra finite.
const FLOOR: f32 = 1e-12;

/// What is compared of one spectrum.
#[derive(Debug, Clone, Copy)]
struct Summary {
    /// Share of the energy in peaks that were in the previous spectrum too.
    stable_share: f32,
    /// Decibels relative to an energy of 1.
    level_db: f32,
    /// Share of the energy in [`VOICE_BINS`].
    voice_share: f32,
}

/// Tables and buffers of the search for tones.
pub(super) struct Tones {
    keys: Keys,
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    input: Vec<f32>,
    output: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Energy of each bin.
    energy: Vec<f32>,
    /// Frequencies of the peaks of the previous spectrum, in hertz, ascending.
    previous: Vec<f32>,
    /// Frequencies of the peaks of the current spectrum, in hertz, ascending.
    current: Vec<f32>,
    summaries: Vec<Summary>,
    tonal: Vec<bool>,
}

impl std::fmt::Debug for Tones {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tones")
    }
}

impl Tones {
    /// Creates the tables.
    pub fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(LENGTH);
        Self {
            keys: Keys::new(),
            hann: (0..LENGTH).map(|at| 0.5 - 0.5 * (TAU * at as f32 / LENGTH as f32).cos()).collect(),
            input: fft.make_input_vec(),
            output: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            energy: Vec::with_capacity(LENGTH / 2 + 1),
            previous: Vec::new(),
            current: Vec::new(),
            summaries: Vec::new(),
            tonal: Vec::new(),
            fft,
        }
    }

    /// Returns whether each frame of the block is tonal.
    pub fn find(&mut self, samples: &[i16]) -> &[bool] {
        self.previous.clear();
        self.summaries.clear();
        let spectra = samples.len().checked_sub(LENGTH).map_or(0, |rest| rest / HOP + 1);
        for spectrum in 0..spectra {
            let from = spectrum * HOP;
            self.transform(&samples[from..from + LENGTH]);
            let summary = self.summary();
            self.summaries.push(summary);
            std::mem::swap(&mut self.previous, &mut self.current);
        }
        self.tonal.clear();
        self.tonal.resize(samples.len() / FRAME_SAMPLES, false);
        for last in 1..spectra {
            let first = if is_steady(&self.summaries[..=last]) {
                last - STEADY_HOPS
            } else if self.summaries[last].stable_share >= MIN_STABLE_SHARE {
                last - 1
            } else {
                continue;
            };
            let frames = first * HOP / FRAME_SAMPLES..(last * HOP + LENGTH) / FRAME_SAMPLES;
            self.tonal[frames].fill(true);
        }
        self.find_keys(samples);
        &self.tonal
    }

    /// Marks the frames of keys and those around them.
    fn find_keys(&mut self, samples: &[i16]) {
        for (number, frame) in samples.chunks_exact(FRAME_SAMPLES).enumerate() {
            if self.keys.is_key(frame) {
                let end = self.tonal.len().min(number + KEY_REACH + 1);
                self.tonal[number.saturating_sub(KEY_REACH)..end].fill(true);
            }
        }
    }

    /// Computes the energy of each bin.
    fn transform(&mut self, samples: &[i16]) {
        for ((input, sample), weight) in self.input.iter_mut().zip(samples).zip(&self.hann) {
            *input = f32::from(*sample) * weight;
        }
        // It fails only where a buffer has the wrong length.
        let done = self.fft.process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch);
        debug_assert!(done.is_ok(), "buffers have the lengths that the transform requests");
        self.energy.clear();
        self.energy.extend(self.output.iter().map(Complex::norm_sqr));
    }

    /// Finds the peaks of the current spectrum and compares them with those of the previous one.
    fn summary(&mut self) -> Summary {
        let total = self.energy[LOWEST_BIN..].iter().sum::<f32>() + FLOOR;
        let mut stable = 0.0;
        self.current.clear();
        for (place, near) in self.energy[LOWEST_BIN - 2..].windows(5).enumerate() {
            let [_, left, peak, right, _] = *near else { continue };
            if peak > left && peak >= right && peak > MIN_PEAK_SHARE * total {
                let frequency = (place + LOWEST_BIN) as f32 * BIN_HZ + BIN_HZ * offset(left, peak, right);
                self.current.push(frequency);
                if self.previous.iter().any(|previous| (frequency - previous).abs() < MAX_DRIFT_HZ) {
                    stable += near.iter().sum::<f32>();
                }
            }
        }
        Summary {
            stable_share: stable / total,
            level_db: 10.0 * total.log10(),
            voice_share: self.energy[..VOICE_BINS].iter().sum::<f32>() / total,
        }
    }
}

/// Returns how far the vertex of the parabola through three logarithms lies from the middle one, in bins.
fn offset(left: f32, peak: f32, right: f32) -> f32 {
    let [left, peak, right] = [left, peak, right].map(|energy| energy.max(FLOOR).ln());
    0.5 * (left - right) / (left - 2.0 * peak + right)
}

/// Returns whether the level of the last [`STEADY_HOPS`] hops is steady and without the fundamental of a voice.
fn is_steady(summaries: &[Summary]) -> bool {
    let Some(first) = summaries.len().checked_sub(STEADY_HOPS + 1) else { return false };
    let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
    for summary in &summaries[first..] {
        if summary.voice_share >= MAX_VOICE_SHARE {
            return false;
        }
        (least, most) = (least.min(summary.level_db), most.max(summary.level_db));
    }
    most - least < STEADY_RANGE_DB
}
