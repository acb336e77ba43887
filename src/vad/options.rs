//! The section `[vad]` of the configuration.
//!
//! Input: values that serde reads. Output: whether windows without speech are skipped, and when a window counts as silent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, Share, choice};

/// Voice activity detection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Which windows are silent and skipped: `digital-silence` those whose samples barely differ, `gate` (models at 16 kHz)
    /// also those with too little speech.
    pub mode: Mode,
    /// Share of speech below which a window is silent, with `gate`.
    #[serde(with = "As::<Share>")]
    pub min_speech: f64,
    /// Whether each silent window is published as an event with the emotion "silence".
    pub publish_silence: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { mode: Mode::DigitalSilence, min_speech: 0.1, publish_silence: false }
    }
}

choice! {
    /// Values of `vad.mode`.
    pub enum Mode {
        /// The model analyses every window.
        Off = "off",
        /// Windows of digital silence are skipped.
        DigitalSilence = "digital-silence",
        /// Windows of digital silence and those with too little speech are skipped.
        Gate = "gate",
    }
}
