//! One of the interleaved detectors of a channel.
//!
//! Input: samples, from any position before the first block on.
//! Output: for each frame of its blocks, whether it is speech.
//! Invariants: every block begins with a reset detector; no more samples are kept than the detector is primed
//! with.

use std::collections::VecDeque;

use super::Gate;
use super::detector::{Detector, FRAME_SAMPLES, to_16_bits};

/// A detector that processes the block of every n-th window, where n is the number of interleaved detectors.
#[derive(Debug)]
pub(super) struct InterleavedDetector {
    detector: Detector,
    /// Samples before the next block begins.
    skip: u64,
    /// The start of the block until there is enough of it to prime the detector, then the current frame.
    samples: Vec<i16>,
    /// Frames of the block that have been classified.
    classified: usize,
    /// Whether each frame is speech, from the start of the next window that will be requested.
    decisions: VecDeque<bool>,
}

impl InterleavedDetector {
    /// Creates a detector whose first block begins after `skip` samples.
    pub fn new(gate: &Gate, skip: u64) -> Self {
        let samples = Vec::with_capacity(gate.priming_frames() * FRAME_SAMPLES);
        Self { detector: Detector::new(), skip, samples, classified: 0, decisions: VecDeque::new() }
    }

    /// Accepts the next samples.
    pub fn push(&mut self, gate: &Gate, mut samples: &[f32]) {
        let block_frames = gate.block_frames();
        if block_frames == 0 {
            return;
        }
        while !samples.is_empty() {
            let skipped = samples.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            samples = &samples[skipped..];
            let wanted =
                if self.classified == 0 { gate.priming_frames() * FRAME_SAMPLES } else { FRAME_SAMPLES };
            let (now, later) = samples.split_at(samples.len().min(wanted - self.samples.len()));
            self.samples.extend(now.iter().copied().map(to_16_bits));
            samples = later;
            if self.samples.len() == wanted {
                self.classify();
                if self.classified == block_frames {
                    self.classified = 0;
                    self.skip = gate.block_samples() - (block_frames * FRAME_SAMPLES) as u64;
                }
            }
        }
    }

    /// Classifies the collected samples: the start of a block, after priming with it, or one frame.
    fn classify(&mut self) {
        if self.classified == 0 {
            self.detector.reset();
            for frame in self.samples.chunks_exact(FRAME_SAMPLES) {
                self.detector.is_speech(frame);
            }
        }
        for frame in self.samples.chunks_exact(FRAME_SAMPLES) {
            self.decisions.push_back(self.detector.is_speech(frame));
            self.classified += 1;
        }
        self.samples.clear();
    }

    /// Returns the share of speech in the first `frames` frames of the next window, and advances to the
    /// window after it. Returns `None` where `frames` is 0. `at_end` means that no more samples will follow.
    pub fn take_share(&mut self, gate: &Gate, frames: usize, at_end: bool) -> Option<f64> {
        if at_end && self.decisions.is_empty() {
            // The audio ended before the detector could be primed as usual, so it is primed with the samples
            // that there are.
            self.classify();
        }
        let speech = self.decisions.iter().take(frames).filter(|speech| **speech).count();
        self.decisions.drain(..gate.block_frames().min(self.decisions.len()));
        (frames > 0).then(|| speech as f64 / frames as f64)
    }
}
