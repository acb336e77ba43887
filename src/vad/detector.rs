//! Speech or not, frame after frame, from a fresh start.
//!
//! In: frames of 16-bit samples at 16 kHz. Out: a decision for each. Never allocates after its first frame.

/// The only rate that the library takes.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// Samples of one frame: 16 ms.
pub(super) const FRAME: usize = 256;

/// A frame with this probability is speech. Measured on validation speakers of CREMA-D and on TESS: 0.5 loses four windows of speech
/// in a hundred more, 0.3 takes white noise at 5 dB for speech.
const SPEECH: f32 = 0.4;

/// The library's detector. Not `Debug` by itself.
pub(super) struct Detector(Box<earshot::Detector>);

impl std::fmt::Debug for Detector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Detector")
    }
}

impl Detector {
    /// One that has heard nothing.
    pub fn new() -> Self {
        Self(earshot::Detector::default_boxed())
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// Whether the next frame, of [`FRAME`] samples, is speech.
    pub fn is_speech(&mut self, frame: &[i16]) -> bool {
        self.0.predict_i16(frame) >= SPEECH
    }
}

/// A sample as the detector takes it; what lies outside ±1 is cut off.
pub(super) fn to_16_bits(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16
}
