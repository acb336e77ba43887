//! What was measured of the audio of a window besides its features, for the summary of a call.
//!
//! Input: nothing. Output: plain values. Invariant: the values depend on the audio of the window alone.

/// Speech and loudness of the part of a window that no earlier window of its segment has reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    /// Start and end of each period of speech, in milliseconds from the start of the stream, in order and apart; `None` where the
    /// detector does not support the model's sample rate.
    pub speech: Option<Vec<(u64, u64)>>,
    /// The K-weighted energy of each 100 ms (ITU-R BS.1770), with full scale 1.
    pub energies: Vec<f32>,
    /// A hash of the samples: channels with equal audio have equal values.
    pub fingerprint: u64,
    /// Whether a sample differs from 0.
    pub sounds: bool,
    /// End of the part, in milliseconds from the start of the stream.
    pub end: u64,
    /// Number of channels of the stream.
    pub channels: u32,
}
