//! Counts the frames of speech in one block.
//!
//! Input: the samples of a block, or of its part inside a window.
//! Output: the number of frames of speech in it.
//! Invariants: the count depends on these samples and on the configuration only. No block is counted beyond the
//! number of frames that a whole window needs: every window that contains the block has enough speech then.

use super::Gate;
use super::detector::{Detector, FRAME_SAMPLES};

/// The largest sample of a quiet block: −66 dB relative to full scale. Digital silence with dither and the noise of
/// an idle telephone line through µ-law are below it.
const QUIET_PEAK: u16 = 16;

/// The detector of one thread. All channels of the thread use it, one block after the other.
#[derive(Debug, Default)]
pub struct SpeechCounter {
    /// Created for the first block that is not quiet.
    detector: Option<Detector>,
}

impl SpeechCounter {
    /// Returns the number of frames of speech in a block, or the number that a whole window needs where the block
    /// contains more.
    pub(super) fn count(&mut self, gate: &Gate, samples: &[i16]) -> usize {
        if samples.iter().map(|sample| sample.unsigned_abs()).max().is_none_or(|peak| peak <= QUIET_PEAK) {
            return 0;
        }
        let detector = self.detector.get_or_insert_with(Detector::new);
        detector.reset();
        for frame in samples.chunks_exact(FRAME_SAMPLES).take(gate.priming_frames()) {
            detector.is_speech(frame);
        }
        let speech = samples.chunks_exact(FRAME_SAMPLES).filter(|frame| detector.is_speech(frame));
        speech.take(gate.needed(gate.frames_in(gate.length))).count()
    }
}
