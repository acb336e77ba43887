//! The edit list of an MP4 file (ISO/IEC 14496-12, section 8.6.6): which of the decoded samples belong to the recording.
//!
//! Input: the bytes of a file.
//! Output: the range of the samples.
//! Invariants: the lengths of edits are often rounded to milliseconds, and encoders pad the last frame, so a list removes samples at the end only where it
//! leaves out more of them than a frame has.

use std::ops::Range;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::mp4_boxes::{child, word};
use super::{mp4_track, unsupported};

/// More samples per channel than the last frame of any codec has.
const PADDING: usize = 8_192;

/// One entry of an edit list.
struct Edit {
    /// The length in units of the movie; zero where it ends with the media.
    length: u64,
    /// The first sample in units of the media.
    start: u64,
    /// Whether the speed is the normal one.
    is_normal: bool,
}

/// Returns the range of the recording within `frames` decoded samples per channel at `rate_hz`.
///
/// # Errors
/// [`FileProblem::UnsupportedFormat`] where the recording is made of several parts, or is played at another speed.
pub(super) fn kept(bytes: &FileBytes, rate_hz: u32, frames: usize) -> Result<Range<usize>, FileProblem> {
    let Some((edits, media_scale)) = edits(bytes) else { return Ok(0..frames) };
    let edit = match &edits[..] {
        [] => return Ok(0..frames),
        [edit] => edit,
        _ => return Err(unsupported("MP4 with an edit list of several parts")),
    };
    if !edit.is_normal {
        return Err(unsupported("MP4 with an edit list that changes the speed"));
    }
    let samples = |units: u64, scale: u32| {
        let samples = u128::from(units) * u128::from(rate_hz) / u128::from(scale.max(1));
        usize::try_from(samples).unwrap_or(usize::MAX)
    };
    let start = samples(edit.start, media_scale);
    let end = movie_scale(bytes)
        .filter(|_| edit.length > 0)
        .map(|scale| start.saturating_add(samples(edit.length + 1, scale)))
        .filter(|end| end.saturating_add(PADDING) < frames);
    Ok(start.min(frames)..end.unwrap_or(frames))
}

/// Returns the units per second of the lengths of edits; `None` where the movie has fragments, whose samples are often not counted.
fn movie_scale(bytes: &FileBytes) -> Option<u32> {
    let movie = child(bytes, b"moov")?;
    if child(&movie, b"mvex").is_some() { None } else { time_scale(&child(&movie, b"mvhd")?) }
}

/// Returns the first two edits of the first audio track that have media, and the units per second of their starts; `None` where there is no list.
fn edits(bytes: &FileBytes) -> Option<(Vec<Edit>, u32)> {
    let (track, media) = mp4_track::audio_track(bytes)?;
    let scale = time_scale(&child(&media, b"mdhd")?)?;
    let list = child(&child(&track, b"edts")?, b"elst")?;
    let is_long = list.head(1).first()? == &1;
    let (size, count) = (if is_long { 20 } else { 12 }, word(&list, 4)?);
    // All bits of a start are set in an edit without media, which only delays the others.
    let edits = (0..count as usize).map_while(|index| {
        let entry = list.behind(8 + index.checked_mul(size)?);
        let long = |at: usize| Some(u64::from(word(&entry, at)?) << 32 | u64::from(word(&entry, at + 4)?));
        let (length, start, has_media) = if is_long {
            (long(0)?, long(8)?, long(8)? != u64::MAX)
        } else {
            (u64::from(word(&entry, 0)?), u64::from(word(&entry, 4)?), word(&entry, 4)? != u32::MAX)
        };
        let is_normal = word(&entry, size - 4)? == 1 << 16;
        Some(has_media.then_some(Edit { length, start, is_normal }))
    });
    Some((edits.flatten().take(2).collect(), scale))
}

/// Returns the units per second in the header of a movie or of its media.
fn time_scale(header: &FileBytes) -> Option<u32> {
    word(header, if header.head(1).first()? == &1 { 20 } else { 12 })
}
