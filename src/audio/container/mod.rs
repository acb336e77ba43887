//! The containers of audio files: recognition, and one module for each family.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`], or the problem of the file.
//! Invariants: audio is decoded to the end of the data, whatever lengths a header declares. Samples are removed
//! only where a tag or a position proves that they are no audio. Bytes that remain are tags or padding; for
//! all others the file is refused.
//!
//! The decoders are asynchronous functions, although they never wait for anything: they pause after each block, so that
//! the compiler turns each of them into a state machine that its caller resumes for the next block. A caller that has no
//! room for more samples leaves it as it is, and holds no thread.

mod aac;
mod adpcm;
mod adts;
mod aiff;
mod au;
mod caf;
mod caf_packets;
mod checksum;
mod decoded;
mod ebml;
mod flac;
mod granules;
mod kind;
mod matroska;
mod mp4;
mod mp4_boxes;
mod mp4_edit;
mod mp4_source;
mod mp4_track;
mod mpeg;
mod mpeg_header;
mod mpeg_tag;
mod ogg;
mod ogg_page;
mod packets;
mod pcm;
mod recorder;
mod riff;
mod sphere;
mod steps;
mod tags;
mod wave_format;

pub(super) use decoded::Decoded;
pub(super) use kind::Kind;
pub(super) use recorder::{Passed, Recorder};
pub(super) use steps::{run, step};

use super::FileProblem;
use super::file_bytes::FileBytes;

/// Decodes the bytes of a file of a known kind into `recorder`. Pauses after each block, see [`Recorder::append`].
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(
    kind: Kind,
    bytes: &FileBytes,
    recorder: Recorder,
) -> Result<Decoded, FileProblem> {
    match kind {
        Kind::Riff => riff::decode(bytes, recorder).await,
        Kind::Aiff => aiff::decode(bytes, recorder).await,
        Kind::Au => au::decode(bytes, recorder).await,
        Kind::Caf => caf::decode(bytes, recorder).await,
        Kind::Sphere => sphere::decode(bytes, recorder).await,
        Kind::Flac => flac::decode(bytes, recorder).await,
        Kind::Ogg => ogg::decode(bytes, recorder).await,
        Kind::Mpeg => mpeg::decode(bytes, recorder).await,
        Kind::Adts => adts::decode(bytes, recorder).await,
        Kind::Matroska => matroska::decode(bytes, recorder).await,
        Kind::Mp4 => mp4::decode(bytes, recorder).await,
        Kind::Archive(format) => Err(FileProblem::Archive { format }),
        Kind::Named(format) => Err(unsupported(format)),
    }
}

fn malformed(reason: &str) -> FileProblem {
    FileProblem::Malformed { reason: reason.to_owned() }
}

fn several_recordings() -> FileProblem {
    malformed("several recordings in one file are not supported: send them as files of their own")
}

fn unsupported(format: impl Into<String>) -> FileProblem {
    FileProblem::UnsupportedFormat { format: format.into() }
}
