//! What can be wrong with an audio file.

use super::{CHANNELS, SAMPLE_RATES_HZ};

/// A file that cannot be taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileError {
    /// The file's path, or what else it is called.
    pub file: String,
    /// What is wrong with it.
    pub problem: FileProblem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FileProblem {
    /// The operating system gave no bytes: missing, no permission, a folder.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// The operating system's reason.
        reason: String,
    },
    /// Not one byte.
    #[error("is empty")]
    Empty,
    /// None of the formats that are taken, whatever its name says.
    #[error("is not a WAV, FLAC, MP3 or Ogg file: it begins with \"{beginning}\"")]
    NotAudio {
        /// Its first bytes, escaped.
        beginning: String,
    },
    /// Audio in a format that is not taken.
    #[error("is {format}, which is not taken: allowed are WAV, FLAC, MP3 or Ogg with Vorbis or Opus")]
    OtherFormat {
        /// Its name.
        format: &'static str,
    },
    /// The file ends before its header says so.
    #[error("is truncated: its header promises {promised} {unit} of audio, it holds {present}")]
    Truncated {
        /// What the header says.
        promised: u64,
        /// What is there.
        present: u64,
        /// Unit of both.
        unit: &'static str,
    },
    /// The sample rate is outside what is taken.
    #[error("sample rate is {value} Hz: allowed is {} to {}", SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end())]
    SampleRate {
        /// The file's rate.
        value: u32,
    },
    /// No channel, or too many.
    #[error("number of channels is {value}: allowed is {} to {}", CHANNELS.start(), CHANNELS.end())]
    Channels {
        /// The file's number of channels.
        value: u32,
    },
    /// A whole file without one sample.
    #[error("holds no samples")]
    NoSamples,
    /// More samples than one recording may hold.
    #[error("holds more than {limit} samples")]
    TooLong {
        /// Samples of all channels that are taken at most.
        limit: usize,
    },
    /// A sample is NaN, infinite, or far beyond full scale.
    #[error("sample {index} of channel {channel} is {value}: allowed are numbers, full scale being -1 to 1")]
    NotASample {
        /// The sample's index in its channel.
        index: usize,
        /// The channel, from 0.
        channel: usize,
        /// What stands there.
        value: f32,
    },
    /// The format's own rules are broken, or it uses a part of the format that is not taken.
    #[error("cannot be decoded: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
}
