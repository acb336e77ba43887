//! The gate: the configuration of voice activity detection, and the division of windows into blocks.
//!
//! Input: the section `[vad]` of the configuration and the windows of a model.
//! Output: the lengths of blocks, and the decision whether a window is silent.
//!
//! A block is the audio that a detector processes between two resets. Blocks begin at the starts of windows
//! and last for a whole number of hops; see the module documentation for the reason.

use super::Mode;
use super::Options;
use super::detector::{FRAME_SAMPLES, SAMPLE_RATE_HZ};
use crate::window::WindowGeometry;

/// The shortest block, in samples, where windows follow each other faster. A detector that is reset more
/// often would decide mostly from its initial state.
const MIN_BLOCK: u64 = SAMPLE_RATE_HZ as u64 / 2;

/// The largest number of priming frames; shorter blocks have fewer, see [`Gate::priming_frames`].
const MAX_PRIMING_FRAMES: usize = 24;

/// Decides which windows of one model's streams are silent.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// `vad.min_speech`: a window with a smaller share of speech is silent.
    pub min_speech: f64,
    /// `vad.publish_silence`: whether silent windows produce an event.
    pub publish_silence: bool,
    /// Samples of one window.
    pub(super) length: u64,
    /// Samples from one window to the next.
    pub(super) hop: u64,
    /// Whether a detector of speech decides. If not, only digital silence is silent.
    pub(super) detects_speech: bool,
    /// Windows from the start of one block to the start of the next block of the same window.
    pub(super) block_hops: u64,
}

impl Gate {
    /// Creates the gate that is configured; `None` where `vad.mode` is `off`.
    ///
    /// # Errors
    /// The model's sample rate, where it is not [`SAMPLE_RATE_HZ`] and speech is detected.
    pub fn new(vad: &Options, geometry: &WindowGeometry) -> Result<Option<Self>, u32> {
        if vad.mode == Mode::Off {
            return Ok(None);
        }
        let detects_speech = vad.mode == Mode::Gate;
        if detects_speech && geometry.sample_rate_hz != SAMPLE_RATE_HZ {
            return Err(geometry.sample_rate_hz);
        }
        // A block never needs to be longer than its window.
        let block_hops = MIN_BLOCK.div_ceil(geometry.hop).min(geometry.length.div_ceil(geometry.hop)).max(1);
        Ok(Some(Self {
            min_speech: vad.min_speech,
            publish_silence: vad.publish_silence,
            length: geometry.length,
            hop: geometry.hop,
            detects_speech,
            block_hops,
        }))
    }

    /// Returns the samples of one window.
    #[must_use]
    pub fn window_length(&self) -> u64 {
        self.length
    }

    /// Returns the samples from one window to the next.
    #[must_use]
    pub fn window_hop(&self) -> u64 {
        self.hop
    }

    /// Returns the samples of the blocks whose levels are kept: the largest ones that windows begin and end with.
    pub(super) fn level_samples(&self) -> u64 {
        let (mut divisor, mut rest) = (self.length, self.hop);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        divisor.max(1)
    }

    /// Returns the smallest number of frames of speech with which a window of `frames` frames is not silent.
    pub(super) fn needed(&self, frames: usize) -> usize {
        (0..frames).find(|speech| *speech as f64 / frames as f64 >= self.min_speech).unwrap_or(frames)
    }

    /// Returns the samples from the start of one block of a window to the start of its next one.
    pub(super) fn block_samples(&self) -> u64 {
        self.hop * self.block_hops
    }

    /// Returns the number of frames that are classified in one block. A block ends at the latest with its own
    /// window.
    pub(super) fn block_frames(&self) -> usize {
        self.block_samples().min(self.length) as usize / FRAME_SAMPLES
    }

    /// Returns the number of frames at the start of a block that the detector processes before it classifies
    /// them.
    ///
    /// After a reset the detector takes steady noise for speech for about 0.4 s. It therefore processes the
    /// first frames of the block twice: once to adapt, once for the result. Priming with the audio before the
    /// block was rejected, because a window would then depend on samples outside itself.
    pub(super) fn priming_frames(&self) -> usize {
        MAX_PRIMING_FRAMES.min(self.block_frames())
    }

    /// Returns the number of frames that count in the first `samples` samples of a window. A last block that
    /// is too short for the priming of a detector counts only if it is also the first one.
    pub(super) fn frames_in(&self, samples: u64) -> usize {
        let whole = (samples / self.block_samples()) as usize;
        let rest = ((samples % self.block_samples()) as usize / FRAME_SAMPLES).min(self.block_frames());
        let rest = if whole > 0 && rest < self.priming_frames() { 0 } else { rest };
        whole * self.block_frames() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(length: u64, hop: u64) -> Gate {
        let geometry = WindowGeometry {
            sample_rate_hz: SAMPLE_RATE_HZ,
            length,
            hop,
            frame_hop: 160,
            frame_length: 512,
            min_length: length,
        };
        let vad = Options { mode: Mode::Gate, ..Options::default() };
        Gate::new(&vad, &geometry).unwrap().unwrap()
    }

    #[test]
    fn blocks_are_whole_hops_of_half_a_second_or_more_and_end_with_their_window() {
        // Length and hop; hops of a block, samples of a block, frames classified in it.
        for (length, hop, expected) in [
            (48_000, 16_000, (1, 16_000, 62)),
            (48_000, 8_000, (1, 8_000, 31)),
            (48_000, 1_600, (5, 8_000, 31)),
            (48_000, 160, (50, 8_000, 31)),
            (48_000, 80_000, (1, 80_000, 187)),
            (4_000, 1_600, (3, 4_800, 15)),
        ] {
            let gate = gate(length, hop);
            assert_eq!(
                (gate.block_hops, gate.block_samples(), gate.block_frames()),
                expected,
                "{length} every {hop}"
            );
        }
    }

    #[test]
    fn a_last_block_counts_if_a_detector_can_be_primed_with_it() {
        let gate = gate(48_000, 16_000);
        for (samples, frames) in [
            (48_000, 3 * 62),
            (16_000 + 23 * 256, 62),
            (16_000 + 24 * 256, 62 + 24),
            (16_000 + 15_999, 62 + 62),
            (2_560, 10),
            (255, 0),
        ] {
            assert_eq!(gate.frames_in(samples), frames, "{samples}");
        }
    }

    #[test]
    fn levels_are_kept_of_the_largest_blocks_that_windows_share() {
        for (length, hop, samples) in [(48_000, 16_000, 16_000), (48_000, 20_000, 4_000), (48_000, 160, 160)]
        {
            assert_eq!(gate(length, hop).level_samples(), samples, "{length} every {hop}");
        }
    }

    #[test]
    fn a_window_needs_the_frames_that_are_at_least_min_speech() {
        let gate = gate(48_000, 16_000);
        for (min_speech, needed) in [(0.0, 0), (0.1, 19), (0.25, 47), (0.5, 93), (0.501, 94), (1.0, 186)] {
            assert_eq!(Gate { min_speech, ..gate.clone() }.needed(186), needed, "{min_speech}");
        }
    }
}
