//! A sequence of clips with silence between them, and the true position of speech.
//!
//! Input: clean clips.
//! Output: samples at 16 kHz, and for each of them whether it is speech.
//! Invariants: the result is deterministic.

use std::path::Path;
use std::sync::Arc;

use affectd::audio::{self, Resampler, ResamplerPlan};
use affectd::vad::Gate;

use super::sounds::{LEVEL, Random};

/// Samples per second.
pub const RATE: usize = 16_000;
/// Samples of one interval whose energy is compared.
const INTERVAL: usize = RATE / 100;

/// Samples and their labels.
pub struct Row {
    pub samples: Vec<f32>,
    /// Whether each sample is speech.
    pub speech: Vec<bool>,
}

/// Returns the number of complete windows in `samples` samples.
pub fn windows(gate: &Gate, samples: usize) -> u64 {
    let (length, hop) = (gate.window_length(), gate.window_hop());
    (samples as u64).checked_sub(length).map_or(0, |rest| rest / hop + 1)
}

impl Row {
    /// Returns the true share of speech of each complete window.
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

/// Returns the first channel of a file at 16 kHz.
pub fn clip(path: &Path) -> Vec<f32> {
    let recording = audio::decode_file(path).unwrap_or_else(|error| panic!("{error}"));
    resampled(&recording.channels[0], recording.sample_rate_hz, RATE as u32)
}

/// Limits the bandwidth to that of a line with 8 kHz, by resampling to 8 kHz and back.
pub fn telephone(samples: &[f32]) -> Vec<f32> {
    let mut back = resampled(&resampled(samples, RATE as u32, 8_000), 8_000, RATE as u32);
    back.resize(samples.len(), 0.0);
    back
}

/// Resamples a whole clip.
fn resampled(samples: &[f32], from_hz: u32, to_hz: u32) -> Vec<f32> {
    let plan = Arc::new(ResamplerPlan::new(from_hz, to_hz));
    let (mut resampler, mut resampled) = (Resampler::new(plan, 0), Vec::new());
    resampler.push(samples, &mut resampled);
    resampler.finish(&mut resampled);
    resampled
}

/// Joins the clips at one level, with 1 to 6 s of pause before each, and adds white noise at −80 dB to
/// everything.
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

/// Returns whether each sample is speech, and the gain that brings the speech to [`LEVEL`].
pub fn spoken(clip: &[f32]) -> (Vec<bool>, f32) {
    let energy = |interval: &[f32]| interval.iter().map(|s| s * s).sum::<f32>() / interval.len() as f32;
    let energies: Vec<f32> = clip.chunks(INTERVAL).map(energy).collect();
    let mut sorted = energies.clone();
    sorted.sort_by(f32::total_cmp);
    let least = sorted[sorted.len() * 95 / 100] * 1e-3;
    let loud: Vec<f32> = energies.iter().copied().filter(|energy| *energy >= least).collect();
    let mean = loud.iter().sum::<f32>() / loud.len() as f32;
    let speech = (0..clip.len()).map(|at| energies[at / INTERVAL] >= least).collect();
    (speech, LEVEL / mean.sqrt().max(1e-6))
}
