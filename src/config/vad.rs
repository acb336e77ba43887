//! The validated section `[vad]`.
//!
//! In: checked values. Out: plain values that need no further check.

use super::values::Values;

/// `[vad]`
#[derive(Debug, Clone, PartialEq)]
pub struct Vad {
    /// `vad.mode` (off).
    pub mode: VadMode,
    /// `vad.min_speech` (0.1): a window with a smaller share of speech is silent.
    pub min_speech: f64,
    /// `vad.publish_silence` (false): silent windows give an event.
    pub publish_silence: bool,
}

/// `vad.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VadMode {
    /// Every window is analysed.
    Off,
    /// Silent windows never reach the model.
    Gate,
}

impl Vad {
    pub(super) fn from_values(values: &Values) -> Self {
        let mode = match values.text("vad.mode").as_str() {
            "gate" => VadMode::Gate,
            _ => VadMode::Off,
        };
        Self {
            mode,
            min_speech: values.share("vad.min_speech"),
            publish_silence: values.boolean("vad.publish_silence"),
        }
    }
}
