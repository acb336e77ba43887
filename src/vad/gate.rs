//! What is configured about silence, and where the windows lie that it is asked of.
//!
//! In: `[vad]` and a model's windows. Out: how segments are cut, and which share makes a window silent.

use super::detector::{FRAME, SAMPLE_RATE_HZ};
use crate::config::{self, VadMode};
use crate::window::WindowGeometry;

/// A detector should hear so much before it starts afresh, where windows follow each other faster than that.
const MIN_SEGMENT: u64 = SAMPLE_RATE_HZ as u64 / 2;

/// As in [`Gate::priming_frames`], where a segment has so many.
const PRIMING: usize = 24;

/// The gate of one model's streams.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// `vad.min_speech`: a window with a smaller share of speech is silent.
    pub min_speech: f64,
    /// `vad.publish_silence`: whether silent windows give an event.
    pub publish_silence: bool,
    /// Samples of one window.
    pub(super) length: u64,
    /// Samples from one window to the next.
    pub(super) hop: u64,
    /// Detectors side by side.
    pub(super) lanes: u64,
}

impl Gate {
    /// The gate that is configured, if any.
    ///
    /// # Errors
    /// The model's sample rate, where speech cannot be told at it.
    pub fn new(vad: &config::Vad, geometry: &WindowGeometry) -> Result<Option<Self>, u32> {
        if vad.mode == VadMode::Off {
            return Ok(None);
        }
        if geometry.sample_rate_hz != SAMPLE_RATE_HZ {
            return Err(geometry.sample_rate_hz);
        }
        let lanes = MIN_SEGMENT.div_ceil(geometry.hop).min(geometry.length.div_ceil(geometry.hop)).max(1);
        Ok(Some(Self {
            min_speech: vad.min_speech,
            publish_silence: vad.publish_silence,
            length: geometry.length,
            hop: geometry.hop,
            lanes,
        }))
    }

    /// Length and hop of the windows, in samples.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        (self.length, self.hop)
    }

    /// Whether a window with that share of speech is left out.
    #[must_use]
    pub fn is_silent(&self, share: f64) -> bool {
        share < self.min_speech
    }

    /// Samples from one segment of a lane to the next.
    pub(super) fn segment(&self) -> u64 {
        self.hop * self.lanes
    }

    /// Frames that are judged in one segment; none behind the end of its own window.
    pub(super) fn segment_frames(&self) -> usize {
        self.segment().min(self.length) as usize / FRAME
    }

    /// Frames that a fresh detector hears twice: it needs 0.4 s to get used to a steady noise, and takes it for speech until then.
    pub(super) fn priming_frames(&self) -> usize {
        PRIMING.min(self.segment_frames())
    }

    /// Frames that count in the first `samples` of a window. A last segment too short to prime a detector with counts only where it is
    /// the first one, too.
    pub(super) fn frames_in(&self, samples: u64) -> usize {
        let whole = (samples / self.segment()) as usize;
        let rest = ((samples % self.segment()) as usize / FRAME).min(self.segment_frames());
        let rest = if whole > 0 && rest < self.priming_frames() { 0 } else { rest };
        whole * self.segment_frames() + rest
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
        let vad = config::Vad { mode: VadMode::Gate, ..config::Config::default().vad };
        Gate::new(&vad, &geometry).unwrap().unwrap()
    }

    #[test]
    fn segments_are_whole_hops_of_half_a_second_or_more_and_end_with_their_window() {
        // Length and hop; lanes, samples of a segment, frames judged in it.
        for (length, hop, expected) in [
            (48_000, 16_000, (1, 16_000, 62)),
            (48_000, 8_000, (1, 8_000, 31)),
            (48_000, 1_600, (5, 8_000, 31)),
            (48_000, 160, (50, 8_000, 31)),
            (48_000, 80_000, (1, 80_000, 187)),
            (4_000, 1_600, (3, 4_800, 15)),
        ] {
            let gate = gate(length, hop);
            assert_eq!((gate.lanes, gate.segment(), gate.segment_frames()), expected, "{length} every {hop}");
        }
    }

    #[test]
    fn a_last_segment_counts_where_a_detector_can_be_primed_with_it() {
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
    fn a_share_below_the_least_is_silent_and_the_least_itself_is_not() {
        let gate = Gate { min_speech: 0.25, ..gate(48_000, 16_000) };
        assert!(gate.is_silent(0.249) && !gate.is_silent(0.25));
        assert!(!Gate { min_speech: 0.0, ..gate }.is_silent(0.0), "0 leaves nothing out");
    }
}
