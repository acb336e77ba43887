//! Counts the frames of speech in one block.
//!
//! Input: the samples of a block, or of its part inside a window.
//! Output: the number of frames of speech in it.
//! Invariants: the count depends on these samples and on the configuration only. No block is counted beyond the
//! number of frames that a whole window needs: every window that contains the block has enough speech then.

use super::Gate;
use super::detector::{Detector, FRAME_SAMPLES};
use super::tones::Tones;

/// The largest sample of a quiet block: −66 dB relative to full scale. Digital silence with dither and the noise of
/// an idle telephone line through µ-law are below it.
const QUIET_PEAK: u16 = 16;

/// The frames on each side of a frame of speech whose tones decide whether it counts. A voice over music has few
/// tonal frames, and a melody has a few frames without a tone.
const REACH: usize = 12;

/// The detector of one thread. All channels of the thread use it, one block after the other.
#[derive(Debug, Default)]
pub struct SpeechCounter {
    /// Created for the first block that is not quiet.
    tools: Option<Tools>,
    /// Whether each frame of the block is speech, as far as it has been classified.
    speech: Vec<bool>,
}

#[derive(Debug)]
struct Tools {
    detector: Detector,
    tones: Tones,
}

impl SpeechCounter {
    /// Returns the number of frames of speech in a block, or the number that a whole window needs where the block
    /// contains more. Frames of tones are not speech.
    pub(super) fn count(&mut self, gate: &Gate, samples: &[i16]) -> usize {
        if samples.iter().map(|sample| sample.unsigned_abs()).max().is_none_or(|peak| peak <= QUIET_PEAK) {
            return 0;
        }
        let needed = gate.needed(gate.frames_in(gate.length));
        let new = || Tools { detector: Detector::new(), tones: Tones::new() };
        let Tools { detector, tones } = self.tools.get_or_insert_with(new);
        detector.reset();
        for frame in samples.chunks_exact(FRAME_SAMPLES).take(gate.priming_frames()) {
            detector.is_speech(frame);
        }
        self.speech.clear();
        let mut frames = samples.chunks_exact(FRAME_SAMPLES);
        let mut found = 0;
        while found < needed
            && let Some(frame) = frames.next()
        {
            let speech = detector.is_speech(frame);
            self.speech.push(speech);
            found += usize::from(speech);
        }
        if found == 0 {
            return 0;
        }
        if found == needed {
            // Speech without a tone is the usual case. It needs no more frames than these.
            let end = samples.len().min((self.speech.len() + REACH) * FRAME_SAMPLES);
            let tonal = tones.find(&samples[..end]);
            if !self.speech.iter().zip(tonal).any(|(speech, tonal)| *speech && *tonal) {
                return needed;
            }
        }
        self.speech.extend(frames.map(|frame| detector.is_speech(frame)));
        without_tones(&self.speech, tones.find(samples)).min(needed)
    }
}

/// Returns the number of frames of speech around which fewer than half of the frames of speech are tonal.
fn without_tones(speech: &[bool], tonal: &[bool]) -> usize {
    let counts = |at: usize| {
        let near = at.saturating_sub(REACH)..speech.len().min(at + REACH + 1);
        let voices = near.clone().filter(|at| speech[*at]).count();
        2 * near.filter(|at| speech[*at] && tonal[*at]).count() < voices
    };
    (0..speech.len()).filter(|at| speech[*at] && counts(*at)).count()
}
