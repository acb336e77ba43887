//! Clips in a row with silence between, and where in them somebody speaks.
//!
//! In: clean clips. Out: samples at 16 kHz, and the truth about each of them. Deterministic.

use std::path::Path;
use std::sync::Arc;

use affectd::audio::{self, Resampler, ResamplerPlan};
use affectd::vad::Gate;

use super::sounds::{LEVEL, Random};

/// Samples of a second.
pub const RATE: usize = 16_000;
/// Samples of one stretch whose energy decides.
const STRETCH: usize = RATE / 100;

/// Samples with what is true of them.
pub struct Row {
    pub samples: Vec<f32>,
    /// Whether somebody speaks.
    pub speech: Vec<bool>,
}

/// Full windows in so many samples.
pub fn windows(gate: &Gate, samples: usize) -> u64 {
    let (length, hop) = (gate.window_length(), gate.window_hop());
    (samples as u64).checked_sub(length).map_or(0, |rest| rest / hop + 1)
}

impl Row {
    /// The true share of each full window.
    pub fn shares(&self, gate: &Gate) -> Vec<f64> {
        let (length, hop) = (gate.window_length(), gate.window_hop());
        let share = |index: u64| {
            let from = (index * hop) as usize;
            let spoken = self.speech[from..from + length as usize].iter().filter(|speech| **speech).count();
            spoken as f64 / length as f64
        };
        (0..windows(gate, self.speech.len())).map(share).collect()
    }
}

/// The first channel of a file at 16 kHz.
pub fn clip(path: &Path) -> Vec<f32> {
    let recording = audio::decode_file(path).unwrap_or_else(|error| panic!("{error}"));
    resampled(&recording.channels[0], recording.sample_rate_hz, RATE as u32)
}

/// The samples as they come from a line with 8 kHz.
pub fn telephone(samples: &[f32]) -> Vec<f32> {
    let mut back = resampled(&resampled(samples, RATE as u32, 8_000), 8_000, RATE as u32);
    back.resize(samples.len(), 0.0);
    back
}

fn resampled(samples: &[f32], from_hz: u32, to_hz: u32) -> Vec<f32> {
    let plan = Arc::new(ResamplerPlan::new(from_hz, to_hz));
    let (mut resampler, mut resampled) = (Resampler::new(plan, 0), Vec::new());
    resampler.push(samples, &mut resampled);
    resampler.finish(&mut resampled);
    resampled
}

/// The clips at one level, 1 to 6 s of a hiss at −80 dB before each.
pub fn row(clips: &[Vec<f32>]) -> Row {
    let (mut random, mut row) = (Random(1), Row { samples: Vec::new(), speech: Vec::new() });
    for clip in clips {
        let (speech, gain) = spoken(clip);
        let pause = RATE + random.below(5 * RATE);
        row.samples.extend(std::iter::repeat_n(0.0, pause));
        row.speech.extend(std::iter::repeat_n(false, pause));
        row.samples.extend(clip.iter().map(|sample| sample * gain));
        row.speech.extend(speech);
    }
    row.samples.iter_mut().for_each(|sample| *sample += 1e-4 * random.normal());
    row
}

/// Whether somebody speaks, sample by sample, and the gain that brings the speech to [`LEVEL`].
pub fn spoken(clip: &[f32]) -> (Vec<bool>, f32) {
    let energy = |stretch: &[f32]| stretch.iter().map(|s| s * s).sum::<f32>() / stretch.len() as f32;
    let energies: Vec<f32> = clip.chunks(STRETCH).map(energy).collect();
    let mut sorted = energies.clone();
    sorted.sort_by(f32::total_cmp);
    let least = sorted[sorted.len() * 95 / 100] * 1e-3;
    let loud: Vec<f32> = energies.iter().copied().filter(|energy| *energy >= least).collect();
    let mean = loud.iter().sum::<f32>() / loud.len() as f32;
    let speech = (0..clip.len()).map(|at| energies[at / STRETCH] >= least).collect();
    (speech, LEVEL / mean.sqrt().max(1e-6))
}
