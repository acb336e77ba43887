//! Decoder of whole audio files; the containers and codecs are listed in `docs/audio.md`.
//!
//! Input: a path, or the bytes of a file.
//! Output: the samples of each channel, without the encoder's delay and padding where the file proves them.
//! Invariants: the format is recognised by the contents, never by the name; no input bytes cause a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::container::{self, Kind};
use super::decode::is_valid_sample;
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
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(FileProblem::LfsPointer);
    }
    // The decoders are third-party code that runs on untrusted bytes. A panic in one of them is an error of
    // this file and must not end the thread, on which other streams are open.
    let decoding = || match Kind::of(bytes) {
        Some((kind, start)) => container::decode(kind, &bytes[start..], limit),
        None => {
            let beginning = bytes[..bytes.len().min(12)].escape_ascii().to_string();
            Err(FileProblem::NotAudio { beginning })
        }
    };
    let panicked = |_| Err(FileProblem::Malformed { reason: "the decoder panicked".to_owned() });
    let recording = catch_unwind(AssertUnwindSafe(decoding)).unwrap_or_else(panicked)?;
    check_samples(&recording)?;
    Ok(recording)
}

/// Refuses samples that are not valid.
fn check_samples(recording: &Recording) -> Result<(), FileProblem> {
    for (channel, samples) in recording.channels.iter().enumerate() {
        if let Some(index) = samples.iter().position(|value| !is_valid_sample(*value)) {
            return Err(FileProblem::NotASample { index, channel, value: samples[index] });
        }
    }
    Ok(())
}
