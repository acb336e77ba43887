//! The tag in the first frame of an MP3 file: Xing or Info with the extension of LAME, or VBRI.
//!
//! Input: one frame.
//! Output: the lengths that the tag declares.
//! Invariants: nothing here is trusted. Encoders that write to a pipe cannot complete the tag, and joined files
//! keep the one of their first part.

use super::mpeg_header::FrameHeader;

/// What a tag declares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tag {
    /// Frames behind the one of the tag.
    pub(super) frames: Option<u32>,
    /// Bytes from the frame of the tag to the end of the last frame.
    pub(super) bytes: Option<u32>,
    /// Samples that the encoder put in front of the recording and behind it.
    pub(super) padding: Option<(usize, usize)>,
}

impl Tag {
    /// Reads the tag of a frame; `None` where the frame holds audio.
    pub(super) fn read(header: &FrameHeader, frame: &[u8]) -> Option<Self> {
        if header.format.layer != 3 {
            return None;
        }
        // Some encoders leave the checksum out of account when they place the tag.
        let behind_side = 4 + header.format.side_bytes();
        [behind_side, behind_side + 2]
            .into_iter()
            .find_map(|at| Self::xing(frame.get(at..)?))
            .or_else(|| Self::vbri(frame.get(36..)?))
    }

    /// Reads a Xing tag: a mark, flags, and the fields that the flags announce.
    fn xing(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"Xing").or_else(|| bytes.strip_prefix(b"Info"))?;
        let mut word = || {
            let (word, behind) = rest.split_first_chunk::<4>()?;
            rest = behind;
            Some(u32::from_be_bytes(*word))
        };
        let flags = word().unwrap_or(0);
        let frames = if flags & 1 != 0 { word() } else { None };
        let bytes = if flags & 2 != 0 { word() } else { None };
        // A table of contents of 100 bytes, and the quality.
        let skipped = 100 * (flags as usize >> 2 & 1) + 4 * (flags as usize >> 3 & 1);
        let extension = rest.get(skipped..).unwrap_or_default();
        Some(Self { frames, bytes, padding: lame(extension) })
    }

    /// Reads a VBRI tag: version, delay, quality, bytes and frames.
    fn vbri(bytes: &[u8]) -> Option<Self> {
        let fields = bytes.strip_prefix(b"VBRI")?.first_chunk::<14>()?;
        let word =
            |at: usize| u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        Some(Self { bytes: Some(word(6)), frames: Some(word(10)), padding: None })
    }
}

/// Reads the delay and the padding from the extension of LAME, which the encoders of FFmpeg write too. Both have
/// twelve bits and follow the name of the encoder and other fields.
fn lame(bytes: &[u8]) -> Option<(usize, usize)> {
    let is_known = [b"LAME", b"Lavf", b"Lavc", b"GOGO", b"L3.9"].iter().any(|name| bytes.starts_with(*name));
    let [a, b, c] = *bytes.get(21..24)?.first_chunk()?;
    let delay = usize::from(a) << 4 | usize::from(b) >> 4;
    let padding = usize::from(b & 0x0f) << 8 | usize::from(c);
    (is_known && delay > 0).then_some((delay, padding))
}
