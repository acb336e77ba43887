//! Decoder of whole audio files; the containers and codecs are listed in `docs/audio.md`.
//!
//! Input: a path, or the bytes of a file.
//! Output: the samples of each channel, without the encoder's delay and padding where the file proves them: all at once
//! ([`Recording`]) or block by block ([`AudioFile`]).
//! Invariants: the format is recognised by the contents, never by the name; no input bytes cause a panic.

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use prost::bytes::Bytes;

use super::container::{self, Decoded, Kind, Recorder};
use super::{DecodeLimit, FileError, FileProblem};

/// The most samples, summed over all channels, that a file from a client may decode to: 4.6 hours at 16 kHz,
/// 1 GiB.
///
/// A limit on the file's size would not be enough: a few kilobytes of FLAC can hold hours of silence.
pub const MAX_CLIENT_SAMPLES: usize = 1 << 28;

/// The decoded samples of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Samples per second of one channel, within [`super::SAMPLE_RATES_HZ`].
    pub sample_rate_hz: u32,
    /// One buffer per channel, all of the same length and with at least one sample; full scale ±1.
    pub channels: Vec<Vec<f32>>,
}

/// Decodes the file at `path`, whatever its extension is.
///
/// # Errors
/// [`FileError`] with the reason; its message begins with the path.
pub fn decode_file(path: impl AsRef<Path>) -> Result<Recording, FileError> {
    let path = path.as_ref();
    let decoded = match std::fs::read(path) {
        Ok(bytes) => decode_limited(&bytes, &DecodeLimit::NONE),
        Err(error) => Err(FileProblem::Unreadable { reason: error.to_string() }),
    };
    decoded.map_err(|problem| FileError { file: path.display().to_string(), problem })
}

/// Decodes the bytes of a file that a client sent; `name` stands for the file in messages.
///
/// # Errors
/// [`FileError`] with the reason, among them [`FileProblem::TooLong`] above [`MAX_CLIENT_SAMPLES`].
pub fn decode_bytes(bytes: impl AsRef<[u8]>, name: Option<&str>) -> Result<Recording, FileError> {
    decode_bytes_within(bytes, name, &DecodeLimit::samples(MAX_CLIENT_SAMPLES))
}

/// Decodes the bytes of a file within `limit`; `name` stands for the file in messages.
///
/// # Errors
/// [`FileError`] with the reason.
pub fn decode_bytes_within(
    bytes: impl AsRef<[u8]>,
    name: Option<&str>,
    limit: &DecodeLimit,
) -> Result<Recording, FileError> {
    decode_limited(bytes.as_ref(), limit)
        .map_err(|problem| FileError { file: name.unwrap_or("file").to_owned(), problem })
}

/// Decodes the bytes of a file within `limit`.
fn decode_limited(bytes: &[u8], limit: &DecodeLimit) -> Result<Recording, FileProblem> {
    let decoded = decode_into(bytes, Recorder::storing(limit))?;
    Ok(Recording { sample_rate_hz: decoded.rate_hz, channels: decoded.channels })
}

/// Decodes the bytes of a file into `recorder`.
fn decode_into(bytes: &[u8], recorder: Recorder<'_>) -> Result<Decoded, FileProblem> {
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(FileProblem::LfsPointer);
    }
    // The decoders are third-party code that runs on untrusted bytes. A panic in one of them is an error of
    // this file and must not end the thread, on which other streams are open.
    let decoding = || match Kind::of(bytes) {
        Some((kind, start)) => container::decode(kind, &bytes[start..], recorder),
        None => {
            let beginning = bytes[..bytes.len().min(12)].escape_ascii().to_string();
            Err(FileProblem::NotAudio { beginning })
        }
    };
    let panicked = |_| Err(FileProblem::Malformed { reason: "the decoder panicked".to_owned() });
    catch_unwind(AssertUnwindSafe(decoding)).unwrap_or_else(panicked)
}

/// A valid file whose samples are decoded block by block, so that only its bytes and one block take memory.
///
/// The file is decoded twice, because its end may decide what belongs to the recording: first to check and to count it,
/// then to pass its samples on.
#[derive(Debug)]
pub struct AudioFile {
    bytes: Bytes,
    name: String,
    sample_rate_hz: u32,
    channels: usize,
    frames: usize,
    /// The ranges of the decoded samples that are the recording.
    kept: Vec<Range<usize>>,
}

impl AudioFile {
    /// Reads, checks and counts the file at `path`, whatever its extension is.
    ///
    /// # Errors
    /// As [`decode_file`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let name = path.as_ref().display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::new(bytes.into(), &name, &DecodeLimit::NONE),
            Err(error) => {
                let problem = FileProblem::Unreadable { reason: error.to_string() };
                Err(FileError { file: name, problem })
            }
        }
    }

    /// Checks and counts the file with the bytes `bytes`; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`FileError`] with the reason.
    pub fn new(bytes: Bytes, name: &str, limit: &DecodeLimit) -> Result<Self, FileError> {
        let name = name.to_owned();
        match decode_into(&bytes, Recorder::counting(limit)) {
            Ok(Decoded { rate_hz, count, frames, kept, .. }) => {
                Ok(Self { bytes, name, sample_rate_hz: rate_hz, channels: count, frames, kept })
            }
            Err(problem) => Err(FileError { file: name, problem }),
        }
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the samples per second of one channel.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Returns the number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the samples per channel, at least one.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Passes the samples to `blocks` in order, one buffer of equal length per channel, until `blocks` returns
    /// [`ControlFlow::Break`]. A block may be empty.
    ///
    /// # Errors
    /// [`FileError`] where the decoder fails, although it did not when the file was checked.
    pub fn decode(&self, blocks: &mut dyn FnMut(&[Vec<f32>]) -> ControlFlow<()>) -> Result<(), FileError> {
        match decode_into(&self.bytes, Recorder::passing(&self.kept, blocks)) {
            Ok(_) | Err(FileProblem::Abandoned) => Ok(()),
            Err(problem) => Err(FileError { file: self.name.clone(), problem }),
        }
    }
}
