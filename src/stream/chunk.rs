//! A chunk of a stream, the reasons why it may be refused, and the outcome of accepting it.
//!
//! Output: plain values and error messages.
//! Invariants: this module does not read audio data.

use prost::bytes::Bytes;

use super::{OutOfBounds, OutOfMemory};
use crate::audio::{AudioFormat, BadAudio, ChannelLayout, FileError};
use crate::proto::AudioChunk;
use crate::telemetry::excerpt;

/// The highest sample index at which a chunk may begin: 46 years at 192 kHz. The limit keeps the arithmetic
/// on positions far from overflow.
pub const FURTHEST_SAMPLE: u64 = 1 << 48;

/// A part of a stream's audio, as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// Sequence number of the chunk within its stream. Chunks at or below the last accepted number are
    /// duplicates.
    pub sequence: Option<u64>,
    /// Index of the chunk's first sample, in source samples of one channel. Where it is missing, the chunk
    /// follows the previous one directly.
    pub first_sample: Option<u64>,
    /// Required on the first chunk of a stream; later chunks may repeat it, unchanged.
    pub format: Option<AudioFormat>,
    /// Raw samples, or a part of a file.
    pub audio: Bytes,
    /// Whether the chunk ends the stream.
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

/// Why a chunk was refused. The sender must correct it; the stream continues as if the chunk had not been
/// sent.
#[derive(Debug, thiserror::Error)]
pub enum BadChunk {
    /// The first chunk has no format.
    #[error("format: missing on the stream's first chunk")]
    FormatMissing,
    /// The format differs from that of the stream.
    #[error("format: changed from {was} to {is} within the stream; it must stay the same")]
    FormatChanged {
        /// The format of the stream.
        was: AudioFormat,
        /// The format of the chunk.
        is: AudioFormat,
    },
    /// The channel policy or the names of the channels differ from those of the stream.
    #[error("channels: changed from {was} to {is} within the stream; they must stay the same")]
    ChannelsChanged {
        /// The layout of the stream.
        was: ChannelLayout,
        /// The layout of the chunk.
        is: ChannelLayout,
    },
    /// The model differs from that of the stream.
    #[error("model: {:?} in a stream that began with {:?}", excerpt(is), excerpt(was))]
    ModelChanged {
        /// The model that the stream requested.
        was: String,
        /// The model that the chunk requests.
        is: String,
    },
    /// A field is larger than it may be, or a time outside the range of the protocol.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// The chunk begins beyond [`FURTHEST_SAMPLE`].
    #[error("first_sample = {value}: allowed is 0 to {FURTHEST_SAMPLE}")]
    FirstSample {
        /// The index that the chunk declares.
        value: u64,
    },
    /// The samples cannot be decoded.
    #[error(transparent)]
    Audio(#[from] BadAudio),
    /// The stream is declared as raw samples and begins with the header of a file.
    #[error(
        "format.encoding: raw samples, but the stream begins with the header of a {file} file; send it as \
         ENCODING_FILE, or set audio.file_as_samples to \"decode\" or \"warn\""
    )]
    FileAsSamples {
        /// The name of the file format.
        file: &'static str,
    },
    /// The chunk is larger than `audio.max_chunk_bytes`.
    #[error("audio: {bytes} bytes in one chunk; at most {limit} are allowed (audio.max_chunk_bytes)")]
    ChunkTooLarge {
        /// Size of the chunk in bytes.
        bytes: usize,
        /// The largest allowed size in bytes.
        limit: usize,
    },
    /// The file is larger than `audio.max_file_bytes`.
    #[error("audio: a file of more than {limit} bytes (audio.max_file_bytes)")]
    FileTooLarge {
        /// The largest allowed size in bytes.
        limit: usize,
    },
    /// The file cannot be decoded.
    #[error("audio: {0}")]
    File(#[from] FileError),
    /// The budget of memory has no room for the file.
    #[error("audio: {0}")]
    Memory(#[from] OutOfMemory),
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

    /// Returns the value of the metric label `reason`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FormatMissing => "format_missing",
            Self::FormatChanged { .. } => "format_changed",
            Self::ChannelsChanged { .. } => "channels_changed",
            Self::ModelChanged { .. } => "model",
            Self::OutOfBounds(out) => out.reason(),
            Self::FirstSample { .. } => "first_sample",
            Self::Audio(_) => "audio",
            Self::FileAsSamples { .. } => "file_as_samples",
            Self::ChunkTooLarge { .. } => "chunk_too_large",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::File(_) => "file",
            Self::Memory(_) => "memory",
        }
    }
}

/// The outcome of a chunk that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkOutcome {
    /// Whether the chunk was dropped because its sequence number was at or below the last one accepted.
    pub duplicate: bool,
    /// Number of chunks that are missing before this one, according to `sequence`.
    pub missing_chunks: u64,
    /// Source samples of one channel that were accepted, without inserted silence.
    pub samples: u64,
    /// The name of the file format whose header begins a stream that is declared as raw samples.
    pub file_header: Option<&'static str>,
    /// Whether the chunk completes a file, which the caller must then take and decode.
    pub completes_file: bool,
}
