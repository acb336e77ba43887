//! What is configured about silence, and where the windows lie that it is asked of.
//!
//! In: `[vad]` and a model's windows. Out: how segments are cut, and which share makes a window silent.

use super::detector::{FRAME, SAMPLE_RATE_HZ};
use crate::config::{self, VadMode};
use crate::stream::WindowGeometry;

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
