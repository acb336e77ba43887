//! What a stream is given: a chunk, why it may be refused, and what became of it.
//!
//! In: nothing. Out: plain values and the words of a refusal. Never looks at the audio itself.

use prost::bytes::Bytes;

use crate::audio::{AudioFormat, BadAudio, ChannelLayout, FileError};
use crate::proto::AudioChunk;

/// The furthest sample at which a chunk may begin: 46 years at 192 kHz. Keeps all arithmetic on positions far from its limits.
pub const FURTHEST_SAMPLE: u64 = 1 << 48;

/// A piece of a stream's audio as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// Counts the chunks of the stream.
    pub sequence: Option<u64>,
    /// Position of the chunk's first sample.
    pub first_sample: Option<u64>,
    /// Required where the stream begins, and the same ever after.
    pub format: Option<AudioFormat>,
    /// The samples, or a piece of a file.
    pub audio: Bytes,
    /// Ends the stream.
    pub last: bool,
}

impl Chunk {
    /// Moves the audio and its place in the stream out of a message.
    ///
    /// # Errors
    /// Returns an error for a format that the protocol does not define or that is outside the limits.
    pub fn from_message(message: AudioChunk) -> Result<Self, BadAudio> {
        Ok(Self {
            sequence: message.sequence,
            first_sample: message.first_sample,
            format: message.format.as_ref().map(AudioFormat::try_from).transpose()?,
            audio: message.audio,
            last: message.last,
        })
    }
}

/// Why a chunk was refused. The sender's to mend; the stream is as if the chunk had never come.
#[derive(Debug, thiserror::Error)]
pub enum BadChunk {
    /// The first chunk says nothing of its format.
    #[error("format: missing on the stream's first chunk")]
    FormatMissing,
    /// The format changed within the stream.
    #[error("format: changed from {was} to {is} within the stream; it must stay the same")]
    FormatChanged {
        /// The stream's format.
        was: AudioFormat,
        /// The chunk's.
        is: AudioFormat,
    },
    /// What is done with the channels, or their names, changed within the stream.
    #[error("channels: changed from {was} to {is} within the stream; they must stay the same")]
    ChannelsChanged {
        /// The stream's.
        was: ChannelLayout,
        /// The chunk's.
        is: ChannelLayout,
    },
    /// The model changed within the stream.
    #[error("model: {is:?} in a stream that began with {was:?}")]
    ModelChanged {
        /// The model that the stream requested.
        was: String,
        /// The model that the chunk requests.
        is: String,
    },
    /// The chunk begins further from the stream's start than any stream lasts.
    #[error("first_sample = {value}: allowed is 0 to {FURTHEST_SAMPLE}")]
    FirstSample {
        /// Where the chunk says that it begins.
        value: u64,
    },
    /// The samples cannot be read.
    #[error(transparent)]
    Audio(#[from] BadAudio),
    /// The chunk is too large.
    #[error("audio: {bytes} bytes in one chunk; at most {limit} are allowed (audio.max_chunk_bytes)")]
    ChunkTooLarge {
        /// Size of the chunk.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The file is too large.
    #[error("audio: a file of more than {limit} bytes (audio.max_file_bytes)")]
    FileTooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// The file cannot be read.
    #[error("audio: {0}")]
    File(#[from] FileError),
}

impl BadChunk {
    /// Checks that a chunk of a stream whose format is `was` declares the same format or none.
    ///
    /// # Errors
    /// Returns [`Self::FormatChanged`].
    pub fn check_format(was: AudioFormat, declared: Option<AudioFormat>) -> Result<(), Self> {
        match declared.filter(|is| *is != was) {
            Some(is) => Err(Self::FormatChanged { was, is }),
            None => Ok(()),
        }
    }

    /// The metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FormatMissing => "format_missing",
            Self::FormatChanged { .. } => "format_changed",
            Self::ChannelsChanged { .. } => "channels_changed",
            Self::ModelChanged { .. } => "model",
            Self::FirstSample { .. } => "first_sample",
            Self::Audio(_) => "audio",
            Self::ChunkTooLarge { .. } => "chunk_too_large",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::File(_) => "file",
        }
    }
}

/// What became of a chunk that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Its sequence was at or below the last one accepted, so it was dropped.
    pub duplicate: bool,
    /// Chunks that the jump in `sequence` says are missing.
    pub missing_chunks: u64,
    /// Source samples taken in, per channel, silence not counted.
    pub samples: u64,
}
