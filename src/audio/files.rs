//! Decoder of whole audio files; the containers and codecs are listed in `docs/audio.md`.
//!
//! Input: a path, or the bytes of a file.
//! Output: the samples of each channel, without the encoder's delay and padding where the file proves them: all at once
//! ([`Recording`]) or block by block ([`super::AudioFile`]).
//! Invariants: the format is recognised by the contents, never by the name; no input bytes cause a panic.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use prost::bytes::Bytes;

use super::container::{self, Decoded, Kind, Recorder};
use super::file_bytes::FileBytes;
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
    let decoded = opened(path).and_then(|bytes| decode_limited(&bytes, &DecodeLimit::NONE));
    decoded.map_err(|problem| FileError { file: path.display().to_string(), problem })
}

/// Decodes an open file from its position on, which may be a pipe; `name` stands for it in messages. The bytes of a pipe are copied to a
/// temporary file.
///
/// # Errors
/// As [`decode_file`]; a temporary file that cannot be written.
pub fn decode_open(file: File, name: &str) -> Result<Recording, FileError> {
    let bytes = FileBytes::of_file(file).map_err(unreadable);
    let decoded = bytes.and_then(|bytes| decode_limited(&bytes, &DecodeLimit::NONE));
    decoded.map_err(|problem| FileError { file: name.to_owned(), problem })
}

/// Decodes the bytes of a file that a client sent; `name` stands for the file in messages.
///
/// # Errors
/// [`FileError`] with the reason, among them [`FileProblem::TooLong`] above [`MAX_CLIENT_SAMPLES`].
pub fn decode_bytes(bytes: impl Into<Bytes>, name: Option<&str>) -> Result<Recording, FileError> {
    decode_limited(&bytes.into().into(), &DecodeLimit::samples(MAX_CLIENT_SAMPLES))
        .map_err(|problem| FileError { file: name.unwrap_or("file").to_owned(), problem })
}

/// Opens the file at `path`.
///
/// # Errors
/// [`FileProblem::Unreadable`].
pub(super) fn opened(path: &Path) -> Result<FileBytes, FileProblem> {
    FileBytes::open(path).map_err(unreadable)
}

pub(super) fn unreadable(error: io::Error) -> FileProblem {
    FileProblem::Unreadable { reason: error.to_string() }
}

/// Decodes the bytes of a file within `limit`.
fn decode_limited(bytes: &FileBytes, limit: &DecodeLimit) -> Result<Recording, FileProblem> {
    let decoding = decode_into(bytes, Recorder::storing(limit));
    let decoded = caught(|| container::run(decoding)).unwrap_or_else(Err)?;
    Ok(Recording { sample_rate_hz: decoded.rate_hz, channels: decoded.channels })
}

/// Decodes the bytes of a file into `recorder`, and pauses after each block.
pub(super) async fn decode_into(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let decoded = decode_any(bytes, recorder).await;
    // A decoder takes bytes that could not be read for the end of the file.
    bytes.failure().map_or(decoded, Err)
}

async fn decode_any(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(FileProblem::LfsPointer);
    }
    match Kind::of(bytes) {
        Some((kind, start)) => container::decode(kind, &bytes.behind(start), recorder).await,
        None => {
            let beginning = bytes.head(12).escape_ascii().to_string();
            Err(FileProblem::NotAudio { beginning })
        }
    }
}

/// Runs a decoder.
///
/// # Errors
/// [`FileProblem::Malformed`] where it panics. The decoders are third-party code that runs on untrusted bytes. A panic in one of
/// them is an error of this file and must not end the thread, which decodes other files too.
pub(super) fn caught<T>(decoder: impl FnOnce() -> T) -> Result<T, FileProblem> {
    let panicked = |_| FileProblem::Malformed { reason: "the decoder panicked".to_owned() };
    catch_unwind(AssertUnwindSafe(decoder)).map_err(panicked)
}
