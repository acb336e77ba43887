//! Reader of Sun AU.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`].
//! Invariants: an encoding that is not supported is refused by its name.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::pcm::{Layout, Numbers};
use super::recorder::Recorder;
use super::{Decoded, malformed, tags, unsupported};

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let header = bytes.head(24);
    let header = header.get(4..24).ok_or_else(|| malformed("the file ends within its header"))?;
    let field = |index: usize| {
        let (words, _) = header.as_chunks::<4>();
        u32::from_be_bytes(words[index])
    };
    let (numbers, width) = match field(2) {
        1 => (Numbers::MuLaw, 1),
        encoding @ 2..=5 => (Numbers::Signed, encoding as usize - 1),
        6 => (Numbers::Float, 4),
        7 => (Numbers::Float, 8),
        23..=26 => return Err(unsupported("G.721, G.722 or G.723 ADPCM in AU")),
        27 => (Numbers::ALaw, 1),
        other => return Err(unsupported(format!("AU with the encoding {other}"))),
    };
    let channels = usize::try_from(field(4)).unwrap_or(usize::MAX);
    let layout = Layout { numbers, bytes: width, big_endian: true, shift: 0, rate_hz: field(3), channels };
    let start = (field(0) as usize).max(24);
    if start > bytes.len() {
        return Err(FileProblem::NoSamples);
    }
    let audio = bytes.behind(start);
    let declared = field(1) as usize;
    // A length that no accepted file can have, or zero, was written in advance.
    if declared == 0 || (declared >= 1 << 30 && declared > audio.len()) {
        return layout.decode(&audio, recorder).await;
    }
    if declared > audio.len() {
        let (declared, present) = (declared as u64, audio.len() as u64);
        return Err(FileProblem::Truncated { declared, present, unit: "bytes" });
    }
    let behind = audio.behind(declared);
    if !tags::only_tags(&behind) {
        return Err(malformed(&format!(
            "its header declares {declared} bytes of audio, and {} other bytes follow them",
            behind.len()
        )));
    }
    layout.decode(&audio.first(declared), recorder).await
}
