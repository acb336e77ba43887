//! The containers of audio files: recognition, and one module for each family.
//!
//! Input: the bytes of a file.
//! Output: a [`Recording`], or the problem of the file.
//! Invariants: audio is decoded to the end of the data, whatever lengths a header declares. Samples are removed
//! only where a tag or a position proves that they are no audio. Bytes that remain are tags or padding; for
//! all others the file is refused.

mod adpcm;
mod adts;
mod aiff;
mod au;
mod caf;
mod checksum;
mod ebml;
mod flac;
mod granules;
mod kind;
mod matroska;
mod mp4;
mod mp4_edit;
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
mod tags;
mod wave_format;

pub(super) use kind::Kind;

use super::{DecodeLimit, FileProblem, Recording};

/// Decodes the bytes of a file of a known kind within `limit`.
///
/// # Errors
/// The problem of the file.
pub(super) fn decode(kind: Kind, bytes: &[u8], limit: &DecodeLimit) -> Result<Recording, FileProblem> {
    match kind {
        Kind::Riff => riff::decode(bytes, limit),
        Kind::Aiff => aiff::decode(bytes, limit),
        Kind::Au => au::decode(bytes, limit),
        Kind::Caf => caf::decode(bytes, limit),
        Kind::Sphere => sphere::decode(bytes, limit),
        Kind::Flac => flac::decode(bytes, limit),
        Kind::Ogg => ogg::decode(bytes, limit),
        Kind::Mpeg => mpeg::decode(bytes, limit),
        Kind::Adts => adts::decode(bytes, limit),
        Kind::Matroska => matroska::decode(bytes, limit),
        Kind::Mp4 => mp4::decode(bytes, limit),
        Kind::Named(format) => Err(unsupported(format)),
    }
}

fn malformed(reason: &str) -> FileProblem {
    FileProblem::Malformed { reason: reason.to_owned() }
}

fn unsupported(format: impl Into<String>) -> FileProblem {
    FileProblem::UnsupportedFormat { format: format.into() }
}
