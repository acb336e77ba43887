//! Segments of one channel, one after the other, each heard by a detector that starts afresh.
//!
//! In: samples, from any place before the first segment on. Out: speech or not for each frame that is still asked for. Keeps no more
//! samples than the detector is primed with.

use std::collections::VecDeque;

use super::Gate;
use super::detector::{Detector, FRAME, to_16_bits};

/// Every so many windows' segments.
#[derive(Debug)]
pub(super) struct Lane {
    detector: Detector,
    /// Samples until the next segment begins.
    skip: u64,
    /// The beginning of the segment while the detector is being primed with it, then the frame under way.
    samples: Vec<i16>,
    /// Frames of the segment that have been judged.
    judged: usize,
    /// Speech or not, from the beginning of the next window that is asked for.
    frames: VecDeque<bool>,
}

impl Lane {
    /// A lane whose first segment begins `skip` samples from here.
    pub fn new(gate: &Gate, skip: u64) -> Self {
        let samples = Vec::with_capacity(gate.priming_frames() * FRAME);
        Self { detector: Detector::new(), skip, samples, judged: 0, frames: VecDeque::new() }
    }

    /// Takes the next samples in.
    pub fn push(&mut self, gate: &Gate, mut samples: &[f32]) {
        let in_segment = gate.segment_frames();
        if in_segment == 0 {
            return;
        }
        while !samples.is_empty() {
            let skipped = samples.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            samples = &samples[skipped..];
            let wanted = if self.judged == 0 { gate.priming_frames() * FRAME } else { FRAME };
            let (now, later) = samples.split_at(samples.len().min(wanted - self.samples.len()));
            self.samples.extend(now.iter().copied().map(to_16_bits));
            samples = later;
            if self.samples.len() == wanted {
                self.judge();
                if self.judged == in_segment {
                    self.judged = 0;
                    self.skip = gate.segment() - (in_segment * FRAME) as u64;
                }
            }
        }
    }

    /// Judges what has been gathered: the beginning of a segment, or one frame.
    fn judge(&mut self) {
        if self.judged == 0 {
            self.detector.reset();
            for frame in self.samples.chunks_exact(FRAME) {
                self.detector.is_speech(frame);
            }
        }
        for frame in self.samples.chunks_exact(FRAME) {
            self.frames.push_back(self.detector.is_speech(frame));
            self.judged += 1;
        }
        self.samples.clear();
    }

    /// The share of speech in the first `frames` frames of the next window; then on to the one behind it. `None` where there are none.
    /// With `at_end` no more samples will come.
    pub fn take(&mut self, gate: &Gate, frames: usize, at_end: bool) -> Option<f64> {
        if at_end && self.frames.is_empty() {
            // Not enough to prime the detector with; what there is must do.
            self.judge();
        }
        let speech = self.frames.iter().take(frames).filter(|speech| **speech).count();
        self.frames.drain(..gate.segment_frames().min(self.frames.len()));
        (frames > 0).then(|| speech as f64 / frames as f64)
    }
}
