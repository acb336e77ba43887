//! Errors of audio files.

use std::time::Duration;

use super::{CHANNELS, SAMPLE_RATES_HZ};

/// A file that is refused, with the reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileError {
    /// The path of the file, or its name in messages.
    pub file: String,
    /// Why the file is refused.
    pub problem: FileProblem,
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FileProblem {
    /// The operating system returned no bytes: the file is missing, access is denied, or it is a folder.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// The reason that the operating system gives.
        reason: String,
    },
    /// The file has no bytes.
    #[error("is empty")]
    Empty,
    /// The contents are none of the supported formats, whatever the extension of the file is.
    #[error("is no audio file of a known format: it begins with \"{beginning}\"")]
    NotAudio {
        /// The first bytes of the file, escaped.
        beginning: String,
    },
    /// The file is in a known audio format that is not supported.
    #[error(
        "is {format}, which is not supported: convert it to WAV, FLAC, MP3 or Ogg with Vorbis or Opus, for instance \
         with `ffmpeg -i FILE out.wav`"
    )]
    UnsupportedFormat {
        /// The name of the codec and of the container.
        format: String,
    },
    /// The file is an archive, or a compressed file, of other files.
    #[error("is a {format}: extract the audio files from it")]
    Archive {
        /// The kind of archive.
        format: &'static str,
    },
    /// The file stands for another one that Git LFS has not fetched.
    #[error("is a Git LFS pointer and not the audio itself: fetch the audio with `git lfs pull`")]
    LfsPointer,
    /// The file holds less audio than its header declares.
    #[error("is truncated: its header declares {declared} {unit} of audio, it holds {present}")]
    Truncated {
        /// The amount that the header declares.
        declared: u64,
        /// The amount that the file holds.
        present: u64,
        /// The unit of both amounts: bytes or samples.
        unit: &'static str,
    },
    /// The sample rate is outside [`SAMPLE_RATES_HZ`].
    #[error("sample rate is {value} Hz: allowed is {} to {}", SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end())]
    SampleRate {
        /// The file's rate.
        value: u32,
    },
    /// The number of channels is outside [`CHANNELS`].
    #[error("number of channels is {value}: allowed is {} to {}", CHANNELS.start(), CHANNELS.end())]
    Channels {
        /// The file's number of channels.
        value: u32,
    },
    /// The file is valid and holds no samples.
    #[error("holds no samples")]
    NoSamples,
    /// The file holds more samples than one recording may have.
    #[error("holds more than {limit} samples")]
    TooLong {
        /// The largest number of samples, summed over all channels.
        limit: usize,
    },
    /// The file holds more audio than it may.
    #[error("holds more than {} s of audio (audio.max_file_duration)", .limit.as_secs_f64())]
    TooLongInTime {
        /// The longest duration.
        limit: Duration,
    },
    /// A sample is NaN, infinite, or far beyond full scale.
    #[error(
        "sample {index} of channel {channel} is {value}: allowed are finite values near full scale, which is -1 to 1"
    )]
    NotASample {
        /// Index of the sample within its channel.
        index: usize,
        /// The channel, from 0.
        channel: usize,
        /// The value of the sample.
        value: f32,
    },
    /// The contents break the rules of their format, or use a part of it that is not supported.
    #[error("cannot be decoded: {reason}")]
    Malformed {
        /// The message of the decoder.
        reason: String,
    },
}
