//! The share of speech of each window of one channel.
//!
//! Input: the samples of the channel at the model's rate, without a gap.
//! Output: the share of each window, in order.
//! Invariants: a share depends on the samples of its window only. A channel needs 21 kB where the hop is half
//! a second or more.

use super::Gate;
use super::interleaved_detector::InterleavedDetector;

/// The voice activity of one channel in one segment of audio.
#[derive(Debug)]
pub struct VoiceActivity {
    /// Window `n` begins with a block of the detector `(n − first_window) % detectors`.
    detectors: Vec<InterleavedDetector>,
    first_window: u64,
    /// Absolute index behind the last sample accepted.
    end: u64,
}

impl VoiceActivity {
    /// Creates the state of a channel whose first sample has the absolute index `origin`. `first_window` is
    /// the first window whose share will be requested; it begins at or after `origin`.
    #[must_use]
    pub fn new(gate: &Gate, origin: u64, first_window: u64) -> Self {
        let skip = |detector: u64| ((first_window + detector) * gate.hop).saturating_sub(origin);
        let detectors =
            (0..gate.detectors).map(|detector| InterleavedDetector::new(gate, skip(detector))).collect();
        Self { detectors, first_window, end: origin }
    }

    /// Accepts the next samples.
    pub fn push(&mut self, gate: &Gate, samples: &[f32]) {
        self.end += samples.len() as u64;
        self.detectors.iter_mut().for_each(|detector| detector.push(gate, samples));
    }

    /// Returns the share of speech (0 to 1) in window `index`, all of whose samples must have been accepted.
    /// A window that is too short to classify has the share 1.
    ///
    /// Every window must be requested once, in order; a partial window must be the last one.
    pub fn speech_share(&mut self, gate: &Gate, index: u64, partial: bool) -> f64 {
        let samples = if partial { self.end.saturating_sub(index * gate.hop) } else { gate.length };
        let detector = (index - self.first_window) % gate.detectors;
        self.detectors[detector as usize].take_share(gate, gate.frames_in(samples), partial).unwrap_or(1.0)
    }
}
