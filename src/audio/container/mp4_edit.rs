//! The delay of the encoder in an MP4 file, which its edit list declares (ISO/IEC 14496-12, section 8.6.6), the name of its codec and its byte order.
//!
//! Input: the bytes of a file.
//! Output: the samples at the start that are no part of the recording; what the sample description declares.
//! Invariants: an edit that is longer than the delay of an encoder removes nothing.

use super::super::file_bytes::FileBytes;

/// The longest delay of an encoder, in samples per channel.
const DELAY: u64 = 8_192;

/// Returns the delay of the only audio track, in samples at `rate_hz`; zero where no edit list declares one.
pub(super) fn delay(bytes: &FileBytes, rate_hz: u32) -> usize {
    boxes(bytes)
        .filter(|(kind, _)| kind == b"moov")
        .flat_map(|(_, movie)| boxes(&movie))
        .filter(|(kind, _)| kind == b"trak")
        .find_map(|(_, track)| track_delay(&track, rate_hz))
        .unwrap_or(0)
}

/// Returns the number of recordings in a file: those of its boxes that describe one.
pub(super) fn recordings(bytes: &FileBytes) -> usize {
    boxes(bytes).filter(|(kind, _)| kind == b"moov").count()
}

/// Returns the name of the codec of the first audio track, which is a code of four letters; `None` where there is no such track.
pub(super) fn codec(bytes: &FileBytes) -> Option<String> {
    // A length precedes the code.
    Some(word(&description(bytes)?, 4)?.to_be_bytes().escape_ascii().to_string())
}

/// Returns whether the samples of the first audio track are little-endian by the box `enda` of QuickTime. Without it those of `in24`, `in32`, `fl32` and `fl64`
/// are big-endian (Apple, QuickTime File Format, "Sound Sample Description Extensions").
pub(super) fn is_little_endian(bytes: &FileBytes) -> bool {
    let declared = description(bytes).and_then(|description| {
        // The version of the description, two bytes, decides where its extensions begin.
        let extensions = match word(&description, 16)? >> 16 {
            0 => 36,
            1 => 52,
            _ => 72,
        };
        let extensions = description.behind(extensions);
        child(&child(&extensions, b"wave")?, b"enda")?.head(2).get(1).copied()
    });
    declared == Some(1)
}

/// Returns the description of the samples of the first audio track, with its length and its code.
fn description(bytes: &FileBytes) -> Option<FileBytes> {
    let movie = child(bytes, b"moov")?;
    boxes(&movie).filter(|(kind, _)| kind == b"trak").find_map(|(_, track)| {
        let media = audio_media(&track)?;
        let descriptions = child(&child(&child(&media, b"minf")?, b"stbl")?, b"stsd")?;
        // A version, flags and the number of descriptions precede the first one.
        let first = descriptions.behind(8);
        Some(first.first((word(&first, 0)? as usize).min(first.len())))
    })
}

/// Returns the box `mdia` of a track; `None` where the track holds no audio.
fn audio_media(track: &FileBytes) -> Option<FileBytes> {
    let media = child(track, b"mdia")?;
    // A version, flags and an unused field precede the type of the track.
    let is_audio = child(&media, b"hdlr")?.head(12).get(8..)? == b"soun";
    is_audio.then_some(media)
}

/// Returns the delay that the edit list of a track declares; `None` where the track holds no audio or has no
/// edit list of a single edit.
fn track_delay(track: &FileBytes, rate_hz: u32) -> Option<usize> {
    let media = audio_media(track)?;
    let header = child(&media, b"mdhd")?;
    let timescale = word(&header, if header.head(1).first()? == &1 { 20 } else { 12 })?;
    let list = child(&child(track, b"edts")?, b"elst")?;
    if word(&list, 4)? != 1 {
        return None;
    }
    // A duration precedes the start within the media. All bits set stand for an edit without media.
    let start = match list.head(1).first()? {
        1 => u64::from(word(&list, 16)?) << 32 | u64::from(word(&list, 20)?),
        _ => u64::from(word(&list, 12)?),
    };
    let samples = start.checked_mul(u64::from(rate_hz))?.checked_div(u64::from(timescale))?;
    (samples <= DELAY).then_some(samples as usize)
}

/// Returns the contents of the first box of a kind.
fn child(contents: &FileBytes, kind: &[u8; 4]) -> Option<FileBytes> {
    boxes(contents).find(|(found, _)| found == kind).map(|(_, contents)| contents)
}

/// Returns the kinds and the contents of boxes that follow each other, up to one that is incomplete.
fn boxes(bytes: &FileBytes) -> impl Iterator<Item = ([u8; 4], FileBytes)> + use<> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        let kind = word(&rest, 4)?.to_be_bytes();
        let (header, length) = match word(&rest, 0)? {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64::from(word(&rest, 8)?) << 32 | u64::from(word(&rest, 12)?)).ok()?),
            length => (8, length as usize),
        };
        if !(header..=rest.len()).contains(&length) {
            return None;
        }
        let contents = rest.first(length).behind(header);
        rest = rest.behind(length);
        Some((kind, contents))
    })
}

fn word(bytes: &FileBytes, at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.behind(at).head(4).first_chunk()?))
}
